//! Properties as clients write them: empty text and null are absent, booleans may be text, and the SDK sends names of its
//! own enumerations for values (wire-azure-ai-ml.md section 2).

use bastide_arm::error::ArmError;
use serde_json::{Map, Value};

/// A refusal of a value, with the place it stands at.
pub(crate) fn refused(target: &str, message: impl Into<String>) -> ArmError {
    ArmError::validation(message.into()).with_target(target)
}

/// The text of a property.
pub(crate) fn text<'a>(fields: &'a Map<String, Value>, name: &str, at: &str) -> Result<Option<&'a str>, ArmError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
        Some(_) => Err(refused(&format!("{at}.{name}"), format!("{name} must be a string."))),
    }
}

/// A boolean, also as the text "true" or "false".
pub(crate) fn flag(fields: &Map<String, Value>, name: &str, at: &str) -> Result<Option<bool>, ArmError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(_) => Err(refused(&format!("{at}.{name}"), format!("{name} must be true or false."))),
    }
}

/// An object.
pub(crate) fn object<'a>(
    fields: &'a Map<String, Value>,
    name: &str,
    at: &str,
) -> Result<Option<&'a Map<String, Value>>, ArmError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(refused(&format!("{at}.{name}"), format!("{name} must be an object."))),
    }
}

/// One of a few words, in any case, with or without underscores, and as `EnumName.MEMBER`.
pub(crate) fn choice(
    fields: &Map<String, Value>,
    name: &str,
    at: &str,
    words: &[&'static str],
) -> Result<Option<&'static str>, ArmError> {
    let Some(asked) = text(fields, name, at)? else { return Ok(None) };
    word(asked, words).map(Some).ok_or_else(|| {
        let message = format!("'{asked}' is not a value of {name}. Use {}.", any_of(words));
        refused(&format!("{at}.{name}"), message)
    })
}

/// The word that is meant.
pub(crate) fn word(asked: &str, words: &[&'static str]) -> Option<&'static str> {
    let member = asked.rsplit('.').next().unwrap_or(asked).replace('_', "");
    words.iter().copied().find(|word| word.eq_ignore_ascii_case(asked) || word.eq_ignore_ascii_case(&member))
}

/// A list of texts.
pub(crate) fn texts(fields: &Map<String, Value>, name: &str, at: &str) -> Result<Vec<String>, ArmError> {
    let wrong = || refused(&format!("{at}.{name}"), format!("{name} must be a list of strings."));
    match fields.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

/// `a, b or c`.
pub(crate) fn any_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}

/// Whether two values are the same; ARM ids compare without regard to case.
pub(crate) fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.eq_ignore_ascii_case(b),
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn booleans_may_be_text_and_empty_text_is_absent() {
        let cases = [
            (json!({"f": true}), Some(true)),
            (json!({"f": "False"}), Some(false)),
            (json!({"f": ""}), None),
            (json!({"f": null}), None),
            (json!({}), None),
        ];
        for (body, expected) in cases {
            assert_eq!(flag(&fields(body.clone()), "f", "properties").unwrap(), expected, "{body}");
        }
        let refused = flag(&fields(json!({"f": "yes"})), "f", "properties").unwrap_err();
        assert_eq!(refused.target.as_deref(), Some("properties.f"));
    }

    #[test]
    fn names_of_the_sdks_own_enumerations_are_understood() {
        let words = ["Enabled", "Disabled"];
        assert_eq!(word("PublicNetworkAccessType.ENABLED", &words), Some("Enabled"));
        assert_eq!(word("allow_internet_outbound", &["AllowInternetOutbound"]), Some("AllowInternetOutbound"));
        assert_eq!(word("on", &words), None);
    }
}
