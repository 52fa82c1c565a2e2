//! The HTTP side of the token service: both families of routes, and the pages on which people sign in.
//!
//! The identity crate decides; this module reads requests, draws pages and writes answers. A path begins with the
//! authority: `adfs`, or the tenant ([`authority`]).

mod answer;
mod assets;
mod authority;
mod authorize;
mod csrf;
mod device;
mod door;
mod fields;
mod html;
mod managed_identity;
mod page;
mod sender;
mod ticket;
mod token;
mod view;
mod welcome;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use bastide_arm::clock::Clock;
use bastide_identity::Identity;

use crate::origin::Origins;

pub(crate) use answer::{private, refused};
pub(crate) use door::{Doorkeeper, routes as door};
pub(crate) use fields::Fields;

/// What the token service's routes work on.
#[derive(Clone)]
pub struct Login {
    /// Who decides.
    pub identity: Identity,
    /// The addresses we answer under.
    pub origins: Arc<Origins>,
    /// For the time in refusals.
    pub clock: Arc<dyn Clock>,
}

/// Every route of the token service. None of them needs an access token.
pub fn routes(login: Login) -> Router {
    // `adfs` is an authority like the others; what differs are three of its paths.
    Router::new()
        .route("/{authority}/.well-known/openid-configuration", get(token::configuration))
        .route("/{authority}/v2.0/.well-known/openid-configuration", get(token::configuration))
        .route("/{authority}/discovery/keys", get(token::keys))
        .route("/{authority}/discovery/v2.0/keys", get(token::keys))
        .route("/{authority}/oauth2/v2.0/token", post(token::token))
        .route("/{authority}/oauth2/token", post(token::token))
        .route("/{authority}/oauth2/v2.0/devicecode", post(token::device_code))
        .route("/{authority}/oauth2/devicecode", post(token::device_code))
        .route("/{authority}/oauth2/v2.0/authorize", get(authorize::show).post(authorize::submit))
        .route("/{authority}/oauth2/authorize", get(authorize::show).post(authorize::submit))
        .route("/{authority}/oauth2/v2.0/logout", get(token::signed_out))
        .route("/{authority}/oauth2/logout", get(token::signed_out))
        .route("/msi/token", get(managed_identity::token))
        .with_state(login.clone())
        .merge(device::routes(login.clone()))
        .merge(welcome::routes(login))
        .merge(assets::routes())
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
