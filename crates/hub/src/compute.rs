//! `workspaces/computes`: compute instances, and clusters of them.
//!
//! What is stored is what somebody asked for ([`Desired`]) beside the properties of the wire. What the wire says about
//! running comes from what the node reports ([`status`]), and from nothing else.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Acted, Action, ActionCall, Admission, Admitted, Author, DataPlane, Demand, Descriptor, Dismissal, Dismissed,
    Document, IdentitySupport, NameRule, Observed, Placement, Progress, PutStatus, ResourceType, Surroundings, View,
};
use bastide_arm::vocabulary::Vocabulary;
use bastide_plan::hub_plan::ComputeId;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::field::{self, refused};
use crate::quota::Capacity;
use crate::vm_size::VmSize;
use crate::vocabulary::VOCABULARY;
use crate::workspace::API_VERSIONS;

mod action;
mod calendar;
mod cluster;
mod cron;
mod custom_service;
mod desired;
mod duration;
pub mod host_name;
pub mod idle;
mod instance;
pub mod legs;
pub mod order;
pub mod schedule;
mod script;
mod sign_on;
pub mod ssh;
pub mod status;
mod time_zone;
pub mod user;
mod vocabulary;

pub use desired::{Desired, Operation, Trigger};

/// The type of computes, on a host.
#[derive(Debug)]
pub struct Compute {
    capacity: Capacity,
}

/// What a compute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A sandbox somebody works in.
    Instance,
    /// Several of the same.
    Cluster,
}

impl Compute {
    /// The type, on a host that has so much to give.
    pub fn on(capacity: Capacity) -> Self {
        Self { capacity }
    }
}

impl Kind {
    /// The kind of a compute as stored.
    pub fn of(document: &Document) -> Option<Self> {
        let word = document.properties.get("computeType").and_then(Value::as_str)?;
        [Self::Instance, Self::Cluster].into_iter().find(|kind| kind.as_str() == word)
    }

    /// Its word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "ComputeInstance",
            Self::Cluster => "AmlCompute",
        }
    }

    fn read(properties: &Map<String, Value>) -> Result<Self, ArmError> {
        let asked = field::text(properties, "computeType", "properties")?.unwrap_or_default();
        let known = [Self::Instance, Self::Cluster].into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(asked));
        known.ok_or_else(|| {
            let message = match ATTACHED.iter().find(|attached| attached.eq_ignore_ascii_case(asked)) {
                Some(attached) => format!(
                    "Bastide runs ComputeInstance and AmlCompute itself, and attaches nothing of others: there is no '{attached}' \
                     that it could reach. Use one of the two."
                ),
                None => format!("'{asked}' is not a computeType. Use ComputeInstance or AmlCompute."),
            };
            refused("properties.computeType", message)
        })
    }
}

impl ResourceType for Compute {
    fn descriptor(&self) -> &Descriptor {
        &DESCRIPTOR
    }

