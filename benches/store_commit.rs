//! How fast the store is, next to bare SQLite on the same disk with the same settings in the same run.
//!
//! `cargo bench -p bastide-store --bench store_commit` prints a table and says which aims are missed. It succeeds all the
//! same: how fast a disk flushes is nobody's mistake. The bare side is one connection that inserts one row of the same
//! size in each transaction; the store also checks an expectation, keeps indexes and tags, and writes an audit entry.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bastide_store::{Change, Expectation, Location, ResourcePut, ResourceQuery, Store, Write};
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection as _, SqliteConnection};
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    // Below the build's own directory: /tmp is often memory, which flushes for nothing.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let path = |name: &str| directory.path().join(name);
    println!("{:<52} {:>12}   aim", "store_commit", "measured");

    commits(&path("bare.db"), &path("one.db"), &path("sixteen.db")).await?;
    gets(&path("gets.db")).await?;
    pages(&path("small.db"), &path("large.db")).await
}

/// Durable writes a second: bare, by one client, by sixteen. Rounds alternate, so that a busy machine is busy for all.
async fn commits(bare: &Path, one: &Path, sixteen: &Path) -> Outcome<()> {
    let mut bare = bare_database(bare).await?;
    let (one, sixteen) = (open(one).await?, open(sixteen).await?);
    let (mut bare_rates, mut one_rates, mut sixteen_rates) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        bare_rates.push(bare_commits(&mut bare, round).await?);
        one_rates.push(store_commits(&one, round, 1, 500).await?);
        sixteen_rates.push(store_commits(&sixteen, round, CLIENTS, 250).await?);
    }
    let (bare, one, sixteen) = (median(bare_rates), median(one_rates), median(sixteen_rates));
    report("bare SQLite, one row a commit [1/s]", &format!("{bare:.0}"), None);
    report("durable PUT, one client [1/s]", &format!("{one:.0}"), None);
    report("durable PUT, 16 clients [1/s]", &format!("{sixteen:.0}"), None);
    let ratio = sixteen / bare;
    report("durable PUT, 16 clients / bare SQLite", &format!("{ratio:.2}"), Some(("> 1.0", ratio > 1.0)));
    Ok(())
}

async fn bare_commits(connection: &mut SqliteConnection, round: usize) -> Outcome<f64> {
    const COMMITS: usize = 1000;
    let started = Instant::now();
    for number in 0..COMMITS {
        sqlx::query("INSERT INTO bare (key, body) VALUES ($1, $2)")
            .bind(key(round * COMMITS + number))
            .bind(body().to_string())
            .execute(&mut *connection)
            .await?;
    }
    Ok(rate(COMMITS, started.elapsed()))
}

async fn store_commits(store: &Store, round: usize, clients: usize, each: usize) -> Outcome<f64> {
    let started = Instant::now();
    let clients_at_work: Vec<_> = (0..clients)
        .map(|client| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0..each {
                    let id = key((round * clients + client) * each + number);
                    let write = Write {
                        expect: vec![Expectation::ResourceAbsent(id.clone())],
                        changes: vec![Change::PutResource(resource(&id))],
                        audit: vec![json!({"action": "write", "resource": id})],
                        ..Write::new(Timestamp::UNIX_EPOCH)
                    };
                    store.commit(write).await?;
                }
                Outcome::Ok(())
            })
        })
        .collect();
    for client in clients_at_work {
        client.await??;
    }
    Ok(rate(clients * each, started.elapsed()))
}

/// Reading one resource by its key among ten thousand.
async fn gets(path: &Path) -> Outcome<()> {
    let store = filled(path, 10_000).await?;
    let mut times = Vec::new();
    for number in 0..5000 {
        let key = key(number * 7919 % 10_000);
        let started = Instant::now();
        let found = store.resource(&key).await?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
        found.ok_or("a resource is missing")?;
    }
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    report("GET by key at 10,000 resources, p99 [µs]", &format!("{p99:.0}"), None);
    report("GET by key at 10,000 resources, p50 [µs]", &format!("{p50:.0}"), Some(("< 1000", p50 < 1000.0)));
    Ok(())
}

