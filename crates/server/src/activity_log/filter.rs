//! `$filter` of the activity log: times, and one or more of group, resource, provider, correlation id, caller, status.

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_store::AuditEntry;
use jiff::{SignedDuration, Timestamp};

use super::event::{CHANNEL, Phase};
use super::text;
use crate::authorization::terms;
use crate::request::Request;

/// A filter, read.
pub(super) struct Filter {
    /// Not before.
    pub(super) from: Timestamp,
    /// Not after.
    pub(super) to: Timestamp,
    equalities: Vec<(&'static str, String)>,
}

impl Filter {
    pub(super) fn read(request: &Request<'_>) -> Result<Self, ArmError> {
        let given = request.context.query_value("$filter").unwrap_or_default();
        if given.trim().is_empty() {
            let message = "Events need a $filter, at least: eventTimestamp ge '2026-01-31T00:00:00Z'.";
            return Err(ArmError::new(400, "BadRequest", message).with_target("$filter"));
        }
        let now = request.context.now;
        let mut filter =
            Self { from: now.checked_sub(RETENTION).unwrap_or(Timestamp::MIN), to: now, equalities: Vec::new() };
        for term in terms(&given) {
            filter.add(term)?;
        }
        Ok(filter)
    }

    /// Whether an event about a resource fits.
    pub(super) fn admits(&self, entry: &AuditEntry, phase: Phase, resource: &ResourceId) -> bool {
        (self.from..=self.to).contains(&entry.at)
            && self.equalities.iter().all(|(name, wanted)| {
                let record = &entry.record;
                match *name {
                    "resourceGroupName" => resource.resource_group().is_some_and(|group| is(group, wanted)),
                    "resourceId" => is(resource.key(), wanted),
                    "resourceProvider" => is(resource.namespace(), wanted),
                    "resourceType" => is(&resource.type_name(), wanted),
                    "correlationId" => is(text(record, "correlationId"), wanted),
                    "operationName" => is(text(record, "action"), wanted),
                    "caller" => is(text(record, "caller"), wanted) || is(text(record, "objectId"), wanted),
                    "status" => is(phase.status(record), wanted),
                    "levels" => is_among(phase.level(record), wanted),
                    "eventChannels" => is_among(CHANNEL, wanted),
                    _ => false,
                }
            })
    }

    fn add(&mut self, term: &str) -> Result<(), ArmError> {
        let mut words = term.splitn(3, ' ').map(str::trim);
        let (Some(name), Some(operator), Some(value)) = (words.next(), words.next(), words.next()) else {
            return Err(refused(term));
        };
        let value = value.trim().trim_matches('\'').replace("''", "'");
        let operator = operator.to_ascii_lowercase();
        if name.eq_ignore_ascii_case("eventTimestamp") {
            let moment = moment(&value).ok_or_else(|| refused(term))?;
            match operator.as_str() {
                "ge" | "gt" => self.from = self.from.max(moment),
                "le" | "lt" => self.to = self.to.min(moment),
                _ => return Err(refused(term)),
            }
            return Ok(());
        }
        let known = NAMES.iter().find(|(spelling, _)| spelling.eq_ignore_ascii_case(name));
        let Some((_, name)) = known.filter(|_| operator == "eq") else { return Err(refused(term)) };
        self.equalities.push((name, value));
        Ok(())
    }
}

fn is(actual: &str, wanted: &str) -> bool {
    actual.eq_ignore_ascii_case(wanted)
}

/// Whether it is in a list with commas.
fn is_among(actual: &str, wanted: &str) -> bool {
    wanted.split(',').any(|one| is(actual, one.trim()))
}

/// Some clients leave the zone out; they mean UTC.
fn moment(text: &str) -> Option<Timestamp> {
    text.parse().or_else(|_| format!("{text}Z").parse()).ok()
}

fn refused(term: &str) -> ArmError {
    let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    let message = format!(
        "'{}' is not understood. Join terms by 'and': eventTimestamp ge|le '...', and eq for {}.",
        term.chars().filter(|letter| !letter.is_control()).take(100).collect::<String>(),
        names.join(", ")
    );
    ArmError::new(400, "InvalidFilterInQueryString", message).with_target("$filter")
}

/// What clients may compare, and what it is called here.
const NAMES: [(&str, &str); 11] = [
    ("resourceGroupName", "resourceGroupName"),
    ("resourceId", "resourceId"),
    ("resourceUri", "resourceId"),
    ("resourceProvider", "resourceProvider"),
    ("resourceType", "resourceType"),
    ("correlationId", "correlationId"),
    ("operationName", "operationName"),
    ("caller", "caller"),
    ("status", "status"),
    ("eventChannels", "eventChannels"),
    ("levels", "levels"),
];

/// How far back a filter without a beginning looks, as in the cloud.
const RETENTION: SignedDuration = SignedDuration::from_hours(90 * 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_with_and_without_a_zone() {
        let noon = "2026-11-22T12:00:00Z".parse::<Timestamp>().unwrap();
        assert_eq!(moment("2026-11-22T12:00:00Z"), Some(noon));
        assert_eq!(moment("2026-11-22T12:00:00.000000"), Some(noon));
        assert_eq!(moment("2026-11-22T13:00:00+01:00"), Some(noon));
        assert_eq!(moment("yesterday"), None);
    }
}
