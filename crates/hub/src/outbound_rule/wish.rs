//! A way out that somebody asks for, before anybody decides about it: what no approval could bring is not worth the asking
//! (mission.md (c) 10).

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Linked, Parity};
use jiff::Timestamp;

use super::extension::Extension;
use super::fqdn::Fqdn;
use super::rule::{Category, Destination, Rule, Terms};
use crate::isolation_mode::IsolationMode;

/// A host that somebody asks for.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The hub.
    pub hub: &'a Linked,
    /// The rules that it has.
    pub rules: &'a [Linked],
    /// The host, or all below one.
    pub destination: &'a Fqdn,
    /// When it is asked for.
    pub now: Timestamp,
}

impl Wish<'_> {
    /// Whether there is anything to decide; `zone` is the DNS suffix of Bastide's own services.
    pub fn check(&self, zone: &str) -> Result<(), ArmError> {
        let Self { hub, destination, now, .. } = self;
        let mode = IsolationMode::in_force(&hub.document.properties, *now);
        if mode != IsolationMode::AllowOnlyApprovedOutbound {
            let message = format!(
                "Isolation mode {} of hub '{}' leaves the internet open: there is nothing to ask for. If '{destination}' is \
                 out of reach all the same, bastide network explain says why.",
                mode.as_str(),
                hub.id.name()
            );
            return Err(ArmError::conflict(message));
        }
        if let Some(rule) = self.approving() {
            let message = format!(
                "Rule '{}' approves '{destination}' already: there is nothing to ask for. If it is out of reach all the same, \
                 bastide network explain says why.",
                rule.id.name()
            );
            return Err(ArmError::conflict(message));
        }
        let rule = Rule {
            category: Category::UserDefined,
            destination: Destination::Fqdn((*destination).clone()),
            extension: Extension::default(),
        };
        rule.check("asked for", "destination", Terms { mode, zone, parity: Parity::Native })
    }

    /// The rule that is in force for good and lets all of it through.
    fn approving(&self) -> Option<&Linked> {
        let pattern = self.destination.pattern();
        self.rules.iter().find(|row| {
            let Some(Rule { destination: Destination::Fqdn(fqdn), extension, .. }) =
                Rule::stored(&row.document.properties)
            else {
                return false;
            };
            let is_wide_enough = fqdn.pattern().is_wildcard() || !pattern.is_wildcard();
            let covers = fqdn.pattern() == pattern || is_wide_enough && fqdn.pattern().matches(pattern.name());
            covers && extension == Extension::default()
        })
    }
}
