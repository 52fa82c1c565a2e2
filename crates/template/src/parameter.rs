//! Parameters: their declarations, and the values a deployment gives them.

use std::sync::Arc;

use serde_json::Value;

use crate::data::Data;
use crate::error::TemplateError;
use crate::limits::Limits;
use crate::live::Need;
use crate::tree::{Place, Tree};

#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) place: Arc<str>,
    pub(crate) name: String,
    /// Type and constraints: the declaration without its default and metadata.
    pub(crate) schema: Data,
    pub(crate) default: Option<Tree>,
}

/// What a deployment says about a parameter.
#[derive(Clone)]
pub(crate) enum Bound {
    /// A value, and whether it came from something secret.
    Value { data: Data, secret: bool },
    /// A secret of a key vault, fetched when the parameter is read.
    Vault(Need),
    /// Waits for live state, as the parameters of nested deployments may.
    Waiting(crate::error::Needs),
}

impl Parameter {
    pub(crate) fn read(name: &str, value: &Value, place: &Place<'_>, limits: &Limits) -> Result<Self, TemplateError> {
        let Some(members) = value.as_object() else {
            return Err(place.invalid(format!("The parameter '{name}' must be an object with a 'type'.")));
        };
        let default = match members.get("defaultValue") {
            Some(default) => Some(Tree::read(default, &place.member("defaultValue"), limits)?),
            None => None,
        };
        let schema = members
            .iter()
            .filter(|(member, _)| !matches!(member.as_str(), "defaultValue" | "metadata"))
            .map(|(member, value)| (Arc::from(member.as_str()), Data::from(value)));
        Ok(Self {
            place: Arc::from(place.path()),
            name: name.to_owned(),
            schema: Data::object(schema.collect()),
            default,
        })
    }
}
