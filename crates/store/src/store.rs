//! The store itself: everything that can be read, and the one way to write.

use std::sync::Arc;

use bastide_audit::{Broken, Intact, Walk};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use uuid::Uuid;

use crate::access_log::{self, AccessChanges};
use crate::audit::{AuditChain, AuditEntry, AuditQuery};
use crate::engine::{Engine, Row, Statement};
use crate::error::{CommitError, StoreError};
use crate::location::Location;
use crate::operation::Operation;
use crate::postgres::Postgres;
use crate::record::{self, Record, RecordQuery};
use crate::resource::{Resource, ResourceQuery, push_below};
use crate::schema;
use crate::secret::SealedSecret;
use crate::sqlite::Sqlite;
use crate::tag::{self, TagCount};
use crate::write::{Committed, Write};
use crate::writer::{self, Reply, Request, Writer};

/// A store. Clones share it; the last one gone, what was acknowledged is on the disk and the rest never was.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    engine: Arc<dyn Engine>,
    requests: mpsc::Sender<Request>,
    revisions: watch::Receiver<i64>,
    /// The task that follows other processes.
    follower: AbortHandle,
}

impl Store {
    /// Opens a database, makes it when there is none, and brings it to the newest schema.
    ///
    /// Must be called inside a tokio runtime, which must outlive the store: the writer waits and is woken by it.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] for a database that a newer program wrote, otherwise what keeps it from being opened.
    pub async fn open(location: &Location) -> Result<Self, StoreError> {
        let engine: Arc<dyn Engine> = match location {
            Location::Sqlite(path) => Arc::new(Sqlite::open(path)?),
            Location::Postgres(url) => Arc::new(Postgres::open(url)?),
        };
        Self::on(engine).await
    }

    pub(crate) async fn on(engine: Arc<dyn Engine>) -> Result<Self, StoreError> {
        let mut connection = engine.writer().await?;
        schema::migrate(&mut *connection, engine.dialect()).await?;
        let revision = first_integer(engine.read(Statement::new("SELECT revision FROM meta WHERE id = 1")).await?)?;
        let (announce, revisions) = watch::channel(revision);
        let follower = tokio::spawn(engine.follow(announce.clone())).abort_handle();
        let (requests, queue) = mpsc::channel(writer::QUEUE);
        engine.host(Box::pin(Writer::new(Arc::clone(&engine), connection, queue, announce).run()))?;
        Ok(Self { shared: Arc::new(Shared { engine, requests, revisions, follower }) })
    }

    /// The resource with this key, the id in ASCII lower case.
    pub async fn resource(&self, key: &str) -> Result<Option<Resource>, StoreError> {
        self.find(Resource::by_key(key)).await?.into_iter().next().map(Resource::from_row).transpose()
    }

