//! The deployment and its values: `parameters()`, `variables()`, `deployment()`, `environment()`, `newGuid()`.

use uuid::{Builder, Uuid};

use super::{Function, special};
use crate::data::Data;
use crate::evaluator::{Evaluator, Outcome};
use crate::expression::Call;
use crate::frame::Region;

pub(super) const FUNCTIONS: &[Function] = &[
    special("deployer", 0, 0, |evaluator, _| Ok(Data::from(&evaluator.frame.context.deployer))),
    special("deployment", 0, 0, deployment),
    special("environment", 0, 0, |evaluator, _| Ok(Data::from(&evaluator.frame.context.environment))),
    special("newGuid", 0, 0, new_guid),
    special("parameters", 1, 1, parameters),
    special("variables", 1, 1, variables),
];

fn parameters(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let name = name(evaluator, call)?;
    match evaluator.parameter(&name) {
        Some(outcome) => outcome,
        None if evaluator.region == Region::Function => {
            Err(evaluator.blame(call, format!("the function has no parameter '{name}'; it sees its own only.")))
        }
        None => Err(evaluator.blame(call, format!("the template has no parameter '{name}' with a value."))),
    }
}

fn variables(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let name = name(evaluator, call)?;
    if evaluator.region == Region::Function {
        return Err(evaluator.blame(call, "functions of a template do not see its variables."));
    }
    match evaluator.variable(&name) {
        Some(outcome) => outcome,
        None => Err(evaluator.blame(call, format!("the template has no variable '{name}'."))),
    }
}

fn name(evaluator: &mut Evaluator<'_>, call: &Call) -> Result<String, crate::error::Stop> {
    let values = evaluator.arguments(&call.arguments)?;
    match values.first() {
        Some(Data::Text(name)) => Ok(name.to_string()),
        _ => Err(evaluator.blame(call, "argument 1 must be a string.")),
    }
}

fn deployment(evaluator: &mut Evaluator<'_>, _: &Call) -> Outcome {
    let frame = evaluator.frame;
    let context = &frame.context;
    let template = Data::from(frame.template.source());
    evaluator.spend(template.weight() / 64)?;
    let mut properties = vec![("template", template), ("mode", Data::text(context.deployment.mode.as_str()))];
    if let Some(uri) = &context.deployment.template_uri {
        properties.push(("templateLink", Data::record([("uri", Data::text(uri))])));
    }
    properties.push(("provisioningState", Data::text("Accepted")));
    let mut members = vec![("name", Data::text(&context.deployment.name)), ("id", Data::text(context.deployment_id()))];
    if let Some(location) = &context.deployment.location {
        members.push(("location", Data::text(location)));
    }
    let properties = properties.into_iter().map(|(name, value)| (name.into(), value)).collect();
    members.push(("properties", Data::object(properties)));
    Ok(Data::object(members.into_iter().map(|(name, value)| (name.into(), value)).collect()))
}

/// Derived from the deployment's seed and the place, so that planning again gives the same value.
fn new_guid(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    if evaluator.region != Region::Default {
        return Err(evaluator.blame(call, "it can only be used in the default value of a parameter."));
    }
    let source = format!("{}@{}", evaluator.place, call.offset);
    let derived = Uuid::new_v5(&evaluator.frame.context.seed, source.as_bytes());
    Ok(Data::text(Builder::from_random_bytes(derived.into_bytes()).into_uuid().to_string()))
}
