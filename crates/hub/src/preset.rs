//! Presets: lists of hosts that a purpose needs, as packs with a date and a source, applied as ordinary rules in one call
//! (mission.md I1-I9, (c) 12).
//!
//! The lists are the documentation's. Where those are known not to do what they say, the pack has what is missing, and says
//! where that is known from.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use bastide_arm::resource_type::Linked;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::outbound_rule::{Category, Destination, Fqdn, Rule};
use crate::rule_name;

/// A pack.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// What it is asked for by, `python-packages`.
    pub name: String,
    /// What it is for.
    pub title: String,
    /// The day of this list.
    pub version: String,
    /// Where the list is from.
    pub source: String,
    /// The hosts.
    pub rules: Vec<PresetRule>,
}

/// One host of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresetRule {
    /// A host name, or all below one.
    pub destination: String,
    /// Why it is here although the source does not list it.
    #[serde(default)]
    pub mended: Option<String>,
    /// What else it opens.
    #[serde(default)]
    pub risk: Option<String>,
    /// It reaches a storage account, which an Owner has to admit (mission.md I5, G10).
    #[serde(default)]
    pub storage: bool,
}

/// The packs there are.
pub fn all() -> &'static [Preset] {
    &PRESETS
}

/// A pack by its name, in any case.
pub fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name.eq_ignore_ascii_case(name))
}

/// Whether a pack lists a destination.
pub fn recommends(destination: &Destination) -> bool {
    let Destination::Fqdn(fqdn) = destination else { return false };
    let name = fqdn.to_string();
    all().iter().flat_map(|preset| &preset.rules).any(|rule| rule.destination == name)
}

/// What applying a pack comes to on a hub with these rules.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Application {
    /// The rules to make, as a body has them: properties under each name.
    pub added: Map<String, Value>,
    /// Destinations that a rule of the hub has already.
    pub present: Vec<String>,
    /// Destinations that take an Owner, who does not ask.
    pub left_out: Vec<String>,
}

impl Preset {
    /// What is missing on a hub. `is_owner` is whether who asks may admit a storage account.
    pub fn apply(&self, rules: &[Linked], is_owner: bool) -> Application {
        let there: BTreeSet<String> = rules.iter().filter_map(destination).collect();
        let mut names: BTreeSet<String> = rules.iter().map(|rule| rule.id.name().to_ascii_lowercase()).collect();
        let mut application = Application::default();
        for rule in &self.rules {
            if there.contains(&rule.destination) {
                application.present.push(rule.destination.clone());
            } else if rule.storage && !is_owner {
                application.left_out.push(rule.destination.clone());
            } else {
                let name = rule_name::free(&rule.destination, &mut names);
                application.added.insert(name, rule.properties());
            }
        }
        application
    }

    /// What the rules that it adds open beside what is meant, for who applies it.
    pub fn risks(&self, application: &Application) -> Vec<Value> {
        let is_added = |destination: &str| {
            let mut added = application.added.values();
            added.any(|rule| rule.get("destination").and_then(Value::as_str) == Some(destination))
        };
        let risk = |rule: &PresetRule| {
            let known = Fqdn::parse(&rule.destination).ok().and_then(|fqdn| risk(&fqdn));
            rule.risk.clone().or_else(|| known.map(str::to_owned))
        };
        let added = self.rules.iter().filter(|rule| is_added(&rule.destination));
        added.filter_map(|rule| Some(json!({"destination": rule.destination, "risk": risk(rule)?}))).collect()
    }

    /// As a list shows it, with what of it a hub has.
    pub fn answer(&self, rules: &[Linked]) -> Value {
        let there: BTreeSet<String> = rules.iter().filter_map(destination).collect();
        let shown: Vec<Value> = self
            .rules
            .iter()
            .map(|rule| {
                json!({
                    "destination": rule.destination,
                    "present": there.contains(&rule.destination),
                    "mended": rule.mended,
                    "risk": rule.risk,
                    "takesOwner": rule.storage,
                })
            })
            .collect();
        let missing = shown.iter().filter(|rule| rule.get("present") == Some(&Value::Bool(false))).count();
        json!({
            "name": self.name,
            "title": self.title,
            "version": self.version,
            "source": self.source,
            "missing": missing,
            "rules": shown,
        })
    }
}

impl PresetRule {
    fn properties(&self) -> Value {
        let category = Category::Recommended.as_str();
        let mut properties = json!({"type": "FQDN", "category": category, "destination": self.destination});
        if let (true, Some(fields)) = (self.storage, properties.as_object_mut()) {
            fields.insert("bastide".to_owned(), json!({"allowStorageAccount": true}));
        }
        properties
    }
}

/// The destination of a rule by name that is in force.
fn destination(rule: &Linked) -> Option<String> {
    let rule = Rule::stored(&rule.document.properties)?;
    match rule.destination {
        Destination::Fqdn(fqdn) if rule.extension.is_enabled => Some(fqdn.to_string()),
        _ => None,
    }
}

static PRESETS: LazyLock<Vec<Preset>> =
    LazyLock::new(|| serde_json::from_str(include_str!("preset/packs.json")).unwrap_or_default());

