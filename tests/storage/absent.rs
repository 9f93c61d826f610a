//! rules.md 6.1: only a certain "not there" of the object is absence.

use bytes::Bytes;

use crate::Storage;

/// Every question to a storage that cannot be asked is this error, which says where and shows no secret.
pub async fn no_question_is_absence(storage: &dyn Storage, code: &str, secrets: &[&str]) {
    let errors = [
        storage.get("a/b", 10).await.err(),
        storage.head("a/b").await.err(),
        storage.open("a/b").await.err(),
        storage.list("a").await.err(),
        storage.list_dirs("a").await.err(),
        storage.delete_prefix("a").await.err(),
    ];
    every_one(storage, &errors, code, secrets);
}

/// As [`no_question_is_absence`], of what changes something; some servers make the bucket that they are told to write to.
pub async fn no_change_is_done(storage: &dyn Storage, code: &str, secrets: &[&str]) {
    let errors =
        [storage.delete("a/b").await.err(), storage.put("a/b", Bytes::from_static(b"1")).await.err()];
    every_one(storage, &errors, code, secrets);
}

fn every_one(storage: &dyn Storage, errors: &[Option<holdfast::error::Error>], code: &str, secrets: &[&str]) {
    for (index, error) in errors.iter().enumerate() {
        let error = error.as_ref().unwrap_or_else(|| panic!("{code}: call {index} succeeded"));
        assert_eq!(error.code(), code, "call {index}: {}", error.report());
        let text = format!("{error:?} {}", error.report());
        assert!(text.contains(&storage.describe()), "{text}");
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "{text}");
    }
}
