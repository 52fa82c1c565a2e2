//! Commits are atomic, in one line, and survive whatever callers do.

use std::collections::BTreeMap;
use std::time::Duration;

use bastide_store::{Change, CommitError, Committed, Expectation, ResourceQuery, Store, StoreError, Write};
use serde_json::json;

use crate::support::{DISK, Database, at, keys, note, put, record, records, value, write};

pub(crate) async fn the_first_failed_expectation_is_named_and_nothing_is_written(database: &Database) {
    let store = database.open().await;
    store.commit(write([Change::PutResource(put("/a", DISK, 0))])).await.unwrap();
    let before = *store.revisions().borrow();
    let refused = Write {
        expect: vec![
            Expectation::ResourcePresent("/a".into()),
            Expectation::NoneBelow("/a/".into()),
            Expectation::ResourceAbsent("/a".into()),
            Expectation::ResourcePresent("/b".into()),
        ],
        ..write([Change::PutResource(put("/c", DISK, 0)), record("k", "r", None, 0), Change::RaiseAccessEpoch])
    };
    let outcome = store.commit(refused).await;
    assert!(matches!(outcome, Err(CommitError::Conflict(Expectation::ResourceAbsent(key))) if key == "/a"));
    assert_eq!(keys(&store, ResourceQuery::default()).await, ["/a"]);
    assert_eq!((records(&store, "k").await.len(), store.access_epoch().await.unwrap()), (0, 0));
    assert_eq!(store.commit(Write::new(at(0))).await.unwrap().revision, before + 1, "no revision was spent");
}

pub(crate) async fn every_commit_wakes_those_who_follow_revisions(database: &Database) {
    let (store, other) = (database.open().await, database.open().await);
    let mut revisions = store.revisions();
    let committed = store.commit(Write::new(at(0))).await.unwrap();
    revisions.wait_for(|revision| *revision == committed.revision).await.unwrap();
    let elsewhere = other.commit(Write::new(at(0))).await.unwrap();
    assert_eq!(elsewhere.revision, committed.revision + 1, "two processes share one line of revisions");
    if !database.is_sqlite() {
        let woken = revisions.wait_for(|revision| *revision == elsewhere.revision);
        tokio::time::timeout(Duration::from_secs(5), woken).await.expect("another process wakes us").unwrap();
    }
    store.close().await;
    other.close().await;
    let store = database.open().await;
    assert_eq!(*store.revisions().borrow(), elsewhere.revision, "a store knows its revision from the start");
}

pub(crate) async fn the_access_epoch_guards_decisions(database: &Database) {
    let store = database.open().await;
    let epoch = store.access_epoch().await.unwrap();
    let decided = || Write { expect: vec![Expectation::AccessEpoch(epoch)], ..Write::new(at(0)) };
    store.commit(decided()).await.unwrap();
    store.commit(write([Change::RaiseAccessEpoch])).await.unwrap();
    assert_eq!(store.access_epoch().await.unwrap(), epoch + 1);
    assert!(matches!(store.commit(decided()).await, Err(CommitError::Conflict(Expectation::AccessEpoch(_)))));
}

/// Thirty-two clients, half of them on a second store as another process would be, change few things and often collide.
/// What is there in the end must be what the acknowledged writes, one after the other by revision, would have left.
pub(crate) async fn many_clients_leave_what_a_single_one_would_have(database: &Database) {
    const CLIENTS: i64 = 32;
    const EACH: i64 = 12;
    let stores = [database.open().await, database.open().await];
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| tokio::spawn(count_up(stores[usize::from(client % 2 == 0)].clone(), client, EACH)))
        .collect();
    let mut acknowledged = BTreeMap::new();
    for client in clients {
        for (revision, write) in client.await.unwrap() {
            assert!(acknowledged.insert(revision, write).is_none(), "revision {revision} was given out twice");
        }
    }
    let expected: Vec<i64> = (1..=i64::try_from(acknowledged.len()).unwrap()).collect();
    assert_eq!(acknowledged.keys().copied().collect::<Vec<_>>(), expected, "no holes");
    assert_eq!(acknowledged.len(), usize::try_from(CLIENTS * EACH).unwrap());

    let mut serial = BTreeMap::new();
    for (revision, changes) in &acknowledged {
        for change in changes {
            match change {
                Change::PutResource(put) => serial.insert(put.id.clone(), (put.body.clone(), *revision)),
                Change::DeleteResource(key) => serial.remove(key),
                other => unreachable!("{other:?} is not written here"),
            };
        }
    }
    let stored = stores[0].resources(&ResourceQuery::default()).await.unwrap();
    let stored: BTreeMap<_, _> = stored.into_iter().map(|it| (it.key, (it.body, it.revision))).collect();
    assert_eq!(stored, serial);
    let entries = stores[1].verify_audit().await.unwrap().unwrap().head.seq;
    assert_eq!(entries, CLIENTS * EACH, "one entry for each acknowledged write");
}

