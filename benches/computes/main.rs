//! What a developer waits for: an instance, a command in it, a shell by SSH, `JupyterLab`; beside what sandboxes of the same
//! file system take when nobody asks who may, where the bytes go, or what is left behind.
//!
//! `cargo bench -p bastide-benches --bench computes` builds the release binary and starts it, as root, on a data directory
//! of its own below the build directory; `BASTIDE_BIN` names another binary. Prints a table and succeeds whatever the
//! numbers are: on a busy machine they say little.

#![allow(clippy::indexing_slicing, reason = "JSON that is not as expected reads as null, and a bench may stop")]

mod peers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bastide_benches::Outcome;
use bastide_benches::api::{WORKSPACES, hub};
use bastide_benches::client::Client;
use bastide_benches::numbers::{median, percentile};
use bastide_benches::report::Aim;
use bastide_benches::server::{Binary, Server};
use bastide_benches::stage::Stage;
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Outcome<()> {
    if !rustix::process::geteuid().is_root() {
        println!("computes: not measured, because only root can start them");
        return Ok(());
    }
    let mut stage = Stage::begin("computes", env!("CARGO_TARGET_TMPDIR"))?;
    let (data, key, bundle) = (stage.path("computes"), stage.path("key"), stage.path("bundle"));
    let server = stage.directory("computes")?.behind_the_wall().start().await?;
    let bench = Bench { client: Client::sign_in(&server).await?, binary: stage.binary.clone(), data, server };
    let report = &mut stage.report;
    bench.found().await?;
    report.progress("the first compute, and the base image if there is none yet");
    bench.make("warm", Some(&key)).await?;

    report.progress("starts");
    let mut starts = Vec::new();
    for round in 0..ROUNDS {
        starts.push(bench.make(&format!("one-{round}x"), None).await?);
    }
    let start = median(&mut starts);
    let slowest = percentile(&mut starts, 95);
    report.add("accepted until a command runs, p50 [ms]", one(start), Some(Aim::new("< 150", start < 150.0)));
    report.add("    p95 [ms]", one(slowest), Some(Aim::new("< 400", slowest < 400.0)));

    report.progress("commands, SSH, JupyterLab");
    let mut commands: Vec<f64> =
        (0..ROUNDS).map(|_| bench.run("warm", "exec", &[], &["true"])).collect::<Outcome<_>>()?;
    let command = median(&mut commands);
    report.add("a command, from the shell of the host, p50 [ms]", one(command), Some(Aim::new("< 40", command < 40.0)));
    let with_key = ["--private-key-file-path", key.to_str().ok_or("not a path")?];
    let mut sessions: Vec<f64> =
        (0..ROUNDS / 2).map(|_| bench.run("warm", "connect-ssh", &with_key, &["true"])).collect::<Outcome<_>>()?;
    let session = median(&mut sessions);
    report.add("an SSH session, p50 [ms]", one(session), Some(Aim::new("< 500", session < 500.0)));
    let mut usable = Vec::new();
    for round in 0..ROUNDS / 4 {
        usable.push(bench.jupyter(&format!("one-{round}x")).await?);
    }
    let usable = median(&mut usable);
    report.add("JupyterLab usable, from nothing, p50 [ms]", one(usable), Some(Aim::new("< 2500", usable < 2500.0)));

    report.progress("many at once");
    let before = bench.own_mebibytes()?;
    let all = bench.make_many(MANY).await?;
    let grown = bench.own_mebibytes()? - before;
    report.add(&format!("{MANY} instances at once [ms]"), one(all), Some(Aim::new("< 2000 for 40", all < 2000.0)));
    report.add("    own memory they take [MiB]", one(grown), Some(Aim::new("< 40 for 40", grown < 40.0)));

    report.progress("peers");
    for (name, time) in peers::starts(&image()?, &bundle, ROUNDS)? {
        report.add(&format!("{name}, the same files, start to exit, p50 [ms]"), one(time), None);
        report.add("    Bastide's start to that", format!("{:.1}x", start / time), None);
    }
    report.print();
    bench.server.stop().await
}

struct Bench {
    client: Client,
    binary: Binary,
    data: PathBuf,
    server: Server,
}

impl Bench {
    async fn found(&self) -> Outcome<()> {
        self.client.found_group().await?;
        let network = json!({"isolationMode": "AllowOnlyApprovedOutbound"});
        let body = json!({"location": "local", "kind": "Hub",
            "properties": {"managedNetwork": network, "provisionNetworkNow": true}});
        self.client.put(&hub("hub"), WORKSPACES, &body).await
    }

    /// Milliseconds from the accepted PUT until a command runs in the instance.
    async fn make(&self, name: &str, key: Option<&Path>) -> Outcome<f64> {
        self.put(name, key).await?;
        let accepted = Instant::now();
        while self.run(name, "exec", &[], &["true"]).is_err() {
            if accepted.elapsed() > PATIENCE {
                return Err(format!("instance {name} does not run").into());
            }
        }
        Ok(milliseconds(accepted))
    }

