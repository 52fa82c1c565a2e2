//! Properties of a request body, read with a clear word about what is wrong. Values are never quoted: they may be secret.

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::error::GraphError;

/// The fields of one JSON object of the body. Properties nobody asks for are ignored, as Graph does.
#[derive(Clone, Copy)]
pub(super) struct Body<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Body<'a> {
    /// A text that must be there and not be empty.
    pub(super) fn required(self, name: &str) -> Result<&'a str, GraphError> {
        self.text(name)?
            .filter(|text| !text.trim().is_empty())
            .ok_or_else(|| GraphError::bad_request(format!("A value is required for property '{name}' of resource.")))
    }

    /// A text that may be absent or null.
    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>, GraphError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| wrong(name, "a text"))?;
        if text.len() > MAX_TEXT { Err(wrong(name, "shorter than 64 KiB")) } else { Ok(Some(text)) }
    }

    /// The name to show: at most 256 characters, no control characters.
    pub(super) fn display_name(self) -> Result<Option<&'a str>, GraphError> {
        let Some(name) = self.text("displayName")? else { return Ok(None) };
        let fits = !name.trim().is_empty() && name.chars().count() <= 256 && !name.chars().any(char::is_control);
        if fits { Ok(Some(name)) } else { Err(wrong("displayName", "1 to 256 printable characters")) }
    }

    /// What something is for: at most 1024 characters.
    pub(super) fn description(self) -> Result<Option<&'a str>, GraphError> {
        let Some(description) = self.text("description")? else { return Ok(None) };
        let fits = description.chars().count() <= 1024;
        if fits { Ok(Some(description)) } else { Err(wrong("description", "at most 1024 characters")) }
    }

    /// As [`Body::display_name`], but it must be there.
    pub(super) fn required_display_name(self) -> Result<&'a str, GraphError> {
        self.required("displayName")?;
        self.display_name()?.ok_or_else(|| wrong("displayName", "a text"))
    }

    pub(super) fn flag(self, name: &str) -> Result<Option<bool>, GraphError> {
        self.value(name).map(|value| value.as_bool().ok_or_else(|| wrong(name, "true or false"))).transpose()
    }

    pub(super) fn id(self, name: &str) -> Result<Option<Uuid>, GraphError> {
        self.text(name)?.map(|text| Uuid::try_parse(text).map_err(|_| wrong(name, "a GUID"))).transpose()
    }

    pub(super) fn time(self, name: &str) -> Result<Option<Timestamp>, GraphError> {
        let rule = "a time like 2030-01-31T00:00:00Z";
        self.text(name)?.map(|text| text.parse().map_err(|_| wrong(name, rule))).transpose()
    }

    pub(super) fn object(self, name: &str) -> Result<Option<Body<'a>>, GraphError> {
        self.value(name).map(|value| value.as_object().map(Body).ok_or_else(|| wrong(name, "an object"))).transpose()
    }

    pub(super) fn texts(self, name: &str) -> Result<Vec<&'a str>, GraphError> {
        self.list(name)?.iter().map(|value| value.as_str().ok_or_else(|| wrong(name, "a list of texts"))).collect()
    }

    pub(super) fn objects(self, name: &str) -> Result<Vec<Body<'a>>, GraphError> {
        let object = |value: &'a Value| value.as_object().map(Body).ok_or_else(|| wrong(name, "a list of objects"));
        self.list(name)?.iter().map(object).collect()
    }

    /// Whether the property is there, even as an empty list.
    pub(super) fn has(self, name: &str) -> bool {
        self.value(name).is_some()
    }

    fn list(self, name: &str) -> Result<&'a [Value], GraphError> {
        let Some(value) = self.value(name) else { return Ok(&[]) };
        let list = value.as_array().ok_or_else(|| wrong(name, "a list"))?;
        if list.len() > MAX_LIST { Err(wrong(name, "at most 1000 long")) } else { Ok(list) }
    }

    fn value(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }
}

/// 400 for a value of the wrong shape.
pub(super) fn wrong(name: &str, rule: &str) -> GraphError {
    GraphError::bad_request(format!("Invalid value specified for property '{name}' of resource: it must be {rule}."))
}

/// Refuses a change the directory has no place for, unless it changes nothing.
pub(super) fn unchanged(name: &str, wanted: Option<&str>, stored: &str) -> Result<(), GraphError> {
    match wanted {
        Some(wanted) if wanted != stored => Err(GraphError::bad_request(format!(
            "Property '{name}' cannot be changed in this directory. Create the object anew with the value you want."
        ))),
        _ => Ok(()),
    }
}

const MAX_TEXT: usize = 64 * 1024;
const MAX_LIST: usize = 1000;
