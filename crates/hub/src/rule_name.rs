//! Names for rules that nobody has named: made of where they lead.

use std::collections::BTreeSet;

use crate::workspace::NAME;

/// A name that none of the rules has whose names, in lower case, are `taken`; from then on it is.
pub(crate) fn free(destination: &str, taken: &mut BTreeSet<String>) -> String {
    let text = match destination.strip_prefix("*.") {
        Some(below) => format!("any-{below}"),
        None => destination.to_ascii_lowercase(),
    };
    let plain: String = text.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    let plain: String = plain.trim_matches('-').chars().take(LONGEST).collect();
    let plain = if plain.len() < SHORTEST { format!("to-{plain}") } else { plain };
    let numbered = (2..u32::MAX).map(|number| format!("{plain}-{number}"));
    let mut names = std::iter::once(plain.clone()).chain(numbered);
    let name = names.find(|name| (NAME.accepts)(name) && !taken.contains(name)).unwrap_or(plain);
    taken.insert(name.clone());
    name
}

/// Leaves room for a number in a rule's name.
const LONGEST: usize = 28;

/// What a rule's name has at least.
const SHORTEST: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_destinations_and_no_two_are_alike() {
        let mut taken = BTreeSet::from(["pypi-org".to_owned()]);
        let cases = [
            ("pypi.org", "pypi-org-2"),
            ("pypi-org", "pypi-org-3"),
            ("*.hf.co", "any-hf-co"),
            ("db", "to-db"),
            ("-", "to-"),
            ("_dmarc.example", "dmarc-example"),
            ("a-very-long-name-of-a-bucket-one.example", "a-very-long-name-of-a-bucket"),
            ("a-very-long-name-of-a-bucket-two.example", "a-very-long-name-of-a-bucket-2"),
        ];
        for (destination, expected) in cases {
            let name = free(destination, &mut taken);
            assert_eq!(name, expected);
            assert!((NAME.accepts)(&name), "{name}");
        }
    }
}
