//! Binding: the values a deployment gives, against the parameters its template declares.

use std::collections::HashMap;

use serde_json::Value;

use crate::data::Data;
use crate::error::{Needs, Stop, TemplateError};
use crate::limits::Budget;
use crate::live::Need;
use crate::parameter::{Bound, Parameter};
use crate::template::{Template, find};
use crate::types::Types;

/// One given parameter.
pub(super) struct Given {
    pub(super) name: String,
    pub(super) place: String,
    pub(super) value: Bound,
}

/// Reads `{name: {"value": ...}}` as it comes from outside.
pub(super) fn given(parameters: &Value, place: &str) -> Result<Vec<Given>, Stop> {
    let members = match parameters {
        Value::Null => return Ok(Vec::new()),
        Value::Object(members) => members,
        _ => return Err(TemplateError::invalid(place, "'parameters' must be an object.").into()),
    };
    let mut given = Vec::with_capacity(members.len());
    for (name, entry) in members {
        let mut place = place.to_owned();
        crate::tree::push_member(&mut place, name);
        let entry =
            entry.as_object().filter(|entry| find(entry, "value").is_some() || find(entry, "reference").is_some());
        let Some(entry) = entry else {
            let message = format!("The parameter '{name}' needs an object with a 'value' or a 'reference'.");
            return Err(TemplateError::invalid(place, message).into());
        };
        let value = match (find(entry, "reference"), find(entry, "value")) {
            (Some(reference), None) => vault(&Data::from(reference), &place)?,
            (_, value) => Bound::Value { data: value.map_or(Data::Null, Data::from), secret: false },
        };
        given.push(Given { name: name.clone(), place, value });
    }
    Ok(given)
}

/// `{"keyVault": {"id"}, "secretName", "secretVersion"?}`.
pub(super) fn vault(reference: &Data, place: &str) -> Result<Bound, Stop> {
    let text = |name: &str| reference.member(name).and_then(Data::as_text).map(str::to_owned);
    let id = reference.member("keyVault").and_then(|vault| vault.member("id")).and_then(Data::as_text);
    let (Some(id), Some(name)) = (id, text("secretName")) else {
        return Err(TemplateError::invalid(place, "A 'reference' needs 'keyVault.id' and 'secretName'.").into());
    };
    Ok(Bound::Vault(Need::Secret { vault: id.to_owned(), name, version: text("secretVersion") }))
}

/// Checks what is given and finds out what is missing. Defaults are evaluated only when somebody asks for them.
pub(super) fn bind(
    template: &Template,
    given: Vec<Given>,
    budget: &mut Budget,
) -> Result<HashMap<String, Bound>, Stop> {
    let mut bound = HashMap::with_capacity(given.len());
    for Given { name, place, value } in given {
        let Some(parameter) = template.parameter(&name) else {
            let message = format!("The template declares no parameter '{name}'.");
            return Err(TemplateError::invalid(place, message).into());
        };
        let value = match value {
            // Null stands for "use the default", as the Python SDK sends it.
            Bound::Value { data: Data::Null, .. } if !keeps_null(template, parameter, &place)? => continue,
            Bound::Value { data, secret } => checked(template, parameter, &data, secret, &place, budget)?,
            other => other,
        };
        if bound.insert(name.to_ascii_lowercase(), value).is_some() {
            let message = format!("The parameter '{name}' is given twice; names ignore case.");
            return Err(TemplateError::invalid(place, message).into());
        }
    }
    let types = Types::new(&template.definitions);
    for parameter in &template.parameters {
        let lower = parameter.name.to_ascii_lowercase();
        if bound.contains_key(&lower) || parameter.default.is_some() {
            continue;
        }
        let nullable = types.is_nullable(&parameter.schema).map_err(|trouble| declared(parameter, &trouble.0))?;
        if !nullable {
            let message = format!("The value for the template parameter '{}' is not provided.", parameter.name);
            return Err(TemplateError::invalid(&*parameter.place, message).into());
        }
        bound.insert(lower, Bound::Value { data: Data::Null, secret: false });
    }
    Ok(bound)
}

/// A null is a value only where there is no default and the type has it.
fn keeps_null(template: &Template, parameter: &Parameter, place: &str) -> Result<bool, Stop> {
    if parameter.default.is_some() {
        return Ok(false);
    }
    let nullable = Types::new(&template.definitions).is_nullable(&parameter.schema);
    nullable.map_err(|trouble| TemplateError::invalid(place, trouble.0).into())
}

fn checked(
    template: &Template,
    parameter: &Parameter,
    data: &Data,
    secret: bool,
    place: &str,
    budget: &mut Budget,
) -> Result<Bound, Stop> {
    let types = Types::new(&template.definitions);
    let secure = types.is_secure(&parameter.schema, budget).map_err(|trouble| declared(parameter, &trouble.0))?;
    let data = types.check(data, &parameter.schema, budget).map_err(|trouble| {
        let message =
            format!("The provided value for the template parameter '{}' is not valid. {}", parameter.name, trouble.0);
        TemplateError::invalid(place, message)
    })?;
    Ok(Bound::Value { data, secret: secret || secure })
}

fn declared(parameter: &Parameter, message: &str) -> Stop {
    TemplateError::invalid(&*parameter.place, format!("The parameter '{}': {message}", parameter.name)).into()
}

/// Whether a stop is about live state that will be there later, rather than about a document wanted now.
pub(super) fn waits(needs: &Needs) -> bool {
    !needs.all().any(|need| matches!(need, Need::Document { .. }))
}
