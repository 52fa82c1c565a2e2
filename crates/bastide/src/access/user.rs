//! `bastide access users`: who has access, through what.

use std::process::ExitCode;

use serde_json::Value;

use super::{API_VERSION, Place};
use crate::Outcome;
use crate::client::Api;
use crate::output::{columns, text};

pub(super) async fn list(place: &Place) -> Outcome {
    let path = format!("{}/providers/Bastide.Authorization/users?api-version={API_VERSION}", place.scope);
    let answer = Api::open(place.data_dir.as_deref()).await?.get(&path).await?;
    place.format.show(&answer, told)?;
    Ok(ExitCode::SUCCESS)
}

/// A line for each role somebody has.
fn told(answer: &Value) -> String {
    let mut rows = vec![["WHO", "TYPE", "ROLE", "AT", "THROUGH", "REACHES"].map(str::to_owned)];
    for user in answer["value"].as_array().into_iter().flatten() {
        let principal = &user["principal"];
        let name = if principal["name"].is_null() { &principal["objectId"] } else { &principal["name"] };
        for access in user["access"].as_array().into_iter().flatten() {
            let role = if access["roleName"].is_null() { &access["roleDefinitionId"] } else { &access["roleName"] };
            let role = text(role) + if access["condition"].is_null() { "" } else { " (on a condition)" };
            let reaches = access["reaches"].as_array().into_iter().flatten().map(|id| last(&text(id)));
            let reaches = reaches.collect::<Vec<_>>().join(", ");
            let of = |value: &Value| text(value);
            rows.push([
                of(name),
                of(&principal["type"]),
                role,
                of(&access["scope"]),
                through(&access["group"]),
                reaches,
            ]);
        }
    }
    columns(&rows)
}

fn through(group: &Value) -> String {
    match group {
        Value::Null => "-".to_owned(),
        Value::Object(group) => format!("group {}", text(group.get("name").unwrap_or(&Value::Null))),
        other => format!("group {}", text(other)),
    }
}

fn last(id: &str) -> String {
    id.rsplit('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_role_of_somebody_is_a_line() {
        let told = told(&json!({"value": [{
            "principal": {"name": "mei", "objectId": "1", "type": "User"},
            "access": [
                {"roleName": "Reader", "scope": "/s", "group": null, "condition": null, "reaches": ["/s/hub"]},
                {"roleName": "Owner", "scope": "/s", "group": {"name": "team"}, "condition": "x",
                 "reaches": ["/s/hub", "/s/project"]},
            ],
        }]}));
        let expected = "WHO  TYPE  ROLE                    AT  THROUGH     REACHES\n\
            mei  User  Reader                  /s  -           hub\n\
            mei  User  Owner (on a condition)  /s  group team  hub, project\n";
        assert_eq!(told, expected);
    }
}
