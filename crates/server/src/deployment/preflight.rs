//! Policies are asked about a whole template before any of it is deployed: a deployment that they would stop half way is
//! refused at its start, as are its validation and its what-if.

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_template::{NodeKind, Plan};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::create::Draft;
use super::lookups::Lookups;
use crate::failure::Failure;
use crate::front::Front;
use crate::pass::Pass;
use crate::request::Request;

impl Front {
    /// 400 with everything that policies refuse, as far as it can be told now.
    pub(super) async fn ask_policies(&self, request: &Request<'_>, pass: &Pass, draft: &Draft) -> Result<(), Failure> {
        if self.policies.is_empty(pass).await? {
            return Ok(());
        }
        let lookups = Lookups::new(self, pass.principal(), request.context, draft.redaction.clone());
        let mut refusals = Vec::new();
        self.ask_about(&lookups, pass, &draft.plan, &mut refusals).await?;
        if refusals.is_empty() {
            return Ok(());
        }
        let message =
            "The template deployment failed because of policy violation. Please see details for more information.";
        let error = ArmError::new(400, "InvalidTemplateDeployment", message);
        Err(refusals.into_iter().fold(error, ArmError::with_detail).into())
    }

    /// What is refused of a plan, and of those inside it. Boxed, because it calls itself.
    fn ask_about<'a>(
        &'a self,
        lookups: &'a Lookups<'_>,
        pass: &'a Pass,
        plan: &'a Plan,
        refusals: &'a mut Vec<ArmError>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            for node in plan.nodes() {
                match node.kind {
                    NodeKind::Existing => {}
                    NodeKind::Deployment => match lookups.foresee(node).await {
                        Ok(Some(nested)) => self.ask_about(lookups, pass, &nested, refusals).await?,
                        // It waits for what the deployment would make; it is judged when it is written.
                        Ok(None) | Err(Failure::Refused(_)) => {}
                        Err(failure) => return Err(failure),
                    },
                    NodeKind::Resource => match lookups.evaluate(|live| node.body(live)).await {
                        Ok(body) => {
                            lookups.redaction.learn_evaluated(&body);
                            let id = ResourceId::parse(&node.id)?;
                            let asking = (lookups.context, pass, self.parity);
                            let refused = self.policies.foresee(asking, &id, &body.value).await?;
                            refusals.extend(refused.map(|error| lookups.redaction.error(&error)));
                        }
                        Err(Failure::Refused(_)) => {}
                        Err(failure) => return Err(failure),
                    },
                }
            }
            Ok(())
        }
        .boxed()
    }
}
