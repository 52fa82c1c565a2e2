//! The few statistics that are needed.

use std::time::Duration;

/// The middle of some measurements, which are sorted on the way.
pub fn median(values: &mut [f64]) -> f64 {
    percentile(values, 50)
}

/// The measurement that this many in a hundred stay below.
pub fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(index).copied().unwrap_or(f64::NAN)
}

/// How many a second.
pub fn rate(count: u32, elapsed: Duration) -> f64 {
    f64::from(count) / elapsed.as_secs_f64()
}
