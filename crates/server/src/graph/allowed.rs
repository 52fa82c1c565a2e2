//! What the caller of one request may do, and whether that is still so when it is done.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use bastide_identity::{Authenticated, AuthenticationError, Principal, Warrant};
use uuid::Uuid;

use super::Graph;
use super::error::GraphError;
use crate::bearer::bearer;

/// What a caller has asked for and may do.
pub(super) struct Allowed {
    graph: Graph,
    token: String,
    actions: Mutex<Vec<(String, Option<Uuid>)>>,
}

impl Allowed {
    /// Authenticates the caller, who is allowed nothing yet but to ask.
    pub(super) async fn to_ask(graph: &Graph, headers: &HeaderMap) -> Result<(Self, Principal), GraphError> {
        let token = bearer(headers).ok_or_else(|| {
            GraphError::unauthenticated(
                "Access token is empty. Send one, and one only, as 'Authorization: Bearer ...'.",
            )
        })?;
        let allowed = Self { graph: graph.clone(), token: token.to_owned(), actions: Mutex::default() };
        let refused = |error: AuthenticationError| GraphError::unauthenticated(error.to_string());
        let caller = allowed.authenticate().await.map_err(refused)?.principal;
        Ok((allowed, caller))
    }

    /// Asks whether the caller may take one action more.
    pub(super) async fn add(&self, caller: &Principal, action: &str, target: Option<Uuid>) -> bool {
        let may = self.graph.authority.may(caller, action, target).await;
        if may {
            self.actions.lock().unwrap_or_else(PoisonError::into_inner).push((action.to_owned(), target));
        }
        may
    }

    async fn authenticate(&self) -> Result<Authenticated, AuthenticationError> {
        // A token that was given for the resource manager is not good here, and the other way round.
        self.graph.identity.authenticate_for(&self.token, &self.graph.audiences).await
    }

    async fn still(&self) -> Option<i64> {
        let Authenticated { principal, epoch } = self.authenticate().await.ok()?;
        let actions = self.actions.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if actions.is_empty() {
            // Nobody has asked whether this may be done.
            return None;
        }
        for (action, target) in &actions {
            if !self.graph.authority.may(&principal, action, *target).await {
                return None;
            }
        }
        Some(epoch)
    }
}

impl Warrant for Allowed {
    fn epoch(&self) -> Pin<Box<dyn Future<Output = Option<i64>> + Send + '_>> {
        Box::pin(self.still())
    }
}
