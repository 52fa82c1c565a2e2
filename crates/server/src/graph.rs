//! The directory as clients of Microsoft Graph see it: a small part of its v1.0, enough for `az ad`, role assignments by
//! name, and Terraform's start-up.
//!
//! Everybody who is signed in may read; each write names an action of its own that [`Authority`] decides on. In this
//! directory an application and its service principal are one object with one set of credentials: it is seen as a service
//! principal under its object id, and as an application under its application id.

mod allowed;
mod application;
mod body;
mod call;
mod collection;
mod credential;
mod directory_object;
mod error;
mod federated_credential;
mod filter;
mod group;
mod organization;
mod service_principal;
mod user;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bastide_identity::{Identity, Principal};
use futures_util::future::BoxFuture;
use uuid::Uuid;

use self::application::Applications;
use self::call::{Answer, Call};
use self::collection::list;
use self::error::GraphError;
use self::group::Groups;
use self::service_principal::ServicePrincipals;
use self::user::Users;
use crate::origin::Origins;

/// What the directory's routes work on.
#[derive(Clone)]
pub struct Graph {
    /// The principals.
    pub identity: Identity,
    /// What a token must be for to be good here.
    pub audiences: Arc<[String]>,
    /// The addresses for links.
    pub origins: Arc<Origins>,
    /// Who may change what.
    pub authority: Arc<dyn Authority>,
}

/// Who may change the directory. The front door implements it over role assignments.
pub trait Authority: Send + Sync {
    /// Whether the principal may take this action, such as `Microsoft.Authorization/directory/users/write`, on the
    /// directory. With a target, the action would make the principal as strong as that object, or do away with it.
    fn may<'a>(&'a self, principal: &'a Principal, action: &'a str, target: Option<Uuid>) -> BoxFuture<'a, bool>;
}

/// The audiences of tokens for the directory of a Bastide at these origins.
pub fn audiences(origins: &Origins) -> Vec<String> {
    origins.all().map(|origin| format!("{origin}/graph/")).chain([WELL_KNOWN_AUDIENCE.to_owned()]).collect()
}

/// `/graph/v1.0/...`, and `/graph/beta/...` with the same meaning.
pub fn routes(graph: Graph) -> Router {
    Router::new().route("/graph/{version}/{*path}", any(answer)).with_state(graph)
}

async fn answer(State(graph): State<Graph>, request: Request) -> Response {
    let request_id = Uuid::new_v4();
    let answered = match Call::read(graph, request, request_id).await {
        Ok(call) => dispatch(&call).await,
        Err(refusal) => Err(refusal),
    };
    let mut response = answered.map_or_else(IntoResponse::into_response, IntoResponse::into_response);
    if let Ok(id) = request_id.to_string().parse() {
        response.headers_mut().insert("request-id", id);
    }
    response
}

/// Every address of the directory. Segments are in lower case, `name(key)` has become `name/key`.
async fn dispatch(call: &Call) -> Result<Answer, GraphError> {
    let path: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    match (call.method.as_str(), path.as_slice()) {
        ("GET", ["me"]) => user::signed_in(call).await,
        ("GET", ["me", "memberof" | "transitivememberof"]) => {
            directory_object::member_of(call, &call.caller.object_id.to_string()).await
        }
        ("GET", ["me", "ownedobjects"]) => Ok(call.collection("directoryObjects", Vec::new(), None)),

        ("GET", ["users"]) => list::<Users>(call).await,
        ("POST", ["users"]) => user::create(call).await,
        ("GET", ["users", user]) => user::show(call, user).await,
        ("PATCH", ["users", user]) => user::update(call, user).await,
        ("DELETE", ["users", user]) => user::delete(call, user).await,

        ("GET", ["groups"]) => list::<Groups>(call).await,
        ("POST", ["groups"]) => group::create(call).await,
        ("GET", ["groups", group]) => group::show(call, group).await,
        ("PATCH", ["groups", group]) => group::update(call, group).await,
        ("DELETE", ["groups", group]) => group::delete(call, group).await,
        ("GET", ["groups", group, "members"]) => group::members(call, group).await,
        ("POST", ["groups", group, "members", "$ref"]) => group::add_member(call, group).await,
        ("DELETE", ["groups", group, "members", member, "$ref"]) => group::remove_member(call, group, member).await,

        ("GET", ["serviceprincipals"]) => list::<ServicePrincipals>(call).await,
        ("POST", ["serviceprincipals"]) => service_principal::create(call).await,
        ("GET", ["serviceprincipals", id]) => service_principal::show(call, id).await,
        ("PATCH", ["serviceprincipals", id]) => service_principal::update(call, id).await,
        ("DELETE", ["serviceprincipals", id]) => service_principal::delete(call, id).await,
        ("POST", ["serviceprincipals", id, "addpassword"]) => service_principal::add_password(call, id).await,
        ("POST", ["serviceprincipals", id, "removepassword"]) => service_principal::remove_password(call, id).await,

        ("GET", ["applications"]) => list::<Applications>(call).await,
        ("POST", ["applications"]) => application::create(call).await,
        ("GET", ["applications", id]) => application::show(call, id).await,
        ("PATCH", ["applications", id]) => application::update(call, id).await,
        ("DELETE", ["applications", id]) => application::delete(call, id).await,
        ("POST", ["applications", id, "addpassword"]) => application::add_password(call, id).await,
        ("POST", ["applications", id, "removepassword"]) => application::remove_password(call, id).await,
        ("GET", ["applications", id, "federatedidentitycredentials"]) => federated_credential::list(call, id).await,
        ("POST", ["applications", id, "federatedidentitycredentials"]) => federated_credential::create(call, id).await,
        ("GET", ["applications", id, "federatedidentitycredentials", name]) => {
            federated_credential::show(call, id, name).await
        }
        ("PATCH", ["applications", id, "federatedidentitycredentials", name]) => {
            federated_credential::update(call, id, name).await
        }
        ("DELETE", ["applications", id, "federatedidentitycredentials", name]) => {
            federated_credential::delete(call, id, name).await
        }

        ("POST", ["directoryobjects", "getbyids"]) => directory_object::by_ids(call).await,
        ("GET", ["directoryobjects", id]) => directory_object::show(call, id).await,
        ("GET", ["users" | "groups" | "serviceprincipals", id, "memberof" | "transitivememberof"]) => {
            directory_object::member_of(call, id).await
        }
        ("POST", [_, id, "getmembergroups"]) => directory_object::member_groups(call, id).await,
        ("POST", [_, id, "checkmembergroups"]) => directory_object::check_member_groups(call, id).await,
        // Ownership of directory objects does not exist here: role assignments say who may do what.
        ("GET", ["groups" | "applications" | "serviceprincipals", _, "owners"]) => {
            Ok(call.collection("directoryObjects", Vec::new(), None))
        }

        ("POST" | "DELETE", ["groups" | "applications" | "serviceprincipals", _, "owners", ..]) => {
            Err(GraphError::bad_request("Objects have no owners here. Assign a role to whoever is to manage them."))
        }

        ("GET", ["organization"]) => Ok(organization::list(call)),
        ("GET", ["organization", id]) => organization::show(call, id),
        ("GET", ["domains"]) => Ok(organization::domains(call)),
        _ => Err(GraphError::no_such_segment()),
    }
}

/// What clients ask a token for that know nothing of our address.
const WELL_KNOWN_AUDIENCE: &str = "https://graph.microsoft.com";

#[cfg(test)]
mod tests;
