//! `azure-storage`: a container of Azure's blob service.
//!
//! Blocks of an upload that was not finished are kept by Azure for a week, seen by nobody, and then removed by it: there is
//! no request that lists or removes them.

use std::sync::Arc;

use object_store::azure::MicrosoftAzureBuilder;
use secrecy::ExposeSecret;

use super::cloud::{CloudStorage, Connector, Parts, no_retries, server_of, unbuildable};
use super::retry::{MachinePace, Pace};
use crate::config::{AzureConfig, AzureIdentity, AzureTier};
use crate::error::Result;
use crate::secrets::{Keeper, SecretSource, StoredSecret};
use crate::tls::{self, TlsFiles};

/// Opens the container. Nothing is asked of it yet; its secrets are, and are used until it is opened again.
///
/// Errors: those of [secrets](StoredSecret::fetch) and of [TLS files](tls::client), `storage-refused`.
pub async fn open(config: &AzureConfig, keeper: &Keeper) -> Result<CloudStorage> {
    open_paced(config, keeper, Arc::new(MachinePace::default()), variable("AZURE_AUTHORITY_HOST")).await
}

/// As [`open`], with the time and chance of retries passed in, and the address of who gives tokens (none: Azure's public
/// cloud).
pub async fn open_paced(
    config: &AzureConfig,
    keeper: &Keeper,
    pace: Arc<dyn Pace>,
    authority: Option<String>,
) -> Result<CloudStorage> {
    let files = TlsFiles { ca_file: config.ca_file.clone(), ..TlsFiles::default() };
    let connector = Connector::new(
        &tls::client(files, None).await?,
        server_of(&config.endpoint),
        config.requests_per_second,
        Arc::clone(&pace),
    );
    let builder = MicrosoftAzureBuilder::new()
        .with_endpoint(config.endpoint.clone())
        .with_container_name(&config.container)
        .with_retry(no_retries())
        .with_http_connector(connector);
    let builder = match &authority {
        Some(authority) => builder.with_authority_host(authority.trim_end_matches('/')),
        None => builder,
    };
    let builder = identified(builder, config, keeper).await?;
    let client = builder.build().map_err(|_| unbuildable(&config.place()))?;
    let tier = |tier: Option<AzureTier>| tier.map(|tier| tier.word().to_owned());
    Ok(CloudStorage::new(Parts {
        client: Arc::new(client),
        place: config.place(),
        root: config.path.clone(),
        part_bytes: config.part_bytes,
        data_class: tier(config.tiers.data),
        metadata_class: tier(config.tiers.metadata),
        uploads: None,
        batches: true,
        by_generation: false,
        pace,
    }))
}

async fn identified(
    builder: MicrosoftAzureBuilder,
    config: &AzureConfig,
    keeper: &Keeper,
) -> Result<MicrosoftAzureBuilder> {
    let secret =
        async |source: &SecretSource| StoredSecret::new(source.clone(), keeper.clone()).fetch_text().await;
    // The client wants an account also where a token says who we are.
    let builder = builder.with_account(account_of(&config.endpoint));
    Ok(match &config.identity {
        AzureIdentity::Key { account, key } => {
            builder.with_account(account).with_access_key(secret(key).await?.expose_secret())
        }
        AzureIdentity::Principal { tenant, client, secret: own } => builder.with_client_secret_authorization(
            secret(client).await?.expose_secret(),
            secret(own).await?.expose_secret(),
            secret(tenant).await?.expose_secret(),
        ),
        AzureIdentity::Default => by_environment(builder),
    })
}

/// What Azure's own programs understand, in their order: a service principal, a workload's identity; else that of the machine.
fn by_environment(builder: MicrosoftAzureBuilder) -> MicrosoftAzureBuilder {
    let mut builder = builder;
    if let Some(client) = variable("AZURE_CLIENT_ID") {
        builder = builder.with_client_id(client);
    }
    if let Some(tenant) = variable("AZURE_TENANT_ID") {
        builder = builder.with_tenant_id(tenant);
    }
    match (variable("AZURE_CLIENT_SECRET"), variable("AZURE_FEDERATED_TOKEN_FILE")) {
        (Some(secret), _) => builder.with_client_secret(secret),
        (None, Some(file)) => builder.with_federated_token_file(file),
        (None, None) => builder,
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The account in an address: `https://ACCOUNT.blob.core.windows.net`, or `http://127.0.0.1:10000/ACCOUNT`.
fn account_of(endpoint: &str) -> String {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let account = if path.is_empty() { host.split('.').next() } else { path.split('/').next() };
    account.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::account_of;

    #[test]
    fn the_account_stands_in_the_address() {
        assert_eq!(account_of("https://acme.blob.core.windows.net"), "acme");
        assert_eq!(account_of("http://127.0.0.1:10000/devstoreaccount1"), "devstoreaccount1");
    }
}
