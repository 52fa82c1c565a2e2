//! What writes expect, asked of the database in one statement and judged in memory.

use jiff::Timestamp;

use crate::engine::{Connection, Row, Statement};
use crate::error::StoreError;
use crate::meta::Meta;
use crate::resource::push_below;
use crate::write::{Expectation, Write};

/// What there is where an expectation points.
#[derive(Debug)]
pub(super) struct Found {
    /// The revision, or how many there are.
    number: i64,
    /// The incarnation of a resource, the status of an operation.
    text: String,
}

/// Looks at everything the writes expect; one answer for each expectation, in their order.
pub(super) async fn look(connection: &mut dyn Connection, writes: &[&Write]) -> Result<Vec<Option<Found>>, StoreError> {
    let expectations: Vec<_> =
        writes.iter().flat_map(|write| write.expect.iter().map(|expectation| (expectation, write.at))).collect();
    let mut answers: Vec<Option<Found>> = expectations.iter().map(|_| None).collect();
    for (expectations, answers) in expectations.chunks(QUESTIONS).zip(answers.chunks_mut(QUESTIONS)) {
        let mut statement = Statement::new("");
        for (number, (expectation, at)) in (0i64..).zip(expectations) {
            ask(&mut statement, number, expectation, *at);
        }
        if statement.arguments.is_empty() {
            continue;
        }
        for mut row in connection.fetch(statement).await? {
            let number = usize::try_from(row.integer()?).ok();
            if let Some(answer) = number.and_then(|number| answers.get_mut(number)) {
                *answer = Some(Found::from_row(row)?);
            }
        }
    }
    Ok(answers)
}

/// Whether an expectation holds, given what was found for it.
pub(super) fn holds(expectation: &Expectation, found: Option<&Found>, meta: &Meta) -> bool {
    let number = || found.map(|found| found.number);
    let text = || found.map(|found| found.text.as_str());
    match expectation {
        Expectation::AccessEpoch(epoch) => meta.access_epoch == *epoch,
        Expectation::ResourceAbsent(_) | Expectation::NoneBelow(_) | Expectation::RecordAbsent { .. } => {
            found.is_none()
        }
        Expectation::ResourcePresent(_) => found.is_some(),
        Expectation::ResourceRevision { revision, .. } | Expectation::RecordRevision { revision, .. } => {
            number() == Some(*revision)
        }
        Expectation::CountBelow { count, .. } => number() == Some(*count),
        Expectation::ResourceIncarnation { incarnation, .. } => text() == Some(incarnation.to_string().as_str()),
        Expectation::OperationStatus { status, .. } => text() == Some(status),
    }
}

impl Found {
    fn from_row(mut row: Row) -> Result<Self, StoreError> {
        Ok(Self { number: row.integer()?, text: row.text()? })
    }
}

/// Adds one question. Few different texts, so that the engines find the whole statement among those they know.
fn ask(statement: &mut Statement, number: i64, expectation: &Expectation, at: Timestamp) {
    if matches!(expectation, Expectation::AccessEpoch(_)) {
        return;
    }
    statement.push_bind(if statement.arguments.is_empty() { "SELECT " } else { " UNION ALL SELECT " }, number);
    match expectation {
        Expectation::AccessEpoch(_) => {}
        Expectation::ResourceAbsent(key)
        | Expectation::ResourcePresent(key)
        | Expectation::ResourceRevision { key, .. }
        | Expectation::ResourceIncarnation { key, .. } => {
            statement.push_bind(", revision, incarnation FROM resources WHERE key = ", key.as_str());
        }
        Expectation::NoneBelow(prefix) => {
            statement.push(", 1, '' FROM (SELECT 1 FROM resources WHERE ");
            push_below(statement, "key >= ", " AND key < ", prefix);
            statement.push(" LIMIT 1) AS below");
        }
        Expectation::CountBelow { prefix, .. } => {
            statement.push(", COUNT(*), '' FROM resources WHERE ");
            push_below(statement, "key >= ", " AND key < ", prefix);
        }
        Expectation::RecordAbsent { kind, key } | Expectation::RecordRevision { kind, key, .. } => {
            statement.push_bind(", revision, '' FROM records WHERE kind = ", kind.as_str());
            statement.push_bind(" AND key = ", key.as_str());
            statement.push_bind(" AND (expires IS NULL OR expires > ", at);
            statement.push(")");
        }
        Expectation::OperationStatus { id, .. } => {
            statement.push_bind(", 0, status FROM operations WHERE id = ", *id);
        }
    }
}

/// How many questions one statement asks; SQLite joins up to 500.
const QUESTIONS: usize = 64;
