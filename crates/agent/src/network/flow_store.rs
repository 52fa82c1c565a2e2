//! The flow logs of all hubs, on disk: what happened outlives whoever saw it.
//!
//! The log of a hub is a directory of segments. A segment is a file of one JSON record a line, named by the place of its
//! first record; it is only ever appended to, and goes as a whole when the log is too large or the segment too old. A last
//! line that a power cut has torn is cut off at the next start. One thread writes for all hubs, so that no hub's network
//! waits for the disk; firewalls hand over the next batch only when the last one is written.

mod counter;
mod hub_log;
mod segment;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bastide_plan::flow::{FlowCount, FlowQuery, FlowRecord, Flows};
use bastide_plan::hub_plan::HubId;
use bastide_plan::message::Answer;

use self::counter::Counters;
use self::hub_log::HubLog;
use super::hub::Reply;

/// How much of what happened is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Bytes on disk for each hub.
    pub bytes: u64,
    /// How long a record is kept, at most.
    pub age: Duration,
}

/// The flow logs of a node.
#[derive(Debug)]
pub struct FlowStore {
    shared: Arc<Shared>,
    work: Sender<Work>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    retention: Retention,
    hubs: Mutex<BTreeMap<HubId, Hub>>,
    /// Questions that are being answered.
    questions: AtomicUsize,
}

#[derive(Debug)]
struct Hub {
    log: Arc<Mutex<HubLog>>,
    counters: Counters,
    dropped: u64,
}

enum Work {
    Keep {
        hub: HubId,
        records: Vec<FlowRecord>,
        dropped: u64,
        done: Box<dyn FnOnce() + Send>,
    },
    Forget(HubId),
    /// Called when everything before it is done.
    Then(Box<dyn FnOnce() + Send>),
}

impl Default for Retention {
    fn default() -> Self {
        Self { bytes: 256 << 20, age: Duration::from_hours(24 * 30) }
    }
}

impl FlowStore {
    /// Opens the directory of all logs, and starts the thread that writes them.
    pub fn open(directory: &Path, retention: Retention) -> io::Result<Arc<Self>> {
        std::fs::DirBuilder::recursive(&mut private(), true).create(directory)?;
        let shared = Arc::new(Shared {
            directory: directory.to_owned(),
            retention,
            hubs: Mutex::default(),
            questions: AtomicUsize::new(0),
        });
        let (work, works) = channel();
        let writer = Arc::clone(&shared);
        let write = move || works.into_iter().for_each(|work| writer.work(work));
        std::thread::Builder::new().name("flow-log".to_owned()).spawn(write)?;
        Ok(Arc::new(Self { shared, work }))
    }

    /// Keeps records of a hub, oldest first; `done` is called once they are written, or could not be.
    pub fn keep(&self, hub: HubId, records: Vec<FlowRecord>, dropped: u64, done: impl FnOnce() + Send + 'static) {
        // The thread lives as long as this.
        let _ = self.work.send(Work::Keep { hub, records, dropped, done: Box::new(done) });
    }

    /// Forgets a hub that is gone, with all that happened in it.
    pub fn forget(&self, hub: HubId) {
        let _ = self.work.send(Work::Forget(hub));
    }

    /// Answers what happened in a hub. `fresh` is what its firewall has not handed over yet.
    pub fn answer(&self, hub: HubId, query: FlowQuery, fresh: Flows, reply: Reply) {
        let shared = Arc::clone(&self.shared);
        if shared.questions.fetch_add(1, Ordering::Relaxed) >= MOST_QUESTIONS {
            shared.questions.fetch_sub(1, Ordering::Relaxed);
            let reason = "too many are reading flow logs at this moment. Try again".to_owned();
            return reply(Answer::Refused { reason });
        }
        // What was handed over before the firewall answered is written before the log is read: nothing is missing in
        // between, and nothing comes twice.
        let then = move || {
            let read = move || {
                let flows = shared.read(hub, &query, fresh);
                shared.questions.fetch_sub(1, Ordering::Relaxed);
                reply(Answer::Flows { flows });
            };
            if let Err(error) = std::thread::Builder::new().name("flow-query".to_owned()).spawn(read) {
                tracing::error!("no thread to read a flow log: {error}");
            }
        };
        let _ = self.work.send(Work::Then(Box::new(then)));
    }