    fn vocabulary(&self) -> Option<&Vocabulary> {
        Some(&VOCABULARY)
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document;
        let existing = admission.existing.map(|existing| existing.document);
        let kind = Kind::read(&document.properties)?;
        if existing.is_some_and(|existing| Kind::of(existing) != Some(kind)) {
            let message = "The computeType of a compute is for life. Delete it and create another one.";
            return Err(refused("properties.computeType", message));
        }
        document.properties.insert("computeType".into(), kind.as_str().into());
        document.location = admission.parent.and_then(|parent| parent.document.location.clone());
        keep_base(&mut document.properties, existing)?;
        document.properties.retain(|_, value| !value.is_null());
        let creator = existing.and_then(creator).unwrap_or_else(|| admission.author.clone());
        let terms = Terms {
            before: existing.and_then(|existing| existing.properties.get(INNER)?.as_object()),
            capacity: &self.capacity,
            tenant_id: admission.tenant_id,
            author: admission.author,
            creator: &creator,
            fresh_id: admission.fresh_id,
        };
        let inner = match document.properties.shift_remove(INNER) {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(inner)) => inner,
            Some(_) => return Err(refused("properties.properties", "properties.properties must be an object.")),
        };
        let mut warnings = Vec::new();
        let inner = match kind {
            Kind::Instance => instance::admit(inner, &terms, &mut warnings)?,
            Kind::Cluster => cluster::admit(inner, &terms, &mut warnings)?,
        };
        let desired = match existing.and_then(Desired::of) {
            None => Desired::new(nodes(kind, &inner), admission.now),
            Some(mut desired) => {
                if terms.before.and_then(|before| before.get("schedules")) != inner.get("schedules") {
                    desired.scheduled = admission.now;
                }
                let nodes = cluster::within(&inner, desired.nodes);
                match kind {
                    Kind::Cluster if nodes != desired.nodes => desired.scaled(nodes, Trigger::User, admission.now),
                    _ => desired,
                }
            }
        };
        document.properties.insert(INNER.into(), Value::Object(inner));
        document.properties.insert(CREATOR.into(), json!(creator));
        desired.store(&mut document.properties);
        Ok(Admitted { document, warnings, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        properties.remove(desired::FIELD);
        properties.remove(CREATOR);
        let inner = match properties.shift_remove(INNER) {
            Some(Value::Object(inner)) => inner,
            _ => Map::new(),
        };
        let (Some(kind), Some(desired)) = (Kind::of(view.document), Desired::of(view.document)) else {
            return properties;
        };
        let status = status::of(kind, view.incarnation, &desired, view.observed);
        let inner = match kind {
            Kind::Instance => instance::answer(inner, view, &desired, &status),
            Kind::Cluster => cluster::answer(inner, &desired, &status),
        };
        properties.insert("provisioningState".into(), status.provisioning.into());
        if let Some(error) = &status.error {
            properties.insert("provisioningErrors".into(), json!([{"error": error.to_error_value()}]));
        }
        properties.insert("isAttachedCompute".into(), false.into());
        properties.insert(INNER.into(), Value::Object(inner));
        properties.insert("bastide".into(), status.of_enforcement());
        properties
    }

    fn instances(&self, incarnation: Uuid, document: &Document) -> Option<Vec<Uuid>> {
        let (kind, desired) = (Kind::of(document)?, Desired::of(document)?);
        Some(nodes_of(kind, incarnation, desired.nodes).map(|node| node.0).collect())
    }

    fn progress(&self, incarnation: Uuid, document: &Document, observed: Option<&Observed>) -> Progress {
        match (Kind::of(document), Desired::of(document)) {
            (Some(kind), Some(desired)) => status::of(kind, incarnation, &desired, observed).progress(),
            _ => Progress::Done,
        }
    }

    fn demand(&self, document: &Document) -> Option<Demand> {
        let inner = inner(document)?;
        let size = VmSize::find(inner.get("vmSize")?.as_str()?)?;
        let desired = Desired::of(document)?;
        match Kind::of(document)? {
            Kind::Instance if !desired.run && instance::releases_quota(inner) => None,
            Kind::Instance => Some(size.demand(1)),
            // What it may grow to is its own, so that growing never fails.
            Kind::Cluster => Some(size.demand(u64::from(cluster::most(inner)))),
        }
    }

    fn dismiss(&self, dismissal: &Dismissal<'_>) -> Result<Dismissed, ArmError> {
        let (_, asked) = dismissal
            .query
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(UNDERLYING))
            .ok_or_else(|| ArmError::invalid_parameter(UNDERLYING, "Say ?underlyingResourceAction=Delete."))?;
        if asked.eq_ignore_ascii_case("Delete") {
            return Ok(Dismissed::default());
        }
        let message = match asked.eq_ignore_ascii_case("Detach") {
            true => {
                "Only what was attached can be detached, and Bastide made this compute itself. Use Delete.".to_owned()
            }
            false => format!("'{asked}' is not a value of {UNDERLYING}. Use Delete."),
        };
        Err(ArmError::invalid_parameter(UNDERLYING, message))
    }

