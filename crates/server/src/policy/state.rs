//! Compliance: how what stands stands to the policies of this moment. Nothing of it is stored, so nothing of it is stale.

use std::collections::{BTreeMap, BTreeSet};

use bastide_access::policy::{Compliance, State, builtin_properties};
use bastide_arm::id::ResourceId;
use bastide_store::ResourceQuery;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::book::Edition;
use super::query::Query;
use super::sight::{Asking, Seen, Sights};
use super::{ASSIGNMENT, DEFINITION, SET_DEFINITION};
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entry;
use crate::pass::Pass;
use crate::providers::resource_group;
use crate::reply::Reply;
use crate::request::Request;
use crate::subscription::SUBSCRIPTION;

/// What a query is about: resources at a scope and below, and perhaps one policy.
struct About {
    scope: ResourceId,
    /// A field of states and the id it must have.
    policy: Option<(&'static str, String)>,
}

impl Front {
    /// POST of queryResults: one state a resource and rule.
    pub(crate) async fn query_policy_states(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let query = Query::read(request)?;
        let mut states = self.policy_states(request, pass, query.with_details).await?;
        states.retain(|state| query.admits(state));
        query.sort(&mut states);
        states.truncate(query.top.unwrap_or(usize::MAX));
        let states: Vec<Value> = states.into_iter().map(|state| query.pick(state)).collect();
        Ok(Reply::ok(json!({
            "@odata.context": context_of(request, "latest"),
            "@odata.count": states.len(),
            "@odata.nextLink": null,
            "value": states,
        })))
    }

    /// POST of summarize: the same, counted.
    pub(crate) async fn summarize_policy_states(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let query = Query::read(request)?;
        let mut states = self.policy_states(request, pass, false).await?;
        states.retain(|state| query.admits(state));
        let mut by_assignment: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for state in &states {
            by_assignment.entry(text(state, "policyAssignmentId").to_owned()).or_default().push(state);
        }
        let summary = json!({
            "@odata.id": null,
            "@odata.context": context_of(request, "summary/$entity"),
            "results": results(&states.iter().collect::<Vec<_>>()),
            "policyAssignments": by_assignment.values().take(query.top.unwrap_or(usize::MAX)).map(|of| summarized(of)).collect::<Vec<_>>(),
        });
        Ok(Reply::ok(json!({"@odata.context": context_of(request, "summary"), "@odata.count": 1, "value": [summary]})))
    }

    /// POST of triggerEvaluation. Every query evaluates anew, so there is nothing to wait for.
    pub(crate) fn trigger_policy_evaluation(&self) -> Reply {
        Reply::empty(StatusCode::OK)
    }

    async fn policy_states(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        with_details: bool,
    ) -> Result<Vec<Value>, Failure> {
        let about = About::of(&request.matched.target);
        let edition = self.policies.edition(pass.epoch()).await?;
        if edition.policies.is_empty() {
            return Ok(Vec::new());
        }
        let asking = Asking::of(request.context, pass);
        let sights = Sights::new(&self.policies, &[]);
        let mut states = Vec::new();
        for entry in self.standing(pass, &about.scope).await? {
            let sight = sights.of(&Seen::stored(&entry.row)?, &asking).await?;
            for state in edition.policies.states(&sight.subject()) {
                let mut told = told(&edition, &entry, &state, request);
                if with_details && let Some(fields) = told.as_object_mut() {
                    fields.insert("policyEvaluationDetails".to_owned(), state.finding.evaluation_details());
                }
                if about.takes(&told) {
                    states.push(told);
                }
            }
        }
        Ok(states)
    }

