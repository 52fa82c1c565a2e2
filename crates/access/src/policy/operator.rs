//! The operators of conditions. Texts are compared without regard to case, but for `match`.

use std::cmp::Ordering;

use serde_json::Value;

/// One operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equals,
    NotEquals,
    Like,
    NotLike,
    Match,
    NotMatch,
    MatchInsensitively,
    NotMatchInsensitively,
    Contains,
    NotContains,
    In,
    NotIn,
    ContainsKey,
    NotContainsKey,
    Less,
    LessOrEquals,
    Greater,
    GreaterOrEquals,
    Exists,
}

/// What an operator is given on its left.
#[derive(Debug, Clone, Copy)]
pub(super) enum Actual<'a> {
    /// A field the resource does not have.
    Missing,
    /// A value; null is what an expression gives for something that is not there.
    Is(&'a Value),
}

impl Operator {
    /// The operator of that name in any case.
    pub(super) fn read(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, operator)| *operator)
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        NAMES.iter().find(|(_, operator)| *operator == self).map_or("", |(name, _)| *name)
    }

    /// Every name, for a hint.
    pub(super) fn names() -> String {
        NAMES.map(|(name, _)| name).join(", ")
    }

    /// Whether it holds. An error says why that cannot be said.
    pub(super) fn holds(self, actual: Actual<'_>, expected: &Value) -> Result<bool, String> {
        let negated = |holds: Result<bool, String>| holds.map(|holds| !holds);
        match self {
            Self::Equals => Ok(equals(actual, expected)),
            Self::NotEquals => Ok(!equals(actual, expected)),
            Self::Like => like(actual, expected),
            Self::NotLike => negated(like(actual, expected)),
            Self::Match => matches(actual, expected, false),
            Self::NotMatch => negated(matches(actual, expected, false)),
            Self::MatchInsensitively => matches(actual, expected, true),
            Self::NotMatchInsensitively => negated(matches(actual, expected, true)),
            Self::Contains => contains(actual, expected),
            Self::NotContains => negated(contains(actual, expected)),
            Self::In => is_in(actual, expected),
            Self::NotIn => negated(is_in(actual, expected)),
            Self::ContainsKey => contains_key(actual, expected),
            Self::NotContainsKey => negated(contains_key(actual, expected)),
            Self::Less => ordered(actual, expected, Ordering::is_lt),
            Self::LessOrEquals => ordered(actual, expected, Ordering::is_le),
            Self::Greater => ordered(actual, expected, Ordering::is_gt),
            Self::GreaterOrEquals => ordered(actual, expected, Ordering::is_ge),
            Self::Exists => exists(actual, expected),
        }
    }
}

/// Deep equality: texts and names in any case, and a number or a truth value equals the text that writes it.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| super::member(other, name).is_some_and(|found| same(value, found)))
        }
        (Value::Number(one), Value::Number(other)) => {
            one == other
                || one.as_f64().is_some_and(|one| other.as_f64().is_some_and(|other| one.total_cmp(&other).is_eq()))
        }
        _ => match (scalar(one), scalar(other)) {
            (Some(one), Some(other)) => is_same_text(&one, &other),
            _ => one.is_null() && other.is_null(),
        },
    }
}

fn equals(actual: Actual<'_>, expected: &Value) -> bool {
    match actual {
        Actual::Missing => expected.is_null(),
        Actual::Is(Value::Null) => expected.is_null() || expected.as_str() == Some(""),
        Actual::Is(value) => same(value, expected),
    }
}

fn like(actual: Actual<'_>, expected: &Value) -> Result<bool, String> {
    let pattern = scalar(expected).ok_or("'like' takes a text.")?;
    Ok(left_text(actual).is_some_and(|text| is_like(&text, &pattern)))
}

