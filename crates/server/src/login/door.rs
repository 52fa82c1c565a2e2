//! `/door`: a person signs in to a page inside a compute, which is an origin of its own and has no page to sign in on.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRef, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bastide_arm::error::ArmError;
use bastide_identity::Secret;
use futures_util::future::BoxFuture;
use url::Url;
use uuid::Uuid;

use super::Login;
use super::authorize::{refusal_page, refused, stale_form};
use super::csrf::CsrfToken;
use super::fields::Fields;
use super::sender::Sender;
use super::view::{self, Asking, SignIn};
use crate::compute::{Ask, DOOR};

/// Who knows the pages inside computes, and whom they are for.
pub(crate) trait Doorkeeper: Send + Sync {
    /// The address that lets a user in who has just signed in, or why not.
    fn admit<'a>(&'a self, user: Uuid, ask: &'a Ask) -> BoxFuture<'a, Result<Url, ArmError>>;

    /// The origin that is asked for, if it can be one of a compute.
    fn address(&self, ask: &Ask) -> Option<Url>;
}

/// The page's route.
pub(crate) fn routes(login: Login, keeper: Arc<dyn Doorkeeper>) -> Router {
    Router::new().route(DOOR, get(show).post(submit)).with_state(Door { login, keeper })
}

#[derive(Clone)]
struct Door {
    login: Login,
    keeper: Arc<dyn Doorkeeper>,
}

impl FromRef<Door> for Login {
    fn from_ref(door: &Door) -> Self {
        door.login.clone()
    }
}

async fn show(State(door): State<Door>, sender: Sender, RawQuery(query): RawQuery) -> Response {
    match door.wanted(query.as_deref()) {
        Some((_, returns_to)) => page(&returns_to, &sender, "", None).into_response(),
        None => nowhere(),
    }
}

async fn submit(State(door): State<Door>, sender: Sender, RawQuery(query): RawQuery, body: Body) -> Response {
    let form = match Fields::read(&sender.headers, body).await {
        Ok(form) => form,
        Err(error) => return refusal_page(&error.into()),
    };
    if !CsrfToken::vouches(&sender.headers, form.value("csrf"), &door.login.origins) {
        return stale_form().into_response();
    }
    let Some((ask, returns_to)) = door.wanted(query.as_deref()) else { return nowhere() };
    let user_name = form.value("username").unwrap_or_default();
    let password = Secret::new(form.value("password").unwrap_or_default());
    let user = match door.login.identity.check_password(user_name, &password, sender.address).await {
        Ok(user) => user,
        Err(error) => return refused(page(&returns_to, &sender, user_name, Some(&error.to_string())), &error),
    };
    match door.keeper.admit(user.object_id, &ask).await {
        Ok(address) => lead(&address),
        Err(error) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::FORBIDDEN);
            view::refusal(status, &error.message).into_response()
        }
    }
}

impl Door {
    fn wanted(&self, query: Option<&str>) -> Option<(Ask, Url)> {
        let ask = Ask::read(query.unwrap_or_default())?;
        let returns_to = self.keeper.address(&ask)?;
        Some((ask, returns_to))
    }
}

fn page(returns_to: &Url, sender: &Sender, user_name: &str, problem: Option<&str>) -> super::page::Page {
    let asking = Asking { client: "A page in a compute".to_owned(), wishes: vec!["be opened by you".to_owned()] };
    let csrf = CsrfToken::of(&sender.headers);
    SignIn { asking: &asking, returns_to, csrf: &csrf, user_name, problem }.page()
}

fn nowhere() -> Response {
    let sentence = "There is no such page in a compute. Go back to where you started and open it again.";
    view::refusal(StatusCode::BAD_REQUEST, sentence).into_response()
}

/// 303: the browser must not repeat the post, which holds the password.
fn lead(address: &Url) -> Response {
    let Ok(location) = HeaderValue::from_str(address.as_str()) else { return nowhere() };
    let headers = [
        (LOCATION, location),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}
