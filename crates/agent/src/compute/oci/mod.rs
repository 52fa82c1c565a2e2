//! Instances by an OCI runtime of this node, `crun` or `runc`: each a bundle, a disk and a directory below the agent's own.
//!
//! What is so is asked of the kernel, never of a record: an instance runs when its control group has an init. The agent
//! may be killed at any line. Mounts and loop devices go with the instance that has them, and what else a killed agent
//! leaves is cleared by the next verb about the same instance.

mod account;
pub(super) mod bundle;
pub(super) mod cgroup;
mod children;
mod command;
mod dial;
mod disk;
mod exec;
mod first;
mod folder;
mod gpu;
mod inside;
mod program;
mod seccomp;
pub(super) mod view;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bastide_plan::compute_plan::{Instance, Isolation};
use bastide_plan::compute_report::Usage;
use bastide_plan::hub_plan::ComputeId;
use bastide_plan::way_in::{Account, Process};

use self::cgroup::Groups;
use self::children::Children;
use self::command::{Tool, Tools, no_streams};
use self::first::First;
use self::folder::{Folder, make_private};
use self::inside::Inside;
use super::confinement;
use super::runtime::{Abilities, Execution, Observed, Order, Runtime, RuntimeError, Target};

/// Instances by an OCI runtime.
#[derive(Debug)]
pub struct Oci {
    instances: PathBuf,
    tools: Tools,
    groups: Groups,
    init: PathBuf,
    /// Whom instances are to trust, in one file; none: whom their image trusts.
    trusted: Option<PathBuf>,
    children: &'static Children,
    devices: gpu::Directories,
    /// Held while devices are given away.
    giving: Mutex<()>,
}

impl Oci {
    /// Takes a directory for everything that there will be, and looks for what it takes on this node.
    ///
    /// Processes that a runtime leaves behind become children of this one from here on, which is how the status of
    /// their end is known.
    pub fn open(directory: &Path) -> Result<Self, RuntimeError> {
        Self::open_with(directory, None)
    }

    /// The same with a runtime that somebody has chosen: the path of `runc`, of `crun`, or of one like them.
    pub fn open_with(directory: &Path, runtime: Option<&Path>) -> Result<Self, RuntimeError> {
        let groups = Groups::find()?;
        let (instances, state) = (directory.join("instances"), directory.join("runtime"));
        for directory in [&instances, &state] {
            make_private(directory)?;
        }
        let children = Children::adopt().map_err(failed("cannot wait for processes of instances"))?;
        let tools = match runtime {
            Some(program) => Tools::chosen(&state, program, &groups, children)?,
            None => Tools::find(&state, &groups, children)?,
        };
        let missing = "this node cannot run instances: catatonit is missing, the init of each. Install catatonit";
        let init = command::program("catatonit").ok_or_else(|| RuntimeError::Unable(missing.to_owned()))?;
        view::prepare()?;
        disk::prepare()?;
        let devices = gpu::Directories::default();
        let oci = Self { instances, tools, groups, init, trusted: None, children, devices, giving: Mutex::default() };
        for compute in oci.list()? {
            exec::end_abandoned(&oci.groups.processes(&compute.to_string()));
        }
        Ok(oci)
    }

    /// The same, whose instances trust the authorities in a file of the node, instead of those of their image.
    pub fn trusting(self, file: PathBuf) -> Self {
        Self { trusted: Some(file), ..self }
    }

    /// The same, which looks for devices in other directories than those where vendors' tools put their files.
    pub fn with_devices(self, directories: Vec<PathBuf>) -> Self {
        Self { devices: gpu::Directories(directories), ..self }
    }

    fn folder(&self, compute: ComputeId) -> Folder {
        Folder::new(self.instances.join(compute.to_string()))
    }

    fn order(&self, compute: ComputeId) -> Result<Order, RuntimeError> {
        self.folder(compute).order()?.ok_or(RuntimeError::Unknown(compute))
    }

    /// The first process of an instance that runs.
    fn first(&self, compute: ComputeId) -> Result<First, RuntimeError> {
        let found = First::find(&self.groups.processes(&compute.to_string()));
        found.ok_or_else(|| match self.folder(compute).exists() {
            true => RuntimeError::NotRunning,
            false => RuntimeError::Unknown(compute),
        })
    }

