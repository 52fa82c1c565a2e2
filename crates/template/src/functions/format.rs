//! .NET composite formatting, as far as the values of templates reach.
//!
//! `{0}`, `{0,8}`, `{0,-8}`, `{0:D3}`; `{{` and `}}` stand for braces. Numbers take the standard formats `C D E F G N
//! P R X` and patterns of `0 # , . %`; other values ignore their format, as .NET does.

use crate::data::Data;
use crate::error::Trouble;
use crate::limits::Budget;

/// Fills the values into the text.
pub(super) fn composite(text: &str, values: &[Data], budget: &mut Budget) -> Result<String, Trouble> {
    let mut made = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '{' | '}' if characters.peek().is_some_and(|(_, next)| *next == character) => {
                characters.next();
                made.push(character);
            }
            '{' => {
                let rest = text.get(at + 1..).unwrap_or_default();
                let Some(length) = rest.find('}') else {
                    return Err(malformed());
                };
                let item = Item::read(rest.get(..length).unwrap_or_default())?;
                let value = values.get(item.position).ok_or_else(|| {
                    Trouble(format!(
                        "The format names argument {{{}}}, but only {} are given.",
                        item.position,
                        values.len()
                    ))
                })?;
                let filled = item.fill(value)?;
                budget.bytes(filled.len() as u64)?;
                made.push_str(&filled);
                while characters.next_if(|(position, _)| *position <= at + 1 + length).is_some() {}
            }
            '}' => return Err(malformed()),
            other => made.push(other),
        }
    }
    Ok(made)
}

struct Item<'a> {
    position: usize,
    /// Positive: pad on the left; negative: on the right.
    width: i32,
    format: &'a str,
}

impl<'a> Item<'a> {
    fn read(text: &'a str) -> Result<Self, Trouble> {
        let (head, format) = text.split_once(':').unwrap_or((text, ""));
        let (position, width) = head.split_once(',').unwrap_or((head, "0"));
        match (position.trim().parse(), width.trim().parse::<i32>()) {
            (Ok(position), Ok(width)) if width.unsigned_abs() <= MOST_WIDTH => Ok(Self { position, width, format }),
            _ => Err(malformed()),
        }
    }

    fn fill(&self, value: &Data) -> Result<String, Trouble> {
        let text = match value {
            Data::Int(number) if !self.format.is_empty() => integer(*number, self.format)?,
            Data::Float(number) if !self.format.is_empty() => real(*number, self.format)?,
            other => other.display(),
        };
        let missing = (self.width.unsigned_abs() as usize).saturating_sub(text.chars().count());
        let padding = " ".repeat(missing);
        Ok(if self.width < 0 { text + &padding } else { padding + &text })
    }
}

fn integer(number: i64, format: &str) -> Result<String, Trouble> {
    let Some((kind, precision)) = standard(format) else {
        return Ok(pattern(&number.to_string(), format));
    };
    let sign = if number < 0 { "-" } else { "" };
    let digits = number.unsigned_abs().to_string();
    Ok(match kind {
        'D' | 'd' => format!("{sign}{digits:0>width$}", width = precision.unwrap_or(0)),
        'X' => format!("{number:0>width$X}", width = precision.unwrap_or(0)),
        'x' => format!("{number:0>width$x}", width = precision.unwrap_or(0)),
        'G' | 'g' | 'R' | 'r' => number.to_string(),
        'N' | 'n' => format!("{sign}{}{}", grouped(&digits), fraction(precision.unwrap_or(2))),
        'F' | 'f' => format!("{number}{}", fraction(precision.unwrap_or(2))),
        'C' | 'c' if number < 0 => format!("(\u{a4}{}{})", grouped(&digits), fraction(precision.unwrap_or(2))),
        'C' | 'c' => format!("\u{a4}{}{}", grouped(&digits), fraction(precision.unwrap_or(2))),
        'P' | 'p' => {
            let hundred = (i128::from(number) * 100).unsigned_abs().to_string();
            format!("{sign}{}{} %", grouped(&hundred), fraction(precision.unwrap_or(2)))
        }
        #[expect(clippy::cast_precision_loss, reason = "scientific notation rounds anyway")]
        'E' | 'e' => real(number as f64, format)?,
        _ => return Err(unknown(format)),
    })
}

fn real(number: f64, format: &str) -> Result<String, Trouble> {
    let Some((kind, precision)) = standard(format) else {
        return Ok(pattern(&number.to_string(), format));
    };
    let fixed = |digits: usize, number: f64| {
        let text = format!("{:.digits$}", number.abs());
        let (whole, rest) = text.split_once('.').map_or((text.as_str(), String::new()), |(a, b)| (a, format!(".{b}")));
        format!("{}{}{rest}", if number < 0.0 { "-" } else { "" }, grouped(whole))
    };
    Ok(match kind {
        'F' | 'f' => format!("{number:.*}", precision.unwrap_or(2)),
        'N' | 'n' => fixed(precision.unwrap_or(2), number),
        'P' | 'p' => fixed(precision.unwrap_or(2), number * 100.0) + " %",
        'G' | 'g' | 'R' | 'r' => number.to_string(),
        'E' | 'e' => {
            let text = format!("{number:.*e}", precision.unwrap_or(6));
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}{kind}{sign}{:03}", exponent.unsigned_abs())
        }
        _ => return Err(unknown(format)),
    })
}

