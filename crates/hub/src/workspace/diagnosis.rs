//! What a diagnosis of a workspace finds: whether computes reach what it stands on, by what the wall itself says, which rules
//! stand for nothing, what is locked and what has gone (arm-models.md section 2, mission.md (c) 2).
//!
//! It reports what is wrong; a list that is empty is good news. The questions that only a wall can answer are asked by whoever
//! holds one.

use std::collections::BTreeMap;

use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Linked, Observed};
use bastide_inspect::NamePattern;
use bastide_plan::explanation::{Explanation, Question, Suggestion};
use serde_json::{Map, Value, json};

use super::associated::{ASSOCIATED, Associated, linked_by};
use super::required_rule;
use crate::isolation_mode::IsolationMode;
use crate::outbound_rule::{Category, Destination, Rule};
use crate::plan::private_name;

/// What has been found so far.
#[derive(Debug, Clone, Default)]
pub struct Diagnosis(Vec<Finding>);

/// A hub as it is diagnosed, also for one of its projects.
#[derive(Debug, Clone, Copy)]
pub struct Patient<'a> {
    /// The hub.
    pub hub: &'a Linked,
    /// Its rules.
    pub rules: &'a [Linked],
    /// What it links to, by lower-cased id.
    pub linked: &'a BTreeMap<String, Linked>,
    /// What was last seen of its network.
    pub observed: Option<&'a Observed>,
    /// The mode that holds at the moment.
    pub mode: IsolationMode,
}

/// A question for the wall.
#[derive(Debug, Clone)]
pub struct Probe {
    /// What is asked.
    pub question: Question,
    area: &'static str,
    /// What it is about, `storageAccount '...' (blob)`.
    about: String,
    /// Whether there is no other way to it.
    is_private: bool,
}

#[derive(Debug, Clone)]
struct Finding {
    area: &'static str,
    code: &'static str,
    level: &'static str,
    message: String,
}

impl Patient<'_> {
    /// What can be seen without asking anybody.
    pub fn examine(&self) -> Diagnosis {
        let mut diagnosis = Diagnosis::default();
        let why_not = crate::managed_network::why_not(self.observed);
        if let (Some(reason), true) = (why_not, self.mode != IsolationMode::Disabled) {
            diagnosis.note(OTHER, "ManagedNetworkInactive", WARNING, reason.to_owned());
        }
        for obstacle in crate::managed_network::obstacles(self.observed).into_iter().flatten().filter_map(Value::as_str)
        {
            diagnosis.note(OTHER, "NodeObstructsNetwork", WARNING, obstacle.to_owned());
        }
        for Associated { property, .. } in ASSOCIATED {
            let Some(id) = self.named(property) else { continue };
            match linked_by(&self.hub.document.properties, property, self.linked) {
                None => {
                    let message = format!(
                        "{property} names '{id}', which does not exist any more. Create it again, or name another one \
                         where that can be changed."
                    );
                    diagnosis.note(property, "AssociatedResourceMissing", ERROR, message);
                }
                Some(there)
                    if self.mode == IsolationMode::Disabled
                        && required_rule::is_private(&there.document.properties) =>
                {
                    let message = format!(
                        "{property} '{id}' is closed to the public, and the hub has no isolated network with a private \
                         endpoint to it. Set managedNetwork.isolationMode, or open the resource."
                    );
                    diagnosis.note(property, "AssociatedResourceNotReachable", WARNING, message);
                }
                Some(_) => {}
            }
        }
        // A network that is not in force has said so; its rules have nothing to add.
        if why_not.is_none() {
            self.examine_rules(&mut diagnosis);
        }
        diagnosis
    }

    /// What to ask the wall: whether computes reach what the hub stands on, and what each rule by name leads to.
    pub fn probes(&self, zone: &str) -> Vec<Probe> {
        if self.mode == IsolationMode::Disabled || crate::managed_network::why_not(self.observed).is_some() {
            return Vec::new();
        }
        let mut probes = Vec::new();
        for (property, subresources) in required_rule::ENDPOINTS {
            let Some(there) = linked_by(&self.hub.document.properties, property, self.linked) else { continue };
            for subresource in *subresources {
                let Some(name) = private_name(&there.id, subresource, zone) else { continue };
                probes.push(Probe {
                    question: question(name.as_str(), None),
                    area: property,
                    about: format!("{property} '{}' ({subresource})", there.id),
                    is_private: required_rule::is_private(&there.document.properties),
                });
            }
        }
        // One that is out of force has said why; that something is missing would be another matter.
        let in_force = self.rules.iter().filter(|rule| self.why_not(rule).is_none());
        probes.extend(in_force.filter_map(probe_of).take(MOST_RULES));
        probes
    }

    /// What a lock on may be in the way of: the hub and what it stands on.
    pub fn lockable(&self) -> impl Iterator<Item = &ResourceId> {
        let stands_on = ASSOCIATED
            .iter()
            .filter_map(|associated| linked_by(&self.hub.document.properties, associated.property, self.linked));
        std::iter::once(&self.hub.id).chain(stands_on.map(|there| &there.id))
    }

    /// Rules that stand for nothing, with the reason. What the hub needs in the cloud and not here is no trouble.
    fn examine_rules(&self, diagnosis: &mut Diagnosis) {
        for row in self.rules {
            let (Some(reason), Some(rule)) = (self.why_not(row), Rule::stored(&row.document.properties)) else {
                continue;
            };
            if rule.category == Category::Required || !rule.extension.is_enabled {
                continue;
            }
            let message = format!("Rule '{}' is not in force. {reason}", row.id.name());
            diagnosis.note(RULES, "OutboundRuleInactive", WARNING, message);
        }
    }

    /// Why a rule is not in force, if it is not.
    fn why_not(&self, row: &Linked) -> Option<&str> {
        let seen = self.observed?.parts.get(&row.id.name().to_ascii_lowercase())?;
        seen.why_not.as_deref()
    }

    fn named(&self, property: &str) -> Option<&str> {
        self.hub.document.properties.get(property).and_then(Value::as_str)
    }
}