    /// The resources with these keys, in the order of the keys; unknown ones are left out.
    pub async fn resources_at(&self, keys: &[&str]) -> Result<Vec<Resource>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_A_TIME) {
            let rows = self.read(Resource::by_keys(keys)).await?;
            found.extend(rows.into_iter().map(Resource::from_row).collect::<Result<Vec<_>, _>>()?);
        }
        found.sort_unstable_by(|one: &Resource, other| one.key.cmp(&other.key));
        Ok(found)
    }

    /// Whether there is a resource with this key.
    pub async fn resource_exists(&self, key: &str) -> Result<bool, StoreError> {
        let statement = Statement::new("SELECT 1 FROM resources WHERE key = $1").bind(key);
        Ok(!self.find(statement).await?.is_empty())
    }

    /// A page of resources.
    pub async fn resources(&self, query: &ResourceQuery) -> Result<Vec<Resource>, StoreError> {
        self.read(query.statement()).await?.into_iter().map(Resource::from_row).collect()
    }

    /// Every resource that a query is about, read page by page whatever its limit.
    pub async fn every_resource(&self, query: ResourceQuery) -> Result<Vec<Resource>, StoreError> {
        let mut query = ResourceQuery { limit: PAGE, ..query };
        let mut every = Vec::new();
        loop {
            let page = self.resources(&query).await?;
            let is_last = page.len() < PAGE as usize;
            query.after = page.last().map(|row| row.key.clone());
            every.extend(page);
            if is_last {
                return Ok(every);
            }
        }
    }

    /// How many resources have keys that start with this. Takes time with their number.
    pub async fn count_below(&self, prefix: &str) -> Result<i64, StoreError> {
        let mut statement = Statement::new("SELECT COUNT(*) FROM resources WHERE ");
        push_below(&mut statement, "key >= ", " AND key < ", prefix);
        first_integer(self.read(statement).await?)
    }

    /// The tags in use below a prefix, ordered by name and value. Takes time with their number.
    pub async fn tag_counts(&self, prefix: &str) -> Result<Vec<TagCount>, StoreError> {
        tag::counts(self.read(tag::count(prefix)).await?)
    }

    /// The record of this kind and key, unless it has expired by `now`.
    pub async fn record(&self, kind: &str, key: &str, now: Timestamp) -> Result<Option<Record>, StoreError> {
        self.find(Record::by_key(kind, key, now)).await?.into_iter().next().map(Record::from_row).transpose()
    }

    /// A page of records.
    pub async fn records(&self, query: &RecordQuery) -> Result<Vec<Record>, StoreError> {
        self.find(query.statement()).await?.into_iter().map(Record::from_row).collect()
    }

    /// The records of this kind with these keys, in the order of the keys, but those that are unknown or have expired by
    /// `now`.
    pub async fn records_at(&self, kind: &str, keys: &[&str], now: Timestamp) -> Result<Vec<Record>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_A_TIME) {
            let rows = self.read(Record::by_keys(kind, keys, now)).await?;
            found.extend(rows.into_iter().map(Record::from_row).collect::<Result<Vec<_>, _>>()?);
        }
        found.sort_unstable_by(|one: &Record, other| one.key.cmp(&other.key));
        Ok(found)
    }

    /// Everything that holds an owner, directly or through others, in order. That one holds the other is what a record of
    /// the kind says that is called `holder/owner` and belongs to the owner; circles do no harm.
    pub async fn holders(&self, kind: &str, owner: &str, now: Timestamp) -> Result<Vec<String>, StoreError> {
        self.find(record::holders(kind, owner, now)).await?.into_iter().map(|mut row| row.text()).collect()
    }

    /// What a holder holds, directly or through others, `limit` of them at most and in no order: see [`Store::holders`].
    pub async fn held(&self, kind: &str, holder: &str, now: Timestamp, limit: u32) -> Result<Vec<String>, StoreError> {
        self.read(record::held(kind, holder, now, limit)).await?.into_iter().map(|mut row| row.text()).collect()
    }

    /// The operation with this id.
    pub async fn operation(&self, id: Uuid) -> Result<Option<Operation>, StoreError> {
        self.find(Operation::by_id(id)).await?.into_iter().next().map(Operation::from_row).transpose()
    }

    /// The operations that are not over, oldest first: what a process that starts must continue.
    pub async fn unfinished_operations(&self) -> Result<Vec<Operation>, StoreError> {
        self.read(Operation::unfinished()).await?.into_iter().map(Operation::from_row).collect()
    }

    /// The sealed secrets of an incarnation, ordered by field.
    pub async fn secrets(&self, incarnation: Uuid) -> Result<Vec<SealedSecret>, StoreError> {
        self.find(SealedSecret::of(incarnation)).await?.into_iter().map(SealedSecret::from_row).collect()
    }

    /// A page of the audit chain.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        self.read(query.statement()).await?.into_iter().map(AuditEntry::from_row).collect()
    }

    /// The audit chain, to be exported or verified against the key of its checkpoints.
    pub fn audit_chain(&self) -> AuditChain {
        AuditChain::of(Arc::clone(&self.shared.engine))
    }

    /// Walks the audit chain from the first entry to the last and says where it is first broken, if it is. Believes no
    /// checkpoint, so a chain whose beginning was cut off is broken: [`AuditChain::verify`] knows better.
    pub async fn verify_audit(&self) -> Result<Result<Intact, Broken>, StoreError> {
        let chain = self.audit_chain();
        let head = chain.head().await?;
        chain.walk(Walk::unsigned(), head).await
    }

    /// What the writes behind an access epoch, up to the present one, were about. `None` when that is not known any
    /// more: then everything has to be read.
    pub async fn access_changes(&self, after: i64) -> Result<Option<AccessChanges>, StoreError> {
        let epoch = self.access_epoch().await?;
        let query = RecordQuery {
            kind: access_log::KIND.to_owned(),
            owner: None,
            // One that has expired and was not swept yet still says what was.
            now: Timestamp::MIN,
            after: Some(access_log::key(after)),
            limit: ACCESS_CHANGES,
        };
        Ok(AccessChanges::gather(after, epoch, self.records(&query).await?))
    }

    /// Counts the changes of roles, assignments and revocations, by this process and all others.
    pub async fn access_epoch(&self) -> Result<i64, StoreError> {
        first_integer(self.find(Statement::new("SELECT access_epoch FROM meta WHERE id = 1")).await?)
    }

    /// Does all of a write, or nothing of it. When this has answered `Ok`, the write is on the disk.
    ///
    /// Dropping the future never leaves half a write: it happens whole when the writer already has it, otherwise not at
    /// all. Waits while more than a thousand writes are queued.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] with the first expectation that failed; [`CommitError::Store`] when the database cannot.
    pub async fn commit(&self, write: Write) -> Result<Committed, CommitError> {
        self.ask(|reply| Request::Commit(Box::new(write), reply)).await?
    }

    /// Deletes the records that have expired by `now` and says how many they were. Readers do not see a difference.
    ///
    /// The writer does this by itself every thousand writes, with the time of the last of them.
    pub async fn sweep(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.ask(|reply| Request::Sweep(now, reply)).await?
    }

    /// The revision of the last commit, and a wake-up after each, by this process or (on a server) by any other. Several
    /// commits may be one wake-up.
    pub fn revisions(&self) -> watch::Receiver<i64> {
        self.shared.revisions.clone()
    }

    /// Whether the database answers and the writer is at work.
    pub async fn ping(&self) -> Result<(), StoreError> {
        if self.shared.requests.is_closed() {
            return Err(StoreError::Closed);
        }
        self.find(Statement::new("SELECT 1 FROM meta WHERE id = 1")).await.map(drop)
    }

    /// Finishes the writes that wait and closes the database, for all clones of this store.
    pub async fn close(self) {
        // Already closed is closed.
        let _ = self.ask(Request::Close).await;
        self.shared.follower.abort();
        self.shared.engine.close().await;
    }

    async fn read(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        self.shared.engine.read(statement).await
    }

    async fn find(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        self.shared.engine.find(statement).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.shared.requests.send(request(reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

fn first_integer(rows: Vec<Row>) -> Result<i64, StoreError> {
    rows.into_iter().next().ok_or_else(|| StoreError::Corrupt("the meta row is missing".to_owned()))?.integer()
}

/// Keys in one statement.
const AT_A_TIME: usize = 500;

/// Behind by more than this, everything is read.
const ACCESS_CHANGES: u32 = 1000;

/// Resources read at a time.
const PAGE: u32 = 500;
