//! A strict reader for the JSON of request bodies.
//!
//! Two readers must never see two different documents in the same bytes (RFC 8259 section 4 leaves duplicate names
//! open), so what `serde_json` would let pass is refused here: names that come twice, depth, size, NUL characters.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::{ArmError, shown};

/// How much of a document is read before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of the whole text in bytes.
    pub max_bytes: usize,
    /// Arrays and objects inside one another; at most 120 whatever is asked for, which keeps reading and dropping the
    /// value well within a thread's stack.
    pub max_depth: usize,
}

impl Default for Limits {
    /// 4 MiB and 64 levels (reference/security.md, limits).
    fn default() -> Self {
        Self { max_bytes: 4 * 1024 * 1024, max_depth: 64 }
    }
}

/// Reads one JSON value in linear time. A byte order mark at the start is skipped.
///
/// # Errors
/// 413 `RequestContentTooLarge` over the size limit; otherwise 400 `InvalidRequestContent` with the line and column: bad
/// syntax, text after the value, bad UTF-8, a name that comes twice in an object, a NUL character in a string, a number
/// outside the range of a double, nesting over the limit.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Value, ArmError> {
    if bytes.len() > limits.max_bytes {
        return Err(ArmError::content_too_large(limits.max_bytes));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let (line, column) = place(bytes, error.valid_up_to());
        ArmError::invalid_request_content(format!(
            "The request content is not UTF-8 at line {line}, column {column}; encode it as UTF-8."
        ))
    })?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if text.trim_ascii().is_empty() {
        return Err(ArmError::invalid_request_content("The request content is empty; a JSON object was expected."));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let strict = Strict { depth_left: limits.max_depth.min(HARD_DEPTH), max_depth: limits.max_depth.min(HARD_DEPTH) };
    let value = strict.deserialize(&mut deserializer).map_err(|error| refusal(&error))?;
    deserializer.end().map_err(|error| refusal(&error))?;
    Ok(value)
}

/// Reads one JSON object; as [`parse`].
///
/// # Errors
/// As [`parse`], and 400 `InvalidRequestContent` for a value that is not an object.
pub fn parse_object(bytes: &[u8], limits: &Limits) -> Result<Map<String, Value>, ArmError> {
    match parse(bytes, limits)? {
        Value::Object(object) => Ok(object),
        other => Err(ArmError::invalid_request_content(format!(
            "The request content is {}; a JSON object was expected.",
            kind_of(&other)
        ))),
    }
}

/// What a value is, with its article, for messages.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Builds a [`Value`] while counting depth and looking for names that come twice.
#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
    max_depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth_left = self.depth_left.checked_sub(1);
        depth_left.map(|depth_left| Self { depth_left, ..self }).ok_or_else(|| {
            E::custom(format_args!("arrays and objects are nested more than {} levels deep", self.max_depth))
        })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Value, E> {
        // PostgreSQL cannot hold U+0000 in text or jsonb, and no ARM property means anything by it.
        if text.contains('\0') {
            return Err(E::custom("a string holds the character U+0000, which cannot be stored"));
        }
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if name.contains('\0') {
                return Err(A::Error::custom("a name holds the character U+0000, which cannot be stored"));
            }
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the name '{}' comes twice in one object", shown(&name))));
            }
            let value = entries.next_value_seed(inner)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

/// `serde_json` says "<cause> at line L column C"; the cause never quotes a value of the document.
fn refusal(error: &serde_json::Error) -> ArmError {
    let text = error.to_string();
    let suffix = format!(" at line {} column {}", error.line(), error.column());
    let cause = text.strip_suffix(&suffix).unwrap_or(&text);
    ArmError::invalid_request_content(format!(
        "The request content is not valid at line {}, column {}: {cause}. Correct it there and send it again.",
        error.line(),
        error.column()
    ))
}

/// Line and column (both from 1, the column in bytes) of an offset.
fn place(bytes: &[u8], offset: usize) -> (usize, usize) {
    let before = bytes.get(..offset).unwrap_or(bytes);
    let mut lines = before.split(|&byte| byte == b'\n');
    let last = lines.next_back().unwrap_or_default();
    (lines.count() + 1, last.len() + 1)
}

/// `serde_json` itself stops at 128.
const HARD_DEPTH: usize = 120;

