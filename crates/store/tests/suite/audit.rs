//! The audit chain shows every change made behind its back.

use bastide_audit::{Broken, Checkpoint, Fault, Head, Intact, SigningKey};
use bastide_store::{AuditChain, AuditNote, AuditQuery, Change, CommitError, Expectation, Store, Write};
use serde_json::json;

use crate::support::{Database, at, note, put, write};

pub(crate) async fn entries_come_back_in_order_each_tied_to_the_one_before(database: &Database) {
    let store = database.open().await;
    assert_eq!(store.verify_audit().await.unwrap(), Ok(intact(0, "")));
    let records = [json!({"b": 1, "a": [true, null]}), json!("text with \u{0000} and\nlines"), json!(3)];
    store.commit(Write { audit: records[..2].to_vec(), ..Write::new(at(5)) }).await.unwrap();
    store.commit(note(records[2].clone())).await.unwrap();
    let entries = store.audit(&AuditQuery { after: 0, limit: 10 }).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(entries.iter().map(|entry| entry.record.clone()).collect::<Vec<_>>(), records);
    assert_eq!((entries[0].at, entries[2].at), (at(5), at(0)));
    assert!(entries[0].prev_hash.is_empty() && entries.windows(2).all(|pair| pair[1].prev_hash == pair[0].hash));
    assert_eq!(store.audit(&AuditQuery { after: 1, limit: 1 }).await.unwrap(), entries[1..2]);
    assert_eq!(store.verify_audit().await.unwrap(), Ok(intact(3, &entries[2].hash)));
}

pub(crate) async fn a_write_that_conflicts_leaves_no_entry(database: &Database) {
    let store = database.open().await;
    let refused = Write { expect: vec![Expectation::AccessEpoch(77)], ..note(json!("never")) };
    assert!(matches!(store.commit(refused).await, Err(CommitError::Conflict(Expectation::AccessEpoch(77)))));
    store.commit(note(json!("first"))).await.unwrap();
    assert_eq!(store.verify_audit().await.unwrap().unwrap().head.seq, 1);
}

pub(crate) async fn any_change_to_the_chain_is_named_by_its_first_bad_number(database: &Database) {
    use Fault::{Changed, Foreign, Missing};
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
        assert_eq!(store.verify_audit().await.unwrap(), Err(Broken { seq, fault }), "{what}");
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
    assert_eq!(store.verify_audit().await.unwrap().unwrap().head.seq, 2550);
}

/// A row tampered with at the level of single bytes, whichever column they are in.
pub(crate) async fn a_single_changed_byte_is_named_by_its_number(database: &Database) {
    let store = database.open().await;
    for number in 1..=4 {
        store.commit(note(json!({"action": "a/b/write", "number": number}))).await.unwrap();
    }
    database.tamper("CREATE TABLE original AS SELECT * FROM audit").await;
    let entry = &store.audit_chain().entries(2, 1).await.unwrap()[0];
    let columns = [("prev_hash", entry.prev_hash.len()), ("hash", entry.hash.len()), ("record", entry.record.len())];
    for (column, length) in columns {
        for position in (1..=length).step_by(7) {
            let flip = format!(
                "UPDATE audit SET {column} = substr({column}, 1, {position} - 1) || \
                 CASE substr({column}, {position}, 1) WHEN 'x' THEN 'y' ELSE 'x' END || substr({column}, {position} + 1) \
                 WHERE seq = 3"
            );
            database.tamper(&flip).await;
            let verdict = store.verify_audit().await.unwrap();
            assert_eq!(verdict, Err(Broken { seq: 3, fault: Fault::Changed }), "{column} {position}");
            database.tamper("DELETE FROM audit; INSERT INTO audit SELECT * FROM original").await;
        }
    }
    assert!(is_intact(&store).await);
}