    /// The runtime that has started an instance.
    fn tool(&self, id: &str) -> Result<&Tool, RuntimeError> {
        let unknown = "it was started by an OCI runtime that is not installed any more. Stop it and start it again";
        self.tools.knowing(id).ok_or_else(|| RuntimeError::Unable(unknown.to_owned()))
    }

    /// Ends an instance that is not confined as was ordered when it was started.
    fn verify(&self, first: &First, compute: ComputeId) -> Result<(), RuntimeError> {
        let order = self.folder(compute).started()?.ok_or(RuntimeError::Unknown(compute))?;
        let faults = confinement::faults(first.pid(), &order, &self.groups);
        if faults.is_empty() {
            return Ok(());
        }
        // Of one that is just ending there is nothing left to look at.
        self.children.reap();
        if first.has_ended(ENDING_WITHIN) {
            return Err(RuntimeError::NotRunning);
        }
        self.clear(compute)?;
        Err(RuntimeError::NotConfined(faults.join(", ")))
    }

    /// Ends whatever runs, and removes what the runtime and the kernel know of it.
    fn clear(&self, compute: ComputeId) -> Result<(), RuntimeError> {
        let id = compute.to_string();
        let processes = self.groups.processes(&id);
        // Without processes there may still be an init that waits for its last children to be waited for.
        if !processes.is_empty() || self.tools.knowing(&id).is_some() {
            self.end(&id, First::find(&processes).as_ref())?;
        }
        let folder = self.folder(compute);
        if let Some(tool) = self.tools.knowing(&id)
            && folder.exists()
        {
            tool.run("delete", &["--force".as_ref()], &id, folder.path(), no_streams())?;
        }
        self.groups.remove(&id)?;
        disk::wait_until_detached(&folder.disk())
    }

    fn end(&self, id: &str, first: Option<&First>) -> Result<(), RuntimeError> {
        self.groups.kill(id);
        let deadline = Instant::now() + ENDED_WITHIN;
        self.children.reap();
        while first.is_some_and(|first| !first.has_ended(Duration::from_millis(2))) {
            if Instant::now() >= deadline {
                return Err(RuntimeError::Late { verb: "ending the instance", patience: ENDED_WITHIN });
            }
            self.children.reap();
        }
        self.children.reap();
        Ok(())
    }

    fn give_devices(&self, compute: ComputeId, count: u32) -> Result<(), RuntimeError> {
        let own = self.folder(compute).devices()?;
        if count == 0 && own.is_empty() {
            return Ok(());
        }
        let _alone = self.giving.lock().unwrap_or_else(PoisonError::into_inner);
        let others = self.list()?.into_iter().filter(|other| *other != compute);
        let taken = others.map(|other| Ok((other, self.folder(other).devices()?))).collect::<Result<_, _>>()?;
        let given = self.devices.choose(count, &own, &taken)?;
        self.folder(compute).make()?;
        self.folder(compute).keep_devices(&given)
    }

    fn launch(&self, order: &Order) -> Result<(), RuntimeError> {
        let compute = order.instance.compute;
        let (id, folder) = (compute.to_string(), self.folder(compute));
        let bundle = folder.bundle()?;
        let shown: Vec<_> = self.files(order).iter().map(|(place, _)| folder.shown(place)).collect();
        let gift = self.devices.gift(&folder.devices()?)?;
        disk::ensure(&folder.disk(), order.instance.size.disk)?;
        folder.keep_started(order)?;
        view::within(order, &folder.disk(), |view| {
            let inside =
                Inside::open(&view.root, order.first_user).map_err(failed("cannot open the root directory"))?;
            // The runtime makes links in /dev before the instance has its own root: a link there would lead out.
            for place in ["/dev", "/proc", "/run", "/sys"] {
                let refusal =
                    |_| RuntimeError::Unable(format!("the image has something else than a directory at {place}"));
                inside.insist_on_directory(place).map_err(refusal)?;
            }
            account::ensure(&inside, &order.instance).map_err(failed("cannot make the user of the instance"))?;
            let specification = bundle::specification(order, view, &shown, &gift, &self.init, &self.groups);
            let specification = specification.map_err(failed("cannot describe the instance"))?;
            let text = serde_json::to_string(&specification).map_err(failed("cannot describe the instance"))?;
            fs::write(bundle.join("config.json"), text).map_err(failed("cannot describe the instance"))?;
            let arguments = ["--detach".as_ref(), "--bundle".as_ref(), bundle.as_os_str()];
            self.tools.preferred().run("run", &arguments, &id, folder.path(), no_streams())
        })
    }

