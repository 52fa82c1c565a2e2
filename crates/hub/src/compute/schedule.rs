//! When a compute is to start or stop by itself: `schedules.computeStartStop`.

use bastide_arm::error::ArmError;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::calendar::{Calendar, Days};
use super::cron;
use super::time_zone;
use crate::field::{self, refused};

/// One schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// What happens.
    pub action: StartStop,
    /// Nothing does while this is false.
    pub is_enabled: bool,
    /// Not before; none: from when the schedule was set.
    start: Option<Timestamp>,
    pattern: Pattern,
}

/// What a schedule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartStop {
    /// Starts the compute.
    Start,
    /// Stops it.
    Stop,
}

#[derive(Debug, Clone, PartialEq)]
enum Pattern {
    /// Every so often, counted from the start.
    Every(SignedDuration),
    /// At certain times of certain days.
    Calendar(Calendar),
}

impl Schedule {
    /// The schedules of an instance's properties.
    pub fn all(properties: &Map<String, Value>, at: &str) -> Result<Vec<Self>, ArmError> {
        let Some(schedules) = field::object(properties, "schedules", at)? else { return Ok(Vec::new()) };
        let at = format!("{at}.schedules.computeStartStop");
        match schedules.get("computeStartStop") {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) if items.len() <= MOST => {
                items.iter().enumerate().map(|(index, item)| Self::read(item, &format!("{at}[{index}]"))).collect()
            }
            Some(Value::Array(items)) => {
                Err(refused(&at, format!("These are {} schedules. Use at most {MOST}.", items.len())))
            }
            Some(_) => Err(refused(&at, "computeStartStop must be a list of schedules.")),
        }
    }

    fn read(item: &Value, at: &str) -> Result<Self, ArmError> {
        let fields = item.as_object().ok_or_else(|| refused(at, "A schedule must be an object."))?;
        let action = match field::choice(fields, "action", at, &["Start", "Stop"])? {
            Some("Start") => StartStop::Start,
            Some(_) => StartStop::Stop,
            None => return Err(refused(&format!("{at}.action"), "A schedule needs an action, Start or Stop.")),
        };
        let is_enabled = field::choice(fields, "status", at, &["Enabled", "Disabled"])? != Some("Disabled");
        let trigger = field::choice(fields, "triggerType", at, &["Recurrence", "Cron"])?;
        let (name, is_cron) = match (trigger, fields.contains_key("cron")) {
            (Some("Cron"), _) | (None, true) => ("cron", true),
            _ => ("recurrence", false),
        };
        let at = format!("{at}.{name}");
        let trigger = field::object(fields, name, at.as_str())?
            .ok_or_else(|| refused(&at, format!("A schedule with this triggerType needs {name}.")))?;
        let zone = match field::text(trigger, "timeZone", &at)? {
            None => TimeZone::UTC,
            Some(name) => time_zone::find(name).ok_or_else(|| {
                let message = format!(
                    "'{name}' is not a time zone. Use one such as UTC, Europe/Berlin or 'Pacific Standard Time'."
                );
                refused(&format!("{at}.timeZone"), message)
            })?,
        };
        let start = start(trigger, &zone, &at)?;
        let pattern = match is_cron {
            true => {
                let expression = field::text(trigger, "expression", &at)?.unwrap_or_default();
                let (days, times) = cron::parse(expression).map_err(|why| refused(&format!("{at}.expression"), why))?;
                Pattern::Calendar(Calendar { zone, days, times })
            }
            false => recurrence(trigger, zone, start, &at)?,
        };
        let schedule = Self { action, is_enabled, start, pattern };
        // A 31st of February is worth a word now rather than a year of silence.
        if schedule.next(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH).is_none() && start.is_none() {
            return Err(refused(&at, "This schedule never comes. Choose days that exist."));
        }
        Ok(schedule)
    }

    /// The first time after one, for a schedule that was set at another.
    pub fn next(&self, after: Timestamp, set: Timestamp) -> Option<Timestamp> {
        let start = self.start.unwrap_or(set);
        match &self.pattern {
            Pattern::Every(period) => {
                let gone = after.duration_since(start).as_secs();
                let period = period.as_secs().max(1);
                let steps = if gone < 0 { 0 } else { gone / period + 1 };
                start.checked_add(SignedDuration::from_secs(steps.checked_mul(period)?)).ok()
            }
            Pattern::Calendar(calendar) => {
                let just_before = start.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(start);
                calendar.next(after.max(just_before), start)
            }
        }
    }

    /// The last time after one and not after another.
    fn last(&self, after: Timestamp, until: Timestamp, set: Timestamp) -> Option<Timestamp> {
        // Nobody is helped by what was due long ago.
        let mut from = after.max(until.checked_sub(LATEST).unwrap_or(after));
        let mut last = None;
        while let Some(next) = self.next(from, set).filter(|next| *next <= until) {
            last = Some(next);
            from = next;
        }
        last
    }
}