/// A letter and at most two digits; anything else is a pattern.
fn standard(format: &str) -> Option<(char, Option<usize>)> {
    let mut characters = format.chars();
    let kind = characters.next().filter(char::is_ascii_alphabetic)?;
    let precision = characters.as_str();
    if precision.is_empty() {
        return Some((kind, None));
    }
    let all_digits = precision.len() <= 2 && precision.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { Some((kind, precision.parse().ok())) } else { None }
}

/// A pattern such as `000`, `0.00`, `#,##0`, with text around it.
fn pattern(number: &str, pattern: &str) -> String {
    let is_digit = |character: char| matches!(character, '0' | '#' | ',' | '.');
    let (Some(start), Some(end)) = (pattern.find(is_digit), pattern.rfind(is_digit)) else {
        return pattern.to_owned();
    };
    let core = pattern.get(start..=end).unwrap_or_default();
    let (whole_pattern, fraction_pattern) = core.split_once('.').unwrap_or((core, ""));
    let number: f64 = number.parse().unwrap_or(0.0);
    let scaled = if pattern.contains('%') { number * 100.0 } else { number };
    let text = format!("{:.*}", fraction_pattern.len(), scaled.abs());
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    let least = whole_pattern.bytes().filter(|byte| *byte == b'0').count();
    let whole = if whole == "0" && least == 0 { String::new() } else { format!("{whole:0>least$}") };
    let whole = if whole_pattern.contains(',') { grouped(&whole) } else { whole };
    let kept = fraction_pattern.rfind('0').map_or(0, |last| last + 1);
    let mut decimals = decimals.to_owned();
    while decimals.len() > kept && decimals.ends_with('0') {
        decimals.pop();
    }
    let point = if decimals.is_empty() { "" } else { "." };
    let sign = if scaled < 0.0 { "-" } else { "" };
    let (before, after) = (pattern.get(..start).unwrap_or_default(), pattern.get(end + 1..).unwrap_or_default());
    format!("{sign}{before}{whole}{point}{decimals}{after}")
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn fraction(digits: usize) -> String {
    if digits == 0 { String::new() } else { format!(".{}", "0".repeat(digits)) }
}

fn malformed() -> Trouble {
    "The format is malformed; an item looks like {0}, {0,5} or {0:D3}, and braces are doubled.".into()
}

fn unknown(format: &str) -> Trouble {
    format!("'{format}' is not a number format.").into()
}

const MOST_WIDTH: u32 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn filled(text: &str, values: &[Data]) -> Result<String, String> {
        composite(text, values, &mut Budget::new(Limits::default())).map_err(|trouble| trouble.0)
    }

    #[test]
    fn items_are_filled_as_dotnet_does() {
        let number = Data::Int(-1234);
        for (format, value, expected) in [
            ("{0}", Data::text("x"), "x"),
            ("{{{0}}}", Data::text("x"), "{x}"),
            ("{0,5}|", Data::text("x"), "    x|"),
            ("{0,-5}|", Data::text("x"), "x    |"),
            ("{0:D3}", Data::Int(7), "007"),
            ("{0:d6}", number.clone(), "-001234"),
            ("{0:X}", Data::Int(255), "FF"),
            ("{0:x4}", Data::Int(255), "00ff"),
            ("{0:N}", number.clone(), "-1,234.00"),
            ("{0:N0}", number.clone(), "-1,234"),
            ("{0:F1}", Data::Int(3), "3.0"),
            ("{0:P0}", Data::Int(2), "200 %"),
            ("{0:E2}", Data::Int(12345), "1.23E+004"),
            ("{0:000}", Data::Int(7), "007"),
            ("{0:0.0#}", Data::Float(1.5), "1.5"),
            ("{0:#,##0}", Data::Int(1_234_567), "1,234,567"),
            ("{0:v0}", Data::text("x"), "x"),
            ("{0}", Data::Bool(true), "True"),
            ("{0}", Data::Null, ""),
            ("{0}", Data::array(vec![Data::Int(1)]), "[1]"),
            ("{0} {0}", Data::Int(1), "1 1"),
            ("ä{0}ö", Data::Int(1), "ä1ö"),
        ] {
            assert_eq!(filled(format, std::slice::from_ref(&value)).as_deref(), Ok(expected), "{format}");
        }
    }

    #[test]
    fn malformed_formats_are_refused() {
        for format in ["{", "}", "{0", "{}", "{x}", "{-1}", "{1}", "{0,x}", "{0,999999}", "{0:Q}"] {
            assert!(filled(format, &[Data::Int(1)]).is_err(), "{format}");
        }
    }
}
