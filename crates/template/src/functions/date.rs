//! Dates and durations, with .NET's format strings.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{Arguments, Function, pure, special};
use crate::data::Data;
use crate::error::{Stop, Trouble};
use crate::evaluator::{Evaluator, Outcome};
use crate::expression::Call;
use crate::frame::Region;

pub(super) const FUNCTIONS: &[Function] = &[
    pure("dateTimeAdd", 2, 3, date_time_add),
    pure("dateTimeFromEpoch", 1, 1, |args| match Timestamp::from_second(args.int(0)?) {
        Ok(instant) => Ok(Data::text(written(instant, ISO)?)),
        Err(_) => Err("argument 1 is not an instant between the years 1 and 9999.".into()),
    }),
    pure("dateTimeToEpoch", 1, 1, |args| Ok(Data::Int(instant(args.text(0)?)?.as_second()))),
    special("utcNow", 0, 1, utc_now),
];

/// Only in defaults of parameters, so that a deployment has one instant, however often it is evaluated.
fn utc_now(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    if evaluator.region != Region::Default {
        return Err(evaluator.blame(call, "it can only be used in the default value of a parameter."));
    }
    let values = evaluator.arguments(&call.arguments)?;
    let format = match values.first() {
        None => "yyyyMMddTHHmmssZ",
        Some(Data::Text(format)) => format,
        Some(_) => return Err(evaluator.blame(call, "argument 1 must be a string.")),
    };
    let text = written(evaluator.frame.context.now, format);
    text.map(Data::text).map_err(|trouble| -> Stop { evaluator.blame(call, trouble) })
}

/// A year is 365 days and a month 30, as documented.
fn date_time_add(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let base = instant(args.text(0)?)?;
    let moved = base.checked_add(duration(args.text(1)?)?).map_err(|_| Trouble::from("the result is out of range."))?;
    let format = if args.has(2) { args.text(2)? } else { ISO };
    written(moved, format).map(Data::text)
}

/// The instant a number of days later, as policies have it.
pub(super) fn add_days(text: &str, days: i64) -> Result<Data, Trouble> {
    let out_of_range = || Trouble::from("the result is out of range.");
    let hours = days.checked_mul(24).and_then(SignedDuration::try_from_hours).ok_or_else(out_of_range)?;
    let moved = instant(text)?.checked_add(hours).map_err(|_| out_of_range())?;
    written(moved, "o").map(Data::text)
}

fn instant(text: &str) -> Result<Timestamp, Trouble> {
    if let Ok(instant) = text.trim().parse::<Timestamp>() {
        return Ok(instant);
    }
    let civil: Result<DateTime, _> = text.trim().trim_end_matches(['Z', 'z']).parse();
    let instant = civil.ok().and_then(|civil| civil.to_zoned(TimeZone::UTC).ok()).map(|zoned| zoned.timestamp());
    instant.ok_or_else(|| "argument 1 must be a date and time such as '2024-01-31T12:00:00Z'.".into())
}

/// ISO 8601: `P1Y2M3W4DT5H6M7.5S`, with a minus before it for the past.
fn duration(text: &str) -> Result<SignedDuration, Trouble> {
    let wrong = || Trouble::from("argument 2 must be an ISO 8601 duration such as 'P3D' or '-PT1H30M'.");
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let rest = rest.strip_prefix('P').filter(|rest| !rest.is_empty()).ok_or_else(wrong)?;
    let (days, clock) = rest.split_once('T').map_or((rest, None), |(days, clock)| (days, Some(clock)));
    let mut seconds =
        parts(days, &[('Y', 365 * DAY), ('M', 30 * DAY), ('W', 7 * DAY), ('D', DAY)]).ok_or_else(wrong)?;
    if let Some(clock) = clock {
        seconds += parts(clock, &[('H', 3600), ('M', 60), ('S', 1)]).ok_or_else(wrong)?;
    }
    let seconds = if negative { -seconds } else { seconds };
    SignedDuration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// Numbers with units, each unit at most once and in this order.
fn parts(text: &str, units: &[(char, i64)]) -> Option<f64> {
    let mut seconds = 0.0;
    let mut rest = text;
    let mut units = units.iter();
    while !rest.is_empty() {
        let at = rest.find(|character: char| !(character.is_ascii_digit() || character == '.'))?;
        let (number, tail) = rest.split_at(at);
        let unit = tail.chars().next()?;
        let (_, size) = units.find(|(own, _)| *own == unit)?;
        #[expect(clippy::cast_precision_loss, reason = "units are small numbers")]
        let size = *size as f64;
        seconds += number.parse::<f64>().ok()? * size;
        rest = tail.get(1..)?;
    }
    Some(seconds)
}

/// Writes an instant in UTC by a .NET format string.
fn written(instant: Timestamp, format: &str) -> Result<String, Trouble> {
    let civil = instant.to_zoned(TimeZone::UTC).datetime();
    let mut characters = format.chars();
    let pattern = match (characters.next(), characters.next()) {
        (None, _) => "M/d/yyyy h:mm:ss tt",
        (Some(standard), None) => {
            standard_pattern(standard).ok_or_else(|| Trouble(format!("'{format}' is not a date format.")))?
        }
        _ => format,
    };
    custom(civil, pattern)
}

/// The invariant culture's patterns, as `utcNow` documents them.
fn standard_pattern(letter: char) -> Option<&'static str> {
    Some(match letter {
        'd' => "M/d/yyyy",
        'D' => "dddd, MMMM d, yyyy",
        'f' => "dddd, MMMM d, yyyy h:mm tt",
        'F' | 'U' => "dddd, MMMM d, yyyy h:mm:ss tt",
        'g' => "M/d/yyyy h:mm tt",
        'G' => "M/d/yyyy h:mm:ss tt",
        'm' | 'M' => "MMMM d",
        'o' | 'O' => "yyyy-MM-ddTHH:mm:ss.fffffffZ",
        'r' | 'R' => "ddd, dd MMM yyyy HH:mm:ss 'GMT'",
        's' => "yyyy-MM-ddTHH:mm:ss",
        't' => "h:mm tt",
        'T' => "h:mm:ss tt",
        'u' => "yyyy-MM-dd HH:mm:ssZ",
        'y' | 'Y' => "MMMM yyyy",
        _ => return None,
    })
}

