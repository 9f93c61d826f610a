//! `holdfast demo`.

use std::path::Path;

use crate::error::{Error, Result};

/// Not built yet.
#[allow(clippy::unused_async)] // what replaces it awaits
pub async fn run(_config: Option<&Path>, _dir: &Path, _exit: bool) -> Result<()> {
    Err(Error::permanent("not-built", "the demo is not built yet"))
}
