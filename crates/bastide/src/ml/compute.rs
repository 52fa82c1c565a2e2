//! `bastide ml compute ...`.

mod create;
mod document;
mod exec;
mod session;
mod ssh;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::{ArgAction, Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use self::document::from_wire;
pub(crate) use self::exec::capture;
pub(crate) use self::session::SessionError;
use super::place::{Place, Workspace};
use super::progress::Progress;
use crate::Outcome;
use crate::client::{Answered, ClientError};
use crate::output::{columns, text};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a compute instance or a cluster, from arguments, from a file, or from both.
    Create(Box<create::Create>),
    /// Change a compute.
    Update(Box<create::Update>),
    /// List the computes of a hub or project.
    List(List),
    /// Show a compute.
    Show(Named),
    /// Start an instance.
    Start(Power),
    /// Stop an instance: its disk stays.
    Stop(Power),
    /// Stop an instance and start it again.
    Restart(Power),
    /// Give an instance another size; one that runs is started anew.
    Resize(Resize),
    /// Give a cluster so many nodes, within its bounds.
    Scale(Scale),
    /// Delete a compute and everything in it.
    Delete(Delete),
    /// Refused: Bastide runs its computes itself, and attaches nothing of others.
    Attach(Attach),
    /// Refused: a compute of Bastide is its own, so there is nothing to detach from it.
    Detach(Delete),
    /// List the sizes that computes can have.
    ListSizes(ListSizes),
    /// List how much of each quota is used.
    ListUsage(InLocation),
    /// List the nodes of a cluster.
    ListNodes(Named),
    /// Let people get into an instance's Jupyter with the sign-in of this Bastide, or no longer.
    EnableSso(EnableSso),
    /// Run a command in an instance, with its exit status.
    Exec(exec::Exec),
    /// Open an SSH session in an instance, through the API: no port of it is open.
    ConnectSsh(Box<ssh::ConnectSsh>),
}

