//! Names of properties in the wire's spelling. ARM compares them without regard to case, and people who write bodies in
//! PowerShell or C# send `PublicNetworkAccess`: a name that was only stored beside the one that counts would leave open
//! what was to be closed, and show what was to be sealed.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::error::{ArmError, shown};

/// The names that the bodies of some types may hold, at any depth.
#[derive(Debug, Default)]
pub struct Vocabulary {
    /// The wire's spelling, by the name in lower case.
    spellings: HashMap<String, &'static str>,
    /// The objects whose own names are the user's, such as tags.
    open: HashSet<&'static str>,
}

impl Vocabulary {
    /// A vocabulary of names; `open` are those among them whose members the user names.
    pub fn new(names: &[&'static str], open: &[&'static str]) -> Self {
        let spellings = names.iter().chain(open).map(|name| (name.to_ascii_lowercase(), *name)).collect();
        Self { spellings, open: open.iter().copied().collect() }
    }

    /// Gives a body the wire's spelling: what all resources share at its top, this vocabulary's names below `properties`.
    /// Names that nobody knows stay as they are.
    ///
    /// # Errors
    /// `InvalidRequestContent` when two names are the same but for their case.
    pub fn settle(&self, body: Value) -> Result<Value, ArmError> {
        let Value::Object(fields) = body else { return Ok(body) };
        let mut settled = ENVELOPE.settle_names(fields, "", |_, value, _| Ok(value))?;
        for (name, value) in &mut settled {
            match name.as_str() {
                "properties" => *value = self.settle_value(value.take(), name, 0)?,
                "identity" | "sku" => *value = SHARED.settle_value(value.take(), name, 0)?,
                _ => {}
            }
        }
        Ok(Value::Object(settled))
    }

    fn settle_value(&self, value: Value, at: &str, depth: usize) -> Result<Value, ArmError> {
        if depth > MAX_DEPTH {
            return Ok(value);
        }
        match value {
            Value::Object(fields) => {
                let inside = |name: &str, value, at: &str| match value {
                    Value::Object(members) if self.open.contains(name) => self.settle_members(members, at, depth + 1),
                    value => self.settle_value(value, at, depth + 1),
                };
                self.settle_names(fields, at, inside).map(Value::Object)
            }
            Value::Array(items) => {
                let items = items.into_iter().enumerate();
                items.map(|(index, item)| self.settle_value(item, &format!("{at}[{index}]"), depth + 1)).collect()
            }
            value => Ok(value),
        }
    }

    /// An object whose names are the user's: they stay, what is in them is settled.
    fn settle_members(&self, members: Map<String, Value>, at: &str, depth: usize) -> Result<Value, ArmError> {
        let members = members.into_iter().map(|(name, value)| {
            let value = self.settle_value(value, &format!("{at}.{name}"), depth)?;
            Ok((name, value))
        });
        members.collect::<Result<Map<_, _>, ArmError>>().map(Value::Object)
    }

    fn settle_names(
        &self,
        fields: Map<String, Value>,
        at: &str,
        inside: impl Fn(&str, Value, &str) -> Result<Value, ArmError>,
    ) -> Result<Map<String, Value>, ArmError> {
        let mut settled = Map::with_capacity(fields.len());
        for (name, value) in fields {
            let known = self.spellings.get(&name.to_ascii_lowercase());
            let name = known.map_or(name, |known| (*known).to_owned());
            let place = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            if settled.contains_key(&name) {
                let message = format!(
                    "'{}' is there twice: names of properties are compared without regard to case. Leave one out.",
                    shown(&name)
                );
                return Err(ArmError::invalid_request_content(message).with_target(place));
            }
            let value = inside(&name, value, &place)?;
            settled.insert(name, value);
        }
        Ok(settled)
    }
}

/// What the bodies of all resources share.
static ENVELOPE: LazyLock<Vocabulary> = LazyLock::new(|| {
    let names =
        ["location", "tags", "identity", "kind", "sku", "plan", "zones", "extendedLocation", "managedBy", "properties"];
    Vocabulary::new(&names, &[])
});

/// What is in `identity` and `sku`.
static SHARED: LazyLock<Vocabulary> = LazyLock::new(|| {
    Vocabulary::new(&["type", "name", "tier", "size", "family", "capacity"], &["userAssignedIdentities"])
});

/// No property that means something is that deep; [`crate::json::parse`] bounds what is.
const MAX_DEPTH: usize = 32;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vocabulary() -> Vocabulary {
        Vocabulary::new(&["publicNetworkAccess", "rules", "type", "status"], &["tags", "named"])
    }

    #[test]
    fn names_come_in_the_wires_spelling_at_any_depth() {
        let body = json!({
            "Location": "local",
            "PROPERTIES": {"PublicNetworkAccess": "Disabled", "rules": [{"Type": "FQDN"}], "Unknown": {"TYPE": 1}},
            "Identity": {"Type": "None"},
        });
        let settled = json!({
            "location": "local",
            "properties": {"publicNetworkAccess": "Disabled", "rules": [{"type": "FQDN"}], "Unknown": {"type": 1}},
            "identity": {"type": "None"},
        });
        assert_eq!(vocabulary().settle(body).unwrap(), settled);
        assert_eq!(vocabulary().settle(settled.clone()).unwrap(), settled);
    }

    #[test]
    fn what_the_user_names_stays_as_it_is() {
        let body = json!({"tags": {"Status": "x"}, "properties": {"Named": {"Status": {"Type": "x"}}}});
        let settled = json!({"tags": {"Status": "x"}, "properties": {"named": {"Status": {"type": "x"}}}});
        assert_eq!(vocabulary().settle(body).unwrap(), settled);
        assert_eq!(vocabulary().settle(json!([1])).unwrap(), json!([1]));
    }

    #[test]
    fn a_name_in_two_spellings_is_refused() {
        for (body, target) in [
            (json!({"location": "a", "Location": "b"}), "location"),
            (json!({"properties": {"rules": [{"type": 1, "TYPE": 2}]}}), "properties.rules[0].type"),
        ] {
            let refused = vocabulary().settle(body).unwrap_err();
            assert_eq!((refused.status, refused.target.as_deref()), (400, Some(target)), "{refused}");
        }
    }
}
