//! `bastide up` as those see it who start and stop it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test panics when it fails")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A running server on a port of its own; killed when the value is dropped.
struct Server {
    process: Child,
    errors: BufReader<std::process::ChildStderr>,
}

impl Server {
    /// Starts it and waits until it says that it is ready.
    fn start(directory: &Path) -> Self {
        Self::spawn(up(directory))
    }

    fn spawn(mut command: Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(process.stderr.take().unwrap());
        let mut text = String::new();
        while !text.contains("bastide: ready at") {
            assert!(errors.read_line(&mut text).unwrap() > 0, "it ended: {text}");
        }
        Self { process, errors }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Waits for the end; what it said after it was ready comes along.
    fn end(mut self) -> (ExitStatus, String) {
        let began = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(15), "it does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut text = String::new();
        self.errors.read_to_string(&mut text).unwrap();
        (self.process.wait().unwrap(), text)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn bastide() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bastide"));
    command.env_clear().env("HOME", "/nonexistent").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    command
}

fn up(directory: &Path) -> Command {
    let mut command = bastide();
    command.args(["up", "--network", "simulated", "--listen", "127.0.0.1:0", "--data-dir"]).arg(directory);
    command
}

fn bootstrap(directory: &Path) -> Value {
    serde_json::from_slice(&fs::read(directory.join("bootstrap.json")).unwrap()).unwrap()
}

/// Runs a command that is to fail, and returns its one sentence.
fn refusal(mut command: Command) -> String {
    let Output { status, stderr, stdout } = command.output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), stdout.len()), (Some(1), 0), "{text}");
    let sentences: Vec<_> = text.lines().filter(|line| line.starts_with("bastide: ")).collect();
    assert_eq!(sentences.len(), 1, "{text}");
    sentences[0].to_owned()
}

fn place() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    (parent, directory)
}

#[test]
fn the_first_start_tells_how_to_use_it() {
    let (_parent, directory) = place();
    let _server = Server::start(&directory);
    let document = bootstrap(&directory);
    let fields = [
        "endpoint",
        "caFile",
        "tenantId",
        "subscriptionId",
        "clientId",
        "clientSecret",
        "portalUrl",
        "adminUser",
        "adminPassword",
    ];
    for field in fields {
        assert!(document[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
    assert!(document["endpoint"].as_str().unwrap().starts_with("https://localhost:"));
    assert!(Path::new(document["caFile"].as_str().unwrap()).is_absolute());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory), mode(&directory.join("bootstrap.json"))), (0o700, 0o600));

    let printed = |arguments: &[&str]| {
        let output = bastide().args(arguments).arg("--data-dir").arg(&directory).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let token = printed(&["token"]);
    assert_eq!((token.matches('.').count(), token.lines().count()), (2, 1), "a JWT alone on a line");
    assert!(printed(&["env", "shell"]).contains("export BASTIDE_TOKEN='"));
    assert_eq!(printed(&["token", "--resource", "https://management.azure.com"]).lines().count(), 1);
}

#[test]
fn signals_stop_it_cleanly() {
    for signal in [Signal::INT, Signal::TERM] {
        let (_parent, directory) = place();
        let server = Server::start(&directory);
        server.signal(signal);
        let (status, text) = server.end();
        assert_eq!(status.code(), Some(0), "{text}");
    }
}

/// `sh` starts background jobs with SIGINT ignored; scripts stop servers with it all the same.
#[test]
fn an_interrupt_stops_it_even_when_the_shell_ignored_it() {
    let (_parent, directory) = place();
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' INT; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_bastide"), "up", "--network", "simulated"]);
    shell.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(&directory);
    let server = Server::spawn(shell);
    server.signal(Signal::INT);
    assert_eq!(server.end().0.code(), Some(0));
}

/// A client that has begun a TLS handshake is given time; whoever signals twice has none.
#[test]
fn a_second_signal_ends_it_at_once() {
    let (_parent, directory) = place();
    let server = Server::start(&directory);
    let endpoint = bootstrap(&directory)["endpoint"].as_str().unwrap().replace("https://localhost", "127.0.0.1");
    let mut client = TcpStream::connect(endpoint).unwrap();
    client.write_all(b"\x16\x03\x01").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    server.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(300));
    server.signal(Signal::TERM);
    let (status, text) = server.end();
    assert_eq!((status.code(), status.signal()), (Some(1), None), "{text}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn it_starts_again_after_being_killed_at_any_moment() {
    let (_parent, directory) = place();
    for milliseconds in [0, 5, 10, 20, 40, 60, 80, 120, 200, 300] {
        let mut process = up(&directory).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let _server = Server::start(&directory);
    let output = bastide().args(["token", "--data-dir"]).arg(&directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn readiness_is_written_to_the_descriptor() {
    let (_parent, directory) = place();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = up(&directory);
    command.args(["--ready-fd", "7"]).stderr(Stdio::null());
    // SAFETY: dup2 may be called between fork and exec.
    unsafe {
        command.pre_exec(move || {
            let mut seven = std::mem::ManuallyDrop::new(std::os::fd::FromRawFd::from_raw_fd(7));
            rustix::io::dup2(&writer, &mut seven).map_err(Into::into)
        });
    }
    let mut process = command.spawn().unwrap();
    drop(command);
    let mut said = String::new();
    BufReader::new(File::from(std::os::fd::OwnedFd::from(reader))).read_to_string(&mut said).unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(said, "READY=1\n", "and then it is closed");
}

#[test]
fn what_cannot_be_is_refused_in_a_sentence() {
    let (_parent, directory) = place();
    let with = |arguments: &[&str]| {
        let mut command = up(&directory);
        command.args(arguments);
        refusal(command)
    };
    assert!(with(&["--ready-fd", "99"]).contains("no open file has this number"));
    assert!(with(&["--tls-cert", "a.pem"]).contains("--tls-key"));
    assert!(with(&["--config", "/nonexistent.toml"]).contains("/nonexistent.toml"));
    let _server = Server::start(&directory);
    assert!(with(&[]).contains("another Bastide (process"));
}

#[test]
fn a_port_in_use_and_an_absent_bastide_are_named() {
    let (_parent, directory) = place();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = bastide();
    command.args(["up", "--network", "simulated", "--listen", &address, "--data-dir"]).arg(&directory);
    assert!(refusal(command).contains(&format!("cannot listen on {address}")));
    let mut token = bastide();
    token.args(["token", "--data-dir"]).arg(directory.with_file_name("nothing"));
    assert!(refusal(token).contains("there is no Bastide in"));
}

#[test]
fn the_environment_is_below_flags_and_above_the_file() {
    let (_parent, directory) = place();
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("bastide.toml"), "zone = 'file.test'\nlisten = '127.0.0.1:1'").unwrap();
    let mut command = up(&directory);
    command.env("BASTIDE_ZONE", "environment.test").env("BASTIDE_LISTEN", "nonsense");
    let _server = Server::spawn(command);
    assert_eq!(bootstrap(&directory)["adminUser"], "admin@environment.test");
}
