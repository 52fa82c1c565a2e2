//! Who asks, for what, and whether they may.

use bastide_arm::api_version::ApiVersion;
use bastide_arm::error::ArmError;
use bastide_identity::{AuthenticationError, Principal as Caller};
use jiff::Timestamp;
use uuid::Uuid;

use super::Front;
use crate::context::Context;
use crate::failure::Failure;
use crate::lock::Intent;
use crate::pass::{ASSIGN, Identified, Pass};
use crate::registry::Registered;
use crate::routes::{Action, Matched};
use crate::throttle::Class;

/// What a request proves itself with, to be asked again when access has changed.
#[derive(Clone, Copy)]
pub(crate) enum Credential<'a> {
    /// The bearer token of a request.
    Token(&'a str),
    /// A step done for a principal whose own request was accepted before.
    Lent {
        /// The principal.
        object_id: Uuid,
        /// Since when the step has had its standing.
        since: Timestamp,
    },
}

impl Front {
    /// Who asks, as of now. The epoch is read first: what changes after it makes the pass outdated, not too new.
    pub(crate) async fn identify(&self, credential: &Credential<'_>) -> Result<Identified, Failure> {
        match credential {
            Credential::Token(bearer) => {
                let known =
                    self.identity.authenticate_for(bearer, &self.audiences).await.map_err(|error| match error {
                        AuthenticationError::Unavailable(cause) => Failure::Unavailable(cause.to_string()),
                        refused => ArmError::new(refused.status(), refused.code(), refused.to_string()).into(),
                    })?;
                Ok(Identified { principal: known.principal, epoch: known.epoch })
            }
            Credential::Lent { object_id, since } => {
                let epoch = self.gatekeeper.epoch().await?;
                let principal = self.identity.directory().standing_principal(*object_id, *since).await?;
                let refused = AuthenticationError::Revoked;
                let refused = || ArmError::new(refused.status(), refused.code(), refused.to_string());
                Ok(Identified { principal: principal.ok_or_else(refused)?, epoch })
            }
        }
    }

    /// Authorises, then asks the locks; a refusal is put on record.
    pub(super) async fn admit(
        &self,
        context: &Context,
        caller: &Identified,
        action: Option<&str>,
        matched: &Matched,
    ) -> Result<Pass, Failure> {
        let admitted = self.authorise(caller, action, matched).await;
        self.noted(context, &caller.principal, action, &matched.target, admitted).await
    }

    async fn authorise(&self, caller: &Identified, action: Option<&str>, matched: &Matched) -> Result<Pass, Failure> {
        let (target, gatekeeper) = (&matched.target, &self.gatekeeper);
        let pass = match (action, matched.route.action) {
            (None, _) => return Ok(gatekeeper.admit_to_filtered_list(caller)),
            (Some(action), Action::Delegated(_)) => gatekeeper.admit_to_delegation(caller, action, target).await?,
            (Some(action), Action::Own(_)) => gatekeeper.admit_to_own(caller, action, target),
            (Some(action), _) if matched.route.operation.shows_what_is_below() => {
                gatekeeper.admit_to_list(caller, action, target).await?
            }
            (Some(action), _) => gatekeeper.authorise(caller, action, target).await?,
        };
        if matched.route.operation.takes_owner() {
            gatekeeper.authorise(caller, ASSIGN, target).await?;
        }
        gatekeeper.check_locks(&pass, Intent::of(matched.route), target).await?;
        Ok(pass)
    }

    /// The subscription a path names must be ours.
    pub(super) async fn settle_scope(&self, matched: &Matched) -> Result<(), Failure> {
        match matched.target.subscription_id() {
            Some(subscription) if !self.ledger.has_subscription(subscription).await? => {
                Err(ArmError::subscription_not_found(subscription).into())
            }
            _ => Ok(()),
        }
    }

    /// The type a path names must exist; from here on the target has its canonical spelling.
    pub(crate) fn settle_type(
        &self,
        matched: &mut Matched,
        version: &ApiVersion,
    ) -> Result<Option<Registered>, Failure> {
        let type_name = match &matched.type_name {
            Some(type_name) if !type_name.is_empty() => type_name.clone(),
            _ if matched.target.is_resource_group() => crate::providers::resource_group::TYPE_NAME.to_owned(),
            _ => return Ok(None),
        };
        let registered = self.registry.find(&type_name, &version.to_string())?;
        let descriptor = registered.rules.descriptor();
        if matched.target.is_resource() && matched.target.type_name().eq_ignore_ascii_case(&registered.name) {
            matched.target = matched.target.with_spelling(descriptor.namespace, descriptor.types);
        }
        if let Some(asked) = &matched.action_name {
            let is_about = !matched.values.is_empty();
            let action = descriptor.action(asked);
            if is_about && !action.is_some_and(|action| registered.rules.takes_argument(action.name)) {
                return Err(ArmError::method_not_allowed("POST", &["GET", "HEAD", "PUT", "PATCH", "DELETE"]).into());
            }
            let action = action.ok_or_else(|| {
                let message = format!(
                    "Resources of type '{}' have no action '{asked}'. See the provider's list of operations.",
                    registered.name
                );
                ArmError::not_found(message)
            })?;
            matched.action_name = Some(action.name.to_owned());
        }
        Ok(Some(registered))
    }

    pub(super) fn throttled(&self, principal: &Caller, context: &Context) -> Result<(), ArmError> {
        self.throttle
            .take(principal.object_id, Class::of(&context.method), context.now)
            .map(drop)
            .map_err(|throttled| ArmError::too_many_requests(throttled.retry_after))
    }
}
