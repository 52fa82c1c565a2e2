//! `bastide up`: one Bastide in the foreground.

use std::error::Error;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use bastide_arm::clock::Clock;
use bastide_identity::PasswordCost;
use bastide_server::origin::Origins;
use bastide_server::tls::{Authority, Certificates, Listener, ServerNames, TlsError};
use bastide_server::{Enforcement, NetworkSettings, Server, Settings, SystemClock};
use bastide_store::{Location, Store};
use clap::Args;

use crate::bootstrap::Bootstrap;
use crate::configuration::{Configuration, Given, Network};
use crate::data_directory::DataDirectory;
use crate::founding::{Founded, Plan, Renewal};
use crate::ready::Ready;
use crate::stop::Stop;
use crate::{Outcome, logging, privilege, trust};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    given: Given,
    /// A settings file [default: bastide.toml in the data directory].
    #[arg(long, env = "BASTIDE_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write READY=1 to this open file descriptor once requests are answered.
    #[arg(long, value_name = "N")]
    ready_fd: Option<RawFd>,
    /// Set a new admin password, add a new client secret, and write both to bootstrap.json.
    #[arg(long)]
    renew_bootstrap: bool,
}

/// Runs until SIGINT or SIGTERM.
pub(crate) fn run(arguments: Arguments) -> Outcome {
    let ready = Ready::claim(arguments.ready_fd)?;
    let configuration = Configuration::read(arguments.given, arguments.config.as_deref())?;
    logging::start(configuration.log_format);
    // Whatever is made below is for this user alone, whether or not its code thinks of it.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    if configuration.network == Network::Kernel {
        privilege::require()?;
    }
    raise_file_limit();
    let renewal = if arguments.renew_bootstrap { Renewal::Now } else { Renewal::WhenLost };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(configuration, renewal, ready))
}

async fn serve(configuration: Configuration, renewal: Renewal, ready: Ready) -> Outcome {
    let stop = Stop::install()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let directory = DataDirectory::open(&configuration.data_directory)?;
    let socket = Listener::bind(configuration.listen.resolve()?).await?;
    let origins = origins(&configuration, &socket)?;
    let certificates = certificates(&configuration, &directory, &origins, clock.as_ref())?;
    let founded = found(&configuration, &directory, &origins, renewal, &clock).await?;
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
                    Network::Simulated => Enforcement::Simulated,
                },
                subnet: None,
                api: origins.internal().cloned(),
            },
            origins: origins.clone(),
        },
        founded.store.clone(),
        founded.identity,
        founded.sealer,
        Arc::clone(&clock),
    );
    let background = [server.runner().map(tokio::spawn), server.planner().map(tokio::spawn)];
    let listener = Listener::new(socket, certificates, clock, origins.public().clone());
    warn(&configuration);
    eprintln!("bastide: ready at {}", origins.public());
    ready.signal();
    listener.serve(server.router(), stop.asked()).await?;
    for task in background.into_iter().flatten() {
        // What it was at is durable; the next start resumes it.
        task.abort();
    }
    founded.store.close().await;
    Ok(ExitCode::SUCCESS)
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
        origins,
        allow_password_grant: configuration.allow_password_grant,
        trusted_issuers: &configuration.trusted_issuers,
        password_cost: PasswordCost::default(),
    };
    let founded = Founded::open(Store::open(&location).await?, &plan, clock).await?;
    let (bundle, authority) =
        (DataDirectory::trust_file(directory.path()), Authority::certificate_file(&directory.pki()));
    let presented = configuration.certificate.as_ref();
    trust::write(&bundle, presented.map_or(&authority, |files| &files.certificate))?;
    // A certificate of the operator's may be signed by anyone: the bundle holds its chain and whom the system trusts.
    let ca_file = if presented.is_some() { bundle } else { authority };
    founded.settle(origins, ca_file, &Bootstrap::file(directory.path()), renewal, clock.as_ref()).await?;
    Ok(founded)
}

fn origins(configuration: &Configuration, socket: &tokio::net::TcpListener) -> Result<Origins, Box<dyn Error>> {
    let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(configuration.listen.origins(
        socket.local_addr()?,
        Some(&host_name),
        configuration.public_origin.as_ref(),
        configuration.internal_origin.as_ref(),
        &configuration.zone,
    )?)
}

fn certificates(
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

/// What the operator must not overlook, whatever the log level.
fn warn(configuration: &Configuration) {
    let mode = match configuration.network {
        Network::Kernel => "this version programs no kernel",
        Network::Simulated => "the network is simulated",
    };
    eprintln!("bastide: NOT PROTECTED: {mode}; no outbound wall is enforced for any hub");
    for setting in &configuration.without_effect {
        eprintln!("bastide: '{setting}' has no effect in this version");
    }
}

/// Every connection is a file descriptor, and the usual soft limit of 1024 is for programs that use select(2).
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!("the limit of open files stays as it is: {error}");
    }
}
