//! The narrow waist between the store and its two databases: statements in, rows out.

use std::borrow::Cow;
use std::fmt::{Debug, Write as _};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::Value as Json;
use tokio::sync::watch;
use uuid::Uuid;

use crate::error::StoreError;

/// A database that many can read and one connection at a time writes.
pub(crate) trait Engine: Debug + Send + Sync {
    /// The few texts in which the two differ.
    fn dialect(&self) -> &'static Dialect;

    /// Runs one reading statement on any free connection.
    fn read(&self, statement: Statement) -> BoxFuture<'_, Result<Vec<Row>, StoreError>>;

    /// As [`Engine::read`], for a statement that an index answers with a few rows. It may be answered on the spot.
    fn find(&self, statement: Statement) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        self.read(statement)
    }

    /// Opens a connection of its own for the writer.
    fn writer(&self) -> BoxFuture<'_, Result<Box<dyn Connection>, StoreError>>;

    /// Sets the writer to work, where it disturbs nobody.
    fn host(&self, writer: BoxFuture<'static, ()>) -> Result<(), StoreError> {
        tokio::spawn(writer);
        Ok(())
    }

    /// How long the writer waits for this engine before it counts it as gone.
    fn patience(&self) -> Duration {
        Duration::from_mins(1)
    }

    /// Follows the commits of other processes for as long as it is polled. An engine without other processes waits.
    fn follow(&self, revisions: watch::Sender<i64>) -> BoxFuture<'static, ()>;

    /// Closes the reading connections.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// One connection, in which transactions are opened and ended by statements.
///
/// Dropping it, at any moment, undoes what was not committed.
pub(crate) trait Connection: Send {
    /// Runs a statement and says how many rows it touched.
    fn run(&mut self, statement: Statement) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Runs a statement and brings its rows.
    fn fetch(&mut self, statement: Statement) -> BoxFuture<'_, Result<Vec<Row>, StoreError>>;

    /// Ends the connection in good order.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// The texts that differ from engine to engine.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// Opens a transaction that will write.
    pub(crate) begin: &'static str,
    /// Keeps other processes out until the transaction ends, before the schema is looked at.
    pub(crate) lock_schema: Option<&'static str>,
    /// Counts the tables called `meta`.
    pub(crate) count_meta: &'static str,
    /// Appended to the select that reads the head, so that writers of several processes queue up on it.
    pub(crate) for_update: &'static str,
    /// Tells the other processes about revision `$1`.
    pub(crate) notify: Option<&'static str>,
    /// A text column that compares byte by byte.
    pub(crate) text: &'static str,
    /// A column of bytes.
    pub(crate) bytes: &'static str,
}

/// A statement with its arguments. The text never holds anything a caller said, only the `$n` that stand for it.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) text: Cow<'static, str>,
    pub(crate) arguments: Vec<Value>,
}

impl Statement {
    pub(crate) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), arguments: Vec::new() }
    }

    /// Gives the next `$n` its value.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.arguments.push(value.into());
        self
    }

    /// Appends a piece of text.
    pub(crate) fn push(&mut self, text: &'static str) {
        self.text.to_mut().push_str(text);
    }

    /// Appends a piece of text and, right behind it, a placeholder for the value.
    pub(crate) fn push_bind(&mut self, text: &'static str, value: impl Into<Value>) {
        self.arguments.push(value.into());
        let number = self.arguments.len();
        // Writing to a String cannot fail.
        let _ = write!(self.text.to_mut(), "{text}${number}");
    }

    /// Appends `($1, $2, ...)` for the values, behind a comma when it is not the first.
    pub(crate) fn push_row<const N: usize>(&mut self, values: [Value; N]) {
        let mut before = if self.text.ends_with(')') { ", (" } else { "(" };
        for value in values {
            self.push_bind(before, value);
            before = ", ";
        }
        self.push(")");
    }

    /// Appends a piece of text and, right behind it, `($1, $2, ...)` for the values.
    pub(crate) fn push_list<'a>(&mut self, text: &'static str, values: impl IntoIterator<Item = &'a str>) {
        self.push(text);
        let mut before = "(";
        for value in values {
            self.push_bind(before, value);
            before = ", ";
        }
        self.push(")");
    }

    /// Refuses what only one of the engines could hold, so that both behave the same.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let has_nul = |value: &Value| matches!(value, Value::Text(Some(text)) if text.contains('\0'));
        if self.arguments.iter().any(has_nul) { Err(StoreError::Unstorable) } else { Ok(()) }
    }
}

