//! What a client of a running server waits for, over TLS, next to bare SQLite on the same disk in the same run.
//!
//! `cargo bench -p bastide-benches` builds the release binary and starts it on data directories of its own below the
//! build directory; `BASTIDE_BIN` names another binary. Prints a table and succeeds whatever the numbers are: on a busy
//! machine they say little. Takes about two minutes; `-- writes` or `-- reads` does that part alone.
//!
//! Clients are tasks of this process, each with one kept connection; they compete with the server for the processors, so
//! throughput is a lower bound.

mod bare;
mod seed;

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use bastide_benches::Outcome;
use bastide_benches::api::{GROUPS, IDENTITIES, group, identity};
use bastide_benches::client::Client;
use bastide_benches::numbers::{median, percentile, rate};
use bastide_benches::report::{Aim, Report};
use bastide_benches::server::{DataDirectory, processor_time};
use bastide_benches::stage::Stage;
use serde::Deserialize;
use serde_json::{Value, json};

use bare::BareDatabase;
use seed::seed;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut stage = Stage::begin("front_door", env!("CARGO_TARGET_TMPDIR"))?;
    let is_asked = |part: &str| std::env::args().all(|word| !PARTS.contains(&word.as_str()) || word == part);
    if is_asked("writes") {
        let (directory, bare) = (stage.directory("writes")?, stage.path("bare.db"));
        writes(&directory, &bare, &mut stage.report).await?;
    }
    if is_asked("reads") {
        let (small, large) = (stage.directory("small")?, stage.directory("large")?);
        reads(&small, &large, &mut stage.report).await?;
        starts(&large, &mut stage.report).await?;
    }
    stage.report.print();
    Ok(())
}

/// Acknowledged PUTs of new resources a second, and the memory before and after. Every turn stands between two of bare
/// commits and is compared with these, so that a busy machine is busy for both.
async fn writes(directory: &DataDirectory, bare: &Path, report: &mut Report) -> Outcome<()> {
    let mut bare = BareDatabase::create(bare)?;
    let server = directory.start().await?;
    tokio::time::sleep(SETTLING).await;
    let first_memory = server.resident_mebibytes()?;
    let client = Client::sign_in(&server).await?;
    client.found_group().await?;

    let mut series: Vec<Series> =
        Kind::ALL.iter().flat_map(|kind| CLIENTS.map(|clients| Series::new(*kind, clients))).collect();
    let mut before = bare.commits(BARE_TURN)?;
    let mut bare_rates = vec![before];
    for round in 0..ROUNDS {
        report.progress(&format!("writes, round {} of {ROUNDS}", round + 1));
        for series in &mut series {
            let (served, drove) = (processor_time(server.id())?, processor_time("self")?);
            let (count, elapsed) = acknowledged_puts(&client, series.kind, series.clients, round).await?;
            let puts = f64::from(count);
            series.served.push(processor_time(server.id())?.saturating_sub(served).as_secs_f64() * 1e6 / puts);
            series.drove.push(processor_time("self")?.saturating_sub(drove).as_secs_f64() * 1e6 / puts);
            let after = bare.commits(BARE_TURN)?;
            series.rates.push(rate(count, elapsed));
            series.ratios.push(rate(count, elapsed) * 2.0 / (before + after));
            bare_rates.push(after);
            before = after;
        }
    }
    report.add("bare SQLite, one row a commit [1/s]", format!("{:.0}", median(&mut bare_rates)), None);
    for series in &mut series {
        series.add_to(report);
    }
    let aim = |mebibytes: f64| Some(Aim::new("< 40", mebibytes < 40.0));
    report.add("resident memory, first start, idle [MiB]", format!("{first_memory:.1}"), aim(first_memory));
    tokio::time::sleep(SETTLING).await;
    let memory = server.resident_mebibytes()?;
    report.add("resident memory, idle after that load [MiB]", format!("{memory:.1}"), aim(memory));
    server.stop().await
}

