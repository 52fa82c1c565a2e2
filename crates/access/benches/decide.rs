//! Nanoseconds a decision, at 100,000 assignments and 10,000 principals.
//!
//! `cargo bench -p bastide-access --bench decide`. Time is processor time of this thread, so that a busy machine does not
//! count, but its cold caches do. Half of the assignments are made to 500 groups; a request carries
//! its principal's groups, names a resource five to seven scopes deep and one of the actions that hubs know.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use bastide_access::{Access, AccessChanges, Attributes, Request, RoleAssignment, builtin_roles};
use uuid::Uuid;

fn main() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let assignments: Vec<_> = (0..ASSIGNMENTS).map(|name| assignment(name, &mut random)).collect();
    let started = Instant::now();
    let access = Access::compile(builtin_roles(), &assignments, &[]).unwrap();
    println!("compile: {:.1} ms for {ASSIGNMENTS} assignments", started.elapsed().as_secs_f64() * 1e3);

    let mut changes: Vec<f64> = (0..CHANGES)
        .map(|number| {
            let old = &assignments[usize::try_from(random.below(ASSIGNMENTS)).unwrap()];
            let new = assignment(ASSIGNMENTS + number, &mut random);
            let started = Instant::now();
            let changes = AccessChanges { removed: vec![old], added: vec![&new], ..AccessChanges::default() };
            black_box(access.with(&changes));
            started.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    changes.sort_by(f64::total_cmp);
    println!(
        "change of two assignments: {:.0} us median, {:.0} us worst of {CHANGES}",
        changes[changes.len() / 2],
        changes[changes.len() - 1]
    );

    for groups in [0, 5, 50] {
        let questions: Vec<_> = (0..QUESTIONS).map(|_| Question::new(groups, &mut random)).collect();
        let mut rounds: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let started = processor_time();
                for question in &questions {
                    black_box(question.ask(black_box(&access)));
                }
                (processor_time() - started) / f64::from(QUESTIONS)
            })
            .collect();
        rounds.sort_by(f64::total_cmp);
        let allowed: u32 = questions.iter().map(|question| u32::from(question.ask(&access))).sum();
        let worst = rounds[rounds.len() - 1];
        println!(
            "decide, {groups:>2} groups: {:>6.0} ns median, {:>6.0} ns worst of {ROUNDS} rounds; {:.0} % allowed",
            rounds[rounds.len() / 2],
            worst,
            f64::from(allowed) * 100.0 / f64::from(QUESTIONS),
        );
    }
}

/// Nanoseconds that this thread has run.
fn processor_time() -> f64 {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    statistics.split_whitespace().next().unwrap().parse().unwrap()
}

struct Question {
    principal: Uuid,
    groups: Vec<Uuid>,
    action: &'static str,
    scope: String,
}

impl Question {
    fn new(groups: u64, random: &mut Random) -> Self {
        Self {
            principal: principal(random.below(PRINCIPALS)),
            groups: (0..groups).map(|_| group(random.below(GROUPS))).collect(),
            action: ACTIONS[usize::try_from(random.below(ACTIONS.len() as u64)).unwrap()],
            scope: format!("{}/connections/c{}", scope(3, random), random.below(20)),
        }
    }

    fn ask(&self, access: &Access) -> bool {
        let request = Request {
            principal: self.principal,
            groups: &self.groups,
            action: self.action,
            data: false,
            scope: &self.scope,
            attributes: &Attributes::NONE,
        };
        access.decide(&request).is_allowed()
    }
}

fn assignment(name: u64, random: &mut Random) -> RoleAssignment {
    let to = if name.is_multiple_of(2) { principal(random.below(PRINCIPALS)) } else { group(random.below(GROUPS)) };
    let role = &builtin_roles()[usize::try_from(random.below(builtin_roles().len() as u64)).unwrap()];
    let depth = 1 + random.below(3);
    RoleAssignment::new(Uuid::from_u128(u128::from(name)), scope(depth, random), role.id, to)
}

/// A subscription, one of its groups, or one of the hubs in that.
fn scope(depth: u64, random: &mut Random) -> String {
    let mut scope = format!("/subscriptions/{}", Uuid::from_u128(u128::from(random.below(10))));
    if depth > 1 {
        write!(scope, "/resourceGroups/team-{}", random.below(50)).unwrap();
    }
    if depth > 2 {
        write!(scope, "/providers/Microsoft.MachineLearningServices/workspaces/hub-{}", random.below(20)).unwrap();
    }
    scope
}

fn principal(number: u64) -> Uuid {
    Uuid::from_u128(0x1_0000_0000 + u128::from(number))
}

fn group(number: u64) -> Uuid {
    Uuid::from_u128(0x2_0000_0000 + u128::from(number))
}

/// splitmix64: the same data on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

const ASSIGNMENTS: u64 = 100_000;
const PRINCIPALS: u64 = 10_000;
const GROUPS: u64 = 500;
const CHANGES: u64 = 1000;
const QUESTIONS: u32 = 100_000;
const ROUNDS: usize = 15;

const ACTIONS: [&str; 8] = [
    "Microsoft.MachineLearningServices/workspaces/read",
    "Microsoft.MachineLearningServices/workspaces/write",
    "Microsoft.MachineLearningServices/workspaces/connections/read",
    "Microsoft.MachineLearningServices/workspaces/connections/listsecrets/action",
    "Microsoft.MachineLearningServices/workspaces/computes/start/action",
    "Microsoft.MachineLearningServices/workspaces/managedNetworks/outboundRules/write",
    "Microsoft.Storage/storageAccounts/listKeys/action",
    "Microsoft.Authorization/roleAssignments/write",
];
