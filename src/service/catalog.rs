//! The cache of the catalog: at the start, and again and again, it hears what other instances did in storage.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::error::Result;

/// Storage is read again this often: see docs/api.md.
const READ_EVERY: Duration = Duration::from_mins(10);

/// Reads storage at once, then again and again.
pub(super) async fn keep(app: Arc<App>, stop: CancellationToken) -> Result<()> {
    let keeping = async {
        let mut is_start = true;
        loop {
            let kept = app.keep_catalog(is_start).await;
            is_start = false;
            if let Err(error) = kept {
                tracing::warn!(reason = error.report(), "the cache of the catalog is not up to date");
            }
            tokio::time::sleep(READ_EVERY).await;
        }
    };
    stop.run_until_cancelled(keeping).await;
    Ok(())
}
