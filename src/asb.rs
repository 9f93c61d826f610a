//! The Aerospike backup text format (ASB), read and written; its compression, block hashes and file names.
//!
//! Contract: asb.md (format), rules.md 3.10, 3.11, 3.13. Pure and synchronous. A bin travels as (particle type, wire
//! bytes); names, keys and sets are bytes. What the format cannot hold is an error, never a guess.

pub mod cipher;
pub mod compress;
pub mod decode;
pub mod encode;
mod escape;
pub mod hash;
pub mod names;
mod number;
pub mod particle;
mod types;

#[cfg(test)]
mod tests;

pub use cipher::{CipherMode, FileCipher, FileKey};
pub use compress::{Compressor, Decompressor, StoredForm};
pub use decode::{DecodeError, Decoder, Item, Position, Record};
pub use encode::{EncodeError, Encoder};
pub use hash::{BLOCK_BYTES, BlockHasher, BlockHashes, root_of};
pub use names::{FileKind, data_file_name, file_kind, in_series, metadata_file_name};
pub use types::{
    Bin, DataType, FileHeader, IndexDef, IndexType, Particle, RecordHead, SetIndexDef, UdfDef, Version,
};
