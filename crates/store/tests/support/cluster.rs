//! A PostgreSQL server for one test run: the one that `BASTIDE_TEST_POSTGRES` names, or a private one from the packages
//! of the system, on a socket in a temporary directory.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;

use super::Database;

/// A running server.
pub(crate) struct Cluster {
    /// URL of a database to which `CREATE DATABASE` can be said.
    url: String,
    _private: Option<Private>,
}

struct Private {
    server: Child,
    directory: TempDir,
}

impl Cluster {
    /// Starts the server; says why when there is none to start.
    pub(crate) async fn start() -> Result<Self, String> {
        if let Ok(url) = std::env::var("BASTIDE_TEST_POSTGRES") {
            return Ok(Self { url, _private: None });
        }
        let programs = programs().ok_or("no PostgreSQL under /usr/lib/postgresql; apt-get install postgresql")?;
        let directory = tempfile::Builder::new().prefix("bastide-pg-").tempdir().map_err(|error| error.to_string())?;
        if is_root() {
            run(Command::new("chown").arg("postgres:").arg(directory.path()))?;
        }
        let data = directory.path().join("data");
        run(as_server(&programs.join("initdb"))
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8"])
            .args(["--no-sync", "-D"])
            .arg(&data))?;
        // Crashes of the machine are not what these tests are about, so the server need not wait for the disk.
        let server = as_server(&programs.join("postgres"))
            .args(["-c", "fsync=off", "-c", "listen_addresses=", "-c", "max_connections=200", "-k"])
            .arg(directory.path())
            .arg("-D")
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let url = format!("postgres://postgres@localhost/postgres?host={}", directory.path().display());
        let cluster = Self { url, _private: Some(Private { server, directory }) };
        cluster.wait().await?;
        Ok(cluster)
    }

    /// A new, empty database.
    pub(crate) async fn database(&self, name: &str) -> Database {
        let name = format!("{name}_{}", std::process::id());
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        for sql in [format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}")] {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        }
        let (address, parameters) = self.url.split_once('?').unwrap_or((&self.url, ""));
        let (server, _) = address.rsplit_once('/').unwrap();
        Database::postgres(format!("{server}/{name}?{parameters}"))
    }

    async fn wait(&self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match PgConnection::connect(&self.url).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(format!("PostgreSQL did not start: {error}")),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // SIGINT: a fast shutdown that waits for nobody.
        let _ = Command::new("kill").args(["-INT", &self.server.id().to_string()]).status();
        let _ = self.server.wait();
        let _ = self.directory.path();
    }
}

/// The newest version installed.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    found.retain(|path| path.join("initdb").exists() && path.join("postgres").exists());
    found.sort();
    found.pop()
}

/// A program of the server, which refuses to run as root, and which must not outlive the test.
fn as_server(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if is_root() {
        command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups"]);
    }
    command.arg(program).current_dir("/");
    command
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
