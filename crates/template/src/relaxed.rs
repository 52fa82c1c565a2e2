//! The relaxed JSON that `az` posts and people write: a superset of JSON in the direction of JSON5.
//!
//! Accepted beyond RFC 8259: `//` and `/* */` comments, bare and single-quoted member names, single-quoted strings,
//! strings over several lines, a trailing comma, a byte order mark. Refused as in strict JSON: duplicate members,
//! numbers out of range, anything after the document.

use serde_json::{Map, Number, Value};

use crate::error::{Code, TemplateError};
use crate::limits::Limits;

/// Reads one document in time linear in its length. Errors name line and column, both counted from 1.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Value, TemplateError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| failure(bytes, error.valid_up_to(), "The document is not valid UTF-8 here".to_owned()))?;
    let mut reader = Reader { text, at: 0, depth: 0, most: limits.json_depth };
    reader.document().map_err(|(at, message)| failure(bytes, at, message))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    most: u32,
}

type Read<T> = Result<T, (usize, String)>;

impl Reader<'_> {
    fn document(&mut self) -> Read<Value> {
        if self.text.starts_with('\u{feff}') {
            self.at = '\u{feff}'.len_utf8();
        }
        self.blank()?;
        let value = self.value()?;
        self.blank()?;
        if self.at < self.text.len() {
            return self.fail("Nothing may follow the document");
        }
        Ok(value)
    }

    fn value(&mut self) -> Read<Value> {
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(quote @ (b'"' | b'\'')) => self.string(quote).map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(byte) if is_word(byte) => self.word(),
            Some(_) => self.fail("A value was expected here"),
            None => self.fail("The document ends where a value was expected"),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Read<Value>) -> Read<Value> {
        if self.depth >= self.most {
            return self.fail(&format!("Objects and arrays are nested deeper than {}", self.most));
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Read<Value> {
        let mut members = Map::new();
        loop {
            self.blank()?;
            let start = self.at;
            let name = match self.peek() {
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Object(members));
                }
                Some(quote @ (b'"' | b'\'')) => self.string(quote)?,
                Some(byte) if is_word(byte) => self.bare().to_owned(),
                _ => return self.fail("A member name or '}' was expected here"),
            };
            self.blank()?;
            if self.peek() != Some(b':') {
                return self.fail(&format!("A ':' was expected after the member '{name}'"));
            }
            self.at += 1;
            self.blank()?;
            let value = self.value()?;
            if members.contains_key(&name) {
                return Err((start, format!("The member '{name}' appears twice in one object")));
            }
            members.insert(name, value);
            self.blank()?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {}
                _ => return self.fail("A ',' or '}' was expected here"),
            }
        }
    }

    fn array(&mut self) -> Read<Value> {
        let mut items = Vec::new();
        loop {
            self.blank()?;
            if self.peek() == Some(b']') {
                self.at += 1;
                return Ok(Value::Array(items));
            }
            items.push(self.value()?);
            self.blank()?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {}
                _ => return self.fail("A ',' or ']' was expected here"),
            }
        }
    }

    fn string(&mut self, quote: u8) -> Read<String> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let plain = self.rest().bytes().position(|byte| byte == quote || byte == b'\\');
            let Some(length) = plain else {
                return Err((start, "The string that starts here is never closed".to_owned()));
            };
            text.push_str(self.rest().get(..length).unwrap_or_default());
            self.at += length;
            if self.peek() == Some(quote) {
                self.at += 1;
                return Ok(text);
            }
            self.escape(&mut text)?;
        }
    }

    fn escape(&mut self, text: &mut String) -> Read<()> {
        let Some(escaped) = self.rest().chars().nth(1) else {
            return self.fail("The document ends inside an escape");
        };
        let plain = match escaped {
            '"' | '\'' | '\\' | '/' => escaped,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let character = self.unicode_escape()?;
                text.push(character);
                return Ok(());
            }
            _ => return self.fail(&format!("'\\{}' is not an escape", escaped.escape_default())),
        };
        self.at += 1 + escaped.len_utf8();
        text.push(plain);
        Ok(())
    }

    fn unicode_escape(&mut self) -> Read<char> {
        let start = self.at;
        let first = self.code_unit()?;
        let code = if (0xd800..0xdc00).contains(&first) && self.rest().starts_with("\\u") {
            let second = self.code_unit()?;
            if !(0xdc00..0xe000).contains(&second) {
                return Err((start, "The escape is half of a surrogate pair".to_owned()));
            }
            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(code).ok_or((start, "The escape is half of a surrogate pair".to_owned()))
    }

    fn code_unit(&mut self) -> Read<u32> {
        let digits = self.rest().get(2..6).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(code) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
            return self.fail("Four hexadecimal digits were expected after '\\u'");
        };
        self.at += 6;
        Ok(code)
    }

    fn number(&mut self) -> Read<Value> {
        let start = self.at;
        let length = self
            .rest()
            .bytes()
            .take_while(|byte| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
            .count();
        let text = self.rest().get(..length).unwrap_or_default();
        // serde_json knows the grammar and the range of numbers, but rounds fractions less exactly than std does.
        let number = match (text.parse::<Number>(), text.parse::<f64>()) {
            (Ok(number), Ok(exact)) if number.is_f64() => Number::from_f64(exact),
            (Ok(number), _) => Some(number),
            (Err(_), _) => None,
        };
        match number {
            Some(number) => {
                self.at += length;
                Ok(Value::Number(number))
            }
            None => Err((start, format!("'{}' is not a number", text.chars().take(40).collect::<String>()))),
        }
    }

    fn word(&mut self) -> Read<Value> {
        let start = self.at;
        match self.bare() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" => Ok(Value::Null),
            other => {
                let shown: String = other.chars().take(40).collect();
                Err((start, format!("'{shown}' is not a value; strings need quotes")))
            }
        }
    }

    fn bare(&mut self) -> &str {
        let length = self.rest().bytes().take_while(|byte| is_word(*byte)).count();
        let start = self.at;
        self.at += length;
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Skips white space and comments.
    fn blank(&mut self) -> Read<()> {
        loop {
            let rest = self.rest();
            let spaces = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            self.at += spaces;
            let rest = self.rest();
            if rest.starts_with("//") {
                self.at += rest.bytes().position(|byte| byte == b'\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                match rest.find("*/") {
                    Some(end) => self.at += end + 2,
                    None => return self.fail("The comment that starts here is never closed"),
                }
            } else {
                return Ok(());
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn fail<T>(&self, message: &str) -> Read<T> {
        Err((self.at, message.to_owned()))
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'-')
}

fn failure(bytes: &[u8], at: usize, message: String) -> TemplateError {
    let before = bytes.get(..at).unwrap_or(bytes);
    let line = before.split(|byte| *byte == b'\n').count();
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let on_line = String::from_utf8_lossy(before.get(line_start..).unwrap_or_default());
    let column = on_line.chars().count() + 1;
    TemplateError {
        code: Code::InvalidRequestContent,
        message,
        place: format!("line {line}, column {column}"),
        offset: None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Value, TemplateError> {
        parse(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn what_az_posts_is_read() {
        let text = "{\"properties\": {\"parameters\": {}, \"mode\": \"Incremental\", template:{ // the file\n\
                    /* byte for byte */ \"a\": \"two\nlines\", 'b': 'it\\'s', \"c\": [1, -2.5, 1e3, true, null,],},}}\n// end";
        assert_eq!(
            read(text),
            Ok(json!({"properties": {"parameters": {}, "mode": "Incremental",
                "template": {"a": "two\nlines", "b": "it's", "c": [1, -2.5, 1e3, true, null]}}}))
        );
    }

    #[test]
    fn escapes_and_marks_are_decoded() {
        assert_eq!(read("\u{feff} \"\\u00e4\\ud83d\\ude00\\n\\/\""), Ok(json!("ä😀\n/")));
        assert_eq!(read("{$schema: 'x', a-b_1: 2}"), Ok(json!({"$schema": "x", "a-b_1": 2})));
    }

    #[test]
    fn errors_name_line_and_column() {
        for (text, place, message) in [
            ("{\n \"a\": 1,\n \"a\": 2}", "line 3, column 2", "'a' appears twice"),
            ("{\"ä\": tru}", "line 1, column 7", "'tru' is not a value"),
            ("", "line 1, column 1", "ends where a value"),
            ("[1 2]", "line 1, column 4", "',' or ']'"),
            ("{\"a\" 1}", "line 1, column 6", "':' was expected"),
            ("\"abc", "line 1, column 1", "never closed"),
            ("/* x", "line 1, column 1", "never closed"),
            ("1 2", "line 1, column 3", "Nothing may follow"),
            ("\"\\ud800\"", "line 1, column 2", "surrogate"),
            ("\"\\x\"", "line 1, column 2", "not an escape"),
            ("1e999", "line 1, column 1", "not a number"),
            ("[,]", "line 1, column 2", "value was expected"),
            ("{\"a\":1,,}", "line 1, column 8", "member name"),
        ] {
            let error = read(text).expect_err(text);
            assert_eq!((error.place.as_str(), error.code), (place, Code::InvalidRequestContent), "{text}");
            assert!(error.message.contains(message), "{text}: {}", error.message);
        }
        let error = parse(b"{\"a\": \"\xff\"}", &Limits::default()).expect_err("bad UTF-8");
        assert_eq!(error.place, "line 1, column 8");
    }

    #[test]
    fn a_million_brackets_end_in_an_error() {
        let error = read(&"[".repeat(1_000_000)).expect_err("too deep");
        assert!(error.message.contains("nested deeper than 100"), "{}", error.message);
        read(&"{\"a\":".repeat(1_000_000)).expect_err("too deep");
    }

    proptest! {
        #[test]
        fn any_text_ends_in_a_value_or_an_error(text in "\\PC{0,80}") {
            let _ = read(&text);
        }

        #[test]
        fn strict_json_reads_as_itself(keys in prop::collection::btree_map("\\PC{0,8}", "\\PC{0,20}", 0..6), number in any::<f64>()) {
            let value = json!({"keys": keys, "number": number, "list": [1, null, false]});
            prop_assert_eq!(read(&value.to_string()), Ok(value));
        }
    }
}
