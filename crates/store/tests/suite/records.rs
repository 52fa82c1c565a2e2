//! What records, operations and secrets do.

use bastide_store::{Change, CommitError, Expectation, Operation, RecordQuery, SealedSecret, Write};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Database, at, put, record, records, write};

pub(crate) async fn a_record_comes_back_and_is_replaced_whole(database: &Database) {
    let store = database.open().await;
    let first = store.commit(write([record("user", "ada", Some("org"), 1)])).await.unwrap();
    let stored = store.record("user", "ada", at(0)).await.unwrap().unwrap();
    assert_eq!((stored.owner.as_deref(), &stored.body, stored.revision), (Some("org"), &json!(1), first.revision));
    let second = store.commit(write([record("user", "ada", None, 2)])).await.unwrap();
    let stored = store.record("user", "ada", at(0)).await.unwrap().unwrap();
    assert_eq!((stored.owner, stored.body, stored.revision), (None, json!(2), second.revision));
    assert_eq!(store.record("group", "ada", at(0)).await.unwrap(), None, "kinds are apart");
}

pub(crate) async fn records_are_listed_by_kind_and_owner_in_pages(database: &Database) {
    let store = database.open().await;
    let keys = ["A", "B", "a", "b", "é"];
    store.commit(write(keys.iter().rev().map(|key| record("key", key, Some("o"), 0)))).await.unwrap();
    store.commit(write([record("key", "c", Some("p"), 0), record("other", "a", Some("o"), 0)])).await.unwrap();
    let mut query = RecordQuery { kind: "key".into(), owner: Some("o".into()), now: at(0), after: None, limit: 2 };
    let mut found = Vec::new();
    loop {
        let page = store.records(&query).await.unwrap();
        let Some(last) = page.last() else { break };
        query.after = Some(last.key.clone());
        found.extend(page.into_iter().map(|record| record.key));
    }
    assert_eq!(found, keys);
    assert_eq!(records(&store, "key").await.len(), 6);
}

pub(crate) async fn several_records_and_resources_are_read_at_once(database: &Database) {
    let store = database.open().await;
    let ids: Vec<String> = (0..1001).map(|number| format!("/r/{number:04}")).collect();
    let puts = ids.iter().map(|id| Change::PutResource(put(id, "R/t", 0)));
    let records = ids.iter().map(|id| record("key", id, None, 0));
    store.commit(write(puts.chain(records))).await.unwrap();
    let keys: Vec<&str> = ids.iter().rev().map(String::as_str).chain(["/r/none"]).collect();
    let resources = store.resources_at(&keys).await.unwrap();
    assert_eq!(resources.len(), ids.len(), "unknown ones are left out, and more than one statement takes is read");
    assert_eq!(store.records_at("key", &keys, at(0)).await.unwrap().len(), ids.len());
    let some = store.records_at("key", &["/r/0002", "/r/0001"], at(0)).await.unwrap();
    assert_eq!(some.iter().map(|record| record.key.as_str()).collect::<Vec<_>>(), ["/r/0001", "/r/0002"]);
    assert!(store.resources_at(&[]).await.unwrap().is_empty());
}

pub(crate) async fn what_holds_and_what_is_held_is_found_through_others(database: &Database) {
    let store = database.open().await;
    let pair = |holder: &str, owner: &str| record("in", &format!("{holder}/{owner}"), Some(owner), 0);
    let circle = [pair("all", "eu"), pair("eu", "nl"), pair("nl", "ada"), pair("nl", "bob"), pair("ada", "all")];
    store.commit(write(circle)).await.unwrap();
    store.commit(write([pair("nl2", "eve"), record("out", "x/ada", Some("ada"), 0)])).await.unwrap();
    assert_eq!(store.holders("in", "bob", at(0)).await.unwrap(), ["ada", "all", "eu", "nl"], "a circle does no harm");
    assert_eq!(store.holders("in", "nobody", at(0)).await.unwrap(), Vec::<String>::new());
    let mut held = store.held("in", "eu", at(0), 100).await.unwrap();
    held.sort_unstable();
    assert_eq!(held, ["ada", "all", "bob", "eu", "nl"], "and not what a holder has whose name only begins alike");
    assert_eq!(store.held("in", "all", at(0), 2).await.unwrap().len(), 2);
}

pub(crate) async fn records_are_deleted_one_by_one_or_by_owner(database: &Database) {
    let store = database.open().await;
    let all = [record("key", "1", Some("o"), 0), record("key", "2", Some("o"), 0), record("key", "3", None, 0)];
    store.commit(write(all)).await.unwrap();
    store.commit(write([Change::DeleteRecord { kind: "key".into(), key: "1".into() }])).await.unwrap();
    assert_eq!(records(&store, "key").await.len(), 2);
    store.commit(write([Change::DeleteRecordsOf { kind: "key".into(), owner: "o".into() }])).await.unwrap();
    let left: Vec<String> = records(&store, "key").await.into_iter().map(|record| record.key).collect();
    assert_eq!(left, ["3"]);
}

