//! A storage that fails on demand, for tests: the nth call of an operation, before or after it took effect.
//!
//! Unit tests say in code what fails; the crash tests by the environment of the process (feature `fault-injection`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::{ObjectInfo, ObjectReader, ObjectWriter, Storage};
use crate::error::{Error, Result};

/// One operation of a storage, its writers or its readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // the methods' own names
pub enum Op {
    Put,
    Create,
    Write,
    Finish,
    Get,
    Open,
    Next,
    Head,
    List,
    ListDirs,
    Delete,
    DeletePrefix,
}

#[cfg(feature = "fault-injection")]
impl Op {
    fn call(self) -> crate::fault::Call {
        let (name, effect) = match self {
            Self::Put => ("storage-put", true),
            Self::Create => ("storage-create", true),
            Self::Write => ("storage-write", true),
            Self::Finish => ("storage-finish", true),
            Self::Get => ("storage-get", false),
            Self::Open => ("storage-open", false),
            Self::Next => ("storage-next", false),
            Self::Head => ("storage-head", false),
            Self::List => ("storage-list", false),
            Self::ListDirs => ("storage-list-dirs", false),
            Self::Delete => ("storage-delete", true),
            Self::DeletePrefix => ("storage-delete-prefix", true),
        };
        crate::fault::Call::storage(name, effect)
    }
}

/// When a storage fails.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// The operation that fails.
    pub op: Op,
    /// Only calls whose key contains this are counted and fail; empty: every call.
    pub key_contains: &'static str,
    /// The first call that fails, counted from 1.
    pub nth: u64,
    /// Whether later calls fail too.
    pub always: bool,
    /// Whether the call takes effect all the same: an answer that was lost.
    pub after: bool,
}

impl Fault {
    /// The nth call of an operation fails, once, without effect.
    pub fn nth(op: Op, nth: u64) -> Self {
        Self { op, key_contains: "", nth, always: false, after: false }
    }
}

#[derive(Debug, Default)]
struct State {
    calls: BTreeMap<Op, u64>,
    faults: Vec<(Fault, u64)>,
}

/// A storage that passes everything on, and fails on demand with the temporary error `storage-io`.
#[derive(Debug, Clone)]
pub struct Faulty {
    inner: Arc<dyn Storage>,
    state: Arc<Mutex<State>>,
    /// Whether calls also count for the faults of the process.
    #[cfg(feature = "fault-injection")]
    by_environment: bool,
}

impl Faulty {
    /// Passes everything on until told otherwise.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self {
            inner,
            state: Arc::default(),
            #[cfg(feature = "fault-injection")]
            by_environment: false,
        }
    }

    /// Fails as the environment of the process says.
    #[cfg(feature = "fault-injection")]
    pub fn by_environment(inner: Arc<dyn Storage>) -> Self {
        Self { by_environment: true, ..Self::new(inner) }
    }

    /// Adds a fault; its calls are counted from now on.
    pub fn fail(&self, fault: Fault) {
        self.lock().faults.push((fault, 0));
    }

    /// No fault any more.
    pub fn heal(&self) {
        self.lock().faults.clear();
    }

    /// How often an operation was called.
    pub fn calls(&self, op: Op) -> u64 {
        self.lock().calls.get(&op).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call<T>(&self, op: Op, key: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        #[cfg(feature = "fault-injection")]
        if self.by_environment {
            return crate::fault::call(op.call(), key, work).await;
        }
        match self.count(op, key) {
            Some(after) => {
                if after {
                    work.await?;
                }
                Err(Error::temporary("storage-io", format!("{op:?} of {key:?} failed on demand")))
            }
            None => work.await,
        }
    }

    /// Counts a call; if it fails, whether only after its effect.
    fn count(&self, op: Op, key: &str) -> Option<bool> {
        let mut state = self.lock();
        *state.calls.entry(op).or_default() += 1;
        let mut failed = None;
        for (fault, seen) in &mut state.faults {
            if fault.op == op && key.contains(fault.key_contains) {
                *seen += 1;
                if *seen == fault.nth || (fault.always && *seen > fault.nth) {
                    failed = Some(fault.after);
                }
            }
        }
        failed
    }
}

#[async_trait]
impl Storage for Faulty {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.call(Op::Put, key, self.inner.put(key, bytes)).await
    }

    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>> {
        let inner = self.call(Op::Create, key, self.inner.create(key)).await?;
        Ok(Box::new(FaultyWriter { storage: self.clone(), key: key.to_owned(), inner }))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Option<Bytes>> {
        self.call(Op::Get, key, self.inner.get(key, limit_bytes)).await
    }

    async fn open(&self, key: &str) -> Result<Box<dyn ObjectReader>> {
        let inner = self.call(Op::Open, key, self.inner.open(key)).await?;
        Ok(Box::new(FaultyReader { storage: self.clone(), key: key.to_owned(), inner }))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        self.call(Op::Head, key, self.inner.head(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.call(Op::List, prefix, self.inner.list(prefix)).await
    }

    async fn list_dirs(&self, prefix: &str) -> Result<Vec<String>> {
        self.call(Op::ListDirs, prefix, self.inner.list_dirs(prefix)).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.call(Op::Delete, key, self.inner.delete(key)).await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        self.call(Op::DeletePrefix, prefix, self.inner.delete_prefix(prefix)).await
    }

    async fn delete_unfinished(&self, prefix: &str) -> Result<()> {
        self.call(Op::DeletePrefix, prefix, self.inner.delete_unfinished(prefix)).await
    }

    #[cfg(feature = "fault-injection")]
    fn writes_may_land_late(&self) -> bool {
        !self.by_environment || self.inner.writes_may_land_late()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

struct FaultyWriter {
    storage: Faulty,
    key: String,
    inner: Box<dyn ObjectWriter>,
}

#[async_trait]
impl ObjectWriter for FaultyWriter {
    async fn write(&mut self, block: Bytes) -> Result<()> {
        self.storage.call(Op::Write, &self.key, self.inner.write(block)).await
    }

    async fn finish(self: Box<Self>) -> Result<u64> {
        self.storage.call(Op::Finish, &self.key, self.inner.finish()).await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }
}

struct FaultyReader {
    storage: Faulty,
    key: String,
    inner: Box<dyn ObjectReader>,
}

#[async_trait]
impl ObjectReader for FaultyReader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        self.storage.call(Op::Next, &self.key, self.inner.next()).await
    }

    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }
}