    fn comes_back(&self) -> bool {
        false
    }

    fn act(&self, call: &ActionCall<'_>) -> Result<Acted, ArmError> {
        action::act(call, &self.capacity)
    }
}

/// What an admission of the inner properties looks at.
struct Terms<'a> {
    /// As they were.
    before: Option<&'a Map<String, Value>>,
    /// What the host has.
    capacity: &'a Capacity,
    tenant_id: Uuid,
    /// Who asks.
    author: &'a Author,
    /// Who made it.
    creator: &'a Author,
    fresh_id: &'a dyn Fn() -> Uuid,
}

/// The id of a node of a cluster. Nodes count from 0.
pub fn node_id(cluster: Uuid, number: u32) -> ComputeId {
    ComputeId(Uuid::new_v5(&cluster, format!("node-{number}").as_bytes()))
}

/// The ids of what a compute runs as.
fn nodes_of(kind: Kind, incarnation: Uuid, nodes: u32) -> Box<dyn Iterator<Item = ComputeId>> {
    match kind {
        Kind::Instance => Box::new(std::iter::once(ComputeId(incarnation))),
        Kind::Cluster => Box::new((0..nodes).map(move |number| node_id(incarnation, number))),
    }
}

/// The properties of a compute's own type.
pub fn inner(document: &Document) -> Option<&Map<String, Value>> {
    document.properties.get(INNER)?.as_object()
}

/// Who made a compute.
pub fn creator(document: &Document) -> Option<Author> {
    serde_json::from_value(document.properties.get(CREATOR)?.clone()).ok()
}

fn nodes(kind: Kind, inner: &Map<String, Value>) -> u32 {
    match kind {
        Kind::Instance => 1,
        Kind::Cluster => cluster::within(inner, 0),
    }
}

/// `computeLocation` and `disableLocalAuth` are decided when a compute is made.
fn keep_base(properties: &mut Map<String, Value>, existing: Option<&Document>) -> Result<(), ArmError> {
    let Some(existing) = existing else { return Ok(()) };
    // What nobody has said when it was made can still be said: the SDK always does, templates do not.
    for name in
        ["computeLocation", "disableLocalAuth"].into_iter().filter(|name| existing.properties.contains_key(*name))
    {
        keep(properties, &existing.properties, name, "properties")?;
    }
    Ok(())
}

/// A property that is for life: a body that is silent about it keeps it, one that changes it is refused.
fn keep(
    properties: &mut Map<String, Value>,
    before: &Map<String, Value>,
    name: &str,
    at: &str,
) -> Result<(), ArmError> {
    let asked = properties.get(name).filter(|value| !value.is_null());
    match (asked, before.get(name)) {
        (None, None) => Ok(()),
        (None, Some(stood)) => {
            properties.insert(name.to_owned(), stood.clone());
            Ok(())
        }
        (Some(asked), Some(stood)) if field::is_same(asked, stood) => {
            // The spelling that stands is the one that is answered.
            properties.insert(name.to_owned(), stood.clone());
            Ok(())
        }
        (Some(_), _) => {
            let message = format!(
                "{name} is decided when a compute is made. Leave it as it is, or delete the compute and create it anew."
            );
            Err(refused(&format!("{at}.{name}"), message))
        }
    }
}

