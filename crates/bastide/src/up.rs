//! `bastide up`: a whole Bastide in the foreground.
//!
//! With a kernel to enforce, it is a supervisor: it holds the data directory, the port and the authority, starts the agent
//! and then the server, and starts them again when they end. The server becomes a user of its own without a
//! capability before it reads a byte of anybody's. With a simulated network there is nothing to part, and one process does it
//! all.

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use bastide_arm::clock::Clock;
use bastide_server::SystemClock;
use bastide_server::tls::{Certificates, Listener};
use clap::Args;
use rustix::io::FdFlags;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use crate::configuration::{Configuration, Network};
use crate::data_directory::DataDirectory;
use crate::ready::Ready;
use crate::stop::Stop;
use crate::{Outcome, demo, logging, privilege, sentence, serve, trust};

#[derive(Debug, Args)]
// Its group would have the name of the one it flattens.
#[group(skip)]
pub(crate) struct Arguments {
    #[command(flatten)]
    serve: serve::Arguments,
    /// Leave the hubs' networks in the kernel when this stops: walls stay shut, computes keep running.
    #[arg(long)]
    keep: bool,
    /// Found a private hub with a project and a compute, and show what its wall does to two requests from inside.
    #[arg(long)]
    demo: bool,
}

/// Runs until SIGINT or SIGTERM.
pub(crate) fn run(arguments: Arguments) -> Outcome {
    let ready = Ready::claim(arguments.serve.ready_fd)?;
    let renewal = arguments.serve.renewal();
    let configuration = Configuration::read(arguments.serve.given, arguments.serve.config.as_deref())?;
    logging::start(configuration.log_format);
    if configuration.network == Network::Simulated {
        if arguments.demo {
            eprintln!("bastide: there is no demo: a simulated network has no wall to show");
        }
        return serve::alone(configuration, renewal, ready, None);
    }
    privilege::require()?;
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(supervise(&configuration, arguments.keep, arguments.demo, ready))
}

async fn supervise(configuration: &Configuration, keep: bool, demo: bool, ready: Ready) -> Outcome {
    let stop = Stop::install()?;
    let house = House::open(configuration, keep).await?;
    let mut ready = Some(ready);
    let stopping = stop.asked();
    tokio::pin!(stopping);
    // Walls first: the agent puts back what was there before anybody can ask for more.
    let mut agent = Service::start("agent", house.agent())?;
    let mut server = Service::start("serve", house.server(true)?)?;
    let mut said = server.said.take();
    let mut outcome = ExitCode::SUCCESS;
    loop {
        tokio::select! {
            () = &mut stopping => break,
            // Who cannot even start is not helped by starting again; it has said why.
            () = agent.ended() => match ready {
                Some(_) => outcome = ExitCode::FAILURE,
                None => agent.again(house.agent()).await?,
            },
            () = server.ended() => match ready {
                Some(_) => outcome = ExitCode::FAILURE,
                None => server.again(house.server(false)?).await?,
            },
            () = announced(&mut said), if ready.is_some() => {
                eprintln!("bastide: ready at {}", house.origin);
                if let Some(ready) = ready.take() {
                    ready.signal();
                }
                if demo {
                    tokio::spawn(show_demo(house.directory.path().to_owned()));
                }
            }
            () = tokio::time::sleep(RENEWAL) => house.renew(),
        }
        if outcome != ExitCode::SUCCESS {
            break;
        }
    }
    // Nobody asks the agent for anything any more when it takes the networks down.
    server.stop().await;
    agent.stop().await;
    house.leave();
    Ok(outcome)
}

/// What goes wrong with the demo is no reason to stop.
async fn show_demo(data_directory: PathBuf) {
    if let Err(error) = demo::show(data_directory).await {
        eprintln!("bastide: the demo did not succeed: {}", sentence(&error));
    }
}

/// Resolves when the server says that it answers requests.
async fn announced(said: &mut Option<pipe::Receiver>) {
    let mut text = Vec::new();
    if let Some(pipe) = said
        && let Ok(1..) = pipe.read_buf(&mut text).await
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// What the supervisor holds for its children.
struct House<'a> {
    configuration: &'a Configuration,
    directory: DataDirectory,
    listener: tokio::net::TcpListener,
    inside: UnixListener,
    inside_path: PathBuf,
    /// Those of our own authority; the operator's files the server reads itself.
    certificates: Certificates,
    origin: String,
    keep: bool,
}