#[cfg(test)]
pub(crate) mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(text: impl AsRef<[u8]>) -> Result<Value, ArmError> {
        parse(text.as_ref(), &Limits::default())
    }

    fn refusal(text: impl AsRef<[u8]>) -> String {
        let error = read(text).unwrap_err();
        assert_eq!((error.status, &*error.code), (400, "InvalidRequestContent"));
        error.message.clone()
    }

    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn ordinary_json_is_read_in_order() {
        let value = read("\u{FEFF} {\"b\": [1, -2, 3.5, true, null], \"a\": {\"x\": \"\\u00e9\\n\"}}\r\n").unwrap();
        assert_eq!(value, json!({"b": [1, -2, 3.5, true, null], "a": {"x": "é\n"}}));
        assert_eq!(value.as_object().unwrap().keys().collect::<Vec<_>>(), ["b", "a"]);
    }

    #[test]
    fn a_name_that_comes_twice_is_named_with_its_place() {
        assert_eq!(
            refusal("{\"a\": 1,\n \"b\": {\"c\": 1, \"c\": 2}}"),
            "The request content is not valid at line 2, column 18: the name 'c' comes twice in one object. Correct it there and send it again."
        );
        refusal(r#"{"a": 1, "\u0061": 2}"#);
        assert!(read(r#"{"a": {"a": 1}, "A": 2}"#).is_ok(), "names differ by case and by level");
    }

    #[test]
    fn broken_syntax_is_refused_with_its_place() {
        assert!(refusal("{\"a\": 1,\n}").contains("line 2, column 1: trailing comma"));
        for text in [
            "{",
            "{\"a\"}",
            "{a: 1}",
            "[1,]",
            "{} {}",
            "{}x",
            "nul",
            "'a'",
            "01",
            "+1",
            "1.",
            ".5",
            "NaN",
            "Infinity",
            "\"\t\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "// c\n{}",
            "\u{FEFF}\u{FEFF}{}",
            "\u{A0}{}",
        ] {
            refusal(text);
        }
        for text in ["", " \n", "\u{FEFF}"] {
            assert!(refusal(text).contains("empty"));
        }
    }

    #[test]
    fn bad_utf8_is_refused_with_its_place() {
        assert!(refusal(b"{\n\"a\": \"\xff\"}").contains("line 2, column 7"));
        refusal(b"\"\xed\xa0\x80\"");
        refusal(b"\"\xc0\xaf\"");
        refusal(b"\xff\xfe{\0}\0");
    }

    #[test]
    fn numbers_beyond_a_double_are_refused() {
        assert!(refusal("{\"a\": 1e400}").contains("number out of range"));
        refusal("-1e400");
        refusal(format!("1{}", "0".repeat(400)));
        assert_eq!(read("18446744073709551615").unwrap(), json!(u64::MAX));
        assert_eq!(read("1e-400").unwrap(), json!(0.0));
    }

    #[test]
    fn nul_is_refused_wherever_it_hides() {
        assert!(refusal(r#"{"a": "b\u0000"}"#).contains("U+0000"));
        refusal(r#"{"a\u0000": 1}"#);
        refusal("{}\0");
    }

    #[test]
    fn depth_is_bounded_and_never_overflows_the_stack() {
        assert!(read(nested(64)).is_ok());
        assert!(refusal(nested(65)).contains("nested more than 64 levels"));
        assert!(refusal("[".repeat(1_000_000)).contains("nested more than 64 levels"));
        assert!(refusal("{\"a\":".repeat(200)).contains("nested more than 64 levels"));
        let generous = Limits { max_depth: usize::MAX, ..Limits::default() };
        assert!(parse(nested(120).as_bytes(), &generous).is_ok());
        assert!(parse(nested(121).as_bytes(), &generous).is_err());
    }

    #[test]
    fn size_is_bounded() {
        let limits = Limits { max_bytes: 10, ..Limits::default() };
        assert!(parse(b"\"12345678\"", &limits).is_ok());
        let error = parse(b"\"123456789\"", &limits).unwrap_err();
        assert_eq!((error.status, &*error.code), (413, "RequestContentTooLarge"));
    }

    #[test]
    fn only_an_object_is_an_object() {
        assert!(parse_object(b"{}", &Limits::default()).unwrap().is_empty());
        for text in ["[]", "null", "1", "\"a\"", "true"] {
            let error = parse_object(text.as_bytes(), &Limits::default()).unwrap_err();
            assert!(error.message.ends_with("a JSON object was expected."), "{}", error.message);
        }
    }

    #[test]
    fn a_refusal_quotes_no_values() {
        for text in
            [r#"{"key": "hunter2" "x": 1}"#, r#"{"key": "hunter2\u0000"}"#, r#"{"key": "hunter2", "key": "hunter2"}"#]
        {
            assert!(!refusal(text).contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn many_names_take_no_longer_than_their_number() {
        let names: Vec<String> = (0..200_000).map(|n| format!("\"n{n}\":0")).collect();
        let text = format!("{{{}}}", names.join(","));
        let start = Instant::now();
        assert_eq!(read(&text).unwrap().as_object().unwrap().len(), 200_000);
        // Comparing every pair of names would take minutes.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }

    /// Any JSON value without NUL.
    pub(crate) fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1.0e300..1.0e300).prop_map(Value::from),
            "\\PC{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::vec(("[a-dé]{0,2}", inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_what_it_prints(value in any_value(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let theirs: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read(&text).unwrap(), theirs);
        }

        #[test]
        fn takes_nothing_that_serde_json_refuses(bytes in prop::collection::vec(any::<u8>(), 0..40), text in "[\\[\\]{}\",:0-9eE+.a\\\\u -]{0,30}") {
            for input in [bytes.as_slice(), text.as_bytes()] {
                if let Ok(value) = read(input) {
                    let input = input.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(input);
                    prop_assert_eq!(serde_json::from_slice::<Value>(input).unwrap(), value);
                }
            }
        }

        #[test]
        fn refuses_any_doubled_name(value in any_value().prop_filter("members", |v| v.as_object().is_some_and(|o| !o.is_empty())), at in any::<prop::sample::Index>()) {
            let members: Vec<String> = value.as_object().unwrap().iter().map(|(n, v)| format!("{}:{v}", json!(n))).collect();
            let doubled = at.get(&members);
            let text = format!("{{{},{doubled}}}", members.join(","));
            prop_assert!(read(text).is_err());
        }
    }
}
