//! The firewall as a process: what it may still do once it says that it is confined, and what it does when it is told
//! something else than it expects.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, mem};

use bastide_plan::hub_plan::{ComputeId, HubId, HubPlan, Leg, Mode, PLAN_VERSION, Stamp};
use bastide_plan::worker::{FromWorker, Purpose, ToWorker};
use bastide_plan::{AddressFilter, frame};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// A firewall in a process of its own.
struct Worker {
    child: Child,
    control: UnixStream,
}

impl Worker {
    fn start() -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests start a process as another user: run them as root");
        let (control, theirs) = UnixStream::pair().unwrap();
        control.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let number = theirs.as_raw_fd();
        let mut command = Command::new("/proc/self/exe");
        command.args(["--exact", "firewall_process", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env_clear().env(CONTROL, number.to_string()).stdout(Stdio::null()).uid(USER).gid(USER);
        // SAFETY: fcntl is a system call without pointers.
        unsafe {
            command.pre_exec(move || match libc::fcntl(number, libc::F_SETFD, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        Self { child: command.spawn().unwrap(), control }
    }

    fn confined() -> Self {
        let mut worker = Self::start();
        let (filter, server_socket) = (AddressFilter::default(), "/nonexistent".to_owned());
        worker.say(&ToWorker::Start { version: PLAN_VERSION, filter, server_socket }, None);
        assert_eq!(worker.hear(), Some(FromWorker::Confined));
        worker
    }

    fn say(&mut self, message: &ToWorker, descriptor: Option<&OwnedFd>) {
        let bytes = frame::encode(message).unwrap();
        let mut sent = 0;
        if let Some(descriptor) = descriptor {
            let descriptors = [descriptor.as_fd()];
            let mut space = [mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
            let slices = [std::io::IoSlice::new(&bytes)];
            sent = sendmsg(&self.control, &slices, &mut ancillary, SendFlags::empty()).unwrap();
        }
        self.control.write_all(&bytes[sent..]).unwrap();
    }

    fn hear(&mut self) -> Option<FromWorker> {
        let mut head = [0; frame::HEAD];
        self.control.read_exact(&mut head).ok()?;
        let mut json = vec![0; frame::length(head).unwrap()];
        self.control.read_exact(&mut json).ok()?;
        Some(frame::decode(&json).unwrap())
    }

    fn plan(&mut self) {
        let leg = Leg {
            compute: ComputeId(uuid::Uuid::nil()),
            name: "dev".to_owned(),
            project: None,
            address: Ipv4Addr::LOCALHOST,
        };
        let plan = HubPlan {
            version: PLAN_VERSION,
            hub: HubId(uuid::Uuid::nil()),
            name: "hub".to_owned(),
            stamp: Stamp { fence: 1, revision: 1 },
            mode: Mode::ApprovedOutbound,
            subnet: "100.127.0.0/16".parse().unwrap(),
            legs: vec![leg],
            names: Vec::new(),
            prefixes: Vec::new(),
            endpoints: Vec::new(),
            services: Vec::new(),
            ends: Vec::new(),
        };
        self.say(&ToWorker::Plan { plan: Box::new(plan), attached: Vec::new() }, None);
        assert!(matches!(self.hear(), Some(FromWorker::Applied { .. })));
    }

    /// A line of `/proc/PID/task/*/status`, of every thread but the first one, which is the test harness's.
    fn status(&self, line: &str) -> Vec<String> {
        let first = self.child.id().to_string();
        let tasks = fs::read_dir(format!("/proc/{first}/task")).unwrap().map(Result::unwrap);
        let tasks = tasks.filter(|task| *task.file_name() != *first);
        let status = tasks.map(|task| fs::read_to_string(task.path().join("status")).unwrap());
        let value = |status: String| status.lines().find_map(|text| text.strip_prefix(line)).unwrap().trim().to_owned();
        status.map(value).collect()
    }

    /// Waits until it has ended by itself.
    fn end(mut self) -> bool {
        let status = self.child.wait().unwrap();
        status.success()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: what the others start.
#[test]
#[ignore = "the process that the other tests start"]
fn firewall_process() {
    let Ok(control) = env::var(CONTROL) else { return };
    // SAFETY: who started the process handed it this descriptor, and nobody else here knows it.
    let control = unsafe { OwnedFd::from_raw_fd(control.parse().unwrap()) };
    let code = match bastide_firewall::run(control) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    };
    std::process::exit(code);
}

#[test]
fn every_thread_is_without_capabilities_and_under_seccomp() {
    let mut worker = Worker::confined();
    worker.plan();
    let threads = worker.status("Name:").len();
    assert!(threads >= 2, "it carries connections on threads of their own");
    for (line, expected) in [
        ("CapEff:", "0000000000000000"),
        ("CapPrm:", "0000000000000000"),
        ("NoNewPrivs:", "1"),
        ("Seccomp:", "2"),
        ("Uid:", "64999\t64999\t64999\t64999"),
    ] {
        assert_eq!(worker.status(line), vec![expected; threads], "{line}");
    }
}

#[test]
fn it_serves_what_it_was_handed_after_it_was_confined() {
    let mut worker = Worker::confined();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    worker.say(&ToWorker::Listener { purpose: Purpose::Http }, Some(&listener.into()));
    worker.plan();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("403 Forbidden") && answer.contains("'evil.example'"), "{answer}");
}

#[test]
fn it_ends_with_its_agent() {
    let worker = Worker::confined();
    worker.control.shutdown(std::net::Shutdown::Both).unwrap();
    assert!(worker.end());
}

#[test]
fn it_ends_when_the_agent_is_of_another_version_or_says_nonsense() {
    let filter = AddressFilter::default;
    let mut worker = Worker::start();
    worker.say(&ToWorker::Start { version: 0, filter: filter(), server_socket: String::new() }, None);
    assert_eq!(worker.hear(), None);
    assert!(!worker.end());

    let mut worker = Worker::start();
    worker.say(&ToWorker::Filter { filter: filter() }, None);
    assert_eq!(worker.hear(), None);
    assert!(!worker.end());

    let mut worker = Worker::confined();
    worker.control.write_all(&[0xff; 16]).unwrap();
    assert_eq!(worker.hear(), None);
    assert!(!worker.end());

    let mut worker = Worker::confined();
    worker.say(&ToWorker::Listener { purpose: Purpose::Tls }, None);
    assert_eq!(worker.hear(), None, "a listener that did not come");
    assert!(!worker.end());
}

const CONTROL: &str = "BASTIDE_TEST_CONTROL";
const USER: u32 = 64_999;
