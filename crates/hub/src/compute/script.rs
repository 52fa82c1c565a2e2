//! Setup scripts: `setupScripts.scripts.{creationScript, startupScript}`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bastide_arm::error::ArmError;
use bastide_plan::compute_plan::Script;
use serde_json::{Map, Value};

use crate::field::{self, refused};

/// The scripts of an instance.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scripts {
    /// Runs once, when the instance is made.
    pub creation: Option<Script>,
    /// Runs at every start.
    pub startup: Option<Script>,
}

impl Scripts {
    /// Reads the scripts of an instance's properties.
    pub(super) fn read(properties: &Map<String, Value>, at: &str) -> Result<Self, ArmError> {
        let at = format!("{at}.setupScripts");
        let Some(setup) = properties.get("setupScripts").and_then(Value::as_object) else {
            return match properties.get("setupScripts") {
                None | Some(Value::Null) => Ok(Self::default()),
                Some(_) => Err(refused(&at, "setupScripts must be an object with 'scripts' in it.")),
            };
        };
        let at = format!("{at}.scripts");
        let Some(scripts) = field::object(setup, "scripts", &at)? else { return Ok(Self::default()) };
        Ok(Self { creation: script(scripts, "creationScript", &at)?, startup: script(scripts, "startupScript", &at)? })
    }
}

fn script(scripts: &Map<String, Value>, name: &str, at: &str) -> Result<Option<Script>, ArmError> {
    let Some(reference) = field::object(scripts, name, at)? else { return Ok(None) };
    let at = format!("{at}.{name}");
    let data = field::text(reference, "scriptData", &at)?;
    match field::text(reference, "scriptSource", &at)? {
        Some(source) if source.eq_ignore_ascii_case("inline") => {}
        None if data.is_none() => return Ok(None),
        None => {}
        Some(other) => {
            let message = format!(
                "Bastide does not read scripts from '{other}'. Use scriptSource 'inline' and the script itself, in base64, \
                 as scriptData."
            );
            return Err(refused(&format!("{at}.scriptSource"), message));
        }
    }
    let target = format!("{at}.scriptData");
    let data = data.ok_or_else(|| refused(&target, "An inline script needs scriptData: the script in base64."))?;
    let bytes = STANDARD.decode(data).ok().filter(|bytes| bytes.len() <= LARGEST);
    let content = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| !text.contains('\0'));
    let content = content.ok_or_else(|| {
        let message = format!("scriptData must be text of at most {} KiB in base64.", LARGEST / 1024);
        refused(&target, message)
    })?;
    let arguments = field::text(reference, "scriptArguments", &at)?.unwrap_or_default();
    let arguments = words(arguments).ok_or_else(|| {
        refused(&format!("{at}.scriptArguments"), "A quotation mark in scriptArguments is not closed. Close it.")
    })?;
    let seconds = match field::text(reference, "timeout", &at)? {
        None => DEFAULT_SECONDS,
        Some(text) => seconds(text).filter(|seconds| (1..=LONGEST_SECONDS).contains(seconds)).ok_or_else(|| {
            let message = format!("'{text}' is not a timeout. Use minutes such as 10m, or hours such as 2h, to 24h.");
            refused(&format!("{at}.timeout"), message)
        })?,
    };
    Ok(Some(Script { content, arguments, seconds }))
}

/// `90s`, `10m`, `2h`, or an ISO 8601 duration.
fn seconds(text: &str) -> Option<u32> {
    if let Some(duration) = super::duration::parse(text) {
        return u32::try_from(duration.as_secs()).ok();
    }
    let unit = text.chars().next_back()?;
    let number: u32 = text.strip_suffix(unit)?.trim().parse().ok()?;
    let factor = match unit.to_ascii_lowercase() {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// The words of a command line: quotation marks hold words together, a backslash takes what follows as it is. Nothing is
/// expanded. `None` when a mark is not closed.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().push(letters.next()?),
            (mark, Some(open)) if mark == open => quote = None,
            (mark @ ('"' | '\''), None) => {
                quote = Some(mark);
                word.get_or_insert_default();
            }
            (space, None) if space.is_whitespace() => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// Bytes of a script.
const LARGEST: usize = 256 * 1024;

/// How long a script may take when it does not say.
const DEFAULT_SECONDS: u32 = 15 * 60;

/// How long a script may take at the most.
const LONGEST_SECONDS: u32 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(script: Value) -> Result<Scripts, ArmError> {
        let properties = json!({"setupScripts": {"scripts": {"creationScript": script}}});
        Scripts::read(properties.as_object().unwrap(), "properties.properties")
    }

    #[test]
    fn an_inline_script_is_read_with_its_arguments_and_its_time() {
        let script = json!({
            "scriptSource": "inline", "scriptData": "ZWNobyBoaQ==", "scriptArguments": "a 'b c' \"d \\\" e\" ''", "timeout": "10m",
        });
        let script = read(script).unwrap().creation.unwrap();
        assert_eq!(script.content, "echo hi");
        assert_eq!(script.arguments, ["a", "b c", "d \" e", ""]);
        assert_eq!(script.seconds, 600);
        let script = read(json!({"scriptData": "ZWNobyBoaQ=="})).unwrap().creation.unwrap();
        assert_eq!((script.arguments, script.seconds), (vec![], 900));
        assert_eq!(read(Value::Null).unwrap(), Scripts::default());
    }

    #[test]
    fn what_cannot_run_is_refused_where_it_stands() {
        for (script, place) in [
            (json!({"scriptSource": "workspaceStorage", "scriptData": "a.sh"}), "scriptSource"),
            (json!({"scriptSource": "inline"}), "scriptData"),
            (json!({"scriptData": "%%%"}), "scriptData"),
            (json!({"scriptData": "/w=="}), "scriptData"),
            (json!({"scriptData": STANDARD.encode("x".repeat(LARGEST + 1))}), "scriptData"),
            (json!({"scriptData": STANDARD.encode("a\0b")}), "scriptData"),
            (json!({"scriptData": "ZQ==", "scriptArguments": "'a"}), "scriptArguments"),
            (json!({"scriptData": "ZQ==", "timeout": "25h"}), "timeout"),
            (json!({"scriptData": "ZQ==", "timeout": "soon"}), "timeout"),
            (json!({"scriptData": "ZQ==", "timeout": "0m"}), "timeout"),
        ] {
            let error = read(script.clone()).unwrap_err();
            assert!(error.target.as_deref().unwrap().ends_with(place), "{script}: {error}");
        }
    }
}
