//! `bastide ml compute create` and `update`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgAction, Args};
use http::Method;
use serde_json::{Map, Value, json};

use super::document::{DocumentError, EXTENSION, from_wire, put, to_wire};
use super::{Named, shown, tags};
use crate::Outcome;
use crate::client::Answered;
use crate::ml::edit::{self, Reading};
use crate::ml::place::Place;
use crate::ml::progress::Progress;

#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    place: Place,
    /// The compute [default: the file's 'name'].
    #[arg(long, short, value_name = "NAME")]
    name: Option<String>,
    /// A YAML file with what the compute must be like.
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// `ComputeInstance` or `AmlCompute`.
    #[arg(long, short, value_name = "TYPE")]
    r#type: Option<String>,
    /// Its size; see 'list-sizes'.
    #[arg(long, value_name = "SIZE")]
    size: Option<String>,
    /// What its file system is made of: 'base', an archive, or a reference with its registry. Beyond az.
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// What stands between it and the kernel, 'container' or 'gvisor'. Beyond az.
    #[arg(long, value_name = "CLASS")]
    isolation: Option<String>,
    /// A sentence about it.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Where [default: where the hub or project is].
    #[arg(long, short, value_name = "NAME")]
    location: Option<String>,
    /// Fewest nodes of a cluster.
    #[arg(long, value_name = "N")]
    min_instances: Option<u32>,
    /// Most nodes of a cluster.
    #[arg(long, value_name = "N")]
    max_instances: Option<u32>,
    /// Seconds after which an idle node of a cluster goes.
    #[arg(long, short = 'd', value_name = "SECONDS")]
    idle_time_before_scale_down: Option<u32>,
    /// Minutes after which an idle instance stops, 15 to 4320.
    #[arg(long, value_name = "MINUTES")]
    idle_time_before_shutdown_minutes: Option<u32>,
    /// dedicated or `low_priority`.
    #[arg(long, value_name = "TIER")]
    tier: Option<String>,
    /// The administrator's account of a cluster's nodes.
    #[arg(long, value_name = "NAME")]
    admin_username: Option<String>,
    /// Its password.
    #[arg(long, value_name = "TEXT")]
    admin_password: Option<String>,
    /// The public key that may log in by SSH.
    #[arg(long, value_name = "KEY")]
    ssh_key_value: Option<String>,
    /// Whether a port for SSH is open to everybody. In a Bastide none ever is: see 'connect-ssh'.
    #[arg(long, short = 'p', value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    ssh_public_access_enabled: Option<bool>,
    /// Whether it has an address of the internet.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    enable_node_public_ip: Option<bool>,
    /// The subnet it is in; refused in a hub with a managed network.
    #[arg(long, value_name = "ID")]
    subnet: Option<String>,
    /// The virtual network of the subnet.
    #[arg(long, value_name = "NAME")]
    vnet_name: Option<String>,
    /// `SystemAssigned` or `UserAssigned`.
    #[arg(long, value_name = "TYPE")]
    identity_type: Option<String>,
    /// Ids of user-assigned identities, commas between them.
    #[arg(long, short = 'i', value_name = "IDS", value_delimiter = ',')]
    user_assigned_identities: Vec<String>,
    /// The tenant of the person whose instance it is.
    #[arg(long, value_name = "ID", requires = "user_object_id")]
    user_tenant_id: Option<String>,
    /// The person whose instance it is; nobody else gets in.
    #[arg(long, value_name = "ID", requires = "user_tenant_id")]
    user_object_id: Option<String>,
    /// Tags, as key=value.
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    tags: Vec<String>,
    /// Fields of the file to set otherwise, as path.to.field=value.
    #[arg(long, value_name = "PATH=VALUE", num_args = 1..)]
    set: Vec<String>,
    /// Do not wait until it is done.
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    #[command(flatten)]
    named: Named,
    /// Fewest nodes of a cluster.
    #[arg(long, value_name = "N")]
    min_instances: Option<u32>,
    /// Most nodes of a cluster.
    #[arg(long, value_name = "N")]
    max_instances: Option<u32>,
    /// Seconds after which an idle node of a cluster goes.
    #[arg(long, short = 'd', value_name = "SECONDS")]
    idle_time_before_scale_down: Option<u32>,
    /// Minutes after which an idle instance stops, 15 to 4320.
    #[arg(long, value_name = "MINUTES")]
    idle_time_before_shutdown_minutes: Option<u32>,
    /// `SystemAssigned` or `UserAssigned`.
    #[arg(long, value_name = "TYPE")]
    identity_type: Option<String>,
    /// Ids of user-assigned identities, commas between them.
    #[arg(long, short = 'i', value_name = "IDS", value_delimiter = ',')]
    user_assigned_identities: Vec<String>,
    /// Tags, as key=value.
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    tags: Vec<String>,
    /// Fields to set, as path.to.field=value.
    #[arg(long, value_name = "PATH=VALUE", num_args = 1..)]
    set: Vec<String>,
    /// A list and what is to be added to it.
    #[arg(long, value_name = "PATH VALUE", num_args = 2..)]
    add: Vec<String>,
    /// A field, or a list and the index in it, to be removed.
    #[arg(long, value_name = "PATH [INDEX]", num_args = 1..=2)]
    remove: Vec<String>,
    /// Take the values of --set and --add as text even where they are JSON.
    #[arg(long)]
    force_string: bool,
    /// Do not wait until it is done.
    #[arg(long)]
    no_wait: bool,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("cannot read {}: {source}", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not YAML: {problem}", .path.display())]
    Yaml { path: PathBuf, problem: String },
}

