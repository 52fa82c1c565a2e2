//! The managed network of a hub: its mode, its firewall, and its rules as a map (mission.md groups F, G, J, L).

use std::collections::{BTreeMap, BTreeSet};

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Document, Link, Linked, Observed, PartChange};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::field::{self, refused};
use crate::isolation_lift::{self, IsolationLift};
use crate::isolation_mode::IsolationMode;
use crate::outbound_rule::{self, KIND, NOT_REPORTED, RuleBody, Terms};
use crate::workspace::NAME;

/// The network as asked for, over the one that stands: a body that is silent about a part of it keeps that part, because
/// Terraform's update sends the mode alone (infrastructure-as-code.md 5.3). What only the server knows is dropped, so that
/// a GET can be sent back. The rules are resources of their own and do not stay in the document.
pub(crate) fn admit(
    properties: &mut Map<String, Value>,
    existing: Option<&Document>,
    now: Timestamp,
) -> Result<Vec<String>, ArmError> {
    let asked = properties.remove("managedNetwork");
    let before = existing.and_then(|document| document.properties.get("managedNetwork")?.as_object());
    let mut network = before.cloned().unwrap_or_default();
    let mut asked_mode = None;
    if let Some(Value::Object(asked)) = asked {
        asked_mode = IsolationMode::read(&asked, AT)?;
        network.extend(asked.into_iter().filter(|(name, value)| !value.is_null() && !SERVERS.contains(&name.as_str())));
    }
    let mut warnings = Vec::new();
    let mode = admit_mode(&mut network, existing, asked_mode, now, &mut warnings)?;
    network.insert("isolationMode".into(), mode.as_str().into());
    // Kept as typed: the SDK sends "basic" and reads it back (mission.md L2).
    if let Some(sku) = field::text(&network, "firewallSku", AT)? {
        if field::word(sku, &["Standard", "Basic"]).is_none() {
            let message = format!("'{sku}' is not a firewall SKU. Use Standard or Basic.");
            return Err(refused(&format!("{AT}.firewallSku"), message));
        }
        if mode != IsolationMode::AllowOnlyApprovedOutbound {
            warnings.push(format!("firewallSku has no meaning in isolation mode {}.", mode.as_str()));
        }
    } else if mode == IsolationMode::AllowOnlyApprovedOutbound {
        network.insert("firewallSku".into(), "Standard".into());
    } else {
        network.remove("firewallSku");
    }
    admit_kind(&mut network, before)?;
    // Provisioned at once, if so asked at creation (mission.md J5). Silence about it takes nothing back.
    let at_once = properties.get("provisionNetworkNow") == Some(&Value::Bool(true));
    if at_once && mode != IsolationMode::Disabled {
        network.insert(PROVISIONED.into(), true.into());
    }
    for name in ["enableNetworkMonitor"] {
        if let Some(flag) = field::flag(&network, name, AT)? {
            network.insert(name.into(), flag.into());
        }
    }
    properties.insert("managedNetwork".into(), Value::Object(network));
    Ok(warnings)
}

/// The mode that is stored from now on. While isolation is lifted, its old mode stays there for when the time is over: a body
/// that repeats what it has read changes nothing, and one that names an isolated mode ends the lift.
fn admit_mode(
    network: &mut Map<String, Value>,
    existing: Option<&Document>,
    asked: Option<IsolationMode>,
    now: Timestamp,
    warnings: &mut Vec<String>,
) -> Result<IsolationMode, ArmError> {
    let old_mode = existing.map(|document| IsolationMode::of(&document.properties)).unwrap_or_default();
    let lift = existing.and_then(|document| IsolationLift::in_force(&document.properties, now));
    let mode = match (asked, &lift) {
        (None, _) | (Some(IsolationMode::Disabled), Some(_)) => old_mode,
        (Some(asked), _) => asked,
    };
    let is_ended = asked.is_some_and(|asked| asked != IsolationMode::Disabled);
    if lift.is_none() || is_ended {
        network.shift_remove(isolation_lift::FIELD);
    }
    if let (Some(lift), true) = (lift, is_ended) {
        warnings.push(format!("Isolation, which was lifted until {}, is back: {}.", lift.until, mode.as_str()));
    }
    if old_mode.may_become(mode) {
        return Ok(mode);
    }
    let message = format!(
        "Isolation cannot be disabled once it is enabled; the isolation mode is {}. It can become {}. An Owner can lift it \
         for a time: bastide network isolation lift, or POST of bastide/liftIsolation below the hub.",
        old_mode.as_str(),
        field::any_of(&old_mode.changeable().map(IsolationMode::as_str).collect::<Vec<_>>())
    );
    Err(refused(&format!("{AT}.isolationMode"), message))
}