    /// The files that an instance sees and cannot change, with their content.
    fn files(&self, order: &Order) -> Vec<(String, String)> {
        let name = &order.instance.name;
        let hosts = format!("127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
        let own = [
            ("/etc/hostname", format!("{name}\n")),
            ("/etc/hosts", hosts),
            ("/etc/resolv.conf", format!("nameserver {}\n", order.resolver)),
        ];
        let own = own.into_iter().map(|(path, content)| (path.to_owned(), content));
        let given = order.instance.files.iter().map(|file| (file.path.clone(), file.content.clone()));
        let trusted = self.trusted.as_ref().and_then(|file| Some((TRUSTED.to_owned(), fs::read_to_string(file).ok()?)));
        own.chain(given).chain(trusted).collect()
    }
}

impl Runtime for Oci {
    fn abilities(&self) -> Abilities {
        Abilities {
            name: self.tools.preferred().name().to_owned(),
            isolations: vec![Isolation::Container],
            confines: true,
            gpus: self.devices.names(),
        }
    }

    fn create(&self, order: &Order) -> Result<(), RuntimeError> {
        admit(&order.instance)?;
        let compute = order.instance.compute;
        let folder = self.folder(compute);
        if folder.order()?.is_some_and(|before| before.first_user != order.first_user) {
            return Err(failed("cannot create it anew")("its disk belongs to other users of the node"));
        }
        self.give_devices(compute, order.instance.size.gpus)?;
        folder.make()?;
        // What is on the disk belongs to the users of the first order: that one is written down before there is a disk.
        folder.keep_order(order)?;
        let first = self.first(compute).ok().filter(First::is_ready);
        if first.is_none() {
            disk::ensure(&folder.disk(), order.instance.size.disk)?;
        }
        order.shares.iter().try_for_each(|share| folder::make_share(share))?;
        for (place, content) in self.files(order) {
            folder.show(&place, &content, order.first_user)?;
        }
        first.map_or(Ok(()), |first| {
            let keys = first.inside(order.first_user).and_then(|inside| account::keys(&inside, &order.instance));
            match keys {
                // It is ending; the next start writes them.
                Err(_) if first.has_ended(ENDING_WITHIN) => Ok(()),
                keys => keys.map_err(failed("cannot write the keys to log in with")),
            }
        })
    }

    fn start(&self, compute: ComputeId) -> Result<(), RuntimeError> {
        let order = self.order(compute)?;
        if let Ok(first) = self.first(compute)
            && first.is_ready()
        {
            return self.verify(&first, compute);
        }
        self.clear(compute)?;
        if let Err(error) = self.launch(&order) {
            let _ = self.clear(compute);
            return Err(error);
        }
        let first = self.first(compute)?;
        if !first.becomes_ready(READY_WITHIN) {
            self.clear(compute)?;
            return Err(RuntimeError::Late { verb: "start", patience: READY_WITHIN });
        }
        self.verify(&first, compute)
    }

    fn stop(&self, compute: ComputeId, grace: Duration) -> Result<(), RuntimeError> {
        let id = compute.to_string();
        match self.first(compute) {
            Ok(first) => {
                self.groups.thaw(&id);
                first.ask_others(|| self.groups.processes(&id), grace);
            }
            Err(RuntimeError::NotRunning) => {}
            Err(error) => return Err(error),
        }
        self.clear(compute)
    }

    fn freeze(&self, compute: ComputeId, frozen: bool) -> Result<(), RuntimeError> {
        let id = compute.to_string();
        self.first(compute)?;
        let (verb, is_done) =
            if frozen { ("freeze", self.groups.freeze(&id)) } else { ("wake", self.groups.wake(&id)) };
        is_done.then_some(()).ok_or(RuntimeError::Late { verb, patience: FROZEN_WITHIN })
    }

    fn delete(&self, compute: ComputeId) -> Result<(), RuntimeError> {
        self.clear(compute)?;
        self.children.reap();
        self.folder(compute).remove()
    }

    fn observe(&self, compute: ComputeId) -> Result<Observed, RuntimeError> {
        let first = match self.first(compute) {
            Ok(first) if first.is_ready() => first,
            Ok(_) | Err(RuntimeError::NotRunning) => return Ok(Observed::Stopped),
            Err(RuntimeError::Unknown(_)) => return Ok(Observed::Absent),
            Err(error) => return Err(error),
        };
        match self.verify(&first, compute) {
            Err(RuntimeError::NotRunning) => return Ok(Observed::Stopped),
            outcome => outcome?,
        }
        Ok(if self.groups.is_frozen(&compute.to_string()) { Observed::Frozen } else { Observed::Running })
    }

