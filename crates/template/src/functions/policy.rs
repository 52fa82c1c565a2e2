//! The functions that only policies have, and which of the others they may not use.

use std::net::IpAddr;

use super::{Arguments, Function, Run, find, pure, special};
use crate::data::Data;
use crate::error::Trouble;
use crate::evaluator::{Evaluator, Outcome};
use crate::expression::Call;

const FUNCTIONS: &[Function] = &[
    special("current", 0, 1, ask),
    special("field", 1, 1, ask),
    special("parameters", 1, 1, ask),
    special("policy", 0, 0, ask),
    special("requestContext", 0, 0, ask),
    special("resourceGroup", 0, 0, ask),
    special("subscription", 0, 0, ask),
    special("utcNow", 0, 0, ask),
    pure("addDays", 2, 2, |args| super::date::add_days(args.text(0)?, args.int(1)?)),
    pure("ipRangeContains", 2, 2, ip_range_contains),
];

/// The function of this name in a policy; an error says why there is none.
pub(crate) fn find_in_policy(name: &str) -> Result<&'static Function, Option<&'static str>> {
    if let Some(function) = FUNCTIONS.iter().find(|function| function.name.eq_ignore_ascii_case(name)) {
        return Ok(function);
    }
    let function = find(name).ok_or(None)?;
    match function.run {
        Run::Pure(_) if !function.name.starts_with("dateTime") => Ok(function),
        Run::Special(_) if LOGICAL.contains(&function.name) => Ok(function),
        _ => Err(Some(function.name)),
    }
}

fn ask(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let values: Vec<_> = evaluator.arguments(&call.arguments)?.iter().map(Data::to_value).collect();
    let answer = match evaluator.host {
        Some(host) => host.call(call.function.name, &values),
        None => Err("it can only be used in a policy.".to_owned()),
    };
    answer.map(|value| Data::from(&value)).map_err(|sentence| evaluator.blame(call, sentence))
}

/// Whether all of one range of addresses lies in another: `a.b.c.d/n`, `first-last`, or one address.
fn ip_range_contains(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let (outer, inner) = (range(args.text(0)?)?, range(args.text(1)?)?);
    let same_family = outer.0.is_ipv4() == inner.0.is_ipv4();
    Ok(Data::Bool(same_family && outer.0 <= inner.0 && inner.1 <= outer.1))
}

fn range(text: &str) -> Result<(IpAddr, IpAddr), Trouble> {
    let wrong = || Trouble::from("a range is written '10.0.0.0/8', '10.0.0.1-10.0.0.9' or '10.0.0.1'.");
    let address = |text: &str| text.trim().parse::<IpAddr>().map_err(|_| wrong());
    if let Some((first, last)) = text.split_once('-') {
        return Ok((address(first)?, address(last)?));
    }
    let Some((network, length)) = text.split_once('/') else {
        let one = address(text)?;
        return Ok((one, one));
    };
    let length: u32 = length.parse().map_err(|_| wrong())?;
    match address(network)? {
        IpAddr::V4(network) if length <= 32 => {
            let free = u32::MAX.checked_shr(length).unwrap_or(0);
            let first = network.to_bits() & !free;
            Ok((IpAddr::V4(first.into()), IpAddr::V4((first | free).into())))
        }
        IpAddr::V6(network) if length <= 128 => {
            let free = u128::MAX.checked_shr(length).unwrap_or(0);
            let first = network.to_bits() & !free;
            Ok((IpAddr::V6(first.into()), IpAddr::V6((first | free).into())))
        }
        _ => Err(wrong()),
    }
}

/// Functions that look at their arguments before they are evaluated, and at nothing else.
const LOGICAL: [&str; 6] = ["and", "coalesce", "if", "or", "true", "false"];