/// What a body's map of rules changes: each name is written, a null removes it, and what is not named stays.
pub(crate) fn admit_rules(
    asked: &Map<String, Value>,
    parts: &[Linked],
    linked: &BTreeMap<String, Linked>,
    terms: Terms<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<PartChange>, ArmError> {
    let stands: BTreeMap<String, &Document> =
        parts.iter().map(|part| (part.id.name().to_ascii_lowercase(), &part.document)).collect();
    let mut changes = Vec::new();
    let mut named = BTreeSet::new();
    let rules = asked.get("managedNetwork").and_then(|network| network.get("outboundRules"));
    let rules = match rules {
        None | Some(Value::Null) => &Map::new(),
        Some(Value::Object(rules)) => rules,
        Some(_) => return Err(refused(RULES, "outboundRules must be an object with a rule under each name.")),
    };
    for (name, rule) in rules {
        let at = format!("{RULES}.{name}");
        if !named.insert(name.to_ascii_lowercase()) {
            return Err(refused(&at, format!("Rule '{name}' is given twice; names of rules have no case.")));
        }
        let existing = stands.get(&name.to_ascii_lowercase()).copied();
        match rule {
            Value::Null if existing.is_some_and(|rule| !outbound_rule::is_removable(&rule.properties)) => {
                let message = format!(
                    "Rule '{name}' is required by the hub or by a connection and cannot be removed. Leave it out."
                );
                return Err(refused(&at, message));
            }
            Value::Null => changes.push(PartChange::Delete { kind: KIND, name: name.clone() }),
            Value::Object(fields) => {
                if existing.is_none() && !(NAME.accepts)(name) {
                    // A required rule of an earlier mode, sent back by a client that had read it.
                    if name.starts_with(crate::workspace::SYSTEM_PREFIX) {
                        continue;
                    }
                    return Err(refused(&at, format!("'{name}' cannot name a rule. Use {}.", NAME.explanation)));
                }
                let body = RuleBody { name, asked: fields, existing, at: &at, may_admit_storage: false, linked };
                let document = outbound_rule::admit_rule(&body, terms, warnings)?;
                changes.push(PartChange::Put { kind: KIND, name: name.clone(), document: Box::new(document) });
            }
            _ => return Err(refused(&at, format!("Rule '{name}' must be an object, or null to remove it."))),
        }
    }
    check_others(parts, &named, terms)?;
    Ok(changes)
}

/// The resources that the rules of a body lead to.
pub(crate) fn links(properties: &Map<String, Value>) -> Vec<Link> {
    let rules = properties.get("managedNetwork").and_then(|network| network.get("outboundRules")?.as_object());
    let rules = rules.into_iter().flatten();
    rules.filter_map(|(name, rule)| outbound_rule::target_of(rule.as_object()?, &format!("{RULES}.{name}"))).collect()
}

/// The wire form. What it says about the kernel is what was last seen of it, and nothing without that.
pub(crate) fn answer(
    stored: &Map<String, Value>,
    rules: &[Linked],
    observed: Option<&Observed>,
    now: Timestamp,
) -> Value {
    let mut network = stored.clone();
    network.remove(PROVISIONED);
    network.shift_remove(isolation_lift::FIELD);
    let properties = Map::from_iter([("managedNetwork".to_owned(), json!(stored))]);
    if stored.contains_key("isolationMode") {
        network.insert("isolationMode".into(), IsolationMode::in_force(&properties, now).as_str().into());
    }
    network.insert("changeableIsolationModes".into(), json!(IsolationMode::changeable_at(&properties, now)));
    network.insert("status".into(), status(observed));
    let lift = IsolationLift::in_force(&properties, now).map(|lift| lift.answer(IsolationMode::of(&properties)));
    let notes = [
        ("enforcement", Some(json!(observed.map_or("none", |observed| observed.by)))),
        ("reason", why_not(observed).map(Value::from)),
        ("obstacles", obstacles(observed).map(|told| json!(told))),
        (isolation_lift::FIELD, lift),
    ];
    let notes = notes.into_iter().filter_map(|(name, note)| Some((name.to_owned(), note?)));
    network.insert("bastide".into(), Value::Object(notes.collect()));
    let shown: Map<String, Value> = rules
        .iter()
        .map(|rule| {
            let seen = observed.and_then(|observed| observed.parts.get(&rule.id.name().to_ascii_lowercase()));
            let properties = outbound_rule::answer_rule(&rule.document.properties, seen.map(AsRef::as_ref));
            (rule.id.name().to_owned(), Value::Object(properties))
        })
        .collect();
    network.insert("outboundRules".into(), Value::Object(shown));
    Value::Object(network)
}

/// The document of a hub whose network is to come into being, or nothing when it already has.
pub fn provision(document: &Document) -> Option<Document> {
    if IsolationMode::of(&document.properties) == IsolationMode::Disabled || is_provisioned(document) {
        return None;
    }
    let mut document = document.clone();
    let network = document.properties.entry("managedNetwork").or_insert_with(|| json!({}));
    network.as_object_mut()?.insert(PROVISIONED.into(), true.into());
    Some(document)
}

/// Whether somebody has asked for the network to come into being (mission.md J1, J5, J7).
pub fn is_provisioned(document: &Document) -> bool {
    let network = document.properties.get("managedNetwork").and_then(Value::as_object);
    network.and_then(|network| network.get(PROVISIONED)) == Some(&Value::Bool(true))
}

/// The answer to a request to provision: the network is active once the kernel was seen to hold it.
pub(crate) fn provisioned(mode: IsolationMode, observed: Option<&Observed>) -> Value {
    let reason = match mode {
        IsolationMode::Disabled => Some("The isolation mode is Disabled, so there is no network to provision."),
        _ => why_not(observed),
    };
    let mut answer = status(observed);
    if let (Some(reason), Some(fields)) = (reason, answer.as_object_mut()) {
        fields.insert("errorInformation".into(), reason.into());
    }
    answer
}

/// Why the network of a hub is not active, if it is not.
pub(crate) fn why_not(observed: Option<&Observed>) -> Option<&str> {
    observed.map_or(Some(NOT_REPORTED), |observed| observed.why_not.as_deref())
}

/// What of the node keeps computes from the internet though the hub lets them; sentences that say what to do.
pub(crate) fn obstacles(observed: Option<&Observed>) -> Option<&Vec<Value>> {
    observed?.detail.get("obstacles")?.as_array().filter(|obstacles| !obstacles.is_empty())
}

/// The status of the network: an object, as clients read it.
fn status(observed: Option<&Observed>) -> Value {
    let word = if observed.is_some_and(Observed::is_in_force) { "Active" } else { "Inactive" };
    json!({"status": word, "sparkReady": false})
}

/// `managedNetworkKind` goes from V1 to V2 and not back (mission.md W5).
fn admit_kind(network: &mut Map<String, Value>, before: Option<&Map<String, Value>>) -> Result<(), ArmError> {
    let Some(kind) = field::choice(network, "managedNetworkKind", AT, &["V1", "V2"])? else { return Ok(()) };
    let was = before.and_then(|before| before.get("managedNetworkKind")).and_then(Value::as_str);
    if was == Some("V2") && kind == "V1" {
        let message = "managedNetworkKind goes from V1 to V2 and not back. Leave it out, or send V2.";
        return Err(refused(&format!("{AT}.managedNetworkKind"), message));
    }
    network.insert("managedNetworkKind".into(), kind.into());
    Ok(())
}

/// A change of mode must not leave rules behind that cannot stand in it.
fn check_others(parts: &[Linked], named: &BTreeSet<String>, terms: Terms<'_>) -> Result<(), ArmError> {
    for part in parts {
        let name = part.id.name();
        let properties = &part.document.properties;
        if named.contains(&name.to_ascii_lowercase()) || !outbound_rule::is_removable(properties) {
            continue;
        }
        let rule = outbound_rule::Rule::read(properties, RULES, terms.parity)?;
        rule.check(name, &format!("{RULES}.{name}"), terms)?;
    }
    Ok(())
}

/// What only the server knows, and the rules, which are kept apart.
const SERVERS: &[&str] = &[
    "status",
    "networkId",
    "firewallPublicIpAddress",
    "changeableIsolationModes",
    "bastide",
    "outboundRules",
    PROVISIONED,
    isolation_lift::FIELD,
];

/// Stored, never shown: the network was asked to come into being.
const PROVISIONED: &str = "provisioned";

const AT: &str = "properties.managedNetwork";
const RULES: &str = "properties.managedNetwork.outboundRules";
