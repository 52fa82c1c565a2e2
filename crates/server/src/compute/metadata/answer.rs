//! Tokens: IMDS of virtual machines, and the protocol of Azure Machine Learning.

use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::header::{HOST, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bastide_identity::TokenForm;
use serde_json::json;
use subtle::ConstantTimeEq as _;

use super::machine::Machine;
use crate::compute::inside;
use crate::login::{Fields, private, refused};
use crate::throttle::Class;

/// GET `/metadata/identity/oauth2/token`.
pub(super) async fn token(
    State(machine): State<Arc<Machine>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let fields = asked(&headers, query.as_deref(), "2018-02-01")?;
    machine.token(fields).await
}

/// GET `/metadata/identity/info`.
pub(super) async fn info(
    State(machine): State<Arc<Machine>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    asked(&headers, query.as_deref(), "2018-02-01")?;
    Ok(private(json!({"tenantId": machine.front.tenant_id})))
}

/// GET `/msi/token`, where `MSI_ENDPOINT` leads.
pub(super) async fn azureml_token(
    State(machine): State<Arc<Machine>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    of_this_machine(&headers)?;
    let given = only(&headers, &SECRET);
    let wanted = inside::secret(&machine.front.sealer, machine.compute);
    let is_right =
        given.zip(wanted).is_some_and(|(given, wanted)| bool::from(given.as_bytes().ct_eq(wanted.as_bytes())));
    if !is_right {
        return Err(Refusal::unauthorised());
    }
    let fields = fields(query.as_deref())?;
    if fields.value("api-version") != Some("2017-09-01") {
        return Err(Refusal::bad("The query must contain api-version=2017-09-01."));
    }
    machine.token(fields).await
}

/// What is not there.
pub(super) async fn unknown() -> Refusal {
    let sentence = "There is nothing here. See /metadata/instance and /metadata/identity/oauth2/token.";
    Refusal { status: StatusCode::NOT_FOUND, error: "not_found", sentence: sentence.to_owned(), retry_after: None }
}

impl Machine {
    async fn token(&self, fields: Fields) -> Result<Response, Refusal> {
        let now = self.front.clock.now();
        if let Err(throttled) = self.front.throttle.take(self.compute.0, Class::Reads, now) {
            return Err(Refusal::too_many(throttled.retry_after));
        }
        let identity = self.identity().await.map_err(|error| Refusal::ours(&error))?;
        let identity = identity.ok_or_else(Refusal::no_identity)?;
        let user = identity.user.values().map(|principal| principal.principal_id);
        let names_one = SELECTORS.iter().any(|selector| fields.value(selector).is_some());
        let carried: Vec<_> = match (identity.system, names_one) {
            (Some(system), false) => vec![system.principal_id],
            (None, false) if identity.user.len() > 1 => return Err(Refusal::several()),
            (system, _) => system.map(|system| system.principal_id).into_iter().chain(user).collect(),
        };
        let form = TokenForm::from_pairs(fields.into_pairs());
        match self.front.identity.machine_token(&carried, &form).await {
            Ok(answer) => Ok(private(answer.to_body())),
            Err(error) => Ok(refused(&error)),
        }
    }
}

/// What every question to IMDS must be like: of this machine itself, on purpose, and in a version that there is.
pub(super) fn asked(headers: &HeaderMap, query: Option<&str>, oldest: &str) -> Result<Fields, Refusal> {
    of_this_machine(headers)?;
    if !only(headers, &METADATA).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(Refusal::bad("Required metadata header not specified: send 'Metadata: true'."));
    }
    let fields = fields(query)?;
    match fields.value("api-version") {
        Some(version) if is_date(version) && version >= oldest => Ok(fields),
        _ => Err(Refusal::bad(format!("The query must contain api-version={oldest}, or a later one."))),
    }
}

/// A proxy says that it is one, and a page that a browser inside was led to asks under its own name.
fn of_this_machine(headers: &HeaderMap) -> Result<(), Refusal> {
    if FORWARDED.iter().any(|name| headers.contains_key(name)) {
        return Err(Refusal::bad("The request was forwarded. Ask from the compute itself, without a proxy."));
    }
    if !only(headers, &HOST).is_some_and(|host| matches!(host, "169.254.169.254" | "169.254.169.254:80")) {
        return Err(Refusal::bad("The metadata service is http://169.254.169.254, and has no other name."));
    }
    Ok(())
}

fn fields(query: Option<&str>) -> Result<Fields, Refusal> {
    Fields::parse(query.unwrap_or_default().as_bytes()).map_err(|error| Refusal::bad(error.to_string()))
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(place, byte)| match place {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// A refusal in the words of IMDS.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: &'static str,
    sentence: String,
    retry_after: Option<u32>,
}

impl Refusal {
    pub(super) fn bad(sentence: impl Into<String>) -> Self {
        let (status, error) = (StatusCode::BAD_REQUEST, "invalid_request");
        Self { status, error, sentence: sentence.into(), retry_after: None }
    }

    /// The clients know 400 as "no identity here", and go on to their next way of signing in.
    fn no_identity() -> Self {
        Self::bad("Identity not found: this compute has none. Give it one: 'identity' of the compute.")
    }

    fn several() -> Self {
        Self::bad(
            "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the \
             token request.",
        )
    }

    fn unauthorised() -> Self {
        let sentence = "The header 'secret' is missing or wrong: send what MSI_SECRET holds.".to_owned();
        Self { status: StatusCode::UNAUTHORIZED, error: "unauthorized_client", sentence, retry_after: None }
    }

    fn too_many(seconds: u32) -> Self {
        let sentence = format!("Too many questions. Keep the token, and ask again in {seconds} s.");
        Self { status: StatusCode::TOO_MANY_REQUESTS, error: "too_many_requests", sentence, retry_after: Some(seconds) }
    }

    pub(super) fn ours(error: &dyn fmt::Display) -> Self {
        tracing::error!(%error, "a question to a metadata service was not answered");
        let sentence = "The question could not be answered now. Ask again.".to_owned();
        Self { status: StatusCode::SERVICE_UNAVAILABLE, error: "unknown_source", sentence, retry_after: Some(1) }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(json!({"error": self.error, "error_description": self.sentence}));
        let mut response = (self.status, body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

const METADATA: HeaderName = HeaderName::from_static("metadata");
const SECRET: HeaderName = HeaderName::from_static("secret");
const FORWARDED: [HeaderName; 2] = [HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("forwarded")];

/// How a client says which identity it means, in all spellings.
const SELECTORS: [&str; 6] = ["client_id", "clientid", "object_id", "principal_id", "mi_res_id", "msi_res_id"];
