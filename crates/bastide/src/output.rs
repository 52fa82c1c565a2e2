//! How commands show an answer: as a table for people, or in one of the forms that scripts read, as az does.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use clap::{Args, ValueEnum};
use serde_json::Value;

/// What the caller wants to see of an answer, and how. The names are az's.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Format {
    /// How the answer looks.
    #[arg(long, short, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
    /// Show only this part of the answer, a `JMESPath` expression.
    #[arg(long, value_name = "JMESPATH", value_parser = expression)]
    query: Option<String>,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Table,
    /// As the API answers.
    #[value(alias = "jsonc")]
    Json,
    /// The same in YAML.
    #[value(alias = "yamlc")]
    Yaml,
    /// Values between tabs, without a head.
    Tsv,
    /// Nothing.
    None,
}

/// An answer that cannot be shown as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    #[error("--query: {0}")]
    Query(#[from] jmespath::JmespathError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("the answer cannot be written as YAML: {0}")]
    Yaml(String),
    #[error("the answer cannot be written: {0}")]
    Write(#[from] io::Error),
}

impl Format {
    /// Prints an answer. `table` tells it to people; what a query leaves of it is told as it is.
    pub(crate) fn show(&self, answer: &Value, table: impl FnOnce(&Value) -> String) -> Result<(), OutputError> {
        let told = self.told(answer, table)?;
        let mut output = io::stdout().lock();
        match output.write_all(told.as_bytes()).and_then(|()| output.flush()) {
            // Whoever reads has seen enough: `head`, or a pager that was left.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }

    fn told(&self, answer: &Value, table: impl FnOnce(&Value) -> String) -> Result<String, OutputError> {
        let part = self.query.as_deref().map(|query| search(query, answer)).transpose()?;
        let shown = part.as_ref().unwrap_or(answer);
        Ok(match self.output {
            Output::Table if part.is_none() => table(shown),
            Output::Table => plain(shown),
            Output::Json => format!("{shown:#}\n"),
            Output::Yaml => serde_saphyr::to_string(shown).map_err(|error| OutputError::Yaml(error.to_string()))?,
            Output::Tsv => tsv(shown),
            Output::None => String::new(),
        })
    }
}

/// Lines of columns as wide as what is in them; the last one takes what it needs.
pub(crate) fn columns<R: AsRef<[String]>>(rows: &[R]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (column, cell) in row.as_ref().iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(column) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells = row.as_ref().iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// A text; nothing for what is none. Control characters may come from inside a hub and stay out of the terminal.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
        Value::String(text) => text.chars().filter(|letter| !letter.is_control()).collect(),
        other => other.to_string(),
    }
}

fn search(query: &str, answer: &Value) -> Result<Value, OutputError> {
    Ok(serde_json::to_value(&*jmespath::compile(query)?.search(answer)?)?)
}

/// A table of whatever there is: a row for each object, a column for each of their plain values.
fn plain(value: &Value) -> String {
    let objects: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Null => return String::new(),
        one => vec![one],
    };
    let mut names: Vec<&String> = Vec::new();
    for (name, value) in objects.iter().filter_map(|item| item.as_object()).flatten() {
        if !(value.is_array() || value.is_object() || names.contains(&name)) {
            names.push(name);
        }
    }
    if names.is_empty() {
        let row = |item: &&Value| match item {
            Value::Array(cells) => cells.iter().map(text).collect(),
            one => vec![text(one)],
        };
        return columns(&objects.iter().map(row).collect::<Vec<_>>());
    }
    let mut rows = vec![names.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>()];
    let cell = |item: &Value, name: &str| item.get(name).map(text).unwrap_or_default();
    rows.extend(objects.iter().map(|item| names.iter().map(|name| cell(item, name)).collect()));
    columns(&rows)
}

/// A line for each item, a tab between its values; of a list inside it its length, as az has it.
fn tsv(value: &Value) -> String {
    let cell = |value: &Value| match value {
        Value::Array(items) => items.len().to_string(),
        other => text(other),
    };
    let mut lines = String::new();
    let line = |item: &Value| match item {
        Value::Array(cells) => cells.iter().map(cell).collect::<Vec<_>>().join("\t"),
        Value::Object(fields) => fields.values().map(cell).collect::<Vec<_>>().join("\t"),
        one => text(one),
    };
    let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    for item in items {
        // Writing to a string does not fail.
        let _ = writeln!(lines, "{}", line(item));
    }
    lines
}

/// Checks an expression before anything is asked.
fn expression(text: &str) -> Result<String, String> {
    jmespath::compile(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(output: Output, query: Option<&str>, answer: &Value) -> String {
        let format = Format { output, query: query.map(str::to_owned) };
        format.told(answer, |_| "for people\n".to_owned()).unwrap()
    }

    fn computes() -> Value {
        json!([
            {"name": "ci-1", "state": "Running", "ssh": {"port": 50000}, "nodes": [1, 2]},
            {"name": "a", "state": null, "size": 4},
        ])
    }

    #[test]
    fn an_answer_has_the_forms_that_az_has() {
        assert_eq!(told(Output::Table, None, &computes()), "for people\n");
        assert_eq!(told(Output::Json, Some("[0].ssh"), &computes()), "{\n  \"port\": 50000\n}\n");
        assert_eq!(told(Output::Yaml, Some("[0].ssh"), &computes()).trim(), "port: 50000");
        assert_eq!(told(Output::Tsv, Some("[].[name, state]"), &computes()), "ci-1\tRunning\na\t\n");
        assert_eq!(told(Output::Tsv, Some("[0].ssh.port"), &computes()), "50000\n");
        assert_eq!(told(Output::None, None, &computes()), "");
    }

    #[test]
    fn what_a_query_leaves_becomes_a_table() {
        let table = told(Output::Table, Some("[]"), &computes());
        assert_eq!(table, "NAME  SSH\n".replace("SSH", "STATE    SIZE") + "ci-1  Running\na              4\n");
        assert_eq!(told(Output::Table, Some("[].name"), &computes()), "ci-1\na\n");
        assert_eq!(told(Output::Table, Some("nothing"), &computes()), "");
    }

    #[test]
    fn an_expression_that_is_none_is_refused_before_anything_is_asked() {
        assert!(expression("[?a").is_err());
        assert_eq!(expression("[0].a"), Ok("[0].a".to_owned()));
    }

    #[test]
    fn what_came_from_inside_a_hub_does_not_steer_the_terminal() {
        assert_eq!(text(&Value::String("a\u{1b}[31mb\n".into())), "a[31mb");
    }
}