/// One compute.
#[derive(Debug, Clone, Args)]
struct Named {
    /// The compute.
    #[arg(long, short, value_name = "NAME")]
    name: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Power {
    #[command(flatten)]
    named: Named,
    /// Do not wait until it is done.
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
struct Resize {
    #[command(flatten)]
    power: Power,
    /// The size; see 'list-sizes'.
    #[arg(long, value_name = "SIZE")]
    size: String,
}

#[derive(Debug, Args)]
struct Scale {
    #[command(flatten)]
    power: Power,
    /// How many nodes, from the fewest to the most that the cluster may have.
    #[arg(long, value_name = "N")]
    nodes: u32,
}

/// What az takes here does not matter.
#[derive(Debug, Args)]
struct Attach {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _arguments: Vec<OsString>,
}

#[derive(Debug, Args)]
struct Delete {
    #[command(flatten)]
    named: Named,
    /// Do not ask back.
    #[arg(long, short)]
    yes: bool,
    /// Do not wait until it is done.
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    place: Place,
    /// At most so many.
    #[arg(long, short = 'r', value_name = "N")]
    max_results: Option<usize>,
    /// Only those of this type, such as `ComputeInstance` or `AmlCompute`.
    #[arg(long, value_name = "TYPE", ignore_case = true)]
    r#type: Option<String>,
}

#[derive(Debug, Args)]
struct ListSizes {
    #[command(flatten)]
    place: InLocation,
    /// Only those for this type, `ComputeInstance` or `AmlCompute`.
    #[arg(long, short = 't', value_name = "TYPE")]
    r#type: Option<String>,
}

#[derive(Debug, Args)]
struct InLocation {
    #[command(flatten)]
    place: Place,
    /// Of this location [default: that of the hub or project].
    #[arg(long, short, value_name = "NAME")]
    location: Option<String>,
}

#[derive(Debug, Args)]
struct EnableSso {
    #[command(flatten)]
    named: Named,
    /// No longer.
    #[arg(long, action = ArgAction::SetTrue)]
    disable: bool,
}

/// Runs the command.
pub(super) async fn run(arguments: &Arguments) -> Outcome {
    match &arguments.command {
        Command::Create(create) => create.run().await,
        Command::Update(update) => update.run().await,
        Command::List(list) => list.run().await,
        Command::Show(named) => {
            let compute = named.place.open().await?.compute(&named.name).await?;
            shown(&named.place, &compute)
        }
        Command::Start(power) => power.run("start", None, "Starting").await,
        Command::Stop(power) => power.run("stop", None, "Stopping").await,
        Command::Restart(power) => power.run("restart", None, "Restarting").await,
        Command::Resize(Resize { power, size }) => {
            power.run("resize", Some(json!({"targetVMSize": size})), "Resizing").await
        }
        Command::Scale(Scale { power, nodes }) => {
            power.run("scale", Some(json!({"nodeCount": nodes})), "Scaling").await
        }
        Command::Delete(delete) => delete.run("Delete").await,
        Command::Attach(_) => Err(NOTHING_TO_ATTACH.into()),
        Command::Detach(delete) => delete.run("Detach").await,
        Command::ListSizes(sizes) => sizes.run().await,
        Command::ListUsage(usage) => {
            let rows = usage.list("usages").await?;
            let table = |rows: &Value| {
                table(rows, &[("NAME", "/name/localizedValue"), ("USED", "/currentValue"), ("LIMIT", "/limit")])
            };
            usage.place.format.show(&Value::Array(rows), table)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::ListNodes(named) => named.list_nodes().await,
        Command::EnableSso(sso) => {
            let Named { name, place } = &sso.named;
            let workspace = place.open().await?;
            let body = json!({"enableSSO": !sso.disable});
            workspace.api.ask(Method::POST, &workspace.computes(&[name, "enableSso"]), Some(&body)).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Exec(exec) => exec.run().await,
        Command::ConnectSsh(ssh) => ssh.run().await,
    }
}

impl Workspace {
    /// A compute, as the API has it.
    async fn compute(&self, name: &str) -> Result<Value, ClientError> {
        self.api.get(&self.computes(&[name])).await
    }

    /// Waits until what was asked of a compute is done, and says on the terminal how far it is.
    async fn finish(&self, name: &str, answered: Answered, progress: &Progress) -> Result<(), ClientError> {
        let look = || async {
            // Whatever it cannot say now it may say next time.
            if let Ok(compute) = self.compute(name).await {
                let state = compute
                    .pointer("/properties/properties/state")
                    .or(compute.pointer("/properties/provisioningState"));
                let doing = compute.pointer("/properties/bastide/reason");
                progress.say(&doing.or(state).map(text).unwrap_or_default());
            }
        };
        self.api.finish(answered, look).await
    }
}

impl Power {
    async fn run(&self, action: &str, body: Option<Value>, doing: &str) -> Outcome {
        let Named { name, place } = &self.named;
        let workspace = place.open().await?;
        let answered = workspace.api.ask(Method::POST, &workspace.computes(&[name, action]), body.as_ref()).await?;
        if !self.no_wait {
            let progress = Progress::of(format!("{doing} {name}"), place.only_show_errors);
            workspace.finish(name, answered, &progress).await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Delete {
    /// `what` is to become of the machine behind the compute.
    async fn run(&self, what: &str) -> Outcome {
        let Named { name, place } = &self.named;
        if !self.yes && !agreed(name)? {
            return Ok(ExitCode::FAILURE);
        }
        let workspace = place.open().await?;
        let path = format!("{}&underlyingResourceAction={what}", workspace.computes(&[name]));
        let answered = workspace.api.ask(Method::DELETE, &path, None).await?;
        if !self.no_wait {
            let progress = Progress::of(format!("Deleting {name}"), place.only_show_errors);
            workspace.finish(name, answered, &progress).await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(&self) -> Outcome {
        let workspace = self.place.open().await?;
        let computes = workspace.api.list(&workspace.computes(&[]), usize::MAX).await?;
        let is_wanted = |compute: &Value| {
            self.r#type.as_ref().is_none_or(|wanted| text(&compute["type"]).eq_ignore_ascii_case(wanted))
        };
        let computes = computes.iter().map(from_wire).filter(is_wanted).take(self.max_results.unwrap_or(usize::MAX));
        self.place.format.show(&computes.collect(), computes_table)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl ListSizes {
    async fn run(&self) -> Outcome {
        let mut sizes = self.place.list("vmSizes").await?;
        if let Some(wanted) = &self.r#type {
            sizes.retain(|size| {
                let supported = size["supportedComputeTypes"].as_array();
                supported.is_none_or(|types| types.iter().any(|kind| text(kind).eq_ignore_ascii_case(wanted)))
            });
        }
        let head = [
            ("NAME", "/name"),
            ("VCPUS", "/vCPUs"),
            ("MEMORY (GB)", "/memoryGB"),
            ("GPUS", "/gpus"),
            ("FAMILY", "/family"),
        ];
        self.place.place.format.show(&Value::Array(sizes), |sizes| table(sizes, &head))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl InLocation {
    async fn list(&self, what: &str) -> Result<Vec<Value>, ClientError> {
        let workspace = self.place.open().await?;
        let location = match &self.location {
            Some(location) => location.clone(),
            None => workspace.location().await?,
        };
        workspace.api.list(&workspace.in_location(&location, what), usize::MAX).await
    }
}

impl Named {
    async fn list_nodes(&self) -> Outcome {
        let workspace = self.place.open().await?;
        let answered = workspace.api.ask(Method::POST, &workspace.computes(&[&self.name, "listNodes"]), None).await?;
        let nodes = answered.body.get("nodes").or(answered.body.get("value")).cloned().unwrap_or(json!([]));
        let head =
            [("NODE", "/nodeId"), ("STATE", "/nodeState"), ("PRIVATE ADDRESS", "/privateIpAddress"), ("RUN", "/runId")];
        self.place.format.show(&nodes, |nodes| table(nodes, &head))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A compute as az's answers have it.
fn shown(place: &Place, compute: &Value) -> Outcome {
    place.format.show(&from_wire(compute), |document| {
        let mut rows = Vec::new();
        let simple = document.as_object().into_iter().flatten().filter(|(_, value)| !value.is_array());
        for (name, value) in simple {
            match value.as_object() {
                Some(fields) => {
                    rows.extend(fields.iter().map(|(field, value)| [format!("{name}.{field}"), text(value)]));
                }
                None => rows.push([name.clone(), text(value)]),
            }
        }
        let services = document["services"].as_array().into_iter().flatten();
        rows.extend(services.map(|service| [text(&service["display_name"]), text(&service["endpoint_uri"])]));
        rows.extend(troubles(compute).map(|trouble| ["note".to_owned(), trouble]));
        columns(&rows)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What is not as it should be, or is waited for: az's answers have no place for it.
fn troubles(compute: &Value) -> impl Iterator<Item = String> {
    let reason = compute.pointer("/properties/bastide/reason").into_iter();
    let errors = compute.pointer("/properties/properties/errors").and_then(Value::as_array).into_iter().flatten();
    reason.chain(errors.filter_map(|error| error.pointer("/error/message"))).map(text)
}

fn computes_table(computes: &Value) -> String {
    table(
        computes,
        &[
            ("NAME", "/name"),
            ("TYPE", "/type"),
            ("SIZE", "/size"),
            ("STATE", "/state"),
            ("PROVISIONING", "/provisioning_state"),
        ],
    )
}

fn table(rows: &Value, head: &[(&str, &str)]) -> String {
    let mut cells = vec![head.iter().map(|(title, _)| (*title).to_owned()).collect::<Vec<_>>()];
    let row = |item: &Value| head.iter().map(|(_, path)| item.pointer(path).map(text).unwrap_or_default()).collect();
    cells.extend(rows.as_array().into_iter().flatten().map(row));
    columns(&cells)
}

/// Asks back on the terminal. Where there is none, nobody has agreed.
fn agreed(name: &str) -> Result<bool, io::Error> {
    if !io::stdin().is_terminal() {
        return Err(io::Error::other("nobody is there to be asked: give --yes to delete without a question"));
    }
    eprint!("Delete the compute '{name}' and everything in it? (y/N): ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// `a=b` pairs of `--tags`.
fn tags(words: &[String]) -> Value {
    let pairs = words.iter().flat_map(|words| words.split_ascii_whitespace());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    json!(pairs.collect::<BTreeMap<_, _>>())
}

const NOTHING_TO_ATTACH: &str = "a Bastide runs its computes itself, and reaches nothing that could be attached: make a \
                                 computeinstance or an amlcompute with 'bastide ml compute create'";