/// What schedules want done now: what the last of those says that came up since somebody asked something of the compute
/// (`at`) or set the schedules. Nothing has to be remembered for it, so nothing is missed while no server runs.
pub fn due(schedules: &[Schedule], at: Timestamp, set: Timestamp, now: Timestamp) -> Option<StartStop> {
    let enabled = schedules.iter().filter(|schedule| schedule.is_enabled);
    let came = enabled.filter_map(|schedule| Some((schedule.last(at.max(set), now, set)?, schedule.action)));
    came.max_by_key(|(time, _)| *time).map(|(_, action)| action)
}

/// Fills in what the server says of each schedule: its id, and that it stands. A schedule keeps its id by its place.
pub(super) fn settle(
    properties: &mut Map<String, Value>,
    before: Option<&Map<String, Value>>,
    fresh: &dyn Fn() -> Uuid,
) {
    let list = |properties: &Value| properties.get("computeStartStop").and_then(Value::as_array).cloned();
    let stood = before.and_then(|before| list(before.get("schedules")?)).unwrap_or_default();
    let Some(Value::Array(items)) = properties.get_mut("schedules").and_then(|value| value.get_mut("computeStartStop"))
    else {
        return;
    };
    for (index, item) in items.iter_mut().enumerate() {
        let Some(fields) = item.as_object_mut() else { continue };
        fields.retain(|_, value| !value.is_null());
        let id = stood.get(index).and_then(|stood| stood.get("id")).cloned().unwrap_or_else(|| json!(fresh()));
        fields.insert("id".into(), id);
        fields.entry("status").or_insert_with(|| "Enabled".into());
        fields.insert("provisioningStatus".into(), "Completed".into());
    }
}

fn recurrence(
    fields: &Map<String, Value>,
    zone: TimeZone,
    start: Option<Timestamp>,
    at: &str,
) -> Result<Pattern, ArmError> {
    const FREQUENCIES: &[&str] = &["Minute", "Hour", "Day", "Week", "Month"];
    let frequency = field::choice(fields, "frequency", at, FREQUENCIES)?.ok_or_else(|| {
        refused(
            &format!("{at}.frequency"),
            format!("A recurrence needs a frequency. Use {}.", field::any_of(FREQUENCIES)),
        )
    })?;
    let interval = match fields.get("interval") {
        None | Some(Value::Null) => 1,
        Some(value) => value.as_u64().filter(|interval| (1..=1000).contains(interval)).ok_or_else(|| {
            refused(&format!("{at}.interval"), format!("{value} is not an interval. Use a number from 1 to 1000."))
        })?,
    };
    let interval = u32::try_from(interval).unwrap_or(1);
    let at = format!("{at}.schedule");
    let empty = Map::new();
    let within = field::object(fields, "schedule", &at)?.unwrap_or(&empty);
    let first = start.map(|start| zone.to_datetime(start));
    match frequency {
        "Minute" => return Ok(Pattern::Every(SignedDuration::from_mins(i64::from(interval)))),
        "Hour" => return Ok(Pattern::Every(SignedDuration::from_hours(i64::from(interval)))),
        _ => {}
    }
    let hours = numbers(within, "hours", &at, 0..=23)?;
    let minutes = numbers(within, "minutes", &at, 0..=59)?;
    let times = match (hours.is_empty(), minutes.is_empty()) {
        // The time of day of the start.
        (true, true) => vec![first.map_or((0, 0), |first| (first.hour(), first.minute()))],
        (true, false) => minutes.iter().map(|minute| (first.map_or(0, DateTime::hour), *minute)).collect(),
        (false, true) => hours.iter().map(|hour| (*hour, 0)).collect(),
        (false, false) => hours.iter().flat_map(|hour| minutes.iter().map(|minute| (*hour, *minute))).collect(),
    };
    let days = match frequency {
        "Day" => Days::Every { interval },
        "Week" => Days::OfWeek { interval, days: week_days(within, &at)? },
        _ => Days::OfMonth { interval, days: numbers(within, "monthDays", &at, -1..=31)? },
    };
    Ok(Pattern::Calendar(Calendar { zone, days, times }))
}

