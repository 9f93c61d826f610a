//! Who has changed what: every request that may is written down before it acts.

use super::App;
use crate::error::Result;
use crate::store::{AuditEnd, AuditFilter, AuditInsert, AuditRow};

impl App {
    /// Writes a request down before it acts; on an error it must not.
    pub async fn audit_begins(&self, request: &AuditInsert) -> Result<i64> {
        self.jobs.store().begin_audit(request, self.now()).await
    }

    /// Adds what came of it. It has acted by now, so what cannot be written is only logged.
    pub async fn audit_ends(&self, id: i64, end: &AuditEnd) {
        if let Err(error) = self.jobs.store().end_audit(id, end, self.now()).await {
            tracing::warn!(id, reason = error.report(), "the outcome of a request is not in the audit");
        }
    }

    /// One page, newest first, and where the next one begins.
    pub async fn audit(&self, filter: &AuditFilter, limit: u32) -> Result<(Vec<AuditRow>, Option<i64>)> {
        self.jobs.store().audit(filter, limit).await
    }
}
