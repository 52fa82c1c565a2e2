//! The body of a deployment, read.

use std::collections::BTreeMap;

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::location::Location;
use bastide_template::Mode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What somebody asks to deploy.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Where the deployment's record is kept; only above resource groups.
    pub(super) location: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) mode: Mode,
    pub(super) template: Given,
    pub(super) parameters: Given,
    /// `ResourceIdOnly` of a what-if: no payloads.
    pub(super) ids_only: bool,
}

/// A document, or where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Given {
    /// The document itself.
    Inline(Value),
    /// Its address, and the version it must say it has.
    Linked {
        /// The address.
        uri: String,
        /// `contentVersion`.
        version: Option<String>,
    },
}

impl Asked {
    /// Reads a body for a deployment of this id.
    pub(super) fn read(body: &Value, id: &ResourceId) -> Result<Self, ArmError> {
        let invalid = |message: &str| ArmError::invalid_request_content(message);
        let Some(properties) = body.get("properties").and_then(Value::as_object) else {
            return Err(invalid("A deployment needs 'properties', an object with 'mode' and 'template'."));
        };
        refuse_unsupported(properties)?;
        let mode = properties.get("mode").and_then(Value::as_str).and_then(Mode::parse);
        let mode = mode.ok_or_else(|| invalid("'properties.mode' is required; it is 'Incremental' or 'Complete'."))?;
        let in_group = id.resource_group().is_some();
        if mode == Mode::Complete && !in_group {
            let message = "Complete mode works in a resource group only; deploy to the group, or use 'Incremental'.";
            return Err(ArmError::new(400, "InvalidDeployment", message).with_target("properties.mode"));
        }
        let template = given(properties, "template", "templateLink")?
            .ok_or_else(|| invalid("A deployment needs 'properties.template' or 'properties.templateLink'."))?;
        let parameters = given(properties, "parameters", "parametersLink")?;
        Ok(Self {
            location: location(body, id, in_group)?,
            tags: tags(body)?,
            mode,
            template,
            parameters: parameters.unwrap_or(Given::Inline(Value::Null)),
            ids_only: properties
                .get("whatIfSettings")
                .and_then(|settings| settings.get("resultFormat")?.as_str())
                .is_some_and(|format| format.eq_ignore_ascii_case("ResourceIdOnly")),
        })
    }

    /// The address of the template, when it is linked.
    pub(super) fn template_uri(&self) -> Option<&str> {
        match &self.template {
            Given::Linked { uri, .. } => Some(uri),
            Given::Inline(_) => None,
        }
    }
}

/// What changes the meaning of a deployment and cannot be done here is refused, never skipped.
fn refuse_unsupported(properties: &Map<String, Value>) -> Result<(), ArmError> {
    for name in ["onErrorDeployment", "extensionConfigs", "externalInputs"] {
        let is_given = match properties.get(name) {
            None | Some(Value::Null) => false,
            Some(Value::Object(members)) => !members.is_empty(),
            Some(_) => true,
        };
        if is_given {
            let message = format!("'properties.{name}' is not supported; leave it out.");
            return Err(ArmError::new(400, "InvalidDeployment", message).with_target(format!("properties.{name}")));
        }
    }
    Ok(())
}

fn given(properties: &Map<String, Value>, inline: &str, link: &str) -> Result<Option<Given>, ArmError> {
    let there = |name: &str| properties.get(name).filter(|value| !value.is_null());
    match (there(inline), there(link)) {
        (Some(_), Some(_)) => {
            let message =
                format!("'properties.{inline}' and 'properties.{link}' exclude each other; send one of them.");
            Err(ArmError::invalid_request_content(message))
        }
        (Some(document), None) if document.is_object() => Ok(Some(Given::Inline(document.clone()))),
        (Some(_), None) => Err(ArmError::invalid_request_content(format!("'properties.{inline}' must be an object."))),
        (None, Some(address)) => {
            let text = |name: &str| address.get(name).and_then(Value::as_str).map(str::to_owned);
            let Some(uri) = text("uri") else {
                let message = format!("'properties.{link}' needs a 'uri'; template specs ('id') are not supported.");
                return Err(ArmError::invalid_request_content(message));
            };
            Ok(Some(Given::Linked { uri, version: text("contentVersion") }))
        }
        (None, None) => Ok(None),
    }
}

fn location(body: &Value, id: &ResourceId, in_group: bool) -> Result<Option<String>, ArmError> {
    let asked = body.get("location").filter(|location| !location.is_null());
    match (asked, in_group) {
        (None, true) => Ok(None),
        (None, false) => {
            let message = format!("The 'location' property must be specified for '{}'.", id.name());
            Err(ArmError::new(400, "LocationRequired", message).with_target("location"))
        }
        (Some(_), true) => {
            let message = format!(
                "The 'location' property is not allowed for '{}' at resource group scope; leave it out.",
                id.name()
            );
            Err(ArmError::new(400, "LocationNotAllowed", message).with_target("location"))
        }
        (Some(Value::String(text)), false) => Ok(Some(Location::parse(text)?.as_str().to_owned())),
        (Some(_), false) => Err(ArmError::invalid_parameter("location", "'location' must be a string.")),
    }
}

fn tags(body: &Value) -> Result<BTreeMap<String, String>, ArmError> {
    let envelope = bastide_arm::envelope::Envelope::read_patch(&serde_json::json!({
        "tags": body.get("tags").cloned().unwrap_or_default(),
    }))?;
    Ok(envelope.tags.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GROUP: &str = "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590/resourceGroups/rg";
    const SUBSCRIPTION: &str = "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590";

    fn read(scope: &str, body: &Value) -> Result<Asked, ArmError> {
        let id = ResourceId::parse(&format!("{scope}/providers/Microsoft.Resources/deployments/main")).unwrap();
        Asked::read(body, &id)
    }

    #[test]
    fn a_group_has_its_place_already_and_a_subscription_needs_one() {
        let properties = json!({"mode": "incremental", "template": {}});
        assert!(read(GROUP, &json!({"properties": properties})).is_ok());
        assert_eq!(
            read(GROUP, &json!({"properties": properties, "location": "x"})).unwrap_err().code,
            "LocationNotAllowed"
        );
        assert_eq!(read(SUBSCRIPTION, &json!({"properties": properties})).unwrap_err().code, "LocationRequired");
        let asked = read(SUBSCRIPTION, &json!({"properties": properties, "location": "West Europe"})).unwrap();
        assert_eq!(asked.location.as_deref(), Some("westeurope"));
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for (properties, word) in [
            (json!({"template": {}}), "mode"),
            (json!({"mode": "Partial", "template": {}}), "mode"),
            (json!({"mode": "Incremental"}), "templateLink"),
            (json!({"mode": "Incremental", "template": []}), "object"),
            (json!({"mode": "Incremental", "template": {}, "templateLink": {"uri": "https://x/y"}}), "exclude"),
            (json!({"mode": "Incremental", "templateLink": {"id": "/x"}}), "template specs"),
            (
                json!({"mode": "Incremental", "template": {}, "onErrorDeployment": {"type": "LastSuccessful"}}),
                "onError",
            ),
        ] {
            let error = read(GROUP, &json!({"properties": properties})).unwrap_err();
            assert!(error.status == 400 && error.message.contains(word), "{error}");
        }
        let complete = json!({"properties": {"mode": "Complete", "template": {}}, "location": "westeurope"});
        assert_eq!(read(SUBSCRIPTION, &complete).unwrap_err().code, "InvalidDeployment");
    }
}
