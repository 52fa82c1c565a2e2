//! Many patterns at once.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::name::Name;
use crate::pattern::NamePattern;

/// What a hub's rules say about names: finds the one pattern that decides for a host.
///
/// An exact name goes before a wildcard, and the longest wildcard before the shorter ones. A lookup asks for the name and
/// then for each name above it, label by label: a trie without its nodes.
///
/// A clone shares what is said, and a change of it copies one part of 256 at most: the table that others read stays as it
/// is while the next one is made, and one name more among ten thousand costs microseconds.
#[derive(Debug, Clone)]
pub struct NameTable<T> {
    /// By a byte of the name's hash.
    shards: BTreeMap<u8, Arc<Shard<T>>>,
    hasher: RandomState,
}

/// What is said about some of the names.
#[derive(Debug, Clone)]
struct Shard<T> {
    exact: HashMap<Name, T>,
    /// By the name above all those that it is said about.
    below: HashMap<Name, T>,
}

impl<T> NameTable<T> {
    /// A table that knows no name.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was said about the pattern that decides for `host`.
    pub fn lookup(&self, host: &Name) -> Option<&T> {
        self.matches(host).next()
    }

    /// What was said about all patterns that speak of `host`, the one that decides first.
    pub fn matches<'a>(&'a self, host: &Name) -> impl Iterator<Item = &'a T> {
        let exact = self.shard(host.as_str()).and_then(|shard| shard.exact.get(host));
        let wildcards = host.suffixes().filter_map(|apex| self.shard(apex)?.below.get(apex));
        exact.into_iter().chain(wildcards)
    }

    /// What was said about exactly this pattern.
    pub fn find(&self, pattern: &NamePattern) -> Option<&T> {
        let shard = self.shard(pattern.name().as_str())?;
        let said = if pattern.is_wildcard() { &shard.below } else { &shard.exact };
        said.get(pattern.name())
    }

    /// All that was said, in no order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.shards.values().flat_map(|shard| shard.exact.values().chain(shard.below.values()))
    }

    /// How many patterns something is said about.
    pub fn len(&self) -> usize {
        self.shards.values().map(|shard| shard.exact.len() + shard.below.len()).sum()
    }

    /// Whether nothing has been said.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, name: &str) -> Option<&Shard<T>> {
        self.shards.get(&self.place(name)).map(Arc::as_ref)
    }

    fn place(&self, name: &str) -> u8 {
        let [place, ..] = self.hasher.hash_one(name).to_le_bytes();
        place
    }
}

impl<T: Clone> NameTable<T> {
    /// Says something about a pattern, and returns what had been said about it before.
    pub fn insert(&mut self, pattern: &NamePattern, value: T) -> Option<T> {
        self.said(pattern).insert(pattern.name().clone(), value)
    }

    /// What is said about a pattern, to be added to.
    pub fn entry(&mut self, pattern: &NamePattern) -> &mut T
    where
        T: Default,
    {
        self.said(pattern).entry(pattern.name().clone()).or_default()
    }

    /// Forgets a pattern, and returns what had been said about it.
    pub fn remove(&mut self, pattern: &NamePattern) -> Option<T> {
        self.said(pattern).remove(pattern.name())
    }

    /// Where things are said about patterns like this one, in this table alone.
    fn said(&mut self, pattern: &NamePattern) -> &mut HashMap<Name, T> {
        let place = self.place(pattern.name().as_str());
        let shard = Arc::make_mut(self.shards.entry(place).or_default());
        if pattern.is_wildcard() { &mut shard.below } else { &mut shard.exact }
    }
}

impl<T> Default for NameTable<T> {
    fn default() -> Self {
        Self { shards: BTreeMap::new(), hasher: RandomState::new() }
    }
}

impl<T> Default for Shard<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), below: HashMap::new() }
    }
}

/// Two tables are equal when they say the same, wherever they keep it.
impl<T: PartialEq> PartialEq for NameTable<T> {
    fn eq(&self, other: &Self) -> bool {
        let is_said = |shard: &Arc<Shard<T>>| {
            let other = |name: &Name| other.shard(name.as_str());
            shard.exact.iter().all(|(name, value)| other(name).and_then(|shard| shard.exact.get(name)) == Some(value))
                && shard
                    .below
                    .iter()
                    .all(|(name, value)| other(name).and_then(|shard| shard.below.get(name)) == Some(value))
        };
        self.len() == other.len() && self.shards.values().all(is_said)
    }
}

impl<T: Eq> Eq for NameTable<T> {}

impl<T: Clone> FromIterator<(NamePattern, T)> for NameTable<T> {
    fn from_iter<I: IntoIterator<Item = (NamePattern, T)>>(patterns: I) -> Self {
        let mut table = Self::new();
        for (pattern, value) in patterns {
            table.insert(&pattern, value);
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
        table.lookup(&Name::parse(host).unwrap()).copied()
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
        assert_eq!(rules.insert(&pattern, 1), None);
        assert_eq!(rules.insert(&pattern, 2), Some(1));
        assert_eq!(rules.find(&pattern), Some(&2));
        assert_eq!(rules.len(), 1);
    }

    #[test]
    fn a_table_stays_as_it_is_while_its_clone_changes() {
        let before = table(&["a.org", "*.a.org", "b.org"]);
        let mut after = before.clone();
        assert_eq!(after, before);
        assert_eq!(after.insert(&NamePattern::parse("c.org").unwrap(), "c.org"), None);
        assert_eq!(after.remove(&NamePattern::parse("*.a.org").unwrap()), Some("*.a.org"));
        assert_eq!(before, table(&["a.org", "*.a.org", "b.org"]));
        assert_eq!(after, table(&["a.org", "b.org", "c.org"]));
    }

    #[test]
    fn a_change_copies_one_part_alone() {
        let patterns = (0..1000).map(|number| NamePattern::parse(&format!("host-{number}.example.org")).unwrap());
        let before: NameTable<()> = patterns.map(|pattern| (pattern, ())).collect();
        let mut after = before.clone();
        after.insert(&NamePattern::parse("one.more.example.org").unwrap(), ());
        let is_shared = |(place, shard): (&u8, &Arc<Shard<()>>)| {
            before.shards.get(place).is_some_and(|other| Arc::ptr_eq(shard, other))
        };
        assert_eq!(after.shards.iter().filter(|part| !is_shared(*part)).count(), 1);
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
            let rules: NameTable<_> = patterns.iter().map(|pattern| (pattern.clone(), pattern)).collect();
            let expected = patterns
                .iter()
                .filter(|pattern| pattern.matches(&host))
                .max_by_key(|pattern| (!pattern.is_wildcard(), pattern.name().labels().count()));
            prop_assert_eq!(rules.lookup(&host).copied(), expected);
        }
    }
}
