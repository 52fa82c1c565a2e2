//! A compute as az's files and answers have it - flat, `snake_case` - and as the API has it.

mod part;

use std::path::Path;

use serde_json::{Map, Value, json};

use self::part::{
    custom_services, custom_services_from_wire, extension, identity, identity_from_wire, schedules,
    schedules_from_wire, setup_scripts, setup_scripts_from_wire,
};

/// A file or an argument that makes no compute.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error("a compute needs a type: computeinstance or amlcompute (--type, or 'type' in the file)")]
    NoType,
    #[error("computes of type '{0}' cannot be made: use computeinstance or amlcompute")]
    Type(String),
    #[error("a compute needs a name (--name, or 'name' in the file)")]
    NoName,
    #[error("a {kind} has no field '{field}'. Its fields are: {}", .known.join(", "))]
    Field { kind: &'static str, field: String, known: Vec<&'static str> },
    #[error("the field '{0}' is not what it should be")]
    Value(&'static str),
}

/// The two kinds of compute that Bastide runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Instance,
    Cluster,
}

impl Kind {
    /// Of a document, or of the word of a command line.
    pub(crate) fn read(word: Option<&Value>) -> Result<Self, DocumentError> {
        let word = word.and_then(Value::as_str).ok_or(DocumentError::NoType)?;
        match word.to_ascii_lowercase().replace('_', "").as_str() {
            "computeinstance" => Ok(Self::Instance),
            "amlcompute" => Ok(Self::Cluster),
            _ => Err(DocumentError::Type(word.to_owned())),
        }
    }

    fn wire(self) -> &'static str {
        match self {
            Self::Instance => "ComputeInstance",
            Self::Cluster => "AmlCompute",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Instance => "computeinstance",
            Self::Cluster => "amlcompute",
        }
    }

    fn fields(self) -> impl Iterator<Item = &'static str> {
        COMMON
            .iter()
            .chain(match self {
                Self::Instance => &INSTANCE[..],
                Self::Cluster => &CLUSTER[..],
            })
            .copied()
    }
}

/// The body to PUT. Only what the document says is sent, so that what it leaves open the server decides. Scripts are read
/// from `beside`, the directory of the file, when they are there.
pub(crate) fn to_wire(document: &Value, location: &str, beside: &Path) -> Result<Value, DocumentError> {
    let kind = Kind::read(document.get("type"))?;
    let fields = document.as_object().ok_or(DocumentError::NoType)?;
    let known: Vec<_> = kind.fields().collect();
    if let Some(field) = fields.keys().find(|field| !known.contains(&field.as_str())) {
        return Err(DocumentError::Field { kind: kind.word(), field: field.clone(), known });
    }
    let fields = Fields(fields);
    let mut inner = match kind {
        Kind::Instance => instance(&fields, beside)?,
        Kind::Cluster => cluster(&fields)?,
    };
    put(&mut inner, EXTENSION, fields.get(EXTENSION).map(extension).transpose()?);
    let mut properties = json!({"computeType": kind.wire(), "properties": inner});
    // As azure-ai-ml decides it, so that a compute that one of the two has made can be changed by the other.
    let has_local_accounts = match kind {
        Kind::Instance => fields.is_true("ssh_public_access_enabled"),
        Kind::Cluster => fields.get("ssh_settings").is_some(),
    };
    put(&mut properties, "description", fields.get("description").cloned());
    put(&mut properties, "disableLocalAuth", Some(json!(!has_local_accounts)));
    let mut body = json!({"location": fields.text("location").unwrap_or(location), "properties": properties});
    put(&mut body, "tags", fields.get("tags").cloned());
    put(&mut body, "identity", fields.get("identity").map(identity).transpose()?);
    Ok(body)
}

