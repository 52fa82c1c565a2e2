//! The front door. [`Front::answer`] is the whole way of a request, in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use bastide_arm::api_version::ApiVersion;
use bastide_arm::clock::Clock;
use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::path::PathSegments;
use bastide_arm::resource_type::{Effect, Parity, Principal, Secret};
use bastide_hub::plan::Site;
use bastide_hub::quota::Capacity;
use bastide_identity::{AuthenticationError, Directory, Identity, NewFederatedCredential, Principal as Caller};
use bastide_store::{Change, SealedSecret};
use bastide_vault::Sealer;
use http::{HeaderMap, HeaderName, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::activity_log::Refusals;
use crate::authorization::identity_administers_no_more;
use crate::bearer::bearer;
use crate::body::{self, BodyError, Bounds};
use crate::compute::Ways;
use crate::compute::activity::Activity;
use crate::context::Context;
use crate::deployment::{Mirror, Nested};
use crate::failure::Failure;
use crate::ledger::Ledger;
use crate::lock::Intent;
use crate::metrics::Metrics;
use crate::network::{Lookout, Networks};
use crate::operations::Queue;
use crate::origin::Origins;
use crate::pass::{ASSIGN, Gatekeeper, Identified, Pass};
use crate::policy::Book;
use crate::registry::{Registered, Registry};
use crate::reply::Reply;
use crate::request::{Request, read_body};
use crate::routes::{self, Action, Matched, Operation};
use crate::throttle::{Class, Throttle};

/// What the front door needs; shared by all requests.
pub struct Front {
    pub(crate) registry: Registry,
    pub(crate) ledger: Ledger,
    pub(crate) networks: Networks,
    /// Where hubs stand.
    pub(crate) site: Site,
    pub(crate) lookout: Lookout,
    /// Private ranges that count as internet.
    pub(crate) internet: Vec<Ipv4Net>,
    pub(crate) activity: Activity,
    /// Whoever takes of quotas does it one after the other; two servers are kept apart by what their writes expect.
    pub(crate) quota_turn: tokio::sync::Mutex<()>,
    pub(crate) gatekeeper: Arc<Gatekeeper>,
    pub(crate) policies: Arc<Book>,
    pub(crate) identity: Identity,
    /// What a token must be for to be good here. One that was given for another service is not.
    pub(crate) audiences: Vec<String>,
    pub(crate) sealer: Sealer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) origins: Arc<Origins>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) throttle: Throttle,
    pub(crate) refusals: Refusals,
    pub(crate) queue: Queue,
    pub(crate) tenant_id: Uuid,
    pub(crate) parity: Parity,
    /// What the host has to give to computes.
    pub(crate) capacity: Capacity,
    pub(crate) mirror: Mirror,
    pub(crate) ways: Ways,
}

/// What a request proves itself with, to be asked again when access has changed.
#[derive(Clone, Copy)]
pub(crate) enum Credential<'a> {
    /// The bearer token of a request.
    Token(&'a str),
    /// A step done for a principal whose own request was accepted before.
    Lent {
        /// The principal.
        object_id: Uuid,
        /// Since when the step has had its standing.
        since: Timestamp,
    },
}

/// A body on its way in.
enum Incoming {
    /// Still to be read.
    Wire(Body),
    /// A step's own.
    Read(Option<Value>),
    /// A step's own, for which nothing is to be written.
    Rehearsed(Value),
    /// A deployment that is a step of another one, planned already.
    Planned(Arc<Nested>),
}

/// Answers any request that is not for an unauthenticated neighbour.
///
/// A request runs to its end in a task of its own: what follows a commit must happen even when the client has hung up.
pub async fn serve(State(front): State<Arc<Front>>, request: axum::extract::Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let context = Context::read(&parts.method, &parts.uri, &parts.headers, &front.origins, front.clock.now());
    let context = context.with_peer(peer);
    let request_id = context.request_id.to_string();
    match tokio::spawn(answered(front, context, parts.headers, body, upgrade)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(request_id, %error, "a request did not end");
            Reply::error(&ArmError::internal(&request_id)).into_response()
        }
    }
}

