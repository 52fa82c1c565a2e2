//! The part of OData's `$filter` that clients of the directory use, over JSON objects.
//!
//! `eq`, `ne`, `startswith`, `endswith`, `any` with a lambda, `in`, `and`, `or`, `not` and parentheses. Text compares
//! without regard to ASCII case, as Graph does.

use serde_json::Value;

/// A parsed filter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Filter {
    Both(Box<Filter>, Box<Filter>),
    Either(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
    Equals(Path, Vec<Value>),
    StartsWith(Path, String),
    EndsWith(Path, String),
    /// At least one element of the list satisfies the inner filter, whose paths start at the element.
    Any(Path, Box<Filter>),
}

/// Where a filter cannot be read. `at` counts characters from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("The $filter cannot be read at character {at}: {expected}.")]
pub(super) struct FilterError {
    at: usize,
    expected: &'static str,
}

/// Property names from the outside in.
type Path = Vec<String>;

impl Filter {
    pub(super) fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > MAX_LENGTH {
            return Err(FilterError { at: MAX_LENGTH, expected: "it is too long" });
        }
        let mut parser = Parser { tokens: tokens(text)?, next: 0, end: text.chars().count() };
        let filter = parser.either(None, 0)?;
        if parser.next < parser.tokens.len() {
            Err(parser.refuse("expected 'and', 'or' or the end"))
        } else {
            Ok(filter)
        }
    }

    /// The one text that this property must have for the filter to hold, if the filter says so.
    pub(super) fn pinned(&self, property: &str) -> Option<&str> {
        match self {
            Self::Both(left, right) => left.pinned(property).or_else(|| right.pinned(property)),
            Self::Equals(path, values) => match (path.as_slice(), values.as_slice()) {
                ([name], [Value::String(text)]) if name == property => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// The one text that this list must contain for the filter to hold, if the filter says so.
    pub(super) fn pinned_element(&self, property: &str) -> Option<&str> {
        match self {
            Self::Both(left, right) => left.pinned_element(property).or_else(|| right.pinned_element(property)),
            Self::Any(path, inner) => match (path.as_slice(), inner.as_ref()) {
                ([name], Self::Equals(element, values)) if name == property && element.is_empty() => {
                    values.first().filter(|_| values.len() == 1).and_then(Value::as_str)
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether an object satisfies the filter.
    pub(super) fn admits(&self, object: &Value) -> bool {
        match self {
            Self::Both(left, right) => left.admits(object) && right.admits(object),
            Self::Either(left, right) => left.admits(object) || right.admits(object),
            Self::Not(inner) => !inner.admits(object),
            Self::Equals(path, values) => values.iter().any(|value| equal(at(object, path), value)),
            Self::StartsWith(path, prefix) => lower(at(object, path)).is_some_and(|text| text.starts_with(prefix)),
            Self::EndsWith(path, suffix) => lower(at(object, path)).is_some_and(|text| text.ends_with(suffix)),
            Self::Any(path, inner) => {
                at(object, path).as_array().is_some_and(|list| list.iter().any(|element| inner.admits(element)))
            }
        }
    }
}

fn at<'a>(object: &'a Value, path: &Path) -> &'a Value {
    path.iter().fold(object, |value, name| value.get(name).unwrap_or(&Value::Null))
}

fn lower(value: &Value) -> Option<String> {
    value.as_str().map(str::to_ascii_lowercase)
}

fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::String(left), Value::String(right)) => left.eq_ignore_ascii_case(right),
        _ => left == right,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, FilterError> {
    let mut found = Vec::new();
    let mut characters = text.chars().enumerate().peekable();
    while let Some((at, character)) = characters.next() {
        let token = match character {
            ' ' => continue,
            '(' | ')' | ',' | '/' | ':' => Token::Sign(character),
            '\'' => {
                let mut text = String::new();
                loop {
                    match characters.next() {
                        Some((_, '\'')) if characters.next_if(|(_, next)| *next == '\'').is_some() => text.push('\''),
                        Some((_, '\'')) => break Token::Text(text),
                        Some((_, other)) => text.push(other),
                        None => return Err(FilterError { at, expected: "this text has no closing quote" }),
                    }
                }
            }
            first if is_word(first) => {
                let mut word = String::from(first);
                while let Some((_, next)) = characters.next_if(|(_, next)| is_word(*next)) {
                    word.push(next);
                }
                Token::Word(word)
            }
            _ => return Err(FilterError { at, expected: "this character has no meaning here" }),
        };
        found.push((at, token));
    }
    Ok(found)
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.' | '@')
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    end: usize,
}

/// The name an `any` gives to its element.
type Variable<'a> = Option<&'a str>;

impl Parser {
    fn either(&mut self, variable: Variable<'_>, depth: usize) -> Result<Filter, FilterError> {
        let mut left = self.both(variable, depth)?;
        while self.word("or") {
            left = Filter::Either(Box::new(left), Box::new(self.both(variable, depth)?));
        }
        Ok(left)
    }

    fn both(&mut self, variable: Variable<'_>, depth: usize) -> Result<Filter, FilterError> {
        let mut left = self.one(variable, depth)?;
        while self.word("and") {
            left = Filter::Both(Box::new(left), Box::new(self.one(variable, depth)?));
        }
        Ok(left)
    }

    fn one(&mut self, variable: Variable<'_>, depth: usize) -> Result<Filter, FilterError> {
        if depth >= MAX_DEPTH {
            return Err(self.refuse("it is nested too deeply"));
        }
        if self.word("not") {
            return Ok(Filter::Not(Box::new(self.one(variable, depth + 1)?)));
        }
        if self.sign('(') {
            let inner = self.either(variable, depth + 1)?;
            return self.expect(')', "expected ')'").map(|()| inner);
        }
        for (name, build) in
            [("startswith", Filter::StartsWith as fn(Path, String) -> Filter), ("endswith", Filter::EndsWith)]
        {
            if self.word(name) {
                self.expect('(', "expected '('")?;
                let path = self.path(variable)?.0;
                self.expect(',', "expected ','")?;
                let text = self.text()?.to_ascii_lowercase();
                return self.expect(')', "expected ')'").map(|()| build(path, text));
            }
        }
        let (path, is_any) = self.path(variable)?;
        if is_any { self.any(path, depth) } else { self.comparison(path) }
    }

    /// After `path/any`: `(x:...)`.
    fn any(&mut self, path: Path, depth: usize) -> Result<Filter, FilterError> {
        self.expect('(', "expected '('")?;
        let name = self.name()?;
        self.expect(':', "expected ':'")?;
        let inner = self.either(Some(&name), depth + 1)?;
        self.expect(')', "expected ')'").map(|()| Filter::Any(path, Box::new(inner)))
    }

    fn comparison(&mut self, path: Path) -> Result<Filter, FilterError> {
        if self.word("eq") {
            return Ok(Filter::Equals(path, vec![self.literal()?]));
        }
        if self.word("ne") {
            return Ok(Filter::Not(Box::new(Filter::Equals(path, vec![self.literal()?]))));
        }
        if self.word("in") {
            self.expect('(', "expected '('")?;
            let mut values = vec![self.literal()?];
            while self.sign(',') {
                values.push(self.literal()?);
            }
            return self.expect(')', "expected ')'").map(|()| Filter::Equals(path, values));
        }
        Err(self.refuse("expected 'eq', 'ne' or 'in'"))
    }

    /// A property path, and whether it ended in `any`. Inside an `any` it must start with the element's name.
    fn path(&mut self, variable: Variable<'_>) -> Result<(Path, bool), FilterError> {
        let mut path = vec![self.name()?];
        if let Some(variable) = variable {
            if path.first().is_none_or(|first| first != variable) {
                self.next -= 1;
                return Err(self.refuse("expected the name of the element"));
            }
            path.clear();
        }
        while self.sign('/') {
            if self.word("any") {
                return Ok((path, true));
            }
            path.push(self.name()?);
        }
        Ok((path, false))
    }

    fn literal(&mut self) -> Result<Value, FilterError> {
        match self.peek().cloned() {
            Some(Token::Text(text)) => Ok(self.took(Value::String(text))),
            Some(Token::Word(word)) => Ok(self.took(match word.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                // A GUID or a number may stand without quotes.
                _ => word.parse::<i64>().map_or(Value::String(word), Value::from),
            })),
            _ => Err(self.refuse("expected a value")),
        }
    }

    fn text(&mut self) -> Result<String, FilterError> {
        match self.peek().cloned() {
            Some(Token::Text(text)) => Ok(self.took(text)),
            _ => Err(self.refuse("expected a text in single quotes")),
        }
    }

    fn name(&mut self) -> Result<String, FilterError> {
        match self.peek().cloned() {
            Some(Token::Word(word)) => Ok(self.took(word)),
            _ => Err(self.refuse("expected a property")),
        }
    }

    fn word(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(word)) if word == wanted);
        self.next += usize::from(found);
        found
    }

    fn sign(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(&Token::Sign(wanted));
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: char, expected: &'static str) -> Result<(), FilterError> {
        if self.sign(wanted) { Ok(()) } else { Err(self.refuse(expected)) }
    }

    fn took<T>(&mut self, value: T) -> T {
        self.next += 1;
        value
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn refuse(&self, expected: &'static str) -> FilterError {
        FilterError { at: self.tokens.get(self.next).map_or(self.end, |(at, _)| *at), expected }
    }
}

/// Longer than any client sends; bounds the work.
const MAX_LENGTH: usize = 4096;
const MAX_DEPTH: usize = 16;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn admits(filter: &str) -> bool {
        Filter::parse(filter).unwrap().admits(&json!({
            "userPrincipalName": "Ada@example.org",
            "displayName": "Ada O'Neill",
            "accountEnabled": true,
            "mail": null,
            "web": { "homePageUrl": "https://example.org" },
            "servicePrincipalNames": ["6dc3cd30-0a28-4b8c-a0a8-c33ab4b5c8d1", "api://ada"],
            "keys": [{ "kind": "a", "size": 1 }, { "kind": "b", "size": 2 }],
        }))
    }

    #[test]
    fn the_recorded_filters_of_az() {
        assert!(admits("userPrincipalName eq 'ada@example.org'"));
        assert!(admits("startswith(displayName,'ada')"));
        assert!(admits("servicePrincipalNames/any(c:c eq '6DC3CD30-0a28-4b8c-a0a8-c33ab4b5c8d1')"));
        assert!(admits("displayName eq 'Ada O''Neill' and userPrincipalName eq 'ada@example.org'"));
        assert!(!admits("servicePrincipalNames/any(s:s eq 'api://eve')"));
    }

    #[test]
    fn the_rest_of_the_grammar() {
        assert!(admits("accountEnabled eq true and mail eq null"));
        assert!(admits("not (accountEnabled eq false) and absent eq null"));
        assert!(admits("mail ne null or web/homePageUrl eq 'https://example.org'"));
        assert!(admits("displayName in ('Eve', 'ada o''neill')"));
        assert!(admits("keys/any(k:k/kind eq 'b' and k/size eq 2)"));
        assert!(!admits("keys/any(k:k/kind eq 'a' and k/size eq 2)"));
        assert!(admits("endswith(userPrincipalName,'@EXAMPLE.org')"));
    }

    #[test]
    fn an_index_may_answer_what_a_filter_pins_down() {
        let pins = |filter: &str| Filter::parse(filter).unwrap().pinned("appId").map(str::to_owned);
        assert_eq!(pins("appId eq 'x' and a eq 1").as_deref(), Some("x"));
        for open in
            ["appId eq 'x' or a eq 1", "not (appId eq 'x')", "appId ne 'x'", "appId in ('x','y')", "a/appId eq 'x'"]
        {
            assert_eq!(pins(open), None, "{open}");
        }
        let element = Filter::parse("names/any(n:n eq 'x')").unwrap();
        assert_eq!(element.pinned_element("names"), Some("x"));
        assert_eq!(Filter::parse("names/any(n:n/a eq 'x')").unwrap().pinned_element("names"), None);
    }

    #[test]
    fn a_filter_that_cannot_be_read_says_where() {
        let cases = [
            ("", 0),
            ("a", 1),
            ("a eq", 4),
            ("a eq 'b", 5),
            ("a eq 'b' c", 9),
            ("a gt 1", 2),
            ("x/any(c:d eq 1)", 8),
            ("(a eq 1", 7),
            ("a eq 1;", 6),
        ];
        for (filter, at) in cases {
            assert_eq!(Filter::parse(filter).unwrap_err().at, at, "{filter}");
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        assert!(Filter::parse(&format!("{}a eq 1{}", "(".repeat(1000), ")".repeat(1000))).is_err());
        assert!(Filter::parse(&"not ".repeat(1000)).is_err());
        assert!(Filter::parse(&format!("a eq '{}'", "x".repeat(5000))).is_err());
    }
}