/// The document of what the API answers.
pub(crate) fn from_wire(resource: &Value) -> Value {
    let at = |path: &str| resource.pointer(path).filter(|value| !value.is_null()).cloned();
    let inner = |name: &str| at(&format!("/properties/properties/{name}"));
    let mut document = json!({});
    let kind = at("/properties/computeType").map(|kind| text(&kind).to_ascii_lowercase());
    for (name, value) in [
        ("name", at("/name")),
        ("id", at("/id")),
        ("type", kind.clone().map(Value::String)),
        ("description", at("/properties/description")),
        ("location", at("/properties/computeLocation").or(at("/location"))),
        ("tags", at("/tags").filter(|tags| tags != &json!({}))),
        ("provisioning_state", at("/properties/provisioningState")),
        ("provisioning_errors", at("/properties/provisioningErrors/0/error/code")),
        ("created_on", at("/properties/createdOn")),
        ("resource_id", at("/properties/resourceId")),
        ("identity", at("/identity").as_ref().map(identity_from_wire)),
        ("size", inner("vmSize")),
        ("network_settings", network(resource)),
        ("enable_node_public_ip", inner("enableNodePublicIp")),
        (EXTENSION, inner(EXTENSION).map(|extension| snake_case(&[extension])).and_then(first)),
    ] {
        put(&mut document, name, value);
    }
    let more =
        if kind.as_deref() == Some("amlcompute") { cluster_from_wire(&inner) } else { instance_from_wire(&inner) };
    for (name, value) in more {
        put(&mut document, name, value);
    }
    document
}

fn instance(fields: &Fields<'_>, beside: &Path) -> Result<Value, DocumentError> {
    let minutes = fields.get("idle_time_before_shutdown_minutes").map(whole("idle_time_before_shutdown_minutes"));
    let idle = minutes.transpose()?.map(|minutes| json!(format!("PT{minutes}M")));
    let assigned = fields.get("create_on_behalf_of").map(|user| {
        json!({"assignedUser": {"objectId": user.get("user_object_id"), "tenantId": user.get("user_tenant_id")}})
    });
    let mut inner = json!({
        "vmSize": fields.text("size").unwrap_or(DEFAULT_SIZE),
        "applicationSharingPolicy": if assigned.is_some() { "Personal" } else { "Shared" },
        "computeInstanceAuthorizationType": "personal",
    });
    for (name, value) in [
        ("subnet", subnet(fields)),
        ("sshSettings", fields.ssh("sshPublicAccess", "adminPublicKey")),
        ("personalComputeInstanceSettings", assigned),
        ("idleTimeBeforeShutdown", idle.or(fields.get("idle_time_before_shutdown").cloned())),
        ("enableNodePublicIp", fields.get("enable_node_public_ip").cloned()),
        ("enableSSO", fields.get("enable_sso").cloned()),
        ("enableRootAccess", fields.get("enable_root_access").cloned()),
        ("releaseQuotaOnStop", fields.get("release_quota_on_stop").cloned()),
        ("enableOSPatching", fields.get("enable_os_patching").cloned()),
        ("schedules", fields.get("schedules").map(schedules)),
        ("setupScripts", fields.get("setup_scripts").map(|scripts| setup_scripts(scripts, beside)).transpose()?),
        ("customServices", fields.get("custom_applications").map(custom_services).transpose()?),
    ] {
        put(&mut inner, name, value);
    }
    Ok(inner)
}

fn cluster(fields: &Fields<'_>) -> Result<Value, DocumentError> {
    let number = |name: &'static str| fields.get(name).map(whole(name)).transpose();
    let mut scale = json!({
        "minNodeCount": number("min_instances")?.unwrap_or(0),
        "maxNodeCount": number("max_instances")?.unwrap_or(4),
    });
    let seconds = number("idle_time_before_scale_down")?;
    put(&mut scale, "nodeIdleTimeBeforeScaleDown", seconds.map(|seconds| json!(format!("PT{seconds}S"))));
    let mut inner = json!({
        "osType": "Linux",
        "vmSize": fields.text("size").unwrap_or(DEFAULT_SIZE),
        "scaleSettings": scale,
    });
    let credentials = fields.get("ssh_settings").map(|ssh| {
        let mut credentials = json!({"adminUserName": ssh.get("admin_username")});
        put(&mut credentials, "adminUserPassword", ssh.get("admin_password").cloned());
        put(&mut credentials, "adminUserSshPublicKey", ssh.get("ssh_key_value").cloned());
        credentials
    });
    for (name, value) in [
        ("vmPriority", fields.text("tier").map(|tier| json!(pascal(tier)))),
        ("subnet", subnet(fields)),
        ("userAccountCredentials", credentials),
        ("remoteLoginPortPublicAccess", fields.get("ssh_public_access_enabled").map(enabled)),
        ("enableNodePublicIp", fields.get("enable_node_public_ip").cloned()),
    ] {
        put(&mut inner, name, value);
    }
    Ok(inner)
}