async fn answered(
    front: Arc<Front>,
    context: Context,
    headers: HeaderMap,
    body: Body,
    upgrade: Option<OnUpgrade>,
) -> Response {
    let timer = front.metrics.start();
    let (principal, answered) = front.answer(&context, &headers, body).await;
    let reply = match answered {
        Ok(reply) => reply,
        Err(failure) => reply_to_failure(&context, failure),
    };
    front.metrics.finish(&timer, &context.method, reply.status());
    tracing::info!(
        request_id = %context.request_id,
        correlation_id = %context.correlation_id,
        client_request_id = context.client_request_id.as_ref().and_then(|id| id.to_str().ok()),
        method = %context.method,
        path = context.uri.path(),
        status = reply.status().as_u16(),
        principal = principal.as_ref().map(|principal| tracing::field::display(principal.object_id)),
        "request"
    );
    let (session, stream) = (reply.session(), reply.stream());
    let mut response = front.with_allowance(&context, principal.as_ref(), reply).into_response();
    context.stamp(response.headers_mut());
    if let Some(stream) = stream {
        *response.body_mut() = stream.open(Arc::clone(&front));
    }
    if let (Some(session), Some(upgrade)) = (session, upgrade) {
        tokio::spawn(session.run(front, upgrade));
    }
    response
}

impl Front {
    /// The whole way of a request: authenticate, parse, authorise, read the body, operate. The principal is returned
    /// beside the answer, for the log.
    pub async fn answer(
        &self,
        context: &Context,
        headers: &HeaderMap,
        body: Body,
    ) -> (Option<Caller>, Result<Reply, Failure>) {
        let Some(bearer) = bearer(headers).map(Credential::Token) else {
            return (None, Err(ArmError::authentication_failed().into()));
        };
        match self.identify(&bearer).await {
            Ok(caller) => {
                let principal = caller.principal.clone();
                let answered = self.answer_to(caller, bearer, context, headers, body).await;
                (Some(principal), answered)
            }
            Err(failure) => (None, Err(failure)),
        }
    }

