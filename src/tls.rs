//! TLS as a client: files and choices of a document become a configuration of rustls, and a socket becomes a stream. The
//! files are read in the same way for the listener (`api::tls`).
//!
//! One provider, ring, named where it is used: no process-wide default is set or needed.

mod choice;
mod files;
#[cfg(test)]
#[path = "../tests/support/certificates.rs"]
pub(crate) mod test_certificates;
#[cfg(test)]
mod tests;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::{Error, Result};

pub use choice::{check_cipher_suites, check_protocols};
pub use files::{Stamp, client, stamp};
pub(crate) use files::{certificates, private_key, provider};
pub use wire::Wire;

/// What a TLS client needs, by the names of abs.md 2.3; no part of it is a secret.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TlsFiles {
    /// Authorities to trust, in PEM. Neither this nor `ca_path`: those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// A folder of such files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_path: Option<PathBuf>,
    /// Our certificate, with what leads to its authority, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// Its key, in PEM; given with `cert_file` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The protocol versions, see [`check_protocols`]; none: 1.2 and 1.3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocols: Option<String>,
    /// The cipher suites, see [`check_cipher_suites`]; none: all that rustls has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cipher_suite: Option<String>,
}

/// Makes a TLS stream of a connected socket; the other end must have a certificate for `name`.
///
/// Errors: `tls-refused` (permanent: one end does not accept the other), `connection-lost`.
pub async fn connect(config: &Arc<ClientConfig>, stream: TcpStream, name: &str) -> Result<Wire> {
    let peer = stream.peer_addr().ok();
    let server = ServerName::try_from(name.to_owned()).map_err(|_| {
        Error::permanent("tls-refused", format!("\"{name}\" is no name that a certificate has"))
    })?;
    match TlsConnector::from(Arc::clone(config)).connect(server, stream).await {
        Ok(stream) => Ok(Wire::Tls(Box::new(stream.into()))),
        Err(error) => Err(refused(&error, peer, name).unwrap_or_else(|| {
            Error::temporary("connection-lost", format!("connection to {}: TLS", shown(peer))).source(error)
        })),
    }
}

fn shown(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "a node".to_owned(), |peer| peer.to_string())
}

/// The error `tls-refused`, if `error` means that one end does not accept the other. It may come with the first answer
/// only: with TLS 1.3 a server looks at our certificate when we think that all is done.
pub fn refused(error: &std::io::Error, peer: Option<SocketAddr>, name: &str) -> Option<Error> {
    use rustls::Error as Tls;
    let cause = error.get_ref()?.downcast_ref::<Tls>()?;
    let hint = match cause {
        Tls::InvalidCertificate(_) => {
            "Check the authorities (ca-file, ca-path), and the name that is expected (tls-name, tls.name)."
        }
        Tls::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied,
        ) => {
            "The other end does not accept our certificate: check cert-file and key-file, and whom it trusts."
        }
        Tls::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion)
        | Tls::PeerIncompatible(_) => "Check protocols and cipher-suite against what the other end offers.",
        Tls::InvalidMessage(_) => "Check that this is a TLS port.",
        Tls::AlertReceived(AlertDescription::CloseNotify | AlertDescription::InternalError) => return None,
        _ => "See the log of the other end.",
    };
    let message = format!("TLS with {} as \"{name}\": {cause}", shown(peer));
    Some(Error::permanent("tls-refused", message).hint(hint))
}
