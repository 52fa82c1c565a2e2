//! What holds for a resource that stands.

use super::verdict::Finding;

/// How a resource stands to one rule.
#[derive(Debug, Clone)]
pub struct State<'a> {
    /// The rule and what was found.
    pub finding: Finding<'a>,
    /// The groups of the initiative the rule is counted to.
    pub groups: &'a [String],
    /// How it stands.
    pub compliance: Compliance,
}

/// Whether a resource is as a rule wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compliance {
    /// It is.
    Compliant,
    /// It is not.
    NonCompliant,
    /// It need not be.
    Exempt,
}

impl Compliance {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compliant => "Compliant",
            Self::NonCompliant => "NonCompliant",
            Self::Exempt => "Exempt",
        }
    }
}
