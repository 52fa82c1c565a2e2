//! Databases of other versions.

use bastide_store::{Change, ResourceQuery, StoreError};

use crate::support::{DISK, Database, keys, put_all, tagged, write};

pub(crate) async fn opening_again_changes_nothing(database: &Database) {
    let store = database.open().await;
    let committed = put_all(&store, [tagged("/a", &[("t", "v")])]).await;
    store.close().await;
    let store = database.open().await;
    assert_eq!(store.resource("/a").await.unwrap().as_ref(), committed.resources.first());
    assert_eq!(*store.revisions().borrow(), committed.revision);
}

pub(crate) async fn two_processes_may_make_the_database_at_once(database: &Database) {
    let (one, other) = tokio::join!(database.try_open(), database.try_open());
    put_all(&one.unwrap(), [tagged("/a", &[])]).await;
    put_all(&other.unwrap(), [tagged("/b", &[])]).await;
}

pub(crate) async fn a_database_of_version_one_is_brought_up_to_date_with_its_rows(database: &Database) {
    let (text, bytes) = if database.is_sqlite() { ("TEXT", "BLOB") } else { ("TEXT COLLATE \"C\"", "BYTEA") };
    let version_one = include_str!("../../migrations/0001_foundation.sql");
    database.tamper(&version_one.replace("{text}", text).replace("{bytes}", bytes)).await;
    database.tamper("UPDATE meta SET schema_version = 1, revision = 41").await;
    let row = format!(
        "INSERT INTO resources VALUES ('/old', '/Old', '{DISK}', '{}', 'old', '{}', 41, 'e', 1, '{{\"A\":\"b\"}}', '{{}}', 41, \
         0, 'ada', 'User', 0, 'ada', 'User'); INSERT INTO resource_tags VALUES ('/old', 'a', 'A', 'b')",
        DISK.to_ascii_lowercase(),
        uuid::Uuid::nil(),
    );
    database.tamper(&row).await;

    let store = database.open().await;
    let by_tag = ResourceQuery { tag: Some(("a".into(), Some("b".into()))), ..ResourceQuery::default() };
    assert_eq!(keys(&store, by_tag).await, ["/old"]);
    assert_eq!(store.commit(write([Change::DeleteResource("/old".into())])).await.unwrap().revision, 42);
    assert_eq!(store.verify_audit().await.unwrap().unwrap().head.seq, 0);
    // Fails unless the second migration has made the index.
    database.tamper("DROP INDEX resources_by_name").await;
}

pub(crate) async fn a_newer_database_is_refused_with_a_sentence_and_left_alone(database: &Database) {
    let store = database.open().await;
    put_all(&store, [tagged("/a", &[])]).await;
    store.close().await;
    database.tamper("UPDATE meta SET schema_version = 99").await;
    let error = database.try_open().await.unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { found: 99, .. }));
    let sentence = error.to_string();
    assert!(sentence.contains("version 99") && sentence.contains("versions up to 2"), "{sentence}");
    database.tamper("UPDATE meta SET schema_version = 2").await;
    assert_eq!(keys(&database.open().await, ResourceQuery::default()).await, ["/a"]);
}