/// `*` is any number of characters. The last star alone is ever gone back to, so the work is the product of the lengths
/// at worst, whatever the pattern.
fn is_like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let (mut at, mut step) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(letter) = text.get(at) {
        match pattern.get(step) {
            Some('*') => {
                star = Some((step, at));
                step += 1;
            }
            Some(wanted) if wanted == letter => (at, step) = (at + 1, step + 1),
            _ => match star {
                Some((last, from)) => {
                    star = Some((last, from + 1));
                    (at, step) = (from + 1, last + 1);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(step).all(|rest| *rest == '*')
}

/// `#` is a digit, `?` a letter, `.` any character; everything else is itself.
fn matches(actual: Actual<'_>, expected: &Value, any_case: bool) -> Result<bool, String> {
    let pattern = scalar(expected).ok_or("'match' takes a text.")?;
    let Some(text) = left_text(actual) else { return Ok(false) };
    let fits = |(letter, wanted): (char, char)| match wanted {
        '#' => letter.is_ascii_digit(),
        '?' => letter.is_alphabetic(),
        '.' => true,
        wanted if any_case => is_same_text(letter.encode_utf8(&mut [0; 4]), wanted.encode_utf8(&mut [0; 4])),
        wanted => letter == wanted,
    };
    Ok(text.chars().count() == pattern.chars().count() && text.chars().zip(pattern.chars()).all(fits))
}

fn contains(actual: Actual<'_>, expected: &Value) -> Result<bool, String> {
    match actual {
        Actual::Is(Value::Array(items)) => Ok(items.iter().any(|item| same(item, expected))),
        _ => {
            let part = scalar(expected).ok_or("'contains' takes a text.")?;
            Ok(left_text(actual).is_some_and(|text| text.to_lowercase().contains(&part.to_lowercase())))
        }
    }
}

fn is_in(actual: Actual<'_>, expected: &Value) -> Result<bool, String> {
    let list = expected.as_array().ok_or("'in' takes a list.")?;
    Ok(list.iter().any(|item| equals(actual, item)))
}

fn contains_key(actual: Actual<'_>, expected: &Value) -> Result<bool, String> {
    let name = scalar(expected).ok_or("'containsKey' takes a text.")?;
    Ok(match actual {
        Actual::Is(Value::Object(members)) => members.keys().any(|key| is_same_text(key, &name)),
        _ => false,
    })
}

fn ordered(actual: Actual<'_>, expected: &Value, fits: impl Fn(Ordering) -> bool) -> Result<bool, String> {
    let Actual::Is(value) = actual else { return Ok(false) };
    if let (Some(value), Some(expected)) = (number(value), number(expected)) {
        return Ok(fits(value.total_cmp(&expected)));
    }
    match (value, expected) {
        (Value::String(value), Value::String(expected)) => Ok(fits(value.to_lowercase().cmp(&expected.to_lowercase()))),
        (Value::Null, _) => Ok(false),
        _ => Err("only two numbers or two texts can be put in order.".to_owned()),
    }
}

fn exists(actual: Actual<'_>, expected: &Value) -> Result<bool, String> {
    let wanted = match expected {
        Value::Bool(wanted) => *wanted,
        Value::String(text) if text.eq_ignore_ascii_case("true") => true,
        Value::String(text) if text.eq_ignore_ascii_case("false") => false,
        _ => return Err("'exists' takes true or false.".to_owned()),
    };
    Ok(matches!(actual, Actual::Is(value) if !value.is_null()) == wanted)
}

fn left_text(actual: Actual<'_>) -> Option<String> {
    match actual {
        Actual::Is(value) => scalar(value),
        Actual::Missing => None,
    }
}

/// The text that writes a scalar.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

fn is_same_text(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
        || (!one.is_ascii() || !other.is_ascii()) && one.to_lowercase() == other.to_lowercase()
}

const NAMES: [(&str, Operator); 19] = [
    ("equals", Operator::Equals),
    ("notEquals", Operator::NotEquals),
    ("like", Operator::Like),
    ("notLike", Operator::NotLike),
    ("match", Operator::Match),
    ("notMatch", Operator::NotMatch),
    ("matchInsensitively", Operator::MatchInsensitively),
    ("notMatchInsensitively", Operator::NotMatchInsensitively),
    ("contains", Operator::Contains),
    ("notContains", Operator::NotContains),
    ("in", Operator::In),
    ("notIn", Operator::NotIn),
    ("containsKey", Operator::ContainsKey),
    ("notContainsKey", Operator::NotContainsKey),
    ("less", Operator::Less),
    ("lessOrEquals", Operator::LessOrEquals),
    ("greater", Operator::Greater),
    ("greaterOrEquals", Operator::GreaterOrEquals),
    ("exists", Operator::Exists),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(operator: &str, actual: &Value, expected: &Value) -> Result<bool, String> {
        Operator::read(operator).expect(operator).holds(Actual::Is(actual), expected)
    }

    #[test]
    fn operators_compare_as_people_write() {
        for (operator, actual, expected) in [
            ("equals", json!("WestEurope"), json!("westeurope")),
            ("EQUALS", json!(true), json!("true")),
            ("equals", json!(3), json!("3")),
            ("equals", json!(["A"]), json!(["a"])),
            ("equals", Value::Null, json!("")),
            ("notEquals", json!("a"), json!("b")),
            ("like", json!("files.pythonhosted.org"), json!("*.PythonHosted.org")),
            ("like", json!("abc"), json!("a*b*c")),
            ("notLike", json!("pythonhosted.org"), json!("*.pythonhosted.org")),
            ("match", json!("hub-01"), json!("???-##")),
            ("matchInsensitively", json!("HUB.1"), json!("hub..")),
            ("notMatch", json!("HUB"), json!("hub")),
            ("contains", json!("prefix-x"), json!("FIX-")),
            ("contains", json!(["a", "b"]), json!("B")),
            ("in", json!("b"), json!(["A", "B"])),
            ("notIn", json!("c"), json!(["A", "B"])),
            ("containsKey", json!({"Owner": 1}), json!("owner")),
            ("less", json!(2), json!("10")),
            ("less", json!("2026-01-01"), json!("2026-11-22T00:00:00Z")),
            ("greaterOrEquals", json!("2021-10-01"), json!("2021-10-01")),
            ("exists", json!(false), json!("true")),
            ("exists", Value::Null, json!(false)),
        ] {
            assert_eq!(holds(operator, &actual, &expected), Ok(true), "{actual} {operator} {expected}");
        }
    }

    #[test]
    fn a_field_that_is_missing_equals_nothing() {
        for (operator, expected, answer) in [
            ("equals", json!(""), false),
            ("notEquals", json!("x"), true),
            ("in", json!(["x"]), false),
            ("notIn", json!(["x"]), true),
            ("like", json!("*"), false),
            ("less", json!(1), false),
            ("exists", json!("false"), true),
        ] {
            let operator = Operator::read(operator).unwrap();
            assert_eq!(operator.holds(Actual::Missing, &expected), Ok(answer), "{operator:?}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_said() {
        for (operator, actual, expected) in
            [("in", json!("a"), json!("a")), ("less", json!([]), json!(1)), ("exists", json!(1), json!("perhaps"))]
        {
            assert!(holds(operator, &actual, &expected).is_err(), "{operator}");
        }
    }

    #[test]
    fn a_pattern_of_stars_takes_no_time() {
        let text = json!("a".repeat(20_000));
        let began = std::time::Instant::now();
        assert_eq!(holds("like", &text, &json!(format!("{}b", "*a".repeat(500)))), Ok(false));
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    }
}
