//! The writer outlives whatever its database does to it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::{BoxFuture, join_all};
use serde_json::json;

use super::*;
use crate::engine::{Dialect, Row, Value};
use crate::sqlite::Sqlite;
use crate::{Change, RecordQuery, Store};

/// What happens to the next statement that starts with a word.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Error,
    Panic,
    Silence,
}

/// A database file that fails on command.
#[derive(Debug)]
struct Unreliable {
    sound: Sqlite,
    faults: Arc<Faults>,
    patience: Duration,
}

#[derive(Debug, Default)]
struct Faults {
    next: std::sync::Mutex<Option<(&'static str, Fault)>>,
    /// A text that the database refuses to write, for as long as it is tried.
    poison: std::sync::Mutex<Option<&'static str>>,
    statements: AtomicUsize,
    /// While set, no connection can be made.
    is_gone: AtomicBool,
    commits: AtomicUsize,
}

struct Watched {
    sound: Box<dyn Connection>,
    faults: Arc<Faults>,
}

impl Engine for Unreliable {
    fn dialect(&self) -> &'static Dialect {
        self.sound.dialect()
    }

    fn read(&self, statement: Statement) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        self.sound.read(statement)
    }

    fn writer(&self) -> BoxFuture<'_, Result<Box<dyn Connection>, StoreError>> {
        Box::pin(async {
            if self.faults.is_gone.load(Ordering::SeqCst) {
                return Err(broken());
            }
            let watched = Watched { sound: self.sound.writer().await?, faults: Arc::clone(&self.faults) };
            Ok(Box::new(watched) as Box<dyn Connection>)
        })
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn follow(&self, revisions: watch::Sender<i64>) -> BoxFuture<'static, ()> {
        self.sound.follow(revisions)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.sound.close()
    }
}

impl Connection for Watched {
    fn run(&mut self, statement: Statement) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async {
            self.faults.strike(&statement).await?;
            self.sound.run(statement).await
        })
    }

    fn fetch(&mut self, statement: Statement) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        Box::pin(async {
            self.faults.strike(&statement).await?;
            self.sound.fetch(statement).await
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.sound.close()
    }
}

impl Faults {
    fn set(&self, statement: &'static str, fault: Fault) {
        *self.next.lock().unwrap() = Some((statement, fault));
    }

    async fn strike(&self, statement: &Statement) -> Result<(), StoreError> {
        self.statements.fetch_add(1, Ordering::SeqCst);
        let refuses = |poison| statement.arguments.contains(&Value::from(poison));
        if statement.text.starts_with("INSERT") && self.poison.lock().unwrap().is_some_and(refuses) {
            return Err(broken());
        }
        if statement.text == "COMMIT" {
            self.commits.fetch_add(1, Ordering::SeqCst);
        }
        let fault = self.next.lock().unwrap().take_if(|(start, _)| statement.text.starts_with(*start));
        match fault {
            None => Ok(()),
            Some((_, Fault::Error)) => Err(broken()),
            Some((_, Fault::Panic)) => panic!("as the test wants it"),
            Some((_, Fault::Silence)) => std::future::pending().await,
        }
    }
}

fn broken() -> StoreError {
    StoreError::unavailable("testing", std::io::Error::other("broken on purpose"))
}

struct Trial {
    store: Store,
    faults: Arc<Faults>,
    _directory: tempfile::TempDir,
}

async fn trial() -> Trial {
    trial_with(Duration::from_mins(1)).await
}

async fn trial_with(patience: Duration) -> Trial {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let sound = Sqlite::open(&directory.path().join("store.db")).unwrap();
    let store = Store::on(Arc::new(Unreliable { sound, faults: Arc::clone(&faults), patience })).await.unwrap();
    Trial { store, faults, _directory: directory }
}

impl Trial {
    async fn put(&self, key: &str) -> Result<Committed, CommitError> {
        let (kind, key) = ("k".to_owned(), key.to_owned());
        let audit = vec![json!(key)];
        let change = Change::PutRecord { kind, key, owner: None, body: json!(0), expires: None };
        self.store.commit(Write { changes: vec![change], audit, ..Write::new(Timestamp::UNIX_EPOCH) }).await
    }

    /// Exactly these records are there, and one audit entry for each.
    async fn assert_holds(&self, expected: &[&str]) {
        let now = Timestamp::UNIX_EPOCH;
        let query = RecordQuery { kind: "k".into(), owner: None, now, after: None, limit: 1000 };
        let keys: Vec<String> =
            self.store.records(&query).await.unwrap().into_iter().map(|record| record.key).collect();
        assert_eq!(keys, expected);
        let verdict = self.store.verify_audit().await.unwrap();
        assert!(
            matches!(verdict, Ok(ref intact) if usize::try_from(intact.head.seq) == Ok(expected.len())),
            "{verdict:?}"
        );
    }
}

fn is_unavailable(outcome: &Result<Committed, CommitError>) -> bool {
    matches!(outcome, Err(CommitError::Store(StoreError::Unavailable { .. })))
}

