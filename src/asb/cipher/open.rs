//! Reading a stored file whatever stands around its text: told by its first bytes, and by what is known of it.

use std::io::{self, Read};

use super::ctr::{CtrStream, PREFIX_BYTES};
use super::gcm::{self, HEADER_BYTES, HeaderProblem, Unsealer};
use super::{CipherMode, FileKey};
use crate::asb::StoredForm;

/// What is known of a file before it is read.
#[derive(Debug, Clone, Default)]
pub struct Unlock {
    /// The key; none where nobody gave one.
    pub key: Option<FileKey>,
    /// The mode; none where nobody said: then the bytes tell.
    pub mode: Option<CipherMode>,
}

/// A stored file whose first bytes were read.
#[derive(Debug)]
pub struct Opened<R> {
    /// How it is enciphered.
    pub mode: Option<CipherMode>,
    /// What lies below.
    pub form: StoredForm,
    /// Whether there is no text at all.
    pub is_empty: bool,
    /// The text, compressed or not.
    pub text: Plaintext<R>,
}

/// The deciphered bytes of a file.
#[derive(Debug)]
pub struct Plaintext<R> {
    /// Read to tell the form; given out first.
    first: Vec<u8>,
    given: usize,
    rest: Rest<R>,
}

#[derive(Debug)]
enum Rest<R> {
    Plain(R),
    Ctr(R, CtrStream),
    Gcm(Box<Unsealer<R>>),
}

/// Why a file cannot be deciphered.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// It takes a key, and none was given.
    #[error("it is encrypted, and no key was given")]
    NoKey,
    /// The key is another one, or the mode.
    #[error("the key is not the one it was encrypted with")]
    WrongKey,
    /// No text comes out, and without a checksum nobody knows why.
    #[error(
        "what comes out is no backup: the key or the mode is not the one it was encrypted with, or its beginning is damaged"
    )]
    NoText,
    /// Its header or its first chunk is damaged.
    #[error("{0}")]
    Damaged(String),
    /// The stored bytes could not be read.
    #[error("read failed")]
    Read(#[from] io::Error),
}

impl Unlock {
    /// With a key, for a file of which nothing else is known.
    pub fn with_key(key: Option<FileKey>) -> Self {
        Self { key, mode: None }
    }

    /// Whether it is known to be enciphered, and nobody gave the key.
    pub const fn is_locked(&self) -> bool {
        self.mode.is_some() && self.key.is_none()
    }

    /// Reads the first bytes. Without a key, what is neither text nor zstd comes out as it is, of unknown form.
    pub fn open<R: Read>(&self, mut stored: R) -> Result<Opened<R>, UnlockError> {
        let mut first = Vec::with_capacity(HEADER_BYTES);
        stored.by_ref().take(HEADER_BYTES as u64).read_to_end(&mut first)?;
        if gcm::is_header(&first) {
            return self.open_gcm(&first, stored);
        }
        let form = StoredForm::detect(&first);
        match (self.mode, &self.key) {
            (Some(CipherMode::Aes256Gcm), _) => {
                Err(UnlockError::Damaged("it does not begin as a file of mode AES256-GCM".to_owned()))
            }
            (Some(_), None) => Err(UnlockError::NoKey),
            (Some(mode), Some(key)) => open_ctr(key, &[mode], &first, stored),
            (None, Some(key)) if form == StoredForm::Unknown && !first.is_empty() => {
                open_ctr(key, &[CipherMode::Aes256, CipherMode::Aes128], &first, stored)
            }
            (None, _) => {
                let is_empty = first.is_empty();
                let text = Plaintext { first, given: 0, rest: Rest::Plain(stored) };
                Ok(Opened { mode: None, form, is_empty, text })
            }
        }
    }

    fn open_gcm<R: Read>(&self, first: &[u8], stored: R) -> Result<Opened<R>, UnlockError> {
        let key = self.key.as_ref().ok_or(UnlockError::NoKey)?;
        for key in key.candidates() {
            let opened = match gcm::open_header(key, first) {
                Ok(opened) => opened,
                Err(HeaderProblem::WrongKey) => continue,
                Err(problem) => return Err(header_problem(problem)),
            };
            let mut rest = Box::new(Unsealer::new(opened, stored));
            let mut first = Vec::with_capacity(HEADER_BYTES);
            rest.by_ref().take(HEADER_BYTES as u64).read_to_end(&mut first)?;
            let (form, is_empty) = (StoredForm::detect(&first), first.is_empty());
            let text = Plaintext { first, given: 0, rest: Rest::Gcm(rest) };
            return Ok(Opened { mode: Some(CipherMode::Aes256Gcm), form, is_empty, text });
        }
        Err(UnlockError::WrongKey)
    }
}

fn open_ctr<R: Read>(
    key: &FileKey,
    modes: &[CipherMode],
    first: &[u8],
    stored: R,
) -> Result<Opened<R>, UnlockError> {
    let Some((prefix, text)) = first.split_first_chunk::<PREFIX_BYTES>() else {
        let text = format!("it has {} bytes, an encrypted file has at least {PREFIX_BYTES}", first.len());
        return Err(UnlockError::Damaged(text));
    };
    for key in key.candidates() {
        for mode in modes {
            let mut stream = CtrStream::resume(*mode, key, *prefix);
            let mut first = text.to_vec();
            stream.apply(&mut first);
            let (form, is_empty) = (StoredForm::detect(&first), first.is_empty());
            // Nothing says whose an empty file is.
            if form != StoredForm::Unknown || is_empty {
                let text = Plaintext { first, given: 0, rest: Rest::Ctr(stored, stream) };
                return Ok(Opened { mode: Some(*mode), form, is_empty, text });
            }
        }
    }
    Err(UnlockError::NoText)
}

fn header_problem(problem: HeaderProblem) -> UnlockError {
    match problem {
        HeaderProblem::Damaged => UnlockError::Damaged("its AES256-GCM header is damaged or cut".to_owned()),
        HeaderProblem::Version(version) => UnlockError::Damaged(format!(
            "it has version {version} of the AES256-GCM format, this program reads version 1"
        )),
        HeaderProblem::WrongKey => UnlockError::WrongKey,
    }
}

impl<R: Read> Read for Plaintext<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.first.get(self.given..).unwrap_or_default();
        if !left.is_empty() {
            let count = (&mut &*left).read(out)?;
            self.given += count;
            return Ok(count);
        }
        match &mut self.rest {
            Rest::Plain(stored) => stored.read(out),
            Rest::Gcm(stored) => stored.read(out),
            Rest::Ctr(stored, stream) => {
                let count = stored.read(out)?;
                stream.apply(out.get_mut(..count).unwrap_or_default());
                Ok(count)
            }
        }
    }
}
