//! Who reaches a workspace from outside: addresses and ranges, in one form (`networkAcls`, `ipAllowlist`).

use bastide_arm::error::ArmError;
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
}
