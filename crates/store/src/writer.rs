//! The one task that writes, and how many writes share one commit.
//!
//! Writes wait in a bounded queue. The writer takes all that wait, applies them together, commits once, and only then
//! answers: a flush to the disk, and most statements, cost the same for sixteen writes as for one. A write that conflicts
//! is left out; when one fails halfway, the group is undone and done again one write at a time, and only that one is
//! taken back. When the commit itself fails, everybody in the group is told so.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use crate::apply::apply;
use crate::engine::{Connection, Dialect, Engine, Statement};
use crate::error::{CommitError, StoreError};
use crate::meta::Meta;
use crate::record;
use crate::write::{Committed, Write};

/// What the writer can be asked.
#[derive(Debug)]
pub(crate) enum Request {
    /// Commit this, together with whatever else waits.
    Commit(Box<Write>, Reply<Result<Committed, CommitError>>),
    /// Delete what has expired by then, and say how much it was.
    Sweep(Timestamp, Reply<Result<u64, StoreError>>),
    /// Answer what waits, then end.
    Close(Reply<()>),
}

pub(crate) type Reply<T> = oneshot::Sender<T>;

/// The task's state.
pub(crate) struct Writer {
    engine: Arc<dyn Engine>,
    requests: mpsc::Receiver<Request>,
    revisions: watch::Sender<i64>,
    /// None after a failure: a fresh connection has no half-done transaction in it.
    connection: Option<Box<dyn Connection>>,
    /// Writes since expired records were last swept.
    since_sweep: usize,
}

type Group = Vec<(Box<Write>, Reply<Result<Committed, CommitError>>)>;

impl Writer {
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        connection: Box<dyn Connection>,
        requests: mpsc::Receiver<Request>,
        revisions: watch::Sender<i64>,
    ) -> Self {
        Self { engine, requests, revisions, connection: Some(connection), since_sweep: 0 }
    }

    /// Serves requests until it is told to close or nobody is left who could ask.
    pub(crate) async fn run(mut self) {
        let mut waiting = Vec::with_capacity(GROUP);
        let mut closed = Vec::new();
        while self.requests.recv_many(&mut waiting, GROUP).await > 0 {
            // Clients that were answered a moment ago are about to ask again: one turn lets them join this group.
            if waiting.len() < GROUP {
                tokio::task::yield_now().await;
                while waiting.len() < GROUP
                    && let Ok(request) = self.requests.try_recv()
                {
                    waiting.push(request);
                }
            }
            let mut group = Group::with_capacity(waiting.len());
            for request in waiting.drain(..) {
                match request {
                    Request::Commit(write, reply) => group.push((write, reply)),
                    Request::Sweep(now, reply) => {
                        // A caller that has gone away needs no answer; the same holds below.
                        let _ = reply.send(self.sweep(now).await);
                    }
                    Request::Close(reply) => {
                        self.requests.close();
                        closed.push(reply);
                    }
                }
            }
            self.serve(group).await;
        }
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
        for reply in closed {
            let _ = reply.send(());
        }
    }

    /// Commits a group and answers everybody in it.
    async fn serve(&mut self, group: Group) {
        if group.is_empty() {
            return;
        }
        let (writes, replies): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        match self.commit(&writes).await {
            Ok((results, revision)) => {
                // First, so that whoever has its answer finds its revision announced.
                self.announce(revision);
                for (reply, result) in replies.into_iter().zip(results) {
                    let _ = reply.send(result);
                }
                self.sweep_now_and_then(&writes).await;
            }
            Err(error) => {
                tracing::error!(%error, writes = writes.len(), "a group of writes was not committed");
                for reply in replies {
                    let _ = reply.send(Err(error.clone().into()));
                }
            }
        }
    }

    fn announce(&self, revision: i64) {
        self.revisions.send_if_modified(|known| {
            let is_news = revision > *known;
            *known = revision.max(*known);
            is_news
        });
    }

    async fn sweep_now_and_then(&mut self, writes: &[Box<Write>]) {
        self.since_sweep += writes.len();
        if self.since_sweep < SWEEP_EVERY {
            return;
        }
        self.since_sweep = 0;
        if let Some(now) = writes.iter().map(|write| write.at).max()
            && let Err(error) = self.sweep(now).await
        {
            tracing::warn!(%error, "expired records could not be swept; the next sweep tries again");
        }
    }

    async fn commit(
        &mut self,
        writes: &[Box<Write>],
    ) -> Result<(Vec<Result<Committed, CommitError>>, i64), StoreError> {
        let mut connection = self.connection().await?;
        let outcome =
            guard(self.engine.patience(), "committing", commit(&mut *connection, &*self.engine, writes)).await;
        self.connection = outcome.is_ok().then_some(connection);
        outcome
    }

    async fn sweep(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        let mut connection = self.connection().await?;
        let outcome = guard(self.engine.patience(), "sweeping", sweep(&mut *connection, &*self.engine, now)).await;
        self.connection = outcome.is_ok().then_some(connection);
        outcome
    }

    /// The connection, or a fresh one when the last has failed.
    async fn connection(&mut self) -> Result<Box<dyn Connection>, StoreError> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => guard(self.engine.patience(), "connecting", self.engine.writer()).await,
        }
    }
}

