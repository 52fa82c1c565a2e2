use std::fmt;

use crate::path::{Keys, Path, bit, hash_of};

/// A pattern over action names, as in a role's `actions` or a condition's `ActionMatches`.
///
/// `*` stands for any characters, also `/`; and `/*/` stands for "a slash, and possibly more segments": the pattern
/// `a/*/read` matches `a/b/c/read` and `a/read`. ASCII case does not matter.
#[derive(Debug, Clone)]
pub struct ActionPattern {
    text: String,
    tokens: Box<[Token]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// Lower-cased text that must stand here.
    Literal(Box<str>),
    /// Any characters: `*`.
    Any,
    /// Nothing, or any characters that end in a slash: the `*/` of `/*/`. What stands before it ends in a slash.
    Segments,
}

impl ActionPattern {
    /// Compiles a pattern. Every string is one.
    pub fn new(pattern: &str) -> Self {
        Self { text: pattern.to_owned(), tokens: tokens(&pattern.to_ascii_lowercase()) }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern covers this action.
    pub fn matches(&self, action: &str) -> bool {
        let text = action.as_bytes();
        // Most patterns that miss already miss in their last word.
        if let Some(Token::Literal(tail)) = self.tokens.last()
            && !ends_with_folded(text, tail.as_bytes())
        {
            return false;
        }
        let (mut token, mut at) = (0, 0);
        // The last wildcard passed, and where what follows it was last tried. An earlier wildcard never needs another
        // try: what follows it already stands as far left as it can.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match self.tokens.get(token) {
                Some(Token::Literal(literal)) if starts_with_folded(text, at, literal.as_bytes()) => {
                    at += literal.len();
                    token += 1;
                    continue;
                }
                Some(Token::Any) if token + 1 == self.tokens.len() => return true,
                Some(Token::Any | Token::Segments) => {
                    retry = Some((token, at));
                    token += 1;
                    continue;
                }
                None if at == text.len() => return true,
                Some(Token::Literal(_)) | None => {}
            }
            let Some((wildcard, tried)) = retry else { return false };
            let Some(next) = self.next_try(wildcard, text, tried) else { return false };
            retry = Some((wildcard, next));
            at = next;
            token = wildcard + 1;
        }
    }

    fn next_try(&self, wildcard: usize, text: &[u8], tried: usize) -> Option<usize> {
        match self.tokens.get(wildcard)? {
            Token::Any => (tried < text.len()).then_some(tried + 1),
            _ => text.get(tried..)?.iter().position(|&byte| byte == b'/').map(|slash| tried + slash + 1),
        }
    }

    /// The longest part that every matching action starts with and that ends where a segment does.
    pub(crate) fn anchor(&self) -> &str {
        match &*self.tokens {
            [Token::Literal(literal)] => literal,
            [Token::Literal(literal), ..] => literal.rsplit_once('/').map_or("", |(anchor, _)| anchor),
            _ => "",
        }
    }
}

impl PartialEq for ActionPattern {
    fn eq(&self, other: &Self) -> bool {
        self.tokens == other.tokens
    }
}

impl Eq for ActionPattern {}

impl fmt::Display for ActionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Many patterns, of which one has to match.
///
/// They are found by their anchors, so that a role with hundreds of actions costs a few binary searches.
#[derive(Debug, Default)]
pub(crate) struct PatternSet {
    /// The [`bit`] of every anchor, so that most actions that miss do so at once.
    filter: u64,
    /// Hashes of the anchors, sorted.
    anchors: Box<[u64]>,
    /// The pattern of each anchor.
    patterns: Box<[ActionPattern]>,
}

impl PatternSet {
    pub(crate) fn new<'a>(patterns: impl IntoIterator<Item = &'a String>, keys: &Keys) -> Self {
        let mut patterns: Vec<_> = patterns
            .into_iter()
            // A pattern whose anchor no action can have matches nothing.
            .filter_map(|pattern| {
                let pattern = ActionPattern::new(pattern);
                Some((hash_of(pattern.anchor(), keys)?, pattern))
            })
            .collect();
        patterns.sort_by_key(|(anchor, _)| *anchor);
        let (anchors, patterns): (Vec<_>, Vec<_>) = patterns.into_iter().unzip();
        let filter = anchors.iter().fold(0, |filter, anchor| filter | bit(*anchor));
        Self { filter, anchors: anchors.into(), patterns: patterns.into() }
    }

    /// The pattern that covers `action`, if one does.
    pub(crate) fn find(&self, action: &Path<'_>) -> Option<&ActionPattern> {
        action.prefixes().iter().filter(|prefix| self.filter & bit(prefix.hash) != 0).find_map(|prefix| {
            let first = self.anchors.partition_point(|anchor| *anchor < prefix.hash);
            let anchored = self.anchors.get(first..)?.iter().zip(self.patterns.get(first..)?);
            let candidates = anchored.take_while(|(anchor, _)| **anchor == prefix.hash);
            candidates.map(|(_, pattern)| pattern).find(|pattern| pattern.matches(action.text()))
        })
    }
}

