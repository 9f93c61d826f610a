//! The one way to start tasks: named, owned by a scope, cancelled by a token, awaited.

use std::future::Future;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::error::{Error, Result};

/// Tasks that live and end together.
///
/// The first error (or panic) cancels the token; dropping the scope aborts what still runs.
#[derive(Debug)]
pub struct Scope {
    token: CancellationToken,
    set: JoinSet<Result<()>>,
}

impl Scope {
    /// A scope whose token is a child of `parent`.
    pub fn new(parent: &CancellationToken) -> Self {
        Self { token: parent.child_token(), set: JoinSet::new() }
    }

    /// The token that ends the tasks of this scope.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Starts a task.
    pub fn spawn<F>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.set.spawn(task.instrument(tracing::debug_span!("task", name)));
    }

    /// Starts a task that blocks its thread.
    pub fn spawn_blocking<F>(&mut self, name: &'static str, task: F)
    where
        F: FnOnce() -> Result<()> + Send + 'static,
    {
        let span = tracing::debug_span!("task", name);
        self.set.spawn_blocking(move || span.in_scope(task));
    }

    /// Waits for every task; the first error cancels the others and is returned once all have ended.
    ///
    /// An error `canceled` gives way to one that says why: a task may hear of another's end before that is joined.
    pub async fn join(mut self) -> Result<()> {
        let mut first: Option<Error> = None;
        while let Some(ended) = self.set.join_next().await {
            if let Err(error) = flatten(ended) {
                self.token.cancel();
                if first.as_ref().is_none_or(|first| first.code() == "canceled") {
                    first = Some(error);
                }
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Waits for the end of the next task; none if there is no task. May be dropped and called again.
    pub async fn join_next(&mut self) -> Option<Result<()>> {
        self.set.join_next().await.map(flatten)
    }

    /// Takes the end of a task that has ended, without waiting.
    pub fn try_join_next(&mut self) -> Option<Result<()>> {
        self.set.try_join_next().map(flatten)
    }

    /// How many tasks have not been joined.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether every task has been joined.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }
}

/// Runs blocking work off the async threads and waits for it.
#[allow(clippy::disallowed_methods)] // the one place that starts blocking work outside a scope, and awaits it
pub async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(result) => result,
        Err(ended) => Err(task_ended(&ended)),
    }
}

/// Waits for `work`, but not beyond `cancel`: then the work is dropped and the error is `canceled`.
pub async fn unless_canceled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::temporary("canceled", "the job was canceled")),
        done = work => done,
    }
}

fn flatten(ended: Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    ended.unwrap_or_else(|ended| Err(task_ended(&ended)))
}

fn task_ended(ended: &tokio::task::JoinError) -> Error {
    if ended.is_cancelled() {
        Error::temporary("task-aborted", "a task was aborted before its end")
    } else {
        Error::permanent("task-panicked", format!("a task panicked: {ended}"))
            .hint("This is a defect of Holdfast: please report it with the log.")
    }
}

#[cfg(test)]
mod tests {
    use super::Scope;
    use crate::error::Error;
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn the_first_error_ends_the_others_and_is_returned() {
        let mut scope = Scope::new(&CancellationToken::new());
        let token = scope.token().clone();
        scope.spawn("waits", async move {
            token.cancelled().await;
            Ok(())
        });
        scope.spawn("fails", async { Err(Error::permanent("test", "first")) });
        assert_eq!(scope.join().await.unwrap_err().to_string(), "first");
    }

    #[tokio::test]
    async fn an_error_that_says_why_is_worth_more_than_canceled() {
        let mut scope = Scope::new(&CancellationToken::new());
        let token = scope.token().clone();
        scope.spawn("hears of it first", async { Err(Error::temporary("canceled", "second hand")) });
        scope.spawn("knows why", async move {
            token.cancelled().await;
            Err(Error::permanent("test", "the reason"))
        });
        assert_eq!(scope.join().await.unwrap_err().to_string(), "the reason");
    }
}