    /// What policies look at, at a scope and below.
    async fn standing(&self, pass: &Pass, scope: &ResourceId) -> Result<Vec<Entry>, Failure> {
        let mut standing: Vec<Entry> = self.ledger.surrounding(pass, scope).await?.into_iter().collect();
        let query = ResourceQuery { prefix: Some(scope.prefix()), ..ResourceQuery::default() };
        standing.extend(self.ledger.every_surrounding(pass, query).await?);
        standing.retain(|entry| is_looked_at(&entry.row.type_name));
        Ok(standing)
    }
}

impl About {
    /// A scope may be that of an assignment or a definition, as clients ask for its states.
    fn of(target: &ResourceId) -> Self {
        let type_name = target.type_name();
        let field = [
            (ASSIGNMENT, "policyAssignmentId"),
            (DEFINITION, "policyDefinitionId"),
            (SET_DEFINITION, "policySetDefinitionId"),
        ];
        let field = field.iter().find(|(known, _)| known.eq_ignore_ascii_case(&type_name));
        match field {
            Some((_, field)) => Self {
                scope: target.parent().unwrap_or_else(ResourceId::tenant),
                policy: Some((field, target.name().to_owned())),
            },
            None => Self { scope: target.clone(), policy: None },
        }
    }

    /// Built-in definitions are asked for by their name in a subscription, so the name decides.
    fn takes(&self, state: &Value) -> bool {
        self.policy.as_ref().is_none_or(|(field, name)| {
            text(state, field).rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(name))
        })
    }
}

/// Whether policies look at resources of a type at all.
fn is_looked_at(type_name: &str) -> bool {
    let lower = type_name.to_ascii_lowercase();
    !super::decides(type_name) && !lower.starts_with("microsoft.resources/deployments")
}

