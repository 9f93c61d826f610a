//! As much of PEM and DER as it takes to find an RSA private key.

use super::key::KeyError;

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// `rsaEncryption`, 1.2.840.113549.1.1.1.
const RSA: [u8; 9] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];

/// Modulus, two exponents, two primes and the three numbers of the Chinese remainder theorem.
const RSA_NUMBERS: usize = 8;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// What a key was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// RSA: both official tools read it.
    Rsa,
    /// EC in its traditional form: only asbackup and asrestore read it.
    Ec,
}

/// The bytes of the traditional key in a PEM text. Line ends around its marks may be missing.
pub(super) fn of_pem(text: &str) -> Result<(Found, Vec<u8>), KeyError> {
    let rest = text.split_once(BEGIN).ok_or(KeyError::NotPem)?.1;
    let (label, rest) = rest.split_once(DASHES).ok_or(KeyError::NotPem)?;
    let body = rest.split_once(END).ok_or(KeyError::NotPem)?.0;
    if label.contains("ENCRYPTED") || body.contains("ENCRYPTED") {
        return Err(KeyError::Locked);
    }
    let der = base64(body).ok_or(KeyError::Damaged)?;
    match label {
        "RSA PRIVATE KEY" | "PRIVATE KEY" => Ok((Found::Rsa, of_der(&der)?.to_vec())),
        "EC PRIVATE KEY" if Der(&der).take(SEQUENCE).is_some() => Ok((Found::Ec, der)),
        "EC PRIVATE KEY" => Err(KeyError::Damaged),
        _ => Err(KeyError::NotPrivateRsa),
    }
}

/// The PKCS#1 bytes in DER: themselves, or what PKCS#8 wraps.
pub(super) fn of_der(der: &[u8]) -> Result<&[u8], KeyError> {
    let mut outer = Der(der);
    let mut inner = Der(outer.take(SEQUENCE).ok_or(KeyError::Damaged)?);
    let version = inner.take(INTEGER).ok_or(KeyError::Damaged)?;
    if !outer.0.is_empty() {
        return Err(KeyError::Damaged);
    }
    let Some(algorithm) = inner.take(SEQUENCE) else {
        let numbers = (0..RSA_NUMBERS).all(|_| inner.take(INTEGER).is_some_and(|number| !number.is_empty()));
        return if numbers && inner.0.is_empty() && version == [0] {
            Ok(der)
        } else {
            Err(KeyError::NotPrivateRsa)
        };
    };
    if Der(algorithm).take(OID) != Some(&RSA) {
        return Err(KeyError::NotPrivateRsa);
    }
    // Whatever stands behind it are attributes.
    let wrapped = inner.take(OCTETS).ok_or(KeyError::Damaged)?;
    if Der(wrapped).take(SEQUENCE).is_some_and(|key| Der(key).take(INTEGER) == Some(&[0])) {
        return of_der(wrapped);
    }
    Err(KeyError::Damaged)
}

/// Base64 with or without padding; white space does not count.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let bytes = base64_simd::forgiving_decode_to_vec(text.as_bytes()).ok()?;
    (!bytes.is_empty()).then_some(bytes)
}

/// What is left to read.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next element, if it is of this kind.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_first()?;
        let (length, rest) = length(rest)?;
        let (content, rest) = rest.split_at_checked(length)?;
        if *first != tag {
            return None;
        }
        self.0 = rest;
        Some(content)
    }
}

/// A definite length of up to four bytes.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let count = match *first {
        short @ 0..=0x7F => return Some((usize::from(short), rest)),
        long @ 0x81..=0x84 => usize::from(long - 0x80),
        _ => return None,
    };
    let (length, rest) = rest.split_at_checked(count)?;
    Some((length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest))
}