/// A machine size that is known and that the host can carry.
fn size(properties: &Map<String, Value>, capacity: &Capacity) -> Result<&'static VmSize, ArmError> {
    let at = format!("{AT}.vmSize");
    let name = field::text(properties, "vmSize", AT)?
        .ok_or_else(|| refused(&at, "A compute needs a vmSize. List them with az ml compute list-sizes."))?;
    let size = VmSize::find(name).ok_or_else(|| {
        refused(&at, format!("'{name}' is not a machine size known here. List them with az ml compute list-sizes."))
    })?;
    if capacity.sizes().any(|carried| carried == size) {
        return Ok(size);
    }
    let message = match size.gpus > capacity.gpus {
        true => format!(
            "{} has {} graphics processors, and this host has {}. Choose a size without them.",
            size.name, size.gpus, capacity.gpus
        ),
        false => format!(
            "{} is more than this host can carry. Choose one of az ml compute list-sizes, which are those that it can.",
            size.name
        ),
    };
    Err(refused(&at, message))
}

/// A network of the caller's own does not go together with the managed one (mission.md F17).
fn no_subnet(inner: &Map<String, Value>) -> Result<(), ArmError> {
    match inner.get("subnet") {
        None | Some(Value::Null) => Ok(()),
        Some(_) => {
            let message = "A compute of a hub stands in the hub's managed network; a subnet of your own cannot take its place. \
                           Leave subnet out.";
            Err(refused(&format!("{AT}.subnet"), message))
        }
    }
}

/// `^[a-zA-Z](?![a-zA-Z0-9-]*-\d+$)[a-zA-Z0-9\-]{2,23}$` (arm-models.md 1.1): names that end in a hyphen and digits are those
/// of nodes.
fn is_name(name: &str) -> bool {
    let ends_in_number = name
        .rsplit_once('-')
        .is_some_and(|(_, last)| !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()));
    (3..=24).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !ends_in_number
}

const NAME: NameRule = NameRule {
    accepts: is_name,
    explanation: "3 to 24 letters, digits or hyphens, starting with a letter and not ending in a hyphen and digits",
};

/// Where the properties of a compute's own type are, inside of `properties`.
const INNER: &str = "properties";

/// Their place in a body.
const AT: &str = "properties.properties";

/// The property that says who made a compute; it is answered in another form.
const CREATOR: &str = "creator";

const UNDERLYING: &str = "underlyingResourceAction";

/// Kinds of computes that belong to others.
const ATTACHED: &[&str] = &[
    "AKS",
    "Kubernetes",
    "DataFactory",
    "VirtualMachine",
    "HDInsight",
    "Databricks",
    "DataLakeAnalytics",
    "SynapseSpark",
];

/// Type name in canonical spelling.
pub const TYPE_NAME: &str = "Microsoft.MachineLearningServices/workspaces/computes";

static DESCRIPTOR: Descriptor = Descriptor {
    namespace: "Microsoft.MachineLearningServices",
    types: &["workspaces", "computes"],
    placement: Placement::ResourceGroup,
    tracked: false,
    name: NAME,
    identity: IdentitySupport::Optional,
    read_only: &[
        "provisioningState",
        "provisioningErrors",
        "createdOn",
        "modifiedOn",
        "isAttachedCompute",
        "bastide",
        CREATOR,
        desired::FIELD,
    ],
    patchable: None,
    // Never 202, which the SDK takes for an error (arm-models.md section 2).
    put: PutStatus::CREATED,
    surroundings: Surroundings::NONE,
    actions: &[
        Action { name: "start", secret: false },
        Action { name: "stop", secret: false },
        Action { name: "restart", secret: false },
        Action { name: "resize", secret: false },
        Action { name: "scale", secret: false },
        Action { name: "listNodes", secret: false },
        Action { name: "listKeys", secret: true },
        Action { name: "updateIdleShutdownSetting", secret: false },
        Action { name: "getAllowedVmSizesForResize", secret: false },
        Action { name: "customServices", secret: false },
        Action { name: "updateDataMounts", secret: false },
        Action { name: "enableSso", secret: false },
    ],
    api_versions: API_VERSIONS,
    data_plane: DataPlane::Served,
};

#[cfg(test)]
mod tests;
