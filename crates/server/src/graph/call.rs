//! One request to the directory, and its answer.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bastide_arm::json::{self, Limits};
use bastide_identity::{Author, Directory, Principal};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Graph;
use super::allowed::Allowed;
use super::error::GraphError;
use crate::body::{self, Bounds};
use crate::origin::{Origin, host};

/// An authenticated request.
pub(super) struct Call {
    graph: Graph,
    /// The directory, changed on the caller's behalf.
    directory: Directory,
    allowed: Arc<Allowed>,
    /// Who asks.
    pub(super) caller: Principal,
    pub(super) method: Method,
    /// The path behind the version: see [`super::dispatch`].
    pub(super) segments: Vec<String>,
    /// The query, decoded.
    pub(super) query: Vec<(String, String)>,
    /// The body of a POST or PATCH; empty when there was none.
    pub(super) body: Map<String, Value>,
    /// The path as sent, for links.
    pub(super) raw_path: String,
    /// The origin that was asked.
    pub(super) origin: Origin,
    version: String,
}

impl Call {
    /// Authenticates the caller, then reads the rest.
    pub(super) async fn read(graph: Graph, request: Request, request_id: Uuid) -> Result<Self, GraphError> {
        let (head, body) = request.into_parts();
        let (allowed, caller) = Allowed::to_ask(&graph, &head.headers).await?;
        let (version, segments) = segments(&head.uri)?;
        let query = url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let body =
            if matches!(head.method, Method::POST | Method::PATCH) { read_body(body).await? } else { Map::new() };
        let origin = graph.origins.asked(host(&head.headers, &head.uri)).clone();
        let raw_path = head.uri.path().to_owned();
        let source = head.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let author = Author::Caller { principal: caller.clone(), request_id, source };
        let allowed = Arc::new(allowed);
        let directory = graph.identity.directory().on_behalf_of(author, Arc::<Allowed>::clone(&allowed));
        Ok(Self {
            graph,
            directory,
            allowed,
            caller,
            method: head.method,
            segments,
            query,
            body,
            raw_path,
            origin,
            version,
        })
    }

    /// The directory.
    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Refuses unless the caller may take `Microsoft.Authorization/directory/{action}`.
    pub(super) async fn authorise(&self, action: &str) -> Result<(), GraphError> {
        let action = format!("{ACTIONS}/{action}");
        match self.allowed.add(&self.caller, &action, None).await {
            true => Ok(()),
            false => Err(GraphError::forbidden(&action)),
        }
    }

    /// As [`Call::authorise`], for an action with which the caller could become, or end, the object it is taken on.
    pub(super) async fn authorise_over(&self, action: &str, target: Uuid) -> Result<(), GraphError> {
        let action = format!("{ACTIONS}/{action}");
        match self.allowed.add(&self.caller, &action, Some(target)).await {
            true => Ok(()),
            false => Err(GraphError::forbidden_over(&action)),
        }
    }

    /// The tenant's own domain, as an organisation shows it.
    pub(super) fn domain(&self) -> &str {
        self.graph.origins.zone()
    }

    /// A query parameter; names have no case.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// 200 with one object of a collection.
    pub(super) fn object(&self, collection: &str, object: Value) -> Answer {
        Answer::new(StatusCode::OK, self.with_context(&format!("{collection}/$entity"), self.selected(object)))
    }

    /// 201 with the new object.
    pub(super) fn created(&self, collection: &str, object: Value) -> Answer {
        Answer::new(StatusCode::CREATED, self.with_context(&format!("{collection}/$entity"), object))
    }

    /// 200 with a page of objects.
    pub(super) fn collection(&self, collection: &str, objects: Vec<Value>, next: Option<String>) -> Answer {
        let objects: Vec<Value> = objects.into_iter().map(|object| self.selected(object)).collect();
        let mut page = json!({ "value": objects });
        if let (Some(next), Some(page)) = (next, page.as_object_mut()) {
            // az looks for the link behind the values; the order of names means nothing to anybody else.
            page.insert("@odata.nextLink".to_owned(), next.into());
        }
        Answer::new(StatusCode::OK, self.with_context(collection, page))
    }

    /// 200 with the result of a function.
    pub(super) fn result(&self, kind: &str, value: Value) -> Answer {
        Answer::new(StatusCode::OK, self.with_context(kind, value))
    }

    /// `$select`, for the top level.
    fn selected(&self, mut object: Value) -> Value {
        if let (Some(select), Some(object)) = (self.parameter("$select"), object.as_object_mut()) {
            let wanted: Vec<&str> = select.split(',').map(str::trim).collect();
            object.retain(|name, _| {
                name.starts_with('@') || wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
            });
        }
        object
    }

    fn with_context(&self, what: &str, value: Value) -> Value {
        let context = format!("{}/graph/{}/$metadata#{what}", self.origin, self.version);
        let mut answer = Map::from_iter([("@odata.context".to_owned(), context.into())]);
        if let Value::Object(object) = value {
            answer.extend(object);
        }
        answer.into()
    }
}

/// What the directory answers.
pub(super) struct Answer {
    status: StatusCode,
    body: Option<Value>,
}

impl Answer {
    /// 204: done, nothing to say.
    pub(super) fn done() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: None }
    }

    fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body: Some(body) }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            Some(body) => (self.status, Json(body)).into_response(),
            None => self.status.into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(HeaderName::from_static("odata-version"), HeaderValue::from_static("4.0"));
        response
    }
}

/// Reads an object id.
pub(super) fn object_id(text: &str) -> Result<Uuid, GraphError> {
    Uuid::try_parse(text).map_err(|_| GraphError::not_found(text))
}

/// Version and path: `/graph/v1.0/servicePrincipals(appId='x')` is `v1.0` and `serviceprincipals`, `appid='x'`.
fn segments(uri: &Uri) -> Result<(String, Vec<String>), GraphError> {
    let mut segments = Vec::new();
    for raw in uri.path().split('/').filter(|raw| !raw.is_empty()).skip(1) {
        let segment = percent_decode_str(raw).decode_utf8().map_err(|_| GraphError::no_such_segment())?;
        let segment = segment.to_ascii_lowercase();
        match segment.split_once('(').and_then(|(name, rest)| Some((name, rest.strip_suffix(')')?))) {
            Some((name, key)) => {
                let bare = key.strip_prefix('\'').and_then(|key| key.strip_suffix('\'')).unwrap_or(key);
                segments.extend([name.to_owned(), bare.to_owned()]);
            }
            None => segments.push(segment),
        }
    }
    if segments.is_empty() {
        return Err(GraphError::no_such_segment());
    }
    let version = segments.remove(0);
    if matches!(version.as_str(), "v1.0" | "beta") {
        Ok((version, segments))
    } else {
        Err(GraphError::no_such_segment())
    }
}

async fn read_body(body: Body) -> Result<Map<String, Value>, GraphError> {
    let bytes = body::collect(body, &BODY).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    let limits = Limits { max_bytes: MAX_BODY, max_depth: 16 };
    json::parse_object(&bytes, &limits).map_err(|error| GraphError::bad_request(error.message.clone()))
}

/// Under `Microsoft.Authorization`, whose writes the role Contributor lacks: whoever can make principals, or change their
/// credentials, can become anybody.
const ACTIONS: &str = "Microsoft.Authorization/directory";

/// A certificate with its chain fits a hundred times.
const MAX_BODY: usize = 1024 * 1024;

const BODY: Bounds = Bounds { limit: MAX_BODY, drain: 8 * 1024 * 1024, time: body::TIME };