    /// How often each rule of a hub has decided something, since this was opened.
    pub fn counts(&self, hub: HubId) -> Vec<FlowCount> {
        self.shared.hubs().get(&hub).map(|hub| hub.counters.list()).unwrap_or_default()
    }

    /// Waits until everything is written that was handed over before.
    pub fn settle(&self) {
        let (sender, receiver) = channel();
        let _ = self.work.send(Work::Then(Box::new(move || sender.send(()).unwrap_or_default())));
        let _ = receiver.recv();
    }
}

impl Shared {
    fn work(&self, work: Work) {
        match work {
            Work::Keep { hub, records, dropped, done } => {
                if let Err(error) = self.keep(hub, &records, dropped) {
                    tracing::error!("{} records of hub {hub} cannot be kept: {error}", records.len());
                    self.lose(hub, &records);
                }
                done();
            }
            Work::Forget(hub) => {
                self.hubs().remove(&hub);
                if let Err(error) = std::fs::remove_dir_all(self.path(hub))
                    && error.kind() != io::ErrorKind::NotFound
                {
                    tracing::error!("the flow log of hub {hub} stays on disk: {error}");
                }
            }
            Work::Then(then) => then(),
        }
    }

    fn keep(&self, hub: HubId, records: &[FlowRecord], dropped: u64) -> io::Result<()> {
        let log = {
            let mut hubs = self.hubs();
            let found = self.entry(&mut hubs, hub)?;
            found.dropped += dropped;
            for record in records {
                found.counters.count(record);
            }
            Arc::clone(&found.log)
        };
        let mut log = locked(&log);
        log.append(records)?;
        log.trim(self.retention, now())
    }

    fn lose(&self, hub: HubId, records: &[FlowRecord]) {
        if let Ok(found) = self.entry(&mut self.hubs(), hub) {
            found.dropped += records.iter().map(|record| u64::from(record.count)).sum::<u64>();
        }
    }

    /// What is wanted of the log and of what is not in it yet.
    fn read(&self, hub: HubId, query: &FlowQuery, fresh: Flows) -> Flows {
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let (log, dropped) = match self.entry(&mut self.hubs(), hub) {
            Ok(found) => (Arc::clone(&found.log), found.dropped),
            Err(error) => {
                tracing::error!("the flow log of hub {hub} cannot be read: {error}");
                return fresh;
            }
        };
        // Only the list of segments is taken under the lock: what is read does not change any more.
        let view = locked(&log).view();
        let mut flows = Flows { dropped: dropped + fresh.dropped, next: view.next(), ..Flows::default() };
        if let Some(after) = query.after {
            (flows.records, flows.next) = view.forward(query, after, limit);
            return flows;
        }
        let mut recent = if query.before.is_none() { fresh.records } else { Vec::new() };
        recent.drain(..recent.len().saturating_sub(limit));
        (flows.records, flows.older) = view.backward(query, limit - recent.len(), now() - millis(self.retention.age));
        flows.records.append(&mut recent);
        flows
    }

    fn entry<'a>(&self, hubs: &'a mut BTreeMap<HubId, Hub>, hub: HubId) -> io::Result<&'a mut Hub> {
        use std::collections::btree_map::Entry;
        match hubs.entry(hub) {
            Entry::Occupied(found) => Ok(found.into_mut()),
            Entry::Vacant(place) => {
                let log = Arc::new(Mutex::new(HubLog::open(&self.path(hub))?));
                Ok(place.insert(Hub { log, counters: Counters::default(), dropped: 0 }))
            }
        }
    }

    fn path(&self, hub: HubId) -> PathBuf {
        self.directory.join(hub.to_string())
    }

    fn hubs(&self) -> MutexGuard<'_, BTreeMap<HubId, Hub>> {
        locked(&self.hubs)
    }
}

/// Makes directories that only root may look into.
fn private() -> std::fs::DirBuilder {
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// Milliseconds since 1970.
pub fn now() -> i64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Logs that are read at the same time.
const MOST_QUESTIONS: usize = 8;

#[cfg(test)]
mod tests;
