//! `gcp-storage`: a bucket of Google Cloud Storage, by its XML interface.

use std::fmt::Write as _;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::cloud::{
    CloudStorage, Connector, OpenUpload, Parts, UploadPage, Uploads, no_retries, server_of, unbuildable,
};
use super::retry::{MachinePace, Pace};
use crate::config::{GcpConfig, GcpIdentity};
use crate::error::{Error, Result};
use crate::secrets::{Keeper, SecretSource, StoredSecret};
use crate::tls::{self, TlsFiles};

/// Opens the bucket. Nothing is asked of it yet; its key is, and is used until it is opened again.
///
/// Errors: those of [secrets](StoredSecret::fetch) and of [TLS files](tls::client), `storage-refused`.
pub async fn open(config: &GcpConfig, keeper: &Keeper) -> Result<CloudStorage> {
    open_paced(config, keeper, Arc::new(MachinePace::default())).await
}

/// As [`open`], with the time and chance of retries passed in.
pub async fn open_paced(config: &GcpConfig, keeper: &Keeper, pace: Arc<dyn Pace>) -> Result<CloudStorage> {
    let files = TlsFiles { ca_file: config.ca_file.clone(), ..TlsFiles::default() };
    let connector = Connector::new(
        &tls::client(files, None).await?,
        server_of(&config.endpoint),
        config.requests_per_second,
        Arc::clone(&pace),
    );
    // The address of the document, never one that a key names: the place says where backups go.
    let builder = GoogleCloudStorageBuilder::new()
        .with_base_url(&config.endpoint)
        .with_bucket_name(&config.bucket)
        .with_retry(no_retries())
        .with_http_connector(connector.clone());
    let builder = identified(builder, config, keeper).await?;
    let client = Arc::new(builder.build().map_err(|_| unbuildable(&config.place()))?);
    let uploads = GcpUploads {
        client: Arc::clone(&client),
        http: HttpClient::new(connector),
        bucket: format!("{}/{}", config.endpoint, config.bucket),
    };
    Ok(CloudStorage::new(Parts {
        client,
        place: config.place(),
        root: config.path.clone(),
        part_bytes: config.part_bytes,
        data_class: config.class.map(|class| class.word().to_owned()),
        metadata_class: None,
        uploads: Some(Arc::new(uploads)),
        batches: false,
        by_generation: true,
        pace,
    }))
}

async fn identified(
    builder: GoogleCloudStorageBuilder,
    config: &GcpConfig,
    keeper: &Keeper,
) -> Result<GoogleCloudStorageBuilder> {
    let secret = async |source: SecretSource| StoredSecret::new(source, keeper.clone()).fetch_text().await;
    match &config.identity {
        GcpIdentity::Key(source) => with_key(builder, &secret(source.clone()).await?, None),
        GcpIdentity::KeyFile(path) => {
            with_key(builder, &secret(SecretSource::File(path.clone())).await?, Some(path))
        }
        GcpIdentity::Default => match std::env::var_os("GOOGLE_APPLICATION_CREDENTIALS") {
            Some(path) if !path.is_empty() => {
                let path = PathBuf::from(path);
                with_key(builder, &secret(SecretSource::File(path.clone())).await?, Some(&path))
            }
            _ => Ok(builder),
        },
    }
}

/// What is looked at of a key; the rest is the client's matter.
#[derive(Deserialize)]
struct KeyKind {
    #[serde(rename = "type", default)]
    kind: Option<String>,
}

/// A login of gcloud is taken from a file only: the client reads it itself.
fn with_key(
    builder: GoogleCloudStorageBuilder,
    key: &SecretString,
    file: Option<&FilePath>,
) -> Result<GoogleCloudStorageBuilder> {
    // The parser's own text may quote the key.
    let kind: KeyKind = serde_json::from_str(key.expose_secret()).map_err(|_| {
        Error::permanent("secret-malformed", "the key of gcp-storage is not JSON")
            .hint("Give the whole key of a service account, as Google's console saves it.")
    })?;
    match (kind.kind.as_deref(), file.and_then(FilePath::to_str)) {
        (None | Some("service_account"), _) => Ok(builder.with_service_account_key(key.expose_secret())),
        (Some("authorized_user"), Some(file)) => Ok(builder.with_application_credentials(file)),
        _ => Err(Error::permanent("secret-malformed", "the key of gcp-storage is not of a service account")
            .hint("Give the key of a service account; a login of gcloud is taken from a file.")),
    }
}

/// Unfinished uploads of a bucket.
#[derive(Debug)]
struct GcpUploads {
    client: Arc<GoogleCloudStorage>,
    http: HttpClient,
    /// The address of the bucket.
    bucket: String,
}

/// The server's list of unfinished uploads.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UploadList {
    #[serde(default)]
    upload: Vec<ListedUpload>,
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: Option<String>,
    #[serde(default)]
    next_upload_id_marker: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedUpload {
    key: String,
    upload_id: String,
}

#[async_trait]
impl Uploads for GcpUploads {
    async fn page(&self, prefix: &str, from: Option<&(String, String)>) -> object_store::Result<UploadPage> {
        let mut url = format!("{}?uploads&prefix={}", self.bucket, encoded(prefix));
        if let Some((key, id)) = from {
            url = format!("{url}&key-marker={}&upload-id-marker={}", encoded(key), encoded(id));
        }
        let credential = self.client.credentials().get_credential().await?;
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = url.parse().map_err(unusable)?;
        let bearer = format!("Bearer {}", credential.bearer);
        request.headers_mut().insert("authorization", bearer.parse().map_err(unusable)?);
        let response = self.http.execute(request).await.map_err(unusable)?;
        if !response.status().is_success() {
            return Err(unusable(std::io::Error::other("refused")));
        }
        let body = response.into_body().bytes().await.map_err(unusable)?;
        let list: UploadList = quick_xml::de::from_reader(body.as_ref()).map_err(unusable)?;
        let uploads = list.upload.into_iter().map(|open| OpenUpload { path: open.key, id: open.upload_id });
        let next = list.next_key_marker.zip(list.next_upload_id_marker).filter(|_| list.is_truncated);
        // A server may list what only begins with the same letters.
        Ok(UploadPage { uploads: uploads.filter(|open| open.path.starts_with(prefix)).collect(), next })
    }

    async fn abort(&self, path: &Path, id: &str) -> object_store::Result<()> {
        self.client.abort_multipart(path, &id.to_owned()).await
    }
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic { store: "GCS", source: Box::new(error) }
}

/// Everything but letters and digits as `%XX`.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(byte.into());
        } else {
            // Writing to a text cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
