//! `bastide access ask|requests|approve|deny`: how somebody comes by a role (mission.md A9).

use std::process::ExitCode;

use clap::Args;
use http::Method;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;
use uuid::Uuid;

use super::{API_VERSION, Place, at};
use crate::Outcome;
use crate::client::Api;
use crate::output::{columns, text};

#[derive(Debug, Args)]
pub(super) struct Ask {
    /// The role: its name, or its GUID.
    #[arg(long, value_name = "NAME|ID")]
    role: String,
    /// What it is needed for.
    #[arg(long, value_name = "TEXT", default_value = "")]
    because: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Decide {
    /// The request, as 'requests' lists them.
    #[arg(value_name = "REQUEST")]
    request: Uuid,
    /// What is said to whoever asked.
    #[arg(long, value_name = "TEXT", default_value = "")]
    because: String,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn ask(Ask { role, because, place }: &Ask) -> Outcome {
    let api = Api::open(place.data_dir.as_deref()).await?;
    let role = match Uuid::try_parse(role) {
        Ok(role) => role.to_string(),
        Err(_) => role_called(&api, role).await?,
    };
    let path = format!("{}?api-version={API_VERSION}", request_at(&place.scope, Uuid::new_v4()));
    let body = json!({"properties": {"roleDefinitionId": role, "justification": because}});
    let answer = api.ask(Method::PUT, &path, Some(&body)).await?.body;
    place.format.show(&answer, |answer| format!("Asked: {}\n", told(answer)))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn list(place: &Place) -> Outcome {
    let path = format!("{}/{TYPE}?api-version={API_VERSION}", place.scope);
    let answer = Api::open(place.data_dir.as_deref()).await?.get(&path).await?;
    place.format.show(&answer, table)?;
    Ok(ExitCode::SUCCESS)
}

/// A request is decided at the scope it was made at; it is found from any scope above.
pub(super) async fn decide(Decide { request, because, place }: &Decide, word: &str) -> Outcome {
    let api = Api::open(place.data_dir.as_deref()).await?;
    let listed = api.get(&format!("{}/{TYPE}?api-version={API_VERSION}", place.scope)).await?;
    let is_it = |asked: &&Value| at(asked, "/name").as_str() == Some(request.to_string().as_str());
    let found = at(&listed, "/value").as_array().into_iter().flatten().find(is_it);
    let id = found.map_or_else(|| request_at(&place.scope, *request), |found| text(at(found, "/id")));
    let path = format!("{id}/{word}?api-version={API_VERSION}");
    let body = json!({"properties": if because.is_empty() { json!({}) } else { json!({"reason": because}) }});
    let answer = api.ask(Method::POST, &path, Some(&body)).await?.body;
    place.format.show(&answer, |answer| format!("{}: {}\n", text(at(answer, "/properties/status")), told(answer)))?;
    Ok(ExitCode::SUCCESS)
}

/// The GUID of a role by its name; everybody may look it up.
async fn role_called(api: &Api, name: &str) -> Result<String, Box<dyn std::error::Error>> {
    let filter = format!("roleName eq '{}'", name.replace('\'', "''"));
    let query =
        Serializer::new(String::new()).append_pair("api-version", API_VERSION).append_pair("$filter", &filter).finish();
    let found = api.get(&format!("/providers/Microsoft.Authorization/roleDefinitions?{query}")).await?;
    match at(&found, "/value/0/name").as_str() {
        Some(id) => Ok(id.to_owned()),
        None => Err(format!("there is no role '{name}'; az role definition list shows those there are").into()),
    }
}

fn request_at(scope: &str, name: Uuid) -> String {
    format!("{scope}/{TYPE}/{name}")
}

/// A request in a few words.
fn told(answer: &Value) -> String {
    let of = |pointer: &str| text(at(answer, pointer));
    format!("{} at {} ({})", of("/properties/roleName"), of("/properties/scope"), of("/name"))
}

fn table(answer: &Value) -> String {
    let mut rows = vec![["REQUEST", "STATUS", "WHO", "ROLE", "AT", "BECAUSE"].map(str::to_owned)];
    rows.extend(at(answer, "/value").as_array().into_iter().flatten().map(|asked| {
        let of = |pointer: &str| text(at(asked, pointer));
        let said = ["status", "principal/name", "roleName", "scope", "justification"];
        let [status, who, role, scope, because] = said.map(|name| of(&format!("/properties/{name}")));
        [of("/name"), status, who, role, scope, because]
    }));
    columns(&rows)
}

const TYPE: &str = "providers/Bastide.Authorization/accessRequests";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_is_a_line_without_what_could_move_the_cursor() {
        let asked = json!({"name": "1", "properties": {
            "status": "Pending", "principal": {"name": "mei"}, "roleName": "Reader", "scope": "/s",
            "justification": "to\u{1b}[2J look",
        }});
        assert_eq!(told(&asked), "Reader at /s (1)");
        let expected = "REQUEST  STATUS   WHO  ROLE    AT  BECAUSE\n\
            1        Pending  mei  Reader  /s  to[2J look\n";
        assert_eq!(table(&json!({"value": [asked]})), expected);
    }
}