/// What was measured of one kind of PUT by so many clients, a number for each round.
struct Series {
    kind: Kind,
    clients: usize,
    rates: Vec<f64>,
    /// Of the rate to the bare commits around it.
    ratios: Vec<f64>,
    /// Processor time of the server for each PUT, in microseconds.
    served: Vec<f64>,
    /// The same of the clients.
    drove: Vec<f64>,
}

impl Series {
    fn new(kind: Kind, clients: usize) -> Self {
        Self { kind, clients, rates: Vec::new(), ratios: Vec::new(), served: Vec::new(), drove: Vec::new() }
    }

    fn add_to(&mut self, report: &mut Report) {
        let what = format!("durable PUT of {}, {} clients [1/s]", self.kind.name(), self.clients);
        report.add(&what, format!("{:.0}", median(&mut self.rates)), None);
        let ratio = median(&mut self.ratios);
        let aim = (CLIENTS.last() == Some(&self.clients)).then(|| Aim::new("> 1.0", ratio > 1.0));
        report.add("    as a ratio of bare SQLite", format!("{ratio:.2}"), aim);
        let (least, most) = (percentile(&mut self.ratios, 0), percentile(&mut self.ratios, 100));
        report.add("    ... least and most of a round", format!("{least:.2} {most:.2}"), None);
        report.add("    processor time, server [µs]", format!("{:.0}", median(&mut self.served)), None);
        report.add("    processor time, clients [µs]", format!("{:.0}", median(&mut self.drove)), None);
    }
}

/// What is put.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// One row.
    Group,
    /// A row and the principal behind it.
    Identity,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Group, Self::Identity];

    fn name(self) -> &'static str {
        match self {
            Self::Group => "resource groups",
            Self::Identity => "identities",
        }
    }

    async fn put(self, client: &Client, name: &str) -> Outcome<()> {
        let body = json!({"location": "local", "tags": {"team": "bench"}});
        match self {
            Self::Group => client.put(&group(name), GROUPS, &body).await,
            Self::Identity => client.put(&identity(name), IDENTITIES, &body).await,
        }
    }
}

/// How many PUTs of new resources were answered in how much time, each client sending the next when it has the answer to the last.
async fn acknowledged_puts(client: &Client, kind: Kind, clients: usize, round: usize) -> Outcome<(u32, Duration)> {
    let mut connections = Vec::new();
    for number in 0..clients {
        let connection = client.connect()?;
        // Opens the connection before the clock runs.
        connection.get::<Value>("", GROUPS).await?;
        connections.push((number, connection));
    }
    let started = Instant::now();
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|(number, connection)| {
            tokio::spawn(async move {
                let mut acknowledged = 0;
                while started.elapsed() < TURN {
                    let name = format!("b-{round}-{clients}-{number}-{acknowledged}");
                    kind.put(&connection, &name).await?;
                    acknowledged += 1;
                }
                Outcome::Ok(acknowledged)
            })
        })
        .collect();
    let mut acknowledged = 0;
    for task in tasks {
        acknowledged += task.await??;
    }
    Ok((acknowledged, started.elapsed()))
}

/// Reading one resource of ten thousand, and pages of a hundred from a thousand and from a hundred thousand.
async fn reads(small: &DataDirectory, large: &DataDirectory, report: &mut Report) -> Outcome<()> {
    fill(small, 0..999).await?;
    fill(large, 0..9_999).await?;
    report.progress("one of 10,000 resources");
    gets(large, report).await?;
    report.progress("pages of 1,000 and of 100,000 resources");
    fill(large, 9_999..99_999).await?;
    pages(small, large, report).await
}

/// Adds copies of one resource, which the server makes when it is not there yet.
async fn fill(directory: &DataDirectory, numbers: Range<usize>) -> Outcome<()> {
    let server = directory.start().await?;
    let client = Client::sign_in(&server).await?;
    client.found_group().await?;
    client.put(&identity("model"), IDENTITIES, &json!({"location": "local", "tags": {"team": "bench"}})).await?;
    let model = format!("{}{}", client.subscription(), identity("model"));
    server.stop().await?;
    seed(&directory.database(), &model, numbers).await
}

