//! Recognising who sends a request.

use actix_web::HttpRequest;
use actix_web::http::header;
use sha2::{Digest, Sha256};

use super::Identity;
use crate::api::error::ApiError;
use crate::config::{Auth, AuthToken, TOKEN_HASH_PREFIX};

/// The subject of the certificate that a client has shown and proved, on its connection.
#[derive(Debug, Clone)]
pub struct ClientCertificate(pub String);

/// Who sends the request. Credentials in the request go before the certificate of the connection.
///
/// Errors: 401 with the reason.
pub fn identify(auth: &Auth, request: &HttpRequest) -> Result<Identity, ApiError> {
    if let Some(given) = request.headers().get(header::AUTHORIZATION) {
        let text = given.to_str().map_err(|_| refused("the credentials are not ASCII"))?;
        return by_header(auth, text);
    }
    let Some(ClientCertificate(subject)) = request.conn_data::<ClientCertificate>() else {
        return Err(refused("no credentials: send Authorization: Bearer TOKEN"));
    };
    let known = auth.certificates.iter().find(|known| known.subject == *subject).ok_or_else(|| {
        let subject = crate::api::error::printable(subject);
        refused(format!("the certificate of \"{subject}\" is nobody's in service.auth.certificates"))
    })?;
    Ok(Identity { name: subject.clone(), role: known.role, routines: known.routines.clone() })
}

fn by_header(auth: &Auth, text: &str) -> Result<Identity, ApiError> {
    let (scheme, credentials) = text.split_once(' ').unwrap_or((text, ""));
    let credentials = credentials.trim();
    let known = if scheme.eq_ignore_ascii_case("bearer") {
        let hash = token_hash(credentials);
        auth.tokens
            .iter()
            .find(|token| token.hash == hash)
            .ok_or_else(|| refused("the token is not known"))?
    } else if scheme.eq_ignore_ascii_case("basic") {
        basic(auth, credentials)?
    } else {
        return Err(refused("the credentials are neither Bearer nor Basic"));
    };
    Ok(Identity { name: known.name.clone(), role: known.role, routines: known.routines.clone() })
}

/// RFC 7617: a token's name and the token, in base64.
fn basic<'a>(auth: &'a Auth, credentials: &str) -> Result<&'a AuthToken, ApiError> {
    let decoded = base64_simd::STANDARD.decode_to_vec(credentials).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let (name, token) = decoded
        .as_deref()
        .and_then(|text| text.split_once(':'))
        .ok_or_else(|| refused("the Basic credentials are not name:token in base64"))?;
    let hash = token_hash(token);
    auth.tokens
        .iter()
        .find(|known| known.name == name && known.hash == hash)
        .ok_or_else(|| refused("the name and the token are not known"))
}

/// What the file holds of a token. A token has 256 random bits: its hash needs neither salt nor slowness, and to compare
/// it in varying time tells nothing of it.
pub fn token_hash(token: &str) -> String {
    use std::fmt::Write as _;
    let mut hash = TOKEN_HASH_PREFIX.to_owned();
    for byte in Sha256::digest(token.as_bytes()) {
        // Writing to a String cannot fail.
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}

fn refused(reason: impl Into<String>) -> ApiError {
    ApiError::unauthenticated(reason)
}
