//! Tokens as an expression, by recursive descent.

use super::lexer::{Token, tokens};
use super::literal::{Kind, Literal};
use super::operator::{Operator, Quantifier};
use super::{Attribute, Comparison, ConditionError, Expression, MAX_BYTES, MAX_DEPTH, Operand, Problem};
use crate::ActionPattern;

/// Reads a whole condition.
pub(super) fn parse(text: &str) -> Result<Expression, ConditionError> {
    if text.len() > MAX_BYTES {
        return Err(ConditionError { at: MAX_BYTES, problem: Problem::TooLong });
    }
    let mut parser = Parser { tokens: tokens(text)?.into_iter().peekable(), end: text.len() };
    let expression = parser.expression(0)?;
    match parser.tokens.next() {
        None => Ok(expression),
        Some((at, token)) => Err(unexpected(at, "AND, OR or the end", Some(&token))),
    }
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<(usize, Token)>>,
    end: usize,
}

impl Parser {
    /// Terms joined by AND, or by OR, but never by both.
    fn expression(&mut self, depth: usize) -> Result<Expression, ConditionError> {
        let mut terms = vec![self.term(depth)?];
        let mut joined_by = None;
        while let Some((at, joint)) = self.tokens.next_if(|(_, token)| matches!(token, Token::And | Token::Or)) {
            if *joined_by.get_or_insert(joint.clone()) != joint {
                return Err(ConditionError { at, problem: Problem::Mixed });
            }
            terms.push(self.term(depth)?);
        }
        Ok(match joined_by {
            Some(Token::And) => Expression::All(terms),
            Some(_) => Expression::Any(terms),
            None => terms.pop().unwrap_or(Expression::Any(Vec::new())),
        })
    }

    fn term(&mut self, depth: usize) -> Result<Expression, ConditionError> {
        let at = self.at();
        if depth > MAX_DEPTH {
            return Err(ConditionError { at, problem: Problem::TooDeep });
        }
        if self.take(&Token::Not) {
            return Ok(Expression::Not(Box::new(self.term(depth + 1)?)));
        }
        if self.take(&Token::Open) {
            let inside = self.expression(depth + 1)?;
            self.expect(&Token::Close, "')'")?;
            return Ok(inside);
        }
        let keyword = match self.tokens.peek() {
            Some((_, Token::Word(word))) => Keyword::named(word),
            _ => None,
        };
        match keyword {
            Some(keyword) => {
                self.tokens.next();
                self.function(keyword)
            }
            None => self.comparison().map(Expression::Compare),
        }
    }

    fn function(&mut self, keyword: Keyword) -> Result<Expression, ConditionError> {
        Ok(match keyword {
            Keyword::ActionMatches => {
                Expression::Action(self.texts()?.iter().map(|text| ActionPattern::new(text)).collect())
            }
            Keyword::SubOperationMatches => Expression::SubOperation(self.texts()?),
            Keyword::Exists => Expression::Exists { attribute: self.attribute()?, expected: true },
            Keyword::NotExists => Expression::Exists { attribute: self.attribute()?, expected: false },
        })
    }

    fn comparison(&mut self) -> Result<Comparison, ConditionError> {
        let left = self.side()?;
        let (at, quantifier, operator) = self.operator()?;
        let right = self.side()?;
        let range = matches!(operator, Operator::InRange(_));
        if quantifier.is_some() && (range || matches!(operator, Operator::List { .. })) {
            return Err(ConditionError { at, problem: Problem::Quantified(operator.name()) });
        }
        let left = left.typed(operator, operator.left())?;
        let right = right.typed(operator, operator.right())?;
        let comparison = Comparison { left, quantifier, operator, right };
        if range && !comparison.right.is_range() {
            return Err(ConditionError { at, problem: Problem::Range(operator.name()) });
        }
        let list = matches!(operator, Operator::List { .. });
        let several = (comparison.left.is_several() && !list) || (comparison.right.is_several() && !range);
        if quantifier.is_none() && several {
            return Err(ConditionError { at, problem: Problem::Several(operator.name()) });
        }
        Ok(comparison)
    }

    /// `Operator` or `ForAnyOfAnyValues:Operator`.
    fn operator(&mut self) -> Result<(usize, Option<Quantifier>, Operator), ConditionError> {
        let (at, word) = match self.tokens.next() {
            Some((at, Token::Word(word))) => (at, word),
            other => return Err(self.unexpected("an operator", other.as_ref())),
        };
        let unknown = || ConditionError { at, problem: Problem::Operator(word.clone()) };
        let (quantifier, name) = match word.split_once(':') {
            Some((quantifier, name)) => (Some(Quantifier::named(quantifier).ok_or_else(unknown)?), name),
            None => (None, word.as_str()),
        };
        Ok((at, quantifier, Operator::named(name).ok_or_else(unknown)?))
    }

