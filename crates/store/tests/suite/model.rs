//! Any sequence of writes does what it does to a few maps in memory.

use std::collections::BTreeMap;

use bastide_store::{Change, CommitError, Expectation, ResourceQuery, Store, Write};
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use crate::support::{DISK, Database, at, put, record, records};

pub(crate) async fn expectations_and_changes_follow_the_model(database: &Database) {
    let store = database.open().await;
    let mut runner = TestRunner::default();
    let sequences = prop::collection::vec(step(), 1..12);
    for _ in 0..64 {
        let steps = sequences.new_tree(&mut runner).unwrap().current();
        let mut model = Model::empty(&store).await;
        for (number, step) in steps.iter().enumerate() {
            let write = model.write(step);
            let context = || format!("step {number} of {steps:#?}");
            match (store.commit(write.clone()).await, model.commit(&write)) {
                (Ok(committed), Ok(revision)) => assert_eq!(committed.revision, revision, "{}", context()),
                (Err(CommitError::Conflict(found)), Err(expected)) => assert_eq!(found, expected, "{}", context()),
                (found, expected) => panic!("{found:?} instead of {expected:?} at {}", context()),
            }
            model.assert_matches(&store, &context()).await;
        }
    }
}

/// Writes that wait together are done together, in few statements, and must not tell.
pub(crate) async fn writes_done_together_follow_the_model_as_well(database: &Database) {
    let store = database.open().await;
    let mut runner = TestRunner::default();
    let sequences = prop::collection::vec(step(), 2..24);
    for _ in 0..64 {
        let steps = sequences.new_tree(&mut runner).unwrap().current();
        let mut model = Model::empty(&store).await;
        let (writes, expected): (Vec<_>, Vec<_>) = steps
            .iter()
            .map(|step| {
                let write = model.write(step);
                let outcome = model.commit(&write);
                (write, outcome)
            })
            .unzip();
        let outcomes = join_all(writes.into_iter().map(|write| store.commit(write))).await;
        for (number, (outcome, expected)) in outcomes.into_iter().zip(expected).enumerate() {
            match (outcome, expected) {
                (Ok(committed), Ok(revision)) => {
                    assert_eq!(committed.revision, revision, "step {number} of {steps:#?}");
                }
                (Err(CommitError::Conflict(found)), Err(expected)) => {
                    assert_eq!(found, expected, "step {number} of {steps:#?}");
                }
                (found, expected) => panic!("{found:?} instead of {expected:?} at step {number} of {steps:#?}"),
            }
        }
        model.assert_matches(&store, &format!("{steps:#?}")).await;
    }
}

/// What a client might try, with small numbers so that it often meets something.
#[derive(Debug, Clone)]
struct Step {
    expect: Vec<(Guess, usize)>,
    change: Vec<(Deed, usize)>,
}

#[derive(Debug, Clone, Copy)]
enum Guess {
    Absent,
    Present,
    Revision { stale: bool },
    Incarnation { other: bool },
    NoneBelow,
    CountBelow(i64),
    RecordAbsent,
    RecordRevision { stale: bool },
    Epoch { stale: bool },
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Put,
    Usurp,
    Delete,
    DeleteBelow,
    PutRecord,
    DeleteRecord,
    RaiseEpoch,
}

fn step() -> impl Strategy<Value = Step> {
    let guess = prop_oneof![
        Just(Guess::Absent),
        Just(Guess::Present),
        any::<bool>().prop_map(|stale| Guess::Revision { stale }),
        any::<bool>().prop_map(|other| Guess::Incarnation { other }),
        Just(Guess::NoneBelow),
        (0..3_i64).prop_map(Guess::CountBelow),
        Just(Guess::RecordAbsent),
        any::<bool>().prop_map(|stale| Guess::RecordRevision { stale }),
        any::<bool>().prop_map(|stale| Guess::Epoch { stale }),
    ];
    let deed = prop_oneof![
        4 => Just(Deed::Put),
        1 => Just(Deed::Usurp),
        1 => Just(Deed::Delete),
        1 => Just(Deed::DeleteBelow),
        2 => Just(Deed::PutRecord),
        1 => Just(Deed::DeleteRecord),
        1 => Just(Deed::RaiseEpoch),
    ];
    let place = 0..KEYS.len();
    (prop::collection::vec((guess, place.clone()), 0..2), prop::collection::vec((deed, place), 0..4))
        .prop_map(|(expect, change)| Step { expect, change })
}

#[derive(Debug, Clone, PartialEq)]
struct Model {
    revision: i64,
    epoch: i64,
    resources: BTreeMap<String, (Uuid, i64)>,
    records: BTreeMap<String, i64>,
}

impl Model {
    /// Empties the store and begins there.
    async fn empty(store: &Store) -> Self {
        let delete = KEYS.map(|key| Change::DeleteRecord { kind: KIND.into(), key: key.into() });
        let changes = [Change::DeleteBelow("/".into())].into_iter().chain(delete).collect();
        let revision = store.commit(Write { changes, ..Write::new(at(0)) }).await.unwrap().revision;
        let epoch = store.access_epoch().await.unwrap();
        Self { revision, epoch, resources: BTreeMap::new(), records: BTreeMap::new() }
    }

