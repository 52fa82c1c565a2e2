//! The rule as a resource.

use std::collections::BTreeMap;

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, Dismissal, Dismissed, Document, IdentitySupport, Link, Linked,
    Observed, Parity, Placement, PutStatus, ResourceType, Surroundings, View,
};
use bastide_arm::vocabulary::Vocabulary;
use serde_json::{Map, Value, json};

use super::extension::{self, Extension};
use super::implied::PARENTS;
use super::private_endpoint::PrivateEndpointDestination;
use super::rule::{Category, Destination, Rule, Terms};
use crate::account_network;
use crate::external_service;
use crate::field::refused;
use crate::isolation_mode::IsolationMode;
use crate::preset;
use crate::vocabulary::VOCABULARY;
use crate::workspace::{API_VERSIONS, Kind, NAME, RequiredTag};

/// The outbound rule type. The same rules stand behind two doors: below workspaces, and below the managed network of an
/// AI services account (mission.md W3).
#[derive(Debug)]
pub struct OutboundRule(&'static Descriptor);

impl OutboundRule {
    /// Rules of a hub.
    pub fn of_workspaces() -> Self {
        Self(&OF_WORKSPACES)
    }

    /// Rules of an account's managed network.
    pub fn of_accounts() -> Self {
        Self(&OF_ACCOUNTS)
    }
}

impl ResourceType for OutboundRule {
    fn descriptor(&self) -> &Descriptor {
        self.0
    }

    fn vocabulary(&self) -> Option<&Vocabulary> {
        Some(&VOCABULARY)
    }

    fn links(&self, document: &Document) -> Result<Vec<Link>, ArmError> {
        Ok(target_of(&document.properties, "properties").into_iter().collect())
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let parent = admission.parent.map(|parent| &parent.document);
        if parent.is_some_and(|parent| Kind::of(parent) == Kind::Project) {
            let message =
                "Outbound rules belong to the hub: a project has its hub's network. Make the rule on the hub.";
            return Err(refused("properties", message));
        }
        let terms = Terms {
            mode: parent.map(|parent| IsolationMode::of(&parent.properties)).unwrap_or_default(),
            zone: admission.zone,
            parity: admission.parity,
        };
        let mut warnings = Vec::new();
        let body = RuleBody {
            name: admission.id.name(),
            asked: &admission.document.properties,
            existing: admission.existing.map(|existing| existing.document),
            at: "properties",
            may_admit_storage: true,
            linked: admission.linked,
        };
        let document = admit_rule(&body, terms, &mut warnings)?;
        Ok(Admitted { document, warnings, ..Admitted::default() })
    }

    /// To admit a storage account is to open a way out for data, which takes an Owner (mission.md G10).
    fn further_actions(&self, existing: Option<&Document>, document: &Document) -> Vec<&'static str> {
        let admitted = |document: &Document| {
            let rule = Rule::read(&document.properties, "", Parity::Native).ok()?;
            rule.extension.allows_storage.then_some(rule.destination)
        };
        match (existing.and_then(admitted), admitted(document)) {
            (_, None) => Vec::new(),
            (Some(before), Some(now)) if before == now => Vec::new(),
            _ => vec![ASSIGN],
        }
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        answer_rule(&view.document.properties, view.observed)
    }

    /// The client of accounts takes 202 and 204 alone (wire-az-cli.md section 4).
    fn is_deleted_without_content(&self) -> bool {
        std::ptr::eq(self.0, &raw const OF_ACCOUNTS)
    }

    fn dismiss(&self, dismissal: &Dismissal<'_>) -> Result<Dismissed, ArmError> {
        let properties = &dismissal.existing.document.properties;
        if !is_removable(properties) {
            return Err(cannot_change(dismissal.id.name(), "properties"));
        }
        Ok(Dismissed::default())
    }
}

/// A rule as somebody asks for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RuleBody<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its properties.
    pub asked: &'a Map<String, Value>,
    /// The rule as it stands.
    pub existing: Option<&'a Document>,
    /// The place of the properties in the body.
    pub at: &'a str,
    /// Whether who asks was asked for what it takes to admit a storage account.
    pub may_admit_storage: bool,
    /// The resources that rules of the body lead to, by lower-cased id.
    pub linked: &'a BTreeMap<String, Linked>,
}

