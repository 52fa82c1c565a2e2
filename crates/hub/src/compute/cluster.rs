//! The properties of an `AmlCompute`: as many of the same instance as there is use for.

use std::time::Duration;

use bastide_arm::error::ArmError;
use serde_json::{Map, Value, json};

use super::instance::Extension;
use super::status::{NodeStatus, Status};
use super::vocabulary::Vocabulary;
use super::{AT, Desired, Terms, duration, ssh};
use crate::field::{self, refused};

/// Decides about the properties, and brings them into their one form.
pub(super) fn admit(
    mut inner: Map<String, Value>,
    terms: &Terms<'_>,
    warnings: &mut Vec<String>,
) -> Result<Map<String, Value>, ArmError> {
    VOCABULARY.read(&mut inner)?;
    settle_account(&mut inner)?;
    // A body that is silent about the scale keeps it.
    if let (None, Some(scale)) = (inner.get(SCALE), terms.before.and_then(|before| before.get(SCALE))) {
        inner.insert(SCALE.to_owned(), scale.clone());
    }
    VOCABULARY.complete(&mut inner, terms)?;
    if inner.get("osType") == Some(&json!("Windows")) {
        return Err(refused(&format!("{AT}.osType"), "Nodes run Linux. Leave osType out, or use Linux."));
    }
    if inner.contains_key("virtualMachineImage") {
        let message = "Nodes are no virtual machines, so no image of one fits. Leave virtualMachineImage out, and name an OCI \
                       image in bastide.image.";
        return Err(refused(&format!("{AT}.virtualMachineImage"), message));
    }
    if inner.get("vmPriority") == Some(&json!("LowPriority")) {
        warnings.push("vmPriority: nodes of low priority are never taken away here.".to_owned());
    }
    if inner.get("remoteLoginPortPublicAccess") == Some(&json!("Enabled")) {
        warnings.push(
            "remoteLoginPortPublicAccess: no port of a node is public; az ml compute connect-ssh leads into instances."
                .to_owned(),
        );
    }
    let scale = Scale::read(&inner)?;
    let mut settled = json!({"minNodeCount": scale.least, "maxNodeCount": scale.most});
    if let (Some(fields), Some(asked)) = (settled.as_object_mut(), inner.get(SCALE)) {
        let idle = asked.get(IDLE).filter(|idle| !idle.is_null());
        fields.insert(IDLE.to_owned(), idle.cloned().unwrap_or_else(|| "PT2M".into()));
    }
    inner.insert(SCALE.to_owned(), settled);
    Extension::read(&inner)?;
    Ok(inner)
}

/// The wire form.
pub(super) fn answer(mut inner: Map<String, Value>, desired: &Desired, status: &Status) -> Map<String, Value> {
    let count = |wanted: &str| status.nodes.iter().filter(|node| node.node_state() == wanted).count();
    let is_steady = status.nodes.iter().all(NodeStatus::is_settled);
    inner.insert("allocationState".into(), if is_steady { "Steady" } else { "Resizing" }.into());
    inner.insert("allocationStateTransitionTime".into(), json!(status.changed.unwrap_or(desired.at).to_string()));
    inner.insert("currentNodeCount".into(), json!(status.nodes.iter().filter(|node| node.is_running()).count()));
    inner.insert("targetNodeCount".into(), json!(desired.nodes));
    let counts = json!({
        "idleNodeCount": count("idle"),
        "runningNodeCount": count("running"),
        "preparingNodeCount": count("preparing"),
        "unusableNodeCount": count("unusable"),
        "leavingNodeCount": 0,
        "preemptedNodeCount": 0,
    });
    inner.insert("nodeStateCounts".into(), counts);
    let errors: Vec<Value> = status.error.iter().map(|error| json!({"error": error.to_error_value()})).collect();
    inner.insert("errors".into(), json!(errors));
    inner
}

/// The line of a node in `listNodes`.
pub(super) fn node(number: usize, name: &str, status: &NodeStatus) -> Value {
    json!({
        "nodeId": format!("{name}-{number}"),
        "privateIpAddress": status.address,
        "publicIpAddress": null,
        "port": 22,
        "nodeState": status.node_state(),
        "runId": null,
    })
}

/// The number of nodes that is nearest to a wanted one within the bounds of a cluster.
pub(super) fn within(inner: &Map<String, Value>, wanted: u32) -> u32 {
    Scale::read(inner).map_or(wanted, |scale| wanted.clamp(scale.least, scale.most))
}

