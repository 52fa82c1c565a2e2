//! Recursive descent over the text of an expression.
//!
//! ```text
//! expression = "[" term "]"
//! term       = (string | integer | call) { access }
//! call       = name [ "." name ] "(" [ term { "," term } ] ")"
//! access     = "." [ "?" ] name | "[" [ "?" ] term "]"
//! ```

use std::sync::Arc;

use crate::error::TemplateError;
use crate::expression::{Call, Expression, Kind, Term};
use crate::functions;
use crate::limits::Limits;

/// What a string of a template means.
pub(crate) enum Meaning {
    /// Text as it stands; the `[[` escape has been undone.
    Literal(Arc<str>),
    Expression(Expression),
}

/// Which functions an expression may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vocabulary {
    /// Those of templates.
    Template,
    /// Those of policies.
    Policy,
}

/// Reads a template string. `place` is its JSON path.
pub(crate) fn read(text: &str, place: &str, limits: &Limits) -> Result<Meaning, TemplateError> {
    read_in(Vocabulary::Template, text, place, limits)
}

/// Reads a string with the functions of one vocabulary.
pub(crate) fn read_in(
    vocabulary: Vocabulary,
    text: &str,
    place: &str,
    limits: &Limits,
) -> Result<Meaning, TemplateError> {
    if !(text.starts_with('[') && text.ends_with(']') && text.len() > 1) {
        return Ok(Meaning::Literal(Arc::from(text)));
    }
    if let Some(escaped) = text.strip_prefix('[').filter(|rest| rest.starts_with('[')) {
        return Ok(Meaning::Literal(Arc::from(escaped)));
    }
    if text.len() > limits.expression_bytes {
        let message = format!("The expression has {} bytes; {} are allowed.", text.len(), limits.expression_bytes);
        return Err(TemplateError::too_large(place, message));
    }
    let mut parser = Parser { text, at: 1, depth: 0, most: limits.expression_depth, vocabulary };
    match parser.whole() {
        Ok(root) => Ok(Meaning::Expression(Expression { place: Arc::from(place), root })),
        Err((offset, message)) => Err(TemplateError::at(place, offset, message)),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    most: u32,
    vocabulary: Vocabulary,
}

type Parse<T> = Result<T, (usize, String)>;

impl Parser<'_> {
    fn whole(&mut self) -> Parse<Term> {
        let root = self.term()?;
        self.expect(b']', "the end of the expression")?;
        if self.at != self.text.len() {
            return self.fail("Nothing may follow the ']' that closes the expression.");
        }
        Ok(root)
    }

    fn term(&mut self) -> Parse<Term> {
        self.depth += 1;
        if self.depth > self.most {
            return self.fail(&format!("The expression is nested deeper than {} levels.", self.most));
        }
        self.blank();
        let offset = self.at;
        let kind = match self.peek() {
            Some(b'\'') => Kind::Text(self.string()?.into()),
            Some(b'-' | b'+' | b'0'..=b'9') => self.integer()?,
            Some(byte) if is_name_start(byte) => self.call(offset)?,
            Some(b'"') => return self.fail("Strings inside an expression take single quotes."),
            _ => return self.fail("A function call, a string or an integer was expected here."),
        };
        let term = self.accesses(Term { offset, kind })?;
        self.depth -= 1;
        Ok(term)
    }

    /// `.a[0].b`: a loop, but the tree it makes is as deep as it is long, so it counts against the depth.
    fn accesses(&mut self, mut term: Term) -> Parse<Term> {
        let before = self.depth;
        loop {
            self.blank();
            let offset = self.at;
            let kind = match self.peek() {
                Some(b'.') => {
                    self.at += 1;
                    let safe = self.take(b'?');
                    self.blank();
                    let name = self.name("A property name was expected after the '.'.")?;
                    Kind::Property { of: Box::new(term), name: name.into(), safe }
                }
                Some(b'[') => {
                    self.at += 1;
                    let safe = self.take(b'?');
                    let index = Box::new(self.term()?);
                    self.expect(b']', "the end of the index")?;
                    Kind::Index { of: Box::new(term), index, safe }
                }
                _ => {
                    self.depth = before;
                    return Ok(term);
                }
            };
            self.depth += 1;
            if self.depth > self.most {
                return self.fail(&format!("The expression is nested deeper than {} levels.", self.most));
            }
            term = Term { offset, kind };
        }
    }

    fn call(&mut self, offset: usize) -> Parse<Kind> {
        let mut name = self.name("A function name was expected here.")?;
        self.blank();
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.blank();
            name = format!("{name}.{}", self.name("A function name was expected after the '.'.")?);
            self.blank();
        }
        if self.peek() != Some(b'(') {
            let hint = match name.to_ascii_lowercase().as_str() {
                literal @ ("true" | "false" | "null") => format!("Write {literal}()."),
                _ => format!("'{name}' is not a value: a function call needs '(', a string needs single quotes."),
            };
            return Err((offset, hint));
        }
        self.at += 1;
        let arguments = self.arguments()?;
        if name.contains('.') {
            return Ok(Kind::UserCall { name, arguments });
        }
        let function = self.function(&name).map_err(|message| (offset, message))?;
        if !(function.least..=function.most).contains(&arguments.len()) {
            return Err((offset, wrong_count(function, arguments.len())));
        }
        Ok(Kind::Call(Call { name: name.into(), function, arguments, offset }))
    }

    fn function(&self, name: &str) -> Result<&'static functions::Function, String> {
        match self.vocabulary {
            Vocabulary::Template => functions::find(name).ok_or_else(|| unknown_function(name)),
            Vocabulary::Policy => functions::find_in_policy(name).map_err(|known| match known {
                Some(known) => format!("The function '{known}' cannot be used in a policy."),
                None => format!("'{name}' is not a function of policies."),
            }),
        }
    }

    fn arguments(&mut self) -> Parse<Vec<Term>> {
        let mut arguments = Vec::new();
        self.blank();
        if self.take(b')') {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.term()?);
            self.blank();
            if self.take(b')') {
                return Ok(arguments);
            }
            self.expect(b',', "',' or ')'")?;
        }
    }

    fn string(&mut self) -> Parse<String> {
        let start = self.at;
        let mut text = String::new();
        loop {
            self.at += 1;
            let rest = self.text.get(self.at..).unwrap_or_default();
            let Some(length) = rest.find('\'') else {
                return Err((start, "The string that starts here is never closed.".to_owned()));
            };
            text.push_str(rest.get(..length).unwrap_or_default());
            self.at += length + 1;
            if self.peek() != Some(b'\'') {
                return Ok(text);
            }
            text.push('\'');
        }
    }

    fn integer(&mut self) -> Parse<Kind> {
        let start = self.at;
        if matches!(self.peek(), Some(b'-' | b'+')) {
            self.at += 1;
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.peek() == Some(b'.') && self.text.as_bytes().get(self.at + 1).is_some_and(u8::is_ascii_digit) {
            return Err((start, "Expressions have integers only; write json('1.5') for a fraction.".to_owned()));
        }
        let digits = self.text.get(start..self.at).unwrap_or_default();
        match digits.parse() {
            Ok(number) => Ok(Kind::Int(number)),
            Err(_) => Err((start, "This is not an integer of 64 bits.".to_owned())),
        }
    }

    fn name(&mut self, otherwise: &str) -> Parse<String> {
        let start = self.at;
        while self.peek().is_some_and(|byte| is_name_start(byte) || byte.is_ascii_digit() || byte == b'-') {
            self.at += 1;
        }
        match self.text.get(start..self.at) {
            Some(name) if !name.is_empty() => Ok(name.to_owned()),
            _ => self.fail(otherwise),
        }
    }

    fn expect(&mut self, byte: u8, what: &str) -> Parse<()> {
        self.blank();
        if self.take(byte) { Ok(()) } else { self.fail(&format!("Expected {what} here.")) }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn fail<T>(&self, message: &str) -> Parse<T> {
        Err((self.at, message.to_owned()))
    }
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'$')
}

