//! Runs a job in a test.

use std::sync::Arc;
use std::time::Duration;

use super::{Jobs, Runner, RunnerOptions, WorkFactory};
use crate::store::{JobId, JobRow};

/// Runs jobs with the work of `factory` until this one has ended; its row.
pub(crate) async fn run_to_end(jobs: &Jobs, factory: Arc<dyn WorkFactory>, id: JobId) -> JobRow {
    let options = RunnerOptions {
        owner: "test".to_owned(),
        max_running_jobs: 1,
        memory: crate::memory::Budget::default(),
    };
    let runner = Runner::new(jobs.clone(), factory, options);
    let ended = async {
        loop {
            let row = jobs.store().job(id).await.unwrap().unwrap();
            if row.status.is_terminal() {
                runner.stop(Duration::ZERO).await;
                return row;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (ran, row) = tokio::join!(runner.run(), ended);
    ran.unwrap();
    row
}