/// One who rewrites entries and head alike is found by a signed checkpoint; one who cuts the tail as well.
pub(crate) async fn a_checkpoint_shows_what_the_head_no_longer_does(database: &Database) {
    let (store, key) = (database.open().await, key());
    for number in 1..=6 {
        store.commit(note(json!({"number": number}))).await.unwrap();
        if number == 4 {
            sign(&store, &key, false).await;
        }
    }
    let reader = AuditChain::open(&database.location).unwrap();
    let verify = async || reader.verify(key.public(), &[]).await.unwrap();
    assert_eq!(verify().await.unwrap().covered, 4);
    let entries = reader.entries(0, 10).await.unwrap();
    let shorten = |to: usize| {
        let hash = &entries[to - 1].hash;
        format!("DELETE FROM audit WHERE seq > {to}; UPDATE meta SET audit_seq = {to}, audit_hash = '{hash}'")
    };
    database.tamper(&shorten(5)).await;
    assert_eq!(verify().await.unwrap().head.seq, 5, "behind the last checkpoint only a copy elsewhere shows it");
    database.tamper(&shorten(3)).await;
    assert_eq!(verify().await, Err(Broken { seq: 4, fault: Fault::Missing }));

    // A chain that was written anew, with a head that fits.
    let mut head = Head::default();
    for number in 1..=4 {
        let forged = head.append(at(0), &json!({"number": number * 10}));
        let sql = format!(
            "DELETE FROM audit WHERE seq = {number}; INSERT INTO audit VALUES ({number}, {}, '{}', '{}', '{}'); \
             UPDATE meta SET audit_seq = {number}, audit_hash = '{}'",
            forged.at.as_microsecond(),
            forged.prev_hash,
            forged.hash,
            forged.record,
            forged.hash
        );
        database.tamper(&sql).await;
    }
    assert!(is_intact(&store).await, "by itself it is a chain");
    assert_eq!(verify().await, Err(Broken { seq: 4, fault: Fault::Rewritten }));
    // Whoever removes the checkpoint too is found by a copy of it.
    let copies = reader.notes().await.unwrap();
    database.tamper("DELETE FROM records WHERE kind = 'audit-checkpoint'").await;
    assert!(verify().await.is_ok());
    let verdict = reader.verify(key.public(), &copies).await.unwrap();
    assert_eq!(verdict, Err(Broken { seq: 4, fault: Fault::Rewritten }));
}

pub(crate) async fn a_cut_chain_is_provable_from_its_cut_on(database: &Database) {
    let (store, key) = (database.open().await, key());
    for number in 1..=3 {
        store.commit(note(json!({"number": number}))).await.unwrap();
    }
    sign(&store, &key, true).await;
    for number in 4..=6 {
        store.commit(note(json!({"number": number}))).await.unwrap();
    }
    let chain = store.audit_chain();
    let intact = chain.verify(key.public(), &[]).await.unwrap().unwrap();
    assert_eq!((intact.begun, intact.head.seq), (3, 6));
    assert_eq!(chain.entries(0, 10).await.unwrap()[0].seq, 4);
    let other = SigningKey::new("bastide/t/audit", &[8; 32]).unwrap();
    let verdict = chain.verify(other.public(), &[]).await.unwrap();
    assert_eq!(verdict, Err(Broken { seq: 3, fault: Fault::Forged }));
    database.tamper("DELETE FROM records WHERE kind = 'audit-checkpoint'").await;
    let verdict = chain.verify(key.public(), &[]).await.unwrap();
    assert_eq!(verdict, Err(Broken { seq: 1, fault: Fault::Missing }), "a cut that nobody signed is a theft");
}

pub(crate) async fn what_access_changes_were_about_is_told_while_it_is_fresh(database: &Database) {
    let store = database.open().await;
    let before = store.access_epoch().await.unwrap();
    let put_one = Change::PutResource(put("/A/b", "t", 1));
    store.commit(write([put_one, Change::RaiseAccessEpoch])).await.unwrap();
    store.commit(write([Change::DeleteBelow("/c/".to_owned())])).await.unwrap();
    let raised = [Change::RaiseAccessEpoch, Change::DeleteResource("/a/b".to_owned()), Change::RaiseAccessEpoch];
    store.commit(write(raised)).await.unwrap();
    let changes = store.access_changes(before).await.unwrap().unwrap();
    assert_eq!(
        (changes.epoch, changes.keys.as_slice()),
        (before + 3, ["/a/b".to_owned(), "/a/b".to_owned()].as_slice())
    );
    assert!(changes.below.is_empty(), "what did not raise the epoch is nobody's right");
    assert_eq!(store.access_changes(before + 3).await.unwrap().unwrap().keys, [] as [&str; 0]);
    assert_eq!(store.access_changes(before - 1).await.unwrap(), None, "before the log began");
    store.sweep(at(7200)).await.unwrap();
    assert_eq!(store.access_changes(before).await.unwrap(), None, "hours later it is forgotten");
}

async fn sign(store: &Store, key: &SigningKey, is_cut: bool) {
    let head = store.audit_chain().head().await.unwrap();
    let note = Checkpoint { head: head.clone(), at: at(0), is_cut }.sign(key);
    let mut changes = vec![AuditNote { seq: head.seq, note }.put()];
    if is_cut {
        changes.push(Change::CutAudit(head.seq));
    }
    store.commit(write(changes)).await.unwrap();
}

fn key() -> SigningKey {
    SigningKey::new("bastide/t/audit", &[7; 32]).unwrap()
}

fn intact(seq: i64, hash: &str) -> Intact {
    Intact { begun: 0, head: Head { seq, hash: hash.to_owned() }, covered: 0 }
}

async fn is_intact(store: &Store) -> bool {
    store.verify_audit().await.unwrap().is_ok()
}
