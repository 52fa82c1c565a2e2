//! Conditions in their canonical spelling, which reads back as the same condition.

use std::fmt::{Display, Formatter, Result, Write};

use super::lexer::SOURCES;
use super::literal::Literal;
use super::{Attribute, Comparison, Condition, Expression, Operand};

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.0.fmt(f)
    }
}

impl Display for Expression {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::All(terms) => joined(f, terms, " AND "),
            Self::Any(terms) => joined(f, terms, " OR "),
            Self::Not(term) => write!(f, "!({term})"),
            Self::Action(patterns) => {
                f.write_str("ActionMatches")?;
                set(f, patterns, |f, pattern| quoted(f, pattern.as_str()))
            }
            Self::SubOperation(names) => {
                f.write_str("SubOperationMatches")?;
                set(f, names, |f, name| quoted(f, name))
            }
            Self::Exists { attribute, expected: true } => write!(f, "Exists {attribute}"),
            Self::Exists { attribute, expected: false } => write!(f, "NotExists {attribute}"),
            Self::Compare(comparison) => comparison.fmt(f),
        }
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} ", self.left)?;
        if let Some(quantifier) = self.quantifier {
            write!(f, "{}:", quantifier.name())?;
        }
        write!(f, "{} {}", self.operator.name(), self.right)
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Attribute(attribute) => attribute.fmt(f),
            Self::Literals(literals) => match &**literals {
                [literal] => literal.fmt(f),
                literals => set(f, literals, |f, literal| literal.fmt(f)),
            },
        }
    }
}

impl Display for Attribute {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let source = SOURCES.iter().find(|(_, source)| *source == self.source).map_or("", |(name, _)| name);
        write!(f, "@{source}[{}]", self.name)
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Text(text) => quoted(f, text),
            Self::Integer(number) => number.fmt(f),
            Self::Boolean(flag) => flag.fmt(f),
            Self::Guid(id) => id.fmt(f),
            Self::Moment(moment) => write!(f, "'{moment}'"),
            Self::TimeOfDay(time) => write!(f, "'{time}'"),
            Self::Address(address) => write!(f, "'{address}'"),
            Self::Network(network) => write!(f, "'{}/{}'", network.address, network.prefix),
        }
    }
}

fn joined(f: &mut Formatter<'_>, terms: &[Expression], joint: &str) -> Result {
    for (position, term) in terms.iter().enumerate() {
        if position > 0 {
            f.write_str(joint)?;
        }
        match term {
            Expression::All(_) | Expression::Any(_) => write!(f, "({term})")?,
            term => term.fmt(f)?,
        }
    }
    Ok(())
}

fn set<T>(f: &mut Formatter<'_>, values: &[T], mut write: impl FnMut(&mut Formatter<'_>, &T) -> Result) -> Result {
    f.write_char('{')?;
    for (position, value) in values.iter().enumerate() {
        if position > 0 {
            f.write_str(", ")?;
        }
        write(f, value)?;
    }
    f.write_char('}')
}

fn quoted(f: &mut Formatter<'_>, text: &str) -> Result {
    write!(f, "'{}'", text.replace('\'', "\\'"))
}