impl Diagnosis {
    /// What the wall has answered.
    pub fn take_in(&mut self, probe: &Probe, explanation: &Explanation) {
        if explanation.allowed {
            return;
        }
        let Question { to, port, .. } = &probe.question;
        let reason = format!("{} at {to}:{}: {}", probe.about, port.unwrap_or(HTTPS), explanation.reason);
        let level = if probe.is_private { ERROR } else { WARNING };
        match &explanation.suggestion {
            Some(Suggestion { rule_type, destination, .. }) => {
                let message = format!("{reason} Add a rule of type {rule_type} with destination '{destination}'.");
                // Without a rule, a name is not even resolved.
                self.note(DNS, "NameNotResolved", level, message.clone());
                self.note(RULES, "OutboundRuleMissing", level, message);
            }
            None if probe.area == RULES => self.note(DNS, "NameLeadsAstray", level, reason.clone()),
            None => {}
        }
        self.note(probe.area, "NotReachable", level, reason);
    }

    /// The wall could not be asked.
    pub fn unanswered(&mut self, reason: &str) {
        self.note(
            OTHER,
            "WallNotAsked",
            WARNING,
            format!("What computes reach could not be asked of the wall: {reason}"),
        );
    }

    /// A lock that holds something.
    pub fn locked(&mut self, held: &ResourceId, lock: &ResourceId, is_read_only: bool) {
        let (level, what) = match is_read_only {
            true => (WARNING, "nothing of it can be changed, and its keys cannot be listed"),
            false => (INFORMATION, "it cannot be deleted"),
        };
        let message = format!("'{held}' is locked by '{lock}': {what}. Remove the lock if that is not meant.");
        self.note(LOCKS, "ResourceLocked", level, message);
    }

    /// The wire form. A request that names areas is answered in these alone.
    pub fn answer(&self, request: &Value) -> Value {
        let asked = request.get("value").and_then(Value::as_object);
        let is_asked = |area: &str| {
            let named = |(key, value): (&String, &Value)| !value.is_null() && key.eq_ignore_ascii_case(asked_as(area));
            asked.is_none_or(|asked| asked.values().all(Value::is_null) || asked.iter().any(named))
        };
        let found = |area: &&str| {
            let findings = self.0.iter().filter(|finding| finding.area == *area && is_asked(area));
            let results: Vec<Value> = findings.map(Finding::answer).collect();
            (format!("{area}Results"), Value::Array(results))
        };
        json!({"value": AREAS.iter().map(found).collect::<Map<_, _>>()})
    }