fn instance_from_wire(inner: &dyn Fn(&str) -> Option<Value>) -> Vec<(&'static str, Option<Value>)> {
    let ssh = inner("sshSettings");
    let ssh_settings = ssh.as_ref().map(|ssh| {
        let mut settings = json!({});
        put(&mut settings, "admin_username", ssh.get("adminUserName").cloned());
        put(&mut settings, "ssh_port", ssh.get("sshPort").map(|port| json!(text(port))));
        put(&mut settings, "ssh_key_value", ssh.get("adminPublicKey").cloned());
        settings
    });
    let public = ssh.as_ref().and_then(|ssh| ssh.get("sshPublicAccess")).map(|word| json!(word == "Enabled"));
    let idle = inner("idleTimeBeforeShutdown");
    let minutes = idle.as_ref().and_then(Value::as_str).and_then(|time| time.strip_prefix("PT")?.strip_suffix('M'));
    let minutes = minutes.and_then(|minutes| minutes.parse::<u64>().ok()).map(|minutes| json!(minutes));
    let assigned = inner("personalComputeInstanceSettings").and_then(|settings| settings.get("assignedUser").cloned());
    let services =
        inner("applications").and_then(|list| Some(snake_case(list.as_array().filter(|all| !all.is_empty())?)));
    vec![
        ("state", inner("state")),
        ("last_operation", inner("lastOperation").map(|operation| snake_case(&[operation])).and_then(first)),
        ("services", services),
        ("ssh_settings", ssh_settings),
        ("ssh_public_access_enabled", public),
        (
            "create_on_behalf_of",
            assigned
                .map(|user| json!({"user_object_id": user.get("objectId"), "user_tenant_id": user.get("tenantId")})),
        ),
        ("idle_time_before_shutdown", idle),
        ("idle_time_before_shutdown_minutes", minutes),
        ("schedules", inner("schedules").as_ref().and_then(schedules_from_wire)),
        ("setup_scripts", inner("setupScripts").as_ref().map(setup_scripts_from_wire)),
        ("custom_applications", inner("customServices").as_ref().and_then(custom_services_from_wire)),
        ("os_image_metadata", inner("osImageMetadata").map(|image| snake_case(&[image])).and_then(first)),
        ("enable_sso", inner("enableSSO")),
        ("enable_root_access", inner("enableRootAccess")),
        ("release_quota_on_stop", inner("releaseQuotaOnStop")),
        ("enable_os_patching", inner("enableOSPatching")),
    ]
}

fn cluster_from_wire(inner: &dyn Fn(&str) -> Option<Value>) -> Vec<(&'static str, Option<Value>)> {
    let scale = inner("scaleSettings").unwrap_or_default();
    let idle = scale.get("nodeIdleTimeBeforeScaleDown").and_then(Value::as_str);
    let idle = idle.and_then(|time| time.parse::<jiff::SignedDuration>().ok()).map(|time| json!(time.as_secs()));
    let ssh = inner("userAccountCredentials").map(|credentials| {
        let mut settings = json!({});
        put(&mut settings, "admin_username", credentials.get("adminUserName").cloned());
        put(&mut settings, "ssh_key_value", credentials.get("adminUserSshPublicKey").cloned());
        settings
    });
    vec![
        ("tier", inner("vmPriority").map(|tier| json!(snake(text(&tier).as_str())))),
        ("min_instances", scale.get("minNodeCount").cloned()),
        ("max_instances", scale.get("maxNodeCount").cloned()),
        ("idle_time_before_scale_down", idle),
        ("ssh_settings", ssh),
        ("ssh_public_access_enabled", inner("remoteLoginPortPublicAccess").map(|word| json!(word == "Enabled"))),
    ]
}

/// The fields of a document; one that is null is as good as left out.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(Value::as_str)
    }

    fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some(&Value::Bool(true))
    }

    fn ssh(&self, access: &str, key: &str) -> Option<Value> {
        let (public, settings) = (self.get("ssh_public_access_enabled"), self.get("ssh_settings"));
        public.or(settings)?;
        let mut ssh = json!({});
        put(&mut ssh, access, Some(public.map_or_else(|| json!("Disabled"), enabled)));
        put(&mut ssh, key, settings.and_then(|settings| settings.get("ssh_key_value")).cloned());
        Some(ssh)
    }
}

fn subnet(fields: &Fields<'_>) -> Option<Value> {
    Some(json!({"id": fields.get("network_settings")?.get("subnet").filter(|subnet| !subnet.is_null())?}))
}

