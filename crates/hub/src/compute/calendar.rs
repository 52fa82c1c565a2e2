//! Times of certain days, in a time zone.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// Certain times of certain days.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Calendar {
    /// Whose days.
    pub zone: TimeZone,
    /// Which days.
    pub days: Days,
    /// Hours and minutes.
    pub times: Vec<(i8, i8)>,
}

/// Which days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Days {
    /// Every so many days from the start.
    Every {
        /// How many.
        interval: u32,
    },
    /// Days of every so many weeks from the start's week.
    OfWeek {
        /// How many.
        interval: u32,
        /// 1 is Monday; none is the start's own.
        days: Vec<i8>,
    },
    /// Days of every so many months from the start's month.
    OfMonth {
        /// How many.
        interval: u32,
        /// -1 is the last; none is the start's own.
        days: Vec<i8>,
    },
    /// As cron has it: by month, and by day of the month or of the week.
    Cron {
        /// Days of the month; none is any.
        days: Option<Vec<i8>>,
        /// Months; none is any.
        months: Option<Vec<i8>>,
        /// Days of the week, 0 is Sunday; none is any.
        week_days: Option<Vec<i8>>,
    },
}

impl Calendar {
    /// The first time after one, counted from a start. A time that the change to summer time leaves out comes when the
    /// clock has gone on; one that comes twice counts the first time.
    pub(super) fn next(&self, after: Timestamp, start: Timestamp) -> Option<Timestamp> {
        let first = self.zone.to_datetime(start).date();
        // What is left out late on a day may come on the next.
        let mut date = self.zone.to_datetime(after).date().yesterday().ok()?;
        for _ in 0..FAR {
            if self.days.holds(date, first) {
                let times = self.times.iter().filter_map(|(hour, minute)| {
                    self.zone.to_timestamp(date.at(*hour, *minute, 0, 0)).ok().filter(|time| *time > after)
                });
                if let Some(next) = times.min() {
                    return Some(next);
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }
}

impl Days {
    fn holds(&self, date: Date, first: Date) -> bool {
        let is_nth = |distance: i64, interval: u32| distance >= 0 && distance % i64::from(interval.max(1)) == 0;
        match self {
            Self::Every { interval } => is_nth(days_between(first, date), *interval),
            Self::OfWeek { interval, days } => {
                let monday =
                    |date: Date| date.checked_sub(i64::from(date.weekday().to_monday_zero_offset()).days()).ok();
                let (Some(from), Some(to)) = (monday(first), monday(date)) else { return false };
                let day = date.weekday().to_monday_one_offset();
                let is_day = if days.is_empty() { first.weekday() == date.weekday() } else { days.contains(&day) };
                is_day && is_nth(days_between(from, to) / 7, *interval)
            }
            Self::OfMonth { interval, days } => {
                let months = i64::from(date.year() - first.year()) * 12 + i64::from(date.month() - first.month());
                let is_last = date.day() == date.days_in_month();
                let is_day = match days.as_slice() {
                    [] => first.day() == date.day(),
                    days => days.contains(&date.day()) || is_last && days.contains(&-1),
                };
                is_day && is_nth(months, *interval)
            }
            Self::Cron { days, months, week_days } => {
                let of = |set: &Option<Vec<i8>>, value: i8| set.as_ref().map(|set| set.contains(&value));
                let week_day = of(week_days, date.weekday().to_sunday_zero_offset());
                // Two restrictions are alternatives (crontab(5)).
                let is_day = match (of(days, date.day()), week_day) {
                    (Some(day), Some(week_day)) => day || week_day,
                    (one, other) => one.or(other).unwrap_or(true),
                };
                is_day && of(months, date.month()).unwrap_or(true)
            }
        }
    }
}

fn days_between(from: Date, to: Date) -> i64 {
    from.until(to).map_or(-1, |span| i64::from(span.get_days()))
}

/// Days looked at: every 29th of February lies within, also around the year 2100.
const FAR: u32 = 9 * 366;
