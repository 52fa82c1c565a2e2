//! Who reaches a workspace from outside: addresses and ranges, in one form (`networkAcls`, `ipAllowlist`), and what follows
//! from them for somebody who comes from an address (mission.md E1-E7).

use std::net::IpAddr;

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::field::{self, refused};
use crate::outbound_rule::is_prefix;

/// Checks what a body says about it.
pub(super) fn admit(properties: &mut Map<String, Value>) -> Result<(), ArmError> {
    for address in field::texts(properties, "ipAllowlist", "properties")? {
        check(&address, "properties.ipAllowlist")?;
    }
    let Some(asked) = field::object(properties, "networkAcls", "properties")? else { return Ok(()) };
    let mut acls = asked.clone();
    let action = field::choice(asked, "defaultAction", AT, &["Allow", "Deny"])?.unwrap_or("Allow");
    let rules = match asked.get("ipRules") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(rules)) => rules.iter().enumerate().map(rule).collect::<Result<_, _>>()?,
        Some(_) => return Err(refused(&format!("{AT}.ipRules"), "ipRules must be a list of objects with a value.")),
    };
    acls.insert("defaultAction".into(), action.into());
    acls.insert("ipRules".into(), Value::Array(rules));
    properties.insert("networkAcls".into(), Value::Object(acls));
    Ok(())
}

/// Whether somebody who comes from an address may use what runs in a hub, and read its secrets. That is not managing it,
/// which goes by the resource manager from anywhere, as in the cloud. What comes from inside hubs, and from this node itself, comes by no public network.
pub fn admits(hub: &ResourceId, properties: &Map<String, Value>, from: Option<IpAddr>) -> Result<(), ArmError> {
    let is_private = |from: IpAddr| from.is_unspecified() || from.is_loopback();
    if from.is_some_and(is_private) {
        return Ok(());
    }
    if properties.get("publicNetworkAccess").and_then(Value::as_str) == Some("Disabled") {
        let message = format!(
            "Public network access of '{}' is disabled. Connect from inside of a hub or from the node itself, or set \
             publicNetworkAccess to Enabled.",
            hub.name()
        );
        return Err(ArmError::new(403, "PublicNetworkAccessDisabled", message));
    }
    let acls = properties.get("networkAcls").and_then(Value::as_object);
    let is_closed = acls.is_some_and(|acls| acls.get("defaultAction").and_then(Value::as_str) == Some("Deny"));
    let listed: Vec<&str> = texts(properties.get("ipAllowlist"))
        .chain(
            acls.and_then(|acls| acls.get("ipRules")?.as_array())
                .into_iter()
                .flatten()
                .filter_map(|rule| rule.get("value")?.as_str()),
        )
        .collect();
    let is_open = !is_closed && texts(properties.get("ipAllowlist")).next().is_none();
    if is_open || from.is_some_and(|from| listed.iter().any(|prefix| contains(prefix, from))) {
        return Ok(());
    }
    let from = from.map_or("an unknown address".to_owned(), |from| from.to_string());
    let message = format!(
        "'{}' is reached from the addresses in ipAllowlist and networkAcls.ipRules alone, and you come from {from}. Have \
         your address added there.",
        hub.name()
    );
    Err(ArmError::new(403, "IpAddressNotAllowed", message))
}

fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn contains(prefix: &str, address: IpAddr) -> bool {
    let net = prefix.parse::<IpNet>().ok().or_else(|| Some(IpNet::from(prefix.parse::<IpAddr>().ok()?)));
    net.is_some_and(|net| net.contains(&address.to_canonical()))
}

fn rule((index, rule): (usize, &Value)) -> Result<Value, ArmError> {
    let at = format!("{AT}.ipRules[{index}]");
    let fields = rule.as_object().ok_or_else(|| refused(&at, "A rule must be an object with a value."))?;
    let needs = "A rule needs a value, an address or a range such as 192.0.2.0/24.";
    let address = field::text(fields, "value", &at)?.ok_or_else(|| refused(&format!("{at}.value"), needs))?;
    check(address, &format!("{at}.value"))?;
    Ok(json!({"value": address}))
}

fn check(address: &str, at: &str) -> Result<(), ArmError> {
    if is_prefix(address) {
        return Ok(());
    }
    let message = format!("'{address}' is not an address. Use an IP address or a range in CIDR form, as 192.0.2.0/24.");
    Err(refused(at, message))
}

const AT: &str = "properties.networkAcls";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_ranges_have_one_form() {
        let mut properties = Map::from_iter([(
            "networkAcls".to_owned(),
            json!({"defaultAction": "deny", "ipRules": [{"value": " 192.0.2.0/24 ", "action": "Allow"}]}),
        )]);
        admit(&mut properties).unwrap();
        assert_eq!(properties["networkAcls"], json!({"defaultAction": "Deny", "ipRules": [{"value": "192.0.2.0/24"}]}));
        let again = properties.clone();
        admit(&mut properties).unwrap();
        assert_eq!(properties, again);
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_place() {
        let cases = [
            (json!({"ipAllowlist": ["example.com"]}), "properties.ipAllowlist"),
            (json!({"networkAcls": {"defaultAction": "Maybe"}}), "properties.networkAcls.defaultAction"),
            (json!({"networkAcls": {"ipRules": {}}}), "properties.networkAcls.ipRules"),
            (json!({"networkAcls": {"ipRules": ["192.0.2.1"]}}), "properties.networkAcls.ipRules[0]"),
            (
                json!({"networkAcls": {"ipRules": [{"value": "192.0.2.0/33"}]}}),
                "properties.networkAcls.ipRules[0].value",
            ),
            (json!({"networkAcls": {"ipRules": [{}]}}), "properties.networkAcls.ipRules[0].value"),
        ];
        for (body, target) in cases {
            let mut properties = body.as_object().cloned().unwrap();
            assert_eq!(admit(&mut properties).unwrap_err().target.as_deref(), Some(target), "{body}");
        }
    }
    #[test]
    fn who_comes_by_the_public_network_is_let_in_as_the_hub_says() {
        let hub = ResourceId::parse("/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/hub").unwrap();
        let code = |properties: Value, from: &str| {
            let from = Some(from.parse().unwrap());
            admits(&hub, properties.as_object().unwrap(), from).map_err(|error| error.code.clone())
        };
        let disabled = || json!({"publicNetworkAccess": "Disabled", "ipAllowlist": ["192.0.2.0/24"]});
        let some = || json!({"publicNetworkAccess": "Enabled", "ipAllowlist": ["192.0.2.0/24", "198.51.100.7"]});
        let acls = || json!({"networkAcls": {"defaultAction": "Deny", "ipRules": [{"value": "192.0.2.7"}]}});
        assert_eq!(code(json!({}), "203.0.113.1"), Ok(()));
        assert_eq!(
            code(disabled(), "192.0.2.7"),
            Err("PublicNetworkAccessDisabled".into()),
            "a list opens nothing then"
        );
        for private in ["0.0.0.0", "127.0.0.1", "::1"] {
            assert_eq!(code(disabled(), private), Ok(()), "{private}");
        }
        for inside in ["192.0.2.7", "198.51.100.7", "::ffff:192.0.2.7"] {
            assert_eq!(code(some(), inside), Ok(()), "{inside}");
        }
        assert_eq!(code(some(), "198.51.100.8"), Err("IpAddressNotAllowed".into()));
        assert_eq!((code(acls(), "192.0.2.7"), code(acls(), "192.0.2.8").is_err()), (Ok(()), true));
        assert!(admits(&hub, some().as_object().unwrap(), None).is_err(), "nobody from nowhere");
    }
}
