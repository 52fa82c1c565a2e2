//! Preview features, `Microsoft.Features`: what Bastide does, everybody has. There is none to register for, and `az
//! feature` hears so.

use bastide_arm::error::ArmError;

use crate::failure::Failure;
use crate::front::Front;
use crate::list::paged;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// GET of the features of a subscription, or of one provider there.
    pub(crate) fn list_features(&self, request: &Request<'_>) -> Result<Reply, Failure> {
        if let Some(namespace) = request.matched.values.first() {
            self.known_namespace(namespace)?;
        }
        Ok(paged(request, Vec::new(), None))
    }

    /// GET of one feature, and POST of its registration.
    pub(crate) fn read_feature(&self, request: &Request<'_>) -> Result<Reply, Failure> {
        let namespace = self.known_namespace(request.matched.value(0))?;
        let message = format!(
            "The feature '{}' could not be found. {namespace} has no preview features here: what Bastide does needs no \
             registration.",
            request.matched.value(1)
        );
        Err(ArmError::new(404, "FeatureNotFound", message).into())
    }

    fn known_namespace(&self, asked: &str) -> Result<&'static str, ArmError> {
        self.registry.namespace(asked).ok_or_else(|| ArmError::invalid_resource_namespace(asked))
    }
}
