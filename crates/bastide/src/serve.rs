//! `bastide serve`: the API, in a process of its own or as the child of `bastide up`.

use std::error::Error;
use std::fs::DirBuilder;
use std::os::fd::RawFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bastide_agent::privilege::become_user;
use bastide_agent::{Agent, Engine, Farewell};
use bastide_arm::clock::Clock;
use bastide_identity::PasswordCost;
use bastide_server::origin::Origins;
use bastide_server::tls::{Authority, Certificates, Listener, ServerNames, TlsError};
use bastide_server::{Enforcement, NetworkSettings, Server, Settings, SystemClock};
use bastide_store::{Location, Store};
use clap::Args;
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use tokio::net::{TcpListener, UnixListener};

use crate::audit::Keeping;
use crate::bootstrap::Bootstrap;
use crate::configuration::{Configuration, Given, Network};
use crate::confine::confine;
use crate::data_directory::DataDirectory;
use crate::founding::{Founded, Plan, Renewal};
use crate::ready::{Ready, ReadyError};
use crate::stop::Stop;
use crate::{Outcome, logging, ready, trust};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) given: Given,
    /// A settings file [default: bastide.toml in the data directory].
    #[arg(long, env = "BASTIDE_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Write READY=1 to this open file descriptor once requests are answered.
    #[arg(long, value_name = "N")]
    pub(crate) ready_fd: Option<RawFd>,
    /// Set a new admin password, add a new client secret, and write both to bootstrap.json.
    #[arg(long)]
    renew_bootstrap: bool,
    #[command(flatten)]
    handed: HandedArguments,
}

/// What the supervisor has opened for this process, which may not open it itself.
#[derive(Debug, Args)]
struct HandedArguments {
    /// The bound port.
    #[arg(long, hide = true, requires_all = ["inside_fd", "certificate", "as_user"], value_name = "N")]
    listen_fd: Option<RawFd>,
    /// The socket for what comes from inside hubs.
    #[arg(long, hide = true, requires = "listen_fd", value_name = "N")]
    inside_fd: Option<RawFd>,
    /// The certificate to present and its key in one file, which the supervisor renews.
    #[arg(long, hide = true, requires = "listen_fd", value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The number of the user to become.
    #[arg(long, hide = true, requires = "listen_fd", value_name = "UID")]
    as_user: Option<u32>,
}

/// The same, taken over.
#[derive(Debug)]
pub(crate) struct Handed {
    listener: std::net::TcpListener,
    inside: std::os::unix::net::UnixListener,
    certificate: PathBuf,
    as_user: u32,
}

/// Runs until SIGINT or SIGTERM.
pub(crate) fn run(arguments: Arguments) -> Outcome {
    let ready = Ready::claim(arguments.ready_fd)?;
    let renewal = arguments.renewal();
    let handed = arguments.handed.claim()?;
    let configuration = Configuration::read(arguments.given, arguments.config.as_deref())?;
    logging::start(configuration.log_format);
    alone(configuration, renewal, ready, handed)
}

/// Serves in this process.
pub(crate) fn alone(configuration: Configuration, renewal: Renewal, ready: Ready, handed: Option<Handed>) -> Outcome {
    // Whatever is made below is for this user alone, whether or not its code thinks of it.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    raise_file_limit();
    if let Some(handed) = &handed {
        step_down(&configuration.data_directory, handed.as_user)?;
        confine(Path::new(DATA))?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK).enable_all().build()?;
    runtime.block_on(serve(configuration, renewal, ready, handed))
}

async fn serve(configuration: Configuration, renewal: Renewal, ready: Ready, handed: Option<Handed>) -> Outcome {
    let stop = Stop::install()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let directory = match handed {
        // The supervisor holds it, for all its children.
        Some(_) => DataDirectory::lent(Path::new(DATA), &std::path::absolute(&configuration.data_directory)?),
        None => DataDirectory::open(&configuration.data_directory)?,
    };
    let (socket, inside, certificate) = match handed {
        Some(Handed { listener, inside, certificate, .. }) => {
            listener.set_nonblocking(true)?;
            inside.set_nonblocking(true)?;
            (
                TcpListener::from_std(listener)?,
                Some(UnixListener::from_std(inside)?),
                Some(Path::new(DATA).join(certificate)),
            )
        }
        None => (Listener::bind(configuration.listen.resolve()?).await?, None, None),
    };
    let origins = configuration.origins(socket.local_addr()?)?;
    let is_child = certificate.is_some();
    let certificates = match certificate {
        Some(file) => Certificates::provided(&file, &file)?,
        None => {
            let certificates = certificates(&configuration, &directory, &origins, clock.as_ref())?;
            trust::write_for(&configuration, &directory)?;
            certificates
        }
    };
    let founded = found(&configuration, &directory, &origins, renewal, &clock).await?;
    let keeping = Keeping::begin(&configuration, &directory, &founded, &clock).await?;
    let mut server = Server::new(
        Settings {
            tenant_id: founded.installation.tenant_id,
            subscription_id: founded.installation.subscription_id,
            parity: configuration.parity.into(),
            generic_resources: configuration.generic_resources,
            template_mirror: configuration.template_mirror.clone(),
            network: NetworkSettings {
                enforcement: match configuration.network {
                    Network::Kernel => Enforcement::Agent(directory.agent_socket()),
                    Network::Simulated => Enforcement::Simulated(Some(directory.agent_socket())),
                },
                subnet: None,
                api: origins.internal().cloned(),
                internet: configuration.internet_ranges.clone(),
            },
            origins: origins.clone(),
        },
        founded.store.clone(),
        founded.identity,
        founded.sealer,
        Arc::clone(&clock),
    );
    let simulation = match configuration.network {
        Network::Kernel => None,
        Network::Simulated => Some(simulate(&directory)?),
    };
    let background = [server.runner().map(tokio::spawn), server.planner().map(tokio::spawn)];
    let mut listener = Listener::new(socket, certificates, clock, origins.public().clone());
    if let Some(inside) = inside {
        listener = listener.with_inside(inside);
    }
    if !is_child {
        warn(&configuration);
        eprintln!("bastide: ready at {}", origins.public());
    }
    ready.signal();
    listener.serve(server.router(), stop.asked()).await?;
    for task in background.into_iter().flatten() {
        // What it was at is durable; the next start resumes it.
        task.abort();
    }
    if let Some(agent) = simulation {
        agent.stop(Farewell::Clear);
    }
    if let Some(keeping) = keeping {
        keeping.end().await;
    }
    founded.store.close().await;
    Ok(ExitCode::SUCCESS)
}

