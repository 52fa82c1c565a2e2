//! `kill -9` at any moment: everything acknowledged is there, nothing is half there, and the chain holds.

// Only test functions are excused from these by the configuration, not what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bastide_store::{Change, Location, RecordQuery, Store, Write};
use jiff::Timestamp;
use serde_json::json;

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store.db");
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        // Killed while it opens the database, in its first commits, in full flow, at a checkpoint of the log.
        let patience = Duration::from_millis((round * 37) % 250);
        acknowledged.extend(write_until_killed(&file, round, patience));
        let store = Store::open(&Location::Sqlite(file.clone())).await.unwrap();
        let [left, right] = [records(&store, "left").await, records(&store, "right").await];
        assert_eq!(left, right, "a half write after round {round}");
        let lost: Vec<_> = acknowledged.iter().filter(|key| left.binary_search(key).is_err()).collect();
        assert!(lost.is_empty(), "acknowledged and lost after round {round}: {lost:?}");
        let Ok(intact) = store.verify_audit().await.unwrap() else {
            panic!("the audit chain is broken after round {round}");
        };
        let entries = intact.head.seq;
        assert_eq!(usize::try_from(entries).unwrap(), left.len(), "one entry for each write");
        assert_eq!(*store.revisions().borrow(), entries, "one revision for each write");
        store.close().await;
    }
    assert!(acknowledged.len() > 100, "only {} writes in all rounds: the test has tested nothing", acknowledged.len());
    println!("{} acknowledged writes survived {ROUNDS} kills", acknowledged.len());
}

/// The process that is killed: writes from eight clients and prints the key of each acknowledged write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let (Some(file), Ok(round)) = (std::env::var_os("BASTIDE_CRASH_FILE"), std::env::var("BASTIDE_CRASH_ROUND")) else {
        return;
    };
    let store = Store::open(&Location::Sqlite(file.into())).await.unwrap();
    let clients: Vec<_> =
        (0..8).map(|client| tokio::spawn(write_for_ever(store.clone(), format!("{round}-{client}")))).collect();
    for client in clients {
        client.await.unwrap();
    }
}

async fn write_for_ever(store: Store, name: String) {
    for number in 0_u64.. {
        let key = format!("{name}-{number}");
        let half = |kind: &str| Change::PutRecord {
            kind: kind.into(),
            key: key.clone(),
            owner: None,
            // Several pages, so that the log is written back now and then.
            body: json!("x".repeat(10_000)),
            expires: None,
        };
        let changes = vec![half("left"), half("right")];
        let write = Write { changes, audit: vec![json!({"key": key})], ..Write::new(Timestamp::UNIX_EPOCH) };
        store.commit(write).await.unwrap();
        // One call writes the whole line, so that a kill cannot cut it.
        std::io::stdout().write_all(format!("\nacknowledged {key}\n").as_bytes()).unwrap();
    }
}

fn write_until_killed(file: &Path, round: u64, patience: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env("BASTIDE_CRASH_FILE", file)
        .env("BASTIDE_CRASH_ROUND", round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reader = std::thread::spawn(move || {
        lines.map_while(Result::ok).filter_map(|line| Some(line.strip_prefix("acknowledged ")?.to_owned())).collect()
    });
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "the child ended before it was killed");
    reader.join().unwrap()
}

async fn records(store: &Store, kind: &str) -> Vec<String> {
    let mut query = RecordQuery { kind: kind.into(), owner: None, now: Timestamp::UNIX_EPOCH, after: None, limit: 500 };
    let mut keys: Vec<String> = Vec::new();
    loop {
        let page = store.records(&query).await.unwrap();
        let Some(last) = page.last() else { return keys };
        query.after = Some(last.key.clone());
        keys.extend(page.into_iter().map(|record| record.key));
    }
}

const ROUNDS: u64 = 16;