/// Decides whether a rule may stand, alone or in the map of its hub.
pub(crate) fn admit_rule(
    body: &RuleBody<'_>,
    terms: Terms<'_>,
    warnings: &mut Vec<String>,
) -> Result<Document, ArmError> {
    let RuleBody { name, asked, existing, at, may_admit_storage, linked } = *body;
    let mut rule = Rule::read(asked, at, terms.parity)?;
    if let Some(existing) = existing
        && !is_removable(&existing.properties)
    {
        // Clients send back what they have read; that changes nothing.
        let stands = Rule::read(&existing.properties, at, terms.parity)?;
        return if stands.destination == rule.destination && stands.extension == rule.extension {
            Ok(existing.clone())
        } else {
            Err(cannot_change(name, at))
        };
    }
    let before = existing.and_then(|existing| Rule::read(&existing.properties, at, Parity::Native).ok());
    if let (Some(before), None) = (&before, Extension::read(asked, at, terms.parity)?) {
        // Clients that do not know of extensions leave them out. A rule that was disabled stays so.
        rule.extension = match before.destination == rule.destination {
            true => before.extension.clone(),
            false => Extension { is_enabled: before.extension.is_enabled, ..Extension::default() },
        };
    }
    rule.category = category(name, asked, &rule, before.as_ref(), warnings);
    let was_admitted =
        before.is_some_and(|before| before.extension.allows_storage && before.destination == rule.destination);
    if rule.extension.allows_storage && !was_admitted && !may_admit_storage {
        let message = format!(
            "Rule '{name}' admits a storage account. That takes a PUT of the rule itself by an Owner; make it there, or \
             leave bastide.allowStorageAccount out."
        );
        return Err(refused(&format!("{at}.bastide.allowStorageAccount"), message));
    }
    rule.check(name, at, terms)?;
    if let Some((what, risk)) = rule.destination.risk() {
        warnings.push(format!("Rule '{name}' opens {what} to all computes of the hub. {risk}"));
    }
    if let Destination::PrivateEndpoint(destination) = &rule.destination {
        check_service_endpoints(name, destination, at, linked)?;
    }
    if let Destination::ServiceTag(destination) = &rule.destination {
        warnings.extend(destination.warnings().into_iter().map(|warning| format!("Rule '{name}': {warning}")));
    }
    Ok(Document { properties: rule.to_properties(), ..Document::default() })
}

/// Whose a rule of somebody's is: recommended is what a preset lists, whoever writes it (mission.md G15, I1-I8).
fn category(
    name: &str,
    asked: &Map<String, Value>,
    rule: &Rule,
    before: Option<&Rule>,
    warnings: &mut Vec<String>,
) -> Category {
    let stands = before.filter(|before| before.destination == rule.destination).map(|before| before.category);
    let wanted = match stands {
        Some(stands) if asked.get("category").is_none_or(Value::is_null) => stands,
        _ => rule.category,
    };
    let why_not = match wanted {
        Category::UserDefined => return Category::UserDefined,
        Category::Recommended if preset::recommends(&rule.destination) => return Category::Recommended,
        Category::Recommended => "no preset recommends it",
        Category::Required | Category::Dependency => "rules of that category are made by the hub itself",
    };
    warnings.push(format!("Rule '{name}' is stored as UserDefined, not as {}: {why_not}.", wanted.as_str()));
    Category::UserDefined
}

/// A resource has private endpoints or service endpoints, never both (mission.md E6).
fn check_service_endpoints(
    name: &str,
    destination: &PrivateEndpointDestination,
    at: &str,
    linked: &BTreeMap<String, Linked>,
) -> Result<(), ArmError> {
    let target = destination.resource();
    let Some(there) = linked.get(target.key()) else { return Ok(()) };
    let found = SERVICE_ENDPOINTS.iter().find(|(group, list)| {
        let rules = there.document.properties.get(*group).and_then(|group| group.get(*list)?.as_array());
        rules.is_some_and(|rules| !rules.is_empty())
    });
    let Some((group, list)) = found else { return Ok(()) };
    let message = format!(
        "Rule '{name}' leads to '{target}', which admits service endpoints ({group}.{list}). A resource has private \
         endpoints or service endpoints, never both, and computes of a hub have no service endpoint. Empty {list} there, \
         then make the rule."
    );
    Err(refused(&format!("{at}.destination.serviceResourceId"), message))
}