/// The most nodes a cluster may have.
pub(super) fn most(inner: &Map<String, Value>) -> u32 {
    Scale::read(inner).map_or(0, |scale| scale.most)
}

/// How a cluster grows and shrinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// The fewest nodes.
    pub least: u32,
    /// The most nodes.
    pub most: u32,
    /// How long nobody must have used a node before it goes.
    pub idle: Duration,
}

impl Scale {
    /// Reads `scaleSettings`.
    pub(super) fn read(inner: &Map<String, Value>) -> Result<Self, ArmError> {
        let at = format!("{AT}.{SCALE}");
        let settings = field::object(inner, SCALE, AT)?
            .ok_or_else(|| refused(&at, "A cluster needs scaleSettings with a maxNodeCount."))?;
        let count = |name: &str| match settings.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                match value.as_u64().and_then(|count| u32::try_from(count).ok()).filter(|count| *count <= MOST) {
                    Some(count) => Ok(Some(count)),
                    None => Err(refused(&format!("{at}.{name}"), format!("{name} must be a number from 0 to {MOST}."))),
                }
            }
        };
        let most = count("maxNodeCount")?
            .ok_or_else(|| refused(&format!("{at}.maxNodeCount"), "scaleSettings needs a maxNodeCount."))?;
        let least = count("minNodeCount")?.unwrap_or(0);
        if least > most {
            let message = format!("minNodeCount {least} is greater than maxNodeCount {most}. Make it smaller.");
            return Err(refused(&format!("{at}.minNodeCount"), message));
        }
        let bounds = (Duration::from_secs(1), Duration::from_hours(7 * 24));
        let idle = duration::between(settings, IDLE, &at, bounds)?.unwrap_or(DEFAULT_IDLE);
        Ok(Self { least, most, idle })
    }
}

/// The keys that may log in.
pub(super) fn keys(inner: &Map<String, Value>) -> Vec<String> {
    let text = inner.get(ACCOUNT).and_then(|account| account.get("adminUserSshPublicKey")?.as_str());
    text.and_then(|text| ssh::keys(text, AT).ok()).unwrap_or_default()
}

fn settle_account(inner: &mut Map<String, Value>) -> Result<(), ArmError> {
    let at = format!("{AT}.{ACCOUNT}");
    let Some(account) = field::object(inner, ACCOUNT, AT)? else { return Ok(()) };
    let name = field::text(account, "adminUserName", &at)?
        .ok_or_else(|| refused(&format!("{at}.adminUserName"), "userAccountCredentials needs an adminUserName."))?;
    if field::text(account, "adminUserPassword", &at)?.is_some() {
        let message = "Nobody logs in to a node by password. Use adminUserSshPublicKey.";
        return Err(refused(&format!("{at}.adminUserPassword"), message));
    }
    let mut settled = json!({"adminUserName": name});
    if let (Some(key), Some(fields)) = (field::text(account, "adminUserSshPublicKey", &at)?, settled.as_object_mut()) {
        ssh::keys(key, &format!("{at}.adminUserSshPublicKey"))?;
        fields.insert("adminUserSshPublicKey".into(), key.into());
    }
    inner.insert(ACCOUNT.to_owned(), settled);
    Ok(())
}

const SCALE: &str = "scaleSettings";
const IDLE: &str = "nodeIdleTimeBeforeScaleDown";
const ACCOUNT: &str = "userAccountCredentials";

/// More nodes than this no host carries.
const MOST: u32 = 500;

const DEFAULT_IDLE: Duration = Duration::from_mins(2);

const VOCABULARY: Vocabulary = Vocabulary {
    choices: &[
        ("osType", &["Linux", "Windows"], "Linux"),
        ("vmPriority", &["Dedicated", "LowPriority"], "Dedicated"),
        ("remoteLoginPortPublicAccess", &["Enabled", "Disabled", "NotSpecified"], "NotSpecified"),
    ],
    flags: &[("isolatedNetwork", false), ("enableNodePublicIp", true)],
    for_life: &[
        "vmSize",
        "vmPriority",
        "osType",
        "isolatedNetwork",
        "enableNodePublicIp",
        "userAccountCredentials",
        "bastide",
    ],
    read_only: &[
        "allocationState",
        "allocationStateTransitionTime",
        "errors",
        "currentNodeCount",
        "targetNodeCount",
        "nodeStateCounts",
    ],
};
