//! Who was given what, and where: found by scope and principal together for decisions, by scope alone for the rest.
//!
//! A copy shares everything with its original. A change of the copy copies one part in [`PARTS`], so that granting or
//! revoking takes the same short time however much there is.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::compiled::Assignment;
use crate::path::{Filter, Keys, Path};

/// Assignments by scope and principal: the hot path of every decision.
#[derive(Debug, Clone)]
pub(crate) struct Grants {
    parts: Box<[Arc<Part>]>,
}

#[derive(Debug, Default)]
struct Part {
    /// The keys that are here, so that most questions end in the cache.
    filter: Filter,
    /// Where a key's assignments are, at the key's place or behind. A power of two, at most half full.
    slots: Box<[Slot]>,
    /// The role of each assignment, by position.
    roles: Box<[u32]>,
    /// Sorted by key.
    assignments: Box<[Arc<Assignment>]>,
}

/// The assignments of one key; of none when the count is 0.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    key: u64,
    first: u32,
    count: u32,
}

impl Grants {
    /// What is under a key: the position of the role, and the assignment. Keys are hashes, so whoever wants to be sure
    /// looks at the assignment.
    pub(crate) fn at(&self, key: u64) -> impl Iterator<Item = (u32, &Assignment)> {
        let part = self.parts.get(part_of(key));
        let found = part.and_then(|part| part.slot(key).map(|slot| part.under(slot)));
        let (roles, assignments) = found.unwrap_or_default();
        roles.iter().copied().zip(assignments.iter().map(AsRef::as_ref))
    }

    /// Takes out the assignments with these keys and names, and puts others in.
    pub(crate) fn change(&mut self, removed: &[(u64, Uuid)], added: &[Arc<Assignment>]) {
        let mut edits: HashMap<usize, (Vec<Uuid>, Vec<Arc<Assignment>>)> = HashMap::new();
        for (key, name) in removed {
            edits.entry(part_of(*key)).or_default().0.push(*name);
        }
        for new in added {
            edits.entry(part_of(new.key)).or_default().1.push(Arc::clone(new));
        }
        for (part, (removed, added)) in edits {
            if let Some(part) = self.parts.get_mut(part) {
                *part = Arc::new(part.edited(&removed, added));
            }
        }
    }
}

impl Default for Grants {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| Arc::default()).collect() }
    }
}

impl Part {
    fn slot(&self, key: u64) -> Option<Slot> {
        if !self.filter.may_contain(key) {
            return None;
        }
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = index(key) & mask;
        loop {
            let slot = self.slots.get(at).copied().filter(|slot| slot.count != 0)?;
            if slot.key == key {
                return Some(slot);
            }
            at = (at + 1) & mask;
        }
    }

    fn under(&self, slot: Slot) -> (&[u32], &[Arc<Assignment>]) {
        let first = index(u64::from(slot.first));
        let range = first..first + index(u64::from(slot.count));
        (self.roles.get(range.clone()).unwrap_or_default(), self.assignments.get(range).unwrap_or_default())
    }

    fn edited(&self, removed: &[Uuid], added: Vec<Arc<Assignment>>) -> Self {
        let kept = self.assignments.iter().filter(|held| !removed.contains(&held.name));
        let mut all: Vec<_> = kept.cloned().chain(added).collect();
        all.sort_unstable_by_key(|held| (held.key, held.name));
        let mut runs: Vec<Slot> = Vec::new();
        for (position, held) in (0..).zip(&all) {
            match runs.last_mut() {
                Some(run) if run.key == held.key => run.count += 1,
                _ => runs.push(Slot { key: held.key, first: position, count: 1 }),
            }
        }
        Self {
            filter: Filter::new(runs.iter().map(|run| run.key)),
            slots: slots(&runs),
            roles: all.iter().map(|held| held.role).collect(),
            assignments: all.into(),
        }
    }
}

