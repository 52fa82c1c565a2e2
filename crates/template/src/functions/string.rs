//! Strings. Positions and lengths count characters.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::unique_string::{guid, unique_string};
use super::{Arguments, Function, MANY, format, pure};
use crate::data::Data;
use crate::error::Trouble;
use crate::relaxed;

pub(super) const FUNCTIONS: &[Function] = &[
    pure("base64", 1, 1, |args| Ok(Data::text(STANDARD.encode(args.text(0)?)))),
    pure("base64ToJson", 1, 1, |args| json(&decoded(args, args.text(0)?)?, args)),
    pure("base64ToString", 1, 1, |args| Ok(Data::text(decoded(args, args.text(0)?)?))),
    pure("concat", 1, MANY, concat),
    pure("endsWith", 2, 2, |args| {
        Ok(Data::Bool(args.text(0)?.to_lowercase().ends_with(&args.text(1)?.to_lowercase())))
    }),
    pure("fail", 1, 1, |args| Err(args.text(0)?.into())),
    pure("format", 1, MANY, format_text),
    pure("guid", 1, MANY, |args| Ok(Data::text(guid(&scalars(args)?).to_string()))),
    pure("join", 2, 2, join),
    pure("json", 1, 1, |args| json(args.text(0)?, args)),
    pure("padLeft", 2, 3, pad_left),
    pure("replace", 3, 3, replace),
    pure("split", 2, 2, split),
    pure("startsWith", 2, 2, |args| {
        Ok(Data::Bool(args.text(0)?.to_lowercase().starts_with(&args.text(1)?.to_lowercase())))
    }),
    pure("string", 1, 1, string),
    pure("substring", 2, 3, substring),
    pure("toLower", 1, 1, |args| Ok(Data::text(args.text(0)?.to_lowercase()))),
    pure("toUpper", 1, 1, |args| Ok(Data::text(args.text(0)?.to_uppercase()))),
    pure("trim", 1, 1, |args| Ok(Data::text(args.text(0)?.trim()))),
    pure("uniqueString", 1, MANY, |args| Ok(Data::text(unique_string(&scalars(args)?)))),
];

fn scalars(args: &Arguments<'_>) -> Result<Vec<String>, Trouble> {
    (0..args.all().len()).map(|position| args.scalar(position)).collect()
}

fn decoded(args: &Arguments<'_>, text: &str) -> Result<String, Trouble> {
    let bytes = STANDARD.decode(text).map_err(|_| args.wrong(0, "Base64 text"))?;
    String::from_utf8(bytes).map_err(|_| "argument 1 does not decode to UTF-8 text.".into())
}

fn json(text: &str, args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    args.budget.steps(text.len() as u64 / 16)?;
    args.budget.bytes(text.len() as u64 * 8)?;
    match relaxed::parse(text.as_bytes(), &args.budget.limits) {
        Ok(value) => Ok(Data::from(&value)),
        // The message of the reader could quote a secret; the place is enough.
        Err(error) => Err(format!("argument 1 is not JSON ({}).", error.place).into()),
    }
}

/// Joins strings, or arrays.
fn concat(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    if matches!(args.any(0), Data::Array(_)) {
        let mut items = Vec::new();
        for position in 0..args.all().len() {
            items.extend_from_slice(args.array(position)?);
        }
        return Ok(Data::array(items));
    }
    let length = args.all().iter().fold(0, |sum: u64, value| sum.saturating_add(value.own_bytes()));
    args.budget.bytes(length)?;
    let mut text = String::new();
    for position in 0..args.all().len() {
        text.push_str(&args.scalar(position)?);
    }
    Ok(Data::text(text))
}

fn format_text(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    for position in 1..args.all().len() {
        args.walk(position)?;
    }
    let values = args.all().get(1..).unwrap_or_default();
    format::composite(args.text(0)?, values, args.budget).map(Data::text)
}

fn join(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let mut parts = Vec::new();
    for item in args.array(0)? {
        match item {
            Data::Array(_) | Data::Object(_) => return Err(args.wrong(0, "an array of strings")),
            scalar => parts.push(scalar.display()),
        }
    }
    Ok(Data::text(parts.join(args.text(1)?)))
}

fn pad_left(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let text = args.scalar(0)?;
    let Some(width) = usize::try_from(args.int(1)?).ok().filter(|width| *width <= MOST_PADDING) else {
        return Err(format!("argument 2 must be between 0 and {MOST_PADDING}.").into());
    };
    let mut filler = if args.has(2) { args.text(2)? } else { " " }.chars();
    let (Some(filler), None) = (filler.next(), filler.next()) else {
        return Err("argument 3 must be a single character.".into());
    };
    let missing = width.saturating_sub(text.chars().count());
    Ok(Data::text(std::iter::repeat_n(filler, missing).chain(text.chars()).collect::<String>()))
}

fn replace(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let (text, old, new) = (args.text(0)?, args.text(1)?, args.text(2)?);
    if old.is_empty() {
        return Err("argument 2 must not be empty.".into());
    }
    // Pay before the text is made: it may be much longer than what it is made from.
    let found = text.matches(old).count() as u64;
    args.budget.bytes(found.saturating_mul(new.len() as u64))?;
    Ok(Data::text(text.replace(old, new)))
}

fn split(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let text = args.text(0)?;
    let delimiters: Vec<&str> = match args.any(1) {
        Data::Text(delimiter) => vec![delimiter],
        Data::Array(array) => array.items.iter().filter_map(Data::as_text).collect(),
        _ => return Err(args.wrong(1, "a string or an array of strings")),
    };
    let delimiters: Vec<&str> = delimiters.into_iter().filter(|delimiter| !delimiter.is_empty()).collect();
    args.budget.steps((text.len() * delimiters.len()) as u64 / 32)?;
    let mut parts = Vec::new();
    let mut rest = text;
    let next = |rest: &str| {
        delimiters.iter().filter_map(|one| rest.find(one).map(|at| (at, one.len()))).min_by_key(|(at, _)| *at)
    };
    if let [delimiter] = delimiters.as_slice() {
        parts.extend(text.split(delimiter).map(Data::text));
        return Ok(Data::array(parts));
    }
    while let Some((at, length)) = next(rest) {
        args.budget.steps(rest.len() as u64 / 64 + 1)?;
        parts.push(Data::text(rest.get(..at).unwrap_or_default()));
        rest = rest.get(at + length..).unwrap_or_default();
    }
    parts.push(Data::text(rest));
    Ok(Data::array(parts))
}

fn string(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    args.walk(0)?;
    let weight = args.any(0).weight();
    args.budget.bytes(weight)?;
    Ok(Data::text(args.any(0).display()))
}

fn substring(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let text = args.text(0)?;
    let total = text.chars().count();
    let outside =
        || Trouble::from(format!("start and length must lie within the string, which has {total} characters."));
    let start = usize::try_from(args.int(1)?).ok().filter(|start| *start <= total).ok_or_else(outside)?;
    let most = total - start;
    let length = if args.has(2) { usize::try_from(args.int(2)?).ok() } else { Some(most) };
    let length = length.filter(|length| *length <= most).ok_or_else(outside)?;
    Ok(Data::text(text.chars().skip(start).take(length).collect::<String>()))
}

/// Azure has no published bound; nobody pads further than a screen is wide.
const MOST_PADDING: usize = 16 * 1024;