    fn note(&mut self, area: &'static str, code: &'static str, level: &'static str, message: String) {
        self.0.push(Finding { area, code, level, message });
    }
}

impl Finding {
    fn answer(&self) -> Value {
        json!({"code": self.code, "level": self.level, "message": self.message})
    }
}

/// Whether a rule by one name leads where it should.
fn probe_of(row: &Linked) -> Option<Probe> {
    let rule = Rule::stored(&row.document.properties).filter(|rule| rule.extension.is_enabled)?;
    let Destination::Fqdn(fqdn) = rule.destination else { return None };
    let name = Some(fqdn.pattern()).filter(|pattern| !pattern.is_wildcard()).map(NamePattern::name)?;
    Some(Probe {
        question: question(name.as_str(), rule.extension.ports.first().copied()),
        area: RULES,
        about: format!("Rule '{}'", row.id.name()),
        is_private: false,
    })
}

fn question(to: &str, port: Option<u16>) -> Question {
    Question { compute: None, to: to.to_owned(), port }
}

/// What a request calls an area.
fn asked_as(area: &str) -> &str {
    match area {
        "userDefinedRoute" => "udr",
        RULES => "nsg",
        OTHER => "others",
        same => same,
    }
}

const RULES: &str = "networkSecurityRule";
const LOCKS: &str = "resourceLock";
const DNS: &str = "dnsResolution";
const OTHER: &str = "other";

const AREAS: &[&str] = &[
    "userDefinedRoute",
    RULES,
    LOCKS,
    DNS,
    "storageAccount",
    "keyVault",
    "containerRegistry",
    "applicationInsights",
    OTHER,
];

const ERROR: &str = "Error";
const WARNING: &str = "Warning";
const INFORMATION: &str = "Information";

/// What a question without a port is about.
const HTTPS: u16 = 443;

