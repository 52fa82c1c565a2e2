//! The endpoints that programs talk to: configuration, keys, tokens, device codes.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::response::{IntoResponse, Response};
use bastide_identity::TokenForm;

use super::Login;
use super::answer::{Refusal, private, public, refused};
use super::authority::Authority;
use super::fields::Fields;
use super::sender::Sender;
use super::view;

/// GET `.well-known/openid-configuration`.
pub(super) async fn configuration(
    State(login): State<Login>,
    Path(authority): Path<String>,
    sender: Sender,
) -> Response {
    let authority = match Authority::parse(&authority, &login.identity) {
        Ok(authority) => authority,
        Err(refusal) => return login.refuse(refusal),
    };
    match login.identity.discovery(authority.flavour(), sender.origin.as_str(), authority.segment()) {
        Ok(document) => public(document),
        Err(error) => refused(&error),
    }
}

/// GET the public keys.
pub(super) async fn keys(State(login): State<Login>, Path(authority): Path<String>) -> Response {
    if let Err(refusal) = Authority::parse(&authority, &login.identity) {
        return login.refuse(refusal);
    }
    match login.identity.jwks().await {
        Ok(keys) => public(keys),
        Err(error) => {
            tracing::error!(%error, "the signing keys cannot be read");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// POST `token`: every grant.
pub(super) async fn token(
    State(login): State<Login>,
    Path(authority): Path<String>,
    sender: Sender,
    body: Body,
) -> Response {
    let (authority, form) = match read(&login, &authority, &sender, body).await {
        Ok(read) => read,
        Err(refusal) => return login.refuse(refusal),
    };
    let endpoint = authority.token_endpoint(&sender.origin, sender.uri.path());
    match login.identity.token(&endpoint, &form).await {
        Ok(answer) => private(answer.to_body()),
        Err(error) => refused(&error),
    }
}

/// POST `devicecode`.
pub(super) async fn device_code(
    State(login): State<Login>,
    Path(authority): Path<String>,
    sender: Sender,
    body: Body,
) -> Response {
    let (_, form) = match read(&login, &authority, &sender, body).await {
        Ok(read) => read,
        Err(refusal) => return login.refuse(refusal),
    };
    match login.identity.start_device_code(sender.origin.as_str(), &form).await {
        Ok(answer) => private(answer),
        Err(error) => refused(&error),
    }
}

/// GET `logout`. The service keeps no session in the browser, so there is nothing to end but the client's own. The
/// `post_logout_redirect_uri` is left unread: nobody is sent anywhere by a link.
pub(super) async fn signed_out(State(login): State<Login>, Path(authority): Path<String>) -> Response {
    match Authority::parse(&authority, &login.identity) {
        Ok(_) => view::notice("You are signed out", "You can close this page.").into_response(),
        Err(refusal) => login.refuse(refusal),
    }
}

impl Login {
    /// A refusal as JSON.
    pub(super) fn refuse(&self, refusal: Refusal) -> Response {
        refused(&refusal.stamped(self.clock.now()))
    }
}

async fn read(login: &Login, authority: &str, sender: &Sender, body: Body) -> Result<(Authority, TokenForm), Refusal> {
    let authority = Authority::parse(authority, &login.identity)?;
    let fields = Fields::read(&sender.headers, body).await?;
    let mut form = TokenForm::from_pairs(fields.into_pairs());
    if let Some(address) = sender.address {
        form = form.with_source(address);
    }
    if let Some(id) = sender.correlation_id {
        form = form.with_correlation_id(id);
    }
    if let Some(header) = sender.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        form = form.with_authorization(header);
    }
    Ok((authority, form))
}
