//! Policies on the wire: `Microsoft.Authorization/policyDefinitions`, `policySetDefinitions`, `policyAssignments` and
//! `policyExemptions`, and the compliance states of `Microsoft.PolicyInsights` (mission.md T1-T3).
//!
//! They are resources like others; each of their changes raises the access epoch in its transaction, so they hold from
//! the next request on. The [`Book`] has them compiled. The ledger asks it about everything that is to be written, whoever
//! writes it and on which way (mission.md A10): no way of writing can forget it. What policies change of a request is
//! changed before the rules of the type decide.

mod assignment;
mod book;
mod definition;
mod exemption;
mod preflight;
mod query;
mod sight;
mod state;

use bastide_access::policy::{Finding, PolicyError};
use bastide_arm::error::ArmError;
use bastide_arm::filter::{Expr, Property};
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::NameRule;
use serde_json::{Map, Value, json};

pub(crate) use self::book::Book;

use crate::context::Context;
use crate::ledger::Entry;
use crate::pass::Pass;
use crate::request::Request;

/// The type under which policy definitions are stored.
const DEFINITION: &str = "Microsoft.Authorization/policyDefinitions";

/// The type under which initiatives are stored.
const SET_DEFINITION: &str = "Microsoft.Authorization/policySetDefinitions";

/// The type under which assignments are stored.
const ASSIGNMENT: &str = "Microsoft.Authorization/policyAssignments";

/// The type under which exemptions are stored.
const EXEMPTION: &str = "Microsoft.Authorization/policyExemptions";

const TYPES: [&str; 4] = [DEFINITION, SET_DEFINITION, ASSIGNMENT, EXEMPTION];

/// Whether resources of a type decide what others must be like.
pub(crate) fn decides(type_name: &str) -> bool {
    TYPES.iter().any(|known| known.eq_ignore_ascii_case(type_name))
}