fn network(resource: &Value) -> Option<Value> {
    let at = |path: &str| resource.pointer(path).filter(|value| !value.is_null()).cloned();
    let mut network = json!({});
    put(&mut network, "subnet", at("/properties/properties/subnet/id"));
    put(&mut network, "public_ip_address", at("/properties/properties/connectivityEndpoints/publicIpAddress"));
    put(&mut network, "private_ip_address", at("/properties/properties/connectivityEndpoints/privateIpAddress"));
    Some(network).filter(|network| network != &json!({}))
}

/// Puts a field into an object; nothing, when there is none.
pub(super) fn put(object: &mut Value, name: &str, value: Option<Value>) {
    if let (Value::Object(fields), Some(value)) = (object, value) {
        fields.insert(name.to_owned(), value);
    }
}

fn first(list: Value) -> Option<Value> {
    match list {
        Value::Array(items) => items.into_iter().next(),
        _ => None,
    }
}

fn enabled(value: &Value) -> Value {
    json!(if value == &Value::Bool(true) { "Enabled" } else { "Disabled" })
}

fn whole(name: &'static str) -> impl Fn(&Value) -> Result<u64, DocumentError> {
    move |value| {
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        number.ok_or(DocumentError::Value(name))
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Objects with their fields in `snake_case`, all the way down.
fn snake_case(values: &[Value]) -> Value {
    let one = |value: &Value| match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| (snake(name), first(snake_case(std::slice::from_ref(value))).unwrap_or_default()))
                .collect(),
        ),
        Value::Array(items) => snake_case(items),
        other => other.clone(),
    };
    values.iter().map(one).collect()
}

