//! Everything the front door can be asked, one row each: method, path, the action it takes, the operation that answers.
//!
//! A row cannot be written without saying which action it takes, and [`crate::front::Front::answer`] authorises that
//! action before the operation runs.

use bastide_arm::error::ArmError;
use bastide_arm::id::{ArmPath, ResourceId};
use bastide_arm::path::PathSegments;
use http::Method;

use crate::compute::APPLICATION_ACCESS;
use crate::request::Dialect;

/// One row of the table.
#[derive(Debug)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path: literal segments in lower case, `{name}` for one segment, `{scope}` for any resource id, `{level}` for
    /// the tenant, a subscription or a group, `{deployment}` for the name of a deployment there, and the generic forms
    /// `{resource}`, `{collection}`, `{resource}/{action}` and `{resource}/{action}/{argument}`.
    pub path: &'static str,
    /// What the caller must be allowed to do.
    pub action: Action,
    /// What answers.
    pub operation: Operation,
}

/// What a route's caller must be allowed to do on the route's target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing beyond being signed in; the operation shows only what the caller may read.
    SignedIn,
    /// This action on the target.
    Fixed(&'static str),
    /// This action on the target, which the caller may have for some roles and principals only: the operation authorises
    /// again with what the body asks for.
    Delegated(&'static str),
    /// This action, on what is the caller's own or what the operation itself sees to: it takes no role.
    Own(&'static str),
    /// `{type}/read` on the target.
    Read,
    /// `{type}/write` on the target.
    Write,
    /// `{type}/delete` on the target.
    Delete,
    /// `{type}/{action}/action` on the target.
    Invoke,
    /// Reading what the operation named in the path worked on; the operation looks it up.
    ReadOfOperation,
}

/// The operations behind the routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    ListTenants,
    ListSubscriptions,
    ReadSubscription,
    CreateSubscription,
    ReadSubscriptionAlias,
    ListLocations,
    ListTenantProviders,
    ListProviders,
    ReadProvider,
    RegisterProvider,
    UnregisterProvider,
    ListProviderOperations,
    CheckNameAvailability,
    ListResourceGroups,
    DeleteResourceGroup,
    ListResources,
    ExportResourceGroup,
    ListTagNames,
    PutTagName,
    DeleteTagName,
    PutTagValue,
    DeleteTagValue,
    ReadTags,
    ReplaceTags,
    PatchTags,
    DeleteTags,
    ReadOperationStatus,
    ReadOperationResult,
    ListDeployments,
    ReadDeployment,
    CheckDeployment,
    PutDeployment,
    DeleteDeployment,
    CancelDeployment,
    ValidateDeployment,
    ForetellDeployment,
    ExportDeployment,
    ReadDeploymentStatus,
    ListDeploymentOperations,
    ReadDeploymentOperation,
    ListRoleDefinitions,
    ReadRoleDefinition,
    PutRoleDefinition,
    DeleteRoleDefinition,
    ListRoleAssignments,
    ReadRoleAssignment,
    PutRoleAssignment,
    DeleteRoleAssignment,
    ListDenyAssignments,
    ReadDenyAssignment,
    ListPermissions,
    CheckAccess,
    WhyAccess,
    ListUsers,
    ListAccessRequests,
    ReadAccessRequest,
    PutAccessRequest,
    DeleteAccessRequest,
    ApproveAccessRequest,
    DenyAccessRequest,
    ExplainNetwork,
    ListFlows,
    CountFlows,
    ReplayFlows,
    ReadScriptLog,
    OpenExec,
    OpenTunnel,
    SuggestRules,
    AskForRule,
    ListRuleRequests,
    ApproveRuleRequest,
    DenyRuleRequest,
    ListRevisions,
    DiffRules,
    RollBack,
    ListPresets,
    ApplyPreset,
    ReadCost,
    ReadIsolation,
    LiftIsolation,
    RestoreIsolation,
    ListTagPacks,
    ReadTagPack,
    PutTagPack,
    DeleteTagPack,
    ReadProviderOperations,
    ListLocks,
    ReadLock,
    PutLock,
    DeleteLock,
    ListPolicyDefinitions,
    ReadPolicyDefinition,
    PutPolicyDefinition,
    DeletePolicyDefinition,
    ListPolicyVersions,
    ReadPolicyVersion,
    ListPolicySetDefinitions,
    ReadPolicySetDefinition,
    PutPolicySetDefinition,
    DeletePolicySetDefinition,
    ListPolicySetVersions,
    ReadPolicySetVersion,
    ListPolicyAssignments,
    ReadPolicyAssignment,
    PutPolicyAssignment,
    DeletePolicyAssignment,
    ListPolicyExemptions,
    ReadPolicyExemption,
    PutPolicyExemption,
    DeletePolicyExemption,
    QueryPolicyStates,
    SummarizePolicyStates,
    TriggerPolicyEvaluation,
    ListEvents,
    ListUsages,
    ListQuotas,
    UpdateQuotas,
    ListVmSizes,
    RestoreResource,
    ListDeleted,
    ReadDeleted,
    PurgeDeleted,
    ReadResource,
    CheckResource,
    PutResource,
    PatchResource,
    DeleteResource,
    ListCollection,
    InvokeAction,
}

impl Operation {
    /// Whether it takes, beside the action of its route, the right to give rights away: to decide what the rules of others
    /// mean, or that there is no wall for a time. It is asked before a body is read.
    pub fn takes_owner(self) -> bool {
        matches!(self, Self::PutTagPack | Self::DeleteTagPack | Self::LiftIsolation)
    }

    /// Bytes its body may have: ARM's bound for all but the published file of service tags, which is larger.
    pub fn body_limit(self) -> usize {
        match self {
            Self::PutTagPack => 32 * MEBIBYTE,
            _ => 4 * MEBIBYTE,
        }
    }

    /// How its body is written: templates are not JSON.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::PutDeployment | Self::ValidateDeployment | Self::ForetellDeployment => Dialect::Relaxed,
            _ => Dialect::Strict,
        }
    }
}

/// A request's path after the table has read it.
#[derive(Debug)]
pub struct Matched {
    /// The row.
    pub route: &'static Route,
    /// What the action is taken on: a resource, or the scope of a list.
    pub target: ResourceId,
    /// The type in question, `Namespace/type[/child]`, as the client spelled it; for the generic forms.
    pub type_name: Option<String>,
    /// The POST action, as the client spelled it.
    pub action_name: Option<String>,
    /// Values of the other `{name}` segments, in order.
    pub values: Vec<String>,
}

