//! Reading words, instants and documents of a row.

use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::model::UnixMillis;

/// The enumeration value whose word is in `column`.
pub(super) fn word<T>(row: &SqliteRow, column: &str, parse: fn(&str) -> Option<T>) -> sqlx::Result<T> {
    let text: &str = row.try_get(column)?;
    parse(text).ok_or_else(|| decode(column, format!("unknown word {text:?}")))
}

/// The same where the column may be null.
pub(super) fn word_or_none<T>(
    row: &SqliteRow,
    column: &str,
    parse: fn(&str) -> Option<T>,
) -> sqlx::Result<Option<T>> {
    match row.try_get::<Option<&str>, _>(column)? {
        None => Ok(None),
        Some(_) => word(row, column, parse).map(Some),
    }
}

/// The instant in `column`.
pub(super) fn at(row: &SqliteRow, column: &str) -> sqlx::Result<UnixMillis> {
    row.try_get(column).map(UnixMillis)
}

/// The instant in `column`, which may be null.
pub(super) fn at_or_none(row: &SqliteRow, column: &str) -> sqlx::Result<Option<UnixMillis>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(UnixMillis))
}

/// The JSON value in `column`, which may be null.
pub(super) fn json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> sqlx::Result<Option<T>> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| serde_json::from_str(text).map_err(|error| decode(column, error))).transpose()
}

/// The count in `column`.
pub(super) fn count(row: &SqliteRow, column: &str) -> sqlx::Result<u64> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value).map_err(|error| decode(column, error))
}

/// A counter as SQLite holds it.
pub(super) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What is in `column` is not what is written there.
pub(super) fn decode(
    column: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: source.into() }
}