fn snake(word: &str) -> String {
    let mut snake = String::new();
    for letter in word.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() && !snake.ends_with(',') {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn pascal(word: &str) -> String {
    let part = |part: &str| {
        let (first, rest) = part.split_at_checked(1).unwrap_or((part, ""));
        first.to_ascii_uppercase() + rest
    };
    word.trim().split('_').map(part).collect()
}

fn camel(word: &str) -> String {
    let (first, rest) = word.split_once('_').unwrap_or((word, ""));
    first.to_owned() + &pascal(rest)
}

/// The field, and the property, of what Bastide adds.
pub(super) const EXTENSION: &str = "bastide";

/// As az: without a size, this one.
const DEFAULT_SIZE: &str = "STANDARD_DS3_V2";

/// Fields of both kinds, those included that only answers have (`reference/az-ml-commands.md`).
const COMMON: [&str; 18] = [
    EXTENSION,
    "name",
    "type",
    "location",
    "description",
    "tags",
    "size",
    "identity",
    "network_settings",
    "ssh_settings",
    "ssh_public_access_enabled",
    "enable_node_public_ip",
    "id",
    "provisioning_state",
    "provisioning_errors",
    "created_on",
    "resource_id",
    "$schema",
];
const INSTANCE: [&str; 15] = [
    "create_on_behalf_of",
    "idle_time_before_shutdown",
    "idle_time_before_shutdown_minutes",
    "schedules",
    "setup_scripts",
    "custom_applications",
    "enable_sso",
    "enable_root_access",
    "release_quota_on_stop",
    "enable_os_patching",
    "state",
    "last_operation",
    "services",
    "os_image_metadata",
    "resource_group",
];
const CLUSTER: [&str; 5] = ["min_instances", "max_instances", "idle_time_before_scale_down", "tier", "resource_group"];

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn wire(document: &Value) -> Value {
        to_wire(document, "local", Path::new("/nowhere")).unwrap()
    }

    #[test]
    fn an_instance_goes_to_the_wire_and_comes_back() {
        let document = json!({
            "name": "ci-1", "type": "computeinstance", "location": "local", "size": "Standard_DS3_v2", "tags": {"team": "blue"},
            "idle_time_before_shutdown_minutes": 30, "enable_node_public_ip": false, "enable_sso": true,
            "ssh_public_access_enabled": false, "ssh_settings": {"ssh_key_value": "ssh-ed25519 AAAA"},
            "create_on_behalf_of": {"user_object_id": "o", "user_tenant_id": "t"},
            "schedules": {"compute_start_stop": [{
                "action": "stop", "state": "enabled",
                "trigger": {"type": "cron", "expression": "0 18 * * *", "time_zone": "UTC"},
            }]},
            "setup_scripts": {"creation_script": {"path": "Users/me/setup.sh", "command": "a b", "timeout_minutes": 20}},
        });
        let sent = wire(&document);
        let inner = &sent["properties"]["properties"];
        assert_eq!(inner["idleTimeBeforeShutdown"], "PT30M");
        assert_eq!(inner["sshSettings"], json!({"sshPublicAccess": "Disabled", "adminPublicKey": "ssh-ed25519 AAAA"}));
        assert_eq!(inner["schedules"]["computeStartStop"][0]["triggerType"], "Cron");
        assert_eq!(inner["setupScripts"]["scripts"]["creationScript"]["scriptSource"], "workspaceStorage");
        assert_eq!(inner["personalComputeInstanceSettings"]["assignedUser"]["objectId"], "o");
        let mut answer = sent.clone();
        answer["name"] = json!("ci-1");
        let back = from_wire(&answer);
        for field in
            ["name", "type", "location", "size", "tags", "enable_node_public_ip", "ssh_settings", "setup_scripts"]
        {
            assert_eq!(back[field], document[field], "{field}");
        }
        assert_eq!(back["idle_time_before_shutdown_minutes"], 30);
        assert_eq!(back["schedules"]["compute_start_stop"][0]["trigger"]["expression"], "0 18 * * *");
    }

    #[test]
    fn a_cluster_goes_to_the_wire_and_comes_back() {
        let document = json!({
            "name": "cpu", "type": "amlcompute", "size": "Standard_DS3_v2", "min_instances": 0, "max_instances": 3,
            "idle_time_before_scale_down": 120, "tier": "low_priority", "identity": {"type": "system_assigned"},
            "ssh_settings": {"admin_username": "ada", "ssh_key_value": "ssh-ed25519 AAAA"},
            "bastide": {"isolation": "gvisor", "freeze_after": "PT1H"},
        });
        let sent = wire(&document);
        let inner = &sent["properties"]["properties"];
        let scale = json!({"minNodeCount": 0, "maxNodeCount": 3, "nodeIdleTimeBeforeScaleDown": "PT120S"});
        assert_eq!((&inner["scaleSettings"], &inner["vmPriority"]), (&scale, &json!("LowPriority")));
        assert_eq!(sent["identity"]["type"], "SystemAssigned");
        assert_eq!(inner["bastide"], json!({"isolation": "gvisor", "freezeAfter": "PT1H"}));
        let back = from_wire(&sent);
        for field in
            ["type", "min_instances", "max_instances", "idle_time_before_scale_down", "tier", "ssh_settings", "bastide"]
        {
            assert_eq!(back[field], document[field], "{field}");
        }
    }

    #[test]
    fn what_the_document_leaves_open_is_the_servers_to_decide() {
        let sent = wire(&json!({"name": "ci-1", "type": "ComputeInstance"}));
        let inner = sent["properties"]["properties"].as_object().unwrap();
        for field in ["enableNodePublicIp", "enableSSO", "sshSettings", "idleTimeBeforeShutdown", "schedules"] {
            assert!(!inner.contains_key(field), "{field}");
        }
        assert_eq!(sent["location"], "local");
    }

    #[test]
    fn a_script_beside_the_file_travels_with_it() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("setup.sh"), "echo hello").unwrap();
        let document = json!({
            "name": "ci-1", "type": "computeinstance", "setup_scripts": {"startup_script": {"path": "setup.sh"}},
        });
        let sent = to_wire(&document, "local", directory.path()).unwrap();
        let script = &sent["properties"]["properties"]["setupScripts"]["scripts"]["startupScript"];
        assert_eq!(script, &json!({"scriptSource": "inline", "scriptData": STANDARD.encode("echo hello")}));
    }

    #[test]
    fn a_document_that_makes_no_compute_is_refused_with_what_to_do() {
        let refused = |document: Value| to_wire(&document, "local", Path::new("/")).unwrap_err();
        assert_eq!(refused(json!({"name": "x"})), DocumentError::NoType);
        assert_eq!(refused(json!({"type": "kubernetes"})), DocumentError::Type("kubernetes".to_owned()));
        let unknown = refused(json!({"type": "amlcompute", "max_nodes": 3})).to_string();
        assert!(unknown.contains("'max_nodes'") && unknown.contains("max_instances"), "{unknown}");
        assert!(to_wire(&json!({"type": "amlcompute", "max_instances": "many"}), "l", Path::new("/")).is_err());
    }
}
