//! The rules a hub cannot do without, by mode (mission.md group H). They are rows like others, so that everything that
//! reads rules sees them, and their names cannot be anybody else's.

use std::collections::BTreeMap;

use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Document, Linked, PartChange};
use bastide_inspect::Name;
use serde_json::{Map, Value, json};

use super::associated::linked_by;
use crate::isolation_mode::IsolationMode;
use crate::outbound_rule::implied::is_implied;
use crate::outbound_rule::{self, KIND};
use crate::plan::{Effect, OWN_NETWORK};

/// The writes that bring the required rules of a hub in step with its mode and its associated resources.
pub(super) fn changes(
    id: &ResourceId,
    document: &Document,
    linked: &BTreeMap<String, Linked>,
    parts: &[Linked],
) -> Vec<PartChange> {
    let mode = IsolationMode::of(&document.properties);
    let wanted = required(id, document, linked, mode);
    let stands = parts.iter().filter(|part| outbound_rule::is_required(&part.document.properties));
    let gone = stands
        .map(|part| part.id.name())
        // What is there because of other rules comes and goes with these.
        .filter(|name| !wanted.contains_key(*name) && !is_implied(name))
        .map(|name| PartChange::Delete { kind: KIND, name: name.to_owned() });
    let gone: Vec<PartChange> = gone.collect();
    let puts = wanted.into_iter().map(|(name, properties)| {
        let document = Box::new(Document { properties, ..Document::default() });
        PartChange::Put { kind: KIND, name, document }
    });
    gone.into_iter().chain(puts).collect()
}

fn required(
    id: &ResourceId,
    document: &Document,
    linked: &BTreeMap<String, Linked>,
    mode: IsolationMode,
) -> BTreeMap<String, Map<String, Value>> {
    let mut rules = BTreeMap::new();
    if mode == IsolationMode::Disabled {
        return rules;
    }
    let is_approved_only = mode == IsolationMode::AllowOnlyApprovedOutbound;
    for (property, subresources) in ENDPOINTS {
        let Some(target) = linked_by(&document.properties, property, linked) else { continue };
        if is_approved_only || is_private(&target.document.properties) {
            for subresource in *subresources {
                rules.insert(format!("{PREFIX}PE_{property}_{subresource}"), endpoint(&target.id, subresource));
            }
        }
    }
    if is_approved_only || is_private(&document.properties) {
        rules.insert(format!("{PREFIX}PE_workspace_amlworkspace"), endpoint(id, "amlworkspace"));
    }
    if is_approved_only {
        let region = document.location.as_deref().unwrap_or_default();
        for RequiredTag { tag, protocol, ports, .. } in TAGS {
            // The back end of computes is told by region (H9).
            let tag = if *tag == "BatchNodeManagement" { format!("{tag}.{region}") } else { (*tag).to_owned() };
            let name = format!("{PREFIX}ST_{}_{protocol}", tag.replace('.', "_"));
            rules.insert(name, service_tag(&tag, protocol, ports));
        }
    }
    rules
}

fn endpoint(target: &ResourceId, subresource: &str) -> Map<String, Value> {
    let destination = json!({
        "serviceResourceId": target.to_string(),
        "subresourceTarget": subresource,
        "sparkEnabled": false,
    });
    rule("PrivateEndpoint", destination)
}

fn service_tag(tag: &str, protocol: &str, ports: &str) -> Map<String, Value> {
    rule("ServiceTag", json!({"serviceTag": tag, "protocol": protocol, "portRanges": ports, "action": "Allow"}))
}

fn rule(type_name: &str, destination: Value) -> Map<String, Value> {
    let fields = [("type", json!(type_name)), ("category", json!("Required")), ("destination", destination)];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Whether a resource is closed to the public.
pub(super) fn is_private(properties: &Map<String, Value>) -> bool {
    let access = properties.get("publicNetworkAccess").and_then(Value::as_str);
    access.is_some_and(|access| access.eq_ignore_ascii_case("Disabled"))
}

/// No name of a user's rule starts like this.
pub(crate) const PREFIX: &str = "__SYS_";

/// The services of associated resources that computes use.
pub(super) const ENDPOINTS: &[(&str, &[&str])] =
    &[("keyVault", &["vault"]), ("storageAccount", &["blob", "file"]), ("containerRegistry", &["registry"])];

/// A tag that hubs are said to need, and what there is in its place here (mission.md H4-H15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequiredTag {
    tag: &'static str,
    protocol: &'static str,
    ports: &'static str,
    /// What the cloud needs it for.
    purpose: &'static str,
    /// What does that here.
    instead: Instead,
}

