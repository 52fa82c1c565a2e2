//! How much memory reading, planning and evaluating takes as templates grow: `cargo bench -p bastide-template --bench memory`.
//!
//! A bench of its own, because it brings its own allocator, which counts. The most that was held at once is exact: it depends
//! on no clock and on nothing else that runs.

#![allow(clippy::expect_used, clippy::cast_precision_loss, clippy::print_stdout, reason = "a benchmark may stop")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use bastide_template::{Limits, Nothing, Plan, Request, Template};
use serde_json::{Value, json};

#[path = "../../../fuzz/checks/context.rs"]
mod context;

use context::context;

fn main() {
    println!("| what | aim | measured (`memory`) |\n| --- | --- | --- |");
    report("resources written out, each behind the one before", written_out);
    report("resources of one loop, with a loop in each", looped);
}

/// The most that is held for so many resources, for twice and for four times as many.
fn report(what: &str, template: fn(usize) -> Value) {
    let [once, twice, four_times] = [1, 2, 4].map(|times| most_held(&template(RESOURCES * times).to_string()));
    let (double, fourfold) = (twice as f64 / once as f64, four_times as f64 / once as f64);
    let verdict = if fourfold <= MOST { "" } else { ": **missed**" };
    println!(
        "| memory at most for {RESOURCES}, {}, {} {what} | linear: <= 2 and 4, and a tenth | {:.1}, {:.1}, {:.1} MiB: \
         {double:.2} and {fourfold:.2} times{verdict} |",
        RESOURCES * 2,
        RESOURCES * 4,
        mebibytes(once),
        mebibytes(twice),
        mebibytes(four_times)
    );
}

/// Reads, plans and evaluates every body; how many bytes were held at once, beside the text.
fn most_held(text: &str) -> usize {
    let parameters = json!({});
    let before = HELD.load(Ordering::Relaxed);
    MOST_HELD.store(before, Ordering::Relaxed);
    let limits = Limits::default();
    let template = Template::parse(text.as_bytes(), &limits).expect("the template reads");
    let request = Request { template, parameters: &parameters, context: context(), live: &Nothing, limits };
    let plan = Plan::new(request).expect("a plan");
    for node in plan.nodes() {
        node.body(&Nothing).expect("a body");
    }
    MOST_HELD.load(Ordering::Relaxed) - before
}

fn written_out(count: usize) -> Value {
    let resources: Vec<Value> = (0..count)
        .map(|number| {
            let before = number.saturating_sub(1);
            let depends_on = (number > 0).then(|| format!("[resourceId('{TYPE}', 'r{before}')]"));
            json!({"type": TYPE, "apiVersion": VERSION, "name": format!("[concat('r', '{number}')]"),
                "location": "[resourceGroup().location]", "tags": {"team": "[variables('team')]"},
                "properties": {"key": format!("[uniqueString(resourceGroup().id, '{number}')]")},
                "dependsOn": depends_on.into_iter().collect::<Vec<_>>()})
        })
        .collect();
    json!({"contentVersion": "1.0.0.0", "variables": {"team": "bench"}, "resources": resources})
}

fn looped(count: usize) -> Value {
    let input = json!({"name": "[format('{0}-{1}', copyIndex('made'), copyIndex('parts'))]"});
    json!({"contentVersion": "1.0.0.0",
        "resources": [{"type": TYPE, "apiVersion": VERSION, "name": "[format('r{0}', copyIndex())]",
            "copy": {"name": "made", "count": count},
            "properties": {"copy": [{"name": "parts", "count": 20, "input": input}]}}]})
}

fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

struct Counting;

/// Bytes that are held, and the most that were.
static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST_HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system allocator unchanged; the counters are atomics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST_HELD.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `dealloc`, and `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TYPE: &str = "Microsoft.Test/things";
const VERSION: &str = "2024-01-01";

/// Resources of the smallest template.
const RESOURCES: usize = 200;
/// How many times as much four times as many may take: a table that doubles when it is full takes a little more.
const MOST: f64 = 4.4;
