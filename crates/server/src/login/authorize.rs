//! The page on which people sign in, and the code that goes back to the client.
//!
//! Nothing is shown before the request is known to be good, and nothing is sent to an address that is not the client's.
//! There is no session: whoever is asked types the password, whatever `prompt` says.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bastide_identity::{AuthorizeRequest, LoginError, OAuthError, ResponseMode, ReturnAddress, Secret, TokenForm};
use url::Url;

use super::Login;
use super::answer::Refusal;
use super::authority::Authority;
use super::csrf::CsrfToken;
use super::fields::Fields;
use super::page::Page;
use super::sender::Sender;
use super::view::{self, Asking, SignIn};

/// GET: the page.
pub(super) async fn show(
    State(login): State<Login>,
    Path(authority): Path<String>,
    sender: Sender,
    RawQuery(query): RawQuery,
) -> Response {
    match Wanted::read(&login, &authority, &sender, &query.unwrap_or_default()).await {
        Ok(wanted) => {
            let suggestion = wanted.request.login_hint.clone().unwrap_or_default();
            wanted.page(&sender, &suggestion, None).into_response()
        }
        Err(answer) => answer,
    }
}

/// POST: name and password. The client's request is still in the query.
pub(super) async fn submit(
    State(login): State<Login>,
    Path(authority): Path<String>,
    sender: Sender,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let form = match Fields::read(&sender.headers, body).await {
        Ok(form) => form,
        Err(error) => return refusal_page(&error.into()),
    };
    if !CsrfToken::vouches(&sender.headers, form.value("csrf"), &login.origins) {
        return stale_form().into_response();
    }
    let wanted = match Wanted::read(&login, &authority, &sender, &query.unwrap_or_default()).await {
        Ok(wanted) => wanted,
        Err(answer) => return answer,
    };
    let user_name = form.value("username").unwrap_or_default();
    let password = Secret::new(form.value("password").unwrap_or_default());
    let user = match login.identity.check_password(user_name, &password, sender.address).await {
        Ok(user) => user,
        Err(error) => return refused(wanted.page(&sender, user_name, Some(&error.to_string())), &error),
    };
    let back_to = &wanted.request.back_to;
    match login.identity.issue_code(&user, &wanted.request).await {
        Ok(code) => hand_back(back_to, &[("code", code.expose())]),
        Err(error) => hand_back_error(back_to, &error),
    }
}

/// The page again, with a status that says why. Browsers show it whatever the status.
pub(super) fn refused(page: Page, error: &LoginError) -> Response {
    match error {
        LoginError::Wrong => page.status(StatusCode::UNAUTHORIZED),
        LoginError::TooManyFailures(seconds) => {
            page.status(StatusCode::TOO_MANY_REQUESTS).header(RETRY_AFTER, &seconds.to_string())
        }
        LoginError::Busy | LoginError::Unavailable(_) => page.status(StatusCode::SERVICE_UNAVAILABLE),
    }
    .into_response()
}

/// The page for a form that is not from a page of ours, or from one that is too old.
pub(super) fn stale_form() -> Page {
    let sentence = "This form is no longer valid, or your browser keeps no cookies for this site. Go back to where you \
                    started and sign in again.";
    view::refusal(StatusCode::FORBIDDEN, sentence)
}

/// A page for a refusal.
pub(super) fn refusal_page(refusal: &Refusal) -> Response {
    view::refusal(StatusCode::BAD_REQUEST, refusal.sentence()).into_response()
}

/// A good request, and what the page shows of it.
struct Wanted {
    request: AuthorizeRequest,
    returns_to: Url,
    asking: Asking,
}

