//! Conditions as tokens.

use super::{Attribute, ConditionError, Problem};
use crate::Source;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Open,
    Close,
    /// `{` or `[`: several values follow.
    OpenSet,
    CloseSet,
    Comma,
    And,
    Or,
    Not,
    Attribute(Attribute),
    /// Quoted text.
    Text(String),
    /// Anything unquoted: operators, keywords, numbers, GUIDs.
    Word(String),
}

impl Token {
    /// The token as an error message quotes it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Open => "'('".to_owned(),
            Self::Close => "')'".to_owned(),
            Self::OpenSet => "'{'".to_owned(),
            Self::CloseSet => "'}'".to_owned(),
            Self::Comma => "','".to_owned(),
            Self::And => "AND".to_owned(),
            Self::Or => "OR".to_owned(),
            Self::Not => "NOT".to_owned(),
            Self::Attribute(attribute) => format!("the attribute {attribute}"),
            Self::Text(text) | Self::Word(text) => format!("'{text}'"),
        }
    }
}

/// Splits a condition into tokens, each with its byte offset.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, ConditionError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Result<Option<(usize, Token)>, ConditionError> {
        self.take_while(char::is_whitespace);
        let start = self.at;
        let Some(first) = self.rest().chars().next() else { return Ok(None) };
        let token = match first {
            '@' => self.attribute()?,
            '\'' => self.quoted()?,
            '&' => self.double('&', Token::And)?,
            '|' => self.double('|', Token::Or)?,
            first if is_word(first) => word(self.take_while(is_word)),
            first => {
                self.at += first.len_utf8();
                match first {
                    '(' => Token::Open,
                    ')' => Token::Close,
                    '{' | '[' => Token::OpenSet,
                    '}' | ']' => Token::CloseSet,
                    ',' => Token::Comma,
                    '!' => Token::Not,
                    other => return Err(ConditionError { at: start, problem: Problem::Character(other) }),
                }
            }
        };
        Ok(Some((start, token)))
    }

    /// `@Source[name]`; the name may hold anything but `]`, as tag keys do.
    fn attribute(&mut self) -> Result<Token, ConditionError> {
        let start = self.at;
        self.at += 1;
        let word = self.take_while(is_word);
        let source = SOURCES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        let Some((_, source)) = source else {
            return Err(ConditionError { at: start, problem: Problem::Source(word.to_owned()) });
        };
        self.take_while(char::is_whitespace);
        let unterminated = ConditionError { at: start, problem: Problem::Unterminated("the attribute") };
        let Some(inside) = self.rest().strip_prefix('[') else { return Err(unterminated) };
        let Some((name, _)) = inside.split_once(']') else { return Err(unterminated) };
        self.at += name.len() + 2;
        if name.trim().is_empty() {
            let problem = Problem::Expected { expected: "the name of an attribute", found: "']'".to_owned() };
            return Err(ConditionError { at: start, problem });
        }
        Ok(Token::Attribute(Attribute { source: *source, name: name.trim().to_owned() }))
    }

    /// Quoted text. `\'` is a quote; any other backslash stands for itself, because patterns escape `*` and `?` so.
    fn quoted(&mut self) -> Result<Token, ConditionError> {
        let start = self.at;
        self.at += 1;
        let mut value = String::new();
        let mut characters = self.rest().char_indices().peekable();
        while let Some((offset, character)) = characters.next() {
            match character {
                '\'' => {
                    self.at += offset + 1;
                    return Ok(Token::Text(value));
                }
                '\\' if characters.next_if(|(_, next)| *next == '\'').is_some() => value.push('\''),
                other => value.push(other),
            }
        }
        Err(ConditionError { at: start, problem: Problem::Unterminated("the text") })
    }

    fn double(&mut self, character: char, token: Token) -> Result<Token, ConditionError> {
        let at = self.at;
        if self.take_while(|next| next == character).len() == 2 {
            Ok(token)
        } else {
            Err(ConditionError { at, problem: Problem::Character(character) })
        }
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|character| !keep(character)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '+' | '.' | ':')
}

fn word(word: &str) -> Token {
    if word.eq_ignore_ascii_case("and") {
        Token::And
    } else if word.eq_ignore_ascii_case("or") {
        Token::Or
    } else if word.eq_ignore_ascii_case("not") {
        Token::Not
    } else {
        Token::Word(word.to_owned())
    }
}

pub(super) const SOURCES: [(&str, Source); 4] = [
    ("Request", Source::Request),
    ("Resource", Source::Resource),
    ("Principal", Source::Principal),
    ("Environment", Source::Environment),
];
