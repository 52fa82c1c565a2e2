//! stub
use thiserror::Error;

use crate::Attributes;

/// Condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition;

/// Error.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("conditions are not read yet")]
pub struct ConditionError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    True,
    False,
    Unknown,
}

#[derive(Debug)]
pub(crate) enum Gate {
    Open,
    Shut(ConditionError),
}

impl Gate {
    pub(crate) fn new(condition: Option<&str>, _version: Option<&str>) -> Self {
        if condition.is_some() { Self::Shut(ConditionError) } else { Self::Open }
    }

    pub(crate) fn verdict(&self, _action: &str, _attributes: &Attributes) -> Verdict {
        match self {
            Self::Open => Verdict::True,
            Self::Shut(_) => Verdict::Unknown,
        }
    }
}