impl<'a> House<'a> {
    async fn open(configuration: &'a Configuration, keep: bool) -> Result<Self, Box<dyn Error>> {
        let clock = SystemClock;
        let directory = DataDirectory::open(&configuration.data_directory)?;
        let listener = Listener::bind(configuration.listen.resolve()?).await?;
        let origins = configuration.origins(listener.local_addr()?)?;
        let certificates = serve::certificates(configuration, &directory, &origins, &clock)?;
        trust::write_for(configuration, &directory)?;
        make_directory(&directory.run(), 0o755)?;
        // Not in the data directory: the firewalls of hubs, each a user of its own, need not get there.
        let meeting = Path::new(MEETINGS).join(directory.mark());
        make_directory(Path::new(MEETINGS), 0o755)?;
        make_directory(&meeting, 0o755)?;
        let inside_path = meeting.join("inside.sock");
        let inside = bind(&inside_path)?;
        let house = Self {
            configuration,
            directory,
            listener,
            inside,
            inside_path,
            certificates,
            origin: origins.public().to_string(),
            keep,
        };
        house.hand_over()?;
        house.write_certificate()?;
        Ok(house)
    }

    /// The server's files are the server's; root's own are in directories of their own, which it cannot enter.
    fn hand_over(&self) -> Result<(), HandOverError> {
        let directory = self.directory.path();
        let failed = |source| HandOverError { path: directory.to_owned(), source };
        for entry in fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let is_roots = [self.directory.pki(), self.directory.run(), self.directory.path().join("agent")]
                .contains(&entry.path());
            // A symbolic link may lead anywhere; what it leads to is not ours to give away.
            if !is_roots && entry.file_type().map_err(failed)?.is_file() {
                chown(entry.path(), Some(SERVER), Some(SERVER))
                    .map_err(|source| HandOverError { path: entry.path(), source })?;
            }
        }
        chown(directory, Some(SERVER), Some(SERVER)).map_err(failed)
    }

    /// Writes the certificate where the server finds it, if it has changed. One file, renamed into place: no crash parts a
    /// certificate from its key.
    fn write_certificate(&self) -> Result<(), HandOverError> {
        let to = self.directory.handed_certificate();
        let failed = |source| HandOverError { path: to.clone(), source };
        let from = match &self.configuration.certificate {
            Some(files) => vec![files.certificate.clone(), files.key.clone()],
            None => vec![self.directory.pki().join("server.pem")],
        };
        let mut pair = Vec::new();
        for path in from {
            pair.extend(fs::read(&path).map_err(|source| HandOverError { path, source })?);
            pair.push(b'\n');
        }
        if fs::read(&to).is_ok_and(|there| there == pair) {
            return Ok(());
        }
        let new = to.with_extension("new");
        fs::write(&new, pair).map_err(failed)?;
        fs::set_permissions(&new, Permissions::from_mode(0o600)).map_err(failed)?;
        chown(&new, Some(SERVER), Some(SERVER)).map_err(failed)?;
        fs::rename(&new, &to).map_err(failed)
    }

    /// A new certificate when one is due. What goes wrong is tried again.
    fn renew(&self) {
        let renewed = self.certificates.refresh(SystemClock.now()).map_err(Box::<dyn Error>::from);
        if let Err(error) = renewed.and_then(|_| Ok(self.write_certificate()?)) {
            tracing::warn!("the server certificate in use stays: {error}");
        }
    }

    /// Takes away what stands outside of the data directory.
    fn leave(&self) {
        let removed = fs::remove_file(&self.inside_path);
        let directory = self.inside_path.parent().map_or(Ok(()), fs::remove_dir);
        if let Err(error) = removed.and(directory) {
            tracing::warn!(path = %self.inside_path.display(), %error, "a socket is left behind");
        }
    }

    fn agent(&self) -> Launch {
        let mut command = this_program("agent");
        command.arg("--data-dir").arg(self.directory.path());
        command.arg("--server-user").arg(SERVER.to_string());
        command.arg("--server-socket").arg(&self.inside_path);
        if let Some(upstream) = &self.configuration.upstream_dns {
            command.arg("--upstream-dns").arg(upstream.to_string());
        }
        command.arg("--flow-log-mib").arg(self.configuration.flow_log_mib.to_string());
        command.arg("--flow-log-days").arg(self.configuration.flow_log_days.to_string());
        for range in &self.configuration.internet_ranges {
            command.arg("--internet-range").arg(range.to_string());
        }
        for registry in &self.configuration.image_registries {
            command.arg("--image-registry").arg(registry.to_string());
        }
        if self.keep {
            command.arg("--keep");
        }
        // Killed with us it takes nothing down: the walls stay shut, and the next start adopts them.
        let dies_with_us = || Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?);
        // SAFETY: it makes one system call and nothing else, as is allowed between fork and exec.
        unsafe { command.pre_exec(dies_with_us) };
        Launch { command, lent: Vec::new(), said: None }
    }

    fn server(&self, is_first: bool) -> Result<Launch, io::Error> {
        let (theirs, said) = pipe::pipe()?;
        let theirs = theirs.into_blocking_fd()?;
        let mut command = this_program("serve");
        command.args(own_arguments(is_first));
        let lent = vec![self.listener.as_fd().try_clone_to_owned()?, self.inside.as_fd().try_clone_to_owned()?, theirs];
        for (flag, fd) in ["--listen-fd", "--inside-fd", "--ready-fd"].iter().zip(&lent) {
            command.arg(flag).arg(fd.as_raw_fd().to_string());
        }
        command.arg("--certificate").arg(DataDirectory::HANDED_CERTIFICATE);
        command.arg("--as-user").arg(SERVER.to_string());
        Ok(Launch { command, lent, said: Some(said) })
    }
}

