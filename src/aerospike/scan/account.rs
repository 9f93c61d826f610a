//! The node's own account of a query.
//!
//! A node that cannot read a record leaves it out, counts it as failed and ends the query with "ok" (server 8.1,
//! verified in its source): only this account tells.

use crate::error::{Error, Result};

use super::super::info::{number_of, refusal, value_of};
use super::super::node::Node;

/// What `query-show` says of one query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    /// It still runs.
    pub(super) active: bool,
    /// Records that the node could not read.
    pub(super) failed: u64,
    /// Records that the node put on the wire.
    pub(super) succeeded: u64,
    /// How far it is, in hundredths of a percent; 0 where the node does not say.
    pub(super) progress: u64,
}

impl Account {
    /// Asks `node`. `None`: it does not know the query (any more), or not this command (before 6.0).
    pub(super) async fn of(node: &Node, query: u64) -> Result<Option<Self>> {
        let command = format!("query-show:id={query}");
        let answer = node.ask(&[command.as_bytes()]).await?.pop().unwrap_or_default();
        Ok(Self::parse(&answer))
    }

    fn parse(answer: &[u8]) -> Option<Self> {
        if refusal(answer).is_some() {
            return None;
        }
        Some(Self {
            active: value_of(answer, b':', "status")?.starts_with(b"active"),
            failed: number_of(answer, b':', "recs-failed")?,
            succeeded: number_of(answer, b':', "recs-succeeded")?,
            progress: value_of(answer, b':', "job-progress").map_or(0, hundredths),
        })
    }

    /// Compares with what arrived; `received` only where the two must be equal.
    pub(super) fn check(&self, node: &Node, received: Option<u64>) -> Result<()> {
        if self.failed > 0 {
            return Err(Error::temporary(
                "records-unreadable",
                format!("node {node} could not read {} records and left them out", self.failed),
            )
            .hint("Look for \"record unreadable\" in that node's log; its device may be damaged."));
        }
        match received {
            Some(received) if received != self.succeeded => Err(Error::temporary(
                "scan-incomplete",
                format!("node {node} says it sent {} records, but {received} arrived", self.succeeded),
            )),
            _ => Ok(()),
        }
    }
}

fn hundredths(percent: &[u8]) -> u64 {
    let percent = std::str::from_utf8(percent).ok().and_then(|text| text.parse::<f64>().ok());
    (percent.unwrap_or(0.0) * 100.0) as u64
}

#[cfg(test)]
mod tests {
    use super::Account;

    #[test]
    fn the_account_of_a_real_node_is_read() {
        // server 8.1.2
        let answer = b"trid=18077583087382506575:ns=source-ns1:n-pids-requested=4096:n-keyds-requested=0:rps=0:\
            active-threads=0:status=done(ok):job-progress=100.00:run-time=7:time-since-done=116:recs-throttled=0:\
            recs-filtered-meta=0:recs-filtered-bins=0:recs-succeeded=2:recs-failed=0:from=127.0.0.1+49820:\
            job-type=basic:net-io-bytes=230:net-io-time=0:socket-timeout=0";
        assert_eq!(
            Account::parse(answer),
            Some(Account { active: false, failed: 0, succeeded: 2, progress: 10_000 })
        );
        assert_eq!(Account::parse(b"ERROR:2:job not found"), None);
    }
}
