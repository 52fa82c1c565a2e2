//! Which permission blocks cover an action: asked once for all roles, because many roles share their patterns.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;

use crate::path::{Filter, Keys, Path, hash_of};
use crate::pattern::ActionPattern;
use crate::{Permission, RoleDefinition};

/// The patterns of all roles, each once, with the blocks that have it. Blocks are numbered through, role by role.
#[derive(Debug)]
pub(crate) struct Patterns {
    control: Index,
    data: Index,
}

/// The blocks that cover an action and do not take it back, conditions aside. Lives on the stack.
#[derive(Clone, Copy)]
pub(crate) struct Covering([u64; WORDS]);

#[derive(Debug, Default)]
struct Index {
    /// Hashes of the anchors, sorted; a pattern's action begins with its anchor.
    anchors: Box<[u64]>,
    /// The pattern of each anchor.
    patterns: Box<[Shared]>,
    filter: Filter,
    /// What covers the actions that some role names, by their hashes: most questions are about those.
    named: HashMap<u64, Named, IsHash>,
}

#[derive(Debug)]
struct Named {
    action: Box<str>,
    covering: Box<[u64]>,
}

/// A pattern and the blocks that have it.
#[derive(Debug)]
struct Shared {
    pattern: ActionPattern,
    /// Among their actions, a bit for each.
    grants: Box<[u64]>,
    /// Among their notActions.
    subtracts: Box<[u64]>,
}

impl Patterns {
    pub(crate) fn new(roles: &[RoleDefinition], keys: &Keys) -> Self {
        let blocks: Vec<&Permission> = roles.iter().flat_map(|role| &role.permissions).take(BLOCKS).collect();
        Self {
            control: Index::new(&blocks, keys, |block| (&block.actions, &block.not_actions)),
            data: Index::new(&blocks, keys, |block| (&block.data_actions, &block.not_data_actions)),
        }
    }

    /// The blocks that cover a control action, or a data action.
    pub(crate) fn covering(&self, action: &Path<'_>, data: bool) -> Covering {
        if data { self.data.covering(action) } else { self.control.covering(action) }
    }
}

impl Covering {
    /// Whether one of these blocks is among them; `None` when there are too many roles to tell.
    pub(crate) fn any(&self, blocks: Range<usize>) -> Option<bool> {
        (blocks.end <= BLOCKS).then(|| {
            let is_set = |block: usize| self.0.get(block / 64).is_some_and(|word| word & (1 << (block % 64)) != 0);
            blocks.into_iter().any(is_set)
        })
    }
}

impl Index {
    fn new(blocks: &[&Permission], keys: &Keys, sides: impl Fn(&Permission) -> (&Vec<String>, &Vec<String>)) -> Self {
        let words = blocks.len().div_ceil(64);
        let mut shared: HashMap<String, Shared> = HashMap::new();
        for (block, permission) in blocks.iter().enumerate() {
            let (grants, subtracts) = sides(permission);
            for text in grants {
                set(&mut entry(&mut shared, text, words).grants, block);
            }
            for text in subtracts {
                set(&mut entry(&mut shared, text, words).subtracts, block);
            }
        }
        let mut anchored: Vec<(u64, Shared)> = shared
            .into_values()
            // A pattern whose anchor no action can have matches nothing.
            .filter_map(|shared| Some((hash_of(shared.pattern.anchor(), keys)?, shared)))
            .collect();
        anchored.sort_unstable_by_key(|(anchor, _)| *anchor);
        let (anchors, patterns): (Vec<_>, Vec<_>) = anchored.into_iter().unzip();
        let filter = Filter::new(anchors.iter().copied());
        let mut index = Self { anchors: anchors.into(), patterns: patterns.into(), filter, named: HashMap::default() };
        let texts = index.patterns.iter().map(|shared| shared.pattern.as_str());
        let named = texts.filter_map(|text| {
            let action = Path::action(text, keys)?;
            let covering = index.search(&action).0.get(..words)?.into();
            Some((action.hash(), Named { action: text.into(), covering }))
        });
        index.named = named.collect();
        index
    }

    fn covering(&self, action: &Path<'_>) -> Covering {
        match self.named.get(&action.hash()).filter(|named| named.action.eq_ignore_ascii_case(action.text())) {
            Some(named) => {
                let mut covering = [0; WORDS];
                unite(&mut covering, &named.covering);
                Covering(covering)
            }
            None => self.search(action),
        }
    }

    fn search(&self, action: &Path<'_>) -> Covering {
        let (mut granted, mut subtracted) = ([0; WORDS], [0; WORDS]);
        for prefix in action.prefixes().iter().filter(|prefix| self.filter.may_contain(prefix.hash)) {
            let first = self.anchors.partition_point(|anchor| *anchor < prefix.hash);
            let anchors = self.anchors.get(first..).unwrap_or_default().iter();
            let patterns = self.patterns.get(first..).unwrap_or_default();
            for (_, shared) in anchors.zip(patterns).take_while(|(anchor, _)| **anchor == prefix.hash) {
                if shared.pattern.matches(action.text()) {
                    unite(&mut granted, &shared.grants);
                    unite(&mut subtracted, &shared.subtracts);
                }
            }
        }
        granted.iter_mut().zip(subtracted).for_each(|(granted, subtracted)| *granted &= !subtracted);
        Covering(granted)
    }
}

/// The hasher of keys that are hashes already.
#[derive(Debug, Clone, Default)]
struct IsHash(u64);

impl BuildHasher for IsHash {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self::default()
    }
}

impl Hasher for IsHash {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn entry<'a>(shared: &'a mut HashMap<String, Shared>, text: &str, words: usize) -> &'a mut Shared {
    shared.entry(text.to_ascii_lowercase()).or_insert_with(|| Shared {
        pattern: ActionPattern::new(text),
        grants: vec![0; words].into(),
        subtracts: vec![0; words].into(),
    })
}

fn set(words: &mut [u64], bit: usize) {
    if let Some(word) = words.get_mut(bit / 64) {
        *word |= 1 << (bit % 64);
    }
}

fn unite(to: &mut [u64], from: &[u64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to |= from);
}

/// Blocks that are told apart here; those of further roles are asked one by one. Built-in roles have about a hundred.
const BLOCKS: usize = WORDS * 64;

const WORDS: usize = 32;
