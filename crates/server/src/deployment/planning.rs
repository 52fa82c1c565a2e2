//! From what is asked to a plan: the documents read, the types known.

use std::sync::Arc;

use bastide_arm::api_version::ApiVersion;
use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::path::PathSegments;
use bastide_template::{Answer, Limits, Node, NodeKind, Plan, Request, Template};
use http::Method;
use serde_json::Value;

use super::asked::Given;
use super::lookups::{Lookups, path_of, refusal};
use super::setting::Setting;
use crate::failure::Failure;
use crate::front::Front;
use crate::routes;

impl Front {
    /// Plans a deployment. [`Failure::Refused`] is a 400 for whoever asked; nothing has been written.
    pub(super) async fn plan(
        &self,
        lookups: &Lookups<'_>,
        setting: &Setting,
        template: Value,
        parameters: &Value,
    ) -> Result<Plan, Failure> {
        let limits = Limits::default();
        let template = Template::read(template, &limits).map_err(|error| lookups.redaction.error(&refusal(&error)))?;
        let plan = lookups
            .evaluate(|live| {
                Plan::new(Request {
                    template: Arc::clone(&template),
                    parameters,
                    context: self.template_context(setting),
                    live,
                    limits,
                })
            })
            .await?;
        self.check_types(&plan)?;
        Ok(plan)
    }

    /// The document itself, or the one its address stands for.
    pub(super) async fn document(&self, given: &Given) -> Result<Value, Failure> {
        let (uri, version) = match given {
            Given::Inline(document) => return Ok(document.clone()),
            Given::Linked { uri, version } => (uri, version),
        };
        let invalid = |message: String| Failure::from(ArmError::new(400, "InvalidTemplate", message));
        let document = match self.mirror.document(uri).await {
            Answer::Known { value, .. } => value,
            Answer::Failed(reason) => return Err(invalid(reason)),
            Answer::Missing => return Err(Failure::internal("the mirror did not answer")),
        };
        let found = document.get("contentVersion").and_then(Value::as_str);
        if let Some(wanted) = version.as_deref().filter(|wanted| found != Some(*wanted)) {
            let found = found.unwrap_or("none");
            return Err(invalid(format!("The linked document has contentVersion '{found}', not '{wanted}'.")));
        }
        Ok(document)
    }

    /// A parameter file wraps its parameters in an envelope.
    pub(super) async fn parameters(&self, given: &Given) -> Result<Value, Failure> {
        let document = self.document(given).await?;
        Ok(match (given, document.get("parameters")) {
            (Given::Linked { .. }, Some(parameters)) => parameters.clone(),
            _ => document,
        })
    }

    /// Everything the plan puts must be something the front door takes, under a name that its type allows.
    pub(super) fn check_types(&self, plan: &Plan) -> Result<(), ArmError> {
        for node in plan.nodes().iter().filter(|node| node.kind != NodeKind::Existing) {
            self.check_type(node).map_err(|mut error| {
                error.status = 400;
                error.with_target(node.place.clone())
            })?;
            if let Some(nested) = node.nested() {
                self.check_types(nested)?;
            }
        }
        Ok(())
    }

    fn check_type(&self, node: &Node) -> Result<(), ArmError> {
        let version = node.api_version.as_deref().unwrap_or_default();
        ApiVersion::parse(version)?;
        let id = ResourceId::parse(&node.id)?;
        let path = PathSegments::parse(&path_of(&id.to_string()))?;
        let Some(type_name) = routes::find(&Method::PUT, &path)?.type_name else { return Ok(()) };
        let registered = self.registry.find(&type_name, version)?;
        let rule = &registered.rules.descriptor().name;
        if (rule.accepts)(id.name()) {
            return Ok(());
        }
        let explanation = format!("Use {}.", rule.explanation);
        Err(ArmError::invalid_resource_name(id.name(), &registered.name, &explanation))
    }
}
