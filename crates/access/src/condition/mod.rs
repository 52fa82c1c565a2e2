//! Conditions on role assignments, permission blocks and deny assignments: attribute-based access control.
//!
//! A condition is read once, when a snapshot is compiled, and answered per request in three values: *true*, *false*, or
//! *unknown* when it asks for an attribute that nobody supplied or that has the wrong type. Only *true* grants, and
//! negation leaves *unknown* as it is, so that an absent attribute can never open a door.
//!
//! ```
//! use bastide_access::Condition;
//!
//! let condition: Condition = "!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'}) OR \
//!     @Request[Microsoft.Authorization/roleAssignments:PrincipalType] stringequals 'User'".parse()?;
//! assert_eq!(condition.to_string().parse(), Ok(condition));
//! # Ok::<(), bastide_access::condition::ConditionError>(())
//! ```

mod evaluate;
mod lexer;
mod literal;
mod operator;
mod parser;
mod print;

use std::str::FromStr;

use thiserror::Error;

use crate::{ActionPattern, Attributes, Source};
use literal::Literal;
use operator::{Operator, Quantifier};

/// A condition that has been read.
///
/// Parses from the condition language, version 2.0, and prints in its canonical spelling.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition(Expression);

/// What the language can say.
#[derive(Debug, Clone, PartialEq)]
enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    /// `ActionMatches{...}`: one of the patterns covers the action asked about.
    Action(Vec<ActionPattern>),
    /// `SubOperationMatches{...}`: the request's sub-operation is one of these, in any ASCII case.
    SubOperation(Vec<String>),
    /// `Exists @...` or `NotExists @...`.
    Exists {
        attribute: Attribute,
        expected: bool,
    },
    Compare(Comparison),
}

#[derive(Debug, Clone, PartialEq)]
struct Comparison {
    left: Operand,
    quantifier: Option<Quantifier>,
    operator: Operator,
    right: Operand,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Attribute(Attribute),
    /// At least one literal, all of the kind the operator asks for.
    Literals(Vec<Literal>),
}

#[derive(Debug, Clone, PartialEq)]
struct Attribute {
    source: Source,
    name: String,
}

impl Condition {
    /// Whether the condition holds for an action and its attributes. `false` also when that cannot be told.
    pub fn holds(&self, action: &str, attributes: &Attributes) -> bool {
        self.0.evaluate(action, attributes) == Verdict::True
    }
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parser::parse(text).map(Self)
    }
}

/// Why a condition cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("at byte {at}: {problem}")]
pub struct ConditionError {
    /// Byte offset into the condition.
    pub at: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a condition.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// More text than a condition may have.
    #[error("a condition has at most {MAX_BYTES} bytes")]
    TooLong,
    /// More parentheses or negations inside each other than anybody can read.
    #[error("parentheses and negations nest more than {MAX_DEPTH} deep; simplify the condition")]
    TooDeep,
    /// A string or attribute without its end.
    #[error("{0} has no end")]
    Unterminated(&'static str),
    /// A character that means nothing here.
    #[error("'{0}' is not part of the condition language")]
    Character(char),
    /// Something else should stand here.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What should.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// An attribute of none of the four sources.
    #[error("'@{0}' is not a source of attributes; use @Request, @Resource, @Principal or @Environment")]
    Source(String),
    /// A comparison that does not exist.
    #[error("'{0}' is not an operator")]
    Operator(String),
    /// `AND` next to `OR`.
    #[error("AND and OR are mixed; put parentheses around what belongs together")]
    Mixed,
    /// A value of the wrong kind.
    #[error("{operator} compares with {wanted}, which '{value}' is not")]
    Value {
        /// Name of the operator.
        operator: &'static str,
        /// The kind of value it takes.
        wanted: &'static str,
        /// The value as written.
        value: String,
    },
    /// Several values where one is compared.
    #[error("{0} compares single values; say how to compare several, for example ForAnyOfAnyValues:{0}")]
    Several(&'static str),
    /// A range that is none.
    #[error("{0} takes two values, the lower one first")]
    Range(&'static str),
    /// A quantifier on an operator that has its own idea of several values.
    #[error("{0} cannot be combined with a For...Values prefix")]
    Quantified(&'static str),
    /// A version of the language that nobody knows.
    #[error("condition version '{0}' is not supported; use 2.0")]
    Version(String),
}

/// The three answers a condition can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    True,
    False,
    /// It asks for what is not known; neither this nor its negation grants.
    Unknown,
}

/// A condition as something carries it: absent, read, or unreadable.
#[derive(Debug)]
pub(crate) enum Gate {
    Open,
    When(Condition),
    Shut(ConditionError),
}

impl Gate {
    pub(crate) fn new(condition: Option<&str>, version: Option<&str>) -> Self {
        let Some(text) = condition else { return Self::Open };
        if let Some(version) = version.filter(|version| *version != VERSION) {
            return Self::Shut(ConditionError { at: 0, problem: Problem::Version(version.to_owned()) });
        }
        text.parse().map_or_else(Self::Shut, Self::When)
    }

    pub(crate) fn verdict(&self, action: &str, attributes: &Attributes) -> Verdict {
        match self {
            Self::Open => Verdict::True,
            Self::When(condition) => condition.0.evaluate(action, attributes),
            Self::Shut(_) => Verdict::Unknown,
        }
    }

    /// Whether there may be attributes with which it lets an action pass.
    pub(crate) fn may_hold(&self, action: &str) -> bool {
        !matches!(self, Self::Shut(_)) && self.verdict(action, &Attributes::NONE) != Verdict::False
    }
}

/// The only version of the language there is.
const VERSION: &str = "2.0";

/// As much as Azure takes.
const MAX_BYTES: usize = 8 * 1024;

/// Real conditions nest about six deep.
const MAX_DEPTH: usize = 40;