    async fn put(&self, name: &str, key: Option<&Path>) -> Outcome<()> {
        let mut properties = json!({"vmSize": "Standard_B1s"});
        if let Some(key) = key {
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key).status()?;
            if !made.success() {
                return Err("ssh-keygen made no key".into());
            }
            let public = fs::read_to_string(key.with_extension("pub"))?;
            properties["sshSettings"] = json!({"sshPublicAccess": "Enabled", "adminPublicKey": public.trim()});
        }
        let body = json!({"location": "local",
            "properties": {"computeType": "ComputeInstance", "properties": properties}});
        self.client.put(&compute(name), WORKSPACES, &body).await
    }

    /// Milliseconds until so many, asked for at the same time, run.
    async fn make_many(&self, count: usize) -> Outcome<f64> {
        let clients: Vec<Client> = (0..count).map(|_| self.client.connect()).collect::<Outcome<_>>()?;
        let asked = Instant::now();
        let body = json!({"location": "local",
            "properties": {"computeType": "ComputeInstance", "properties": {"vmSize": "Standard_B1s"}}});
        let mut puts = tokio::task::JoinSet::new();
        for (number, client) in clients.into_iter().enumerate() {
            let (path, body) = (compute(&format!("many-{number}x")), body.clone());
            puts.spawn(async move { client.put(&path, WORKSPACES, &body).await });
        }
        while let Some(put) = puts.join_next().await {
            put??;
        }
        loop {
            let listed: Value = self.client.get(&format!("{}/computes", hub("hub")), WORKSPACES).await?;
            let states = listed["value"].as_array().into_iter().flatten();
            let running = states.filter(|compute| {
                compute["name"].as_str().is_some_and(|name| name.starts_with("many-"))
                    && compute["properties"]["properties"]["state"] == "Running"
            });
            if running.count() == count {
                return Ok(milliseconds(asked));
            }
            if asked.elapsed() > PATIENCE {
                return Err("not all instances run".into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Milliseconds of `bastide ml compute VERB`.
    fn run(&self, name: &str, verb: &str, options: &[&str], command: &[&str]) -> Outcome<f64> {
        let started = Instant::now();
        let mut bastide = Command::new(self.binary.path());
        bastide.args(["ml", "compute", verb, "-n", name, "-w", "hub", "-g", "bench", "--data-dir"]).arg(&self.data);
        bastide.args(options).arg("--").args(command);
        let ended = bastide.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if ended.success() { Ok(milliseconds(started)) } else { Err(format!("{verb} in {name}: {ended}").into()) }
    }

    /// Milliseconds until `JupyterLab` in an instance answers for the first time.
    async fn jupyter(&self, name: &str) -> Outcome<f64> {
        let shown: Value = self.client.get(&compute(name), WORKSPACES).await?;
        let applications = shown["properties"]["properties"]["applications"].as_array().cloned().unwrap_or_default();
        let lab = applications.iter().find_map(|application| application["endpointUri"].as_str());
        let url = lab.ok_or("the instance names no application")?;
        let base = url.rsplit_once('/').map_or(url, |(base, _)| base);
        let started = Instant::now();
        let status = self.client.elsewhere(&format!("{base}/api/status")).await?;
        if status == 200 { Ok(milliseconds(started)) } else { Err(format!("{base} answers {status}").into()) }
    }

    /// What supervisor, server, agent and firewalls hold of the memory.
    fn own_mebibytes(&self) -> Outcome<f64> {
        let mut sum = 0.0;
        for entry in fs::read_dir("/proc")?.flatten() {
            let Ok(command) = fs::read(entry.path().join("cmdline")) else { continue };
            let is_ours = entry.file_name().to_str().is_some_and(|name| name == self.server.id().to_string())
                || is_below(&entry.path(), self.server.id());
            let first = command.split(|byte| *byte == 0).next().unwrap_or_default();
            if !is_ours || !(first.ends_with(b"bastide") || first.ends_with(b"/proc/self/exe")) {
                continue;
            }
            let rollup = fs::read_to_string(entry.path().join("smaps_rollup")).unwrap_or_default();
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("0 kB");
            sum += line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap_or_default() / 1024.0;
        }
        Ok(sum)
    }
}

/// Whether a process is a child of another, or of a child of it.
fn is_below(process: &Path, ancestor: u32) -> bool {
    let parent = |stat: String| stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok();
    let mut next = fs::read_to_string(process.join("stat")).ok().and_then(parent);
    while let Some(process) = next.filter(|process| *process > 1) {
        if process == ancestor {
            return true;
        }
        next = fs::read_to_string(format!("/proc/{process}/stat")).ok().and_then(parent);
    }
    false
}

/// The files of the base image, which Bastide has made by now.
fn image() -> Outcome<PathBuf> {
    let cached = fs::read_dir("/var/cache/bastide/images")?.flatten().map(|entry| entry.path().join("root"));
    cached.filter(|root| root.join("usr/bin").is_dir()).max().ok_or_else(|| "there is no base image".into())
}

fn compute(name: &str) -> String {
    format!("{}/computes/{name}", hub("hub"))
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn one(value: f64) -> String {
    format!("{value:.1}")
}

const ROUNDS: usize = 20;

/// As many as fit into the quota of a host with two cores, beside those of the rounds.
const MANY: usize = 10;

const PATIENCE: Duration = Duration::from_mins(5);
