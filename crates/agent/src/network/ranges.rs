//! Sets of IPv4 addresses, for interval sets of the kernel.

use std::fmt;
use std::net::Ipv4Addr;

use bastide_plan::AddressFilter;
use bastide_plan::address::NOT_INTERNET;
use ipnet::Ipv4Net;

/// Addresses as ranges, sorted, neither overlapping nor touching.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    /// Every address that is never the internet, by the same rule as [`AddressFilter::refuses`].
    pub fn unreachable(filter: &AddressFilter, subnet: Ipv4Net) -> Self {
        let never = NOT_INTERNET.iter().filter_map(|(network, length)| Ipv4Net::new(*network, *length).ok());
        let (internet, fixed): (Self, Self) = (filter.internet.iter().copied().collect(), FIXED.into_iter().collect());
        let mut ranges = never.collect::<Self>().without(&internet.without(&fixed));
        ranges.0.extend(filter.own.iter().copied().chain([subnet]).map(range));
        ranges.merged()
    }

    /// Those of `self` that are not in `other`.
    fn without(&self, other: &Self) -> Self {
        let mut rest = Vec::new();
        for &(mut first, last) in &self.0 {
            let mut is_used_up = false;
            for &(cut_first, cut_last) in &other.0 {
                if is_used_up || cut_last < first || cut_first > last {
                    continue;
                }
                if cut_first > first {
                    rest.push((first, cut_first - 1));
                }
                match cut_last.checked_add(1) {
                    Some(next) if next <= last => first = next,
                    _ => is_used_up = true,
                }
            }
            if !is_used_up {
                rest.push((first, last));
            }
        }
        Self(rest)
    }

    /// Whether an address is among them.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&address.to_bits()))
    }

    /// Whether a whole network is among them.
    pub fn contains_all(&self, network: Ipv4Net) -> bool {
        let (first, last) = range(network);
        self.0.iter().any(|(from, to)| *from <= first && last <= *to)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn merged(mut self) -> Self {
        self.0.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(self.0.len());
        for (first, last) in self.0 {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }
}

impl FromIterator<Ipv4Net> for Ranges {
    fn from_iter<I: IntoIterator<Item = Ipv4Net>>(networks: I) -> Self {
        Self(networks.into_iter().map(range).collect()).merged()
    }
}

/// As the elements of a set of nft.
impl fmt::Display for Ranges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { ", " };
            write!(formatter, "{separator}{}", Ipv4Addr::from_bits(*first))?;
            if first != last {
                write!(formatter, "-{}", Ipv4Addr::from_bits(*last))?;
            }
        }
        Ok(())
    }
}

fn range(network: Ipv4Net) -> (u32, u32) {
    (network.network().to_bits(), network.broadcast().to_bits())
}

/// What no `--internet-range` lifts: loopback and link-local.
const FIXED: [Ipv4Net; 2] =
    [Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8), Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16)];

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn networks(texts: &[&str]) -> Vec<Ipv4Net> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn ranges_are_merged_and_written_shortly() {
        let ranges = Ranges::from_iter(networks(&["10.0.1.0/24", "10.0.0.0/24", "10.0.0.7/32", "1.1.1.1/32"]));
        assert_eq!(ranges.to_string(), "1.1.1.1, 10.0.0.0-10.0.1.255");
    }

    #[test]
    fn a_cut_leaves_both_sides() {
        let whole = Ranges::from_iter(networks(&["10.0.0.0/24"]));
        let cut = Ranges::from_iter(networks(&["10.0.0.16/28", "10.0.0.255/32"]));
        assert_eq!(whole.without(&cut).to_string(), "10.0.0.0-10.0.0.15, 10.0.0.32-10.0.0.254");
        assert!(whole.without(&whole).is_empty());
    }

    proptest! {
        #[test]
        fn the_kernel_refuses_what_the_filter_refuses(
            bits: u32, lifted: u32, lifted_length in 1u8..=32, own: u32, own_length in 8u8..=32,
        ) {
            let filter = AddressFilter {
                internet: vec![Ipv4Net::new(lifted.into(), lifted_length).unwrap().trunc()],
                own: vec![Ipv4Net::new(own.into(), own_length).unwrap().trunc()],
            };
            let ranges = Ranges::unreachable(&filter, "10.9.0.0/16".parse().unwrap());
            for address in [bits, lifted, own, own.wrapping_add(1), lifted.wrapping_sub(1)].map(Ipv4Addr::from) {
                let is_inside = address.octets().starts_with(&[10, 9]);
                prop_assert_eq!(
                    ranges.contains(address),
                    is_inside || filter.refuses(IpAddr::V4(address)).is_some(),
                    "{}", address
                );
            }
        }
    }
}
