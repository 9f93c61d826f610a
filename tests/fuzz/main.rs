//! Fuzz targets without a fuzzer: what is read from nodes and from storage, fed with thousands of changed inputs.
//!
//! Inputs are made here, valid ones first: records of every type, frames of the sandbox, documents as we write them. They are
//! changed by a generator that follows from a seed, so each run of a seed is the same run. For every input: no panic, no read
//! more than there is reason to (a bound on work, never a time), no byte held beyond a bound that the input's length sets
//! (a counting allocator, which is in this binary only).
//!
//! A finding prints its seed and keeps its input. It goes into `tests/fuzz/found/<target>/`, whose files are read first in
//! every run: so it stays found. `HOLDFAST_FUZZ_SEED` and `HOLDFAST_FUZZ_CASES` choose another run.
//!
//! What this does not see: memory of zstd, which is C, and what other threads hold. And it knows nothing of the paths
//! inside the code, as a real fuzzer does: only what was said of an input guides it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod asb;
mod documents;
mod files;
mod harness;
mod hot_path;
mod info;
mod mutate;
mod nodes;
mod wire;

/// Two tests of one target: the plain run, and the long one of `scripts/test --all`.
macro_rules! targets {
    ($($name:ident: $run:path;)*) => {$(
        mod $name {
            #[test]
            fn plain() {
                $run(false);
            }

            #[test]
            #[ignore = "long"]
            fn long() {
                $run(true);
            }
        }
    )*};
}

targets! {
    asb_text: crate::asb::text;
    asb_text_small: crate::asb::text_small;
    scan_frame: crate::wire::scan_frame;
    frame_header: crate::wire::frame_header;
    batch_answer: crate::wire::batch_answer;
    single_answer: crate::wire::single_answer;
    login_answer: crate::wire::login_answer;
    compressed_frame: crate::wire::compressed_frame;
    info_answer: crate::info::answer;
    info_value: crate::info::value;
    stored_file: crate::files::stored;
    gcm_file: crate::files::gcm;
    zstd_file: crate::files::zstd;
    metadata_yaml: crate::documents::metadata;
    manifest_json: crate::documents::manifest;
    blocks_b3: crate::documents::blocks;
    owner_file: crate::documents::owner;
}
