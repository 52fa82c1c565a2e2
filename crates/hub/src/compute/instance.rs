//! The properties of a `ComputeInstance`.

use std::time::Duration;

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::View;
use bastide_plan::compute_plan::{Image, Isolation};
use bastide_plan::reference::Reference;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::script::Scripts;
use super::status::Status;
use super::vocabulary::Vocabulary;
use super::{AT, Desired, Terms, creator, custom_service, duration, host_name, schedule, sign_on, ssh};
use crate::field::{self, refused};

/// Decides about the properties, and brings them into their one form.
pub(super) fn admit(
    mut inner: Map<String, Value>,
    terms: &Terms<'_>,
    warnings: &mut Vec<String>,
) -> Result<Map<String, Value>, ArmError> {
    // The one list that an action of its own writes stays out of reach of a PUT.
    inner.remove(DATA_MOUNTS);
    VOCABULARY.read(&mut inner)?;
    settle_ssh(&mut inner)?;
    match terms.before {
        // Which is what az and the SDK send back of an instance that was made without.
        None => drop(inner.entry("sshSettings").or_insert_with(|| json!({"sshPublicAccess": "Disabled"}))),
        Some(before) => {
            keep_size(&inner, before)?;
            inner.extend(before.get_key_value(DATA_MOUNTS).map(|(name, value)| (name.clone(), value.clone())));
        }
    }
    sign_on::settle(&mut inner, terms, warnings);
    VOCABULARY.complete(&mut inner, terms)?;
    idle_time(&inner)?;
    assigned_user(&inner, terms.tenant_id)?;
    Scripts::read(&inner, AT)?;
    schedule::Schedule::all(&inner, AT)?;
    schedule::settle(&mut inner, terms.before, terms.fresh_id);
    Extension::read(&inner)?;
    custom_service::check(&inner, warnings)?;
    if inner.get("enableOSPatching") == Some(&Value::Bool(true)) {
        warnings.push(
            "enableOSPatching: an instance is never patched in place; it gets a newer image when it is made anew."
                .to_owned(),
        );
    }
    Ok(inner)
}

/// The wire form.
pub(super) fn answer(
    mut inner: Map<String, Value>,
    view: &View<'_>,
    desired: &Desired,
    status: &Status,
) -> Map<String, Value> {
    inner.insert("state".into(), status.state.into());
    let address = status.nodes.first().and_then(|node| node.address.clone());
    inner.insert("connectivityEndpoints".into(), json!({"publicIpAddress": null, "privateIpAddress": address}));
    let origin = format!("https://{}/", host_name::host(view.id.name(), view.incarnation, view.zone));
    let application = |name: &str, path: &str| json!({"displayName": name, "endpointUri": format!("{origin}{path}")});
    inner.insert("applications".into(), json!([application("Jupyter", "tree"), application("Jupyter Lab", "lab")]));
    if let Some(ssh) = inner.get_mut("sshSettings").and_then(Value::as_object_mut) {
        ssh.insert("adminUserName".into(), USER.into());
        ssh.insert("sshPort".into(), SSH_PORT.into());
    }
    if let Some(creator) = creator(view.document) {
        let by = json!({"userName": creator.name, "userOrgId": view.tenant_id, "userId": creator.object_id});
        inner.insert("createdBy".into(), by);
    }
    inner.insert("lastOperation".into(), status.last_operation(desired));
    let image = status.nodes.first().and_then(|node| node.image.clone());
    if let Some(image) = image {
        let metadata =
            json!({"currentImageVersion": image, "latestImageVersion": image, "isLatestOsImageVersion": true});
        inner.insert("osImageMetadata".into(), metadata);
    }
    inner.insert("versions".into(), json!({"runtime": env!("CARGO_PKG_VERSION")}));
    let errors = status.error.clone().into_iter().chain(custom_service::errors(&inner));
    let errors: Vec<Value> = errors.map(|error| json!({"error": error.to_error_value()})).collect();
    inner.insert("errors".into(), json!(errors));
    inner
}

/// What Bastide adds to the properties of an instance or a cluster, under `bastide`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extension {
    /// What its file system is made of.
    pub image: Image,
    /// What stands between it and the kernel.
    pub isolation: Isolation,
    /// It gets no processor's time when nobody has used it for so long.
    pub freeze_after: Option<Duration>,
}

impl Extension {
    /// Reads it; what is silent has the usual.
    pub(super) fn read(inner: &Map<String, Value>) -> Result<Self, ArmError> {
        let at = format!("{AT}.bastide");
        let empty = Map::new();
        let fields = field::object(inner, "bastide", AT)?.unwrap_or(&empty);
        if let Some(name) = fields.keys().find(|name| !EXTENSIONS.contains(&name.as_str())) {
            let message = format!("'{name}' is nothing that can be said here. Use {}.", field::any_of(EXTENSIONS));
            return Err(refused(&format!("{at}.{name}"), message));
        }
        let isolation = match field::choice(fields, "isolation", &at, &["container", "gvisor"])? {
            Some("gvisor") => Isolation::Gvisor,
            _ => Isolation::Container,
        };
        let freeze_after = duration::between(fields, "freezeAfter", &at, (MINUTE, 3 * DAY))?;
        Ok(Self { image: image(fields, &at)?, isolation, freeze_after })
    }
}

/// How long an instance may be left alone before it is stopped.
pub(super) fn idle_time(inner: &Map<String, Value>) -> Result<Option<Duration>, ArmError> {
    duration::between(inner, "idleTimeBeforeShutdown", AT, (15 * MINUTE, 3 * DAY))
}