/// What a destination opens beside what is meant, as far as names tell (mission.md F10, G17). A sentence.
pub fn risk(destination: &Fqdn) -> Option<&'static str> {
    let name = destination.pattern().name().as_str();
    let is_below = |suffix: &str| name == suffix || name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'));
    let found = RISKS.iter().find(|(suffixes, _)| suffixes.iter().any(|suffix| is_below(suffix)));
    let wide =
        (destination.pattern().is_wildcard() && !name.contains('.')).then_some("All names of a top-level domain.");
    found.map(|(_, risk)| *risk).or(wide)
}

/// Places where anybody can put something.
const RISKS: &[(&[&str], &str)] = &[
    (
        &[
            "github.io",
            "githubusercontent.com",
            "gitlab.io",
            "pages.dev",
            "workers.dev",
            "web.app",
            "firebaseapp.com",
            "netlify.app",
            "vercel.app",
            "herokuapp.com",
            "azurewebsites.net",
            "azurestaticapps.net",
            "onrender.com",
            "fly.dev",
        ],
        "Anybody can host a page there, and so receive what is sent to it.",
    ),
    (
        &[
            "amazonaws.com",
            "windows.net",
            "storage.googleapis.com",
            "digitaloceanspaces.com",
            "r2.dev",
            "r2.cloudflarestorage.com",
            "backblazeb2.com",
            "wasabisys.com",
        ],
        "Anybody can have storage there; data that is sent there is out.",
    ),
    (
        &[
            "azureedge.net",
            "azurefd.net",
            "cloudfront.net",
            "akamaized.net",
            "akamaihd.net",
            "fastly.net",
            "cloudflare.net",
            "msecnd.net",
            "b-cdn.net",
        ],
        "A delivery network of many customers.",
    ),
    (
        &[
            "dns.google",
            "cloudflare-dns.com",
            "one.one.one.one",
            "dns.quad9.net",
            "doh.opendns.com",
            "nextdns.io",
            "mozilla.cloudflare-dns.com",
        ],
        "A resolver over HTTPS: names can be asked there past the hub's own, and data hidden in them.",
    ),
    (&["ngrok.io", "ngrok.app", "trycloudflare.com", "serveo.net", "localtunnel.me"], "Leads to anybody's machine."),
    (&["pastebin.com", "transfer.sh", "file.io", "webhook.site", "requestbin.com"], "Takes whatever it is sent."),
];

#[cfg(test)]
mod tests {
    use bastide_arm::id::ResourceId;
    use bastide_arm::resource_type::Document;
    use uuid::Uuid;

    use super::*;
    use crate::workspace::NAME;

    const HUB: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/hub";

    fn rule(name: &str, properties: &Value) -> Linked {
        Linked {
            id: ResourceId::parse(&format!("{HUB}/outboundRules/{name}")).unwrap(),
            incarnation: Uuid::nil(),
            document: Document { properties: properties.as_object().unwrap().clone(), ..Document::default() },
        }
    }

    #[test]
    fn every_pack_is_well_formed() {
        assert_eq!(all().len(), 4);
        for preset in all() {
            let application = preset.apply(&[], true);
            assert_eq!(application.added.len(), preset.rules.len(), "{}", preset.name);
            for (name, properties) in &application.added {
                assert!((NAME.accepts)(name), "{name}");
                assert!(Rule::stored(properties.as_object().unwrap()).is_some(), "{properties}");
            }
        }
    }

    #[test]
    fn known_gaps_of_the_documentation_are_mended() {
        let has = |preset: &str, host: &str| find(preset).unwrap().rules.iter().any(|rule| rule.destination == host);
        assert!(has("python-packages", "*.pythonhosted.org"), "I2");
        assert!(has("huggingface", "huggingface.co") && has("huggingface", "*.hf.co"), "I7");
    }

    #[test]
    fn what_is_there_is_not_made_twice_whatever_it_is_called() {
        let python = find("Python-Packages").unwrap();
        let rules = [
            rule("mine", &json!({"type": "FQDN", "destination": "pypi.org"})),
            rule("anaconda-com", &json!({"type": "FQDN", "destination": "example.org"})),
            rule("off", &json!({"type": "FQDN", "destination": "pytorch.org", "bastide": {"enabled": false}})),
        ];
        let application = python.apply(&rules, false);
        assert_eq!(application.present, ["pypi.org"]);
        assert_eq!(application.added["anaconda-com-2"]["destination"], "anaconda.com", "its name was taken");
        assert!(application.added.contains_key("pytorch-org"), "a rule that is off lets nothing through");
        let made: Vec<Linked> =
            application.added.iter().map(|(name, rule_body)| rule(name, rule_body)).chain(rules).collect();
        assert!(python.apply(&made, false).added.is_empty());
    }

    #[test]
    fn a_storage_account_takes_an_owner() {
        let vscode = find("vscode").unwrap();
        assert_eq!(vscode.apply(&[], false).left_out, ["vscode.blob.core.windows.net"]);
        let all = vscode.apply(&[], true);
        assert!(all.left_out.is_empty());
        assert_eq!(all.added["vscode-blob-core-windows-net"]["bastide"]["allowStorageAccount"], true);
    }

    #[test]
    fn wide_destinations_have_a_risk() {
        let risk_of = |text: &str| risk(&Fqdn::parse(text).unwrap());
        for text in ["*.github.io", "x.s3.amazonaws.com", "*.azureedge.net", "cloudflare-dns.com"] {
            assert!(risk_of(text).is_some(), "{text}");
        }
        for text in ["pypi.org", "*.pytorch.org", "notgithub.io"] {
            assert_eq!(risk_of(text), None, "{text}");
        }
    }
}
