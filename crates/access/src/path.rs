use std::hash::{BuildHasher, RandomState};

use uuid::Uuid;

/// A slash-separated name (a scope or an action) with one hash for each of its segment-wise prefixes.
///
/// The hashes ignore ASCII case and live on the stack, so that a decision can look up "this scope and every ancestor"
/// without building a string. They only narrow a search: whoever finds a hash compares the text as well.
pub(crate) struct Path<'a> {
    text: &'a str,
    prefixes: [Prefix; MAX_SEGMENTS + 1],
    length: usize,
}

/// One prefix of a [`Path`]: the first `end` bytes of its text.
#[derive(Clone, Copy, Default)]
pub(crate) struct Prefix {
    pub(crate) hash: u64,
    end: usize,
}

impl<'a> Path<'a> {
    /// Reads an ARM id. `None` when it is not one.
    pub(crate) fn scope(id: &'a str, keys: &Keys) -> Option<Self> {
        match id {
            "/" => Self::new("", 0, keys),
            id if id.starts_with('/') => Self::new(id, 1, keys),
            _ => None,
        }
    }

    /// Reads an action. `None` when it has an empty segment or a wildcard.
    pub(crate) fn action(name: &'a str, keys: &Keys) -> Option<Self> {
        if name.is_empty() || name.contains('*') { None } else { Self::new(name, 0, keys) }
    }

    /// The whole text; empty for the root scope.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Every prefix, from the empty one to the whole text.
    pub(crate) fn prefixes(&self) -> &[Prefix] {
        self.prefixes.get(..self.length).unwrap_or_default()
    }

    /// Forgets the prefixes that nobody will ask about.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(u64) -> bool) {
        let mut kept = 0;
        for at in 0..self.length {
            let Some(prefix) = self.prefixes.get(at).copied().filter(|prefix| keep(prefix.hash)) else { continue };
            if let Some(slot) = self.prefixes.get_mut(kept) {
                *slot = prefix;
                kept += 1;
            }
        }
        self.length = kept;
    }

    /// The text of one of this path's prefixes.
    pub(crate) fn prefix_text(&self, prefix: Prefix) -> &'a str {
        self.text.get(..prefix.end).unwrap_or_default()
    }

    /// The hash of the whole text.
    pub(crate) fn hash(&self) -> u64 {
        self.prefixes().last().map_or(0, |prefix| prefix.hash)
    }

    /// Splits a text into segments, of which the first one starts at `start`.
    fn new(text: &'a str, start: usize, keys: &Keys) -> Option<Self> {
        let mut path = Self { text, prefixes: [Prefix::default(); MAX_SEGMENTS + 1], length: 0 };
        let mut hash = keys.seed;
        path.push(Prefix { hash, end: 0 })?;
        if text.is_empty() {
            return Some(path);
        }
        let mut rest = text.as_bytes().get(start..)?;
        loop {
            let length = slash(rest).unwrap_or(rest.len());
            let (segment, following) = rest.split_at_checked(length)?;
            if matches!(segment, b"" | b"." | b"..") {
                return None;
            }
            hash = keys.extend(hash, segment);
            path.push(Prefix { hash, end: text.len() - following.len() })?;
            match following.split_first() {
                Some((_, after)) => rest = after,
                None => return Some(path),
            }
        }
    }

    fn push(&mut self, prefix: Prefix) -> Option<()> {
        *self.prefixes.get_mut(self.length)? = prefix;
        self.length += 1;
        Some(())
    }
}

/// The hash of an action or of one's beginning. `None` when no action begins so.
pub(crate) fn hash_of(text: &str, keys: &Keys) -> Option<u64> {
    Path::new(text, 0, keys).map(|path| path.hash())
}

/// The secret numbers of one snapshot's hashes.
///
/// A multiplicative hash, eight bytes a step: several times faster on ids than the standard one, whose strength is not
/// needed, because every hit is compared as text. The numbers are random, so that nobody can prepare names that collide.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    seed: u64,
    factor: u64,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let random = RandomState::new();
        Self { seed: random.hash_one(0), factor: random.hash_one(1) | 1 }
    }

    /// The hash of a principal's id.
    pub(crate) fn of_principal(&self, principal: Uuid) -> u64 {
        let (high, low) = principal.as_u64_pair();
        self.mix(self.mix(self.seed, high), low)
    }

    /// The hash of a scope and a principal together.
    pub(crate) fn join(&self, scope: u64, principal: u64) -> u64 {
        self.mix(scope, principal)
    }

    /// The hash of what `hash` stands for, followed by a segment in any ASCII case.
    fn extend(&self, hash: u64, segment: &[u8]) -> u64 {
        let (words, tail) = segment.as_chunks::<8>();
        let hash = words.iter().fold(hash, |hash, word| self.mix(hash, lower(u64::from_le_bytes(*word))));
        let last = tail.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        self.mix(hash ^ segment.len() as u64, lower(last))
    }

    fn mix(&self, hash: u64, word: u64) -> u64 {
        let (low, high) = (hash ^ word).carrying_mul(self.factor, word);
        low ^ high
    }
}

/// A set of hashes that may hold a few more than were put in, and is small enough to stay in the cache.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    /// A power of two.
    words: Box<[u64]>,
}