/// An agent in this process, which has the computes of simulated networks: it runs none, and says so of each.
fn simulate(directory: &DataDirectory) -> Result<Arc<Agent>, Box<dyn Error>> {
    let agent = Agent::simulated(directory.path(), Engine::simulated())?;
    bastide_agent::listen(&agent, &directory.agent_socket(), Some(rustix::process::getuid().as_raw()))?;
    Ok(agent)
}

async fn found(
    configuration: &Configuration,
    directory: &DataDirectory,
    origins: &Origins,
    renewal: Renewal,
    clock: &Arc<dyn Clock>,
) -> Result<Founded, Box<dyn Error>> {
    let location = match &configuration.database {
        Some(url) => Location::Postgres(url.clone()),
        None => Location::Sqlite(directory.database()),
    };
    let plan = Plan {
        sealing_key: &directory.sealing_key(),
        bootstrap: &Bootstrap::file(directory.path()),
        origins,
        allow_password_grant: configuration.allow_password_grant,
        trusted_issuers: &configuration.trusted_issuers,
        password_cost: PasswordCost::default(),
    };
    let founded = Founded::open(Store::open(&location).await?, &plan, clock).await?;
    let ca_file = match configuration.certificate {
        Some(_) => DataDirectory::trust_file(directory.called()),
        None => Authority::certificate_file(&DataDirectory::pki_of(directory.called())),
    };
    founded.settle(origins, ca_file, &Bootstrap::file(directory.path()), renewal, clock.as_ref()).await?;
    Ok(founded)
}

pub(crate) fn certificates(
    configuration: &Configuration,
    directory: &DataDirectory,
    origins: &Origins,
    clock: &dyn Clock,
) -> Result<Certificates, TlsError> {
    if let Some(files) = &configuration.certificate {
        return Certificates::provided(&files.certificate, &files.key);
    }
    let mut names = ServerNames::of(origins);
    names.insert(&rustix::system::uname().nodename().to_string_lossy());
    Certificates::issued(Authority::open(&directory.pki(), clock.now())?, names, clock.now())
}

impl Arguments {
    /// When the secrets of the first principals are replaced.
    pub(crate) fn renewal(&self) -> Renewal {
        if self.renew_bootstrap { Renewal::Now } else { Renewal::WhenLost }
    }
}

impl HandedArguments {
    /// Takes the descriptors over. Must come before this process opens anything.
    fn claim(self) -> Result<Option<Handed>, ReadyError> {
        let (Some(listen), Some(inside)) = (self.listen_fd, self.inside_fd) else { return Ok(None) };
        let (Some(certificate), Some(as_user)) = (self.certificate, self.as_user) else { return Ok(None) };
        let (listener, inside) = (ready::claim(listen)?.into(), ready::claim(inside)?.into());
        Ok(Some(Handed { listener, inside, certificate, as_user }))
    }
}

/// Becomes the server's user, for good. That user may have no way to the data directory: the directories above it can be
/// anybody's. So this process gets a view of the file system of its own, in which it stands at a path that all may walk.
fn step_down(data_directory: &Path, user: u32) -> Result<(), StepDownError> {
    let failed = |deed: &'static str| move |source: std::io::Error| StepDownError { deed, source };
    // SAFETY: the one thread there is; nothing else relies on the view of the file system that it leaves.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
        .map_err(|error| failed("leave the mount namespace")(error.into()))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(|error| failed("part the mounts")(error.into()))?;
    DirBuilder::new().recursive(true).mode(0o755).create(DATA).map_err(failed("make /run/bastide"))?;
    mount_bind(data_directory, DATA).map_err(|error| failed("mount the data directory")(error.into()))?;
    become_user(user).map_err(failed("become another user"))
}

/// The server could not give up its privileges.
#[derive(Debug, thiserror::Error)]
#[error("the server cannot {deed}, so it does not start with more privileges than it needs: {source}")]
struct StepDownError {
    deed: &'static str,
    source: std::io::Error,
}

/// Where a server with a view of its own finds the data directory.
const DATA: &str = "/run/bastide/data";

/// Bytes of stack a worker has. An answer may ask for others on its way, a what-if for each resource; unoptimised, one takes
/// most of a megabyte. Only what is used takes memory.
const STACK: usize = 8 * 1024 * 1024;

/// What the operator must not overlook, whatever the log level.
fn warn(configuration: &Configuration) {
    if configuration.network == Network::Simulated {
        eprintln!("bastide: NOT PROTECTED: the network is simulated; no outbound wall is enforced for any hub");
    }
}

/// Every connection is a file descriptor, and the usual soft limit of 1024 is for programs that use select(2).
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!("the limit of open files stays as it is: {error}");
    }
}
