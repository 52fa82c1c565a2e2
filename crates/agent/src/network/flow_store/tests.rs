use std::io::Write as _;

use bastide_plan::RuleName;
use bastide_plan::flow::{FlowKind, FlowVerdict};

use super::*;

const HUB: HubId = HubId(uuid::Uuid::from_u128(7));

fn record(number: u64) -> FlowRecord {
    FlowRecord {
        at: now(),
        duration: 1,
        compute: Some("dev".into()),
        project: None,
        source: [100, 127, 0, 2].into(),
        kind: FlowKind::Tls,
        name: Some(format!("n{number}.org")),
        address: Some([198, 18, 0, 1].into()),
        port: 443,
        verdict: FlowVerdict::Allowed,
        rule: Some(RuleName("site".into())),
        reason: None,
        sent: 1,
        received: 2,
        count: 1,
    }
}

struct House {
    directory: tempfile::TempDir,
    store: Arc<FlowStore>,
}

impl House {
    fn new(retention: Retention) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = FlowStore::open(directory.path(), retention).unwrap();
        Self { directory, store }
    }

    /// As after kill -9: nothing was told to end.
    fn restart(&mut self) {
        self.store.settle();
        self.store = FlowStore::open(self.directory.path(), Retention::default()).unwrap();
    }

    fn keep(&self, numbers: std::ops::Range<u64>) {
        self.store.keep(HUB, numbers.map(record).collect(), 0, || {});
    }

    fn ask(&self, query: FlowQuery, fresh: Flows) -> Flows {
        let (sender, receiver) = channel();
        self.store.answer(HUB, query, fresh, Box::new(move |answer| drop(sender.send(answer))));
        match receiver.recv().unwrap() {
            Answer::Flows { flows } => flows,
            other => panic!("{other:?}"),
        }
    }

    fn numbers(&self, query: FlowQuery) -> Vec<u64> {
        numbers(&self.ask(query, Flows::default()))
    }

    fn files(&self) -> Vec<PathBuf> {
        self.store.settle();
        let directory = self.directory.path().join(HUB.to_string());
        let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

fn numbers(flows: &Flows) -> Vec<u64> {
    let number = |record: &FlowRecord| record.name.as_ref()?.strip_prefix('n')?.strip_suffix(".org")?.parse().ok();
    flows.records.iter().filter_map(number).collect()
}

fn latest(limit: u32) -> FlowQuery {
    FlowQuery { limit, ..FlowQuery::default() }
}

#[test]
fn what_happened_outlives_the_agent_and_a_torn_line_is_cut_off() {
    let mut house = House::new(Retention::default());
    house.keep(0..3);
    house.restart();
    assert_eq!(house.numbers(latest(9)), [0, 1, 2]);
    let file = house.files().pop().unwrap();
    std::fs::OpenOptions::new().append(true).open(file).unwrap().write_all(br#"{"at":1,"dura"#).unwrap();
    house.restart();
    house.keep(3..4);
    house.restart();
    let flows = house.ask(latest(9), Flows::default());
    assert_eq!((numbers(&flows), flows.next), (vec![0, 1, 2, 3], 4));
}

#[test]
fn pages_lead_back_to_the_first_record_and_none_comes_twice() {
    let house = House::new(Retention::default());
    // Several segments.
    for portion in 0..20 {
        house.keep(portion * 2000..(portion + 1) * 2000);
    }
    assert!(house.files().len() > 1);
    let (mut all, mut query) = (Vec::new(), latest(7001));
    loop {
        let flows = house.ask(query.clone(), Flows::default());
        all.splice(0..0, numbers(&flows));
        match flows.older {
            Some(place) => query.before = Some(place),
            None => break,
        }
    }
    assert!(all.into_iter().eq(0..40_000));
}

#[test]
fn a_stream_goes_on_where_it_was_and_sees_each_record_once() {
    let house = House::new(Retention::default());
    house.keep(0..10);
    let start = house.ask(FlowQuery { after: Some(4), ..latest(3) }, Flows::default());
    assert_eq!((numbers(&start), start.next), (vec![4, 5, 6], 7));
    let rest = house.ask(FlowQuery { after: Some(start.next), ..latest(30) }, Flows::default());
    assert_eq!((numbers(&rest), rest.next), (vec![7, 8, 9], 10));
    assert!(house.numbers(FlowQuery { after: Some(rest.next), ..latest(30) }).is_empty());
    house.keep(10..12);
    assert_eq!(house.numbers(FlowQuery { after: Some(rest.next), ..latest(30) }), [10, 11]);
    let filtered = FlowQuery { name: Some("n11.org".into()), after: Some(0), ..latest(30) };
    assert_eq!(house.numbers(filtered), [11]);
}

#[test]
fn what_is_not_handed_over_yet_comes_last_and_only_on_the_first_page() {
    let house = House::new(Retention::default());
    house.keep(0..5);
    let fresh = || Flows { records: vec![record(5), record(6)], dropped: 3, ..Flows::default() };
    let flows = house.ask(latest(4), fresh());
    assert_eq!((numbers(&flows), flows.older, flows.dropped), (vec![3, 4, 5, 6], Some(3), 3));
    let flows = house.ask(FlowQuery { before: flows.older, ..latest(4) }, fresh());
    assert_eq!((numbers(&flows), flows.older), (vec![0, 1, 2], None));
    assert_eq!(numbers(&house.ask(latest(1), fresh())), [6]);
}

#[test]
fn the_log_stays_as_large_as_it_may_be_and_the_oldest_go() {
    let bytes = 10 << 20;
    let house = House::new(Retention { bytes, ..Retention::default() });
    for portion in 0..40 {
        house.keep(portion * 4000..(portion + 1) * 4000);
    }
    house.store.settle();
    let held: u64 = house.files().iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(held <= bytes + (5 << 20) && held > bytes / 2, "{held}");
    let flows = house.ask(FlowQuery { after: Some(0), ..latest(1) }, Flows::default());
    assert!(numbers(&flows)[0] > 0);
    assert_eq!(house.ask(latest(1), Flows::default()).next, 160_000, "places are never given twice");
}

#[test]
fn what_is_too_old_is_not_shown_and_goes_with_its_segment() {
    let house = House::new(Retention { age: Duration::from_hours(1), ..Retention::default() });
    let old = FlowRecord { at: now() - 2 * 3_600_000, ..record(1) };
    house.store.keep(HUB, vec![old; 20_000], 0, || {});
    assert_eq!((house.files().len(), house.numbers(latest(10))), (1, vec![]));
    house.keep(2..4);
    assert_eq!(house.numbers(latest(10)), [2, 3]);
    assert_eq!(house.files().len(), 1);
}

#[test]
fn a_hub_that_is_gone_leaves_nothing() {
    let house = House::new(Retention::default());
    house.keep(0..3);
    house.store.forget(HUB);
    house.store.settle();
    assert!(!house.directory.path().join(HUB.to_string()).exists());
    assert!(house.store.counts(HUB).is_empty());
}

#[test]
fn rules_are_counted_with_what_they_carried() {
    let house = House::new(Retention::default());
    house.keep(0..3);
    let denied = FlowRecord { verdict: FlowVerdict::Denied, rule: None, count: 40, ..record(1) };
    house.store.keep(HUB, vec![denied], 0, || {});
    house.store.settle();
    let counts = house.store.counts(HUB);
    let counts: Vec<_> =
        counts.iter().map(|count| (count.rule.is_some(), count.verdict, count.flows, count.sent)).collect();
    assert_eq!(counts, [(false, FlowVerdict::Denied, 40, 1), (true, FlowVerdict::Allowed, 3, 3)]);
}

#[test]
fn others_may_not_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let house = House::new(Retention::default());
    house.keep(0..1);
    house.store.settle();
    for path in house.files().into_iter().chain([house.directory.path().join(HUB.to_string())]) {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }
}
