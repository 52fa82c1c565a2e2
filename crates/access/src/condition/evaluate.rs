//! The answer of a condition, in three values and without allocating.

use super::literal::{Item, Kind, Literal};
use super::operator::{Many, Operator, Order, Quantifier, Test};
use super::{Attribute, Comparison, Expression, Operand, Verdict};
use crate::{Attributes, Source, Value};

impl Expression {
    pub(super) fn evaluate(&self, action: &str, attributes: &Attributes) -> Verdict {
        match self {
            Self::All(terms) => all(terms.iter().map(|term| term.evaluate(action, attributes))),
            Self::Any(terms) => any(terms.iter().map(|term| term.evaluate(action, attributes))),
            Self::Not(term) => !term.evaluate(action, attributes),
            Self::Action(patterns) => patterns.iter().any(|pattern| pattern.matches(action)).into(),
            Self::SubOperation(names) => sub_operation(names, attributes),
            Self::Exists { attribute, expected } => {
                (attributes.find(attribute.source, &attribute.name).is_some() == *expected).into()
            }
            Self::Compare(comparison) => comparison.evaluate(attributes).unwrap_or(Verdict::Unknown),
        }
    }
}

impl Comparison {
    /// `None` when an attribute is absent or has several values where one is compared.
    fn evaluate(&self, attributes: &Attributes) -> Option<Verdict> {
        let left = Values::of(&self.left, attributes)?;
        let right = Values::of(&self.right, attributes)?;
        if let Operator::InRange(kind) = self.operator {
            let item = left.only()?.item(kind)?;
            let (low, high) = (right.at(0)?.item(kind)?, right.at(1)?.item(kind)?);
            return Some((same_family(item, low) && low <= item && item <= high).into());
        }
        if let Operator::List { negated } = self.operator {
            let wanted = right.only()?;
            let found = any(left.iter().map(|value| value.is(wanted)));
            return Some(if negated { !found } else { found });
        }
        let pair = |left: One<'_>, right: One<'_>| self.pair(left, right).map_or(Verdict::Unknown, Verdict::from);
        let Some(Quantifier { left: of_left, right: of_right }) = self.quantifier else {
            return Some(pair(left.only()?, right.only()?));
        };
        Some(of_left.of(left.iter().map(|left| of_right.of(right.iter().map(|right| pair(left, right))))))
    }

    /// One value against another; `None` when one of them is not of the operator's kind.
    fn pair(&self, left: One<'_>, right: One<'_>) -> Option<bool> {
        let left = left.item(self.operator.left()?)?;
        let right = right.item(self.operator.right()?)?;
        Some(match (self.operator, left, right) {
            (Operator::Text { test, negated, ignore_case }, Item::Text(left), Item::Text(right)) => {
                test.holds(left, right, ignore_case) != negated
            }
            (Operator::Ordered { order, .. }, left, right) => order.holds(left, right),
            (Operator::Boolean { negated } | Operator::Guid { negated }, left, right) => (left == right) != negated,
            (Operator::Ip { negated }, Item::Address(address), Item::Network(network)) => {
                network.contains(address) != negated
            }
            _ => return None,
        })
    }
}

/// The values on one side of a comparison; at least one.
#[derive(Clone, Copy)]
enum Values<'a> {
    Literals(&'a [Literal]),
    Attribute(&'a [Value]),
}

/// One of them.
#[derive(Clone, Copy)]
enum One<'a> {
    Literal(&'a Literal),
    Attribute(&'a Value),
}

impl<'a> Values<'a> {
    fn of(operand: &'a Operand, attributes: &'a Attributes) -> Option<Self> {
        match operand {
            Operand::Literals(literals) => Some(Self::Literals(literals)),
            Operand::Attribute(Attribute { source, name }) => attributes.find(*source, name).map(Self::Attribute),
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Literals(literals) => literals.len(),
            Self::Attribute(values) => values.len(),
        }
    }

    fn at(self, index: usize) -> Option<One<'a>> {
        match self {
            Self::Literals(literals) => literals.get(index).map(One::Literal),
            Self::Attribute(values) => values.get(index).map(One::Attribute),
        }
    }

    fn iter(self) -> impl Iterator<Item = One<'a>> {
        (0..self.length()).filter_map(move |index| self.at(index))
    }

    fn only(self) -> Option<One<'a>> {
        if self.length() == 1 { self.at(0) } else { None }
    }
}