pub(crate) async fn an_expired_record_is_as_if_it_were_not_there(database: &Database) {
    let store = database.open().await;
    let code = |value: i64| Change::PutRecord {
        kind: "code".into(),
        key: "c".into(),
        owner: None,
        body: json!(value),
        expires: Some(at(10)),
    };
    let put = store.commit(write([code(1)])).await.unwrap();
    assert!(store.record("code", "c", at(9)).await.unwrap().is_some());
    assert!(store.record("code", "c", at(10)).await.unwrap().is_none(), "it ends at the moment it names");
    let query = RecordQuery { kind: "code".into(), owner: None, now: at(10), after: None, limit: 9 };
    assert_eq!(store.records(&query).await.unwrap(), []);

    let absent = Expectation::RecordAbsent { kind: "code".into(), key: "c".into() };
    let present = Expectation::RecordRevision { kind: "code".into(), key: "c".into(), revision: put.revision };
    let expecting = |seconds, expectation: &Expectation| {
        store.commit(Write { expect: vec![expectation.clone()], ..Write::new(at(seconds)) })
    };
    assert!(matches!(expecting(9, &absent).await, Err(CommitError::Conflict(_))));
    assert!(expecting(9, &present).await.is_ok());
    assert!(expecting(10, &absent).await.is_ok());
    assert!(matches!(expecting(10, &present).await, Err(CommitError::Conflict(_))));

    assert_eq!(store.sweep(at(9)).await.unwrap(), 0);
    assert!(store.record("code", "c", at(9)).await.unwrap().is_some());
    assert_eq!(store.sweep(at(10)).await.unwrap(), 1);
    assert!(store.record("code", "c", at(9)).await.unwrap().is_none(), "swept");
}

pub(crate) async fn a_sweep_finds_thousands_and_busy_writers_sweep_by_themselves(database: &Database) {
    let store = database.open().await;
    let grants = (0..2500).map(|number| Change::PutRecord {
        kind: "grant".into(),
        key: number.to_string(),
        owner: None,
        body: json!(null),
        expires: Some(at(1)),
    });
    store.commit(write(grants.clone())).await.unwrap();
    assert_eq!(store.sweep(at(1)).await.unwrap(), 2500);
    store.commit(write(grants)).await.unwrap();
    let writers = (0..1100).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.commit(Write::new(at(2))).await.unwrap() })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    // The answer comes before the sweep; asking for one more puts us behind it.
    assert_eq!(store.sweep(at(2)).await.unwrap(), 0, "the writer had swept already");
}

pub(crate) async fn operations_are_durable_until_they_are_over(database: &Database) {
    let operation = |number: u128, status: &str| Operation {
        id: Uuid::from_u128(number),
        kind: "delete".into(),
        scope: "/subscriptions/s".into(),
        status: status.into(),
        principal: "ada".into(),
        body: json!({"step": number.to_string()}),
        created: at(100 - i64::try_from(number).unwrap()),
        changed: at(200),
    };
    let store = database.open().await;
    let all = [operation(1, "Running"), operation(2, "Succeeded"), operation(3, "Updating"), operation(4, "Failed")];
    store.commit(write(all.clone().map(Change::PutOperation))).await.unwrap();
    store.close().await;
    let store = database.open().await;
    assert_eq!(store.operation(Uuid::from_u128(4)).await.unwrap(), Some(all[3].clone()));
    assert_eq!(store.unfinished_operations().await.unwrap(), [all[2].clone(), all[0].clone()], "oldest first");

    let finish = |expected: &str| Write {
        expect: vec![Expectation::OperationStatus { id: Uuid::from_u128(1), status: expected.into() }],
        ..write([Change::PutOperation(operation(1, "Canceled"))])
    };
    store.commit(finish("Running")).await.unwrap();
    assert!(matches!(store.commit(finish("Running")).await, Err(CommitError::Conflict(_))), "only one finishes it");
    assert_eq!(store.unfinished_operations().await.unwrap(), [all[2].clone()]);
}

pub(crate) async fn secrets_are_kept_by_incarnation_and_field(database: &Database) {
    let store = database.open().await;
    let secret = |owner, field: &str, byte| SealedSecret {
        incarnation: Uuid::from_u128(owner),
        field: field.into(),
        sealed: vec![byte; 3],
    };
    let all = [secret(1, "b", 1), secret(1, "a", 2), secret(2, "a", 3)];
    store.commit(write(all.clone().map(Change::PutSecret))).await.unwrap();
    store.commit(write([Change::PutSecret(secret(1, "b", 9))])).await.unwrap();
    assert_eq!(store.secrets(Uuid::from_u128(1)).await.unwrap(), [secret(1, "a", 2), secret(1, "b", 9)]);
    store.commit(write([Change::DeleteSecrets(Uuid::from_u128(1))])).await.unwrap();
    assert_eq!(store.secrets(Uuid::from_u128(1)).await.unwrap(), []);
    assert_eq!(store.secrets(Uuid::from_u128(2)).await.unwrap(), [all[2].clone()]);
}
