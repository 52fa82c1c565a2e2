//! Parts of a compute with a shape of their own: its schedules, scripts, custom applications, identities, and what Bastide
//! adds.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{DocumentError, EXTENSION, camel, first, pascal, put, snake, snake_case, text, whole};

pub(super) fn schedules(schedules: &Value) -> Value {
    let wire = |one: &Value| {
        let trigger = one.get("trigger").cloned().unwrap_or_default();
        let is_cron = trigger.get("type").and_then(Value::as_str).is_some_and(|word| word.eq_ignore_ascii_case("cron"));
        let word =
            |value: Option<&Value>, default: &str| json!(pascal(value.and_then(Value::as_str).unwrap_or(default)));
        let mut times = json!({
            "startTime": trigger.get("start_time"),
            "timeZone": trigger.get("time_zone").and_then(Value::as_str).unwrap_or("UTC"),
        });
        if is_cron {
            put(&mut times, "expression", trigger.get("expression").cloned());
        } else {
            let pattern = trigger.get("schedule").cloned().unwrap_or_default();
            let several = |name: &str| {
                pattern.get(name).map(|value| if value.is_array() { value.clone() } else { json!([value]) })
            };
            put(&mut times, "frequency", Some(word(trigger.get("frequency"), "day")));
            put(&mut times, "interval", Some(trigger.get("interval").cloned().unwrap_or(json!(1))));
            let mut wire = json!({"hours": several("hours"), "minutes": several("minutes")});
            let days = several("week_days").and_then(|days| days.as_array().cloned());
            put(&mut wire, "weekDays", days.map(|days| days.iter().map(|day| word(Some(day), "")).collect()));
            put(&mut times, "schedule", Some(wire));
        }
        let (kind, name) = if is_cron { ("Cron", "cron") } else { ("Recurrence", "recurrence") };
        json!({
            "action": word(one.get("action"), ""), "status": word(one.get("state"), "enabled"),
            "triggerType": kind, name: times,
        })
    };
    let list = schedules.get("compute_start_stop").and_then(Value::as_array).into_iter().flatten();
    json!({"computeStartStop": list.map(wire).collect::<Value>()})
}

pub(super) fn schedules_from_wire(schedules: &Value) -> Option<Value> {
    let document = |one: &Value| {
        let (kind, times) = one
            .get("cron")
            .filter(|cron| !cron.is_null())
            .map_or(("recurrence", &one["recurrence"]), |cron| ("cron", cron));
        let mut trigger = first(snake_case(std::slice::from_ref(times))).unwrap_or_default();
        put(&mut trigger, "type", Some(json!(kind)));
        json!({
            "action": snake(&text(&one["action"])), "state": snake(&text(&one["status"])), "schedule_id": one["id"],
            "provisioning_state": one["provisioningStatus"], "trigger": trigger,
        })
    };
    let list = schedules.get("computeStartStop")?.as_array().filter(|list| !list.is_empty())?;
    Some(json!({"compute_start_stop": list.iter().map(document).collect::<Value>()}))
}

/// A script beside the file travels in the request; any other is a path in the workspace's storage, as az has it.
pub(super) fn setup_scripts(scripts: &Value, beside: &Path) -> Result<Value, DocumentError> {
    let mut wire = json!({});
    for (name, field) in [("creationScript", "creation_script"), ("startupScript", "startup_script")] {
        let Some(script) = scripts.get(field).filter(|script| !script.is_null()) else { continue };
        let path = script.get("path").and_then(Value::as_str).ok_or(DocumentError::Value("setup_scripts"))?;
        let mut reference = match fs::read(beside.join(path)) {
            Ok(content) => json!({"scriptSource": "inline", "scriptData": STANDARD.encode(content)}),
            Err(_) => json!({"scriptSource": "workspaceStorage", "scriptData": path}),
        };
        put(&mut reference, "scriptArguments", script.get("command").cloned());
        let minutes = script.get("timeout_minutes").map(whole("timeout_minutes")).transpose()?;
        put(&mut reference, "timeout", minutes.map(|minutes| json!(format!("{minutes}m"))));
        put(&mut wire, name, Some(reference));
    }
    Ok(json!({"scripts": wire}))
}