/// What stands in the place of a service of the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instead {
    /// Bastide's own API, by its name inside the hub.
    Api,
    /// Nothing that computes would have to reach; why.
    Nothing(&'static str),
}

impl RequiredTag {
    /// What is known of a tag of a required rule, with or without its region.
    pub(crate) fn find(tag: &str, protocol: &str) -> &'static Self {
        let is_it = |known: &&Self| {
            known.protocol == protocol
                && tag.strip_prefix(known.tag).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        TAGS.iter().find(is_it).unwrap_or(&VIRTUAL_NETWORK)
    }

    /// How the rule takes effect, or why it has none.
    pub(crate) fn stands_for(&self, tag: &str, api: Option<&(Name, u16)>) -> Result<Effect, String> {
        match (self.instead, api) {
            (Instead::Api, Some(_)) => Ok(Effect::ByService),
            (Instead::Api, None) => Err(format!(
                "No service behind service tag '{tag}': this Bastide has no address inside of hubs (--internal-origin)."
            )),
            (Instead::Nothing(why), _) => {
                Err(format!("No service behind service tag '{tag}', and none is needed: {why}"))
            }
        }
    }

    /// What the cloud needs it for.
    pub(crate) fn purpose(&self) -> &'static str {
        self.purpose
    }
}

/// What H4 asks for, that the control plane reaches computes from outside, takes no opening here: an agent on the node makes
/// and drives them, and nothing comes in.
const TAGS: &[RequiredTag] = &[
    RequiredTag {
        tag: "AzureMachineLearning",
        protocol: "TCP",
        ports: "443, 8787, 18881",
        purpose: "the services of the hub, and what editors ask them",
        instead: Instead::Api,
    },
    RequiredTag {
        tag: "AzureMachineLearning",
        protocol: "UDP",
        ports: "5831",
        purpose: "making and removing compute instances",
        instead: Instead::Nothing(BY_AGENT),
    },
    RequiredTag {
        tag: "AzureActiveDirectory",
        protocol: "TCP",
        ports: "80, 443",
        purpose: "signing in: the token service",
        instead: Instead::Api,
    },
    RequiredTag {
        tag: "BatchNodeManagement",
        protocol: "TCP",
        ports: "443",
        purpose: "the back end of computes",
        instead: Instead::Nothing(BY_AGENT),
    },
    RequiredTag {
        tag: "AzureResourceManager",
        protocol: "TCP",
        ports: "443",
        purpose: "the resource manager, for SDK and command line",
        instead: Instead::Api,
    },
    RequiredTag {
        tag: "AzureFrontDoor.FirstParty",
        protocol: "TCP",
        ports: "443",
        purpose: "images of the cloud",
        instead: Instead::Nothing(IMAGES),
    },
    RequiredTag {
        tag: "MicrosoftContainerRegistry",
        protocol: "TCP",
        ports: "443",
        purpose: "images of the cloud",
        instead: Instead::Nothing(IMAGES),
    },
    RequiredTag {
        tag: "AzureMonitor",
        protocol: "TCP",
        ports: "443",
        purpose: "logs and metrics",
        instead: Instead::Nothing("flows and metrics are taken at the wall and on the node, not sent from inside."),
    },
];

static VIRTUAL_NETWORK: RequiredTag = RequiredTag {
    tag: "VirtualNetwork",
    protocol: "*",
    ports: "*",
    purpose: "reaching private endpoints",
    instead: Instead::Nothing(OWN_NETWORK),
};

const BY_AGENT: &str = "computes are made and driven by the agent of their node.";
const IMAGES: &str = "images are fetched by the node, not from inside of the hub.";
