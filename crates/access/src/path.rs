use std::hash::{BuildHasher, Hasher, RandomState};

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
    pub(crate) fn scope(id: &'a str, keys: &RandomState) -> Option<Self> {
        if id == "/" {
            return Self::new("", keys);
        }
        let segments = id.strip_prefix('/')?;
        segments.split('/').all(|segment| !matches!(segment, "" | "." | "..")).then_some(())?;
        Self::new(id, keys)
    }

    /// Reads an action. `None` when it has an empty segment or a wildcard.
    pub(crate) fn action(name: &'a str, keys: &RandomState) -> Option<Self> {
        name.split('/').all(|segment| !segment.is_empty()).then_some(())?;
        (!name.contains('*')).then_some(())?;
        Self::new(name, keys)
    }

    /// The whole text; empty for the root scope.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Every prefix, from the empty one to the whole text.
    pub(crate) fn prefixes(&self) -> &[Prefix] {
        self.prefixes.get(..self.length).unwrap_or_default()
    }

    /// The text of one of this path's prefixes.
    pub(crate) fn prefix_text(&self, prefix: Prefix) -> &'a str {
        self.text.get(..prefix.end).unwrap_or_default()
    }

    /// The hash of the whole text.
    pub(crate) fn hash(&self) -> u64 {
        self.prefixes().last().map_or(0, |prefix| prefix.hash)
    }

    fn new(text: &'a str, keys: &RandomState) -> Option<Self> {
        let mut path = Self { text, prefixes: [Prefix::default(); MAX_SEGMENTS + 1], length: 0 };
        let mut hasher = keys.build_hasher();
        path.push(Prefix { hash: hasher.finish(), end: 0 })?;
        let mut end = 0;
        while end < text.len() {
            let rest = text.as_bytes().get(end..)?;
            // A segment is hashed together with the slash before it, so that prefixes stay apart.
            let length = rest.iter().skip(1).position(|&byte| byte == b'/').map_or(rest.len(), |at| at + 1);
            hash_folded(rest.get(..length)?, &mut hasher);
            end += length;
            path.push(Prefix { hash: hasher.finish(), end })?;
        }
        Some(path)
    }

    fn push(&mut self, prefix: Prefix) -> Option<()> {
        *self.prefixes.get_mut(self.length)? = prefix;
        self.length += 1;
        Some(())
    }
}

/// The hash that a [`Path`] with this text would have; also for texts that are no path, such as a pattern's anchor.
pub(crate) fn hash_of(text: &str, keys: &RandomState) -> Option<u64> {
    Path::new(text, keys).map(|path| path.hash())
}

fn hash_folded(bytes: &[u8], hasher: &mut impl Hasher) {
    let mut buffer = [0; 64];
    for chunk in bytes.chunks(buffer.len()) {
        for (folded, byte) in buffer.iter_mut().zip(chunk) {
            *folded = byte.to_ascii_lowercase();
        }
        hasher.write(buffer.get(..chunk.len()).unwrap_or_default());
    }
}

/// As many segments as the front door lets into a path.
const MAX_SEGMENTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(path: &Path<'_>) -> Vec<String> {
        path.prefixes().iter().map(|prefix| path.prefix_text(*prefix).to_owned()).collect()
    }

    #[test]
    fn scope_has_every_ancestor_as_prefix() {
        let keys = RandomState::new();
        let path = Path::scope("/a/bc/d", &keys).unwrap();
        assert_eq!(texts(&path), ["", "/a", "/a/bc", "/a/bc/d"]);
        assert_eq!(texts(&Path::scope("/", &keys).unwrap()), [""]);
    }

    #[test]
    fn prefix_hashes_ignore_ascii_case_and_nothing_else() {
        let keys = RandomState::new();
        let hash = |id| Path::scope(id, &keys).unwrap().hash();
        assert_eq!(hash("/Subscriptions/S"), hash("/subscriptions/s"));
        // The Kelvin sign folds to "k" in Unicode; an id is folded in ASCII only.
        assert_ne!(hash("/a/\u{212a}"), hash("/a/k"));
        assert_ne!(hash("/ab/c"), hash("/a/bc"));
        assert_eq!(Path::scope("/a/b/c", &keys).unwrap().prefixes()[2].hash, hash("/A/B"));
    }

    #[test]
    fn malformed_scopes_and_actions_are_refused() {
        let keys = RandomState::new();
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
