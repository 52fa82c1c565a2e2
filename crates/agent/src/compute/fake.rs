//! A runtime that only remembers: for tests, with faults on order, and for simulated networks. What it says it runs
//! confines nobody, and there is nobody to confine: its processes are a few words of a shell that it knows itself.

mod shell;

use std::collections::{BTreeMap, VecDeque};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bastide_plan::compute_plan::Isolation;
use bastide_plan::compute_report::Usage;
use bastide_plan::hub_plan::ComputeId;
use bastide_plan::way_in::Process;

use self::shell::Files;
use super::runtime::{Abilities, Execution, Observed, Order, Runtime, RuntimeError, Target};

/// A runtime that only remembers.
#[derive(Debug, Default)]
pub struct Fake {
    instances: Mutex<BTreeMap<ComputeId, Remembered>>,
    faults: Mutex<VecDeque<(Verb, RuntimeError)>>,
}

/// What can be asked of a runtime, and made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// [`Runtime::create`].
    Create,
    /// [`Runtime::start`].
    Start,
    /// [`Runtime::stop`].
    Stop,
    /// [`Runtime::freeze`].
    Freeze,
    /// [`Runtime::delete`].
    Delete,
    /// [`Runtime::observe`].
    Observe,
    /// [`Runtime::exec`].
    Exec,
    /// [`Runtime::dial`].
    Dial,
}

#[derive(Debug)]
struct Remembered {
    order: Order,
    state: Observed,
    files: Files,
    /// One for each process; whoever holds the other has not ended.
    processes: Vec<std::sync::Weak<()>>,
    listeners: Vec<(Target, Sender<OwnedFd>)>,
}

impl Fake {
    /// One that remembers nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the next use of a verb fail. Faults of the same verb come in the order they were asked for.
    pub fn fail(&self, verb: Verb, error: RuntimeError) {
        locked(&self.faults).push_back((verb, error));
    }

    /// Ends an instance as if it had ended by itself.
    pub fn collapse(&self, compute: ComputeId) {
        if let Some(instance) = locked(&self.instances).get_mut(&compute) {
            instance.end();
        }
    }

    /// What was ordered last of an instance that there is.
    pub fn order(&self, compute: ComputeId) -> Option<Order> {
        Some(locked(&self.instances).get(&compute)?.order.clone())
    }

    /// Listens inside an instance, for as long as it runs: gets the other end of every connection to `target`.
    pub fn listen(&self, compute: ComputeId, target: Target) -> Receiver<OwnedFd> {
        let (sender, receiver) = channel();
        if let Some(instance) = locked(&self.instances).get_mut(&compute) {
            instance.listeners.push((target, sender));
        }
        receiver
    }

    fn faulty(&self, verb: Verb) -> Result<(), RuntimeError> {
        let mut faults = locked(&self.faults);
        let position = faults.iter().position(|(faulty, _)| *faulty == verb);
        position.and_then(|position| faults.remove(position)).map_or(Ok(()), |(_, error)| Err(error))
    }

    fn with<T>(
        &self,
        compute: ComputeId,
        deed: impl FnOnce(&mut Remembered) -> Result<T, RuntimeError>,
    ) -> Result<T, RuntimeError> {
        let mut instances = locked(&self.instances);
        deed(instances.get_mut(&compute).ok_or(RuntimeError::Unknown(compute))?)
    }
}

impl Remembered {
    fn end(&mut self) {
        self.state = Observed::Stopped;
        self.processes.clear();
        self.listeners.clear();
    }

    fn runs(&self) -> Result<(), RuntimeError> {
        if self.state == Observed::Stopped { Err(RuntimeError::NotRunning) } else { Ok(()) }
    }
}

impl Runtime for Fake {
    fn abilities(&self) -> Abilities {
        let isolations = vec![Isolation::Container, Isolation::Gvisor];
        Abilities { name: "simulated".to_owned(), isolations, confines: false, gpus: Vec::new() }
    }