impl<'a> One<'a> {
    fn item(self, kind: Kind) -> Option<Item<'a>> {
        match self {
            // Literals were read as what their operator compares.
            Self::Literal(literal) => (literal.kind() == kind).then(|| literal.item()),
            Self::Attribute(value) => Item::of(value, kind),
        }
    }

    /// Whether two values of any kind are the same; unknown when they cannot be compared.
    fn is(self, other: Self) -> Verdict {
        let kind = match (self, other) {
            (One::Literal(literal), _) | (_, One::Literal(literal)) => literal.kind(),
            (One::Attribute(Value::Text(_)), _) => Kind::Text,
            (One::Attribute(Value::Integer(_)), _) => Kind::Integer,
            (One::Attribute(Value::Boolean(_)), _) => Kind::Boolean,
            (One::Attribute(Value::Moment(_)), _) => Kind::Moment,
            (One::Attribute(Value::List(_)), _) => return Verdict::Unknown,
        };
        match (self.item(kind), other.item(kind)) {
            (Some(left), Some(right)) => (left == right).into(),
            _ => Verdict::Unknown,
        }
    }
}

impl Many {
    fn of(self, verdicts: impl Iterator<Item = Verdict>) -> Verdict {
        match self {
            Self::Any => any(verdicts),
            Self::All => all(verdicts),
        }
    }
}

impl Order {
    fn holds(self, left: Item<'_>, right: Item<'_>) -> bool {
        match self {
            Self::Equals => left == right,
            Self::NotEquals => left != right,
            Self::Less => left < right,
            Self::LessEquals => left <= right,
            Self::Greater => left > right,
            Self::GreaterEquals => left >= right,
        }
    }
}

impl Test {
    fn holds(self, text: &str, operand: &str, ignore_case: bool) -> bool {
        let (text, operand) = (text.as_bytes(), operand.as_bytes());
        let same = |part: &[u8]| if ignore_case { part.eq_ignore_ascii_case(operand) } else { part == operand };
        match self {
            Self::Equals => same(text),
            Self::StartsWith => text.get(..operand.len()).is_some_and(same),
            Self::EndsWith => text.len().checked_sub(operand.len()).and_then(|at| text.get(at..)).is_some_and(same),
            Self::Contains => operand.is_empty() || text.windows(operand.len()).any(same),
            Self::Like => like(text, operand, ignore_case),
        }
    }
}

/// `*` is any text, `?` one character, and a backslash makes either of them itself. Linear but for the last `*`.
fn like(text: &[u8], pattern: &[u8], ignore_case: bool) -> bool {
    let (mut at, mut next) = (0, 0);
    // What stands after the last `*`, and where it was last tried.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let matched = match (pattern.get(next), text.get(at)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                next += 1;
                retry = Some((next, at));
                continue;
            }
            (Some(b'?'), Some(_)) => Some((1, character_length(text, at))),
            (Some(b'\\'), Some(byte)) if matches!(pattern.get(next + 1), Some(b'*' | b'?')) => {
                (pattern.get(next + 1) == Some(byte)).then_some((2, 1))
            }
            (Some(wanted), Some(byte)) => {
                let same = if ignore_case { wanted.eq_ignore_ascii_case(byte) } else { wanted == byte };
                same.then_some((1, 1))
            }
            _ => None,
        };
        if let Some((of_pattern, of_text)) = matched {
            next += of_pattern;
            at += of_text;
            continue;
        }
        match retry {
            Some((resume, tried)) if tried < text.len() => {
                at = tried + character_length(text, tried);
                next = resume;
                retry = Some((resume, at));
            }
            _ => return false,
        }
    }
}

/// Bytes of the UTF-8 character that starts here.
fn character_length(text: &[u8], at: usize) -> usize {
    let following = text.get(at + 1..).unwrap_or_default();
    1 + following.iter().take_while(|byte| **byte & 0xC0 == 0x80).count()
}

fn sub_operation(names: &[String], attributes: &Attributes) -> Verdict {
    let Some(values) = attributes.find(Source::Request, SUB_OPERATION) else { return Verdict::Unknown };
    any(values.iter().map(|value| match value {
        Value::Text(text) => names.iter().any(|name| name.eq_ignore_ascii_case(text)).into(),
        _ => Verdict::Unknown,
    }))
}

fn all(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let mut outcome = Verdict::True;
    for verdict in verdicts {
        match verdict {
            Verdict::False => return Verdict::False,
            Verdict::Unknown => outcome = Verdict::Unknown,
            Verdict::True => {}
        }
    }
    outcome
}

fn any(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    !all(verdicts.map(|verdict| !verdict))
}

fn same_family(left: Item<'_>, right: Item<'_>) -> bool {
    match (left, right) {
        (Item::Address(left), Item::Address(right)) => left.is_ipv4() == right.is_ipv4(),
        _ => true,
    }
}

impl std::ops::Not for Verdict {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }
}

impl From<bool> for Verdict {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// The attribute of the request that names its sub-operation.
const SUB_OPERATION: &str = "SubOperation";