fn tokens(pattern: &str) -> Box<[Token]> {
    let mut tokens = Vec::new();
    let mut literal = String::new();
    let mut characters = pattern.chars().peekable();
    // Whether the character before this one is a slash that the pattern or a `/*/` put there.
    let mut after_slash = false;
    while let Some(character) = characters.next() {
        if character != '*' {
            literal.push(character);
            after_slash = character == '/';
            continue;
        }
        if !literal.is_empty() {
            tokens.push(Token::Literal(std::mem::take(&mut literal).into()));
        }
        if after_slash && characters.next_if_eq(&'/').is_some() {
            tokens.push(Token::Segments);
        } else {
            tokens.push(Token::Any);
            after_slash = false;
        }
    }
    if !literal.is_empty() {
        tokens.push(Token::Literal(literal.into()));
    }
    tokens.dedup_by(|a, b| a == b && !matches!(a, Token::Literal(_)));
    tokens.into()
}

fn starts_with_folded(text: &[u8], at: usize, lower: &[u8]) -> bool {
    text.get(at..at + lower.len()).is_some_and(|part| part.eq_ignore_ascii_case(lower))
}

fn ends_with_folded(text: &[u8], lower: &[u8]) -> bool {
    text.len().checked_sub(lower.len()).is_some_and(|at| starts_with_folded(text, at, lower))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn star_crosses_slashes() {
        let pattern = ActionPattern::new("Microsoft.Compute/*");
        assert!(pattern.matches("microsoft.compute/virtualMachines/start/action"));
        assert!(!pattern.matches("Microsoft.Computer/read"));
        assert!(ActionPattern::new("*/read").matches("A/b/c/READ"));
        assert!(!ActionPattern::new("*/read").matches("a/b/reader"));
        assert!(ActionPattern::new("*").matches("anything/at/all"));
    }

    #[test]
    fn star_between_slashes_matches_zero_segments_too() {
        let pattern = ActionPattern::new("a/*/read");
        for action in ["a/read", "a/b/read", "A/b/c/Read"] {
            assert!(pattern.matches(action), "{action}");
        }
        for action in ["aread", "ab/read", "a/bread", "a/read/x"] {
            assert!(!pattern.matches(action), "{action}");
        }
        let twice = ActionPattern::new("a/*/b/*/c");
        for action in ["a/b/c", "a/x/b/c", "a/b/x/c", "a/x/b/y/z/c"] {
            assert!(twice.matches(action), "{action}");
        }
        assert!(ActionPattern::new("a/*/*/c").matches("a/c"));
    }

    #[test]
    fn a_set_finds_patterns_by_any_anchor() {
        let keys = Keys::new();
        let patterns = ["*/read", "a/b*", "a/*/write", "a/b/c/action"].map(String::from);
        let set = PatternSet::new(&patterns, &keys);
        let find = |action| set.find(&Path::action(action, &keys).unwrap()).map(ActionPattern::as_str);
        assert_eq!(find("x/y/read"), Some("*/read"));
        assert_eq!(find("a/bc/d"), Some("a/b*"));
        assert_eq!(find("A/write"), Some("a/*/write"));
        assert_eq!(find("x/write"), None);
        assert_eq!(PatternSet::default().find(&Path::action("a", &keys).unwrap()), None);
    }

    /// The rule as the reference states it: glob(p), or glob(p with a `/*/` replaced by `/`), for each of them.
    fn reference(pattern: &str, action: &str) -> bool {
        let zero = pattern.match_indices("/*/").map(|(at, _)| format!("{}/{}", &pattern[..at], &pattern[at + 3..]));
        glob(pattern.as_bytes(), action.as_bytes()) || zero.into_iter().any(|pattern| reference(&pattern, action))
    }

    fn glob(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|at| glob(rest, &text[at..])),
            Some((byte, rest)) => {
                text.first().is_some_and(|first| first.eq_ignore_ascii_case(byte)) && glob(rest, &text[1..])
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn matching_agrees_with_the_reference_rule(pattern in "[ab/*]{0,10}", action in "[abAB/]{0,12}") {
            prop_assert_eq!(ActionPattern::new(&pattern).matches(&action), reference(&pattern, &action));
        }

        #[test]
        fn a_set_matches_exactly_when_one_of_its_patterns_does(
            patterns in prop::collection::vec("[ab]{0,2}(/[ab*]{1,2}){0,3}|\\*", 0..6),
            action in "[abAB]{1,2}(/[ab]{1,2}){0,3}",
        ) {
            let keys = Keys::new();
            let found = PatternSet::new(&patterns, &keys).find(&Path::action(&action, &keys).unwrap()).is_some();
            prop_assert_eq!(found, patterns.iter().any(|pattern| reference(pattern, &action)));
        }
    }
}