/// The keys that may log in.
pub(super) fn keys(inner: &Map<String, Value>) -> Vec<String> {
    let settings = inner.get("sshSettings").and_then(Value::as_object);
    let is_open = settings.and_then(|settings| settings.get("sshPublicAccess")) == Some(&json!("Enabled"));
    let text = settings.filter(|_| is_open).and_then(|settings| settings.get("adminPublicKey")?.as_str());
    text.and_then(|text| ssh::keys(text, AT).ok()).unwrap_or_default()
}

/// Whether a stopped instance leaves its quota to others.
pub(super) fn releases_quota(inner: &Map<String, Value>) -> bool {
    inner.get("releaseQuotaOnStop") == Some(&Value::Bool(true))
}

/// Another size is not written, but asked for.
fn keep_size(inner: &Map<String, Value>, before: &Map<String, Value>) -> Result<(), ArmError> {
    let (asked, stood) = (field::text(inner, "vmSize", AT)?, field::text(before, "vmSize", AT)?);
    if asked.is_none_or(|asked| stood.is_some_and(|stood| asked.eq_ignore_ascii_case(stood))) {
        return Ok(());
    }
    let message = "vmSize is decided when a compute is made. An instance gets another one by the action resize (bastide ml \
                   compute resize), which starts it anew.";
    Err(refused(&format!("{AT}.vmSize"), message))
}

fn settle_ssh(inner: &mut Map<String, Value>) -> Result<(), ArmError> {
    let at = format!("{AT}.sshSettings");
    let Some(settings) = field::object(inner, "sshSettings", AT)? else { return Ok(()) };
    let key = field::text(settings, "adminPublicKey", &at)?;
    let mut settled = Map::new();
    let access = field::choice(settings, "sshPublicAccess", &at, &["Enabled", "Disabled"])?.unwrap_or("Disabled");
    settled.insert("sshPublicAccess".into(), access.into());
    if let Some(key) = key {
        ssh::keys(key, &format!("{at}.adminPublicKey"))?;
        settled.insert("adminPublicKey".into(), key.into());
    }
    inner.insert("sshSettings".into(), Value::Object(settled));
    Ok(())
}

fn assigned_user(inner: &Map<String, Value>, tenant_id: Uuid) -> Result<(), ArmError> {
    let at = format!("{AT}.personalComputeInstanceSettings");
    let Some(settings) = field::object(inner, "personalComputeInstanceSettings", AT)? else { return Ok(()) };
    let at = format!("{at}.assignedUser");
    let Some(user) = field::object(settings, "assignedUser", &at)? else { return Ok(()) };
    let id = |name: &str| {
        let text = field::text(user, name, &at)?;
        text.and_then(|text| text.parse::<Uuid>().ok()).ok_or_else(|| {
            refused(&format!("{at}.{name}"), format!("assignedUser needs {name}, a GUID such as {}.", Uuid::nil()))
        })
    };
    id("objectId")?;
    if id("tenantId")? != tenant_id {
        let message = format!("The user of an instance belongs to this tenant. Use tenantId {tenant_id}.");
        return Err(refused(&format!("{at}.tenantId"), message));
    }
    Ok(())
}

fn image(fields: &Map<String, Value>, at: &str) -> Result<Image, ArmError> {
    let Some(text) = field::text(fields, "image", at)? else { return Ok(Image::Base) };
    if text.eq_ignore_ascii_case("base") {
        return Ok(Image::Base);
    }
    let is_printable = text.len() <= 512 && text.bytes().all(|byte| byte.is_ascii_graphic());
    if let Some(path) = text.strip_prefix("file:") {
        let is_plain = !path.is_empty() && !path.split('/').any(|part| part == "..");
        if is_printable && is_plain {
            return Ok(Image::Archive(path.to_owned()));
        }
    } else if is_printable && text.parse::<Reference>().is_ok() {
        return Ok(Image::Reference(text.to_owned()));
    }
    let message = format!(
        "'{}' is not an image. Use 'base', file:NAME.tar of an OCI archive that the administrator of the node has put there, \
         or a reference with its registry such as registry.example/team/image:1.0.",
        text.chars().filter(char::is_ascii_graphic).take(80).collect::<String>()
    );
    Err(refused(&format!("{at}.image"), message))
}

/// The user who works in an instance.
pub(super) const USER: &str = "azureuser";

/// The port inside of the tunnel; there is none outside (mission.md S4).
const SSH_PORT: u16 = 22;

/// What was attached by [`super::action`].
pub(super) const DATA_MOUNTS: &str = "dataMounts";

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

const EXTENSIONS: &[&str] = &["image", "isolation", "freezeAfter"];

const VOCABULARY: Vocabulary = Vocabulary {
    choices: &[
        ("applicationSharingPolicy", &["Personal", "Shared"], "Shared"),
        ("computeInstanceAuthorizationType", &["personal"], "personal"),
    ],
    flags: &[
        ("enableNodePublicIp", true),
        (sign_on::NAME, true),
        ("enableRootAccess", true),
        ("enableOSPatching", false),
        ("releaseQuotaOnStop", false),
    ],
    for_life: &[
        "vmSize",
        "sshSettings",
        "setupScripts",
        "enableNodePublicIp",
        "enableRootAccess",
        "computeInstanceAuthorizationType",
        "personalComputeInstanceSettings",
        "bastide",
    ],
    read_only: &[
        "osImageMetadata",
        "connectivityEndpoints",
        "applications",
        "createdBy",
        "errors",
        "state",
        "lastOperation",
        "containers",
        "dataDisks",
        "versions",
    ],
};
