//! Many patterns at once.

use std::collections::HashMap;

use crate::name::Name;
use crate::pattern::NamePattern;

/// What a hub's rules say about names: finds the one pattern that decides for a host.
///
/// An exact name goes before a wildcard, and the longest wildcard before the shorter ones. A lookup asks one hash table
/// for the name and then for each name above it, label by label: a trie without its nodes. It is cheap enough to be
/// built anew for each change (ten thousand names in well under 5 ms), which is how it stays immutable while it is read.
#[derive(Debug, Clone)]
pub struct NameTable<T> {
    rows: HashMap<Name, Row<T>>,
}

/// What is said about one name, and about all below it.
#[derive(Debug, Clone)]
struct Row<T> {
    exact: Option<(NamePattern, T)>,
    below: Option<(NamePattern, T)>,
}

impl<T> NameTable<T> {
    /// A table that knows no name.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty table with room for `names` names.
    pub fn with_capacity(names: usize) -> Self {
        Self { rows: HashMap::with_capacity(names) }
    }

    /// The pattern that decides for `host`, and what was said about it.
    pub fn lookup(&self, host: &Name) -> Option<(&NamePattern, &T)> {
        self.matches(host).next()
    }

    /// All patterns that speak of `host`, the one that decides first.
    pub fn matches<'a>(&'a self, host: &Name) -> impl Iterator<Item = (&'a NamePattern, &'a T)> {
        let exact = self.rows.get(host.as_str()).and_then(|row| row.exact.as_ref());
        let wildcards = host.suffixes().filter_map(|apex| self.rows.get(apex)?.below.as_ref());
        exact.into_iter().chain(wildcards).map(|(pattern, value)| (pattern, value))
    }

    /// What was said about exactly this pattern.
    pub fn find(&self, pattern: &NamePattern) -> Option<&T> {
        let row = self.rows.get(pattern.name())?;
        let place = if pattern.is_wildcard() { &row.below } else { &row.exact };
        place.as_ref().map(|(_, value)| value)
    }

    /// Says something about a pattern, and returns what had been said about it before.
    pub fn insert(&mut self, pattern: NamePattern, value: T) -> Option<T> {
        let row = self.rows.entry(pattern.name().clone()).or_insert(Row { exact: None, below: None });
        let place = row.place(&pattern);
        place.replace((pattern, value)).map(|(_, value)| value)
    }

    /// What is said about a pattern, to be added to.
    pub fn entry(&mut self, pattern: &NamePattern) -> &mut T
    where
        T: Default,
    {
        let row = self.rows.entry(pattern.name().clone()).or_insert(Row { exact: None, below: None });
        &mut row.place(pattern).get_or_insert_with(|| (pattern.clone(), T::default())).1
    }

    /// Forgets a pattern, and returns what had been said about it.
    pub fn remove(&mut self, pattern: &NamePattern) -> Option<T> {
        let row = self.rows.get_mut(pattern.name())?;
        let value = row.place(pattern).take().map(|(_, value)| value);
        if row.exact.is_none() && row.below.is_none() {
            self.rows.remove(pattern.name());
        }
        value
    }

    /// Whether nothing has been said.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All patterns and what was said about them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&NamePattern, &T)> {
        let said = self.rows.values().flat_map(|row| [&row.exact, &row.below]);
        said.flatten().map(|(pattern, value)| (pattern, value))
    }
}

impl<T> Row<T> {
    fn place(&mut self, pattern: &NamePattern) -> &mut Option<(NamePattern, T)> {
        if pattern.is_wildcard() { &mut self.below } else { &mut self.exact }
    }
}

impl<T> Default for NameTable<T> {
    fn default() -> Self {
        Self { rows: HashMap::new() }
    }
}

impl<T> FromIterator<(NamePattern, T)> for NameTable<T> {
    fn from_iter<I: IntoIterator<Item = (NamePattern, T)>>(patterns: I) -> Self {
        let patterns = patterns.into_iter();
        let mut table = Self::with_capacity(patterns.size_hint().0);
        for (pattern, value) in patterns {
            table.insert(pattern, value);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(patterns: &[&'static str]) -> NameTable<&'static str> {
        patterns.iter().map(|text| (NamePattern::parse(text).unwrap(), *text)).collect()
    }

    fn decides(table: &NameTable<&'static str>, host: &str) -> Option<&'static str> {
        table.lookup(&Name::parse(host).unwrap()).map(|(_, value)| *value)
    }

    #[test]
    fn exact_goes_before_wildcard_and_the_longest_wildcard_first() {
        let rules = table(&["www.example.org", "*.example.org", "*.deep.example.org", "apex.net"]);
        for (host, expected) in [
            ("www.example.org", Some("www.example.org")),
            ("WWW.Example.org.", Some("www.example.org")),
            ("other.example.org", Some("*.example.org")),
            ("a.www.example.org", Some("*.example.org")),
            ("deep.example.org", Some("*.example.org")),
            ("x.deep.example.org", Some("*.deep.example.org")),
            ("y.x.deep.example.org", Some("*.deep.example.org")),
            ("example.org", None),
            ("evilexample.org", None),
            ("apex.net", Some("apex.net")),
            ("www.apex.net", None),
            ("net", None),
            ("org", None),
        ] {
            assert_eq!(decides(&rules, host), expected, "{host}");
        }
    }

    #[test]
    fn apex_and_wildcard_are_two_rules() {
        let mut rules = table(&["anaconda.com", "*.anaconda.com"]);
        assert_eq!(decides(&rules, "anaconda.com"), Some("anaconda.com"));
        assert_eq!(rules.remove(&NamePattern::parse("anaconda.com").unwrap()), Some("anaconda.com"));
        assert_eq!(decides(&rules, "anaconda.com"), None);
        assert_eq!(decides(&rules, "repo.anaconda.com"), Some("*.anaconda.com"));
        assert_eq!(rules.remove(&NamePattern::parse("*.anaconda.com").unwrap()), Some("*.anaconda.com"));
        assert!(rules.is_empty());
        assert_eq!(rules.remove(&NamePattern::parse("*.anaconda.com").unwrap()), None);
    }

    #[test]
    fn a_second_word_replaces_the_first() {
        let mut rules = NameTable::new();
        let pattern = NamePattern::parse("pypi.org").unwrap();
        assert_eq!(rules.insert(pattern.clone(), 1), None);
        assert_eq!(rules.insert(pattern.clone(), 2), Some(1));
        assert_eq!(rules.find(&pattern), Some(&2));
        assert_eq!(rules.iter().count(), 1);
    }

    proptest! {
        // The table and the patterns one by one say the same.
        #[test]
        fn the_table_agrees_with_its_patterns(
            patterns in proptest::collection::vec("(\\*\\.)?([ab]\\.){0,3}[ab]\\.[xy]", 0..8),
            host in "([ab]\\.){0,5}[xy]",
        ) {
            let patterns: Vec<_> = patterns.iter().map(|text| NamePattern::parse(text).unwrap()).collect();
            let host = Name::parse(&host).unwrap();
            let rules: NameTable<()> = patterns.iter().map(|pattern| (pattern.clone(), ())).collect();
            let expected = patterns
                .iter()
                .filter(|pattern| pattern.matches(&host))
                .max_by_key(|pattern| (!pattern.is_wildcard(), pattern.name().labels().count()));
            prop_assert_eq!(rules.lookup(&host).map(|(pattern, ())| pattern), expected);
        }
    }
}
