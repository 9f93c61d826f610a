//! What goes wrong on the way, done to each operation by a proxy in front of the real servers.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::Storage;
use crate::proxy::{Fault, Proxy};

/// An operation: what its requests' first lines contain, and what it does.
#[derive(Debug, Clone, Copy)]
pub enum Operation {
    Put,
    Part,
    Finish,
    Get,
    Head,
    Read,
    List,
    Delete,
}

/// The body of a large object: more than two parts of 5 MiB.
fn large() -> &'static [u8] {
    static LARGE: OnceLock<Vec<u8>> = OnceLock::new();
    LARGE.get_or_init(|| (0..11_u32 << 20).map(|at| (at ^ (at >> 9)) as u8).collect())
}

impl Operation {
    pub const ALL: [Self; 8] =
        [Self::Put, Self::Part, Self::Finish, Self::Get, Self::Head, Self::Read, Self::List, Self::Delete];

    /// Whether it changes something.
    fn writes(self) -> bool {
        matches!(self, Self::Put | Self::Part | Self::Finish | Self::Delete)
    }

    async fn run(self, storage: &dyn Storage) -> holdfast::error::Result<()> {
        match self {
            Self::Put => {
                storage.put("t/put", Bytes::from_static(b"whole")).await?;
                assert_eq!(storage.get("t/put", 100).await?.unwrap(), "whole");
            }
            Self::Part | Self::Finish => {
                let mut writer = storage.create("t/large.asb").await?;
                for block in large().chunks(1 << 20) {
                    if let Err(error) = writer.write(Bytes::copy_from_slice(block)).await {
                        writer.abort().await?;
                        return Err(error);
                    }
                }
                assert_eq!(writer.finish().await?, large().len() as u64);
            }
            Self::Get => assert_eq!(storage.get("there/small", 1000).await?.unwrap().len(), 1000),
            Self::Head => assert_eq!(storage.head("there/small").await?.unwrap().size_bytes, 1000),
            Self::Read => {
                let mut reader = storage.open("there/large.asb").await?;
                let mut read = Vec::new();
                while let Some(block) = reader.next().await? {
                    read.extend_from_slice(&block);
                }
                assert!(read == large(), "other bytes came than were written");
            }
            Self::List => assert_eq!(storage.list("there").await?.len(), 2),
            Self::Delete => {
                storage.delete("t/gone").await?;
                assert!(storage.head("t/gone").await?.is_none());
            }
        }
        Ok(())
    }
}

/// Every fault to every operation, so many times in a row: each succeeds with the right bytes, or ends in one clear error and has
/// published nothing. `line` is what the requests of an operation have in their first line.
pub async fn every_fault(
    proxy: &Proxy,
    storage: &dyn Storage,
    beside: &dyn Storage,
    times: &[u32],
    line: impl Fn(Operation) -> &'static str,
) {
    beside.put("there/small", Bytes::from(vec![7; 1000])).await.unwrap();
    let mut writer = beside.create("there/large.asb").await.unwrap();
    writer.write(Bytes::from_static(large())).await.unwrap();
    writer.finish().await.unwrap();
    let passing = [
        Fault::Refused,
        Fault::Lost,
        Fault::Answer(500, ""),
        Fault::Answer(503, ""),
        Fault::Answer(429, "retry-after: 30\r\n"),
    ];
    for operation in Operation::ALL {
        let mut faults = passing.to_vec();
        if matches!(operation, Operation::Get | Operation::Read | Operation::List) {
            faults.extend([Fault::Cut(0), Fault::Cut(100)]);
        }
        for (fault, times) in
            faults.into_iter().flat_map(|fault| times.iter().map(move |times| (fault, *times)))
        {
            beside.delete_prefix("t").await.unwrap();
            beside.put("t/gone", Bytes::from_static(b"1")).await.unwrap();
            proxy.harm(line(operation), fault, times);
            let done = operation.run(storage).await;
            assert_eq!(proxy.left(), 0, "{operation:?} met not every {fault:?}");
            done.unwrap_or_else(|error| panic!("{operation:?}, {times} × {fault:?}: {}", error.report()));
            if matches!(operation, Operation::Part | Operation::Finish) {
                let found = beside.head("t/large.asb").await.unwrap().unwrap();
                assert_eq!(found.size_bytes, large().len() as u64);
            }
        }
        // For good: what may pass ends in bounded time, what may not at once.
        for (fault, code) in
            [(Fault::Answer(403, ""), "storage-denied"), (Fault::Answer(503, ""), "storage-unavailable")]
        {
            beside.delete_prefix("t").await.unwrap();
            proxy.harm(line(operation), fault, u32::MAX);
            let error = operation.run(storage).await.expect_err("it cannot succeed");
            proxy.left();
            assert_eq!(error.code(), code, "{operation:?}: {}", error.report());
            assert!(error.report().contains(&storage.describe()), "{}", error.report());
            assert_eq!(error.report().contains("tries in"), error.is_temporary(), "{}", error.report());
            if operation.writes() {
                assert!(beside.list("t").await.unwrap().is_empty(), "{operation:?} published something");
            }
        }
    }
}
