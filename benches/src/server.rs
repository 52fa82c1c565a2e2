//! The server under measurement: a process of its own.

use std::fmt::Display;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use serde::Deserialize;

use crate::Outcome;
use crate::client::connection;

/// The release binary.
#[derive(Debug, Clone)]
pub struct Binary(PathBuf);

/// Where a server keeps its state, from one start to the next.
pub struct DataDirectory {
    binary: Binary,
    path: PathBuf,
    port: u16,
    network: &'static str,
}

/// A server that answers. Dropping it kills it.
pub struct Server {
    process: Child,
    /// From before the process was made to its first answer.
    pub started_in: Duration,
    /// Where it answers.
    pub origin: String,
    /// What it tells its first client.
    pub bootstrap: Bootstrap,
}

/// What `bootstrap.json` says, as far as it is needed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bootstrap {
    /// Where its API is.
    pub endpoint: String,
    /// The authority of its certificate.
    pub ca_file: PathBuf,
    /// The one tenant.
    pub tenant_id: String,
    /// The first subscription.
    pub subscription_id: String,
    /// Who signs in.
    pub client_id: String,
    /// What it signs in with.
    pub client_secret: String,
}

impl Binary {
    /// The one `BASTIDE_BIN` names, else the one this source builds. `temporary` is a directory directly below that of the
    /// build.
    pub fn find(temporary: &Path) -> Outcome<Self> {
        if let Some(path) = env::var_os("BASTIDE_BIN") {
            return Ok(Self(fs::canonicalize(path)?));
        }
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--release", "--locked", "-p", "bastide"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()?;
        if !built.success() {
            return Err("the release binary was not built; see above".into());
        }
        let target = temporary.parent().ok_or("there is no build directory")?;
        Ok(Self(target.join("release/bastide")))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl DataDirectory {
    /// A directory that the first start will make, and a port for all starts.
    pub fn new(binary: &Binary, path: PathBuf) -> Outcome<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        Ok(Self { binary: binary.clone(), path, port, network: "simulated" })
    }

    /// With a network that the kernel enforces, which takes root.
    pub fn behind_the_wall(self) -> Self {
        Self { network: "kernel", ..self }
    }

    /// The database in it.
    pub fn database(&self) -> PathBuf {
        self.path.join("bastide.db")
    }

    /// Starts a server and waits until it answers.
    pub async fn start(&self) -> Outcome<Server> {
        let (authority, bootstrap) = (self.path.join("pki/ca.pem"), self.path.join("bootstrap.json"));
        // Made ahead when it can be, so that the clock sees the server alone.
        let mut probe = Probe::new(&authority).ok();
        let mut command = Command::new(&self.binary.0);
        command.args(["up", "--network", self.network, "--listen", &format!("127.0.0.1:{}", self.port), "--data-dir"]);
        command.arg(&self.path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let origin = format!("https://127.0.0.1:{}", self.port);
        let started = Instant::now();
        let mut starting = Starting(Some(command.spawn()?));
        let started_in = loop {
            if probe.is_none() && bootstrap.exists() {
                probe = Some(Probe::new(&authority)?);
            }
            if let Some(probe) = &probe
                && probe.is_answered(&origin).await
            {
                break started.elapsed();
            }
            if started.elapsed() > PATIENCE || starting.has_ended()? {
                return Err(format!("the server does not start: try {command:?} to see why").into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let bootstrap = serde_json::from_slice(&fs::read(bootstrap)?)?;
        let process = starting.0.take().ok_or("the server is gone")?;
        Ok(Server { process, started_in, origin, bootstrap })
    }
}

impl Server {
    /// How much of its memory is in RAM.
    pub fn resident_mebibytes(&self) -> Outcome<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kibibytes: u32 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(f64::from(kibibytes) / 1024.0)
    }

    /// Its number among the processes.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to stop and waits until it has.
    pub async fn stop(mut self) -> Outcome<()> {
        let id = i32::try_from(self.process.id())?;
        let id = rustix::process::Pid::from_raw(id).ok_or("no process")?;
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        let asked = Instant::now();
        while self.process.try_wait()?.is_none() {
            if asked.elapsed() > PATIENCE {
                return Err("the server does not stop".into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended cannot be killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A process that is killed unless it is taken out.
struct Starting(Option<Child>);

impl Starting {
    fn has_ended(&mut self) -> Outcome<bool> {
        Ok(match &mut self.0 {
            Some(process) => process.try_wait()?.is_some(),
            None => true,
        })
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(process) = &mut self.0 {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Asks for health.
struct Probe(reqwest::Client);

impl Probe {
    fn new(authority: &Path) -> Outcome<Self> {
        Ok(Self(connection(&reqwest::Certificate::from_pem_bundle(&fs::read(authority)?)?)?))
    }

    async fn is_answered(&self, origin: &str) -> bool {
        match self.0.get(format!("{origin}/healthz")).send().await {
            Ok(answer) => answer.status() == reqwest::StatusCode::OK,
            Err(_) => false,
        }
    }
}

/// The processor time a process has used.
pub fn processor_time(process: impl Display) -> Outcome<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in parentheses may hold blanks; behind it user and system time are the 12th and 13th field
    // (proc_pid_stat(5): 14 and 15 of all).
    let (_, fields) = stat.rsplit_once(')').ok_or("no name")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}

const PATIENCE: Duration = Duration::from_secs(30);
