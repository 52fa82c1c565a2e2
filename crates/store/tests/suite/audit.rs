//! The audit chain shows every change made behind its back.

use bastide_store::{AuditFault, AuditQuery, AuditVerdict, CommitError, Expectation, Store, Write};
use serde_json::json;

use crate::support::{Database, at, note};

pub(crate) async fn entries_come_back_in_order_each_tied_to_the_one_before(database: &Database) {
    let store = database.open().await;
    assert_eq!(store.verify_audit().await.unwrap(), AuditVerdict::Intact { entries: 0, head: String::new() });
    let records = [json!({"b": 1, "a": [true, null]}), json!("text with \u{0000} and\nlines"), json!(3)];
    store.commit(Write { audit: records[..2].to_vec(), ..Write::new(at(5)) }).await.unwrap();
    store.commit(note(records[2].clone())).await.unwrap();
    let entries = store.audit(&AuditQuery { after: 0, limit: 10 }).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(entries.iter().map(|entry| entry.record.clone()).collect::<Vec<_>>(), records);
    assert_eq!((entries[0].at, entries[2].at), (at(5), at(0)));
    assert!(entries[0].prev_hash.is_empty() && entries.windows(2).all(|pair| pair[1].prev_hash == pair[0].hash));
    assert_eq!(store.audit(&AuditQuery { after: 1, limit: 1 }).await.unwrap(), entries[1..2]);
    let head = entries[2].hash.clone();
    assert_eq!(store.verify_audit().await.unwrap(), AuditVerdict::Intact { entries: 3, head });
}

pub(crate) async fn a_write_that_conflicts_leaves_no_entry(database: &Database) {
    let store = database.open().await;
    let refused = Write { expect: vec![Expectation::AccessEpoch(77)], ..note(json!("never")) };
    assert!(matches!(store.commit(refused).await, Err(CommitError::Conflict(Expectation::AccessEpoch(77)))));
    store.commit(note(json!("first"))).await.unwrap();
    assert!(matches!(store.verify_audit().await.unwrap(), AuditVerdict::Intact { entries: 1, .. }));
}

pub(crate) async fn any_change_to_the_chain_is_named_by_its_first_bad_number(database: &Database) {
    use AuditFault::{Changed, Foreign, Missing};
    let store = database.open().await;
    for number in 1..=6 {
        store.commit(note(json!({"number": number}))).await.unwrap();
    }
    database.tamper("CREATE TABLE original AS SELECT * FROM audit").await;
    let cases = [
        ("a flipped record", "UPDATE audit SET record = '{\"number\":9}' WHERE seq = 3", 3, Changed),
        ("a moved time", "UPDATE audit SET at = at + 1 WHERE seq = 1", 1, Changed),
        ("a changed hash", "UPDATE audit SET hash = prev_hash WHERE seq = 6", 6, Changed),
        ("a deleted entry", "DELETE FROM audit WHERE seq = 4", 4, Missing),
        ("a deleted beginning", "DELETE FROM audit WHERE seq < 3", 1, Missing),
        ("a cut tail", "DELETE FROM audit WHERE seq > 4", 5, Missing),
        ("an emptied chain", "DELETE FROM audit", 1, Missing),
        (
            "an appended entry",
            "INSERT INTO audit SELECT 7, at, hash, hash, record FROM audit WHERE seq = 6",
            7,
            Foreign,
        ),
        ("an entry put before", "INSERT INTO audit SELECT 0, at, '', '', record FROM audit WHERE seq = 1", 0, Foreign),
        (
            "an inserted entry, the rest moved up",
            "UPDATE audit SET seq = -seq WHERE seq > 2; UPDATE audit SET seq = 1 - seq WHERE seq < 0; \
             INSERT INTO audit SELECT 3, at, prev_hash, hash, record FROM original WHERE seq = 3",
            4,
            Changed,
        ),
        (
            "two entries that changed places",
            "UPDATE audit SET seq = -2 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 5; \
             UPDATE audit SET seq = 5 WHERE seq = -2",
            2,
            Changed,
        ),
    ];
    for (what, sql, seq, fault) in cases {
        database.tamper(sql).await;
        assert_eq!(store.verify_audit().await.unwrap(), AuditVerdict::Broken { seq, fault }, "{what}");
        database.tamper("DELETE FROM audit; INSERT INTO audit SELECT * FROM original").await;
        assert!(is_intact(&store).await, "after {what} was repaired");
    }
}

pub(crate) async fn a_long_chain_is_walked_while_it_grows(database: &Database) {
    let store = database.open().await;
    let many = Write { audit: (0..2500).map(|number| json!(number)).collect(), ..Write::new(at(0)) };
    store.commit(many).await.unwrap();
    let growing = store.clone();
    let writer = tokio::spawn(async move {
        for number in 0..50 {
            growing.commit(note(json!(number))).await.unwrap();
        }
    });
    while !writer.is_finished() {
        assert!(is_intact(&store).await);
    }
    writer.await.unwrap();
    assert!(matches!(store.verify_audit().await.unwrap(), AuditVerdict::Intact { entries: 2550, .. }));
}

async fn is_intact(store: &Store) -> bool {
    matches!(store.verify_audit().await.unwrap(), AuditVerdict::Intact { .. })
}
