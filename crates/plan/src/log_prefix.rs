//! What the kernel says about a packet that it logs.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::hub_plan::{PrefixRule, RuleName};

/// The prefix of a log statement (`log prefix "bastide:denied:pypi" group N`): written into the rule set by the agent,
/// read back by the firewall together with the packet.
///
/// Its form is `bastide:<verdict>:<rule>`, the verdict `allowed` or `denied`, the rule empty when the mode decides. The
/// kernel keeps [`LIMIT`] bytes; a rule whose name is longer is cut there, and found again by [`LogPrefix::rule_of`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogPrefix {
    /// Whether the packet was let through.
    pub allowed: bool,
    /// The name of the rule that decided, or as much of it as fits. None: the mode decided.
    pub rule: Option<String>,
}

impl LogPrefix {
    /// For the packets that a rule, or the mode, decides about.
    pub fn new(allowed: bool, rule: Option<&RuleName>) -> Self {
        let room = LIMIT - format!("{MARK}:{}:", verdict(allowed)).len();
        let rule = rule.map(|RuleName(name)| {
            let end = (0..=room.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
            name.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
        });
        Self { allowed, rule }
    }

    /// The rule of a plan that is meant. None: the mode decided, or the plan has no such rule any more.
    pub fn rule_of(&self, rules: &[PrefixRule]) -> Option<RuleName> {
        let wanted = self.rule.as_deref()?;
        // Cut at a letter, it may be up to three bytes shorter than there is room.
        let is_cut = self.to_string().len() + 3 >= LIMIT;
        let mut rules = rules.iter().map(|rule| &rule.rule);
        rules.find(|rule| rule.0 == wanted || is_cut && rule.0.starts_with(wanted)).cloned()
    }
}

/// Not a prefix that an agent writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a log prefix of the form {MARK}:allowed|denied:RULE")]
pub struct LogPrefixError;

impl fmt::Display for LogPrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{MARK}:{}:{}", verdict(self.allowed), self.rule.as_deref().unwrap_or_default())
    }
}

impl FromStr for LogPrefix {
    type Err = LogPrefixError;

    fn from_str(text: &str) -> Result<Self, LogPrefixError> {
        let mut parts = text.splitn(3, ':');
        let (Some(MARK), Some(said), Some(rule)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(LogPrefixError);
        };
        let allowed = match said {
            ALLOWED => true,
            DENIED => false,
            _ => return Err(LogPrefixError),
        };
        Ok(Self { allowed, rule: (!rule.is_empty()).then(|| rule.to_owned()) })
    }
}

fn verdict(allowed: bool) -> &'static str {
    if allowed { ALLOWED } else { DENIED }
}

/// Bytes that the kernel keeps of a prefix (`NF_LOG_PREFIXLEN`, less the final zero).
pub const LIMIT: usize = 127;

const MARK: &str = "bastide";
const ALLOWED: &str = "allowed";
const DENIED: &str = "denied";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_prefix_names_verdict_and_rule() {
        let rule = RuleName("data:lake".into());
        for (prefix, text) in [
            (LogPrefix::new(false, Some(&rule)), "bastide:denied:data:lake"),
            (LogPrefix::new(true, None), "bastide:allowed:"),
        ] {
            assert_eq!(prefix.to_string(), text);
            assert_eq!(text.parse(), Ok(prefix));
        }
        for text in ["", "bastide", "bastide:denied", "bastide:maybe:x", "other:denied:x"] {
            assert_eq!(text.parse::<LogPrefix>(), Err(LogPrefixError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_rule_name_fits(name in "\\PC{1,200}", allowed: bool) {
            let prefix = LogPrefix::new(allowed, Some(&RuleName(name.clone())));
            prop_assert!(prefix.to_string().len() <= LIMIT);
            prop_assert_eq!(prefix.to_string().parse(), Ok(prefix.clone()));
            prop_assert!(name.starts_with(prefix.rule.unwrap().as_str()));
        }
    }
}