/// A page of a hundred, from a thousand resources and from a hundred thousand, with every kind of filter.
async fn pages(small: &Path, large: &Path) -> Outcome<()> {
    let (small, large) = (filled(small, 1_000).await?, filled(large, 100_000).await?);
    let everything = ResourceQuery { prefix: Some("/subscriptions/s/".into()), ..ResourceQuery::default() };
    let queries = [
        ("prefix", everything.clone()),
        ("listed", ResourceQuery { listed_only: true, ..everything.clone() }),
        ("one type", ResourceQuery { types: vec![TYPES[0].into()], ..everything.clone() }),
        ("two types", ResourceQuery { types: TYPES.map(Into::into).to_vec(), ..everything.clone() }),
        ("tag", ResourceQuery { tag: Some(("env".into(), Some("prod".into()))), ..everything.clone() }),
    ];
    for (what, query) in queries {
        let (few, many) = (page(&small, &query, 1_000).await?, page(&large, &query, 100_000).await?);
        report(&format!("page of 100 by {what}, of 1,000 resources [µs]"), &format!("{few:.0}"), None);
        report(&format!("page of 100 by {what}, of 100,000 resources [µs]"), &format!("{many:.0}"), None);
        let ratio = many / few;
        report(&format!("page of 100 by {what}, ratio"), &format!("{ratio:.2}"), Some(("< 2.0", ratio < 2.0)));
    }
    Ok(())
}

/// The median time of a full page that begins anywhere in the first half.
async fn page(store: &Store, query: &ResourceQuery, count: usize) -> Outcome<f64> {
    let mut times = Vec::new();
    for number in 0..300 {
        let query = ResourceQuery { after: Some(key(number * 7919 % (count / 2))), ..query.clone() };
        let started = Instant::now();
        let page = store.resources(&query).await?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
        if page.len() != 100 {
            return Err(format!("a page of {}", page.len()).into());
        }
    }
    Ok(percentile(&mut times, 50))
}

async fn open(path: &Path) -> Outcome<Store> {
    Ok(Store::open(&Location::Sqlite(path.to_owned())).await?)
}

async fn filled(path: &Path, count: usize) -> Outcome<Store> {
    let store = open(path).await?;
    for first in (0..count).step_by(500) {
        let changes = (first..first + 500).map(|number| Change::PutResource(resource(&key(number)))).collect();
        store.commit(Write { changes, ..Write::new(Timestamp::UNIX_EPOCH) }).await?;
    }
    Ok(store)
}

async fn bare_database(path: &Path) -> Outcome<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(PathBuf::from(path))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    sqlx::query("CREATE TABLE bare (key TEXT NOT NULL PRIMARY KEY, body TEXT NOT NULL)")
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

/// Keys whose order is that of their numbers.
fn key(number: usize) -> String {
    format!("/subscriptions/s/resourcegroups/rg/providers/microsoft.bench/things/{number:08}")
}

fn resource(id: &str) -> ResourcePut {
    let is_even = id.bytes().last().is_some_and(|digit| digit % 2 == 0);
    ResourcePut {
        id: id.to_owned(),
        type_name: if is_even { TYPES[0] } else { TYPES[1] }.to_owned(),
        incarnation: Uuid::new_v4(),
        listed: true,
        tags: [("env".to_owned(), "prod".to_owned())].into(),
        body: body(),
        by: "bench".to_owned(),
        by_type: "Application".to_owned(),
    }
}

/// About as much as a small hub says about itself.
fn body() -> Value {
    json!({"location": "local", "properties": {"friendlyName": "bench", "description": "x".repeat(600)}})
}

fn report(what: &str, measured: &str, aim: Option<(&str, bool)>) {
    let (aim, passed) = aim.unwrap_or(("", true));
    println!("{what:<52} {measured:>12}   {aim}{}", if passed { "" } else { "  MISSED" });
}

fn rate(count: usize, elapsed: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / elapsed.as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    percentile(&mut values, 50)
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() * percent / 100).copied().unwrap_or(f64::NAN)
}

const TYPES: [&str; 2] = ["Microsoft.Bench/things", "Microsoft.Bench/others"];
const CLIENTS: usize = 16;
const ROUNDS: usize = 5;