/// A child about to be started, and what it inherits.
struct Launch {
    command: Command,
    lent: Vec<OwnedFd>,
    said: Option<pipe::Receiver>,
}

/// A child that is to run as long as we do.
struct Service {
    name: &'static str,
    child: Child,
    since: Instant,
    /// Where it says that it answers requests.
    said: Option<pipe::Receiver>,
}

impl Service {
    fn start(name: &'static str, launch: Launch) -> Result<Self, Box<dyn Error>> {
        let Launch { mut command, lent, said } = launch;
        // Inherited by this child and by no other: nothing else is started meanwhile.
        for fd in &lent {
            rustix::io::fcntl_setfd(fd, FdFlags::empty())?;
        }
        let child = command.stdin(Stdio::null()).spawn().map_err(|error| format!("cannot start '{name}': {error}"))?;
        Ok(Self { name, child, since: Instant::now(), said })
    }

    /// Resolves when the child ends by itself.
    async fn ended(&mut self) {
        match self.child.wait().await {
            Ok(status) => {
                tracing::error!(name = self.name, %status, "a process of this Bastide ended; starting it again");
            }
            Err(error) => tracing::error!(name = self.name, %error, "a process of this Bastide cannot be waited for"),
        }
    }

    /// Starts it again: at once when it had lived, after a while when it had not.
    async fn again(&mut self, launch: Launch) -> Result<(), Box<dyn Error>> {
        if self.since.elapsed() < SHORT_LIFE {
            tokio::time::sleep(PAUSE).await;
        }
        *self = Self::start(self.name, launch)?;
        Ok(())
    }

    /// Has it end, and waits for that.
    async fn stop(&mut self) {
        let process = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(process) = process {
            // One that has gone already needs no signal.
            let _gone = kill_process(process, Signal::TERM);
        }
        if tokio::time::timeout(GRACE, self.child.wait()).await.is_err() {
            tracing::error!(name = self.name, "a process of this Bastide does not end; killing it");
            if let Err(error) = self.child.kill().await {
                tracing::error!(name = self.name, %error, "it cannot be killed");
            }
        }
    }
}

/// A step towards an unprivileged server that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("cannot hand {} to the server's user: {source}", .path.display())]
struct HandOverError {
    path: PathBuf,
    source: io::Error,
}

fn this_program(subcommand: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("bastide").arg(subcommand);
    command
}

/// The arguments we were given, without those that are for us alone. The environment is inherited.
fn own_arguments(is_first: bool) -> Vec<OsString> {
    let mut own = Vec::new();
    let mut given = std::env::args_os().skip(2);
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--keep" | "--demo") => {}
            Some("--ready-fd") => drop(given.next()),
            Some(text) if text.starts_with("--ready-fd=") => {}
            // Once is enough.
            Some("--renew-bootstrap") if !is_first => {}
            _ => own.push(argument),
        }
    }
    own
}

fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// A socket in the file system that the firewalls of hubs, each a user of its own, may connect to.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// The server's user and group. A number without a name: no file of the distribution's belongs to it.
const SERVER: u32 = 1_990_000;

/// Where sockets are that other users of this host must reach.
const MEETINGS: &str = "/run/bastide";

/// How often the certificate is looked at.
const RENEWAL: Duration = Duration::from_mins(1);

/// A child that ends sooner than this has not lived.
const SHORT_LIFE: Duration = Duration::from_secs(2);

/// Before one is started again that has not lived.
const PAUSE: Duration = Duration::from_millis(500);

/// For a child to end by itself: requests under way get 10 s.
const GRACE: Duration = Duration::from_secs(20);