impl Create {
    pub(super) async fn run(&self) -> Outcome {
        let mut document = self.document()?;
        edit::set(&mut document, &self.set, Reading::Json)?;
        let name = document.get("name").and_then(Value::as_str).ok_or(DocumentError::NoName)?.to_owned();
        let beside = self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        // What is wrong with the file shows before anybody is asked.
        to_wire(&document, "", beside)?;
        let workspace = self.place.open().await?;
        let body = to_wire(&document, &workspace.location().await?, beside)?;
        let progress = Progress::of(format!("Creating {name}"), self.place.only_show_errors);
        let answered = workspace.api.ask(Method::PUT, &workspace.computes(&[&name]), Some(&body)).await?;
        warn(&self.place, &answered);
        if self.no_wait {
            return Ok(ExitCode::SUCCESS);
        }
        workspace.finish(&name, answered, &progress).await?;
        drop(progress);
        shown(&self.place, &workspace.compute(&name).await?)
    }

    /// The file, and over it what the arguments say.
    fn document(&self) -> Result<Value, FileError> {
        let mut document = match &self.file {
            Some(path) => read(path)?,
            None => json!({}),
        };
        let ssh = [
            ("admin_username", &self.admin_username),
            ("admin_password", &self.admin_password),
            ("ssh_key_value", &self.ssh_key_value),
        ];
        let network = [("vnet_name", &self.vnet_name), ("subnet", &self.subnet)];
        let extension = [("image", &self.image), ("isolation", &self.isolation)];
        let user = [("user_object_id", &self.user_object_id), ("user_tenant_id", &self.user_tenant_id)];
        for (name, value) in [
            ("name", some(&self.name)),
            ("type", some(&self.r#type)),
            ("size", some(&self.size)),
            ("description", some(&self.description)),
            ("location", some(&self.location)),
            ("min_instances", some(&self.min_instances)),
            ("max_instances", some(&self.max_instances)),
            ("idle_time_before_scale_down", some(&self.idle_time_before_scale_down)),
            ("idle_time_before_shutdown_minutes", some(&self.idle_time_before_shutdown_minutes)),
            ("tier", some(&self.tier)),
            ("ssh_public_access_enabled", some(&self.ssh_public_access_enabled)),
            ("enable_node_public_ip", some(&self.enable_node_public_ip)),
            ("ssh_settings", block(&document, "ssh_settings", &ssh)),
            ("network_settings", block(&document, "network_settings", &network)),
            ("create_on_behalf_of", block(&document, "create_on_behalf_of", &user)),
            (EXTENSION, block(&document, EXTENSION, &extension)),
            ("identity", identity(self.identity_type.as_deref(), &self.user_assigned_identities)),
            ("tags", (!self.tags.is_empty()).then(|| tags(&self.tags))),
        ] {
            if let Some(value) = value {
                put(&mut document, name, Some(value));
            }
        }
        Ok(document)
    }
}

impl Update {
    pub(super) async fn run(&self) -> Outcome {
        let Named { name, place } = &self.named;
        let workspace = place.open().await?;
        let now = workspace.compute(name).await?;
        let mut document = from_wire(&now);
        for (name, value) in [
            ("min_instances", some(&self.min_instances)),
            ("max_instances", some(&self.max_instances)),
            ("idle_time_before_scale_down", some(&self.idle_time_before_scale_down)),
            ("idle_time_before_shutdown_minutes", some(&self.idle_time_before_shutdown_minutes)),
            ("identity", identity(self.identity_type.as_deref(), &self.user_assigned_identities)),
            ("tags", (!self.tags.is_empty()).then(|| tags(&self.tags))),
        ] {
            if let Some(value) = value {
                put(&mut document, name, Some(value));
            }
        }
        let reading = if self.force_string { Reading::Text } else { Reading::Json };
        edit::set(&mut document, &self.set, reading)?;
        edit::add(&mut document, &self.add, reading)?;
        edit::remove(&mut document, &self.remove)?;
        let mut body = to_wire(&document, "", Path::new(""))?;
        // az's documents have no word for it, and what was personal must stay so.
        if let Some(inner) = body.pointer_mut("/properties/properties") {
            let policy = now.pointer("/properties/properties/applicationSharingPolicy");
            put(inner, "applicationSharingPolicy", policy.cloned());
        }
        let answered = workspace.api.ask(Method::PUT, &workspace.computes(&[name]), Some(&body)).await?;
        warn(place, &answered);
        if self.no_wait {
            return Ok(ExitCode::SUCCESS);
        }
        let progress = Progress::of(format!("Changing {name}"), place.only_show_errors);
        workspace.finish(name, answered, &progress).await?;
        drop(progress);
        shown(place, &workspace.compute(name).await?)
    }
}

fn warn(place: &Place, answered: &Answered) {
    if let Some(warning) = answered.warning().filter(|_| !place.only_show_errors) {
        eprintln!("bastide: warning: {warning}");
    }
}

fn read(path: &Path) -> Result<Value, FileError> {
    let text = std::fs::read_to_string(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    let wrong = |problem: String| FileError::Yaml { path: path.to_owned(), problem };
    match serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))? {
        document @ Value::Object(_) => Ok(document),
        _ => Err(wrong("its fields are missing".to_owned())),
    }
}

#[expect(clippy::ref_option, reason = "a field of the arguments, as it stands")]
fn some<T: serde::Serialize>(value: &Option<T>) -> Option<Value> {
    value.as_ref().map(|value| json!(value))
}

/// A block of the document with what the arguments say of it; none when they say nothing.
fn block(document: &Value, name: &str, given: &[(&str, &Option<String>)]) -> Option<Value> {
    let given: Map<_, _> = given.iter().filter_map(|(name, value)| Some(((*name).to_owned(), some(value)?))).collect();
    if given.is_empty() {
        return None;
    }
    let mut block = document.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
    block.extend(given);
    Some(Value::Object(block))
}

fn identity(kind: Option<&str>, users: &[String]) -> Option<Value> {
    let default = (!users.is_empty()).then_some("UserAssigned");
    let mut identity = json!({"type": kind.or(default)?});
    if !users.is_empty() {
        let users = users.iter().map(|id| json!({"resource_id": id})).collect();
        put(&mut identity, "user_assigned_identities", Some(users));
    }
    Some(identity)
}
