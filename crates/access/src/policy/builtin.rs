//! The built-in definitions and initiatives.
//!
//! Those that Azure has too carry its ids and its rules (Azure/azure-policy on GitHub, MIT), so that assignments by id
//! mean the same on both sides. The others are Bastide's own.

use std::sync::{Arc, LazyLock};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::definition::Definition;
use super::initiative::Initiative;

/// The built-in definitions.
pub fn builtin_definitions() -> &'static [Arc<Definition>] {
    &BUILTIN.definitions
}

/// The built-in initiatives.
pub fn builtin_initiatives() -> &'static [Arc<Initiative>] {
    &BUILTIN.initiatives
}

/// The `properties` of a built-in definition or initiative, by its id in any case.
pub fn builtin_properties(id: &str) -> Option<&'static Map<String, Value>> {
    BUILTIN.properties.iter().find(|(known, _)| known.eq_ignore_ascii_case(id)).map(|(_, properties)| properties)
}

#[derive(Default)]
struct Builtin {
    definitions: Vec<Arc<Definition>>,
    initiatives: Vec<Arc<Initiative>>,
    properties: Vec<(String, Map<String, Value>)>,
}

#[derive(Deserialize)]
struct File {
    definitions: Vec<Written>,
    initiatives: Vec<Written>,
}

#[derive(Deserialize)]
struct Written {
    name: String,
    properties: Map<String, Value>,
}

// The file is part of the program, and a test reads all of it.
static BUILTIN: LazyLock<Builtin> =
    LazyLock::new(|| read(include_str!("../../data/builtin-policies.json")).unwrap_or_default());

fn read(text: &str) -> Result<Builtin, String> {
    let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut builtin = Builtin::default();
    for Written { name, properties } in file.definitions {
        let id = format!("/providers/Microsoft.Authorization/policyDefinitions/{name}");
        let definition =
            Definition::read(&id, &properties).map_err(|error| format!("{id} {}: {error}", error.place))?;
        builtin.definitions.push(Arc::new(definition));
        builtin.properties.push((id, properties));
    }
    for Written { name, properties } in file.initiatives {
        let id = format!("/providers/Microsoft.Authorization/policySetDefinitions/{name}");
        let initiative =
            Initiative::read(&id, &properties).map_err(|error| format!("{id} {}: {error}", error.place))?;
        builtin.initiatives.push(Arc::new(initiative));
        builtin.properties.push((id, properties));
    }
    Ok(builtin)
}

#[cfg(test)]
mod tests {
    use super::super::Catalogue;
    use super::*;

    #[test]
    fn every_built_in_rule_is_understood() {
        let builtin = read(include_str!("../../data/builtin-policies.json")).unwrap();
        assert!(builtin.definitions.len() >= 30, "{}", builtin.definitions.len());
        for initiative in &builtin.initiatives {
            Catalogue::default().check_initiative(initiative).unwrap();
        }
    }
}
