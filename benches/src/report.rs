//! The table at the end, in the words and columns of SPECIFICATION.md.

use std::fs;

/// What was measured so far.
pub struct Report {
    bench: &'static str,
    lines: Vec<Line>,
    load_before: String,
}

/// What a number should be.
pub struct Aim {
    text: &'static str,
    is_met: bool,
}

struct Line {
    what: String,
    measured: String,
    aim: Option<Aim>,
}

impl Report {
    /// An empty one of this bench.
    pub fn begin(bench: &'static str) -> Self {
        Self { bench, lines: Vec::new(), load_before: load() }
    }

    /// Says what is measured next.
    pub fn progress(&self, what: &str) {
        eprintln!("{}: {what}", self.bench);
    }

    /// Adds a line.
    pub fn add(&mut self, what: &str, measured: String, aim: Option<Aim>) {
        self.lines.push(Line { what: what.to_owned(), measured, aim });
    }

    /// Prints everything, and how busy the machine was with other things.
    pub fn print(&self) {
        println!("\n| what | aim | measured (`{}`) |\n| --- | --- | --- |", self.bench);
        for Line { what, measured, aim } in &self.lines {
            let (text, is_met) = aim.as_ref().map_or(("none", true), |aim| (aim.text, aim.is_met));
            println!("| {what} | {text} | {measured}{} |", if is_met { "" } else { ": **missed**" });
        }
        let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        println!("\nProcessors: {processors}; load average before: {}, after: {}.", self.load_before, load());
    }
}

impl Aim {
    /// `text` says what the number should be, `is_met` whether it is.
    pub fn new(text: &'static str, is_met: bool) -> Self {
        Self { text, is_met }
    }
}

/// The load average of the last minute.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
