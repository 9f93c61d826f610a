//! The node's own account of a query.
//!
//! A node that cannot read a record leaves it out, counts it as failed and ends the query with "ok" (server 8.1,
//! verified in its source): only this account tells.

use crate::error::{Error, Result};

use super::super::cluster::Cluster;
use super::super::info::{number_of, refusal, value_of};
use super::super::node::Node;
use super::super::wire::FRAME_HEADER_BYTES;

/// What `query-show` says of one query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::aerospike) struct Account {
    /// It still runs.
    pub(super) active: bool,
    /// Records that the node could not read.
    pub(super) failed: u64,
    /// Records that the node put on the wire.
    pub(super) succeeded: u64,
    /// Bytes that the node sent; `None`: it does not say.
    pub(super) sent_bytes: Option<u64>,
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

    pub(in crate::aerospike) fn parse(answer: &[u8]) -> Option<Self> {
        if refusal(answer).is_some() {
            return None;
        }
        Some(Self {
            active: value_of(answer, b':', "status")?.starts_with(b"active"),
            failed: number_of(answer, b':', "recs-failed")?,
            succeeded: number_of(answer, b':', "recs-succeeded")?,
            sent_bytes: number_of(answer, b':', "net-io-bytes"),
            progress: value_of(answer, b':', "job-progress").map_or(0, hundredths),
        })
    }

    /// Compares with what arrived; `received` only of a stream that was read to its end.
    pub(super) fn check(&self, node: &Node, received: Option<&Received>) -> Result<()> {
        if self.failed > 0 {
            return Err(Error::temporary(
                "records-unreadable",
                format!("node {node} could not read {} records and left them out", self.failed),
            )
            .hint("Look for \"record unreadable\" in that node's log; its device may be damaged."));
        }
        match received.map(|received| received.differs_from(self)) {
            Some(Some(difference)) => {
                Err(Error::temporary("scan-incomplete", format!("node {node} says it {difference} arrived")))
            }
            _ => Ok(()),
        }
    }
}

/// Asks every node about queries of an earlier read that nobody has vouched for; how many no node knows any more.
///
/// What a node says now holds for the records that it had sent: it counts a record that it cannot read before it sends what
/// comes after. Errors: `records-unreadable`.
pub async fn unreadable(cluster: &Cluster, queries: &[u64]) -> Result<u64> {
    let nodes = cluster.nodes().await;
    let mut unknown = 0;
    for query in queries {
        let mut known = false;
        for node in &nodes {
            // A node that cannot be asked does not vouch.
            if let Ok(Some(account)) = Account::of(node, *query).await {
                account.check(node, None)?;
                known = true;
            }
        }
        unknown += u64::from(!known);
    }
    Ok(unknown)
}

/// What arrived of one query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Received {
    pub(super) records: u64,
    /// With the headers of the frames.
    pub(super) bytes: u64,
    pub(super) frames: u64,
    /// Only records that have one of some bins were asked for.
    pub(super) some_bins: bool,
    /// Some frames were compressed: whether the node counts them before or after that is not known.
    pub(super) compressed: bool,
}

impl Received {
    /// How it is less than the node says, if it is.
    ///
    /// A node counts a record that has none of the bins asked for, but does not send it (wire.md 9): there only the bytes
    /// tell. Server 8.1 counts the header of each frame of records twice (measured), so that much more is no difference.
    fn differs_from(&self, account: &Account) -> Option<String> {
        if !self.some_bins {
            let differs = self.records != account.succeeded;
            return differs.then(|| format!("sent {} records, but {}", account.succeeded, self.records));
        }
        if self.records > account.succeeded {
            return Some(format!("read {} records, but {}", account.succeeded, self.records));
        }
        if self.compressed {
            return None;
        }
        let most = self.bytes + self.frames * FRAME_HEADER_BYTES as u64;
        let sent = account.sent_bytes.filter(|sent| *sent > most)?;
        Some(format!("sent {sent} bytes, but {}", self.bytes))
    }
}

fn hundredths(percent: &[u8]) -> u64 {
    let percent = std::str::from_utf8(percent).ok().and_then(|text| text.parse::<f64>().ok());
    (percent.unwrap_or(0.0) * 100.0) as u64
}

#[cfg(test)]
mod tests {
    use super::{Account, Received};

    #[test]
    fn the_account_of_a_real_node_is_read() {
        // server 8.1.2
        let answer = b"trid=18077583087382506575:ns=source-ns1:n-pids-requested=4096:n-keyds-requested=0:rps=0:\
            active-threads=0:status=done(ok):job-progress=100.00:run-time=7:time-since-done=116:recs-throttled=0:\
            recs-filtered-meta=0:recs-filtered-bins=0:recs-succeeded=2:recs-failed=0:from=127.0.0.1+49820:\
            job-type=basic:net-io-bytes=230:net-io-time=0:socket-timeout=0";
        assert_eq!(
            Account::parse(answer),
            Some(Account { active: false, failed: 0, succeeded: 2, sent_bytes: Some(230), progress: 10_000 })
        );
        assert_eq!(Account::parse(b"ERROR:2:job not found"), None);
    }

    #[test]
    fn with_a_bin_list_the_bytes_tell_what_is_missing() {
        // measured on server 8.1.2: 20 records, of which 10 have the bin
        let account =
            Account { active: false, failed: 0, succeeded: 20, sent_bytes: Some(1024), progress: 10_000 };
        let all = Received { records: 10, bytes: 992, frames: 5, some_bins: true, compressed: false };
        assert_eq!(all.differs_from(&account), None);
        let less = Received { records: 9, bytes: 992 - 96, ..all };
        assert!(less.differs_from(&account).unwrap().contains("1024 bytes, but 896"));
        let silent = Account { sent_bytes: None, ..account };
        assert_eq!(less.differs_from(&silent), None);
        assert_eq!(Received { compressed: true, ..less }.differs_from(&account), None);
        assert!(Received { records: 21, ..all }.differs_from(&silent).is_some());
        assert!(Received { some_bins: false, ..all }.differs_from(&account).is_some());
    }
}
