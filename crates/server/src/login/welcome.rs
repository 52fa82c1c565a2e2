//! The page at the front: what this is, and how to go on. The portal takes its place when there is one.

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;

use super::html::Text;
use super::page::Page;
use super::{Login, view};

/// `/` and `/portal`.
pub(super) fn routes(login: Login) -> Router {
    Router::new().route("/", get(show)).route("/portal", get(show)).with_state(login)
}

async fn show(State(login): State<Login>, headers: HeaderMap) -> Page {
    let host = headers.get("host").and_then(|host| host.to_str().ok());
    let endpoint = login.origins.asked(host);
    let body = format!(
        "{}<p>This is a Bastide, a self-hosted AI hub, and it is running. There is no web portal in this version: drive it \
         with the tools you have.</p>\n<p>On the machine it runs on:</p>\n\
         <p><code>eval \"$(bastide env az)\"</code><br><code>az group create --name lab --location local</code></p>\n\
         <p class=\"hint\">Endpoint: <code>{}</code></p>\n",
        view::heading("Bastide"),
        Text(endpoint.as_str()),
    );
    Page::new("Welcome", body)
}