fn slots(runs: &[Slot]) -> Box<[Slot]> {
    let mut slots = vec![Slot::default(); (runs.len() * 2).next_power_of_two()];
    let mask = slots.len() - 1;
    for run in runs {
        let mut at = index(run.key) & mask;
        // There is a free one: half of them are.
        while slots.get(at).is_some_and(|slot| slot.count != 0) {
            at = (at + 1) & mask;
        }
        if let Some(slot) = slots.get_mut(at) {
            *slot = *run;
        }
    }
    slots.into()
}

/// Assignments by scope.
#[derive(Debug, Clone)]
pub(crate) struct Scopes {
    parts: Box<[Arc<ByText>]>,
}

/// What is assigned at some of the scopes, by their text. A change copies one of these.
type ByText = HashMap<Box<str>, Arc<[Arc<Assignment>]>>;

impl Scopes {
    /// Everything assigned at the scope with that text and hash.
    pub(crate) fn at(&self, scope: &str, hash: u64) -> impl Iterator<Item = &Assignment> {
        let part = self.parts.get(part_of(hash));
        let found = part.and_then(|part| match part.get(scope) {
            Some(found) => Some(found),
            None => part.get(scope.to_ascii_lowercase().as_str()),
        });
        found.into_iter().flat_map(|found| found.iter().map(AsRef::as_ref))
    }

    /// Changes what is at the scope with that lower-cased text and hash.
    pub(crate) fn change(&mut self, scope: &str, hash: u64, removed: &[Uuid], added: &[Arc<Assignment>]) {
        let Some(part) = self.parts.get_mut(part_of(hash)) else { return };
        let part = Arc::make_mut(part);
        let old = part.get(scope).into_iter().flat_map(|held| held.iter());
        let kept = old.filter(|held| !removed.contains(&held.name));
        let all: Arc<[_]> = kept.chain(added).cloned().collect();
        if all.is_empty() {
            part.remove(scope);
        } else {
            part.insert(scope.into(), all);
        }
    }
}

impl Default for Scopes {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| Arc::default()).collect() }
    }
}

/// Projects and their hubs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Projects {
    hubs: HashMap<Box<str>, Hub>,
    filter: Filter,
}

/// The hub of a project, with the hash of its path.
#[derive(Debug, Clone)]
pub(crate) struct Hub {
    pub(crate) scope: Box<str>,
    pub(crate) hash: u64,
}

impl Projects {
    /// The hub of the project that a path is in, or is.
    pub(crate) fn hub_of(&self, path: &Path<'_>) -> Option<&Hub> {
        let may_be = path.prefixes().iter().filter(|prefix| self.filter.may_contain(prefix.hash));
        may_be.map(|prefix| path.prefix_text(*prefix)).find_map(|text| match self.hubs.get(text) {
            Some(hub) => Some(hub),
            // Questions come in lower case; only those that do not pay for it.
            None if text.bytes().any(|byte| byte.is_ascii_uppercase()) => self.hubs.get(&*text.to_ascii_lowercase()),
            None => None,
        })
    }

    /// Says which hub the project with that lower-cased id and hash has.
    pub(crate) fn set(&mut self, project: &str, hash: u64, hub: Option<&str>, keys: &Keys) {
        let hub = hub.and_then(|hub| {
            let hub = hub.to_ascii_lowercase();
            let hash = Path::scope(&hub, keys)?.hash();
            Some(Hub { scope: hub.into(), hash })
        });
        match hub {
            Some(hub) => {
                self.hubs.insert(project.into(), hub);
                self.filter.insert(hash);
            }
            None => {
                self.hubs.remove(project);
            }
        }
    }
}

fn part_of(hash: u64) -> usize {
    index(hash >> 40) % PARTS
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits are all that is wanted")]
fn index(hash: u64) -> usize {
    hash as usize
}

/// How finely changes are copied.
const PARTS: usize = 256;