    fn create(&self, order: &Order) -> Result<(), RuntimeError> {
        self.faulty(Verb::Create)?;
        let mut instances = locked(&self.instances);
        let instance = instances.entry(order.instance.compute).or_insert_with(|| Remembered {
            order: order.clone(),
            state: Observed::Stopped,
            files: Files::default(),
            processes: Vec::new(),
            listeners: Vec::new(),
        });
        instance.order = order.clone();
        Ok(())
    }

    fn start(&self, compute: ComputeId) -> Result<(), RuntimeError> {
        self.faulty(Verb::Start)?;
        self.with(compute, |instance| {
            if instance.state == Observed::Stopped {
                instance.state = Observed::Running;
            }
            Ok(())
        })
    }

    fn stop(&self, compute: ComputeId, _: Duration) -> Result<(), RuntimeError> {
        self.faulty(Verb::Stop)?;
        self.with(compute, |instance| {
            instance.end();
            Ok(())
        })
    }

    fn freeze(&self, compute: ComputeId, frozen: bool) -> Result<(), RuntimeError> {
        self.faulty(Verb::Freeze)?;
        self.with(compute, |instance| {
            instance.runs()?;
            instance.state = if frozen { Observed::Frozen } else { Observed::Running };
            Ok(())
        })
    }

    fn delete(&self, compute: ComputeId) -> Result<(), RuntimeError> {
        self.faulty(Verb::Delete)?;
        locked(&self.instances).remove(&compute);
        Ok(())
    }

    fn observe(&self, compute: ComputeId) -> Result<Observed, RuntimeError> {
        self.faulty(Verb::Observe)?;
        Ok(locked(&self.instances).get(&compute).map_or(Observed::Absent, |instance| instance.state))
    }

    fn usage(&self, compute: ComputeId) -> Result<Usage, RuntimeError> {
        self.with(compute, |instance| {
            instance.processes.retain(|process| process.strong_count() > 0);
            let running = u64::from(instance.state != Observed::Stopped);
            Ok(Usage { cpu: 0, memory: 0, processes: running + instance.processes.len() as u64, disk: 0 })
        })
    }

    fn exec(&self, compute: ComputeId, process: &Process) -> Result<Execution, RuntimeError> {
        self.faulty(Verb::Exec)?;
        self.with(compute, |instance| {
            instance.runs()?;
            if instance.state == Observed::Frozen {
                return Err(RuntimeError::Unable("the instance is frozen. Wake it first".to_owned()));
            }
            let life = Arc::new(());
            instance.processes.push(Arc::downgrade(&life));
            shell::start(process, Arc::clone(&instance.files), life)
        })
    }

    fn dial(&self, compute: ComputeId, target: &Target) -> Result<OwnedFd, RuntimeError> {
        self.faulty(Verb::Dial)?;
        self.with(compute, |instance| {
            instance.runs()?;
            let failed =
                |reason: String| RuntimeError::Failed { what: format!("cannot connect to {target:?}"), reason };
            let listener = instance.listeners.iter().find(|(listening, _)| listening == target);
            let (_, listener) = listener.ok_or_else(|| failed("nobody listens".to_owned()))?;
            let (near, far) = UnixStream::pair().map_err(|error| failed(error.to_string()))?;
            if listener.send(far.into()).is_err() {
                let _ = near.shutdown(Shutdown::Both);
                return Err(failed("nobody listens any more".to_owned()));
            }
            Ok(near.into())
        })
    }

    fn list(&self) -> Result<Vec<ComputeId>, RuntimeError> {
        Ok(locked(&self.instances).keys().copied().collect())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_once_and_in_order() {
        let fake = Fake::new();
        let compute = ComputeId(uuid::Uuid::nil());
        fake.fail(Verb::Observe, RuntimeError::NotRunning);
        fake.fail(Verb::Delete, RuntimeError::Unable("first".into()));
        fake.fail(Verb::Delete, RuntimeError::Unable("second".into()));
        assert_eq!(fake.delete(compute).unwrap_err().to_string(), "first");
        assert_eq!(fake.delete(compute).unwrap_err().to_string(), "second");
        fake.delete(compute).unwrap();
        fake.observe(compute).unwrap_err();
        assert_eq!(fake.observe(compute).unwrap(), Observed::Absent);
    }
}