fn week_days(fields: &Map<String, Value>, at: &str) -> Result<Vec<i8>, ArmError> {
    const NAMES: &[&str] = &["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let number = |name: String| {
        let place = NAMES.iter().position(|known| known.eq_ignore_ascii_case(&name));
        place.and_then(|place| i8::try_from(place + 1).ok()).ok_or_else(|| {
            let message = format!("'{name}' is not a day of the week. Use {}.", field::any_of(NAMES));
            refused(&format!("{at}.weekDays"), message)
        })
    };
    field::texts(fields, "weekDays", at)?.into_iter().map(number).collect()
}

fn numbers(
    fields: &Map<String, Value>,
    name: &str,
    at: &str,
    allowed: std::ops::RangeInclusive<i8>,
) -> Result<Vec<i8>, ArmError> {
    let wrong = || {
        let message = format!("{name} must be a list of numbers from {} to {}.", allowed.start(), allowed.end());
        refused(&format!("{at}.{name}"), message)
    };
    let items = match fields.get(name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(wrong()),
    };
    let number = |item: &Value| {
        let number = item.as_i64().and_then(|number| i8::try_from(number).ok());
        number.filter(|number| allowed.contains(number)).ok_or_else(wrong)
    };
    items.iter().map(number).collect()
}

/// `startTime`, in the schedule's time zone unless it says its own.
fn start(fields: &Map<String, Value>, zone: &TimeZone, at: &str) -> Result<Option<Timestamp>, ArmError> {
    let Some(text) = field::text(fields, "startTime", at)? else { return Ok(None) };
    let absolute = text.parse::<Timestamp>().ok();
    let start = absolute.or_else(|| zone.to_timestamp(text.parse::<DateTime>().ok()?).ok());
    start.map(Some).ok_or_else(|| {
        let message = format!("'{text}' is not a time. Use one such as 2026-11-22T08:30:00.");
        refused(&format!("{at}.startTime"), message)
    })
}

/// Schedules of one compute.
const MOST: usize = 50;

