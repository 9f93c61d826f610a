//! What went wrong with a request, in the words of [`Error`].

use std::error::Error as StdError;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;

use crate::error::{Error, Retry};
use crate::storage::retry::Failure;
use crate::tls;

/// The status of the answer, if there was one.
pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|answer| answer.status().as_u16())
}

/// Whether the answer says that the exact key does not exist (rules.md 6.1).
pub(super) fn is_absent<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    status(error) == Some(404) && error.code() == Some("NoSuchKey")
}

/// The error of an object that lies in an archive, if that is what the answer says.
pub(super) fn archived(
    error: &SdkError<GetObjectError, HttpResponse>,
    bucket: &str,
    object: &str,
) -> Option<Error> {
    let GetObjectError::InvalidObjectState(state) = error.as_service_error()? else { return None };
    let class = state.storage_class().map_or("an archive class", |class| class.as_str());
    let tier = state.access_tier().map(|tier| format!(", tier {}", tier.as_str())).unwrap_or_default();
    let text = format!(
        "the object is archived (storage class {class}{tier}) and cannot be read before it is thawed"
    );
    Some(Error::permanent("storage-archived", text).hint(format!(
        "Thaw it, and with it all data files of the backup, then try again; it takes minutes to days: aws s3api \
         restore-object --bucket {bucket} --key '{object}' --restore-request Days=7"
    )))
}

/// What went wrong, and when the server wants to be asked again.
pub(super) fn failure<E>(error: SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let retry_after = error.raw_response().and_then(|answer| {
        let seconds = answer.headers().get("retry-after")?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    });
    let error = match (status(&error), &error) {
        (Some(status), SdkError::ServiceError(_)) => answered(status, &error),
        _ => unanswered(error),
    };
    Failure { error, retry_after }
}

/// What a server's answer says.
fn answered<E: ProvideErrorMetadata>(status: u16, error: &SdkError<E, HttpResponse>) -> Error {
    let code = error.code().unwrap_or_default();
    let text = match error.message().filter(|message| !message.is_empty()) {
        Some(message) => format!("the server answers {status} {code}: {message}"),
        None => format!("the server answers {status} {code}").trim_end().to_owned(),
    };
    let region = error.raw_response().and_then(|answer| answer.headers().get("x-amz-bucket-region"));
    match (code, status) {
        ("NoSuchBucket", _) => Error::permanent("storage-bucket-missing", text)
            .hint("Make the bucket, or correct \"bucket\" and \"s3-region\"."),
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _)
        | (_, 301 | 307) => {
            let hint = match region {
                Some(region) => format!("The bucket is in the region {region}: set \"s3-region\" to it."),
                None => "Check \"s3-region\" and \"s3-endpoint-override\".".to_owned(),
            };
            Error::permanent("storage-refused", text).hint(hint)
        }
        ("RequestTimeTooSkewed", _) => {
            Error::permanent("storage-denied", text).hint("Set this machine's clock.")
        }
        ("InvalidObjectState", _) => Error::permanent("storage-archived", text)
            .hint("Thaw the data files of the backup (aws s3api restore-object), then try again."),
        // Credentials that are asked for anew are good again; damaged or too slow on the way; busy.
        (
            "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "RequestTimeout" | "BadDigest"
            | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" | "IncompleteBody" | "OperationAborted"
            | "ConditionalRequestConflict" | "InternalError" | "SlowDown" | "ServiceUnavailable" | "Throttling"
            | "RequestLimitExceeded",
            _,
        ) => Error::temporary("storage-unavailable", text),
        ("QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" | "InsufficientStorage", _)
        | (_, 507) => Error::temporary("storage-full", text)
            .hint("Free space, raise the quota, or keep fewer backups with retention."),
        (_, 401 | 403) => Error::permanent("storage-denied", text).hint(
            "Check the access key and its rights: s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject, \
             s3:AbortMultipartUpload, s3:ListBucketMultipartUploads.",
        ),
        (_, 412) => Error::temporary("storage-io", "the object was changed while it was read"),
        (_, 408 | 409 | 429 | 500 | 502..=506 | 508..) => Error::temporary("storage-unavailable", text),
        _ => Error::permanent("storage-refused", text)
            .hint("Check the options of the storage against what the server offers."),
    }
}

/// Why there is no answer.
fn unanswered<E>(error: SdkError<E, HttpResponse>) -> Error
where
    E: StdError + Send + Sync + 'static,
{
    for cause in causes(&error) {
        if let Some(own) = cause.downcast_ref::<Error>() {
            return again(own);
        }
        if let Some(credentials) = cause.downcast_ref::<CredentialsError>()
            && !causes(credentials).any(<dyn StdError>::is::<Error>)
        {
            return no_credentials(credentials);
        }
        if let Some(refused) = refused_certificate(cause) {
            return refused;
        }
    }
    let text = match &error {
        SdkError::ConstructionFailure(_) => {
            return Error::permanent("storage-refused", "no request can be made of it").source(error);
        }
        SdkError::TimeoutError(_) => "the server does not answer in time",
        SdkError::DispatchFailure(_) => "the server is not reached",
        _ => "the server's answer is not understood",
    };
    Error::temporary("storage-unavailable", text)
        .hint("Check the network, \"s3-endpoint-override\" and \"s3-region\".")
        .source(error)
}

/// The error `tls-refused`, if one end does not accept the other. The client has it as a text only.
fn refused_certificate(cause: &(dyn StdError + 'static)) -> Option<Error> {
    if let Some(refused) = cause.downcast_ref::<rustls::Error>() {
        return tls::refused(&std::io::Error::other(refused.clone()), None, "the server's host");
    }
    let text = cause.to_string();
    text.contains("invalid peer certificate").then(|| {
        Error::permanent("tls-refused", text)
            .hint("Check \"ca-file\", and the name that is in the server's certificate.")
    })
}

/// An error of ours that went through the SDK, which gives no errors back.
fn again(own: &Error) -> Error {
    let (code, text) = (own.code(), own.report_without_hint());
    let again = match own.retry() {
        Retry::Permanent => Error::permanent(code, text),
        Retry::Temporary => Error::temporary(code, text),
    };
    match own.hint_text() {
        Some(hint) => again.hint(hint.to_owned()),
        None => again,
    }
}

fn no_credentials(error: &CredentialsError) -> Error {
    let why: Vec<String> = causes(error).map(ToString::to_string).collect();
    let why = why.join(": ");
    let is_refused = why.contains("AccessDenied");
    let text = format!("no credentials: {why}");
    match error {
        CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) if !is_refused => {
            Error::temporary("storage-unavailable", text)
        }
        _ => Error::permanent("storage-denied", text).hint(
            "Give \"access-key-id\" and \"secret-access-key\", an \"s3-profile\", or what AWS's own chain finds: \
             variables, web identity, container, instance. A role must trust whoever takes it.",
        ),
    }
}

fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // Whose source is that of what is in it.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        inner.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| error.source())
    })
}