impl Filter {
    /// About one hash in sixteen that was not put in is found all the same.
    pub(crate) fn new(hashes: impl ExactSizeIterator<Item = u64>) -> Self {
        let mut filter = Self { words: vec![0; (hashes.len() / 4).next_power_of_two()].into() };
        for hash in hashes {
            filter.insert(hash);
        }
        filter
    }

    /// Takes one more in. With many more than it was made for, it finds more that were not put in.
    pub(crate) fn insert(&mut self, hash: u64) {
        let mask = self.words.len() - 1;
        if let Some(word) = self.words.get_mut(index(hash) & mask) {
            *word |= bit(hash);
        }
    }

    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        self.words.get(index(hash) & (self.words.len() - 1)).is_some_and(|word| word & bit(hash) != 0)
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self::new([].into_iter())
    }
}

/// One of 64 bits for a hash.
pub(crate) fn bit(hash: u64) -> u64 {
    1 << (hash >> 58)
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits are all that is wanted")]
fn index(hash: u64) -> usize {
    hash as usize
}

/// Where the first slash is. Eight bytes at a time.
fn slash(bytes: &[u8]) -> Option<usize> {
    let (words, tail) = bytes.as_chunks::<8>();
    for (position, word) in words.iter().enumerate() {
        let differ = u64::from_le_bytes(*word) ^ (ONES * u64::from(b'/'));
        // The lowest high bit set marks the first byte that is zero; higher ones may be false.
        let zero = differ.wrapping_sub(ONES) & !differ & HIGHS;
        if zero != 0 {
            return Some(position * 8 + zero.trailing_zeros() as usize / 8);
        }
    }
    tail.iter().position(|byte| *byte == b'/').map(|position| words.len() * 8 + position)
}

/// Eight bytes with their ASCII letters lower-cased.
fn lower(word: u64) -> u64 {
    let low_bits = word & !HIGHS;
    let at_least_a = low_bits + ONES * u64::from(0x80 - b'A');
    let beyond_z = low_bits + ONES * u64::from(0x7F - b'Z');
    let upper = !word & at_least_a & !beyond_z & HIGHS;
    word | upper >> 2
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// As many segments as the front door lets into a path.
pub(crate) const MAX_SEGMENTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(path: &Path<'_>) -> Vec<String> {
        path.prefixes().iter().map(|prefix| path.prefix_text(*prefix).to_owned()).collect()
    }

    #[test]
    fn scope_has_every_ancestor_as_prefix() {
        let keys = Keys::new();
        let path = Path::scope("/a/bc/d", &keys).unwrap();
        assert_eq!(texts(&path), ["", "/a", "/a/bc", "/a/bc/d"]);
        assert_eq!(texts(&Path::scope("/", &keys).unwrap()), [""]);
    }

    #[test]
    fn prefix_hashes_ignore_ascii_case_and_nothing_else() {
        let keys = Keys::new();
        let hash = |id| Path::scope(id, &keys).unwrap().hash();
        assert_eq!(hash("/Subscriptions/S"), hash("/subscriptions/s"));
        // The Kelvin sign folds to "k" in Unicode; an id is folded in ASCII only.
        assert_ne!(hash("/a/\u{212a}"), hash("/a/k"));
        assert_ne!(hash("/ab/c"), hash("/a/bc"));
        assert_eq!(Path::scope("/a/b/c", &keys).unwrap().prefixes()[2].hash, hash("/A/B"));
    }

    #[test]
    fn a_filter_holds_what_was_put_in_and_little_else() {
        let keys = Keys::new();
        let hash = |number: u32| hash_of(&number.to_string(), &keys).unwrap();
        let filter = Filter::new((0..1000).map(hash));
        assert!((0..1000).all(|number| filter.may_contain(hash(number))));
        let wrong = (1000..11_000).filter(|number| filter.may_contain(hash(*number))).count();
        assert!(wrong < 1500, "{wrong} of 10,000");
        assert!(!Filter::new([].into_iter()).may_contain(7));
    }

    #[test]
    fn every_byte_is_lowered_like_ascii() {
        for byte in 0..=u8::MAX {
            let word = u64::from_le_bytes([b'x', byte, b'Z', byte, 0xFF, byte, b'A', byte]);
            let expected = word.to_le_bytes().map(|byte| byte.to_ascii_lowercase());
            assert_eq!(lower(word).to_le_bytes(), expected, "{byte:#x}");
        }
    }

    #[test]
    fn the_first_slash_is_found_wherever_it_is() {
        for length in 0..40 {
            let mut bytes = vec![b'0'; length];
            assert_eq!(slash(&bytes), None);
            for at in (0..length).rev() {
                bytes[at] = b'/';
                assert_eq!(slash(&bytes), Some(at), "{length}");
            }
        }
    }

    #[test]
    fn malformed_scopes_and_actions_are_refused() {
        let keys = Keys::new();
        for scope in ["", "a", "//", "/a/", "/a//b", "/a/../b", "/a/."] {
            assert!(Path::scope(scope, &keys).is_none(), "{scope:?}");
        }
        for action in ["", "/", "a/", "/a", "a//b", "*", "a/*/read"] {
            assert!(Path::action(action, &keys).is_none(), "{action:?}");
        }
        assert!(Path::scope(&"/x".repeat(64), &keys).is_some());
        assert!(Path::scope(&"/x".repeat(65), &keys).is_none());
    }
}
