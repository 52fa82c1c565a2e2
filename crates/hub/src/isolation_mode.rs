//! The isolation mode of a hub's managed network (mission.md F5-F7, F14, F16).

use bastide_arm::error::ArmError;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::field;
use crate::isolation_lift::IsolationLift;

/// How far the computes of a hub reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IsolationMode {
    /// Not isolated.
    #[default]
    Disabled,
    /// The internet is open; private endpoints lead to what is not public.
    AllowInternetOutbound,
    /// Nothing but what a rule approves.
    AllowOnlyApprovedOutbound,
}

impl IsolationMode {
    /// Reads `isolationMode` of a managed network: both spellings of the documents, in any case. Absent is `None`.
    pub fn read(network: &Map<String, Value>, at: &str) -> Result<Option<Self>, ArmError> {
        let found = field::choice(network, "isolationMode", at, &Self::ALL.map(Self::as_str))?;
        Ok(Self::ALL.into_iter().find(|mode| Some(mode.as_str()) == found))
    }

    /// The mode of a workspace as stored.
    pub fn of(properties: &Map<String, Value>) -> Self {
        let network = properties.get("managedNetwork").and_then(Value::as_object);
        network.and_then(|network| Self::read(network, "").ok()?).unwrap_or_default()
    }

    /// The mode that holds at a moment: none while isolation is lifted, whatever is stored.
    pub fn in_force(properties: &Map<String, Value>, now: Timestamp) -> Self {
        match IsolationLift::in_force(properties, now) {
            Some(_) => Self::Disabled,
            None => Self::of(properties),
        }
    }

    /// The modes that a plain write may choose at a moment instead of the one that holds, as the wire spells them.
    pub fn changeable_at(properties: &Map<String, Value>, now: Timestamp) -> Vec<&'static str> {
        Self::in_force(properties, now).changeable().map(Self::as_str).collect()
    }

    /// The wire's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "Disabled",
            Self::AllowInternetOutbound => "AllowInternetOutbound",
            Self::AllowOnlyApprovedOutbound => "AllowOnlyApprovedOutbound",
        }
    }

    /// Whether a network may go from this mode to another one: isolation, once enabled, stays (F16).
    pub fn may_become(self, other: Self) -> bool {
        self == Self::Disabled || other != Self::Disabled
    }

    /// The other modes it may go to.
    pub fn changeable(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |mode| *mode != self && self.may_become(*mode))
    }

    const ALL: [Self; 3] = [Self::Disabled, Self::AllowInternetOutbound, Self::AllowOnlyApprovedOutbound];
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_spellings_are_read_in_any_case() {
        let read = |text: &str| {
            let network = json!({"isolationMode": text});
            IsolationMode::read(network.as_object().unwrap(), "managedNetwork")
                .map(|mode| mode.map(IsolationMode::as_str))
        };
        for text in ["allow_only_approved_outbound", "AllowOnlyApprovedOutbound", "ALLOW_ONLY_APPROVED_OUTBOUND"] {
            assert_eq!(read(text).unwrap(), Some("AllowOnlyApprovedOutbound"), "{text}");
        }
        assert_eq!(read("").unwrap(), None);
        let message = read("open").unwrap_err().message.clone();
        assert!(message.contains("AllowInternetOutbound or AllowOnlyApprovedOutbound"), "{message}");
    }

    #[test]
    fn isolation_is_never_given_up() {
        let changeable = |mode: IsolationMode| mode.changeable().map(IsolationMode::as_str).collect::<Vec<_>>();
        assert_eq!(changeable(IsolationMode::Disabled), ["AllowInternetOutbound", "AllowOnlyApprovedOutbound"]);
        assert_eq!(changeable(IsolationMode::AllowInternetOutbound), ["AllowOnlyApprovedOutbound"]);
        assert_eq!(changeable(IsolationMode::AllowOnlyApprovedOutbound), ["AllowInternetOutbound"]);
    }
}