/// Finds the row for a request: 404 when no row has the path, 405 when none of those that have it takes the method.
pub fn find(method: &Method, path: &PathSegments) -> Result<Matched, ArmError> {
    let lower = path.lower();
    let mut allowed: Vec<&str> = Vec::new();
    let mut generic_allowed: Vec<&str> = Vec::new();
    for route in ROUTES {
        let is_generic = matches!(route.path, RESOURCE | COLLECTION | INVOCATION | INVOCATION_ABOUT);
        // A path of its own hides the generic forms: DELETE on a tag name must not delete a resource.
        if is_generic && !allowed.is_empty() {
            break;
        }
        if is_generic && route.method != *method {
            if takes(route, path) {
                generic_allowed.push(route.method.as_str());
            }
            continue;
        }
        let Some(bound) = bind(route, path, &lower) else { continue };
        if route.method == *method {
            return bound;
        }
        allowed.push(route.method.as_str());
    }
    allowed.extend(generic_allowed);
    allowed.dedup();
    if allowed.is_empty() {
        let message = format!(
            "Nothing answers at '/{}'. Check the path against the provider's list of operations.",
            path.as_slice().join("/")
        );
        return Err(ArmError::not_found(message));
    }
    Err(ArmError::method_not_allowed(method.as_str(), &allowed))
}

impl Operation {
    /// Whether it answers, to those who may not read the whole of it, with what roles further down let them read: who has
    /// a role on one group sees that group among the subscription's, and the subscription.
    pub fn shows_what_is_below(self) -> bool {
        matches!(self, Self::ReadSubscription | Self::ListResourceGroups | Self::ListResources | Self::ListCollection)
    }
}

impl Matched {
    /// The action the caller needs on the target, in the provider's canonical spelling; none for the two kinds of route
    /// whose operation decides what to show.
    pub fn required_action(&self, canonical_type: Option<&str>) -> Option<String> {
        let type_name = canonical_type.or(self.type_name.as_deref()).unwrap_or_default();
        match self.route.action {
            Action::SignedIn | Action::ReadOfOperation => None,
            Action::Fixed(action) | Action::Delegated(action) | Action::Own(action) => Some(action.to_owned()),
            Action::Read => Some(format!("{type_name}/read")),
            Action::Write => Some(format!("{type_name}/write")),
            Action::Delete => Some(format!("{type_name}/delete")),
            Action::Invoke => Some(format!("{type_name}/{}/action", self.action_name.as_deref().unwrap_or_default())),
        }
    }

    /// The n-th `{name}` value.
    pub fn value(&self, index: usize) -> &str {
        self.values.get(index).map_or("", String::as_str)
    }
}

/// Binds a path to a row; `None` when the row is about other paths, an error when it is but the path is malformed.
fn bind(route: &'static Route, path: &PathSegments, lower: &[String]) -> Option<Result<Matched, ArmError>> {
    match route.path {
        RESOURCE | COLLECTION | INVOCATION | INVOCATION_ABOUT => bind_generic(route, path),
        pattern => match (pattern.strip_prefix("{scope}"), pattern.strip_prefix("{level}")) {
            (Some(rest), _) => bind_extension(route, rest, path, lower),
            (_, Some(rest)) => bind_level(route, rest, path, lower),
            (None, None) => bind_fixed(route, path, lower),
        },
    }
}

fn bind_fixed(route: &'static Route, path: &PathSegments, lower: &[String]) -> Option<Result<Matched, ArmError>> {
    let pattern: Vec<&str> = route.path.split('/').filter(|segment| !segment.is_empty()).collect();
    if pattern.len() != lower.len()
        || !pattern.iter().zip(lower).all(|(want, have)| want.starts_with('{') || *want == have)
    {
        return None;
    }
    let mut scope: Vec<String> = Vec::new();
    let mut values = Vec::new();
    for (want, have) in pattern.iter().zip(path.as_slice()) {
        match *want {
            "{subscription}" => scope.extend(["subscriptions".to_owned(), have.clone()]),
            "{group}" => scope.extend(["resourceGroups".to_owned(), have.clone()]),
            want if want.starts_with('{') => values.push(have.clone()),
            _ => {}
        }
    }
    let target = ResourceId::from_segments(&scope);
    Some(target.map(|target| Matched { route, target, type_name: None, action_name: None, values }))
}

/// The target of a row that ends in `{name}` is the extension itself; of others, the scope it is on.
fn bind_extension(
    route: &'static Route,
    rest: &'static str,
    path: &PathSegments,
    lower: &[String],
) -> Option<Result<Matched, ArmError>> {
    let suffix: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
    let at = lower.len().checked_sub(suffix.len())?;
    if lower.get(at..)?.iter().zip(&suffix).any(|(have, want)| *want != NAME && have != want) {
        return None;
    }
    let names = suffix.last() == Some(&NAME);
    let end = if names { lower.len() } else { at };
    let target = ResourceId::from_segments(path.as_slice().get(..end)?);
    let bound = path.as_slice().get(at..)?.iter().zip(&suffix).filter(|(_, want)| **want == NAME);
    let values = bound.map(|(value, _)| value.clone()).collect();
    Some(target.map(|target| Matched { route, target, type_name: None, action_name: None, values }))
}

/// The target of a row with `{deployment}` is that deployment, also where the path leaves out its provider.
fn bind_level(
    route: &'static Route,
    rest: &'static str,
    path: &PathSegments,
    lower: &[String],
) -> Option<Result<Matched, ArmError>> {
    let suffix: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
    let at = lower.len().checked_sub(suffix.len())?;
    let is_level = matches!(lower.get(..at)?, [] | [_, _])
        || matches!(lower.get(..at)?, [_, _, groups, _] if groups == "resourcegroups");
    let fits = |(want, have): (&&str, &String)| want.starts_with('{') || want == have;
    if !is_level || !suffix.iter().zip(lower.get(at..)?).all(fits) {
        return None;
    }
    let mut target = path.as_slice().get(..at)?.to_vec();
    let mut values = Vec::new();
    for (want, have) in suffix.iter().zip(path.as_slice().get(at..)?) {
        match *want {
            "{deployment}" => {
                target.extend(["providers", "Microsoft.Resources", "deployments"].map(str::to_owned));
                target.push(have.clone());
            }
            want if want.starts_with('{') => values.push(have.clone()),
            _ => {}
        }
    }
    let target = ResourceId::from_segments(&target);
    Some(target.map(|target| Matched { route, target, type_name: None, action_name: None, values }))
}

