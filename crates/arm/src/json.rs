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
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|&&byte| byte != b'\n').count() + 1;
    (line, column)
}

/// `serde_json` itself stops at 128.
const HARD_DEPTH: usize = 120;
