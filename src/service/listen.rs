//! The listeners: bound before anything else, served last.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;

use actix_web::dev::Server;

use super::certificates::key_password;
use super::options::{ServiceOptions, loopback_note};
use crate::api::{self, Certificates, HttpOptions};
use crate::app::App;
use crate::config::{Config, HttpConfig, ServiceConfig};
use crate::error::{Error, Result};

/// What is listened on.
pub(super) struct Listeners {
    http: Option<TcpListener>,
    https: Option<(TcpListener, Certificates)>,
}

impl Listeners {
    /// Binds the ports and reads the certificate.
    ///
    /// Errors: `http-listen`, `tls-files`, those of the key's password.
    pub(super) async fn bind(options: &ServiceOptions, service: &ServiceConfig) -> Result<Self> {
        let open = has_auth(&options.config);
        let http = (!service.http.disabled)
            .then(|| bind("http", &service.http, options.http_port, open))
            .transpose()?;
        let https = match &service.https {
            None => None,
            Some(https) => {
                let password = key_password(&options.config).await?;
                let certificates = Certificates::load(https.clone(), password).await?;
                Some((bind("https", &https.listener, None, open)?, certificates))
            }
        };
        Ok(Self { http, https })
    }

    pub(super) fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    pub(super) fn https_address(&self) -> Option<SocketAddr> {
        self.https.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// The servers, to be polled.
    pub(super) async fn serve(
        self,
        app: &Arc<App>,
        service: &ServiceConfig,
    ) -> Result<(Vec<Server>, Option<Certificates>)> {
        let mut servers = Vec::new();
        if let Some(listener) = self.http {
            let options = HttpOptions { listener, config: service.http.clone(), tls: None };
            servers.push(api::server(app, options)?);
        }
        let (Some((listener, certificates)), Some(https)) = (self.https, &service.https) else {
            return Ok((servers, None));
        };
        let tls = Some(certificates.server_config().await?);
        servers.push(api::server(app, HttpOptions { listener, config: https.listener.clone(), tls })?);
        Ok((servers, Some(certificates)))
    }
}

fn has_auth(config: &Config) -> bool {
    config.service.as_ref().is_some_and(|service| service.auth.is_some())
}

pub(super) fn say_where(
    config: &Config,
    service: &ServiceConfig,
    http: Option<SocketAddr>,
    https: Option<SocketAddr>,
) {
    let open = has_auth(config);
    let listeners = [
        ("http", http, Some(&service.http)),
        ("https", https, service.https.as_ref().map(|https| &https.listener)),
    ];
    for (scheme, address, listener) in listeners {
        let (Some(address), Some(listener)) = (address, listener) else { continue };
        tracing::info!(%address, "serving {scheme}");
        if open {
            if scheme == "http" && !address.ip().is_loopback() {
                tracing::warn!(%address, "tokens travel in clear here: see service.https");
            }
        } else if listener.address.is_none() {
            tracing::warn!("{}", loopback_note(address.port()));
        } else if !address.ip().is_loopback() {
            tracing::warn!(%address, "there is no authentication: who reaches this address can restore and read backups");
        }
    }
    if http.is_none() && https.is_none() {
        tracing::warn!("nothing is served: service.http.disabled is on and there is no service.https");
    }
}

/// Binds where the configuration says; without an address to loopback only, or with authentication everywhere
/// (rules.md 7.2).
fn bind(section: &str, http: &HttpConfig, port: Option<u16>, open: bool) -> Result<TcpListener> {
    let port = port.unwrap_or(http.port);
    let everywhere = if open { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
    let host = http.address.clone().unwrap_or_else(|| everywhere.to_string());
    let place = format!("{host}:{port}");
    let refused = |error| {
        Error::permanent("http-listen", format!("listen on {place}")).source(error).hint(format!(
            "Set service.{section}.address and service.{section}.port to what is free on this machine."
        ))
    };
    let addresses: Vec<SocketAddr> = (host.as_str(), port).to_socket_addrs().map_err(refused)?.collect();
    TcpListener::bind(addresses.as_slice()).map_err(refused)
}