    fn usage(&self, compute: ComputeId) -> Result<Usage, RuntimeError> {
        self.order(compute)?;
        let taken = self.groups.taken(&compute.to_string());
        let disk = disk::taken(&self.folder(compute).disk());
        Ok(Usage { cpu: taken.cpu, memory: taken.memory, processes: taken.processes, disk })
    }

    fn exec(&self, compute: ComputeId, process: &Process) -> Result<Execution, RuntimeError> {
        let (id, order) = (compute.to_string(), self.order(compute)?);
        let first = self.first(compute)?;
        if self.groups.is_frozen(&id) {
            return Err(RuntimeError::Unable("the instance is frozen. Wake it first".to_owned()));
        }
        let gift = self.devices.gift(&self.folder(compute).devices()?)?;
        let inside = first.inside(order.first_user).map_err(failed("cannot look into the instance"))?;
        let described = bundle::process(&order, &gift, process, |directory| inside.has(directory));
        let described = described.map_err(failed("cannot describe the process"))?;
        program::admit(&inside, &described)?;
        let owner = match process.account {
            Account::User => account::USER,
            Account::Root => 0,
        };
        let place = exec::Place {
            tool: self.tool(&id)?,
            id: &id,
            directory: &self.folder(compute).starts(),
            owner: order.first_user + owner,
            groups: &self.groups,
            children: self.children,
        };
        first.in_network(|| exec::start(place, first.pid(), &described, process.terminal))
    }

    fn dial(&self, compute: ComputeId, target: &Target) -> Result<OwnedFd, RuntimeError> {
        let first = self.first(compute)?;
        match target {
            Target::Socket(path) => first
                .inside(0)
                .and_then(|inside| dial::socket(&inside, path))
                .map_err(failed(format!("cannot connect to {path} in the instance"))),
            Target::Port(port) => first.in_network(|| {
                dial::port(*port).map_err(failed(format!("cannot connect to port {port} in the instance")))
            }),
        }
    }

    fn list(&self) -> Result<Vec<ComputeId>, RuntimeError> {
        let entries = fs::read_dir(&self.instances).map_err(failed("cannot list the instances"))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let computes: BTreeSet<_> = names.map(ComputeId).collect();
        Ok(computes.into_iter().collect())
    }
}

/// An error that says what was attempted.
fn failed<E: Display>(what: impl Into<String>) -> impl FnOnce(E) -> RuntimeError {
    |error| RuntimeError::Failed { what: what.into(), reason: error.to_string() }
}

/// Refuses what this runtime cannot do, before anything of it is made.
fn admit(instance: &Instance) -> Result<(), RuntimeError> {
    let unable = |reason: String| Err(RuntimeError::Unable(reason));
    if instance.isolation == Isolation::Gvisor {
        // What confines a process of gVisor is not in /proc, and what cannot be read back is not started.
        let reason = match command::program("runsc") {
            Some(_) => "what confines an instance under gVisor cannot be read back yet",
            None => "this node has no gVisor (runsc)",
        };
        return unable(format!("{reason}. Choose the isolation 'container'"));
    }
    if !account::is_user_name(&instance.user) {
        return unable(format!("'{}' cannot be the name of a user", instance.user));
    }
    let paths = instance.files.iter().map(|file| &file.path).chain(instance.shares.iter().map(|share| &share.path));
    for path in paths {
        let parts = || path.split('/').skip(1);
        if !path.starts_with('/') || parts().any(|part| ["", ".", ".."].contains(&part)) {
            return unable(format!("'{path}' is no absolute path without detours"));
        }
        if parts().next().is_some_and(|first| ["proc", "sys", "dev"].contains(&first)) {
            return unable(format!("'{path}' is where the kernel speaks"));
        }
    }
    Ok(())
}

/// Where Debian keeps whom its programs trust, and where other images have a link to, or a copy of, the same.
const TRUSTED: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What is killed is gone at once, but for what waits for a disk.
const ENDED_WITHIN: Duration = Duration::from_secs(20);

/// As many rounds as control groups take for it, at least.
const FROZEN_WITHIN: Duration = Duration::from_secs(5);

const ENDING_WITHIN: Duration = Duration::from_millis(200);

const READY_WITHIN: Duration = Duration::from_secs(5);