    async fn answer_to(
        &self,
        caller: Identified,
        credential: Credential<'_>,
        context: &Context,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Reply, Failure> {
        self.throttled(&caller.principal, context)?;
        self.way_of(caller, credential, context, headers, Incoming::Wire(body)).await
    }

    /// The way of a step, done for a principal that is looked up again for each.
    async fn step(&self, principal: &Caller, context: &Context, body: Incoming) -> Result<Reply, Failure> {
        let credential = Credential::Lent { object_id: principal.object_id, since: context.now };
        let caller = self.identify(&credential).await?;
        self.way_of(caller, credential, context, &HeaderMap::new(), body).await
    }

    /// A step of something larger, such as one resource of a deployment: the same way as a request from outside, with
    /// the rights of the principal it is done for. There is no other entrance.
    pub(crate) async fn ask(
        &self,
        principal: &Caller,
        context: &Context,
        body: Option<Value>,
    ) -> Result<Reply, Failure> {
        self.step(principal, context, Incoming::Read(body)).await
    }

    /// As [`Front::ask`] for a PUT, but nothing is written: the answer shows what would stand there.
    pub(crate) async fn rehearse(&self, principal: &Caller, context: &Context, body: Value) -> Result<Reply, Failure> {
        self.step(principal, context, Incoming::Rehearsed(body)).await
    }

    /// As [`Front::ask`] for the PUT of a deployment inside another one.
    pub(crate) async fn ask_nested(
        &self,
        principal: &Caller,
        context: &Context,
        nested: Arc<Nested>,
    ) -> Result<Reply, Failure> {
        self.step(principal, context, Incoming::Planned(nested)).await
    }

    async fn way_of(
        &self,
        mut caller: Identified,
        credential: Credential<'_>,
        context: &Context,
        headers: &HeaderMap,
        body: Incoming,
    ) -> Result<Reply, Failure> {
        let path = PathSegments::parse(context.uri.path())?;
        let mut matched = routes::find(&context.method, &path)?;
        let query = context.query();
        let api_version = ApiVersion::from_query(query.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
        self.settle_scope(&matched).await?;
        let registered = self.settle_type(&mut matched, &api_version)?;
        let action = matched.required_action(registered.as_ref().map(|registered| registered.name.as_str()));
        let mut pass = self.admit(context, &caller, action.as_deref(), &matched).await?;
        let is_rehearsal = matches!(body, Incoming::Rehearsed(_));
        if is_rehearsal && matched.route.operation != Operation::PutResource {
            let message = "What this request would change cannot be told before it is sent.";
            return Err(ArmError::new(400, "NotForeseeable", message).into());
        }
        if matches!(body, Incoming::Wire(_)) {
            let door = self.check_secrets_door(context, &pass, &matched, registered.as_ref()).await;
            self.noted(context, &caller.principal, action.as_deref(), &matched.target, door).await?;
        }
        // Who sends a body may take half a minute over it.
        let has_waited = matches!(&body, Incoming::Wire(body) if !body.is_end_stream());
        let (body, nested) = match body {
            Incoming::Wire(body) => (read(headers, body, matched.route.operation).await?, None),
            Incoming::Read(body) => (body, None),
            Incoming::Rehearsed(body) => (Some(body), None),
            Incoming::Planned(nested) => (None, Some(nested)),
        };
        let request = Request {
            context,
            matched: &matched,
            registered: registered.as_ref(),
            api_version: &api_version,
            headers,
            body: body.as_ref(),
            tenant_id: self.tenant_id,
            parity: self.parity,
            nested: nested.as_deref(),
            is_rehearsal,
        };
        // An operation reads, decides and commits what it decided only if nothing it read has changed. When something
        // has, it is run again from the very beginning: who asks may have lost the right meanwhile, as while a slow body
        // came in.
        for attempt in 0..MAX_ATTEMPTS {
            if (has_waited || attempt > 0) && self.gatekeeper.epoch().await? != pass.epoch() {
                caller = self.identify(&credential).await?;
                pass = self.admit(context, &caller, action.as_deref(), &matched).await?;
            }
            match self.operate(&request, &pass).await {
                Err(Failure::Raced) => {}
                answered => {
                    let target = &matched.target;
                    return self.noted(context, &caller.principal, action.as_deref(), target, answered).await;
                }
            }
        }
        Err(ArmError::another_operation_in_progress(&matched.target).into())
    }

    /// What each route leads to.
    #[expect(clippy::too_many_lines, reason = "a line for each operation, and nothing else")]
    async fn operate(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        match request.matched.route.operation {
            Operation::ListTenants => Ok(self.list_tenants()),
            Operation::ListSubscriptions => self.list_subscriptions(request, pass).await,
            Operation::ReadSubscription => self.read_subscription(request, pass).await,
            Operation::CreateSubscription => self.create_subscription(request, pass).await,
            Operation::ReadSubscriptionAlias => self.read_subscription_alias(request, pass).await,
            Operation::ListLocations => Ok(self.list_locations(request)),
            Operation::ListTenantProviders => self.list_tenant_providers(request, pass).await,
            Operation::ListProviders => self.list_providers(request, pass).await,
            Operation::ReadProvider => self.read_provider(request, pass).await,
            Operation::RegisterProvider => self.set_registration(request, pass, true).await,
            Operation::UnregisterProvider => self.set_registration(request, pass, false).await,
            Operation::ListProviderOperations => self.list_provider_operations(request),
            Operation::CheckNameAvailability => self.check_name_availability(request).await,
            Operation::ListResourceGroups => self.list_resource_groups(request, pass).await,
            Operation::DeleteResourceGroup => self.delete_resource_group(request, pass).await,
            Operation::ListResources => self.list_resources(request, pass).await,
            Operation::ExportResourceGroup => self.export_group(request, pass).await,
            Operation::ListTagNames => self.list_tag_names(request, pass).await,
            Operation::PutTagName => self.put_tag_name(request, pass).await,
            Operation::DeleteTagName => self.delete_tag_name(request, pass).await,
            Operation::PutTagValue => self.put_tag_value(request, pass).await,
            Operation::DeleteTagValue => self.delete_tag_value(request, pass).await,
            Operation::ReadTags => self.read_tags(request, pass).await,
            Operation::ReplaceTags | Operation::PatchTags | Operation::DeleteTags => {
                self.change_tags(request, pass).await
            }
            Operation::ReadOperationStatus => self.read_operation_status(request, pass).await,
            Operation::ReadOperationResult => self.read_operation_result(request, pass).await,
            Operation::ListDeployments => self.list_deployments(request, pass).await,
            Operation::ReadDeployment => self.read_deployment(request, pass).await,
            Operation::CheckDeployment => self.check_deployment(request, pass).await,
            Operation::PutDeployment => self.put_deployment(request, pass).await,
            Operation::DeleteDeployment => self.delete_deployment(request, pass).await,
            Operation::CancelDeployment => self.cancel_deployment(request, pass).await,
            Operation::ValidateDeployment => self.validate_deployment(request, pass).await,
            Operation::ForetellDeployment => self.foretell_deployment(request, pass).await,
            Operation::ExportDeployment => self.export_deployment(request, pass).await,
            Operation::ReadDeploymentStatus => self.read_deployment_status(request, pass).await,
            Operation::ListDeploymentOperations => self.list_deployment_operations(request, pass).await,
            Operation::ReadDeploymentOperation => self.read_deployment_operation(request, pass).await,
            Operation::ListRoleDefinitions => self.list_role_definitions(request, pass).await,
            Operation::ReadRoleDefinition => self.read_role_definition(request, pass).await,
            Operation::PutRoleDefinition => self.put_role_definition(request, pass).await,
            Operation::DeleteRoleDefinition => self.delete_role_definition(request, pass).await,
            Operation::ListRoleAssignments => self.list_role_assignments(request, pass).await,
            Operation::ReadRoleAssignment => self.read_role_assignment(request, pass).await,
            Operation::PutRoleAssignment => self.put_role_assignment(request, pass).await,
            Operation::DeleteRoleAssignment => self.delete_role_assignment(request, pass).await,
            Operation::ListDenyAssignments => self.list_deny_assignments(request, pass).await,
            Operation::ReadDenyAssignment => self.read_deny_assignment(request, pass).await,
            Operation::ListPermissions => self.list_permissions(request, pass).await,
            Operation::CheckAccess => self.check_access(request, pass).await,
            Operation::WhyAccess => self.why_access(request, pass).await,
            Operation::ExplainNetwork => self.explain_network(request, pass).await,
            Operation::ListFlows => self.list_flows(request, pass).await,
            Operation::CountFlows => self.count_flows(request, pass).await,
            Operation::ReplayFlows => self.replay_flows(request, pass).await,
            Operation::ReadScriptLog => self.read_script_log(request, pass).await,
            Operation::OpenExec => self.open_exec(request, pass).await,
            Operation::OpenTunnel => self.open_tunnel(request, pass).await,
            Operation::SuggestRules => self.suggest_rules(request, pass).await,
            Operation::AskForRule => self.ask_for_rule(request, pass).await,
            Operation::ListRuleRequests => self.list_rule_requests(request, pass).await,
            Operation::ApproveRuleRequest => self.decide_rule_request(request, pass, true).await,
            Operation::DenyRuleRequest => self.decide_rule_request(request, pass, false).await,
            Operation::ListRevisions => self.list_revisions(request, pass).await,
            Operation::DiffRules => self.diff_rules(request, pass).await,
            Operation::RollBack => self.roll_back(request, pass).await,
            Operation::ListPresets => self.list_presets(request, pass).await,
            Operation::ApplyPreset => self.apply_preset(request, pass).await,
            Operation::ReadIsolation => self.read_isolation(request, pass).await,
            Operation::LiftIsolation => self.lift_isolation(request, pass).await,
            Operation::RestoreIsolation => self.restore_isolation(request, pass).await,
            Operation::ReadCost => self.read_cost(request, pass).await,
            Operation::ListTagPacks => self.list_tag_packs(request, pass).await,
            Operation::ReadTagPack => self.read_tag_pack(request, pass).await,
            Operation::PutTagPack => self.put_tag_pack(request, pass).await,
            Operation::DeleteTagPack => self.delete_tag_pack(request, pass).await,
            Operation::ListUsers => self.list_users(request, pass).await,
            Operation::ListAccessRequests => self.list_access_requests(request, pass).await,
            Operation::ReadAccessRequest => self.read_access_request(request, pass).await,
            Operation::PutAccessRequest => self.put_access_request(request, pass).await,
            Operation::DeleteAccessRequest => self.delete_access_request(request, pass).await,
            Operation::ApproveAccessRequest => self.decide_access_request(request, pass, true).await,
            Operation::DenyAccessRequest => self.decide_access_request(request, pass, false).await,
            Operation::ReadProviderOperations => self.read_provider_operations(request),
            Operation::ListEvents => self.list_events(request, pass).await,
            Operation::ListPolicyDefinitions | Operation::ListPolicySetDefinitions => {
                self.list_policy_definitions(request, pass).await
            }
            Operation::ReadPolicyDefinition | Operation::ReadPolicySetDefinition => {
                self.read_policy_definition(request, pass).await
            }
            Operation::PutPolicyDefinition | Operation::PutPolicySetDefinition => {
                self.put_policy_definition(request, pass).await
            }
            Operation::DeletePolicyDefinition | Operation::DeletePolicySetDefinition => {
                self.delete_policy_definition(request, pass).await
            }
            Operation::ListPolicyVersions | Operation::ListPolicySetVersions => {
                self.list_policy_versions(request, pass).await
            }
            Operation::ReadPolicyVersion | Operation::ReadPolicySetVersion => {
                self.read_policy_version(request, pass).await
            }
            Operation::ListPolicyAssignments => self.list_policy_assignments(request, pass).await,
            Operation::ReadPolicyAssignment => self.read_policy_assignment(request, pass).await,
            Operation::PutPolicyAssignment => self.put_policy_assignment(request, pass).await,
            Operation::DeletePolicyAssignment => self.delete_policy_assignment(request, pass).await,
            Operation::ListPolicyExemptions => self.list_policy_exemptions(request, pass).await,
            Operation::ReadPolicyExemption => self.read_policy_exemption(request, pass).await,
            Operation::PutPolicyExemption => self.put_policy_exemption(request, pass).await,
            Operation::DeletePolicyExemption => self.delete_policy_exemption(request, pass).await,
            Operation::QueryPolicyStates => self.query_policy_states(request, pass).await,
            Operation::SummarizePolicyStates => self.summarize_policy_states(request, pass).await,
            Operation::TriggerPolicyEvaluation => Ok(self.trigger_policy_evaluation()),
            Operation::ListLocks => self.list_locks(request, pass).await,
            Operation::ReadLock => self.read_lock(request, pass).await,
            Operation::PutLock => self.put_lock(request, pass).await,
            Operation::DeleteLock => self.delete_lock(request, pass).await,
            Operation::ListUsages => self.list_usages(request, pass).await,
            Operation::ListQuotas => self.list_quotas(request, pass).await,
            Operation::UpdateQuotas => self.update_quotas(request, pass).await,
            Operation::ListVmSizes => self.list_vm_sizes(request),
            Operation::RestoreResource => self.restore_resource(request, pass).await,
            Operation::ListDeleted => self.list_deleted(request, pass).await,
            Operation::ReadDeleted => self.read_deleted(request, pass).await,
            Operation::PurgeDeleted => self.purge_deleted(request, pass).await,
            Operation::ReadResource => self.read_resource(request, pass).await,
            Operation::CheckResource => self.check_resource(request, pass).await,
            Operation::PutResource => self.put_resource(request, pass).await,
            Operation::PatchResource => self.patch_resource(request, pass).await,
            Operation::DeleteResource => self.delete_resource(request, pass).await,
            Operation::ListCollection => self.list_collection(request, pass).await,
            Operation::InvokeAction => self.invoke_action(request, pass).await,
        }
    }

    /// Who asks, as of now. The epoch is read first: what changes after it makes the pass outdated, not too new.
    pub(crate) async fn identify(&self, credential: &Credential<'_>) -> Result<Identified, Failure> {
        match credential {
            Credential::Token(bearer) => {
                let known =
                    self.identity.authenticate_for(bearer, &self.audiences).await.map_err(|error| match error {
                        AuthenticationError::Unavailable(cause) => Failure::Unavailable(cause.to_string()),
                        refused => ArmError::new(refused.status(), refused.code(), refused.to_string()).into(),
                    })?;
                Ok(Identified { principal: known.principal, epoch: known.epoch })
            }
            Credential::Lent { object_id, since } => {
                let epoch = self.gatekeeper.epoch().await?;
                let principal = self.identity.directory().standing_principal(*object_id, *since).await?;
                let refused = AuthenticationError::Revoked;
                let refused = || ArmError::new(refused.status(), refused.code(), refused.to_string());
                Ok(Identified { principal: principal.ok_or_else(refused)?, epoch })
            }
        }
    }

    /// Authorises, then asks the locks; a refusal is put on record.
    async fn admit(
        &self,
        context: &Context,
        caller: &Identified,
        action: Option<&str>,
        matched: &Matched,
    ) -> Result<Pass, Failure> {
        let admitted = self.authorise(caller, action, matched).await;
        self.noted(context, &caller.principal, action, &matched.target, admitted).await
    }

    async fn authorise(&self, caller: &Identified, action: Option<&str>, matched: &Matched) -> Result<Pass, Failure> {
        let (target, gatekeeper) = (&matched.target, &self.gatekeeper);
        let pass = match (action, matched.route.action) {
            (None, _) => return Ok(gatekeeper.admit_to_filtered_list(caller)),
            (Some(action), Action::Delegated(_)) => gatekeeper.admit_to_delegation(caller, action, target).await?,
            (Some(action), Action::Own(_)) => gatekeeper.admit_to_own(caller, action, target),
            (Some(action), _) if matched.route.operation.shows_what_is_below() => {
                gatekeeper.admit_to_list(caller, action, target).await?
            }
            (Some(action), _) => gatekeeper.authorise(caller, action, target).await?,
        };
        if matched.route.operation.takes_owner() {
            gatekeeper.authorise(caller, ASSIGN, target).await?;
        }
        gatekeeper.check_locks(&pass, Intent::of(matched.route), target).await?;
        Ok(pass)
    }

    /// The subscription a path names must be ours.
    async fn settle_scope(&self, matched: &Matched) -> Result<(), Failure> {
        match matched.target.subscription_id() {
            Some(subscription) if !self.ledger.has_subscription(subscription).await? => {
                Err(ArmError::subscription_not_found(subscription).into())
            }
            _ => Ok(()),
        }
    }

    /// The type a path names must exist; from here on the target has its canonical spelling.
    pub(crate) fn settle_type(
        &self,
        matched: &mut Matched,
        version: &ApiVersion,
    ) -> Result<Option<Registered>, Failure> {
        let type_name = match &matched.type_name {
            Some(type_name) if !type_name.is_empty() => type_name.clone(),
            _ if matched.target.is_resource_group() => crate::providers::resource_group::TYPE_NAME.to_owned(),
            _ => return Ok(None),
        };
        let registered = self.registry.find(&type_name, &version.to_string())?;
        let descriptor = registered.rules.descriptor();
        if matched.target.is_resource() && matched.target.type_name().eq_ignore_ascii_case(&registered.name) {
            matched.target = matched.target.with_spelling(descriptor.namespace, descriptor.types);
        }
        if let Some(asked) = &matched.action_name {
            let is_about = !matched.values.is_empty();
            let action = descriptor.action(asked);
            if is_about && !action.is_some_and(|action| registered.rules.takes_argument(action.name)) {
                return Err(ArmError::method_not_allowed("POST", &["GET", "HEAD", "PUT", "PATCH", "DELETE"]).into());
            }
            let action = action.ok_or_else(|| {
                let message = format!(
                    "Resources of type '{}' have no action '{asked}'. See the provider's list of operations.",
                    registered.name
                );
                ArmError::not_found(message)
            })?;
            matched.action_name = Some(action.name.to_owned());
        }
        Ok(Some(registered))
    }

    fn throttled(&self, principal: &Caller, context: &Context) -> Result<(), ArmError> {
        self.throttle
            .take(principal.object_id, Class::of(&context.method), context.now)
            .map(drop)
            .map_err(|throttled| ArmError::too_many_requests(throttled.retry_after))
    }

    /// `x-ms-ratelimit-remaining-*`, for those who were let in.
    fn with_allowance(&self, context: &Context, principal: Option<&Caller>, reply: Reply) -> Reply {
        let Some(principal) = principal else { return reply };
        let class = Class::of(&context.method);
        let left = self.throttle.left(principal.object_id, class, context.now);
        reply.header(HeaderName::from_static(class.header()), &left.to_string())
    }

    /// Turns what an admission or action wants done elsewhere into changes of the same commit.
    pub(crate) fn apply_effects(
        &self,
        incarnation: Uuid,
        id: &ResourceId,
        effects: Vec<Effect>,
        changes: &mut Vec<Change>,
    ) -> Result<(), Failure> {
        let directory = self.identity.directory();
        for effect in effects {
            match effect {
                Effect::CreatePrincipal { principal: Principal { principal_id, client_id }, name } => {
                    changes.extend(directory.managed_identity_changes(principal_id, client_id, &name, &id.to_string()));
                }
                Effect::RemovePrincipal(principal) => {
                    changes.extend(directory.managed_identity_deletion(principal.principal_id));
                    changes.extend(identity_administers_no_more(id, principal.principal_id));
                    // A write that was authorised as this identity must not commit after it is gone.
                    changes.push(Change::RaiseAccessEpoch);
                }
                Effect::IssueEndpointSecret { principal, secret } => {
                    let owner = principal.principal_id;
                    // Revealed to be fingerprinted; only the caller's answer carries it further.
                    let replacement = Directory::identity_endpoint_replacement(owner, vec![owner], secret.reveal());
                    changes.extend(replacement);
                }
                Effect::TrustTokens { principal_id, name, issuer, subject, audience } => {
                    changes.push(directory.issuer_trust(NewFederatedCredential {
                        service_principal: principal_id,
                        display_name: name,
                        issuer,
                        subject,
                        audience,
                    }));
                }
                Effect::DistrustTokens { principal_id, name } => {
                    changes.push(Directory::issuer_distrust(principal_id, &name));
                }
                Effect::ForgetSecrets => changes.push(Change::DeleteSecrets(incarnation)),
                Effect::PutSecret { field, secret } => {
                    let sealed = self.seal(incarnation, &field, &secret)?;
                    changes.push(Change::PutSecret(SealedSecret { incarnation, field, sealed }));
                }
            }
        }
        Ok(())
    }

    /// The secrets of a resource, opened.
    pub(crate) async fn secrets(&self, incarnation: Uuid) -> Result<BTreeMap<String, Secret>, Failure> {
        let mut secrets = BTreeMap::new();
        for sealed in self.ledger.store().secrets(incarnation).await? {
            let context = bastide_vault::SealContext { owner: incarnation, field: &sealed.field };
            let plain = self
                .sealer
                .open_sealed(&context, &sealed.sealed)
                .map_err(|error| Failure::internal(error.to_string()))?;
            let text = String::from_utf8(plain.to_vec()).map_err(|_| Failure::internal("a secret is not text"))?;
            secrets.insert(sealed.field, Secret::new(text));
        }
        Ok(secrets)
    }

    pub(crate) fn seal(&self, incarnation: Uuid, field: &str, secret: &Secret) -> Result<Vec<u8>, Failure> {
        let context = bastide_vault::SealContext { owner: incarnation, field };
        // Revealed to be sealed; the plain text goes no further.
        self.sealer.seal(&context, secret.reveal().as_bytes()).map_err(|error| Failure::internal(error.to_string()))
    }
}

/// The body of a request, bounded in size and time, as a value.
async fn read(headers: &HeaderMap, body: Body, operation: Operation) -> Result<Option<Value>, Failure> {
    let limit = operation.body_limit();
    let bounds = Bounds { limit, drain: DRAIN.max(2 * limit), time: body::TIME };
    let bytes = body::collect(body, &bounds).await.map_err(|error| match error {
        BodyError::TooLarge => ArmError::content_too_large(limit),
        BodyError::TooSlow => ArmError::request_timeout(),
        BodyError::Broken => ArmError::invalid_request_content("The body broke off before its end; send it again."),
    })?;
    Ok(read_body(headers, &bytes, operation.dialect(), limit)?)
}

/// What a failure is answered with.
pub(crate) fn reply_to_failure(context: &Context, failure: Failure) -> Reply {
    match failure {
        Failure::Refused(error) => {
            let reply = Reply::error(&error);
            if error.status != StatusCode::UNAUTHORIZED.as_u16() {
                return reply;
            }
            // Clients read the authority to log in at from here.
            let challenge = format!("Bearer authorization_uri=\"{}/common\", error=\"invalid_token\"", context.origin);
            reply.header(header::WWW_AUTHENTICATE, &challenge)
        }
        Failure::Raced | Failure::Internal(_) => {
            tracing::error!(request_id = %context.request_id, cause = %failure, "a request failed through our own fault");
            Reply::error(&ArmError::internal(&context.request_id.to_string()))
        }
        Failure::Unavailable(cause) => {
            tracing::error!(request_id = %context.request_id, %cause, "the store did not answer");
            let message = "The store cannot answer at the moment. Try again in a moment; if this was a write, read first whether it was made.";
            Reply::error(&ArmError::service_unavailable(message, 1))
        }
    }
}

/// Bytes of a body that are read and dropped at least, so that its sender hears that it is too large.
const DRAIN: usize = 32 * 1024 * 1024;

/// Attempts before a contended write gives up; each one lost means that another write was won.
const MAX_ATTEMPTS: usize = 32;
