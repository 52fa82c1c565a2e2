//! `/devicelogin`: a person lets a client on another device in.
//!
//! First the code, name and password; then the page says which client it is, and the person approves or denies. Signing
//! in comes before the code is looked at, so that guesses at codes are counted by person.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bastide_identity::{DeviceCodeError, Secret};

use super::Login;
use super::authorize::{refusal_page, refused, stale_form};
use super::csrf::CsrfToken;
use super::fields::Fields;
use super::sender::Sender;
use super::ticket::Tickets;
use super::view::{self, Asking, DeviceApproval, DeviceCode};

/// The page's route.
pub(super) fn routes(login: Login) -> Router {
    Router::new().route("/devicelogin", get(show).post(submit)).with_state(Desk { login, tickets: Arc::default() })
}

#[derive(Clone)]
struct Desk {
    login: Login,
    tickets: Arc<Tickets>,
}

impl FromRef<Desk> for Login {
    fn from_ref(desk: &Desk) -> Self {
        desk.login.clone()
    }
}

/// The code is never taken from a link: whoever sends such links signs in as their readers.
async fn show(sender: Sender) -> Response {
    let csrf = CsrfToken::of(&sender.headers);
    DeviceCode { csrf: &csrf, user_code: "", user_name: "", problem: None }.page().into_response()
}

async fn submit(State(desk): State<Desk>, sender: Sender, body: Body) -> Response {
    let form = match Fields::read(&sender.headers, body).await {
        Ok(form) => form,
        Err(error) => return refusal_page(&error.into()),
    };
    if !CsrfToken::vouches(&sender.headers, form.value("csrf"), &desk.login.origins) {
        return stale_form().into_response();
    }
    match form.value("ticket") {
        Some(ticket) => desk.decide(ticket, form.value("decision"), &sender).await,
        None => desk.sign_in(&form, &sender).await,
    }
}

impl Desk {
    /// The first form: code, name and password.
    async fn sign_in(&self, form: &Fields, sender: &Sender) -> Response {
        let csrf = CsrfToken::of(&sender.headers);
        let user_code = form.value("user_code").unwrap_or_default();
        let user_name = form.value("username").unwrap_or_default();
        let password = Secret::new(form.value("password").unwrap_or_default());
        let again = |problem: &str| DeviceCode { csrf: &csrf, user_code, user_name, problem: Some(problem) }.page();
        let identity = &self.login.identity;
        let user = match identity.check_password(user_name, &password, sender.address).await {
            Ok(user) => user,
            Err(error) => return refused(again(&error.to_string()), &error),
        };
        match identity.device_sign_in(user_code, &user).await {
            Ok(device) => {
                let wishes = vec!["manage the resources of this Bastide as you may".to_owned()];
                let asking = Asking { client: device.client_name, wishes };
                let signed_in_as = user.name.clone();
                let ticket = self.tickets.issue(user, user_code, &csrf, self.login.clock.now());
                let approval = DeviceApproval {
                    asking: &asking,
                    user_code,
                    user_name: &signed_in_as,
                    ticket: &ticket,
                    csrf: &csrf,
                };
                approval.page().into_response()
            }
            Err(error) => match &error {
                DeviceCodeError::Unknown => again(&error.to_string()).status(StatusCode::BAD_REQUEST),
                DeviceCodeError::TooManyFailures(seconds) => again(&error.to_string())
                    .status(StatusCode::TOO_MANY_REQUESTS)
                    .header(RETRY_AFTER, &seconds.to_string()),
                DeviceCodeError::Unavailable(_) => again(&error.to_string()).status(StatusCode::SERVICE_UNAVAILABLE),
            }
            .into_response(),
        }
    }

    /// The second form: yes or no.
    async fn decide(&self, ticket: &str, decision: Option<&str>, sender: &Sender) -> Response {
        let csrf = CsrfToken::of(&sender.headers);
        let Some(ticket) = self.tickets.redeem(ticket, &csrf, self.login.clock.now()) else {
            let problem = Some("That took too long. Please sign in again.");
            return DeviceCode { csrf: &csrf, user_code: "", user_name: "", problem }.page().into_response();
        };
        let identity = &self.login.identity;
        // Whatever is not a clear yes is a no.
        let approved = decision == Some("approve");
        let decided = if approved {
            identity.approve_device_code(&ticket.user_code, &ticket.user).await
        } else {
            identity.deny_device_code(&ticket.user_code, &ticket.user).await
        };
        match (decided, approved) {
            (Ok(()), true) => view::notice("The device is signed in", "You can close this page and return to it."),
            (Ok(()), false) => view::notice("The device was not let in", "You can close this page."),
            (Err(error), _) => view::refusal(StatusCode::BAD_REQUEST, &error.to_string()),
        }
        .into_response()
    }
}
