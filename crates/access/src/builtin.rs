use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;
use uuid::Uuid;

use crate::RoleDefinition;

/// The built-in roles that matter to a hub, with the GUIDs they have in every cloud.
pub fn builtin_roles() -> &'static [RoleDefinition] {
    &BUILTIN.roles
}

/// A built-in role by its GUID or, in any ASCII case, by its name.
///
/// Names that were changed in 2026 are still understood: `Azure AI User` is `Foundry User`.
pub fn builtin_role(name_or_id: &str) -> Option<&'static RoleDefinition> {
    let id = match Uuid::try_parse(name_or_id) {
        Ok(id) => id,
        Err(_) => *BUILTIN.names.get(&name_or_id.to_ascii_lowercase())?,
    };
    BUILTIN.roles.iter().find(|role| role.id == id)
}

struct Builtin {
    roles: Vec<RoleDefinition>,
    /// Lower-cased names and former names.
    names: HashMap<String, Uuid>,
}

#[derive(Deserialize)]
struct List {
    value: Vec<RoleDefinition>,
}

static BUILTIN: LazyLock<Builtin> = LazyLock::new(|| {
    // The file is part of the program and the tests read it whole; should it ever be unreadable, no role grants.
    let roles = serde_json::from_str(DATA).map_or_else(|_| Vec::new(), |list: List| list.value);
    let mut names: HashMap<_, _> = roles.iter().map(|role| (role.role_name.to_ascii_lowercase(), role.id)).collect();
    for (former, current) in FORMER_NAMES {
        if let Some(id) = names.get(&current.to_ascii_lowercase()).copied() {
            names.entry(former.to_ascii_lowercase()).or_insert(id);
        }
    }
    Builtin { roles, names }
});

const DATA: &str = include_str!("../data/builtin-roles.json");

const FORMER_NAMES: [(&str, &str); 4] = [
    ("Azure AI User", "Foundry User"),
    ("Azure AI Project Manager", "Foundry Project Manager"),
    ("Azure AI Account Owner", "Foundry Account Owner"),
    ("Azure AI Owner", "Foundry Owner"),
];

#[cfg(test)]
mod tests {
    use uuid::uuid;

    use super::*;

    #[test]
    fn all_ninety_roles_are_read() {
        assert_eq!(builtin_roles().len(), 90);
    }

    #[test]
    fn roles_are_found_by_id_name_and_former_name() {
        let owner = uuid!("8e3af657-a8ff-443c-a75c-2fe8c4bcb635");
        assert_eq!(builtin_role("8E3AF657-A8FF-443C-A75C-2FE8C4BCB635").unwrap().id, owner);
        assert_eq!(builtin_role("owner").unwrap().id, owner);
        assert_eq!(builtin_role("Azure AI User").unwrap().role_name, "Foundry User");
        assert!(builtin_role("Emperor").is_none());
    }

    #[test]
    fn definitions_survive_a_round_trip_in_the_shape_of_the_api() {
        let source: serde_json::Value = serde_json::from_str(DATA).unwrap();
        for (role, source) in builtin_roles().iter().zip(source["value"].as_array().unwrap()) {
            let written = serde_json::to_value(role).unwrap();
            for field in ["id", "name", "type"] {
                assert_eq!(written[field], source[field]);
            }
            for (field, value) in source["properties"].as_object().unwrap() {
                assert_eq!(&written["properties"][field], value, "{field} of {}", role.role_name);
            }
            assert_eq!(&serde_json::from_value::<RoleDefinition>(written).unwrap(), role);
        }
    }
}
