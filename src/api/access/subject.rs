//! The subject of a certificate, as text (RFC 4514).

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const PRINTABLE: u8 = 0x13;
const TEXTS: [u8; 4] = [0x0c, PRINTABLE, 0x16, 0x14];

/// The short names of RFC 4514 3, and `emailAddress`, in DER.
const NAMES: [(&[u8], &str); 10] = [
    (&[0x55, 0x04, 0x03], "CN"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x0a], "O"),
    (&[0x55, 0x04, 0x0b], "OU"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x09], "STREET"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01], "UID"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01], "emailAddress"),
];

/// The subject of a certificate in DER, the last part first; none if it cannot be shown whole: then it is nobody.
pub fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    // rustls takes an authority apart and keeps its name; whether it is one, it does not ask.
    let mut store = RootCertStore::empty();
    store.add(certificate.clone().into_owned()).ok()?;
    let name = store.roots.first()?.subject.as_ref();
    text(name)
}

fn text(name: &[u8]) -> Option<String> {
    let mut rest = name;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let set = take(&mut rest, SET)?;
        parts.push(relative(set)?);
    }
    parts.reverse();
    (!parts.is_empty()).then(|| parts.join(","))
}

/// One part, of one attribute or several joined by `+`.
fn relative(mut set: &[u8]) -> Option<String> {
    let mut attributes = Vec::new();
    while !set.is_empty() {
        let mut attribute = take(&mut set, SEQUENCE)?;
        let oid = take(&mut attribute, OID)?;
        let (_, name) = NAMES.iter().find(|(known, _)| *known == oid)?;
        let (tag, value) = any(&mut attribute)?;
        if !TEXTS.contains(&tag) || !attribute.is_empty() {
            return None;
        }
        attributes.push(format!("{name}={}", escaped(std::str::from_utf8(value).ok()?)?));
    }
    Some(attributes.join("+"))
}

/// RFC 4514 2.4; a control character is in no name that somebody configures.
fn escaped(value: &str) -> Option<String> {
    let mut text = String::new();
    let last = value.chars().count().checked_sub(1)?;
    for (index, c) in value.chars().enumerate() {
        let at_an_end = (c == ' ' && (index == 0 || index == last)) || (c == '#' && index == 0);
        if c.is_control() {
            return None;
        }
        if at_an_end || "\"+,;<>\\".contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    Some(text)
}

fn take<'a>(der: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (found, value) = any(der)?;
    (found == tag).then_some(value)
}

/// One element: its tag and its content; lengths below 64 KiB.
fn any<'a>(der: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[tag, first], rest) = der.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => {
            let (length, rest) = rest.split_first()?;
            (usize::from(*length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    *der = rest;
    Some((tag, value))
}

#[cfg(test)]
mod tests {
    use super::{subject, text};
    use rcgen::{CertificateParams, DnType, KeyPair};

    fn of(parts: &[(DnType, &str)]) -> Option<String> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        subject(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    #[test]
    fn a_subject_is_written_as_openssl_writes_it_by_rfc_2253() {
        let parts = [(DnType::OrganizationName, "Example, Inc."), (DnType::CommonName, "backup")];
        assert_eq!(of(&parts).unwrap(), r"CN=backup,O=Example\, Inc.");
        assert_eq!(of(&[(DnType::CommonName, " #a=b ")]).unwrap(), r"CN=\ #a=b\ ");
    }

    #[test]
    fn what_cannot_be_shown_whole_is_nobody() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(DnType::CommonName, "a\nb")]), None);
        assert_eq!(of(&[(DnType::CustomDnType(vec![1, 2, 3, 4]), "x"), (DnType::CommonName, "admin")]), None);
        // Cut anywhere, and lengths that lie.
        let name = [0x31, 0x0a, 0x30, 0x08, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x01, b'a'];
        assert_eq!(text(&name).unwrap(), "CN=a");
        for length in 1..name.len() {
            assert_eq!(text(&name[..length]), None, "{length}");
        }
    }
}