/// A value on its way in or out. A missing value still has its type: PostgreSQL wants to know.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Integer(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(Some(value))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Integer(Some(value.into()))
    }
}

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        Self::Integer(Some(value.as_microsecond()))
    }
}

impl From<Option<Timestamp>> for Value {
    fn from(value: Option<Timestamp>) -> Self {
        Self::Integer(value.map(Timestamp::as_microsecond))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(str::to_owned))
    }
}

impl From<Uuid> for Value {
    fn from(value: Uuid) -> Self {
        Self::Text(Some(value.to_string()))
    }
}

impl From<&Json> for Value {
    fn from(value: &Json) -> Self {
        Self::Text(Some(value.to_string()))
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(Some(value))
    }
}

/// A row, read from left to right.
#[derive(Debug)]
pub(crate) struct Row {
    values: std::vec::IntoIter<Value>,
}

impl Row {
    pub(crate) fn new(values: Vec<Value>) -> Self {
        Self { values: values.into_iter() }
    }

    pub(crate) fn integer(&mut self) -> Result<i64, StoreError> {
        self.optional_integer()?.ok_or_else(|| unexpected("an integer", None))
    }

    pub(crate) fn optional_integer(&mut self) -> Result<Option<i64>, StoreError> {
        match self.values.next() {
            Some(Value::Integer(value)) => Ok(value),
            Some(Value::Text(None) | Value::Bytes(None)) => Ok(None),
            other => Err(unexpected("an integer", other.as_ref())),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        self.optional_text()?.ok_or_else(|| unexpected("a text", None))
    }

    pub(crate) fn optional_text(&mut self) -> Result<Option<String>, StoreError> {
        match self.values.next() {
            Some(Value::Text(value)) => Ok(value),
            Some(Value::Integer(None) | Value::Bytes(None)) => Ok(None),
            other => Err(unexpected("a text", other.as_ref())),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        match self.values.next() {
            Some(Value::Bytes(Some(value))) => Ok(value),
            other => Err(unexpected("bytes", other.as_ref())),
        }
    }

    pub(crate) fn timestamp(&mut self) -> Result<Timestamp, StoreError> {
        timestamp(self.integer()?)
    }

    pub(crate) fn optional_timestamp(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.optional_integer()?.map(timestamp).transpose()
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid, StoreError> {
        let text = self.text()?;
        Uuid::parse_str(&text).map_err(|error| StoreError::Corrupt(format!("{text:?} should be a UUID ({error})")))
    }

    pub(crate) fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, StoreError> {
        let text = self.text()?;
        // The text itself stays out of the message: bodies do not belong into logs.
        serde_json::from_str(&text)
            .map_err(|error| StoreError::Corrupt(format!("a stored body does not parse: {error}")))
    }
}

/// The exclusive upper end of the range of texts that start with `prefix`, in byte order; none when nothing is above it.
pub(crate) fn prefix_end(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        // The order of UTF-8 bytes is the order of code points; the gap of the surrogates is stepped over.
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

/// A time as the database will give it back: whole microseconds, rounded down.
pub(crate) fn stored_time(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

fn timestamp(microseconds: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(microseconds)
        .map_err(|error| StoreError::Corrupt(format!("{microseconds} should be a time in microseconds ({error})")))
}

fn unexpected(wanted: &str, found: Option<&Value>) -> StoreError {
    let found = match found {
        Some(Value::Integer(Some(_))) => "an integer",
        Some(Value::Text(Some(_))) => "a text",
        Some(Value::Bytes(Some(_))) => "bytes",
        _ => "nothing",
    };
    StoreError::Corrupt(format!("a column holds {found} where {wanted} should be"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_end_of_a_prefix_steps_over_surrogates_and_the_last_character() {
        assert_eq!(prefix_end("/a/").as_deref(), Some("/a0"));
        assert_eq!(prefix_end("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(prefix_end("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(prefix_end("\u{10ffff}"), None);
        assert_eq!(prefix_end(""), None);
    }

    proptest! {
        #[test]
        fn the_range_of_a_prefix_holds_exactly_what_starts_with_it(prefix in ".{1,4}", other in ".{0,6}") {
            let end = prefix_end(&prefix);
            let below = |text: &str| end.as_deref().is_none_or(|end| text < end);
            let extended = format!("{prefix}{other}");
            prop_assert!(extended >= prefix && below(&extended));
            prop_assert_eq!(other.starts_with(&prefix), other >= prefix && below(&other));
        }
    }
}
