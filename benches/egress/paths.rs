//! Several ways through the hub, measured in turns: medians, and medians of the ratios to the first of the same turn.

use std::time::Duration;

use bastide_benches::numbers::median;

use crate::lab::{Lab, Plane};
use crate::load::{Goal, Load, METRICS, Metric, Way};

/// A column of the table.
pub struct Column {
    pub title: String,
    pub plane: Plane,
    pub way: Way,
}

/// How much is measured.
pub struct Effort {
    pub rounds: usize,
    pub time: Duration,
}

/// What came of it.
pub struct Table<'a> {
    columns: &'a [Column],
    rows: Vec<Row>,
}

struct Row {
    metric: &'static Metric,
    cells: Vec<Cell>,
}

/// A number for each round that succeeded.
#[derive(Default)]
struct Cell {
    values: Vec<f64>,
    /// To the first column of the same round, by the metric's goal.
    against: Vec<f64>,
    /// Processor time of what stands in the hub, for each of what is counted.
    seconds: Vec<f64>,
    failure: Option<String>,
    is_left_out: bool,
}

/// Measures each metric through each column, in every round in another order: what warms up warms all.
pub fn measure<'a>(lab: &Lab, columns: &'a [Column], metrics: &[&'static Metric], effort: &Effort) -> Table<'a> {
    let is_left_out = |metric: &Metric, column: &Column| {
        matches!(column.plane, Plane::Peer(_)) && !metric.is_for_peers
            || matches!(metric.load, Load::Wrk(..)) && (column.way == Way::Endpoint || !lab.has_tls())
    };
    let cell = |metric, column| Cell { is_left_out: is_left_out(metric, column), ..Cell::default() };
    let row =
        |metric: &&'static Metric| Row { metric, cells: columns.iter().map(|column| cell(metric, column)).collect() };
    let mut rows: Vec<Row> = metrics.iter().map(row).collect();
    for round in 0..effort.rounds {
        for row in &mut rows {
            row.measure(lab, columns, round, effort.time);
        }
    }
    Table { columns, rows }
}

impl Row {
    fn measure(&mut self, lab: &Lab, columns: &[Column], round: usize, time: Duration) {
        let mut found = vec![None; columns.len()];
        for turn in 0..columns.len() {
            let number = (turn + round) % columns.len();
            let (column, cell) = (&columns[number], &mut self.cells[number]);
            if cell.is_left_out || cell.failure.is_some() {
                continue;
            }
            lab.switch(column.plane);
            let before = lab.seconds(column.plane);
            let is_peer = matches!(column.plane, Plane::Peer(_));
            let measured = match is_peer {
                true => lab.measure(self.metric.load, column.way, time),
                false => Ok(lab.measure_surely(self.metric.load, column.way, time)),
            };
            match measured {
                Ok(value) => {
                    found[number] = Some(value);
                    cell.values.push(value);
                    cell.seconds.push((lab.seconds(column.plane) - before) / (value * time.as_secs_f64()));
                }
                Err(error) => cell.failure = Some(error.to_string()),
            }
        }
        let Some(first) = found[0] else { return };
        let said: Vec<_> = found.iter().map(|value| value.map_or("-".to_owned(), number)).collect();
        eprintln!("{round} {:12} {}", self.metric.name, said.join("  "));
        for (cell, value) in self.cells.iter_mut().zip(&found) {
            cell.against.extend(value.map(|value| match self.metric.aim {
                Goal::AtLeast(_) => value / first,
                Goal::AtMostAdded(_) => value - first,
            }));
        }
    }
}

impl Table<'_> {
    /// Prints it, with what was promised of the column `ours`, if anything was.
    pub fn print(&self, ours: Option<usize>) {
        let titles: Vec<_> = self.columns.iter().map(|column| column.title.as_str()).collect();
        println!("\n| what | aim | {} |\n| --- | --- |{}", titles.join(" | "), " --- |".repeat(titles.len()));
        for Row { metric, cells } in &self.rows {
            let measured = ours.map(|ours| median(&mut cells[ours].against.clone()));
            let (aim, is_met) = match (metric.aim, measured) {
                (_, None) => ("none".to_owned(), true),
                (Goal::AtLeast(least), _) if least <= 0.0 => ("none".to_owned(), true),
                (Goal::AtLeast(least), Some(ratio)) => (format!(">= {least}"), ratio >= least || ratio.is_nan()),
                (Goal::AtMostAdded(most), Some(added)) => {
                    (format!("<= {most} {} added", metric.unit), added <= most || added.is_nan())
                }
            };
            let texts: Vec<_> = cells.iter().enumerate().map(|(number, cell)| cell.text(metric, number == 0)).collect();
            let mark = if is_met { "" } else { " **missed**" };
            println!("| {} [{}] | {aim}{mark} | {} |", metric.what, metric.unit, texts.join(" | "));
        }
        for (name, what, unit, many, aim) in COSTS {
            let Some(row) = self.rows.iter().find(|row| row.metric.name == name) else { continue };
            let costs = row.cells.iter().map(|cell| match cell.values.as_slice() {
                [] => "-".to_owned(),
                _ => format!("{:.2}", median(&mut cell.seconds.clone()) * many),
            });
            let (aim, costs) = (if ours.is_some() { aim } else { "none" }, costs.collect::<Vec<_>>().join(" | "));
            println!("| its processor time for {what} [{unit}] | {aim} | {costs} |");
        }
        for (row, column, cell) in self.cells() {
            if let Some(failure) = &cell.failure {
                println!("\n{} fails at {}: {}", column.title, row.metric.what, failure.trim());
            }
        }
    }

    fn cells(&self) -> impl Iterator<Item = (&Row, &Column, &Cell)> {
        self.rows
            .iter()
            .flat_map(|row| row.cells.iter().zip(self.columns).map(move |(cell, column)| (row, column, cell)))
    }
}

impl Cell {
    fn text(&self, metric: &Metric, is_first: bool) -> String {
        let value = number(median(&mut self.values.clone()));
        let against = median(&mut self.against.clone());
        match (self.values.is_empty(), metric.aim) {
            (true, _) if self.failure.is_some() => "fails".to_owned(),
            (true, _) => "-".to_owned(),
            (_, Goal::AtMostAdded(_)) if !is_first => format!("{against:+.1} ({value})"),
            (_, Goal::AtLeast(_)) if !is_first => format!("{against:.2} ({value})"),
            _ => value,
        }
    }
}

/// The metrics with these names; all when none is named.
pub fn metrics(names: &[&str]) -> Vec<&'static Metric> {
    METRICS.iter().filter(|metric| names.is_empty() || names.contains(&metric.name)).collect()
}

fn number(value: f64) -> String {
    if value < 1000.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// Loads that tell what something costs, which hardly depends on what else the machine does: what is one of it, the unit,
/// how many units a second for each of what is counted are, and the aim.
const COSTS: [(&str, &str, &str, f64, &str); 5] = [
    ("d1", "a gigabyte down one stream", "s", 8.0, "<= 0.25"),
    ("new", "a new connection", "µs", 1e6, "none"),
    ("tls", "a TLS request", "µs", 1e6, "none"),
    ("handshakes", "a TLS handshake with a request", "µs", 1e6, "none"),
    ("http", "an HTTP request", "µs", 1e6, "none"),
];
