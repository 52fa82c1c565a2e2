//! Rights that a write takes beside the caller's: those of the identities in whose name something will be used later. They
//! are asked for before anything is written (mission.md C3).

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Document, Linked, Need};

use crate::failure::Failure;
use crate::front::Front;
use crate::pass::{Identified, Pass};
use crate::registry::Registered;

impl Front {
    /// Refuses a document that needs a right which an identity does not have.
    pub(crate) async fn check_needs(
        &self,
        pass: &Pass,
        registered: &Registered,
        document: &Document,
        parent: Option<&Linked>,
    ) -> Result<(), Failure> {
        let directory = self.identity.directory();
        for Need { identity, principal, action, role, scope, target } in registered.rules.needs(document, parent) {
            // What is not here cannot be asked about.
            if self.ledger.surrounding(pass, &scope).await?.is_none() {
                continue;
            }
            let holds = match directory.object(principal.principal_id).await? {
                Some(object) => {
                    let principal = directory.principal(&object).await?;
                    self.gatekeeper.may(&Identified { principal, epoch: pass.epoch() }, action, &scope).await?
                }
                None => false,
            };
            if !holds {
                let message = format!(
                    "The identity '{identity}' is not allowed '{action}' on '{scope}'. Assign it the role '{role}' \
                     there, or use the system-assigned identity."
                );
                return Err(ArmError::validation(message).with_target(&target).into());
            }
        }
        Ok(())
    }
}