    /// The write of a step, with what a client would know by now.
    fn write(&self, step: &Step) -> Write {
        let expect = step.expect.iter().map(|(guess, place)| self.expectation(*guess, KEYS[*place])).collect();
        let changes = step.change.iter().map(|(deed, place)| change(*deed, KEYS[*place])).collect();
        Write { expect, changes, ..Write::new(at(0)) }
    }

    fn expectation(&self, guess: Guess, key: &str) -> Expectation {
        let (incarnation, revision) = self.resources.get(key).copied().unwrap_or_default();
        let key = key.to_owned();
        match guess {
            Guess::Absent => Expectation::ResourceAbsent(key),
            Guess::Present => Expectation::ResourcePresent(key),
            Guess::Revision { stale } => Expectation::ResourceRevision { key, revision: revision - i64::from(stale) },
            Guess::Incarnation { other } => {
                let incarnation = if other { Uuid::from_u128(99) } else { incarnation };
                Expectation::ResourceIncarnation { key, incarnation }
            }
            Guess::NoneBelow => Expectation::NoneBelow(format!("{key}/")),
            Guess::CountBelow(count) => Expectation::CountBelow { prefix: format!("{key}/"), count },
            Guess::RecordAbsent => Expectation::RecordAbsent { kind: KIND.into(), key },
            Guess::RecordRevision { stale } => {
                let revision = self.records.get(&key).copied().unwrap_or_default() - i64::from(stale);
                Expectation::RecordRevision { kind: KIND.into(), key, revision }
            }
            Guess::Epoch { stale } => Expectation::AccessEpoch(self.epoch - i64::from(stale)),
        }
    }

    fn commit(&mut self, write: &Write) -> Result<i64, Expectation> {
        if let Some(failed) = write.expect.iter().find(|expectation| !self.holds(expectation)) {
            return Err(failed.clone());
        }
        let mut next = self.clone();
        next.revision += 1;
        for change in &write.changes {
            next.make(change)?;
        }
        *self = next;
        Ok(self.revision)
    }

    fn holds(&self, expectation: &Expectation) -> bool {
        match expectation {
            Expectation::ResourceAbsent(key) => !self.resources.contains_key(key),
            Expectation::ResourcePresent(key) => self.resources.contains_key(key),
            Expectation::ResourceRevision { key, revision } => {
                self.resources.get(key).is_some_and(|it| it.1 == *revision)
            }
            Expectation::ResourceIncarnation { key, incarnation } => {
                self.resources.get(key).is_some_and(|it| it.0 == *incarnation)
            }
            Expectation::CountBelow { prefix, count } => {
                usize::try_from(*count) == Ok(self.resources.keys().filter(|key| key.starts_with(prefix)).count())
            }
            Expectation::NoneBelow(prefix) => !self.resources.keys().any(|key| key.starts_with(prefix)),
            Expectation::RecordAbsent { key, .. } => !self.records.contains_key(key),
            Expectation::RecordRevision { key, revision, .. } => self.records.get(key) == Some(revision),
            Expectation::AccessEpoch(epoch) => self.epoch == *epoch,
            Expectation::OperationStatus { .. } => unreachable!("not part of the model"),
        }
    }

    fn make(&mut self, change: &Change) -> Result<(), Expectation> {
        match change {
            Change::PutResource(put) => {
                let key = put.id.to_ascii_lowercase();
                let stored = self.resources.entry(key.clone()).or_insert((put.incarnation, 0));
                if stored.0 != put.incarnation {
                    return Err(Expectation::ResourceIncarnation { key, incarnation: put.incarnation });
                }
                stored.1 = self.revision;
            }
            Change::DeleteResource(key) => drop(self.resources.remove(key)),
            Change::DeleteBelow(prefix) => self.resources.retain(|key, _| !key.starts_with(prefix)),
            Change::PutRecord { key, .. } => drop(self.records.insert(key.clone(), self.revision)),
            Change::DeleteRecord { key, .. } => drop(self.records.remove(key)),
            Change::RaiseAccessEpoch => self.epoch += 1,
            other => unreachable!("{other:?} is not part of the model"),
        }
        Ok(())
    }

    async fn assert_matches(&self, store: &Store, context: &str) {
        let resources = store.resources(&ResourceQuery::default()).await.unwrap();
        let resources: BTreeMap<_, _> =
            resources.into_iter().map(|it| (it.key, (it.incarnation, it.revision))).collect();
        assert_eq!(resources, self.resources, "{context}");
        let records: BTreeMap<_, _> = records(store, KIND).await.into_iter().map(|it| (it.key, it.revision)).collect();
        assert_eq!(records, self.records, "{context}");
        assert_eq!(store.access_epoch().await.unwrap(), self.epoch, "{context}");
    }
}

fn change(deed: Deed, key: &str) -> Change {
    match deed {
        Deed::Put => Change::PutResource(put(key, DISK, 0)),
        Deed::Usurp => {
            Change::PutResource(bastide_store::ResourcePut { incarnation: Uuid::from_u128(99), ..put(key, DISK, 0) })
        }
        Deed::Delete => Change::DeleteResource(key.into()),
        Deed::DeleteBelow => Change::DeleteBelow(format!("{key}/")),
        Deed::PutRecord => record(KIND, key, None, 0),
        Deed::DeleteRecord => Change::DeleteRecord { kind: KIND.into(), key: key.into() },
        Deed::RaiseEpoch => Change::RaiseAccessEpoch,
    }
}

const KEYS: [&str; 4] = ["/a", "/a/b", "/a/b/c", "/ab"];
const KIND: &str = "model";