/// Rules that are asked about: each is a question to the agent.
const MOST_RULES: usize = 100;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bastide_arm::resource_type::Document;
    use bastide_plan::hub_plan::RuleName;
    use uuid::Uuid;

    use super::*;

    const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers";

    fn row(path: &str, properties: Value) -> Linked {
        Linked {
            id: ResourceId::parse(&format!("{GROUP}/{path}")).unwrap(),
            incarnation: Uuid::nil(),
            document: Document { properties: properties.as_object().unwrap().clone(), ..Document::default() },
        }
    }

    struct Ward {
        hub: Linked,
        rules: Vec<Linked>,
        linked: BTreeMap<String, Linked>,
        observed: Observed,
    }

    impl Ward {
        /// An approved-only hub in force, on a private storage account.
        fn new() -> Self {
            let storage = row("Microsoft.Storage/storageAccounts/data", json!({"publicNetworkAccess": "Disabled"}));
            let hub = json!({
                "managedNetwork": {"isolationMode": "AllowOnlyApprovedOutbound"},
                "storageAccount": storage.id.to_string(),
            });
            Self {
                hub: row("Microsoft.MachineLearningServices/workspaces/hub", hub),
                rules: Vec::new(),
                linked: BTreeMap::from([(storage.id.key().to_owned(), storage)]),
                observed: Observed::new("kernel", None),
            }
        }

        fn with_rule(mut self, name: &str, properties: Value, why_not: Option<&str>) -> Self {
            let path = format!("Microsoft.MachineLearningServices/workspaces/hub/outboundRules/{name}");
            self.rules.push(row(&path, properties));
            let seen = Observed::new("kernel", why_not.map(str::to_owned));
            self.observed.parts.insert(name.to_owned(), Arc::new(seen));
            self
        }

        fn patient(&self) -> Patient<'_> {
            Patient {
                hub: &self.hub,
                rules: &self.rules,
                linked: &self.linked,
                observed: Some(&self.observed),
                mode: IsolationMode::of(&self.hub.document.properties),
            }
        }
    }

    fn denied(reason: &str, suggestion: Option<Suggestion>) -> Explanation {
        let rule = suggestion.is_none().then(|| RuleName("pe".to_owned()));
        Explanation { allowed: false, rule, reason: reason.to_owned(), suggestion, addresses: Vec::new() }
    }

    fn codes(diagnosis: &Diagnosis, area: &str) -> Vec<String> {
        let answer = diagnosis.answer(&Value::Null);
        let found = answer["value"][format!("{area}Results")].as_array().unwrap().clone();
        found
            .iter()
            .map(|finding| format!("{} {}", finding["level"].as_str().unwrap(), finding["code"].as_str().unwrap()))
            .collect()
    }

    #[test]
    fn a_hub_without_trouble_has_nothing_found_in_any_area() {
        let ward = Ward::new();
        let answer = ward.patient().examine().answer(&json!({}));
        let areas = answer["value"].as_object().unwrap();
        assert_eq!(areas.len(), 9);
        assert!(areas.values().all(|found| found == &json!([])), "{answer}");
    }

    #[test]
    fn the_wall_is_asked_about_each_service_the_hub_stands_on_and_each_rule_by_name() {
        let name = |name: &str| json!({"type": "FQDN", "destination": name});
        let ward = Ward::new()
            .with_rule("one", name("pypi.org"), None)
            .with_rule("all", name("*.pypi.org"), None)
            .with_rule("ended", name("ended.example"), Some("The rule has ended."));
        let asked: Vec<String> =
            ward.patient().probes("bastide.test").into_iter().map(|probe| probe.question.to).collect();
        assert_eq!(asked, ["data.blob.bastide.test", "data.file.bastide.test", "pypi.org"]);
        let patient = Patient { observed: None, ..ward.patient() };
        assert!(patient.probes("bastide.test").is_empty(), "a wall that does not stand is not asked");
    }

    #[test]
    fn a_refusal_is_told_where_people_look_with_what_to_add() {
        let ward = Ward::new();
        let probes = ward.patient().probes("bastide.test");
        let mut diagnosis = Diagnosis::default();
        let suggestion =
            Suggestion { rule_type: "FQDN".to_owned(), destination: "data.blob.bastide.test".to_owned(), port: None };
        diagnosis.take_in(&probes[0], &denied("No rule approves it.", Some(suggestion)));
        assert_eq!(codes(&diagnosis, "dnsResolution"), ["Error NameNotResolved"]);
        assert_eq!(codes(&diagnosis, "networkSecurityRule"), ["Error OutboundRuleMissing"]);
        assert_eq!(codes(&diagnosis, "storageAccount"), ["Error NotReachable"]);
        let answer = diagnosis.answer(&json!({"value": {"nsg": {}, "udr": null}}));
        let message = answer["value"]["networkSecurityRuleResults"][0]["message"].as_str().unwrap();
        assert!(message.contains("(blob)") && message.contains("type FQDN"), "{message}");
        assert_eq!(answer["value"]["storageAccountResults"], json!([]), "it was not asked for");

        let mut behind_nothing = Diagnosis::default();
        behind_nothing.take_in(&probes[1], &denied("No service stands behind it yet.", None));
        assert_eq!(codes(&behind_nothing, "storageAccount"), ["Error NotReachable"]);
        assert!(codes(&behind_nothing, "dnsResolution").is_empty());
    }

    #[test]
    fn rules_locks_and_what_has_gone_are_found() {
        let gone = json!({"type": "FQDN", "category": "UserDefined", "destination": "pypi.org"});
        let needless = json!({"type": "ServiceTag", "category": "Required",
            "destination": {"serviceTag": "AzureMonitor", "protocol": "TCP", "portRanges": "443"}});
        let mut ward = Ward::new().with_rule("ended", gone, Some("The rule has ended.")).with_rule(
            "tag",
            needless,
            Some("Nothing."),
        );
        ward.linked.clear();
        let mut diagnosis = ward.patient().examine();
        assert_eq!(codes(&diagnosis, "networkSecurityRule"), ["Warning OutboundRuleInactive"]);
        assert_eq!(codes(&diagnosis, "storageAccount"), ["Error AssociatedResourceMissing"]);
        let lock = ResourceId::parse(&format!("{}/providers/Microsoft.Authorization/locks/keep", ward.hub.id)).unwrap();
        diagnosis.locked(&ward.hub.id, &lock, false);
        diagnosis.locked(&ward.hub.id, &lock, true);
        assert_eq!(codes(&diagnosis, "resourceLock"), ["Information ResourceLocked", "Warning ResourceLocked"]);
        diagnosis.unanswered("the agent is away");
        assert_eq!(codes(&diagnosis, "other"), ["Warning WallNotAsked"]);
    }
}
