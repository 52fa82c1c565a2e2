//! Shadow cost: what the network of a hub would cost in the cloud in a month (mission.md L1-L8, J11, (c) 14). Here it costs
//! nothing; the prices are in one file with the day they were read.

use std::sync::LazyLock;

use bastide_arm::resource_type::{Document, Linked};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::isolation_mode::IsolationMode;
use crate::outbound_rule::{Destination, Rule};
use crate::workspace::is_provisioned;

/// What a network like that of a hub costs in the cloud, with the reason for each line. The firewall is there from the
/// first FQDN rule in approved mode on, and nothing is charged before the network is provisioned.
pub fn of(hub: &Document, rules: &[Linked]) -> Value {
    let prices = &*PRICES;
    let mode = IsolationMode::of(&hub.properties);
    let is_charged = is_provisioned(hub) && mode != IsolationMode::Disabled;
    let (mut names, mut endpoints) = (Vec::new(), Vec::new());
    for rule in rules {
        match Rule::stored(&rule.document.properties).map(|rule| rule.destination) {
            Some(Destination::Fqdn(_)) => names.push(rule.id.name()),
            Some(Destination::PrivateEndpoint(_)) => endpoints.push(rule.id.name()),
            _ => {}
        }
    }
    let has_firewall = mode == IsolationMode::AllowOnlyApprovedOutbound && !names.is_empty();
    let sku = sku(hub);
    let firewall = if sku == "Basic" { &prices.firewall.basic } else { &prices.firewall.standard };
    let mut lines = Vec::new();
    if has_firewall {
        let because = format!("{} FQDN rules, the first of which is '{}'.", names.len(), names.first().unwrap_or(&""));
        lines.push(line(&format!("Firewall ({sku})"), 1, firewall, because));
    }
    if !endpoints.is_empty() {
        let because = format!("Rules {}.", endpoints.join(", "));
        lines.push(line("Private endpoint", endpoints.len(), &prices.private_endpoint, because));
    }
    let monthly: f64 = lines.iter().map(|line| line.cents).sum::<f64>() / 100.0;
    let per_rule = cents(&prices.private_endpoint, 1) / 100.0;
    json!({
        "charged": {"monthly": 0.0, "currency": prices.currency},
        "cloud": {"monthly": if is_charged { monthly } else { 0.0 }, "currency": prices.currency},
        "reason": if is_charged {
            "Bastide charges nothing. In the cloud this network is charged by the hour, and by the data that it carries."
        } else {
            "Nothing is charged, in the cloud either, before the network is provisioned."
        },
        "firewall": {
            "existsInCloud": has_firewall,
            "sku": sku,
            "reason": match (mode, has_firewall) {
                (IsolationMode::AllowOnlyApprovedOutbound, true) => "FQDN rules take a firewall.",
                (IsolationMode::AllowOnlyApprovedOutbound, false) => "It comes into being with the first FQDN rule.",
                _ => "Only a network that lets out what is approved has one.",
            },
        },
        "lines": lines.iter().map(|line| &line.shown).collect::<Vec<_>>(),
        "perRule": {"PrivateEndpoint": per_rule, "ServiceTag": 0.0, "FQDN": 0.0},
        "prices": {"asOf": prices.as_of, "region": prices.region, "hoursPerMonth": prices.hours_per_month},
    })
}

struct Line {
    cents: f64,
    shown: Value,
}

fn line(item: &str, count: usize, price: &Price, because: String) -> Line {
    let cents = cents(price, count);
    let shown = json!({
        "item": item,
        "count": count,
        "perHour": price.per_hour,
        "perGb": price.per_gb,
        "monthly": cents / 100.0,
        "because": because,
    });
    Line { cents, shown }
}

/// Of a month, in whole cents.
fn cents(price: &Price, count: usize) -> f64 {
    let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    (price.per_hour * PRICES.hours_per_month * count * 100.0).round()
}

fn sku(hub: &Document) -> &'static str {
    let network = hub.properties.get("managedNetwork");
    let asked = network.and_then(|network| network.get("firewallSku")?.as_str()).unwrap_or_default();
    if asked.eq_ignore_ascii_case("Basic") { "Basic" } else { "Standard" }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Prices {
    as_of: String,
    currency: String,
    region: String,
    hours_per_month: f64,
    firewall: Firewalls,
    private_endpoint: Price,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Firewalls {
    standard: Price,
    basic: Price,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Price {
    per_hour: f64,
    per_gb: f64,
}

static PRICES: LazyLock<Prices> =
    LazyLock::new(|| serde_json::from_str(include_str!("shadow_cost/prices.json")).unwrap_or_default());

#[cfg(test)]
mod tests {
    use bastide_arm::id::ResourceId;
    use uuid::Uuid;

    use super::*;

    const HUB: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/hub";

    fn hub(mode: &str, sku: &str, provisioned: bool) -> Document {
        let network = json!({"isolationMode": mode, "firewallSku": sku, "provisioned": provisioned});
        let properties = json!({"managedNetwork": network}).as_object().unwrap().clone();
        Document { properties, ..Document::default() }
    }

    fn rules() -> Vec<Linked> {
        let vault = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv";
        let endpoint = json!({"type": "PrivateEndpoint", "destination": {"serviceResourceId": vault, "subresourceTarget": "vault"}});
        let bodies = [
            ("pypi", json!({"type": "FQDN", "destination": "pypi.org"})),
            ("one", endpoint.clone()),
            ("two", endpoint),
        ];
        let rule = |(name, properties): (&str, Value)| Linked {
            id: ResourceId::parse(&format!("{HUB}/outboundRules/{name}")).unwrap(),
            incarnation: Uuid::nil(),
            document: Document { properties: properties.as_object().unwrap().clone(), ..Document::default() },
        };
        bodies.into_iter().map(rule).collect()
    }

    #[test]
    fn a_firewall_and_two_endpoints_for_a_month() {
        let cost = of(&hub("AllowOnlyApprovedOutbound", "standard", true), &rules());
        assert_eq!(cost["cloud"]["monthly"], 1.25 * 730.0 + 2.0 * 7.3);
        assert_eq!(cost["charged"]["monthly"], 0.0);
        let basic = of(&hub("AllowOnlyApprovedOutbound", "basic", true), &rules());
        assert_eq!(basic["cloud"]["monthly"], 302.95);
    }

    #[test]
    fn the_firewall_comes_with_the_first_fqdn_rule_and_only_in_approved_mode() {
        let exists =
            |mode: &str, rules: &[Linked]| of(&hub(mode, "", true), rules)["firewall"]["existsInCloud"].clone();
        assert_eq!(exists("AllowOnlyApprovedOutbound", &rules()), true);
        assert_eq!(exists("AllowOnlyApprovedOutbound", &rules()[1..]), false);
        assert_eq!(exists("AllowInternetOutbound", &rules()), false);
    }

    #[test]
    fn nothing_is_charged_before_the_network_is_there() {
        assert_eq!(of(&hub("AllowOnlyApprovedOutbound", "", false), &rules())["cloud"]["monthly"], 0.0);
    }
}
