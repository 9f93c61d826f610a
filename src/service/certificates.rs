//! The certificate of HTTPS is read again when its files change, and whenever the configuration is.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::api::Certificates;
use crate::app::App;
use crate::config::{Config, HTTPS_KEY_PASSWORD};
use crate::error::{Error, Result};
use crate::secrets::{Secret, SecretSource, StoredSecret};

/// As ABS (abs.md 2.2).
const EVERY: Duration = Duration::from_secs(10);

/// Looks at the files until `stop`; connections that are open go on with what they began with.
pub(super) async fn keep_fresh(
    app: Arc<App>,
    certificates: Certificates,
    stop: CancellationToken,
) -> Result<()> {
    let mut seen = certificates.stamp().await?;
    loop {
        let told = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = app.reload_asked() => true,
            () = tokio::time::sleep(EVERY) => false,
        };
        let now = certificates.stamp().await?;
        if !told && now == seen {
            continue;
        }
        let read = async { certificates.reload(key_password(&app.config()).await?).await };
        match read.await {
            Ok(()) => tracing::info!("the certificate of https was read again"),
            // Half written, or only one of the two replaced yet: the next change is looked at again.
            Err(error) => tracing::error!(reason = error.report(), "the old certificate of https stays"),
        }
        seen = now;
    }
}

/// The password of the key of HTTPS, asked for now.
pub(super) async fn key_password(config: &Config) -> Result<Option<SecretString>> {
    let https = config.service.as_ref().and_then(|service| service.https.as_ref());
    let Some((https, secret)) = https.and_then(|https| Some((https, https.key_file_password.as_ref()?)))
    else {
        return Ok(None);
    };
    let agent = match (&https.secret_agent, &https.secret_agent_name) {
        (Some(agent), _) => Some(agent.resolve()),
        (None, Some(name)) => {
            let unknown = || {
                Error::permanent("secret-missing", format!("secret agent \"{name}\" not found"))
                    .hint("Configure it in secret-agents.")
            };
            Some(config.secret_agents.get(name).ok_or_else(unknown)?.resolve())
        }
        (None, None) => None,
    };
    let source = match secret {
        Secret::Literal(_) => SecretSource::Kept(HTTPS_KEY_PASSWORD.to_owned()),
        Secret::Reference(reference) => SecretSource::of(reference, agent.as_ref())?,
    };
    StoredSecret::new(source, config.keeper()).fetch_text().await.map(Some)
}
