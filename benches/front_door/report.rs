//! The table at the end.

use std::fs;

/// What was measured so far.
pub(crate) struct Report {
    bench: &'static str,
    lines: Vec<Line>,
    load_before: String,
}

/// What a number should be.
pub(crate) struct Aim {
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
    pub(crate) fn begin(bench: &'static str) -> Self {
        Self { bench, lines: Vec::new(), load_before: load() }
    }

    /// Says what is measured next.
    pub(crate) fn progress(&self, what: &str) {
        eprintln!("{}: {what}", self.bench);
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, what: &str, measured: String, aim: Option<Aim>) {
        self.lines.push(Line { what: what.to_owned(), measured, aim });
    }

    /// Prints everything, and how busy the machine was with other things.
    pub(crate) fn print(&self) {
        println!("{:<54} {:>10}   aim", self.bench, "measured");
        for Line { what, measured, aim } in &self.lines {
            let aim = aim.as_ref().map(|aim| format!("{}{}", aim.text, if aim.is_met { "" } else { "  MISSED" }));
            println!("{}", format!("{what:<54} {measured:>10}   {}", aim.unwrap_or_default()).trim_end());
        }
        let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        println!("processors: {processors}; load average before: {}, after: {}", self.load_before, load());
    }
}

impl Aim {
    /// `text` says what the number should be, `is_met` whether it is.
    pub(crate) fn new(text: &'static str, is_met: bool) -> Self {
        Self { text, is_met }
    }
}

/// The load average of the last minute.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