/// Adds one to a counter, or removes it at seven, until that has worked `times` times. Says which writes did.
async fn count_up(store: Store, client: i64, times: i64) -> Vec<(i64, Vec<Change>)> {
    let mut acknowledged = Vec::new();
    let mut turn = client;
    while i64::try_from(acknowledged.len()).unwrap() < times {
        turn += 1;
        let key = format!("/counter/{}", turn % 5);
        let (expectation, change) = match store.resource(&key).await.unwrap() {
            None => (Expectation::ResourceAbsent(key.clone()), Change::PutResource(put(&key, DISK, 1))),
            Some(found) => {
                let change = match value(&found) {
                    7 => Change::DeleteResource(key.clone()),
                    count => Change::PutResource(put(&key, DISK, count + 1)),
                };
                (Expectation::ResourceRevision { key, revision: found.revision }, change)
            }
        };
        let write = Write { expect: vec![expectation], changes: vec![change], ..note(json!({"client": client})) };
        match store.commit(write.clone()).await {
            Ok(Committed { revision, .. }) => acknowledged.push((revision, write.changes)),
            Err(CommitError::Conflict(_)) => {}
            Err(CommitError::Store(error)) => panic!("{error}"),
        }
    }
    acknowledged
}

pub(crate) async fn a_caller_that_leaves_loses_nothing_and_leaves_no_half(database: &Database) {
    let store = database.open().await;
    let mut acknowledged = Vec::new();
    for round in 0..60_u64 {
        let both = ["left", "right"].map(|side| record(side, &round.to_string(), None, 0));
        let commit = store.commit(Write { audit: vec![json!(round)], ..write(both) });
        // From "gone before it was heard" to "waited for the answer".
        if tokio::time::timeout(Duration::from_micros(round * 50), commit).await.is_ok() {
            acknowledged.push(round.to_string());
        }
    }
    store.commit(Write::new(at(0))).await.unwrap();
    let [left, right] = [records(&store, "left").await, records(&store, "right").await];
    let names = |records: &[bastide_store::Record]| records.iter().map(|it| it.key.clone()).collect::<Vec<_>>();
    assert_eq!(names(&left), names(&right), "no half write");
    assert!(acknowledged.iter().all(|round| names(&left).contains(round)), "nothing acknowledged is lost");
    let entries = store.verify_audit().await.unwrap().unwrap().head.seq;
    assert_eq!(usize::try_from(entries).unwrap(), left.len());
}

pub(crate) async fn a_closed_store_has_finished_its_queue_and_says_that_it_is_closed(database: &Database) {
    let store = database.open().await;
    let waiting: Vec<_> = (0..100)
        .map(|number: i64| {
            let store = store.clone();
            tokio::spawn(async move { store.commit(write([record("k", &number.to_string(), None, number)])).await })
        })
        .collect();
    tokio::task::yield_now().await;
    store.clone().close().await;
    let mut acknowledged = 0;
    for outcome in waiting {
        match outcome.await.unwrap() {
            Ok(_) => acknowledged += 1,
            Err(CommitError::Store(StoreError::Closed)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert!(matches!(store.ping().await, Err(StoreError::Closed)));
    assert!(matches!(store.commit(Write::new(at(0))).await, Err(CommitError::Store(StoreError::Closed))));
    let store = database.open().await;
    assert_eq!(records(&store, "k").await.len(), acknowledged);
    store.ping().await.unwrap();
}
