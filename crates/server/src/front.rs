//! The front door. [`Front::answer`] is the whole way of a request, in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use bastide_arm::api_version::ApiVersion;
use bastide_arm::clock::Clock;
use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::path::PathSegments;
use bastide_arm::resource_type::{Effect, Parity, Principal, Secret};
use bastide_identity::{AuthenticationError, Directory, Identity, Principal as Caller};
use bastide_store::{Change, Expectation, SealedSecret};
use bastide_vault::Sealer;
use http::{HeaderMap, HeaderName, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use uuid::Uuid;

use crate::activity_log::Refusals;
use crate::context::Context;
use crate::failure::Failure;
use crate::ledger::Ledger;
use crate::lock::Intent;
use crate::metrics::Metrics;
use crate::operations::Queue;
use crate::origin::Origins;
use crate::pass::{Gatekeeper, Pass};
use crate::registry::{Registered, Registry};
use crate::reply::Reply;
use crate::request::{Request, read_body};
use crate::routes::{self, Action, Matched, Operation};
use crate::throttle::{Class, Throttle};

/// What the front door needs; shared by all requests.
pub struct Front {
    pub(crate) registry: Registry,
    pub(crate) ledger: Ledger,
    pub(crate) gatekeeper: Gatekeeper,
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
}

/// A body on its way in.
enum Incoming {
    /// Still to be read.
    Wire(Body),
    /// A step's own.
    Read(Option<Value>),
}

/// Answers any request that is not for an unauthenticated neighbour.
pub async fn serve(State(front): State<Arc<Front>>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let context = Context::read(&parts.method, &parts.uri, &parts.headers, &front.origins, front.clock.now());
    let context = context.from_peer(peer);
    let timer = front.metrics.start();
    let (principal, answered) = front.answer(&context, &parts.headers, body).await;
    let reply = match answered {
        Ok(reply) => reply,
        Err(failure) => reply_to_failure(&context, failure),
    };
    front.metrics.finish(timer, &context.method, reply.status());
    tracing::info!(
        request_id = %context.request_id,
        correlation_id = %context.correlation_id,
        method = %context.method,
        path = context.uri.path(),
        status = reply.status().as_u16(),
        principal = principal.as_ref().map(|principal| tracing::field::display(principal.object_id)),
        "request"
    );
    let mut response = front.with_allowance(&context, principal.as_ref(), reply).into_response();
    context.stamp(response.headers_mut());
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
        match self.authenticate(headers).await {
            Ok(principal) => {
                let answered = self.answer_to(&principal, context, headers, body).await;
                (Some(principal), answered)
            }
            Err(failure) => (None, Err(failure)),
        }
    }

    async fn answer_to(
        &self,
        principal: &Caller,
        context: &Context,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Reply, Failure> {
        self.throttled(principal, context)?;
        self.way_of(principal, context, headers, Incoming::Wire(body)).await
    }

    /// A step of something larger, such as one resource of a deployment: the same way as a request from outside, with
    /// the rights of the principal it is done for. There is no other entrance.
    pub(crate) async fn ask(
        &self,
        principal: &Caller,
        context: &Context,
        body: Option<Value>,
    ) -> Result<Reply, Failure> {
        self.way_of(principal, context, &HeaderMap::new(), Incoming::Read(body)).await
    }

    async fn way_of(
        &self,
        principal: &Caller,
        context: &Context,
        headers: &HeaderMap,
        body: Incoming,
    ) -> Result<Reply, Failure> {
        let path = PathSegments::parse(context.uri.path())?;
        let mut matched = routes::find(&context.method, &path)?;
        let query = context.query();
        let api_version = ApiVersion::from_query(query.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
        self.settle_scope(&mut matched).await?;
        let registered = self.settle_type(&mut matched, &api_version)?;
        let action = matched.required_action(registered.as_ref().map(|registered| registered.name.as_str()));
        let mut pass = self.admit(context, principal, action.as_deref(), &matched).await?;
        let body = match body {
            Incoming::Wire(body) => collect(headers, body).await?,
            Incoming::Read(body) => body,
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
        };
        // An operation reads, decides and commits what it decided only if nothing it read has changed. When something
        // has, it is run again from the authorisation on.
        for _ in 0..MAX_ATTEMPTS {
            match self.operate(&request, &pass).await {
                Err(Failure::Raced) => pass = self.admit(context, principal, action.as_deref(), &matched).await?,
                answered => {
                    return self.noted(context, principal, action.as_deref(), &matched.target, answered).await;
                }
            }
        }
        Err(ArmError::another_operation_in_progress(&matched.target).into())
    }

    /// What each route leads to.
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
            Operation::ListResourceGroups => self.list_resource_groups(request, pass).await,
            Operation::DeleteResourceGroup => self.delete_resource_group(request, pass).await,
            Operation::ListResources => self.list_resources(request, pass).await,
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
            Operation::ReadProviderOperations => self.read_provider_operations(request),
            Operation::ListEvents => self.list_events(request, pass).await,
            Operation::ListLocks => self.list_locks(request, pass).await,
            Operation::ReadLock => self.read_lock(request, pass).await,
            Operation::PutLock => self.put_lock(request, pass).await,
            Operation::DeleteLock => self.delete_lock(request, pass).await,
            Operation::ReadResource => self.read_resource(request, pass).await,
            Operation::CheckResource => self.check_resource(request, pass).await,
            Operation::PutResource => self.put_resource(request, pass).await,
            Operation::PatchResource => self.patch_resource(request, pass).await,
            Operation::DeleteResource => self.delete_resource(request, pass).await,
            Operation::ListCollection => self.list_collection(request, pass).await,
            Operation::InvokeAction => self.invoke_action(request, pass).await,
        }
    }

    async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Failure> {
        let bearer = bearer(headers)?;
        self.identity.authenticate_for(bearer, &self.audiences).await.map_err(|error| match error {
            AuthenticationError::Unavailable(cause) => Failure::Unavailable(cause.to_string()),
            refused => ArmError::new(refused.status(), refused.code(), refused.to_string()).into(),
        })
    }

    /// Authorises, then asks the locks; a refusal is put on record.
    async fn admit(
        &self,
        context: &Context,
        principal: &Caller,
        action: Option<&str>,
        matched: &Matched,
    ) -> Result<Pass, Failure> {
        let admitted = self.authorise(principal, action, matched).await;
        self.noted(context, principal, action, &matched.target, admitted).await
    }

    async fn authorise(&self, principal: &Caller, action: Option<&str>, matched: &Matched) -> Result<Pass, Failure> {
        let (target, gatekeeper) = (&matched.target, &self.gatekeeper);
        let pass = match (action, matched.route.action) {
            (None, _) => return Ok(gatekeeper.admit_to_filtered_list(principal)),
            (Some(action), Action::Delegated(_)) => gatekeeper.admit_to_delegation(principal, action, target).await?,
            (Some(action), _) => gatekeeper.authorise(principal, action, target).await?,
        };
        gatekeeper.check_locks(&pass, Intent::of(matched.route), target).await?;
        Ok(pass)
    }

    /// The subscription a path names must be ours.
    async fn settle_scope(&self, matched: &mut Matched) -> Result<(), Failure> {
        let Some(subscription) = matched.target.subscription_id() else { return Ok(()) };
        match self.ledger.subscription(subscription).await? {
            Some(_) => Ok(()),
            None => Err(ArmError::subscription_not_found(subscription).into()),
        }
    }

    /// The type a path names must exist; from here on the target has its canonical spelling.
    fn settle_type(&self, matched: &mut Matched, version: &ApiVersion) -> Result<Option<Registered>, Failure> {
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
            let action = descriptor.action(asked).ok_or_else(|| {
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
                    // A write that was authorised as this identity must not commit after it is gone.
                    changes.push(Change::RaiseAccessEpoch);
                }
                Effect::IssueEndpointSecret { principal, secret } => {
                    let owner = principal.principal_id;
                    // Revealed to be fingerprinted; only the caller's answer carries it further.
                    let replacement = Directory::identity_endpoint_replacement(owner, vec![owner], secret.reveal());
                    changes.extend(replacement);
                }
                Effect::ClaimName { space, name, .. } => changes.push(Change::PutRecord {
                    kind: CLAIM.to_owned(),
                    key: format!("{space}/{name}"),
                    owner: Some(incarnation.to_string()),
                    body: serde_json::json!({"resource": id.to_string()}),
                    expires: None,
                }),
                // The claims of an incarnation go together; it has no more than the one.
                Effect::ReleaseName { .. } => {
                    changes.push(Change::DeleteRecordsOf { kind: CLAIM.to_owned(), owner: incarnation.to_string() })
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

    /// Refuses a name that somebody else has claimed, and holds the commit to its still being free.
    pub(crate) async fn claims_stand(
        &self,
        context: &Context,
        effects: &[Effect],
        expect: &mut Vec<Expectation>,
    ) -> Result<(), Failure> {
        for effect in effects {
            let Effect::ClaimName { space, name, taken } = effect else { continue };
            let key = format!("{space}/{name}");
            if self.ledger.record(context, CLAIM, &key).await?.is_some() {
                return Err((**taken).clone().into());
            }
            expect.push(Expectation::RecordAbsent { kind: CLAIM.to_owned(), key });
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

    fn seal(&self, incarnation: Uuid, field: &str, secret: &Secret) -> Result<Vec<u8>, Failure> {
        let context = bastide_vault::SealContext { owner: incarnation, field };
        // Revealed to be sealed; the plain text goes no further.
        self.sealer.seal(&context, secret.reveal().as_bytes()).map_err(|error| Failure::internal(error.to_string()))
    }
}

/// The bearer token of a request. Two of them are refused: whoever checks one and uses the other lets a stranger in.
fn bearer(headers: &HeaderMap) -> Result<&str, ArmError> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else {
        return Err(ArmError::authentication_failed());
    };
    let token = value.to_str().ok().and_then(|text| text.split_once(' '));
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(ArmError::authentication_failed()),
    }
}

/// The body, bounded in size and time.
async fn collect(headers: &HeaderMap, mut body: Body) -> Result<Option<Value>, Failure> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > MAX_DRAINED) {
        return Err(ArmError::content_too_large(MAX_BODY).into());
    }
    let bytes = match tokio::time::timeout(BODY_TIME, gather(&mut body)).await {
        Err(_) => return Err(ArmError::request_timeout().into()),
        Ok(gathered) => gathered?,
    };
    Ok(read_body(headers, &bytes)?)
}

/// Reads a body to its end. One that is too large is read on and dropped for a while, because a client that is still
/// sending when the connection closes never sees the answer.
async fn gather(body: &mut Body) -> Result<Vec<u8>, ArmError> {
    let mut bytes = Vec::new();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let broken = |_| ArmError::invalid_request_content("The body broke off before its end; send it again.");
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        seen += data.len();
        if seen <= MAX_BODY {
            bytes.extend_from_slice(&data);
        } else if seen > MAX_DRAINED {
            break;
        }
    }
    if seen > MAX_BODY { Err(ArmError::content_too_large(MAX_BODY)) } else { Ok(bytes) }
}

fn reply_to_failure(context: &Context, failure: Failure) -> Reply {
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
            let message = "The store cannot answer at the moment; nothing was changed. Try again in a moment.";
            Reply::error(&ArmError::service_unavailable(message, 1))
        }
    }
}

/// Kind of the records that hold names unique in all of Bastide.
const CLAIM: &str = "claimed-name";

/// Body of a request, as ARM bounds it.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// As much of a body that is too large is read to be able to say so.
const MAX_DRAINED: usize = 32 * 1024 * 1024;

/// Time for a body to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Attempts before a contended write gives up; each one lost means that another write was won.
const MAX_ATTEMPTS: usize = 32;