fn told(edition: &Edition, entry: &Entry, state: &State<'_>, request: &Request<'_>) -> Value {
    let (finding, document) = (&state.finding, &entry.document);
    let is = |type_name: &str| entry.row.type_name.eq_ignore_ascii_case(type_name);
    let type_name = match () {
        () if is(resource_group::TYPE_NAME) => "Microsoft.Resources/subscriptions/resourceGroups",
        () if is(SUBSCRIPTION) => SUBSCRIPTION,
        () => &entry.row.type_name,
    };
    let initiative = finding.initiative.map(|(initiative, _)| initiative);
    let category = |id: &str| {
        let properties = builtin_properties(id).or_else(|| {
            let id = ResourceId::parse(id).ok()?;
            edition.entry(&id).map(|entry| &entry.document.properties)
        });
        properties.and_then(|properties| properties.get("metadata")?.get("category").cloned()).unwrap_or_default()
    };
    let compliance = state.compliance;
    let fields = [
        ("@odata.id", Value::Null),
        ("@odata.context", json!(context_of(request, "latest/$entity"))),
        ("timestamp", json!(request.context.now.to_string())),
        ("resourceId", json!(entry.id.to_string())),
        ("policyAssignmentId", json!(finding.assignment.id)),
        ("policyDefinitionId", json!(finding.definition.id)),
        ("effectiveParameters", json!("")),
        ("isCompliant", json!(compliance != Compliance::NonCompliant)),
        ("subscriptionId", json!(entry.id.subscription_id())),
        ("resourceType", json!(type_name)),
        ("resourceLocation", json!(document.location.as_deref().unwrap_or_default())),
        ("resourceGroup", json!(entry.id.resource_group().unwrap_or_default())),
        ("resourceTags", json!(json!(document.tags).to_string())),
        ("policyAssignmentName", json!(finding.assignment.name)),
        ("policyAssignmentOwner", json!("tbd")),
        ("policyAssignmentParameters", json!(finding.assignment.parameters.to_string())),
        ("policyAssignmentScope", json!(finding.assignment.scope)),
        ("policyDefinitionName", json!(finding.definition.name)),
        ("policyDefinitionAction", json!(finding.effect.name())),
        ("policyDefinitionCategory", category(&finding.definition.id)),
        ("policyDefinitionVersion", json!(finding.definition.version)),
        ("policySetDefinitionId", json!(initiative.map(|initiative| &initiative.id))),
        ("policySetDefinitionName", json!(initiative.map(|initiative| &initiative.name))),
        ("policySetDefinitionOwner", Value::Null),
        ("policySetDefinitionCategory", initiative.map(|initiative| category(&initiative.id)).unwrap_or_default()),
        ("policySetDefinitionParameters", Value::Null),
        ("policySetDefinitionVersion", json!(initiative.map(|initiative| &initiative.version))),
        ("managementGroupIds", json!("")),
        ("policyDefinitionReferenceId", json!(finding.initiative.map(|(_, reference)| reference))),
        ("complianceState", json!(compliance.name())),
        ("policyDefinitionGroupNames", json!(state.groups)),
    ];
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

/// One assignment's states, counted by definition.
fn summarized(states: &[&Value]) -> Value {
    let mut by_definition: BTreeMap<(String, String), Vec<&Value>> = BTreeMap::new();
    for state in states {
        let key = (text(state, "policyDefinitionReferenceId").to_owned(), text(state, "policyDefinitionId").to_owned());
        by_definition.entry(key).or_default().push(state);
    }
    let of = |name: &str| states.first().and_then(|state| state.get(name)).cloned().unwrap_or_default();
    let definitions: Vec<Value> = by_definition
        .iter()
        .map(|((reference, id), states)| {
            let of = |name: &str| states.first().and_then(|state| state.get(name)).cloned().unwrap_or_default();
            json!({
                "policyDefinitionId": id,
                "policyDefinitionReferenceId": reference,
                "policyDefinitionGroupNames": of("policyDefinitionGroupNames"),
                "effect": of("policyDefinitionAction"),
                "results": results(states),
            })
        })
        .collect();
    json!({
        "policyAssignmentId": of("policyAssignmentId"),
        "policySetDefinitionId": of("policySetDefinitionId").as_str().unwrap_or_default(),
        "results": results(states),
        "policyDefinitions": definitions,
        "policyGroups": [],
    })
}

/// Resources and policies by how they stand: one that breaks anything is not compliant.
fn results(states: &[&Value]) -> Value {
    let (of_resources, of_policies) =
        (worst(states, &["resourceId"]), worst(states, &["policyAssignmentId", "policyDefinitionId"]));
    let details = |of: &BTreeMap<String, u8>| {
        let count = |rank: u8| of.values().filter(|found| **found == rank).count();
        let words = [("noncompliant", 2), ("exempt", 1), ("compliant", 0)];
        words
            .iter()
            .filter(|(_, rank)| count(*rank) > 0)
            .map(|(word, rank)| json!({"complianceState": word, "count": count(*rank)}))
            .collect::<Vec<_>>()
    };
    let broken = |of: &BTreeMap<String, u8>| of.values().filter(|rank| **rank == 2).count();
    json!({
        "queryResultsUri": null,
        "nonCompliantResources": broken(&of_resources),
        "nonCompliantPolicies": broken(&of_policies),
        "resourceDetails": details(&of_resources),
        "policyDetails": details(&of_policies),
        "policyGroupDetails": [],
    })
}

/// The worst state of everything that has the same values in some fields.
fn worst(states: &[&Value], fields: &[&str]) -> BTreeMap<String, u8> {
    let mut worst: BTreeMap<String, u8> = BTreeMap::new();
    for state in states {
        let key: BTreeSet<&str> = fields.iter().map(|field| text(state, field)).collect();
        let rank = match text(state, "complianceState") {
            "NonCompliant" => 2,
            "Exempt" => 1,
            _ => 0,
        };
        let entry = worst.entry(key.into_iter().collect::<Vec<_>>().join(" ")).or_default();
        *entry = rank.max(*entry);
    }
    worst
}

fn text<'a>(state: &'a Value, name: &str) -> &'a str {
    state.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn context_of(request: &Request<'_>, entity: &str) -> String {
    let scope = &request.matched.target;
    format!("{}{scope}/providers/Microsoft.PolicyInsights/policyStates/$metadata#{entity}", request.context.origin)
}