fn bind_generic(route: &'static Route, path: &PathSegments) -> Option<Result<Matched, ArmError>> {
    let matched = |target, type_name: String, action_name| Matched {
        route,
        target,
        type_name: Some(type_name),
        action_name,
        values: Vec::new(),
    };
    Some(match (route.path, ArmPath::parse(path)) {
        (_, Err(error)) => Err(error),
        (RESOURCE, Ok(ArmPath::Resource(id))) => {
            let type_name = id.type_name();
            Ok(matched(id, type_name, None))
        }
        (COLLECTION, Ok(ArmPath::Collection(collection))) => {
            let type_name = collection.type_name();
            Ok(matched(collection.parent(), type_name, None))
        }
        (INVOCATION, Ok(path)) => {
            let (id, action) = path.split_action()?;
            if !id.is_resource() {
                return None;
            }
            let (type_name, action) = (id.type_name(), action.to_owned());
            Ok(matched(id, type_name, Some(action)))
        }
        // What reads as a child is an action with its argument, where the parent's type has such a one.
        (INVOCATION_ABOUT, Ok(ArmPath::Resource(id))) => {
            let parent = id.parent().filter(ResourceId::is_resource)?;
            let (type_name, argument) = (parent.type_name(), id.name().to_owned());
            let action = id.types().last().map(|word| (*word).to_owned());
            Ok(Matched { values: vec![argument], ..matched(parent, type_name, action) })
        }
        _ => return None,
    })
}

/// Whether a generic row is about this path at all, whatever the method.
fn takes(route: &'static Route, path: &PathSegments) -> bool {
    matches!(bind_generic(route, path), Some(Ok(_)))
}

const fn route(method: Method, path: &'static str, action: Action, operation: Operation) -> Route {
    Route { method, path, action, operation }
}

const MEBIBYTE: usize = 1024 * 1024;

const NAME: &str = "{name}";
const RESOURCE: &str = "{resource}";
const COLLECTION: &str = "{collection}";
const INVOCATION: &str = "{resource}/{action}";
const INVOCATION_ABOUT: &str = "{resource}/{action}/{argument}";

