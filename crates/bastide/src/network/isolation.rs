//! `bastide network isolation show|lift|restore`: isolation that an Owner lifts for a time.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{API_VERSION, Hub, duration, field};
use crate::Outcome;
use crate::client::Api;
use crate::output::text;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say how isolated a hub is, what its mode can become, and by whose consent it is lifted.
    Show(Hub),
    /// Lift the isolation of a hub for a time. It takes an Owner, and computes that are stopped.
    Lift(Lift),
    /// Bring isolation back before its time.
    Restore(Hub),
}

#[derive(Debug, Args)]
struct Lift {
    /// For how long, such as 30m or 2h, at most 7d.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    time: SignedDuration,
    /// What for; it goes on record.
    #[arg(long, value_name = "TEXT")]
    because: String,
    /// The name of the hub once more, in consent [default: asked for on the terminal].
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    /// Stop the computes that run first.
    #[arg(long)]
    drain: bool,
    #[command(flatten)]
    hub: Hub,
}

pub(super) async fn run(arguments: &Arguments) -> Outcome {
    let (hub, answer) = match &arguments.command {
        Command::Show(hub) => (hub, hub.ask(Method::GET, "isolation", &[], None).await?),
        Command::Lift(arguments) => (&arguments.hub, lift(arguments).await?),
        Command::Restore(hub) => (hub, hub.ask(Method::POST, "restoreIsolation", &[], None).await?),
    };
    hub.format.show(&answer, told)?;
    Ok(ExitCode::SUCCESS)
}

async fn lift(arguments: &Lift) -> Result<Value, Box<dyn std::error::Error>> {
    let Lift { time, because, confirm, drain, hub } = arguments;
    let name = match confirm {
        Some(name) => name.clone(),
        None => typed(&hub.workspace_name)?,
    };
    if *drain {
        stop_computes(hub).await?;
    }
    // Nobody means a fraction of a second.
    let until = Timestamp::from_second(Timestamp::now().checked_add(*time)?.as_second())?;
    let body = json!({"hub": name, "reason": because, "expiresOn": until.to_string()});
    hub.ask(Method::POST, "liftIsolation", &[], Some(&body)).await
}

/// Asks for the name on the terminal. Where there is none, nobody has agreed.
fn typed(hub: &str) -> Result<String, io::Error> {
    if !io::stdin().is_terminal() {
        return Err(io::Error::other("nobody is there to be asked: give --confirm with the name of the hub"));
    }
    eprint!("Nothing will hold back the computes of '{hub}'. Type its name to lift its isolation: ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// Stops what runs in the hub and its projects, and waits until nothing does.
async fn stop_computes(hub: &Hub) -> Result<(), Box<dyn std::error::Error>> {
    let api = Api::open(hub.data_dir.as_deref()).await?;
    let running = running(&hub.ask(Method::GET, "isolation", &[], None).await?);
    for id in &running {
        eprintln!("Stopping {id}");
        let path = format!("{id}/stop?api-version={API_VERSION}");
        let answered = api.ask(Method::POST, &path, None).await?;
        api.finish(answered, || async {}).await?;
    }
    for _ in 0..LOOKS {
        if running.is_empty() || self::running(&hub.ask(Method::GET, "isolation", &[], None).await?).is_empty() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

fn running(answer: &Value) -> Vec<String> {
    field(answer, "runningComputes").as_array().into_iter().flatten().map(text).collect()
}

fn told(answer: &Value) -> String {
    let mut told = format!("Isolation mode: {}\n", text(field(answer, "isolationMode")));
    let lift = field(answer, "isolationLift");
    if lift.is_object() {
        let of = |name: &str| text(field(lift, name));
        told += &format!(
            "Lifted by {} until {}, when {} is back: {}\n",
            of("by"),
            of("until"),
            of("formerMode"),
            of("reason")
        );
    }
    let modes: Vec<String> =
        field(answer, "changeableIsolationModes").as_array().into_iter().flatten().map(text).collect();
    told += &format!("Can be changed to: {}\n", modes.join(", "));
    let running = running(answer);
    if !running.is_empty() {
        told += &format!("Running, to be stopped before isolation can be lifted: {}\n", running.join(", "));
    }
    told
}

/// Between two looks whether computes have stopped.
const PAUSE: Duration = Duration::from_secs(1);

/// Stopping has been answered by then; machines may still be on their way out.
const LOOKS: u32 = 60;