/// 403: the rules that a resource would break, and what was compared.
fn disallowed(id: &ResourceId, findings: &[Finding<'_>]) -> ArmError {
    let mut reasons: Vec<&str> = Vec::new();
    for finding in findings {
        for reason in finding.message.into_iter().chain(finding.reason.as_deref()) {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
    }
    let reasons = match reasons.as_slice() {
        [] => String::new(),
        some => format!(" Reasons: '{}'.", some.join("', '")),
    };
    let identifiers: Vec<Value> = findings.iter().map(Finding::identifiers).collect();
    let message = format!(
        "Resource '{}' was disallowed by policy.{reasons} Policy identifiers: '{}'. Change the request so that it fits, \
         or ask whoever made the assignment for an exemption.",
        id.name(),
        Value::from(identifiers),
    );
    let error = ArmError::new(403, "RequestDisallowedByPolicy", message).with_target(id.name());
    findings.iter().fold(error, |error, finding| error.with_info("PolicyViolation", finding.violation()))
}

/// 400: why a definition, initiative, assignment or exemption cannot stand.
fn refused(error: &PolicyError) -> ArmError {
    ArmError::new(400, error.code, error.message.clone()).with_target(error.place.clone())
}

/// The wire form of what policies are made of.
fn wire_form(entry: &Entry) -> Value {
    let mut body = head(&entry.id.to_string(), &entry.row.type_name);
    if let Some(location) = &entry.document.location {
        body.insert("location".to_owned(), json!(location));
    }
    body.insert("properties".to_owned(), Value::Object(entry.document.properties.clone()));
    body.insert("systemData".to_owned(), crate::resource::system_data(entry));
    Value::Object(body)
}

/// `id`, `name` and `type`.
fn head(id: &str, type_name: &str) -> Map<String, Value> {
    let name = id.rsplit('/').next().unwrap_or_default();
    let head = [("id", id), ("name", name), ("type", type_name)];
    head.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

fn check_name(id: &ResourceId, type_name: &str) -> Result<(), ArmError> {
    if (NameRule::GENERIC.accepts)(id.name()) && id.name().chars().count() <= MAX_NAME {
        return Ok(());
    }
    let rule = format!("Use at most {MAX_NAME} characters, {}.", NameRule::GENERIC.explanation);
    Err(ArmError::invalid_resource_name(id.name(), type_name, &rule))
}

/// The `properties` of a body; what only the server writes is dropped.
fn asked_properties(request: &Request<'_>, read_only: &[&str]) -> Result<Map<String, Value>, ArmError> {
    let body = request.object()?;
    let Some(properties) = body.get("properties").and_then(Value::as_object) else {
        let message = "The body needs properties, an object.";
        return Err(ArmError::invalid_parameter("properties", message));
    };
    let mut properties = properties.clone();
    properties
        .retain(|name, value| !value.is_null() && !read_only.iter().any(|known| known.eq_ignore_ascii_case(name)));
    for (name, most) in [("displayName", 128), ("description", 512)] {
        let too_long = |text: &str| text.chars().count() > most;
        if properties.get(name).is_some_and(|value| value.as_str().is_none_or(too_long)) {
            let target = format!("properties.{name}");
            return Err(ArmError::invalid_parameter(
                &target,
                format!("{target} is a text of at most {most} characters."),
            ));
        }
    }
    let metadata = properties.get("metadata");
    if metadata.is_some_and(|metadata| !metadata.is_object()) {
        return Err(ArmError::invalid_parameter("properties.metadata", "properties.metadata is an object."));
    }
    Ok(properties)
}

/// Who made it and who changed it last, where Azure writes that down: among the metadata.
fn stamp(properties: &mut Map<String, Value>, before: Option<&Map<String, Value>>, context: &Context, pass: &Pass) {
    let metadata = properties.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else { return };
    let by = json!(pass.principal().object_id);
    let at = json!(context.now.to_string());
    let known = before.and_then(|before| before.get("metadata")?.as_object());
    let stands = |name: &str| known.and_then(|known| known.get(name)).cloned();
    let stamps = [
        ("createdBy", stands("createdBy").unwrap_or_else(|| by.clone())),
        ("createdOn", stands("createdOn").unwrap_or_else(|| at.clone())),
        ("updatedBy", before.map_or(Value::Null, |_| by)),
        ("updatedOn", before.map_or(Value::Null, |_| at)),
    ];
    metadata.extend(stamps.map(|(name, value)| (name.to_owned(), value)));
}

/// The properties without what [`stamp`] adds: whether a body says anything new.
fn unstamped(properties: &Map<String, Value>) -> Map<String, Value> {
    let mut properties = properties.clone();
    if let Some(metadata) = properties.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| !["createdBy", "createdOn", "updatedBy", "updatedOn"].contains(&name.as_str()));
        if metadata.is_empty() {
            properties.remove("metadata");
        }
    }
    properties
}

/// `$filter` of the lists: a reach and comparisons.
struct Filter {
    reach: Reach,
    exclude_expired: bool,
    comparisons: Option<Expr>,
}

/// Which scopes a list takes in, seen from the one it was asked for at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// It, those above and those below.
    All,
    /// It and those above.
    Above,
    /// It and those below.
    Below,
    /// It alone.
    Exact,
}

impl Filter {
    fn read(request: &Request<'_>, properties: &[Property]) -> Result<Self, ArmError> {
        let text = request.context.query_value("$filter").unwrap_or_default();
        let mut filter = Self { reach: Reach::All, exclude_expired: false, comparisons: None };
        let mut comparisons = Vec::new();
        for term in crate::authorization::terms(&text) {
            match term.to_ascii_lowercase().as_str() {
                "" => {}
                "atscope()" => filter.reach = Reach::Above,
                "atexactscope()" => filter.reach = Reach::Exact,
                "atscopeandbelow()" => filter.reach = Reach::Below,
                "excludeexpired()" => filter.exclude_expired = true,
                _ => comparisons.push(term),
            }
        }
        if !comparisons.is_empty() {
            // `-eq` is how the cloud's documents write it.
            let text = comparisons.join(" and ").replace(" -eq ", " eq ");
            filter.comparisons = Some(Expr::parse(&text, properties)?);
        }
        Ok(filter)
    }

    /// Whether something at a scope belongs into a list at another one.
    fn reaches(&self, made_at: &ResourceId, listed_at: &ResourceId) -> bool {
        let (above, below) = (listed_at.is_within(made_at), made_at.is_within(listed_at));
        match self.reach {
            Reach::All => above || below,
            Reach::Above => above,
            Reach::Below => below,
            Reach::Exact => above && below,
        }
    }

    fn matches<'a>(&self, lookup: &impl Fn(&Property) -> Option<&'a str>) -> bool {
        self.comparisons.as_ref().is_none_or(|comparisons| comparisons.matches(lookup))
    }
}

/// Longest name, as the cloud has it.
const MAX_NAME: usize = 128;