/// What came up longer ago than this is not made up for.
const LATEST: SignedDuration = SignedDuration::from_hours(8 * 24);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn schedules(items: Value) -> Result<Vec<Schedule>, ArmError> {
        let properties = json!({"schedules": {"computeStartStop": items}});
        Schedule::all(properties.as_object().unwrap(), "properties.properties")
    }

    fn recurring(recurrence: Value) -> Schedule {
        let item = json!({"action": "Start", "triggerType": "Recurrence", "recurrence": recurrence});
        schedules(json!([item])).unwrap().remove(0)
    }

    fn times(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
        let mut after = time(from);
        let set = after;
        let mut times = Vec::new();
        for _ in 0..count {
            after = schedule.next(after, set).unwrap();
            times.push(after.to_string());
        }
        times
    }

    #[test]
    fn the_published_example_stops_at_six_in_the_evening_of_the_pacific() {
        let item = json!({
            "status": "Enabled", "action": "Stop", "triggerType": "Cron",
            "cron": {"expression": "0 18 * * *", "startTime": "2021-04-23T01:30:00", "timeZone": "Pacific Standard Time"},
        });
        let schedule = schedules(json!([item])).unwrap().remove(0);
        assert_eq!(schedule.action, StartStop::Stop);
        // Winter and summer time.
        assert_eq!(
            times(&schedule, "2026-03-07T00:00:00Z", 3),
            ["2026-03-07T02:00:00Z", "2026-03-08T02:00:00Z", "2026-03-09T01:00:00Z"]
        );
        assert_eq!(times(&schedule, "2020-01-01T00:00:00Z", 1), ["2021-04-24T01:00:00Z"], "not before its start");
    }

    #[test]
    fn recurrences_count_from_their_start() {
        let every = recurring(json!({"frequency": "Minute", "interval": 90, "startTime": "2026-01-01T00:00:00"}));
        assert_eq!(times(&every, "2026-01-01T00:00:00Z", 2), ["2026-01-01T01:30:00Z", "2026-01-01T03:00:00Z"]);
        let days = recurring(json!({"frequency": "Day", "interval": 2, "startTime": "2026-01-01T08:15:00"}));
        assert_eq!(times(&days, "2026-01-01T09:00:00Z", 2), ["2026-01-03T08:15:00Z", "2026-01-05T08:15:00Z"]);
        let weeks = recurring(json!({
            "frequency": "Week", "interval": 2, "startTime": "2026-01-05T00:00:00", "timeZone": "Europe/Berlin",
            "schedule": {"hours": [8, 18], "minutes": [30], "weekDays": ["Monday", "Friday"]},
        }));
        let expected = [
            "2026-01-05T07:30:00Z",
            "2026-01-05T17:30:00Z",
            "2026-01-09T07:30:00Z",
            "2026-01-09T17:30:00Z",
            "2026-01-19T07:30:00Z",
        ];
        assert_eq!(times(&weeks, "2026-01-05T00:00:00Z", 5), expected);
        let months = recurring(json!({
            "frequency": "Month", "interval": 1, "startTime": "2026-01-01T00:00:00",
            "schedule": {"hours": [0], "minutes": [0], "monthDays": [31, -1]},
        }));
        assert_eq!(
            times(&months, "2026-01-02T00:00:00Z", 3),
            ["2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"]
        );
    }

    #[test]
    fn what_is_due_is_what_came_up_last_since_somebody_asked() {
        let item = |action: &str, expression: &str| json!({"action": action, "triggerType": "Cron", "cron": {"expression": expression}});
        let both = schedules(json!([item("Start", "0 8 * * *"), item("Stop", "0 18 * * *")])).unwrap();
        let due = |at: &str, now: &str| due(&both, time(at), time("2026-01-01T00:00:00Z"), time(now));
        assert_eq!(due("2026-01-05T07:00:00Z", "2026-01-05T07:59:59Z"), None);
        assert_eq!(due("2026-01-05T07:00:00Z", "2026-01-05T08:00:00Z"), Some(StartStop::Start));
        assert_eq!(due("2026-01-05T08:00:01Z", "2026-01-05T12:00:00Z"), None, "somebody stopped it since");
        // The server was away over the weekend.
        assert_eq!(due("2026-01-02T09:00:00Z", "2026-01-05T07:00:00Z"), Some(StartStop::Stop));
        assert_eq!(due("2026-01-02T09:00:00Z", "2026-01-05T08:30:00Z"), Some(StartStop::Start));
        let off =
            schedules(json!([{"action": "Stop", "status": "Disabled", "cron": {"expression": "* * * * *"}}])).unwrap();
        assert_eq!(
            super::due(&off, time("2026-01-02T09:00:00Z"), time("2026-01-01T00:00:00Z"), time("2026-01-05T08:30:00Z")),
            None
        );
    }

    #[test]
    fn what_can_never_come_or_is_not_understood_is_refused_where_it_stands() {
        let cron =
            |expression: &str| json!({"action": "Stop", "triggerType": "Cron", "cron": {"expression": expression}});
        for (item, place) in [
            (json!(1), "[0]"),
            (json!({"triggerType": "Cron", "cron": {"expression": "* * * * *"}}), "action"),
            (json!({"action": "Pause"}), "action"),
            (json!({"action": "Stop", "triggerType": "Cron"}), "cron"),
            (json!({"action": "Stop"}), "recurrence"),
            (cron(""), "expression"),
            (cron("* * * *"), "expression"),
            (cron("60 * * * *"), "expression"),
            (cron("0 0 31 2 *"), "cron"),
            (json!({"action": "Stop", "cron": {"expression": "* * * * *", "timeZone": "Mars"}}), "timeZone"),
            (json!({"action": "Stop", "cron": {"expression": "* * * * *", "startTime": "soon"}}), "startTime"),
            (json!({"action": "Stop", "recurrence": {"frequency": "Year"}}), "frequency"),
            (json!({"action": "Stop", "recurrence": {"frequency": "Day", "interval": 0}}), "interval"),
            (json!({"action": "Stop", "recurrence": {"frequency": "Day", "schedule": {"hours": [24]}}}), "hours"),
            (
                json!({"action": "Stop", "recurrence": {"frequency": "Week", "schedule": {"weekDays": ["Someday"]}}}),
                "weekDays",
            ),
        ] {
            let error = schedules(json!([item.clone()])).unwrap_err();
            assert!(error.target.as_deref().unwrap().ends_with(place), "{item}: {error:?}");
        }
    }

    proptest! {
        #[test]
        fn a_next_time_is_later_and_none_lies_between(
            frequency in prop::sample::select(vec!["Minute", "Hour", "Day", "Week", "Month"]),
            interval in 1u32..5, hours in prop::collection::vec(0i8..24, 0..3), minutes in prop::collection::vec(0i8..60, 0..3),
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe"]),
            from in 1_700_000_000i64..1_800_000_000,
        ) {
            let schedule = recurring(json!({
                "frequency": frequency, "interval": interval, "startTime": "2023-01-02T03:04:00", "timeZone": zone,
                "schedule": {"hours": hours, "minutes": minutes},
            }));
            let from = Timestamp::from_second(from).unwrap();
            let next = schedule.next(from, from).unwrap();
            prop_assert!(next > from);
            // Whoever asks from anywhere in between hears the same.
            let middle = Timestamp::from_second(from.as_second().midpoint(next.as_second())).unwrap();
            prop_assert_eq!(schedule.next(middle.max(from), from).unwrap(), if middle == next { schedule.next(next, from).unwrap() } else { next });
        }
    }
}