fn unknown_function(name: &str) -> String {
    match functions::nearest(name) {
        Some(near) => format!("'{name}' is not a template function. Did you mean '{near}'?"),
        None => format!("'{name}' is not a template function."),
    }
}

fn wrong_count(function: &functions::Function, given: usize) -> String {
    let expected = match (function.least, function.most) {
        (least, most) if least == most => format!("{least}"),
        (least, functions::MANY) => format!("at least {least}"),
        (least, most) => format!("{least} to {most}"),
    };
    format!("The function '{}' takes {expected} arguments; {given} are given.", function.name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Expression, TemplateError> {
        match read(text, "$.x", &Limits::default())? {
            Meaning::Expression(expression) => Ok(expression),
            Meaning::Literal(text) => panic!("'{text}' is a literal"),
        }
    }

    #[test]
    fn brackets_make_an_expression_and_two_make_a_literal() {
        for (text, literal) in [
            ("plain", "plain"),
            ("[[x]", "[x]"),
            ("[[[x]]", "[[x]]"),
            ("[x", "[x"),
            ("x]", "x]"),
            ("[", "["),
            ("", ""),
            ("[[x", "[[x"),
        ] {
            match read(text, "$", &Limits::default()) {
                Ok(Meaning::Literal(found)) => assert_eq!(&*found, literal),
                _ => panic!("'{text}' is no literal"),
            }
        }
    }

    #[test]
    fn expressions_print_in_one_form() {
        for (text, printed) in [
            ("[ concat( 'it''s' ,\n-5 ) ]", "[concat('it''s', -5)]"),
            ("[parameters('a').b[0].?c[?'d']]", "[parameters('a').b[0].?c[?'d']]"),
            ("[__bicep.f(1)]", "[__bicep.f(1)]"),
            ("[CONCAT('a')]", "[CONCAT('a')]"),
            ("[listKeys('a', 'b').keys[0].value]", "[listKeys('a', 'b').keys[0].value]"),
        ] {
            assert_eq!(parse(text).expect(text).to_string(), printed);
        }
    }

    #[test]
    fn errors_name_the_byte() {
        for (text, offset, message) in [
            ("[]", 1, "was expected"),
            ("[concat('a']", 11, "',' or ')'"),
            ("[concat('a' 'b')]", 12, "',' or ')'"),
            ("[concat('a)]", 8, "never closed"),
            ("[conct('a')]", 1, "Did you mean 'concat'"),
            ("[qqqqqqqqqq('a')]", 1, "is not a template function."),
            ("[true]", 1, "Write true()"),
            ("[foo]", 1, "not a value"),
            ("[add(1.5, 2)]", 5, "json('1.5')"),
            ("[add(99999999999999999999, 2)]", 5, "64 bits"),
            ("[not()]", 1, "takes 1 arguments; 0 are given"),
            ("[variables('ä').]", 17, "property name"),
            ("[add(1,2)]]", 10, "Nothing may follow"),
            ("[\"a\"]", 1, "single quotes"),
            ("[add(1,)]", 7, "was expected"),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!((error.offset, error.place.as_str()), (Some(offset), "$.x"), "{text}: {}", error.message);
            assert!(error.message.contains(message), "{text}: {}", error.message);
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let limits = Limits { expression_bytes: usize::MAX, ..Limits::default() };
        let deep = format!("[{}1{}]", "not(".repeat(1_000_000), ")".repeat(1_000_000));
        let error = read(&deep, "$.x", &limits).map(|_| ()).expect_err("too deep");
        assert!(error.message.contains("nested deeper than 100"), "{}", error.message);
        let chain = format!("[null(){}]", ".a".repeat(1_000_000));
        read(&chain, "$.x", &limits).map(|_| ()).expect_err("too deep");
        let error = read(&deep, "$.x", &Limits::default()).map(|_| ()).expect_err("too long");
        assert!(error.message.contains("bytes"), "{}", error.message);
    }

    fn expression_text() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "[ -~]{0,12}".prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
            any::<i64>().prop_map(|number| number.to_string()),
            Just("resourceGroup()".to_owned()),
        ];
        leaf.prop_recursive(5, 40, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(|items| format!("concat({})", items.join(" ,"))),
                (inner.clone(), inner.clone()).prop_map(|(of, index)| format!("{of} [ {index} ]")),
                (inner.clone(), "[a-z_][a-zA-Z0-9_]{0,6}").prop_map(|(of, name)| format!("{of}.?{name}")),
                prop::collection::vec(inner, 0..3).prop_map(|items| format!("my.function({})", items.join(","))),
            ]
        })
    }

    proptest! {
        #[test]
        fn printing_and_parsing_again_changes_nothing(text in expression_text()) {
            let printed = parse(&format!("[{text}]")).expect("generated text is an expression").to_string();
            prop_assert_eq!(parse(&printed).expect("printed text is an expression").to_string(), printed);
        }

        #[test]
        fn any_text_ends_in_an_answer(text in "\\PC{0,60}") {
            let _ = read(&format!("[{text}]"), "$", &Limits::default());
        }
    }
}
