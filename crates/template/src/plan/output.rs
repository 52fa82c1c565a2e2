//! Outputs of a deployment.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::data::Data;
use crate::error::{Needs, Stop, TemplateError};
use crate::evaluator::Evaluator;
use crate::frame::{Frame, Iteration, Region};
use crate::limits::Budget;
use crate::live::Live;
use crate::symbols::Symbols;
use crate::template::{OutputDeclaration, Template};
use crate::types::Types;

/// One output, as `properties.outputs` of a deployment holds it.
#[derive(Clone, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its type: `String`, `SecureString`, `Int`, `Bool`, `Array`, `Object`, `SecureObject`.
    pub type_name: &'static str,
    /// Its value.
    pub value: Value,
    /// Whether the value must never be shown: its type is secure, or something secret went into it.
    pub secret: bool,
}

/// Shows what [`Output::shown`] shows.
impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Output({}: {})", self.name, self.shown())
    }
}

impl Output {
    /// The output as an answer shows it: `{"type", "value"}`, without the value when that is secret.
    pub fn shown(&self) -> Value {
        if self.secret {
            json!({ "type": self.type_name })
        } else {
            json!({ "type": self.type_name, "value": self.value })
        }
    }
}

/// `loops` are those around a nested deployment of outer scope.
pub(super) fn evaluate(
    template: &Template,
    frame: &Frame,
    symbols: &Symbols,
    live: &dyn Live,
    budget: &mut Budget,
    loops: &[Iteration],
) -> Result<Vec<Output>, Stop> {
    let mut outputs = Vec::new();
    let mut needs: Option<Needs> = None;
    for declaration in &template.outputs {
        let mut evaluator = Evaluator::new(frame, symbols, live, budget);
        evaluator.region = Region::Body;
        evaluator.loops = loops.to_vec();
        evaluator.place = Arc::from(declaration.place.as_str());
        match one(declaration, template, &mut evaluator) {
            Ok(output) => outputs.extend(output),
            Err(Stop::Missing(missing)) => needs.get_or_insert_default().absorb(*missing),
            Err(error) => return Err(error),
        }
    }
    match needs {
        Some(needs) => Err(Stop::Missing(Box::new(needs))),
        None => Ok(outputs),
    }
}

fn one(
    declaration: &OutputDeclaration,
    template: &Template,
    evaluator: &mut Evaluator<'_>,
) -> Result<Option<Output>, Stop> {
    let invalid = |message: String| -> Stop { TemplateError::invalid(&declaration.place, message).into() };
    if let Some(condition) = &declaration.condition {
        match evaluator.value(condition)? {
            Data::Bool(true) => {}
            Data::Bool(false) => return Ok(None),
            other => return Err(invalid(format!("The condition must be a boolean, but it is {}.", other.kind()))),
        }
    }
    let value = evaluator.value(&declaration.value)?;
    let types = Types::new(&template.definitions);
    let fault = |trouble: crate::error::Trouble| invalid(format!("The output '{}': {}", declaration.name, trouble.0));
    let value = types.check(&value, &declaration.schema, evaluator.budget).map_err(fault)?;
    let secure = types.is_secure(&declaration.schema, evaluator.budget).map_err(fault)?;
    Ok(Some(Output {
        name: declaration.name.clone(),
        type_name: types.shown(&declaration.schema),
        value: value.to_value(),
        secret: secure || evaluator.secret,
    }))
}