fn custom(at: DateTime, pattern: &str) -> Result<String, Trouble> {
    let mut made = String::new();
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        let run = rest.chars().take_while(|other| *other == letter).count();
        let mut used = run * letter.len_utf8();
        match letter {
            '\'' | '"' => {
                let after = rest.get(1..).unwrap_or_default();
                let Some(end) = after.find(letter) else {
                    return Err("the date format has a quote that is never closed.".into());
                };
                made.push_str(after.get(..end).unwrap_or_default());
                used = end + 2;
            }
            '\\' => {
                let escaped = rest.chars().nth(1);
                made.extend(escaped);
                used = 1 + escaped.map_or(0, char::len_utf8);
            }
            '%' => used = 1,
            _ => match field(at, letter, run) {
                Some(text) => made.push_str(&text),
                None => made.push_str(rest.get(..used).unwrap_or_default()),
            },
        }
        rest = rest.get(used..).unwrap_or_default();
    }
    Ok(made)
}

/// What a run of one letter stands for; `None` when the letter stands for itself.
fn field(at: DateTime, letter: char, run: usize) -> Option<String> {
    let number = |number: i8| if run == 1 { number.to_string() } else { format!("{number:02}") };
    let twelve = if at.hour() % 12 == 0 { 12 } else { at.hour() % 12 };
    let month = usize::try_from(at.month() - 1).unwrap_or_default();
    let weekday = usize::try_from(at.weekday().to_sunday_zero_offset()).unwrap_or_default();
    let name = |names: &[&str], position: usize| {
        let name = names.get(position).copied().unwrap_or_default();
        if run == 3 { name.get(..3).unwrap_or(name).to_owned() } else { name.to_owned() }
    };
    Some(match (letter, run) {
        ('y', 1) => (at.year() % 100).to_string(),
        ('y', 2) => format!("{:02}", at.year() % 100),
        ('y', _) => format!("{:0run$}", at.year()),
        ('M', 1 | 2) => number(at.month()),
        ('M', _) => name(&MONTHS, month),
        ('d', 1 | 2) => number(at.day()),
        ('d', _) => name(&DAYS, weekday),
        ('H', _) => number(at.hour()),
        ('h', _) => number(twelve),
        ('m', _) => number(at.minute()),
        ('s', _) => number(at.second()),
        ('f', 1..=7) => format!("{:09}", at.subsec_nanosecond()).get(..run).unwrap_or_default().to_owned(),
        ('F', 1..=7) => {
            let digits = format!("{:09}", at.subsec_nanosecond());
            digits.get(..run).unwrap_or_default().trim_end_matches('0').to_owned()
        }
        ('t', _) => {
            let half = if at.hour() < 12 { "AM" } else { "PM" };
            half.get(..run.min(2)).unwrap_or_default().to_owned()
        }
        ('K', _) => "Z".to_owned(),
        ('z', 1) => "+0".to_owned(),
        ('z', 2) => "+00".to_owned(),
        ('z', _) => "+00:00".to_owned(),
        ('g', _) => "A.D.".to_owned(),
        _ => return None,
    })
}

const DAY: i64 = 86_400;
const ISO: &str = "yyyy-MM-ddTHH:mm:ssZ";
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
