//! `bastide agent`: the privileged half of this node, as the child of `bastide up` or by itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bastide_agent::{Agent, Engine, Farewell, Leftovers, Retention, Settings};
use bastide_plan::reference::Registry;
use clap::Args;
use ipnet::Ipv4Net;

use crate::configuration::{FLOW_LOG_DAYS, FLOW_LOG_MIB};
use crate::logging::{self, LogFormat};
use crate::stop::Stop;
use crate::{Outcome, privilege, serve};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The data directory; the agent keeps to its folder 'agent', and listens at 'run/agent.sock'.
    #[arg(long, env = "BASTIDE_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    data_dir: PathBuf,
    /// The number of the server's user, who may ask beside root.
    #[arg(long, value_name = "UID")]
    server_user: Option<u32>,
    /// The socket of the server for what comes from inside hubs [default: 'run/inside.sock' in the data directory].
    #[arg(long, value_name = "PATH")]
    server_socket: Option<PathBuf>,
    /// The resolver behind the hubs' resolvers [default: the host's].
    #[arg(long, value_name = "ADDRESS:PORT")]
    upstream_dns: Option<SocketAddr>,
    /// Private addresses that hubs may reach as if they were on the internet, CIDR.
    #[arg(long = "internet-range", value_name = "CIDR")]
    internet_ranges: Vec<Ipv4Net>,
    /// Registries that images of computes are pulled from; none without it.
    #[arg(long = "image-registry", value_name = "HOST")]
    image_registries: Vec<Registry>,
    /// Mebibytes of what happened at the wall that are kept for each hub.
    #[arg(long, value_name = "MIB", default_value_t = FLOW_LOG_MIB)]
    flow_log_mib: u32,
    /// For how many days it is kept, at most.
    #[arg(long, value_name = "DAYS", default_value_t = FLOW_LOG_DAYS)]
    flow_log_days: u32,
    /// Where images of computes are unpacked; several agents may share it.
    #[arg(long, env = "BASTIDE_IMAGES", hide_env_values = true, value_name = "DIR", default_value = IMAGES)]
    images: PathBuf,
    /// Leave everything in the kernel at the end, and computes running.
    #[arg(long)]
    keep: bool,
    /// Print, as JSON, what bears the name of an agent's work on this host, and exit: 1 when there is anything.
    #[arg(long)]
    leftovers: bool,
    /// How log lines look.
    #[arg(long, env = "BASTIDE_LOG_FORMAT", hide_env_values = true, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

/// Runs until SIGINT or SIGTERM.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    if arguments.leftovers {
        let leftovers = Leftovers::find()?;
        println!("{}", serde_json::to_string_pretty(&leftovers)?);
        return Ok(if leftovers.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    logging::start(arguments.log_format);
    privilege::require()?;
    // Its own, and that of the firewalls it starts.
    serve::raise_file_limit();
    bastide_agent::privilege::drop_unneeded()?;
    let data_directory = std::fs::canonicalize(&arguments.data_dir)?;
    let run = data_directory.join("run");
    let server_socket = arguments.server_socket.clone().unwrap_or_else(|| run.join("inside.sock"));
    let settings = Settings {
        data_directory,
        upstream_dns: arguments.upstream_dns,
        internet_ranges: arguments.internet_ranges.clone(),
        flow_retention: Retention {
            bytes: u64::from(arguments.flow_log_mib) << 20,
            age: Duration::from_hours(24 * u64::from(arguments.flow_log_days)),
        },
        firewall: ["/proc/self/exe", "firewall"].map(str::to_owned).to_vec(),
        server_socket: server_socket.display().to_string(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = Stop::install()?;
        let registries = arguments.image_registries.clone();
        let engine = Engine::of_this_node(&settings.data_directory, &arguments.images, registries);
        let agent = Agent::start(&settings, engine)?;
        bastide_agent::listen(&agent, &run.join("agent.sock"), arguments.server_user)?;
        stop.asked().await;
        agent.stop(if arguments.keep { Farewell::Keep } else { Farewell::Clear });
        Ok(ExitCode::SUCCESS)
    })
}

/// What can be made anew is in the place for that (FHS 5.5).
pub(crate) const IMAGES: &str = "/var/cache/bastide/images";
