//! `bastide up --demo`: a private hub with an approved outbound wall, a project and a compute in it, and two requests from
//! inside that show what the wall does.
//!
//! It does nothing that its reader could not do: everything goes through the public API, as the first client. Whatever is
//! there already stays, so a second start finds what the first one made.

mod index;

use std::path::{Path, PathBuf};

use bastide_server::exec_frame::{Ending, Order};
use http::Method;
use serde_json::{Map, Value, json};

use self::index::Index;
use crate::bootstrap::{Bootstrap, BootstrapError};
use crate::client::{Api, ClientError};
use crate::ml::{SessionError, Workspace, capture};
use crate::network::verdict;

/// Why the demo was not shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    #[error("there is no bootstrap file")]
    NotFounded,
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Founds what is missing, sends the two requests, and says what came of them on standard output.
pub(crate) async fn show(data_directory: PathBuf) -> Result<(), DemoError> {
    let bootstrap = Bootstrap::read(&Bootstrap::file(&data_directory))?.ok_or(DemoError::NotFounded)?;
    let demo = Demo { api: Api::as_bootstrap_client(&bootstrap).await?, bootstrap, index: Index::of_host() };
    demo.found().await?;
    let compute = demo.workspace().await?;
    println!("\nFrom inside the compute '{COMPUTE}', behind the wall of the hub '{HUB}':\n");
    let fetch = ["pip", "download", "--no-cache-dir", "--no-deps", "--dest", "/tmp/demo", PACKAGE];
    demo.request(&compute, &fetch, demo.index.host()).await?;
    let curl = format!("https://{BLOCKED}/");
    demo.request(&compute, &["curl", "-sS", "--max-time", "10", "-o", "/dev/null", &curl], BLOCKED).await?;
    demo.say_how_to_go_on(&data_directory);
    Ok(())
}

struct Demo {
    api: Api,
    bootstrap: Bootstrap,
    index: Index,
}

impl Demo {
    async fn found(&self) -> Result<(), DemoError> {
        let group = self.group();
        self.put("the resource group", &group, GROUPS, &json!({"location": LOCATION})).await?;
        let rule = |(number, host): (usize, &String)| {
            (format!("index-{number}"), json!({"type": "FQDN", "category": "UserDefined", "destination": host}))
        };
        let rules: Map<String, Value> = (1..).zip(self.index.hosts()).map(rule).collect();
        let hub = json!({
            "location": LOCATION, "kind": "Hub", "identity": {"type": "SystemAssigned"},
            "properties": {
                "friendlyName": "Demo hub", "publicNetworkAccess": "Disabled",
                "managedNetwork": {"isolationMode": "AllowOnlyApprovedOutbound", "outboundRules": rules},
            },
        });
        let hub_id = format!("{group}/{WORKSPACES}/{HUB}");
        self.put("a private hub whose outbound rules approve the package index", &hub_id, VERSION, &hub).await?;
        let project = json!({
            "location": LOCATION, "kind": "Project", "identity": {"type": "SystemAssigned"},
            "properties": {"friendlyName": "Demo project", "hubResourceId": hub_id},
        });
        let project_id = format!("{group}/{WORKSPACES}/{PROJECT}");
        self.put("a project in it", &project_id, VERSION, &project).await?;
        let compute = json!({
            "location": LOCATION,
            "properties": {"computeType": "ComputeInstance", "properties": {"vmSize": "STANDARD_DS3_V2"}},
        });
        let what = "a compute instance (the first one on a host waits for its base image, a few minutes)";
        self.put(what, &format!("{project_id}/computes/{COMPUTE}"), VERSION, &compute).await
    }

    /// Makes what is not there; starts nothing that somebody has stopped but the compute.
    async fn put(&self, what: &str, id: &str, version: &str, body: &Value) -> Result<(), DemoError> {
        let path = format!("{id}?api-version={version}");
        let there = match self.api.get(&path).await {
            Ok(there) => Some(there),
            Err(ClientError::Refusal(refusal)) if refusal.is_missing() => None,
            Err(error) => return Err(error.into()),
        };
        let state = there.as_ref().and_then(|there| there.pointer("/properties/properties/state")?.as_str());
        let answered = match (&there, state) {
            (None, _) => {
                println!("Founding {what} ...");
                self.api.ask(Method::PUT, &path, Some(body)).await?
            }
            (Some(_), Some("Stopped" | "CreateFailed")) => {
                println!("Starting {what} ...");
                self.api.ask(Method::POST, &format!("{id}/start?api-version={version}"), None).await?
            }
            (Some(_), _) => return Ok(()),
        };
        Ok(self.api.finish(answered, || async {}).await?)
    }

    async fn workspace(&self) -> Result<Workspace, DemoError> {
        let api = Api::as_bootstrap_client(&self.bootstrap).await?;
        Ok(Workspace::new(api, self.bootstrap.subscription_id, GROUP, PROJECT))
    }

    /// Runs a command inside and prints how it ended, and what the wall says to where it wanted to go.
    async fn request(&self, compute: &Workspace, command: &[&str], host: &str) -> Result<(), DemoError> {
        println!("  $ {}", command.join(" "));
        let order = Order {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            account: None,
            directory: None,
            environment: self.index.variables(),
            terminal: None,
        };
        let (ending, said) = capture(compute, COMPUTE, &order).await?;
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("(it said nothing)");
        let printable: String = last.chars().filter(|letter| !letter.is_control()).collect();
        let status = match ending {
            Ending::Status { status } => format!("exit status {status}"),
            Ending::Signal { signal } => format!("ended by signal {signal}"),
            Ending::Error { message, .. } => message,
        };
        println!("    {printable}\n    ({status})");
        let hub = format!("{}/{WORKSPACES}/{HUB}", self.group());
        let answer =
            self.api.get(&format!("{hub}/bastide/explain?api-version=2026-11-01&to={host}&compute={COMPUTE}")).await?;
        for line in verdict(&answer).lines() {
            println!("    {line}");
        }
        println!();
        Ok(())
    }

    fn group(&self) -> String {
        format!("/subscriptions/{}/resourceGroups/{GROUP}", self.bootstrap.subscription_id)
    }

    fn say_how_to_go_on(&self, data_directory: &Path) {
        let directory = crate::shell::quote(&data_directory.to_string_lossy());
        println!("Portal: {}", self.bootstrap.portal_url);
        println!("API:    {}", self.bootstrap.endpoint);
        println!("\nNext, in another terminal:");
        println!(
            "  export BASTIDE_DATA_DIR={directory} AZURE_DEFAULTS_GROUP={GROUP} AZURE_DEFAULTS_WORKSPACE={PROJECT}"
        );
        println!("  bastide ml compute connect-ssh --name {COMPUTE}");
        println!("  bastide network flows --workspace-name {HUB} --resource-group {GROUP} --denied");
    }
}

const GROUP: &str = "demo";
const HUB: &str = "demo-hub";
const PROJECT: &str = "demo-project";
const COMPUTE: &str = "demo-ci";
const LOCATION: &str = "local";
const WORKSPACES: &str = "providers/Microsoft.MachineLearningServices/workspaces";
const GROUPS: &str = "2024-11-01";
const VERSION: &str = "2024-10-01-preview";

/// Small, without dependencies, and in every index.
const PACKAGE: &str = "six";

/// A name that exists for examples (RFC 2606), and that no rule approves.
const BLOCKED: &str = "example.com";
