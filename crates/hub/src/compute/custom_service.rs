//! `customServices`: programs in containers of their own inside of an instance, as the cloud runs them. There are no
//! containers inside of an instance of Bastide, so they are kept, and the instance's `errors` say of each that it does not
//! run: one body works here and in the cloud, and nothing is said to run that does not.

use bastide_arm::error::ArmError;
use serde_json::{Map, Value, json};

use super::AT;
use crate::field::{self, refused};

/// Whether a body names any. A list that cannot be read is refused.
pub(super) fn check(inner: &Map<String, Value>, warnings: &mut Vec<String>) -> Result<(), ArmError> {
    let services = match inner.get(NAME) {
        None => return Ok(()),
        Some(Value::Array(services)) => services,
        Some(_) => return Err(refused(&format!("{AT}.{NAME}"), "customServices must be a list.")),
    };
    let mut names: Vec<&str> = Vec::new();
    for (index, service) in services.iter().enumerate() {
        let at = format!("{AT}.{NAME}[{index}]");
        let name = read(service, &at)?;
        if names.contains(&name) {
            return Err(refused(
                &format!("{at}.name"),
                format!("Two custom services are called '{name}'. Rename one."),
            ));
        }
        names.push(name);
    }
    if !names.is_empty() {
        warnings.push(format!("customServices are kept and not run. {WHAT_TO_DO}"));
    }
    Ok(())
}

/// Whether an instance has any.
pub(super) fn is_any(inner: &Map<String, Value>) -> bool {
    inner.get(NAME).and_then(Value::as_array).is_some_and(|services| !services.is_empty())
}

/// What the instance's `errors` say: one for each.
pub(super) fn errors(inner: &Map<String, Value>) -> impl Iterator<Item = ArmError> {
    let services = inner.get(NAME).and_then(Value::as_array).into_iter().flatten();
    services.enumerate().map(|(index, service)| {
        let name = service.get("name").and_then(Value::as_str).unwrap_or_default();
        ArmError::new(409, "CustomServiceNotRunning", format!("The custom service '{name}' does not run. {WHAT_TO_DO}"))
            .with_target(format!("{AT}.{NAME}[{index}]"))
    })
}

/// Its name, when it is one that the cloud would run.
fn read<'a>(service: &'a Value, at: &str) -> Result<&'a str, ArmError> {
    let fields = service.as_object().ok_or_else(|| refused(at, "A custom service must be an object."))?;
    let name = field::text(fields, "name", at)?
        .ok_or_else(|| refused(&format!("{at}.name"), "A custom service needs a name."))?;
    let image = match field::object(fields, "image", at)? {
        Some(image) => field::text(image, "reference", &format!("{at}.image"))?,
        None => None,
    };
    if image.is_none() {
        let message = "A custom service needs an image with a reference such as registry.example/team/image:1.0.";
        return Err(refused(&format!("{at}.image.reference"), message));
    }
    let endpoints = match fields.get("endpoints") {
        None | Some(Value::Null) => json!([]),
        Some(endpoints) => endpoints.clone(),
    };
    let endpoints =
        endpoints.as_array().ok_or_else(|| refused(&format!("{at}.endpoints"), "endpoints must be a list."))?;
    for (index, endpoint) in endpoints.iter().enumerate() {
        for port in ["target", "published"] {
            let is_port = |port: &Value| port.as_u64().is_some_and(|port| (1..=65_535).contains(&port));
            if endpoint.get(port).is_some_and(|value| !value.is_null() && !is_port(value)) {
                let message = format!("{port} must be a port, a number from 1 to 65535.");
                return Err(refused(&format!("{at}.endpoints[{index}].{port}"), message));
            }
        }
    }
    Ok(name)
}

const NAME: &str = "customServices";

const WHAT_TO_DO: &str = "An instance of Bastide has no containers inside of it. Install the program in its image, or start \
                          it in the startup script: what listens on a port of its loopback is a page of the instance, at \
                          the address of its Jupyter with PORT- before the host name.";
