//! Values as conditions compare them.

use std::net::IpAddr;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::Value;

/// A value written in a condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Text(String),
    Integer(i64),
    Boolean(bool),
    Guid(Uuid),
    Moment(Timestamp),
    TimeOfDay(Time),
    Address(IpAddr),
    Network(Network),
}

/// What kind of value an operator compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Boolean,
    Guid,
    Moment,
    TimeOfDay,
    Address,
    Network,
}

/// A value ready to be compared, from a literal or from an attribute.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(super) enum Item<'a> {
    Text(&'a str),
    Integer(i64),
    Boolean(bool),
    Guid(Uuid),
    Moment(Timestamp),
    TimeOfDay(Time),
    Address(IpAddr),
    Network(Network),
}

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(super) struct Network {
    /// The address with every bit after the prefix cleared.
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
}

impl Kind {
    /// What values of this kind are, for a sentence.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "text in quotes",
            Self::Integer => "whole numbers",
            Self::Boolean => "true or false",
            Self::Guid => "GUIDs",
            Self::Moment => "moments such as '2026-01-31T12:00:00Z'",
            Self::TimeOfDay => "times of day such as '08:30:00'",
            Self::Address => "IP addresses",
            Self::Network => "networks such as '10.0.0.0/24'",
        }
    }
}

impl Literal {
    /// Reads what was written, quoted or not, as the kind an operator asks for.
    pub(super) fn read(text: &str, quoted: bool, kind: Option<Kind>) -> Option<Self> {
        match kind {
            Some(Kind::Text) => quoted.then(|| Self::Text(text.to_owned())),
            Some(Kind::Integer | Kind::Boolean) if quoted => None,
            Some(kind) => Some(match item(text, kind)? {
                Item::Text(text) => Self::Text(text.to_owned()),
                Item::Integer(number) => Self::Integer(number),
                Item::Boolean(flag) => Self::Boolean(flag),
                Item::Guid(id) => Self::Guid(id),
                Item::Moment(moment) => Self::Moment(moment),
                Item::TimeOfDay(time) => Self::TimeOfDay(time),
                Item::Address(address) => Self::Address(address),
                Item::Network(network) => Self::Network(network),
            }),
            None if quoted => Some(Self::Text(text.to_owned())),
            None => [Kind::Integer, Kind::Boolean, Kind::Guid]
                .into_iter()
                .find_map(|kind| Self::read(text, quoted, Some(kind))),
        }
    }

    pub(super) fn item(&self) -> Item<'_> {
        match self {
            Self::Text(text) => Item::Text(text),
            Self::Integer(number) => Item::Integer(*number),
            Self::Boolean(flag) => Item::Boolean(*flag),
            Self::Guid(id) => Item::Guid(*id),
            Self::Moment(moment) => Item::Moment(*moment),
            Self::TimeOfDay(time) => Item::TimeOfDay(*time),
            Self::Address(address) => Item::Address(*address),
            Self::Network(network) => Item::Network(*network),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.item().kind()
    }
}

impl<'a> Item<'a> {
    /// Reads an attribute's value as a kind. `None` when it is not of that kind.
    pub(super) fn of(value: &'a Value, kind: Kind) -> Option<Self> {
        match (value, kind) {
            (Value::Integer(number), Kind::Integer) => Some(Self::Integer(*number)),
            (Value::Boolean(flag), Kind::Boolean) => Some(Self::Boolean(*flag)),
            (Value::Moment(moment), Kind::Moment) => Some(Self::Moment(*moment)),
            (Value::Moment(moment), Kind::TimeOfDay) => Some(Self::TimeOfDay(time_of_day(*moment))),
            // An id such as that of a role definition ends in its GUID.
            (Value::Text(text), Kind::Guid) => item(text.rsplit('/').next()?, kind),
            (Value::Text(_), Kind::Integer | Kind::Boolean) => None,
            (Value::Text(text), kind) => item(text, kind),
            _ => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Integer(_) => Kind::Integer,
            Self::Boolean(_) => Kind::Boolean,
            Self::Guid(_) => Kind::Guid,
            Self::Moment(_) => Kind::Moment,
            Self::TimeOfDay(_) => Kind::TimeOfDay,
            Self::Address(_) => Kind::Address,
            Self::Network(_) => Kind::Network,
        }
    }
}

impl Network {
    fn read(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address.parse().ok()?, Some(prefix.parse().ok()?)),
            None => (text.parse().ok()?, None),
        };
        Some(match address {
            IpAddr::V4(address) => {
                let prefix = prefix.unwrap_or(32);
                let mask = u32::MAX.checked_shl(32_u32.checked_sub(prefix)?).unwrap_or(0);
                let address = IpAddr::V4((address.to_bits() & mask).into());
                Self { address, prefix: u8::try_from(prefix).ok()? }
            }
            IpAddr::V6(address) => {
                let prefix = prefix.unwrap_or(128);
                let mask = u128::MAX.checked_shl(128_u32.checked_sub(prefix)?).unwrap_or(0);
                let address = IpAddr::V6((address.to_bits() & mask).into());
                Self { address, prefix: u8::try_from(prefix).ok()? }
            }
        })
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differ = network.to_bits() ^ address.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differ = network.to_bits() ^ address.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

fn item(text: &str, kind: Kind) -> Option<Item<'_>> {
    Some(match kind {
        Kind::Text => Item::Text(text),
        Kind::Integer => Item::Integer(text.parse().ok()?),
        Kind::Boolean if text.eq_ignore_ascii_case("true") => Item::Boolean(true),
        Kind::Boolean if text.eq_ignore_ascii_case("false") => Item::Boolean(false),
        Kind::Boolean => return None,
        Kind::Guid => Item::Guid(Uuid::try_parse(text).ok()?),
        Kind::Moment => Item::Moment(text.parse().ok()?),
        Kind::TimeOfDay => Item::TimeOfDay(match text.parse::<Timestamp>() {
            Ok(moment) => time_of_day(moment),
            Err(_) => text.parse().ok()?,
        }),
        // An IPv4 address wrapped into IPv6 is still that IPv4 address.
        Kind::Address => Item::Address(text.parse::<IpAddr>().ok()?.to_canonical()),
        Kind::Network => Item::Network(Network::read(text)?),
    })
}

/// The time of day of a moment, in UTC.
fn time_of_day(moment: Timestamp) -> Time {
    TimeZone::UTC.to_datetime(moment).time()
}