/// The table. Rows with a path of their own come before the generic ones.
#[rustfmt::skip]
pub static ROUTES: &[Route] = &[
    route(Method::GET, "/tenants", Action::SignedIn, Operation::ListTenants),
    route(Method::GET, "/providers", Action::SignedIn, Operation::ListTenantProviders),
    route(Method::GET, "/providers/{namespace}", Action::SignedIn, Operation::ReadProvider),
    route(Method::GET, "/providers/{namespace}/operations", Action::SignedIn, Operation::ListProviderOperations),
    route(Method::PUT, "/providers/microsoft.subscription/aliases/{alias}", Action::Fixed("Microsoft.Subscription/aliases/write"), Operation::CreateSubscription),
    route(Method::GET, "/providers/microsoft.subscription/aliases/{alias}", Action::Fixed("Microsoft.Subscription/aliases/read"), Operation::ReadSubscriptionAlias),

    route(Method::GET, "/subscriptions", Action::SignedIn, Operation::ListSubscriptions),
    route(Method::GET, "/subscriptions/{subscription}", Action::Fixed("Microsoft.Resources/subscriptions/read"), Operation::ReadSubscription),
    route(Method::GET, "/subscriptions/{subscription}/locations", Action::Fixed("Microsoft.Resources/subscriptions/locations/read"), Operation::ListLocations),
    route(Method::GET, "/subscriptions/{subscription}/providers", Action::Fixed("Microsoft.Resources/subscriptions/providers/read"), Operation::ListProviders),
    route(Method::GET, "/subscriptions/{subscription}/providers/{namespace}", Action::Fixed("Microsoft.Resources/subscriptions/providers/read"), Operation::ReadProvider),
    route(Method::POST, "/subscriptions/{subscription}/providers/{namespace}/register", Action::Fixed("Microsoft.Resources/subscriptions/providers/register/action"), Operation::RegisterProvider),
    route(Method::POST, "/subscriptions/{subscription}/providers/{namespace}/unregister", Action::Fixed("Microsoft.Resources/subscriptions/providers/unregister/action"), Operation::UnregisterProvider),
    route(Method::POST, "/subscriptions/{subscription}/providers/{namespace}/checknameavailability", Action::Fixed("Microsoft.Resources/checkResourceName/action"), Operation::CheckNameAvailability),
    route(Method::GET, "/subscriptions/{subscription}/resources", Action::Fixed("Microsoft.Resources/subscriptions/resources/read"), Operation::ListResources),

    route(Method::GET, "/subscriptions/{subscription}/resourcegroups", Action::Fixed("Microsoft.Resources/subscriptions/resourceGroups/read"), Operation::ListResourceGroups),
    route(Method::GET, "/subscriptions/{subscription}/resourcegroups/{group}", Action::Fixed("Microsoft.Resources/subscriptions/resourceGroups/read"), Operation::ReadResource),
    route(Method::HEAD, "/subscriptions/{subscription}/resourcegroups/{group}", Action::Fixed("Microsoft.Resources/subscriptions/resourceGroups/read"), Operation::CheckResource),
    route(Method::PUT, "/subscriptions/{subscription}/resourcegroups/{group}", Action::Fixed("Microsoft.Resources/subscriptions/resourceGroups/write"), Operation::PutResource),
    route(Method::PATCH, "/subscriptions/{subscription}/resourcegroups/{group}", Action::Fixed("Microsoft.Resources/subscriptions/resourceGroups/write"), Operation::PatchResource),
    route(Method::DELETE, "/subscriptions/{subscription}/resourcegroups/{group}", Action::Fixed("Microsoft.Resources/subscriptions/resourceGroups/delete"), Operation::DeleteResourceGroup),
    route(Method::GET, "/subscriptions/{subscription}/resourcegroups/{group}/resources", Action::Fixed("Microsoft.Resources/subscriptions/resourceGroups/resources/read"), Operation::ListResources),
    route(Method::POST, "/subscriptions/{subscription}/resourcegroups/{group}/exporttemplate", Action::Fixed("Microsoft.Resources/subscriptions/resourceGroups/exportTemplate/action"), Operation::ExportResourceGroup),

    route(Method::GET, "/subscriptions/{subscription}/tagnames", Action::Fixed("Microsoft.Resources/subscriptions/tagNames/read"), Operation::ListTagNames),
    route(Method::PUT, "/subscriptions/{subscription}/tagnames/{name}", Action::Fixed("Microsoft.Resources/subscriptions/tagNames/write"), Operation::PutTagName),
    route(Method::DELETE, "/subscriptions/{subscription}/tagnames/{name}", Action::Fixed("Microsoft.Resources/subscriptions/tagNames/delete"), Operation::DeleteTagName),
    route(Method::PUT, "/subscriptions/{subscription}/tagnames/{name}/tagvalues/{value}", Action::Fixed("Microsoft.Resources/subscriptions/tagNames/tagValues/write"), Operation::PutTagValue),
    route(Method::DELETE, "/subscriptions/{subscription}/tagnames/{name}/tagvalues/{value}", Action::Fixed("Microsoft.Resources/subscriptions/tagNames/tagValues/delete"), Operation::DeleteTagValue),

    route(Method::GET, "/subscriptions/{subscription}/providers/{namespace}/locations/{location}/operationstatuses/{id}", Action::ReadOfOperation, Operation::ReadOperationStatus),
    route(Method::GET, "/subscriptions/{subscription}/providers/{namespace}/locations/{location}/operationresults/{id}", Action::ReadOfOperation, Operation::ReadOperationResult),

    route(Method::GET, "{level}/providers/microsoft.resources/deployments", Action::Fixed("Microsoft.Resources/deployments/read"), Operation::ListDeployments),
    route(Method::GET, "{level}/providers/microsoft.resources/deployments/{deployment}", Action::Fixed("Microsoft.Resources/deployments/read"), Operation::ReadDeployment),
    route(Method::HEAD, "{level}/providers/microsoft.resources/deployments/{deployment}", Action::Fixed("Microsoft.Resources/deployments/read"), Operation::CheckDeployment),
    route(Method::PUT, "{level}/providers/microsoft.resources/deployments/{deployment}", Action::Fixed("Microsoft.Resources/deployments/write"), Operation::PutDeployment),
    route(Method::DELETE, "{level}/providers/microsoft.resources/deployments/{deployment}", Action::Fixed("Microsoft.Resources/deployments/delete"), Operation::DeleteDeployment),
    route(Method::POST, "{level}/providers/microsoft.resources/deployments/{deployment}/cancel", Action::Fixed("Microsoft.Resources/deployments/cancel/action"), Operation::CancelDeployment),
    route(Method::POST, "{level}/providers/microsoft.resources/deployments/{deployment}/validate", Action::Fixed("Microsoft.Resources/deployments/validate/action"), Operation::ValidateDeployment),
    route(Method::POST, "{level}/providers/microsoft.resources/deployments/{deployment}/whatif", Action::Fixed("Microsoft.Resources/deployments/whatIf/action"), Operation::ForetellDeployment),
    route(Method::POST, "{level}/providers/microsoft.resources/deployments/{deployment}/exporttemplate", Action::Fixed("Microsoft.Resources/deployments/exportTemplate/action"), Operation::ExportDeployment),
    route(Method::GET, "{level}/providers/microsoft.resources/deployments/{deployment}/operationstatuses/{id}", Action::Fixed("Microsoft.Resources/deployments/operationstatuses/read"), Operation::ReadDeploymentStatus),
    route(Method::GET, "{level}/providers/microsoft.resources/deployments/{deployment}/operations", Action::Fixed("Microsoft.Resources/deployments/operations/read"), Operation::ListDeploymentOperations),
    route(Method::GET, "{level}/providers/microsoft.resources/deployments/{deployment}/operations/{id}", Action::Fixed("Microsoft.Resources/deployments/operations/read"), Operation::ReadDeploymentOperation),
    // The same without a provider, as clients of old read them (infrastructure-as-code.md 3.9).
    route(Method::GET, "{level}/deployments/{deployment}/operations", Action::Fixed("Microsoft.Resources/deployments/operations/read"), Operation::ListDeploymentOperations),
    route(Method::GET, "{level}/deployments/{deployment}/operations/{id}", Action::Fixed("Microsoft.Resources/deployments/operations/read"), Operation::ReadDeploymentOperation),

    route(Method::GET, "{scope}/providers/microsoft.resources/tags/default", Action::Fixed("Microsoft.Resources/tags/read"), Operation::ReadTags),
    route(Method::PUT, "{scope}/providers/microsoft.resources/tags/default", Action::Fixed("Microsoft.Resources/tags/write"), Operation::ReplaceTags),
    route(Method::PATCH, "{scope}/providers/microsoft.resources/tags/default", Action::Fixed("Microsoft.Resources/tags/write"), Operation::PatchTags),
    route(Method::DELETE, "{scope}/providers/microsoft.resources/tags/default", Action::Fixed("Microsoft.Resources/tags/delete"), Operation::DeleteTags),

    route(Method::GET, "/providers/microsoft.authorization/roledefinitions", Action::SignedIn, Operation::ListRoleDefinitions),
    route(Method::GET, "/providers/microsoft.authorization/roledefinitions/{name}", Action::SignedIn, Operation::ReadRoleDefinition),
    route(Method::GET, "{scope}/providers/microsoft.authorization/roledefinitions", Action::Fixed("Microsoft.Authorization/roleDefinitions/read"), Operation::ListRoleDefinitions),
    route(Method::GET, "{scope}/providers/microsoft.authorization/roledefinitions/{name}", Action::Fixed("Microsoft.Authorization/roleDefinitions/read"), Operation::ReadRoleDefinition),
    route(Method::PUT, "{scope}/providers/microsoft.authorization/roledefinitions/{name}", Action::Fixed("Microsoft.Authorization/roleDefinitions/write"), Operation::PutRoleDefinition),
    route(Method::DELETE, "{scope}/providers/microsoft.authorization/roledefinitions/{name}", Action::Fixed("Microsoft.Authorization/roleDefinitions/delete"), Operation::DeleteRoleDefinition),
    route(Method::GET, "{scope}/providers/microsoft.authorization/roleassignments", Action::Fixed("Microsoft.Authorization/roleAssignments/read"), Operation::ListRoleAssignments),
    route(Method::GET, "{scope}/providers/microsoft.authorization/roleassignments/{name}", Action::Fixed("Microsoft.Authorization/roleAssignments/read"), Operation::ReadRoleAssignment),
    route(Method::PUT, "{scope}/providers/microsoft.authorization/roleassignments/{name}", Action::Delegated("Microsoft.Authorization/roleAssignments/write"), Operation::PutRoleAssignment),
    route(Method::DELETE, "{scope}/providers/microsoft.authorization/roleassignments/{name}", Action::Delegated("Microsoft.Authorization/roleAssignments/delete"), Operation::DeleteRoleAssignment),
    route(Method::GET, "{scope}/providers/microsoft.authorization/denyassignments", Action::Fixed("Microsoft.Authorization/denyAssignments/read"), Operation::ListDenyAssignments),
    route(Method::GET, "{scope}/providers/microsoft.authorization/denyassignments/{name}", Action::Fixed("Microsoft.Authorization/denyAssignments/read"), Operation::ReadDenyAssignment),
    // These three tell the caller about nobody else without being asked for the right to know.
    route(Method::GET, "{scope}/providers/microsoft.authorization/permissions", Action::SignedIn, Operation::ListPermissions),
    route(Method::POST, "{scope}/providers/microsoft.authorization/checkaccess", Action::SignedIn, Operation::CheckAccess),
    route(Method::GET, "{scope}/bastide/whyaccess", Action::SignedIn, Operation::WhyAccess),
    route(Method::GET, "{scope}/providers/bastide.authorization/whyaccess", Action::SignedIn, Operation::WhyAccess),
    route(Method::GET, "{scope}/bastide/explain", Action::Fixed("Microsoft.MachineLearningServices/workspaces/outboundRules/read"), Operation::ExplainNetwork),
    route(Method::GET, "{scope}/bastide/flows", Action::Fixed("Microsoft.MachineLearningServices/workspaces/outboundRules/read"), Operation::ListFlows),
    route(Method::GET, "{scope}/bastide/metrics", Action::Fixed("Microsoft.MachineLearningServices/workspaces/outboundRules/read"), Operation::CountFlows),
    // It changes nothing: a proposal is too long for a query.
    route(Method::POST, "{scope}/bastide/replay", Action::Fixed("Microsoft.MachineLearningServices/workspaces/outboundRules/read"), Operation::ReplayFlows),
    // These open WebSockets, which is done by GET: they read nothing and answer nothing else.
    route(Method::GET, "{scope}/bastide/scriptlog", Action::Fixed("Microsoft.MachineLearningServices/workspaces/computes/read"), Operation::ReadScriptLog),
    route(Method::GET, "{scope}/bastide/exec", Action::Fixed(APPLICATION_ACCESS), Operation::OpenExec),
    route(Method::GET, "{scope}/bastide/ssh", Action::Fixed(APPLICATION_ACCESS), Operation::OpenTunnel),
    route(Method::GET, "{scope}/bastide/suggest", Action::Fixed("Microsoft.MachineLearningServices/workspaces/outboundRules/read"), Operation::SuggestRules),
    // Whoever may see the hub may ask.
    route(Method::POST, "{scope}/bastide/ask", Action::Own("Bastide.Network/ruleRequests/ask/action"), Operation::AskForRule),
    route(Method::GET, "{scope}/bastide/requests", Action::Fixed("Microsoft.MachineLearningServices/workspaces/outboundRules/read"), Operation::ListRuleRequests),
    route(Method::POST, "{scope}/bastide/requests/{name}/approve", Action::Fixed("Microsoft.MachineLearningServices/workspaces/batchOutboundRules/action"), Operation::ApproveRuleRequest),
    route(Method::POST, "{scope}/bastide/requests/{name}/deny", Action::Fixed("Microsoft.MachineLearningServices/workspaces/batchOutboundRules/action"), Operation::DenyRuleRequest),
    route(Method::GET, "{scope}/bastide/revisions", Action::Fixed("Microsoft.MachineLearningServices/workspaces/outboundRules/read"), Operation::ListRevisions),
    route(Method::GET, "{scope}/bastide/diff", Action::Fixed("Microsoft.MachineLearningServices/workspaces/outboundRules/read"), Operation::DiffRules),
    route(Method::POST, "{scope}/bastide/rollback", Action::Fixed("Microsoft.MachineLearningServices/workspaces/batchOutboundRules/action"), Operation::RollBack),
    route(Method::GET, "{scope}/bastide/presets", Action::Fixed("Microsoft.MachineLearningServices/workspaces/outboundRules/read"), Operation::ListPresets),
    route(Method::POST, "{scope}/bastide/applypreset", Action::Fixed("Microsoft.MachineLearningServices/workspaces/batchOutboundRules/action"), Operation::ApplyPreset),
    route(Method::GET, "{scope}/bastide/cost", Action::Fixed("Microsoft.MachineLearningServices/workspaces/outboundRules/read"), Operation::ReadCost),
    route(Method::GET, "{scope}/bastide/isolation", Action::Fixed("Microsoft.MachineLearningServices/workspaces/read"), Operation::ReadIsolation),
    route(Method::POST, "{scope}/bastide/liftisolation", Action::Fixed("Bastide.Network/isolation/lift/action"), Operation::LiftIsolation),
    // Whoever may write the hub may isolate it.
    route(Method::POST, "{scope}/bastide/restoreisolation", Action::Fixed("Microsoft.MachineLearningServices/workspaces/write"), Operation::RestoreIsolation),
    route(Method::GET, "/subscriptions/{subscription}/providers/bastide.network/servicetagpacks", Action::Fixed("Bastide.Network/serviceTagPacks/read"), Operation::ListTagPacks),
    route(Method::GET, "/subscriptions/{subscription}/providers/bastide.network/servicetagpacks/{name}", Action::Fixed("Bastide.Network/serviceTagPacks/read"), Operation::ReadTagPack),
    route(Method::PUT, "/subscriptions/{subscription}/providers/bastide.network/servicetagpacks/{name}", Action::Fixed("Bastide.Network/serviceTagPacks/write"), Operation::PutTagPack),
    route(Method::DELETE, "/subscriptions/{subscription}/providers/bastide.network/servicetagpacks/{name}", Action::Fixed("Bastide.Network/serviceTagPacks/delete"), Operation::DeleteTagPack),
    route(Method::GET, "{scope}/providers/bastide.authorization/users", Action::Fixed("Microsoft.Authorization/roleAssignments/read"), Operation::ListUsers),
    route(Method::GET, "{scope}/providers/bastide.authorization/accessrequests", Action::SignedIn, Operation::ListAccessRequests),
    route(Method::GET, "{scope}/providers/bastide.authorization/accessrequests/{name}", Action::SignedIn, Operation::ReadAccessRequest),
    route(Method::PUT, "{scope}/providers/bastide.authorization/accessrequests/{name}", Action::Own("Bastide.Authorization/accessRequests/write"), Operation::PutAccessRequest),
    route(Method::DELETE, "{scope}/providers/bastide.authorization/accessrequests/{name}", Action::Own("Bastide.Authorization/accessRequests/delete"), Operation::DeleteAccessRequest),
    route(Method::POST, "{scope}/providers/bastide.authorization/accessrequests/{name}/approve", Action::Own("Bastide.Authorization/accessRequests/approve/action"), Operation::ApproveAccessRequest),
    route(Method::POST, "{scope}/providers/bastide.authorization/accessrequests/{name}/deny", Action::Own("Bastide.Authorization/accessRequests/deny/action"), Operation::DenyAccessRequest),
    route(Method::GET, "/providers/microsoft.authorization/provideroperations", Action::SignedIn, Operation::ReadProviderOperations),
    route(Method::GET, "/providers/microsoft.authorization/provideroperations/{namespace}", Action::SignedIn, Operation::ReadProviderOperations),
    route(Method::GET, "{scope}/providers/microsoft.authorization/locks", Action::Fixed("Microsoft.Authorization/locks/read"), Operation::ListLocks),
    route(Method::GET, "{scope}/providers/microsoft.authorization/locks/{name}", Action::Fixed("Microsoft.Authorization/locks/read"), Operation::ReadLock),
    route(Method::PUT, "{scope}/providers/microsoft.authorization/locks/{name}", Action::Fixed("Microsoft.Authorization/locks/write"), Operation::PutLock),
    route(Method::DELETE, "{scope}/providers/microsoft.authorization/locks/{name}", Action::Fixed("Microsoft.Authorization/locks/delete"), Operation::DeleteLock),

    route(Method::GET, "/providers/microsoft.authorization/policydefinitions", Action::SignedIn, Operation::ListPolicyDefinitions),
    route(Method::GET, "/providers/microsoft.authorization/policydefinitions/{name}", Action::SignedIn, Operation::ReadPolicyDefinition),
    route(Method::GET, "/providers/microsoft.authorization/policydefinitions/{name}/versions", Action::SignedIn, Operation::ListPolicyVersions),
    route(Method::GET, "/providers/microsoft.authorization/policydefinitions/{name}/versions/{version}", Action::SignedIn, Operation::ReadPolicyVersion),
    route(Method::GET, "/providers/microsoft.management/managementgroups/{management}/providers/microsoft.authorization/policydefinitions", Action::SignedIn, Operation::ListPolicyDefinitions),
    route(Method::GET, "/providers/microsoft.management/managementgroups/{management}/providers/microsoft.authorization/policydefinitions/{name}", Action::SignedIn, Operation::ReadPolicyDefinition),
    route(Method::GET, "/providers/microsoft.management/managementgroups/{management}/providers/microsoft.authorization/policydefinitions/{name}/versions", Action::SignedIn, Operation::ListPolicyVersions),
    route(Method::GET, "/providers/microsoft.management/managementgroups/{management}/providers/microsoft.authorization/policydefinitions/{name}/versions/{version}", Action::SignedIn, Operation::ReadPolicyVersion),
    route(Method::GET, "/subscriptions/{subscription}/providers/microsoft.authorization/policydefinitions", Action::Fixed("Microsoft.Authorization/policyDefinitions/read"), Operation::ListPolicyDefinitions),
    route(Method::GET, "/subscriptions/{subscription}/providers/microsoft.authorization/policydefinitions/{name}", Action::Fixed("Microsoft.Authorization/policyDefinitions/read"), Operation::ReadPolicyDefinition),
    route(Method::PUT, "/subscriptions/{subscription}/providers/microsoft.authorization/policydefinitions/{name}", Action::Fixed("Microsoft.Authorization/policyDefinitions/write"), Operation::PutPolicyDefinition),
    route(Method::DELETE, "/subscriptions/{subscription}/providers/microsoft.authorization/policydefinitions/{name}", Action::Fixed("Microsoft.Authorization/policyDefinitions/delete"), Operation::DeletePolicyDefinition),
    route(Method::GET, "/subscriptions/{subscription}/providers/microsoft.authorization/policydefinitions/{name}/versions", Action::Fixed("Microsoft.Authorization/policyDefinitions/read"), Operation::ListPolicyVersions),
    route(Method::GET, "/subscriptions/{subscription}/providers/microsoft.authorization/policydefinitions/{name}/versions/{version}", Action::Fixed("Microsoft.Authorization/policyDefinitions/read"), Operation::ReadPolicyVersion),
    route(Method::GET, "/providers/microsoft.authorization/policysetdefinitions", Action::SignedIn, Operation::ListPolicySetDefinitions),
    route(Method::GET, "/providers/microsoft.authorization/policysetdefinitions/{name}", Action::SignedIn, Operation::ReadPolicySetDefinition),
    route(Method::GET, "/providers/microsoft.authorization/policysetdefinitions/{name}/versions", Action::SignedIn, Operation::ListPolicySetVersions),
    route(Method::GET, "/providers/microsoft.authorization/policysetdefinitions/{name}/versions/{version}", Action::SignedIn, Operation::ReadPolicySetVersion),
    route(Method::GET, "/providers/microsoft.management/managementgroups/{management}/providers/microsoft.authorization/policysetdefinitions", Action::SignedIn, Operation::ListPolicySetDefinitions),
    route(Method::GET, "/providers/microsoft.management/managementgroups/{management}/providers/microsoft.authorization/policysetdefinitions/{name}", Action::SignedIn, Operation::ReadPolicySetDefinition),
    route(Method::GET, "/providers/microsoft.management/managementgroups/{management}/providers/microsoft.authorization/policysetdefinitions/{name}/versions", Action::SignedIn, Operation::ListPolicySetVersions),
    route(Method::GET, "/providers/microsoft.management/managementgroups/{management}/providers/microsoft.authorization/policysetdefinitions/{name}/versions/{version}", Action::SignedIn, Operation::ReadPolicySetVersion),
    route(Method::GET, "/subscriptions/{subscription}/providers/microsoft.authorization/policysetdefinitions", Action::Fixed("Microsoft.Authorization/policySetDefinitions/read"), Operation::ListPolicySetDefinitions),
    route(Method::GET, "/subscriptions/{subscription}/providers/microsoft.authorization/policysetdefinitions/{name}", Action::Fixed("Microsoft.Authorization/policySetDefinitions/read"), Operation::ReadPolicySetDefinition),
    route(Method::PUT, "/subscriptions/{subscription}/providers/microsoft.authorization/policysetdefinitions/{name}", Action::Fixed("Microsoft.Authorization/policySetDefinitions/write"), Operation::PutPolicySetDefinition),
    route(Method::DELETE, "/subscriptions/{subscription}/providers/microsoft.authorization/policysetdefinitions/{name}", Action::Fixed("Microsoft.Authorization/policySetDefinitions/delete"), Operation::DeletePolicySetDefinition),
    route(Method::GET, "/subscriptions/{subscription}/providers/microsoft.authorization/policysetdefinitions/{name}/versions", Action::Fixed("Microsoft.Authorization/policySetDefinitions/read"), Operation::ListPolicySetVersions),
    route(Method::GET, "/subscriptions/{subscription}/providers/microsoft.authorization/policysetdefinitions/{name}/versions/{version}", Action::Fixed("Microsoft.Authorization/policySetDefinitions/read"), Operation::ReadPolicySetVersion),
    route(Method::GET, "{scope}/providers/microsoft.authorization/policyassignments", Action::Fixed("Microsoft.Authorization/policyAssignments/read"), Operation::ListPolicyAssignments),
    route(Method::GET, "{scope}/providers/microsoft.authorization/policyassignments/{name}", Action::Fixed("Microsoft.Authorization/policyAssignments/read"), Operation::ReadPolicyAssignment),
    route(Method::PUT, "{scope}/providers/microsoft.authorization/policyassignments/{name}", Action::Fixed("Microsoft.Authorization/policyAssignments/write"), Operation::PutPolicyAssignment),
    route(Method::PATCH, "{scope}/providers/microsoft.authorization/policyassignments/{name}", Action::Fixed("Microsoft.Authorization/policyAssignments/write"), Operation::PutPolicyAssignment),
    route(Method::DELETE, "{scope}/providers/microsoft.authorization/policyassignments/{name}", Action::Fixed("Microsoft.Authorization/policyAssignments/delete"), Operation::DeletePolicyAssignment),
    route(Method::GET, "{scope}/providers/microsoft.authorization/policyexemptions", Action::Fixed("Microsoft.Authorization/policyExemptions/read"), Operation::ListPolicyExemptions),
    route(Method::GET, "{scope}/providers/microsoft.authorization/policyexemptions/{name}", Action::Fixed("Microsoft.Authorization/policyExemptions/read"), Operation::ReadPolicyExemption),
    route(Method::PUT, "{scope}/providers/microsoft.authorization/policyexemptions/{name}", Action::Fixed("Microsoft.Authorization/policyExemptions/write"), Operation::PutPolicyExemption),
    route(Method::PATCH, "{scope}/providers/microsoft.authorization/policyexemptions/{name}", Action::Fixed("Microsoft.Authorization/policyExemptions/write"), Operation::PutPolicyExemption),
    route(Method::DELETE, "{scope}/providers/microsoft.authorization/policyexemptions/{name}", Action::Fixed("Microsoft.Authorization/policyExemptions/delete"), Operation::DeletePolicyExemption),
    route(Method::POST, "{scope}/providers/microsoft.policyinsights/policystates/latest/queryresults", Action::Fixed("Microsoft.PolicyInsights/policyStates/queryResults/action"), Operation::QueryPolicyStates),
    route(Method::POST, "{scope}/providers/microsoft.policyinsights/policystates/default/queryresults", Action::Fixed("Microsoft.PolicyInsights/policyStates/queryResults/action"), Operation::QueryPolicyStates),
    route(Method::POST, "{scope}/providers/microsoft.policyinsights/policystates/latest/summarize", Action::Fixed("Microsoft.PolicyInsights/policyStates/summarize/action"), Operation::SummarizePolicyStates),
    route(Method::POST, "{scope}/providers/microsoft.policyinsights/policystates/latest/triggerevaluation", Action::Fixed("Microsoft.PolicyInsights/policyStates/triggerEvaluation/action"), Operation::TriggerPolicyEvaluation),

    route(Method::GET, "/providers/microsoft.insights/eventtypes/management/values", Action::Fixed("Microsoft.Insights/eventtypes/values/read"), Operation::ListEvents),
    route(Method::GET, "/subscriptions/{subscription}/providers/microsoft.insights/eventtypes/management/values", Action::Fixed("Microsoft.Insights/eventtypes/values/read"), Operation::ListEvents),

    route(Method::GET, "/subscriptions/{subscription}/providers/microsoft.machinelearningservices/locations/{location}/usages", Action::Fixed("Microsoft.MachineLearningServices/locations/usages/read"), Operation::ListUsages),
    route(Method::GET, "/subscriptions/{subscription}/providers/microsoft.machinelearningservices/locations/{location}/quotas", Action::Fixed("Microsoft.MachineLearningServices/locations/quotas/read"), Operation::ListQuotas),
    route(Method::POST, "/subscriptions/{subscription}/providers/microsoft.machinelearningservices/locations/{location}/updatequotas", Action::Fixed("Microsoft.MachineLearningServices/locations/updateQuotas/action"), Operation::UpdateQuotas),
    route(Method::GET, "/subscriptions/{subscription}/providers/microsoft.machinelearningservices/locations/{location}/vmsizes", Action::Fixed("Microsoft.MachineLearningServices/locations/vmSizes/read"), Operation::ListVmSizes),
    route(Method::POST, "/subscriptions/{subscription}/resourcegroups/{group}/providers/microsoft.machinelearningservices/deletedworkspaces/{name}/restore", Action::Fixed("Microsoft.MachineLearningServices/deletedWorkspaces/restore/action"), Operation::RestoreResource),
    route(Method::POST, "/subscriptions/{subscription}/providers/microsoft.keyvault/deletedvaults/{name}/restore", Action::Fixed("Microsoft.KeyVault/deletedVaults/restore/action"), Operation::RestoreResource),
    route(Method::POST, "/subscriptions/{subscription}/providers/microsoft.cognitiveservices/deletedaccounts/{name}/restore", Action::Fixed("Microsoft.CognitiveServices/deletedAccounts/restore/action"), Operation::RestoreResource),
    route(Method::GET, "/subscriptions/{subscription}/providers/microsoft.keyvault/deletedvaults", Action::Fixed("Microsoft.KeyVault/deletedVaults/read"), Operation::ListDeleted),
    route(Method::GET, "/subscriptions/{subscription}/providers/microsoft.keyvault/locations/{location}/deletedvaults/{name}", Action::Fixed("Microsoft.KeyVault/locations/deletedVaults/read"), Operation::ReadDeleted),
    route(Method::POST, "/subscriptions/{subscription}/providers/microsoft.keyvault/locations/{location}/deletedvaults/{name}/purge", Action::Fixed("Microsoft.KeyVault/locations/deletedVaults/purge/action"), Operation::PurgeDeleted),
    route(Method::GET, "/subscriptions/{subscription}/providers/microsoft.cognitiveservices/deletedaccounts", Action::Fixed("Microsoft.CognitiveServices/deletedAccounts/read"), Operation::ListDeleted),
    route(Method::GET, "/subscriptions/{subscription}/providers/microsoft.cognitiveservices/locations/{location}/resourcegroups/{group}/deletedaccounts/{name}", Action::Fixed("Microsoft.CognitiveServices/locations/resourceGroups/deletedAccounts/read"), Operation::ReadDeleted),
    route(Method::DELETE, "/subscriptions/{subscription}/providers/microsoft.cognitiveservices/locations/{location}/resourcegroups/{group}/deletedaccounts/{name}", Action::Fixed("Microsoft.CognitiveServices/locations/resourceGroups/deletedAccounts/delete"), Operation::PurgeDeleted),

    route(Method::GET, RESOURCE, Action::Read, Operation::ReadResource),
    route(Method::HEAD, RESOURCE, Action::Read, Operation::CheckResource),
    route(Method::PUT, RESOURCE, Action::Write, Operation::PutResource),
    route(Method::PATCH, RESOURCE, Action::Write, Operation::PatchResource),
    route(Method::DELETE, RESOURCE, Action::Delete, Operation::DeleteResource),
    route(Method::GET, COLLECTION, Action::Read, Operation::ListCollection),
    route(Method::POST, INVOCATION, Action::Invoke, Operation::InvokeAction),
    route(Method::POST, INVOCATION_ABOUT, Action::Invoke, Operation::InvokeAction),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    fn matched(method: Method, path: &str) -> Result<Matched, ArmError> {
        find(&method, &PathSegments::parse(path)?)
    }

    #[test]
    fn every_route_says_which_action_it_takes() {
        for route in ROUTES {
            match route.action {
                Action::Fixed(action) | Action::Delegated(action) | Action::Own(action) => {
                    let words: Vec<&str> = action.split('/').collect();
                    assert!(words.len() >= 3 && words.iter().all(|word| !word.is_empty()), "{}: {action}", route.path);
                    assert!(!action.contains('*'), "{}: {action}", route.path);
                }
                Action::Read | Action::Write | Action::Delete | Action::Invoke => {
                    assert!(
                        matches!(route.path, RESOURCE | COLLECTION | INVOCATION | INVOCATION_ABOUT),
                        "{}",
                        route.path
                    );
                }
                // A question about the caller that is too long for a URL.
                Action::SignedIn if route.operation == Operation::CheckAccess => {}
                // Only what filters by itself may go without.
                Action::SignedIn | Action::ReadOfOperation => assert_eq!(route.method, Method::GET, "{}", route.path),
            }
        }
    }

    #[test]
    fn writing_routes_take_writing_actions() {
        for route in ROUTES {
            let (Action::Fixed(action) | Action::Delegated(action) | Action::Own(action)) = route.action else {
                continue;
            };
            let verb = action.rsplit('/').next().unwrap();
            let expected = match route.method.as_str() {
                "GET" if action == APPLICATION_ACCESS => "action",
                "GET" | "HEAD" => "read",
                "PUT" | "PATCH" => "write",
                "DELETE" => "delete",
                // A question with a body: what has happened, under other rules.
                "POST" if route.operation == Operation::ReplayFlows => "read",
                _ => "action",
            };
            assert_eq!(verb, expected, "{} {}", route.method, route.path);
        }
    }

    #[test]
    fn every_type_can_be_asked_for_each_verb() {
        let group = "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590/resourceGroups/rg";
        for descriptor in Registry::new(false).all().filter(|descriptor| !descriptor.is_child()) {
            if descriptor.namespace == "Microsoft.Resources" {
                continue;
            }
            let name = descriptor.type_name();
            let id = format!("{group}/providers/{name}/one");
            for (method, verb) in
                [(Method::GET, "read"), (Method::PUT, "write"), (Method::PATCH, "write"), (Method::DELETE, "delete")]
            {
                let found = matched(method, &id.to_uppercase()).unwrap();
                assert_eq!(found.required_action(Some(&name)), Some(format!("{name}/{verb}")));
            }
            let list = matched(Method::GET, &format!("{group}/providers/{name}")).unwrap();
            assert_eq!(list.required_action(Some(&name)), Some(format!("{name}/read")));
            for action in descriptor.actions {
                let found = matched(Method::POST, &format!("{id}/{}", action.name)).unwrap();
                assert_eq!(found.required_action(Some(&name)), Some(format!("{name}/{}/action", action.name)));
            }
        }
    }

    #[test]
    fn a_path_of_its_own_hides_the_generic_forms() {
        let tags = "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590/providers/Microsoft.Resources/tags/default";
        assert_eq!(matched(Method::GET, tags).unwrap().route.operation, Operation::ReadTags);
        assert_eq!(matched(Method::POST, tags).unwrap_err().status, 405);
        assert!(matched(Method::GET, tags).unwrap().target.is_subscription());
    }

    #[test]
    fn an_extension_with_a_name_is_the_target_and_one_without_leaves_its_scope() {
        let hub =
            "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590/resourceGroups/rg/providers/Microsoft.X/hubs/one";
        let name = "1d9e6c2a-0000-4000-8000-000000000001";
        let item = format!("{hub}/providers/microsoft.authorization/ROLEASSIGNMENTS/{name}");
        let found = matched(Method::PUT, &item).unwrap();
        assert_eq!(found.route.action, Action::Delegated("Microsoft.Authorization/roleAssignments/write"));
        assert_eq!(found.target.key(), item.to_lowercase());
        assert_eq!(found.values, [name]);
        let list = matched(Method::GET, &format!("{hub}/providers/Microsoft.Authorization/roleAssignments")).unwrap();
        assert_eq!(list.target.to_string(), hub);
        let tenant = matched(Method::GET, "/providers/Microsoft.Authorization/roleAssignments").unwrap();
        assert!(tenant.target.is_tenant());
    }

    #[test]
    fn a_known_path_with_a_wrong_method_is_405_and_names_the_right_ones() {
        let error = matched(Method::POST, "/subscriptions").unwrap_err();
        assert_eq!(error.status, 405);
        assert!(error.message.contains("GET"), "{}", error.message);
        assert_eq!(matched(Method::GET, "/nowhere").unwrap_err().status, 404);
    }
}