#[tokio::test]
async fn a_failed_statement_costs_one_write_and_not_its_neighbours() {
    let trial = trial().await;
    *trial.faults.poison.lock().unwrap() = Some("b");
    let outcomes = join_all(["a", "b", "c"].map(|key| trial.put(key))).await;
    assert_eq!(outcomes.iter().map(is_unavailable).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(outcomes[2].as_ref().unwrap().revision, 2, "the failed write took no revision");
    trial.assert_holds(&["a", "c"]).await;
    assert!(is_unavailable(&trial.put("b").await), "alone as well");
    assert_eq!(trial.put("d").await.unwrap().revision, 3);
    trial.assert_holds(&["a", "c", "d"]).await;
}

#[tokio::test]
async fn a_statement_that_fails_once_costs_nobody_anything() {
    let trial = trial().await;
    trial.faults.set("INSERT INTO records", Fault::Error);
    let outcomes = join_all(["a", "b", "c"].map(|key| trial.put(key))).await;
    assert_eq!(outcomes.iter().map(|it| it.as_ref().unwrap().revision).collect::<Vec<_>>(), [1, 2, 3]);
    trial.assert_holds(&["a", "b", "c"]).await;
}

#[tokio::test]
async fn what_cannot_be_undone_fails_the_whole_group() {
    for stuck in ["ROLLBACK", "SAVEPOINT", "ROLLBACK TO"] {
        let trial = trial().await;
        trial.put("before").await.unwrap();
        *trial.faults.poison.lock().unwrap() = Some("b");
        trial.faults.set(stuck, Fault::Error);
        let outcomes = join_all(["a", "b", "c"].map(|key| trial.put(key))).await;
        assert!(outcomes.iter().all(is_unavailable), "{stuck}: {outcomes:?}");
        assert_eq!(trial.put("later").await.unwrap().revision, 2);
        trial.assert_holds(&["before", "later"]).await;
    }
}

#[tokio::test]
async fn a_failed_commit_fails_the_whole_group_and_the_writer_goes_on() {
    for (statement, fault) in [
        ("COMMIT", Fault::Error),
        ("COMMIT", Fault::Panic),
        ("UPDATE meta", Fault::Error),
        ("INSERT INTO audit", Fault::Panic),
        ("BEGIN", Fault::Error),
    ] {
        let trial = trial().await;
        trial.put("before").await.unwrap();
        trial.faults.set(statement, fault);
        let outcomes = join_all(["a", "b"].map(|key| trial.put(key))).await;
        assert!(outcomes.iter().all(is_unavailable), "{fault:?} at {statement}: {outcomes:?}");
        trial.assert_holds(&["before"]).await;
        assert_eq!(trial.put("later").await.unwrap().revision, 2);
        trial.assert_holds(&["before", "later"]).await;
    }
}

#[tokio::test]
async fn a_database_that_never_answers_does_not_hang_its_callers() {
    let trial = trial_with(Duration::from_secs(2)).await;
    trial.faults.set("COMMIT", Fault::Silence);
    assert!(is_unavailable(&trial.put("lost").await));
    trial.put("later").await.unwrap();
    trial.assert_holds(&["later"]).await;
}

#[tokio::test]
async fn writes_fail_while_the_database_is_gone_and_work_when_it_is_back() {
    let trial = trial().await;
    trial.faults.is_gone.store(true, Ordering::SeqCst);
    trial.faults.set("COMMIT", Fault::Error);
    for _ in 0..3 {
        assert!(is_unavailable(&trial.put("lost").await));
    }
    assert!(trial.store.sweep(Timestamp::UNIX_EPOCH).await.is_err());
    trial.faults.is_gone.store(false, Ordering::SeqCst);
    trial.put("back").await.unwrap();
    trial.assert_holds(&["back"]).await;
}

#[tokio::test]
async fn writes_that_wait_together_share_a_commit() {
    let trial = trial().await;
    let before = trial.faults.commits.load(Ordering::SeqCst);
    let keys: Vec<String> = (0..100).map(|number| format!("{number:03}")).collect();
    let outcomes = join_all(keys.iter().map(|key| trial.put(key))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    let commits = trial.faults.commits.load(Ordering::SeqCst) - before;
    assert!(commits <= 10, "{commits} commits for 100 writes");
}

#[tokio::test]
async fn writes_that_wait_together_share_their_statements() {
    let trial = trial().await;
    let before = trial.faults.statements.load(Ordering::SeqCst);
    let outcomes = join_all(["a", "b", "c", "d", "e", "f", "g", "h"].map(|key| trial.put(key))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    let statements = trial.faults.statements.load(Ordering::SeqCst) - before;
    // BEGIN, the head, records, audit, the head again, COMMIT.
    assert_eq!(statements, 6, "for eight writes");
}

#[tokio::test]
async fn callers_wait_when_the_queue_is_full_and_all_are_served() {
    let trial = trial().await;
    let keys: Vec<String> = (0..QUEUE * 2).map(|number| format!("{number:05}")).collect();
    let all = join_all(keys.iter().map(|key| trial.put(key)));
    let outcomes = tokio::time::timeout(Duration::from_mins(1), all).await.unwrap();
    assert!(outcomes.iter().all(Result::is_ok));
}
