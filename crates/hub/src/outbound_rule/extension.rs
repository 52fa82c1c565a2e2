//! What Bastide's rules can say beyond the cloud's, in `properties.bastide`.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::Parity;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::service_tag::NAME_PORTS;
use crate::field::{self, any_of, refused};

/// What stands in `properties.bastide` of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Whether the rule is in force. One that is not stays where it is, and lets nothing through.
    pub is_enabled: bool,
    /// The TCP ports of a rule by name, sorted; none is 80 and 443 (mission.md G9).
    pub ports: Vec<u16>,
    /// Until when the rule is in force; for good if none.
    pub expires_on: Option<Timestamp>,
    /// An Owner admits that this one host name reaches storage accounts (G10).
    pub allows_storage: bool,
}

impl Default for Extension {
    fn default() -> Self {
        Self { is_enabled: true, ports: Vec::new(), expires_on: None, allows_storage: false }
    }
}

impl Extension {
    /// Reads it; none when the body does not speak of it.
    pub(super) fn read(properties: &Map<String, Value>, at: &str, parity: Parity) -> Result<Option<Self>, ArmError> {
        let Some(fields) = field::object(properties, NAME, at)? else { return Ok(None) };
        let place = format!("{at}.{NAME}");
        let mut asked = fields.keys().filter(|name| !TOLD.contains(&name.as_str())).peekable();
        if asked.peek().is_none() {
            return Ok(None);
        }
        if parity == Parity::Strict {
            let message = "Extensions of rules do not exist in the cloud, and this Bastide runs with --parity strict.";
            return Err(refused(&place, message));
        }
        // A slip such as expires_on would make a rule for good of one that was to end.
        if let Some(unknown) = asked.find(|name| !NAMES.contains(&name.as_str())) {
            let message = format!("A rule has no '{unknown}' there. Use {}.", any_of(&NAMES));
            return Err(refused(&format!("{place}.{unknown}"), message));
        }
        Ok(Some(Self {
            is_enabled: field::flag(fields, ENABLED, &place)?.unwrap_or(true),
            ports: ports(fields, &place)?,
            expires_on: expiry(fields, &place)?,
            allows_storage: field::flag(fields, STORAGE, &place)?.unwrap_or_default(),
        }))
    }

    /// As stored; none when there is nothing beyond the cloud's.
    pub(super) fn to_value(&self) -> Option<Value> {
        if *self == Self::default() {
            return None;
        }
        let mut fields = Map::new();
        fields.insert(ENABLED.into(), self.is_enabled.into());
        if !self.ports.is_empty() {
            fields.insert(PORTS.into(), json!(self.ports));
        }
        if let Some(time) = self.expires_on {
            fields.insert(EXPIRES.into(), time.to_string().into());
        }
        if self.allows_storage {
            fields.insert(STORAGE.into(), true.into());
        }
        Some(Value::Object(fields))
    }
}

fn expiry(fields: &Map<String, Value>, at: &str) -> Result<Option<Timestamp>, ArmError> {
    let Some(text) = field::text(fields, EXPIRES, at)? else { return Ok(None) };
    let wrong = || {
        refused(&format!("{at}.{EXPIRES}"), format!("'{text}' is not a time. Use one such as 2026-11-22T18:00:00Z."))
    };
    text.parse().map(Some).map_err(|_| wrong())
}

fn ports(fields: &Map<String, Value>, at: &str) -> Result<Vec<u16>, ArmError> {
    let place = format!("{at}.{PORTS}");
    let wrong = || refused(&place, "ports must be a list of TCP ports from 1 to 65535, such as [443, 8443].");
    let listed = match fields.get(PORTS) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(listed)) => listed,
        Some(_) => return Err(wrong()),
    };
    if listed.len() > MOST_PORTS {
        return Err(refused(&place, format!("A rule names at most {MOST_PORTS} ports.")));
    }
    let port = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let mut ports = listed.iter().map(|value| port(value).ok_or_else(wrong)).collect::<Result<Vec<_>, _>>()?;
    ports.sort_unstable();
    ports.dedup();
    if let Some(port) = ports.iter().find(|port| NAME_PORTS.contains(port)) {
        let message =
            format!("Port {port} is for asking a resolver, and a hub has one of its own. Leave {port} out of ports.");
        return Err(refused(&place, message));
    }
    Ok(ports)
}

/// Where extensions stand.
pub(super) const NAME: &str = "bastide";

const ENABLED: &str = "enabled";
const PORTS: &str = "ports";
const STORAGE: &str = "allowStorageAccount";
const EXPIRES: &str = "expiresOn";
const NAMES: [&str; 4] = [ENABLED, PORTS, EXPIRES, STORAGE];

/// What a required rule is for, and what a rule opens beside what is meant.
pub(super) const PURPOSE: &str = "purpose";
pub(super) const RISK: &str = "risk";

/// What the server says of a rule, which clients send back.
const TOLD: [&str; 2] = [PURPOSE, RISK];

/// Each is a line of the kernel's rule set.
pub(crate) const MOST_PORTS: usize = 16;