    /// One side of a comparison, before its operator has said what its values are.
    fn side(&mut self) -> Result<Side, ConditionError> {
        match self.tokens.next() {
            Some((_, Token::Attribute(attribute))) => Ok(Side::Attribute(attribute)),
            Some((_, Token::OpenSet)) => self.set().map(Side::Values),
            Some((at, Token::Text(text))) => Ok(Side::Values(vec![Written { at, text, quoted: true }])),
            Some((at, Token::Word(text))) => Ok(Side::Values(vec![Written { at, text, quoted: false }])),
            other => Err(self.unexpected("an attribute or a value", other.as_ref())),
        }
    }

    /// What follows a `{`, up to its `}`; at least one value.
    fn set(&mut self) -> Result<Vec<Written>, ConditionError> {
        let mut values = Vec::new();
        loop {
            match self.tokens.next() {
                Some((at, Token::Text(text))) => values.push(Written { at, text, quoted: true }),
                Some((at, Token::Word(text))) => values.push(Written { at, text, quoted: false }),
                other => return Err(self.unexpected("a value", other.as_ref())),
            }
            match self.tokens.next() {
                Some((_, Token::Comma)) => {}
                Some((_, Token::CloseSet)) => return Ok(values),
                other => return Err(self.unexpected("',' or '}'", other.as_ref())),
            }
        }
    }

    /// `{'text', ...}`.
    fn texts(&mut self) -> Result<Vec<String>, ConditionError> {
        self.expect(&Token::OpenSet, "'{'")?;
        let values = self.set()?.into_iter();
        let quoted = values.map(|value| {
            let word = Token::Word(value.text.clone());
            if value.quoted { Ok(value.text) } else { Err(unexpected(value.at, "text in quotes", Some(&word))) }
        });
        quoted.collect()
    }

    fn attribute(&mut self) -> Result<Attribute, ConditionError> {
        match self.tokens.next() {
            Some((_, Token::Attribute(attribute))) => Ok(attribute),
            other => Err(self.unexpected("an attribute", other.as_ref())),
        }
    }

    fn take(&mut self, wanted: &Token) -> bool {
        self.tokens.next_if(|(_, token)| token == wanted).is_some()
    }

    fn expect(&mut self, wanted: &Token, expected: &'static str) -> Result<(), ConditionError> {
        match self.tokens.next() {
            Some((_, token)) if token == *wanted => Ok(()),
            other => Err(self.unexpected(expected, other.as_ref())),
        }
    }

    fn at(&mut self) -> usize {
        self.tokens.peek().map_or(self.end, |(at, _)| *at)
    }

    fn unexpected(&self, expected: &'static str, found: Option<&(usize, Token)>) -> ConditionError {
        unexpected(found.map_or(self.end, |(at, _)| *at), expected, found.map(|(_, token)| token))
    }
}

/// Words that start a term.
#[derive(Debug, Clone, Copy)]
enum Keyword {
    ActionMatches,
    SubOperationMatches,
    Exists,
    NotExists,
}

impl Keyword {
    fn named(word: &str) -> Option<Self> {
        KEYWORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, keyword)| *keyword)
    }
}

enum Side {
    Attribute(Attribute),
    Values(Vec<Written>),
}

/// A value as it was written.
struct Written {
    at: usize,
    text: String,
    quoted: bool,
}

impl Side {
    fn typed(self, operator: Operator, kind: Option<Kind>) -> Result<Operand, ConditionError> {
        let written = match self {
            Self::Attribute(attribute) => return Ok(Operand::Attribute(attribute)),
            Self::Values(written) => written,
        };
        let literals = written.into_iter().map(|Written { at, text, quoted }| {
            Literal::read(&text, quoted, kind).ok_or_else(|| {
                let wanted = kind.map_or("text in quotes, whole numbers, true, false or GUIDs", Kind::name);
                ConditionError { at, problem: Problem::Value { operator: operator.name(), wanted, value: text } }
            })
        });
        literals.collect::<Result<_, _>>().map(Operand::Literals)
    }
}

impl Operand {
    fn is_several(&self) -> bool {
        matches!(self, Self::Literals(literals) if literals.len() > 1)
    }

    fn is_range(&self) -> bool {
        match self {
            Self::Literals(literals) => {
                matches!(&**literals, [low, high] if same_family(low, high) && low.item() <= high.item())
            }
            Self::Attribute(_) => false,
        }
    }
}

/// Whether the ends of a range can be compared: both IPv4 or both IPv6.
fn same_family(low: &Literal, high: &Literal) -> bool {
    match (low, high) {
        (Literal::Address(low), Literal::Address(high)) => low.is_ipv4() == high.is_ipv4(),
        _ => true,
    }
}

fn unexpected(at: usize, expected: &'static str, found: Option<&Token>) -> ConditionError {
    let found = found.map_or_else(|| "the end".to_owned(), Token::describe);
    ConditionError { at, problem: Problem::Expected { expected, found } }
}

const KEYWORDS: [(&str, Keyword); 4] = [
    ("ActionMatches", Keyword::ActionMatches),
    ("SubOperationMatches", Keyword::SubOperationMatches),
    ("Exists", Keyword::Exists),
    ("NotExists", Keyword::NotExists),
];