pub(super) fn setup_scripts_from_wire(scripts: &Value) -> Value {
    let mut document = json!({});
    for (name, field) in [("creation_script", "creationScript"), ("startup_script", "startupScript")] {
        let Some(script) = scripts.pointer(&format!("/scripts/{field}")).filter(|script| !script.is_null()) else {
            continue;
        };
        let is_path = script.get("scriptSource").is_none_or(|source| source != "inline");
        let mut one = json!({});
        put(&mut one, "path", script.get("scriptData").filter(|_| is_path).cloned());
        put(&mut one, "command", script.get("scriptArguments").cloned());
        let minutes =
            script.get("timeout").and_then(Value::as_str).and_then(|time| time.strip_suffix('m')?.parse::<u64>().ok());
        put(&mut one, "timeout_minutes", minutes.map(|minutes| json!(minutes)));
        put(&mut document, name, Some(one));
    }
    document
}

pub(super) fn custom_services(applications: &Value) -> Result<Value, DocumentError> {
    let all = applications.as_array().ok_or(DocumentError::Value("custom_applications"))?;
    let wire = |application: &Value| {
        let list = |name: &str| application.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let endpoint = |one: &Value| json!({"name": "connect", "protocol": "http", "target": one["target"], "published": one["published"]});
        let mount =
            |one: &Value| json!({"type": "bind", "readOnly": false, "source": one["source"], "target": one["target"]});
        let variables = application.get("environment_variables").and_then(Value::as_object).into_iter().flatten();
        json!({
            "name": application["name"],
            "type": application.get("type").cloned().unwrap_or(json!("docker")),
            "image": {"type": "docker", "reference": application.pointer("/image/reference")},
            "endpoints": list("endpoints").iter().map(endpoint).collect::<Value>(),
            "environmentVariables": variables.map(|(name, value)| (name.clone(), json!({"type": "local", "value": value}))).collect::<Map<_, _>>(),
            "volumes": list("bind_mounts").iter().map(mount).collect::<Value>(),
        })
    };
    Ok(all.iter().map(wire).collect())
}

pub(super) fn custom_services_from_wire(services: &Value) -> Option<Value> {
    let document = |service: &Value| {
        let list = |name: &str| service.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let variables = service.get("environmentVariables").and_then(Value::as_object).into_iter().flatten();
        json!({
            "name": service["name"],
            "type": service.get("type").cloned().unwrap_or(json!("docker")),
            "image": {"reference": service.pointer("/image/reference")},
            "endpoints": list("endpoints").iter().map(|one| json!({"target": one["target"], "published": one["published"]})).collect::<Value>(),
            "environment_variables": variables.map(|(name, value)| (name.clone(), value["value"].clone())).collect::<Map<_, _>>(),
            "bind_mounts": list("volumes").iter().map(|one| json!({"source": one["source"], "target": one["target"]})).collect::<Value>(),
        })
    };
    let all = services.as_array().filter(|all| !all.is_empty())?;
    Some(all.iter().map(document).collect())
}

/// What Bastide knows beyond az: the image, the isolation, when to freeze.
pub(super) fn extension(extension: &Value) -> Result<Value, DocumentError> {
    let fields = extension.as_object().ok_or(DocumentError::Value(EXTENSION))?;
    Ok(fields.iter().map(|(name, value)| (camel(name), value.clone())).collect::<Map<_, _>>().into())
}

pub(super) fn identity(identity: &Value) -> Result<Value, DocumentError> {
    let kind = identity.get("type").and_then(Value::as_str).ok_or(DocumentError::Value("identity"))?;
    let mut wire = json!({"type": kind.split(',').map(pascal).collect::<Vec<_>>().join(",")});
    let users = match identity.get("user_assigned_identities") {
        Some(Value::Array(items)) => {
            let ids = items.iter().map(|item| item.get("resource_id").unwrap_or(item).as_str().unwrap_or_default());
            Some(ids.map(|id| (id.to_owned(), json!({}))).collect::<Map<_, _>>().into())
        }
        Some(Value::Object(map)) => Some(map.keys().map(|id| (id.clone(), json!({}))).collect::<Map<_, _>>().into()),
        _ => None,
    };
    put(&mut wire, "userAssignedIdentities", users);
    Ok(wire)
}

pub(super) fn identity_from_wire(identity: &Value) -> Value {
    let mut document = json!({"type": snake(text(&identity["type"]).as_str())});
    put(&mut document, "principal_id", identity.get("principalId").cloned());
    put(&mut document, "tenant_id", identity.get("tenantId").cloned());
    let users = identity.get("userAssignedIdentities").and_then(Value::as_object).map(|users| {
        let one = |(id, user): (&String, &Value)| json!({"resource_id": id, "client_id": user["clientId"], "principal_id": user["principalId"]});
        users.iter().map(one).collect::<Value>()
    });
    put(&mut document, "user_assigned_identities", users);
    document
}
