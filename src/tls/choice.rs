//! Protocol versions and cipher suites, as documents of ABS choose them (abs.md 2.3).

use rustls::crypto::ring::ALL_CIPHER_SUITES;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion};

/// Versions that lists name, and that no TLS library of today should speak.
const OLD_PROTOCOLS: [&str; 5] = ["SSLV2", "SSLV3", "TLSV1", "TLSV1.0", "TLSV1.1"];
/// Words that lists of OpenSSL exclude, none of which is on offer here.
const NEVER_OFFERED: &[&str] = &[
    "ANULL", "ENULL", "NULL", "EXPORT", "EXP", "LOW", "MEDIUM", "DES", "3DES", "RC2", "RC4", "IDEA", "SEED",
    "CAMELLIA", "ARIA", "MD5", "SHA", "SHA1", "PSK", "SRP", "DSS", "ADH", "AECDH", "KRSA", "SSLV2", "SSLV3",
];

/// Reads a list of Apache's SSLProtocol: words with or without `+` and `-`, separated by white space; `all` is what
/// there is.
///
/// Errors: an unknown word; a version below 1.2 that is asked for; none left.
pub fn check_protocols(text: &str) -> Result<(), String> {
    protocols(text).map(drop)
}

/// Reads a list of suites, by OpenSSL's names or by the registered ones, separated by `:`, `,` or white space; `!` or
/// `-` takes one away, `ALL`, `DEFAULT`, `HIGH` are what there is. Those of TLS 1.3 stay unless the list names one.
///
/// Errors: an unknown word; none left.
pub fn check_cipher_suites(text: &str) -> Result<(), String> {
    cipher_suites(text).map(drop)
}

pub(super) fn protocols(text: &str) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let mut chosen: Vec<&'static SupportedProtocolVersion> = Vec::new();
    let mut set_alone = true;
    for given in text.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        let (sign, word) = match given.strip_prefix(['+', '-']) {
            Some(word) => (given.get(..1), word),
            None => (None, given),
        };
        let named: &[&'static SupportedProtocolVersion] = match word.to_ascii_uppercase().as_str() {
            "ALL" => &[&TLS12, &TLS13],
            "TLSV1.2" => &[&TLS12],
            "TLSV1.3" => &[&TLS13],
            old if OLD_PROTOCOLS.contains(&old) && sign == Some("-") => &[],
            old if OLD_PROTOCOLS.contains(&old) => {
                return Err(format!("{word} is not spoken; TLSv1.2 and TLSv1.3 are"));
            }
            _ => return Err(format!("no protocol is called \"{word}\"; TLSv1.2, TLSv1.3 and all are known")),
        };
        match sign {
            Some("-") => chosen.retain(|one| !named.iter().any(|other| one.version == other.version)),
            Some(_) => {
                set_alone = false;
                chosen.extend(named);
            }
            // As in Apache a word without a sign stands for itself alone; a list of such words names all of them.
            None => {
                if !set_alone {
                    chosen.clear();
                }
                chosen.extend(named);
            }
        }
    }
    let wanted = |version: ProtocolVersion| chosen.iter().any(|one| one.version == version);
    let kept: Vec<_> = [&TLS12, &TLS13].into_iter().filter(|one| wanted(one.version)).collect();
    if kept.is_empty() { Err("no protocol is left".to_owned()) } else { Ok(kept) }
}

pub(super) fn cipher_suites(text: &str) -> Result<Vec<SupportedCipherSuite>, String> {
    let mut chosen: Vec<SupportedCipherSuite> = Vec::new();
    for given in text.split([':', ',', ' ', '\t']).filter(|word| !word.is_empty()) {
        let (away, word) = match given.strip_prefix(['!', '-']) {
            Some(word) => (true, word),
            None => (false, given.strip_prefix('+').unwrap_or(given)),
        };
        let upper = word.to_ascii_uppercase();
        let every = matches!(upper.as_str(), "ALL" | "DEFAULT" | "HIGH" | "TLSV1.2");
        let of_word: Vec<_> =
            ALL_CIPHER_SUITES.iter().copied().filter(|one| every || names(one).contains(&upper)).collect();
        match (away, of_word.is_empty()) {
            (true, true) if NEVER_OFFERED.contains(&upper.as_str()) => {}
            (_, true) => return Err(format!("no cipher suite is called \"{word}\"; known are {}", known())),
            (true, false) => chosen.retain(|one| !of_word.iter().any(|other| other.suite() == one.suite())),
            (false, false) => {
                let fresh: Vec<_> = of_word
                    .into_iter()
                    .filter(|new| chosen.iter().all(|one| one.suite() != new.suite()))
                    .collect();
                chosen.extend(fresh);
            }
        }
    }
    if chosen.is_empty() {
        return Err("no cipher suite is left".to_owned());
    }
    if !chosen.iter().any(is_13) {
        chosen.extend(ALL_CIPHER_SUITES.iter().copied().filter(is_13));
    }
    Ok(chosen)
}

fn is_13(suite: &SupportedCipherSuite) -> bool {
    suite.version().version == ProtocolVersion::TLSv1_3
}

/// The registered name and OpenSSL's, in capitals.
fn names(suite: &SupportedCipherSuite) -> Vec<String> {
    let (registered, openssl) = match suite.suite() {
        CipherSuite::TLS13_AES_256_GCM_SHA384 => ("TLS_AES_256_GCM_SHA384", ""),
        CipherSuite::TLS13_AES_128_GCM_SHA256 => ("TLS_AES_128_GCM_SHA256", ""),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => ("TLS_CHACHA20_POLY1305_SHA256", ""),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => {
            ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384")
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => {
            ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256")
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305")
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => {
            ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384")
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => {
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256")
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => {
            ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305")
        }
        _ => return Vec::new(),
    };
    [registered, openssl].iter().filter(|name| !name.is_empty()).map(|name| (*name).to_owned()).collect()
}

fn known() -> String {
    let of = |suite: &SupportedCipherSuite| names(suite).pop();
    ALL_CIPHER_SUITES.iter().filter_map(of).collect::<Vec<_>>().join(", ")
}
