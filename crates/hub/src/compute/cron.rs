//! Expressions of cron: minute, hour, day of the month, month, day of the week (crontab(5)).

use super::calendar::Days;

/// The days and times an expression stands for, or what is wrong with it.
pub(super) fn parse(expression: &str) -> Result<(Days, Vec<(i8, i8)>), String> {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    let [minute, hour, day, month, week_day] = fields.as_slice() else {
        return Err(format!(
            "'{expression}' is not an expression of cron. Use five fields - minute, hour, day of the month, month, day of \
             the week - such as 0 18 * * 1-5."
        ));
    };
    let minutes = set(minute, "minute", 0, 59, &[])?.unwrap_or_else(|| (0..=59).collect());
    let hours = set(hour, "hour", 0, 23, &[])?.unwrap_or_else(|| (0..=23).collect());
    let week_days = set(week_day, "day of the week", 0, 7, &WEEK_DAYS)?.map(|days| {
        // Both 0 and 7 are Sunday.
        days.into_iter().map(|day| day % 7).collect()
    });
    let days = Days::Cron {
        days: set(day, "day of the month", 1, 31, &[])?,
        months: set(month, "month", 1, 12, &MONTHS)?,
        week_days,
    };
    let times = hours.iter().flat_map(|hour| minutes.iter().map(|minute| (*hour, *minute))).collect();
    Ok((days, times))
}

/// The values of one field; `None` for any.
fn set(text: &str, what: &str, first: i8, last: i8, names: &[&str]) -> Result<Option<Vec<i8>>, String> {
    if text == "*" || text == "?" {
        return Ok(None);
    }
    let wrong = || {
        format!(
            "'{text}' is not a {what}. Use {first} to {last}, a list, a range such as {first}-{last}, or a step such as */2."
        )
    };
    let value = |word: &str| {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(word));
        // Months count from 1, days of the week from 0, as their first numbers do.
        let named = named.and_then(|place| Some(i8::try_from(place).ok()? + first));
        named.or_else(|| word.parse().ok()).filter(|value| (first..=last).contains(value)).ok_or_else(wrong)
    };
    let mut values = Vec::new();
    for item in text.split(',') {
        let (range, step) = match item.split_once('/') {
            None => (item, None),
            Some((range, step)) => (range, Some(step.parse::<u8>().ok().filter(|step| *step > 0).ok_or_else(wrong)?)),
        };
        let (low, high) = match (range, range.split_once('-'), step) {
            ("*", _, _) => (first, last),
            (_, Some((low, high)), _) => (value(low)?, value(high)?),
            (only, None, None) => (value(only)?, value(only)?),
            (low, None, Some(_)) => (value(low)?, last),
        };
        if low > high {
            return Err(wrong());
        }
        values.extend((low..=high).step_by(usize::from(step.unwrap_or(1))));
    }
    values.sort_unstable();
    values.dedup();
    Ok(Some(values))
}

const WEEK_DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_ranges_steps_and_names() {
        assert_eq!(set("*", "hour", 0, 23, &[]), Ok(None));
        assert_eq!(set("1,5-7,20/2", "hour", 0, 23, &[]), Ok(Some(vec![1, 5, 6, 7, 20, 22])));
        assert_eq!(set("*/20", "minute", 0, 59, &[]), Ok(Some(vec![0, 20, 40])));
        assert_eq!(set("mon-FRI", "day", 0, 7, &WEEK_DAYS), Ok(Some(vec![1, 2, 3, 4, 5])));
        assert_eq!(set("feb", "month", 1, 12, &MONTHS), Ok(Some(vec![2])));
        for wrong in ["", "24", "5-1", "-1", "*/0", "1-", "a", "1,,2", "99999999999"] {
            assert!(set(wrong, "hour", 0, 23, &[]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sunday_has_two_numbers() {
        let days = |text: &str| match parse(text).unwrap().0 {
            Days::Cron { week_days, .. } => week_days.unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(days("0 0 * * 7"), [0]);
        assert_eq!(days("0 0 * * 0"), [0]);
    }
}