async fn gets(directory: &DataDirectory, report: &mut Report) -> Outcome<()> {
    let server = directory.start().await?;
    let client = Client::sign_in(&server).await?;
    let mut times = Vec::new();
    for number in 0..GETS {
        let path = identity(&seed::name(number * 7919 % 9_999));
        let started = Instant::now();
        client.get::<Value>(&path, IDENTITIES).await?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    report.add("GET by id at 10,000 resources, p50 [ms]", format!("{p50:.2}"), Some(Aim::new("< 1", p50 < 1.0)));
    report.add("GET by id at 10,000 resources, p99 [ms]", format!("{p99:.2}"), None);
    server.stop().await
}

/// Full pages of both, in turns, so that a busy machine is busy for both.
async fn pages(small: &DataDirectory, large: &DataDirectory, report: &mut Report) -> Outcome<()> {
    let (small, large) = (small.start().await?, large.start().await?);
    let (few_client, many_client) = (Client::sign_in(&small).await?, Client::sign_in(&large).await?);
    let (mut few, mut many) = (Walk::begin(&few_client), Walk::begin(&many_client));
    for _ in 0..PAGES {
        few.page().await?;
        many.page().await?;
    }
    let (few, many) = (median(&mut few.times), median(&mut many.times));
    report.add("page of 100, of 1,000 resources, p50 [ms]", format!("{few:.2}"), None);
    report.add("page of 100, of 100,000 resources, p50 [ms]", format!("{many:.2}"), None);
    let ratio = many / few;
    report.add("    ratio", format!("{ratio:.2}"), Some(Aim::new("about 1", ratio < 1.5)));
    small.stop().await?;
    large.stop().await
}

/// A way through a list along its links, and again from its beginning when it ends.
struct Walk<'a> {
    client: &'a Client,
    next: Option<String>,
    /// Milliseconds of each page.
    times: Vec<f64>,
}

impl<'a> Walk<'a> {
    fn begin(client: &'a Client) -> Self {
        Self { client, next: None, times: Vec::new() }
    }

    async fn page(&mut self) -> Outcome<()> {
        let started = Instant::now();
        let page: Page = match &self.next {
            Some(link) => self.client.follow(link).await?,
            None => self.client.get("/resources", GROUPS).await?,
        };
        self.times.push(started.elapsed().as_secs_f64() * 1e3);
        if page.value.len() != 100 {
            return Err("a page is not full".into());
        }
        self.next = page.next_link;
        Ok(())
    }
}

/// A page of a list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    value: Vec<Value>,
    next_link: Option<String>,
}

/// From the start of the process to the first answer, with a hundred thousand resources there.
async fn starts(directory: &DataDirectory, report: &mut Report) -> Outcome<()> {
    report.progress("starts");
    let mut times = Vec::new();
    let mut memory = Vec::new();
    for _ in 0..STARTS {
        let server = directory.start().await?;
        times.push(server.started_in.as_secs_f64() * 1e3);
        memory.push(server.resident_mebibytes()?);
        server.stop().await?;
    }
    let (time, memory) = (median(&mut times), median(&mut memory));
    report.add(
        "start to /healthz, 100,000 resources [ms]",
        format!("{time:.0}"),
        Some(Aim::new("< 300", time < 300.0)),
    );
    let slowest = percentile(&mut times, 100);
    report.add(&format!("    slowest of {STARTS} [ms]"), format!("{slowest:.0}"), None);
    report.add(
        "resident memory, later start, idle [MiB]",
        format!("{memory:.1}"),
        Some(Aim::new("< 40", memory < 40.0)),
    );
    Ok(())
}

const PARTS: [&str; 2] = ["writes", "reads"];
const CLIENTS: [usize; 3] = [1, 4, 16];
const ROUNDS: usize = 5;
const GETS: usize = 5_000;
const PAGES: usize = 300;
const STARTS: usize = 20;

/// How long one measurement of a rate takes.
const TURN: Duration = Duration::from_secs(1);
/// ... and of the bare commits between two of them.
const BARE_TURN: Duration = Duration::from_millis(400);
/// What has just worked is let come to rest before its memory is looked at.
const SETTLING: Duration = Duration::from_secs(2);
