//! `service.auth` (ours): who may do what. Taken over by a reload, unlike the rest of `service`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::reader::{Read, Section};
use crate::model::check_name;

/// How the hash of a token begins in the file.
pub const TOKEN_HASH_PREFIX: &str = "sha256:";

/// `service.auth`, as written. No part of it is a secret: of a token only the hash is there.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Auth {
    /// Whether `/metrics` is open to everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_metrics: Option<bool>,
    /// Who is known by a token.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<AuthToken>,
    /// Who is known by the certificate of its TLS connection.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<AuthCertificate>,
}

/// Somebody who is known by a token: as a bearer, or as the password of `name`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AuthToken {
    /// What jobs, log and audit call it.
    pub name: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub hash: String,
    /// What it may do.
    pub role: Role,
    /// The only routines it has to do with; none: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routines: Option<Vec<String>>,
}

/// Somebody who is known by a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AuthCertificate {
    /// The certificate's subject as RFC 4514 writes it, as `CN=backup,O=Example`.
    pub subject: String,
    /// What it may do.
    pub role: Role,
    /// The only routines it has to do with; none: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routines: Option<Vec<String>>,
}

/// What somebody may do; each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    #[default]
    Viewer,
    /// Trigger, cancel, restore.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The word of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl Read for Auth {
    const KIND: Kind = Kind::Auth;

    fn read(section: &mut Section<'_>) -> Self {
        let auth = Self {
            open_metrics: section.flag("open-metrics"),
            tokens: section.list("tokens").unwrap_or_default(),
            certificates: section.list("certificates").unwrap_or_default(),
        };
        if auth.tokens.is_empty() && auth.certificates.is_empty() {
            section.reject_all(
                "\"auth\" names nobody, so nobody could do anything: give tokens or certificates",
            );
        }
        let (mut names, mut hashes) = (BTreeSet::new(), BTreeSet::new());
        for (index, token) in auth.tokens.iter().enumerate() {
            // Basic credentials are looked up by the name.
            if !names.insert(&token.name) {
                section.reject_item("tokens", index, "another token has the same \"name\"");
            }
            if !hashes.insert(&token.hash) {
                section.reject_item("tokens", index, "another token has the same \"hash\"");
            }
        }
        let mut subjects = BTreeSet::new();
        for (index, certificate) in auth.certificates.iter().enumerate() {
            if !subjects.insert(&certificate.subject) {
                section.reject_item("certificates", index, "another certificate has the same \"subject\"");
            }
        }
        auth
    }
}

impl Read for AuthToken {
    const KIND: Kind = Kind::AuthToken;

    fn read(section: &mut Section<'_>) -> Self {
        let name = section.filled("name");
        if !name.is_empty() && !is_name(&name) {
            section.reject("name", "\"name\" must be 1 to 64 of letters, digits, . _ @ and -");
        }
        let hash = section.filled("hash");
        if !hash.is_empty() && !is_hash(&hash) {
            // What stands there may be the token itself: it is not shown.
            section.reject(
                "hash",
                "\"hash\" must be sha256: and 64 hexadecimal digits in lower case, as `holdfast token` prints it",
            );
        }
        Self {
            name,
            hash: if is_hash(&hash) { hash } else { String::new() },
            role: role(section),
            routines: routines(section),
        }
    }
}

impl Read for AuthCertificate {
    const KIND: Kind = Kind::AuthCertificate;

    fn read(section: &mut Section<'_>) -> Self {
        Self { subject: section.filled("subject"), role: role(section), routines: routines(section) }
    }
}

fn role(section: &mut Section<'_>) -> Role {
    if !section.has("role") {
        section.missing("role");
    }
    section
        .word("role", &[("viewer", Role::Viewer), ("operator", Role::Operator), ("admin", Role::Admin)])
        .unwrap_or_default()
}

fn routines(section: &mut Section<'_>) -> Option<Vec<String>> {
    let routines = section.texts("routines")?;
    for (index, name) in routines.iter().enumerate() {
        if let Err(problem) = check_name(name) {
            section.reject_item("routines", index, format!("no name of a routine: {problem}"));
        }
    }
    if routines.is_empty() {
        section.reject("routines", "\"routines\" names none: leave it out for all of them");
    }
    Some(routines)
}

/// Basic credentials end the name at a colon, and log and audit show it.
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "._@-".contains(c))
}

fn is_hash(text: &str) -> bool {
    text.strip_prefix(TOKEN_HASH_PREFIX).is_some_and(|digits| {
        digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}