/// The wire form of a rule. Only what was seen of the kernel makes one active.
pub(crate) fn answer_rule(stored: &Map<String, Value>, observed: Option<&Observed>) -> Map<String, Value> {
    let mut properties = stored.clone();
    let why_not = observed.map_or(Some(NOT_REPORTED), |observed| observed.why_not.as_deref());
    properties.insert("status".into(), if why_not.is_none() { "Active" } else { "Inactive" }.into());
    if let Some(reason) = why_not {
        properties.insert("errorInformation".into(), reason.into());
    }
    properties.entry(PARENTS).or_insert_with(|| json!([]));
    let risk = Rule::stored(stored).and_then(|rule| Some(rule.destination.risk()?.1.to_owned()));
    let notes = [(extension::PURPOSE, purpose(stored).filter(|_| is_required(stored))), (extension::RISK, risk)];
    for (name, note) in notes.into_iter().filter_map(|(name, note)| Some((name, note?))) {
        let extension = properties.entry(extension::NAME).or_insert_with(|| json!({}));
        if let Value::Object(extension) = extension {
            extension.insert(name.into(), note.into());
        }
    }
    if let Some(Value::Object(destination)) = properties.get_mut("destination")
        && destination.contains_key("sparkEnabled")
    {
        destination.insert("sparkStatus".into(), "Inactive".into());
    }
    properties
}

/// What the hub needs a required rule for.
fn purpose(properties: &Map<String, Value>) -> Option<String> {
    let rule = Rule::stored(properties)?;
    Some(match rule.destination {
        Destination::ServiceTag(destination) => {
            RequiredTag::find(destination.tag.as_deref()?, destination.protocol).purpose().to_owned()
        }
        Destination::PrivateEndpoint(destination) => {
            format!("the hub's own {} ({})", destination.target.name(), destination.subresource)
        }
        Destination::Fqdn(_) => return None,
    })
}

/// Whether a stored rule is one the hub cannot do without.
pub(crate) fn is_required(properties: &Map<String, Value>) -> bool {
    properties.get("category").and_then(Value::as_str) == Some(Category::Required.as_str())
}

/// The resource a rule leads to, if it is a private endpoint. Whoever makes one must be able to see where it leads.
pub(crate) fn target_of(properties: &Map<String, Value>, at: &str) -> Option<Link> {
    let Ok(Rule { destination: Destination::PrivateEndpoint(destination), .. }) =
        Rule::read(properties, at, Parity::Native)
    else {
        return None;
    };
    let id = destination.resource();
    let target = format!("{at}.destination.serviceResourceId");
    // Whoever may only see a declared service may not connect hubs to it; what is not there carries nothing.
    let is_external = destination.is_external();
    let action = if is_external { external_service::JOIN.to_owned() } else { format!("{}/read", id.type_name()) };
    Some(Link { id, action, target, required: is_external, foreign: false })
}

/// Whether a stored rule was made by somebody, who can change and remove it.
pub(crate) fn is_removable(properties: &Map<String, Value>) -> bool {
    let category = properties.get("category").and_then(Value::as_str);
    [Category::UserDefined, Category::Recommended].iter().any(|own| category == Some(own.as_str()))
}

fn cannot_change(name: &str, at: &str) -> ArmError {
    let message = format!(
        "Rule '{name}' was made by the hub itself, which needs it; it can be neither changed nor removed. Make a rule \
         under another name."
    );
    refused(at, message)
}

/// What it takes to admit a storage account.
const ASSIGN: &str = "Microsoft.Authorization/roleAssignments/write";

/// Where types have the subnets whose service endpoints they admit.
const SERVICE_ENDPOINTS: [(&str, &str); 2] =
    [("networkAcls", "virtualNetworkRules"), ("networkRuleSet", "virtualNetworkRules")];

/// Last word of the type.
pub(crate) const KIND: &str = "outboundRules";

/// Why nothing is active.
pub(crate) const NOT_REPORTED: &str = "No agent has reported on the network of this hub, so nothing enforces this \
     yet. If nobody has provisioned it: az ml workspace provision-network, or create a compute.";

static OF_WORKSPACES: Descriptor = descriptor("Microsoft.MachineLearningServices", &["workspaces", KIND], API_VERSIONS);

static OF_ACCOUNTS: Descriptor =
    descriptor("Microsoft.CognitiveServices", &["accounts", "managedNetworks", KIND], account_network::API_VERSIONS);

const fn descriptor(
    namespace: &'static str,
    types: &'static [&'static str],
    api_versions: &'static [&'static str],
) -> Descriptor {
    Descriptor {
        namespace,
        types,
        placement: Placement::ResourceGroup,
        tracked: false,
        name: NAME,
        identity: IdentitySupport::None,
        read_only: &["status", "errorInformation", PARENTS],
        patchable: None,
        // Never 201: the SDK and azurerm refuse it (wire-azure-ai-ml.md section 2).
        put: PutStatus::OK,
        surroundings: Surroundings::NONE,
        actions: &[],
        api_versions,
        data_plane: DataPlane::None,
    }
}
