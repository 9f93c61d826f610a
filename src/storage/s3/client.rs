//! The client: HTTP over rustls with ring, credentials, times.

use std::time::{Duration, SystemTime};

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    ConfigBag, Intercept, ProvideCredentials, RequestChecksumCalculation, ResponseChecksumValidation,
    RuntimeComponents, SharedCredentialsProvider, SharedHttpClient,
};
use aws_sdk_s3::error::BoxError;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use secrecy::ExposeSecret;

use crate::clock::SharedClock;
use crate::config::{S3Checksum, S3Config};
use crate::error::{Error, Result};
use crate::secrets::{Keeper, StoredSecret};
use crate::tasks::blocking;
use crate::tls::{self, TlsFiles};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After how long keys are asked for again (abs.md 2.4).
const KEYS_LAST_MS: i64 = 10 * 60 * 1000;
/// The session's name where none is given; it stands in the audit log.
const SESSION: &str = "holdfast";

/// Makes the client; nothing is sent.
pub(super) async fn build(config: &S3Config, keeper: &Keeper, clock: &SharedClock) -> Result<Client> {
    // How long an answer may take is the matter of each request.
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(config.region.clone()))
        .http_client(http(config).await?)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::disabled());
    if let Some(profile) = &config.profile {
        loader = loader.profile_name(profile);
    }
    if let Some((id, secret)) = &config.keys {
        loader = loader.credentials_provider(Keys {
            id: StoredSecret::new(id.clone(), keeper.clone()),
            secret: StoredSecret::new(secret.clone(), keeper.clone()),
            clock: SharedClock::clone(clock),
        });
    }
    let shared = Box::pin(loader.load()).await;
    let mut builder = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(config.path_style)
        .interceptor(WholeAnswers);
    if let Some(endpoint) = &config.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    if config.checksum == S3Checksum::None {
        builder = builder
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    }
    if let Some(role) = &config.role {
        let session = role.session_name.as_deref().unwrap_or(SESSION);
        let mut asked = shared.to_builder();
        asked
            .set_endpoint_url(role.sts_endpoint.clone().or_else(|| shared.endpoint_url().map(str::to_owned)));
        let mut provider =
            AssumeRoleProvider::builder(&role.role_arn).session_name(session).configure(&asked.build());
        if let Some(id) = &role.external_id {
            provider = provider.external_id(id);
        }
        let provider = match shared.credentials_provider() {
            Some(own) => Box::pin(provider.build_from_provider(own)).await,
            None => Box::pin(provider.build()).await,
        };
        builder = builder.credentials_provider(SharedCredentialsProvider::new(provider));
    }
    Ok(Client::from_conf(builder.build()))
}

/// The HTTP client. One TLS provider, ring, as everywhere in Holdfast: docs/decisions/0005-s3-client.md.
async fn http(config: &S3Config) -> Result<SharedHttpClient> {
    let mut trust = TrustStore::empty().with_native_roots(false);
    // A role and an instance's credentials may be asked for elsewhere than at the endpoint.
    let is_clear = config.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let needs_tls = !is_clear || config.role.is_some() || config.keys.is_none();
    if let Some(path) = &config.ca_file {
        // The SDK would panic on what is no certificate.
        tls::client(TlsFiles { ca_file: Some(path.clone()), ..TlsFiles::default() }, None).await?;
        let read = path.clone();
        let pem = blocking(move || {
            std::fs::read(&read).map_err(|error| {
                Error::permanent("tls-files", format!("{}: read the file", read.display())).source(error)
            })
        });
        trust = trust.with_pem_certificate(pem.await?);
    } else if needs_tls {
        match tls::client(TlsFiles::default(), None).await {
            Ok(_) => trust = trust.with_native_roots(true),
            Err(error) if is_clear => {
                tracing::debug!(reason = error.report(), "no authorities to trust: https is of no use");
            }
            Err(error) => return Err(error),
        }
    }
    let unusable = |error| Error::permanent("tls-files", "the authorities cannot be used").source(error);
    let context = TlsContext::builder().with_trust_store(trust).build().map_err(unusable)?;
    let provider = Provider::Rustls(CryptoMode::Ring);
    Ok(Builder::new().tls_provider(provider).tls_context(context).build_https())
}

/// Refuses documents that break off: the SDK takes what there is, and half a list for a whole one (rules.md 6.1).
#[derive(Debug)]
struct WholeAnswers;

impl Intercept for WholeAnswers {
    fn name(&self) -> &'static str {
        "whole answers"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response();
        match answer.body().bytes() {
            Some(body) if answer.status().is_success() && !is_whole(body) => {
                Err("the answer breaks off in the middle of its document".into())
            }
            _ => Ok(()),
        }
    }
}

/// Whether an XML document ends with the end of its first element; anything else is not judged.
fn is_whole(body: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(body) else { return true };
    let text = text.trim();
    let root = match text.strip_prefix("<?xml") {
        Some(declared) => declared.split_once("?>").map_or("", |(_, rest)| rest.trim_start()),
        None => text,
    };
    let Some(root) = root.strip_prefix('<') else { return !text.starts_with("<?xml") };
    let name = root.split(|c: char| c.is_whitespace() || c == '>' || c == '/').next().unwrap_or_default();
    text.ends_with(&format!("</{name}>")) || (text.ends_with("/>") && text.matches('<').count() <= 2)
}

/// Keys that are kept somewhere; asked for when they are needed, and again after a while.
#[derive(Debug)]
struct Keys {
    id: StoredSecret,
    secret: StoredSecret,
    clock: SharedClock,
}

impl Keys {
    async fn fetch(&self) -> Result<Credentials, CredentialsError> {
        let id = self.id.fetch_text().await.map_err(CredentialsError::provider_error)?;
        let secret = self.secret.fetch_text().await.map_err(CredentialsError::provider_error)?;
        let until_ms = u64::try_from(self.clock.now().0 + KEYS_LAST_MS).unwrap_or(0);
        let until = SystemTime::UNIX_EPOCH + Duration::from_millis(until_ms);
        let (id, secret) = (id.expose_secret(), secret.expose_secret());
        Ok(Credentials::new(id, secret, None, Some(until), "Holdfast"))
    }
}

impl ProvideCredentials for Keys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.fetch())
    }
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn a_document_that_breaks_off_is_told() {
        let whole = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<List xmlns=\"x\"><Key>a</Key></List>\n";
        assert!(is_whole(whole.as_bytes()));
        for end in 6..whole.len() - "</List>\n".len() {
            assert!(!is_whole(&whole.as_bytes()[..end]), "{:?}", &whole[..end]);
        }
        for other in ["", "a text", "<List/>", "<?xml version=\"1.0\"?><List />", "{\"json\": 1}"] {
            assert!(is_whole(other.as_bytes()), "{other:?}");
        }
    }
}
