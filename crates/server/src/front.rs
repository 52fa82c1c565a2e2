//! The front door. [`Front::answer`] is the whole way of a request, in order.

mod admission;
mod dispatch;
mod effects;

pub(crate) use admission::Credential;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use bastide_arm::api_version::ApiVersion;
use bastide_arm::clock::Clock;
use bastide_arm::error::ArmError;
use bastide_arm::path::PathSegments;
use bastide_arm::resource_type::Parity;
use bastide_arm::vocabulary::Vocabulary;
use bastide_hub::plan::Site;
use bastide_hub::quota::Capacity;
use bastide_identity::{Identity, Principal as Caller};
use bastide_vault::Sealer;
use http::{HeaderMap, HeaderName, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use ipnet::Ipv4Net;
use serde_json::Value;
use uuid::Uuid;

use crate::activity_log::Refusals;
use crate::bearer::bearer;
use crate::body::{self, BodyError, Bounds};
use crate::compute::Ways;
use crate::compute::activity::Activity;
use crate::context::Context;
use crate::deployment::{Mirror, Nested};
use crate::failure::Failure;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::network::{Lookout, Networks};
use crate::operations::Queue;
use crate::origin::Origins;
use crate::pass::{Gatekeeper, Identified};
use crate::policy::Book;
use crate::query_key::without_query_key;
use crate::registry::{Registered, Registry};
use crate::reply::Reply;
use crate::request::{Request, read_body};
use crate::routes::{self, Operation};
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
        path = without_query_key(context.uri.path()),
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
        let body = settled(body, matched.route.operation, registered.as_ref())?;
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

    /// `x-ms-ratelimit-remaining-*`, for those who were let in.
    fn with_allowance(&self, context: &Context, principal: Option<&Caller>, reply: Reply) -> Reply {
        let Some(principal) = principal else { return reply };
        let class = Class::of(&context.method);
        let left = self.throttle.left(principal.object_id, class, context.now);
        reply.header(HeaderName::from_static(class.header()), &left.to_string())
    }
}

/// The body of a request, bounded in size and time, as a value.
async fn read(headers: &HeaderMap, body: Body, operation: Operation) -> Result<Option<Value>, Failure> {
    let limit = operation.body_limit();
    let bounds = Bounds { limit, drain: body::DRAIN.max(2 * limit), time: body::TIME };
    let bytes = body::collect(body, &bounds).await.map_err(|error| match error {
        BodyError::TooLarge => ArmError::content_too_large(limit),
        BodyError::TooSlow => ArmError::request_timeout(),
        BodyError::Broken => ArmError::invalid_request_content("The body broke off before its end; send it again."),
    })?;
    Ok(read_body(headers, &bytes, operation.dialect(), limit)?)
}

/// The body of a resource, in the wire's spelling of what its type and all others know.
fn settled(
    body: Option<Value>,
    operation: Operation,
    registered: Option<&Registered>,
) -> Result<Option<Value>, ArmError> {
    match (body, registered) {
        (Some(body), Some(registered)) if matches!(operation, Operation::PutResource | Operation::PatchResource) => {
            let shared = Vocabulary::default();
            registered.rules.vocabulary().unwrap_or(&shared).settle(body).map(Some)
        }
        (body, _) => Ok(body),
    }
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
        Failure::Full(cause) => {
            tracing::error!(request_id = %context.request_id, %cause, "no room for a write");
            let message = "The disk of this Bastide is full, and nothing was written. Whoever runs it makes room where \
                           its database is; then send the request again.";
            Reply::error(&ArmError::new(507, "InsufficientStorage", message))
        }
        Failure::Unavailable(cause) => {
            tracing::error!(request_id = %context.request_id, %cause, "the store did not answer");
            let message = "The store cannot answer at the moment. Try again in a moment; if this was a write, read first whether it was made.";
            Reply::error(&ArmError::service_unavailable(message, 1))
        }
    }
}

/// Attempts before a contended write gives up; each one lost means that another write was won.
const MAX_ATTEMPTS: usize = 32;