impl Wanted {
    /// Checks a request; on failure the answer says so to the person, or to the client where that is safe.
    async fn read(login: &Login, authority: &str, sender: &Sender, query: &str) -> Result<Self, Response> {
        Authority::parse(authority, &login.identity).map_err(|refusal| refusal_page(&refusal))?;
        let fields = Fields::parse(query.as_bytes()).map_err(|error| refusal_page(&error.into()))?;
        let asking = |client: &str| Asking { client: client.to_owned(), wishes: wishes(&fields, sender) };
        let mut form = TokenForm::from_pairs(fields.clone().into_pairs());
        if let Some(id) = sender.correlation_id {
            form = form.with_correlation_id(id);
        }
        let request = login.identity.authorize_request(&form).await.map_err(|refused| match refused.back_to {
            Some(back_to) => hand_back_error(&back_to, &refused.error),
            None => view::refusal(StatusCode::BAD_REQUEST, &refused.error.error_description).into_response(),
        })?;
        // Without a session nobody can be signed in unseen (OpenID Connect Core, section 3.1.2.1).
        if fields.value("prompt") == Some("none") {
            let description = "AADSTS50058: A silent sign-in was asked for, but nobody is signed in.";
            let answer = [("error", "login_required"), ("error_description", description)];
            return Err(hand_back(&request.back_to, &answer));
        }
        let returns_to = address(&request.back_to).ok_or_else(unusable_address)?;
        let asking = asking(&request.client_name);
        Ok(Self { request, returns_to, asking })
    }

    fn page(&self, sender: &Sender, user_name: &str, problem: Option<&str>) -> Page {
        let csrf = CsrfToken::of(&sender.headers);
        SignIn { asking: &self.asking, returns_to: &self.returns_to, csrf: &csrf, user_name, problem }.page()
    }
}

/// What the scopes mean, in words.
fn wishes(fields: &Fields, sender: &Sender) -> Vec<String> {
    let scopes = fields.value("scope").unwrap_or_default().split_ascii_whitespace();
    let wished = scopes.chain(fields.value("resource")).map(|scope| match scope {
        "openid" | "profile" | "email" => Cow::from("see your name and user name"),
        "offline_access" => "stay signed in until you or an administrator end it".into(),
        _ => resource_wish(scope, sender),
    });
    let mut wishes: Vec<String> = Vec::new();
    for wish in wished {
        if !wishes.iter().any(|known| *known == wish) {
            wishes.push(wish.into_owned());
        }
    }
    if wishes.is_empty() {
        wishes.push("learn who you are".to_owned());
    }
    wishes
}

fn resource_wish(scope: &str, sender: &Sender) -> Cow<'static, str> {
    let resource = scope.strip_suffix("/.default").unwrap_or(scope).trim_end_matches('/');
    let graph = format!("{}/graph", sender.origin);
    if resource == graph || resource.starts_with(&format!("{graph}/")) {
        "read and change the directory as you may".into()
    } else if resource == sender.origin.as_str() || RESOURCE_MANAGERS.contains(&resource) {
        "manage the resources of this Bastide as you may".into()
    } else {
        format!("act for you at {resource}").into()
    }
}

fn hand_back_error(back_to: &ReturnAddress, error: &OAuthError) -> Response {
    hand_back(back_to, &[("error", error.error), ("error_description", &error.error_description)])
}

/// Sends the browser back to the client, with the `state` it gave.
fn hand_back(back_to: &ReturnAddress, answer: &[(&str, &str)]) -> Response {
    let mut fields = answer.to_vec();
    fields.extend(back_to.state.as_deref().map(|state| ("state", state)));
    let Some(mut returns_to) = address(back_to) else { return unusable_address() };
    match back_to.response_mode {
        ResponseMode::FormPost => view::hand_over(&returns_to, &back_to.redirect_uri, &fields).into_response(),
        ResponseMode::Query => {
            returns_to.query_pairs_mut().extend_pairs(fields);
            let Ok(location) = HeaderValue::from_str(returns_to.as_str()) else { return unusable_address() };
            // 303: the browser must not repeat the post, which holds the password.
            let headers = [(LOCATION, location), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            (StatusCode::SEE_OTHER, headers).into_response()
        }
    }
}

fn address(back_to: &ReturnAddress) -> Option<Url> {
    Url::parse(&back_to.redirect_uri).ok()
}

fn unusable_address() -> Response {
    refusal_page(&Refusal::invalid_request("The redirect_uri is not a URL a browser can be sent to."))
}

/// The names clients have for the resource manager.
const RESOURCE_MANAGERS: [&str; 3] =
    ["https://management.azure.com", "https://management.core.windows.net", "https://ml.azure.com"];