/// Waits for some work. Whatever goes wrong - an error, a panic, no answer at all - becomes an error, so that the writer
/// lives on and nobody who waits for it hangs.
async fn guard<T>(
    patience: Duration,
    doing: &'static str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(patience, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_panic)) => Err(StoreError::unavailable(doing, std::io::Error::other("the writer failed inside"))),
        Err(elapsed) => Err(StoreError::unavailable(doing, elapsed)),
    }
}

/// Applies the writes and commits them together. Says what became of each, and the revision that was reached.
async fn commit(
    connection: &mut dyn Connection,
    engine: &dyn Engine,
    writes: &[Box<Write>],
) -> Result<(Vec<Result<Committed, CommitError>>, i64), StoreError> {
    let dialect = engine.dialect();
    let writes: Vec<&Write> = writes.iter().map(Box::as_ref).collect();
    connection.run(Statement::new(dialect.begin)).await?;
    let before = Meta::lock(connection, dialect).await?;
    let mut meta = before.clone();
    match apply(connection, &mut meta, &writes).await {
        Ok(results) => finish(connection, dialect, &before, &meta).await.map(|()| (results, meta.revision)),
        Err(error) => {
            if let Err(stuck) = connection.run(Statement::new("ROLLBACK")).await {
                // The database had already given up the transaction; what it said first says why.
                return Err(if let CommitError::Store(error) = error { error } else { stuck });
            }
            match writes.as_slice() {
                [_] => Ok((vec![Err(error)], before.revision)),
                _ => commit_one_by_one(connection, dialect, &writes).await,
            }
        }
    }
}

/// Does the same with each write behind a savepoint of its own, so that one that fails is taken back alone.
async fn commit_one_by_one(
    connection: &mut dyn Connection,
    dialect: &Dialect,
    writes: &[&Write],
) -> Result<(Vec<Result<Committed, CommitError>>, i64), StoreError> {
    connection.run(Statement::new(dialect.begin)).await?;
    let before = Meta::lock(connection, dialect).await?;
    let mut meta = before.clone();
    let mut results = Vec::with_capacity(writes.len());
    for write in writes {
        connection.run(Statement::new("SAVEPOINT one_write")).await?;
        let mut next = meta.clone();
        match apply(connection, &mut next, std::slice::from_ref(write)).await {
            Ok(result) => {
                meta = next;
                results.extend(result);
            }
            Err(error) => {
                // Fails when the database has already given up the transaction; then the whole group fails.
                connection.run(Statement::new("ROLLBACK TO SAVEPOINT one_write")).await?;
                results.push(Err(error));
            }
        }
        connection.run(Statement::new("RELEASE SAVEPOINT one_write")).await?;
    }
    finish(connection, dialect, &before, &meta).await?;
    Ok((results, meta.revision))
}

async fn finish(
    connection: &mut dyn Connection,
    dialect: &Dialect,
    before: &Meta,
    meta: &Meta,
) -> Result<(), StoreError> {
    if meta != before {
        meta.save(connection, dialect).await?;
    }
    connection.run(Statement::new("COMMIT")).await.map(drop)
}

/// Deletes what has expired, a bounded number of records in each transaction.
async fn sweep(connection: &mut dyn Connection, engine: &dyn Engine, now: Timestamp) -> Result<u64, StoreError> {
    let mut swept = 0;
    loop {
        connection.run(Statement::new(engine.dialect().begin)).await?;
        Meta::lock(connection, engine.dialect()).await?;
        let found = record::sweep(connection, now, SWEEP_LIMIT).await?;
        connection.run(Statement::new("COMMIT")).await?;
        swept += found;
        if found < SWEEP_LIMIT.unsigned_abs() {
            return Ok(swept);
        }
    }
}

/// How many writes may share a commit.
const GROUP: usize = 128;

/// How many writes may wait before callers wait for a place.
pub(crate) const QUEUE: usize = 1024;

/// How many writes pass between two sweeps.
const SWEEP_EVERY: usize = 1024;

/// How many records a sweep deletes in one transaction.
const SWEEP_LIMIT: i64 = 1000;

#[cfg(test)]
mod tests;
