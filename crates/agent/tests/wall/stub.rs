//! A firewall that takes everything and says what arrived, so that the kernel's half can be tried on its own.

use std::io::{BufRead as _, BufReader, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bastide_plan::frame;
use bastide_plan::worker::{FromWorker, Purpose, ToWorker, Transport};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// How the agent starts it: this test program again, in the role of the test below.
pub fn command() -> Vec<String> {
    let program = std::env::current_exe().unwrap().display().to_string();
    let script = format!("STUB_FD=$2 exec {program} stub::stub_firewall --exact --ignored --nocapture");
    ["/bin/sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
}

#[test]
#[ignore = "not a test: the firewall of the others"]
fn stub_firewall() {
    let Ok(number) = std::env::var("STUB_FD") else { return };
    // SAFETY: the agent left it open for this process.
    let control = unsafe { OwnedFd::from_raw_fd(number.parse().unwrap()) };
    let stub = Arc::new(Stub {
        control: Mutex::new(UnixStream::from(control)),
        heard: Mutex::default(),
        upstream: Mutex::default(),
        host: Mutex::default(),
    });
    let reader = stub.control.lock().unwrap().try_clone().unwrap();
    stub.say(&FromWorker::Confined);
    let mut buffer = Vec::new();
    let mut descriptors = Vec::new();
    loop {
        while let Some(message) = take(&mut buffer) {
            Arc::clone(&stub).hear(message, &mut descriptors);
        }
        let mut bytes = vec![0; 1 << 16];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&reader, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::empty()).unwrap();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        if received.bytes == 0 {
            std::process::exit(0);
        }
        buffer.extend_from_slice(&bytes[..received.bytes]);
    }
}

struct Stub {
    control: Mutex<UnixStream>,
    heard: Mutex<Vec<String>>,
    upstream: Mutex<Option<UdpSocket>>,
    host: Mutex<Option<Result<TcpStream, String>>>,
}

impl Stub {
    fn hear(self: Arc<Self>, message: ToWorker, descriptors: &mut Vec<OwnedFd>) {
        match message {
            ToWorker::Listener { purpose: Purpose::DnsUdp } => {
                let socket = UdpSocket::from(descriptors.remove(0));
                std::thread::spawn(move || {
                    let mut buffer = [0; 512];
                    while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                        let _ = socket.send_to(&buffer[..length], peer);
                    }
                });
            }
            ToWorker::Listener { purpose } => {
                let listener = TcpListener::from(descriptors.remove(0));
                std::thread::spawn(move || {
                    for stream in listener.incoming().flatten() {
                        let stub = Arc::clone(&self);
                        std::thread::spawn(move || stub.serve(stream, purpose));
                    }
                });
            }
            ToWorker::KernelLog => {
                let socket = descriptors.remove(0);
                std::thread::spawn(move || {
                    let mut buffer = vec![0; 1 << 16];
                    while let Ok((length, _)) = rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::empty()) {
                        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                        let found =
                            text.split("bastide:").skip(1).map(|rest| rest.split('\0').next().unwrap().to_owned());
                        self.heard.lock().unwrap().extend(found);
                    }
                });
            }
            ToWorker::Host { .. } => *self.host.lock().unwrap() = Some(Ok(TcpStream::from(descriptors.remove(0)))),
            ToWorker::NoHost { reason, .. } => *self.host.lock().unwrap() = Some(Err(reason)),
            // It reads no endings; the real one does.
            ToWorker::Endings => drop(descriptors.remove(0)),
            ToWorker::Upstream { .. } => *self.upstream.lock().unwrap() = Some(UdpSocket::from(descriptors.remove(0))),
            ToWorker::Change { change } => self.say(&FromWorker::Applied { stamp: change.to, inactive: Vec::new() }),
            ToWorker::Plan { plan, .. } => self.say(&FromWorker::Applied { stamp: plan.stamp, inactive: Vec::new() }),
            ToWorker::Collect { is_last: true } => {
                self.say(&FromWorker::Collected { records: Vec::new(), dropped: 0, is_last: true });
            }
            _ => {}
        }
    }

    fn serve(&self, mut stream: TcpStream, purpose: Purpose) {
        let here = stream.local_addr().unwrap();
        if writeln!(stream, "{purpose:?} {here}").is_err() {
            return;
        }
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while let Some(Ok(line)) = lines.next() {
            let words: Vec<_> = line.split(' ').collect();
            let answer = match words.as_slice() {
                ["connect", to] => {
                    let outcome =
                        TcpStream::connect_timeout(&to.parse::<SocketAddr>().unwrap(), Duration::from_secs(2));
                    outcome.map_or_else(|error| format!("{:?}", error.kind()), |_| "connected".to_owned())
                }
                ["send", to] => {
                    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                    socket.send_to(b"x", *to).map_or_else(|error| format!("{:?}", error.kind()), |_| "sent".to_owned())
                }
                ["log"] => self.heard.lock().unwrap().join("\n"),
                ["status"] => std::fs::read_to_string("/proc/self/status").unwrap(),
                ["environment"] => {
                    let environment = std::fs::read("/proc/self/environ").unwrap();
                    String::from_utf8_lossy(&environment).into_owned()
                }
                ["beside", to, rest @ ..] => self.ask_host(to.parse().unwrap(), rest.first().copied()),
                ["upstream", rest @ ..] => self.ask_upstream(rest.first().copied()),
                _ => line.clone(),
            };
            if writeln!(stream, "{answer}").is_err() || !matches!(words.as_slice(), ["keep", ..]) {
                return;
            }
        }
    }

    /// Uses the socket to the host's resolver, as it is meant or for something else.
    fn ask_upstream(&self, elsewhere: Option<&str>) -> String {
        self.say(&FromWorker::NeedUpstream { transport: Transport::Udp });
        for _ in 0..200 {
            std::thread::sleep(Duration::from_millis(10));
            let Some(socket) = self.upstream.lock().unwrap().take() else { continue };
            if let Some(elsewhere) = elsewhere
                && let Err(error) = socket.connect(elsewhere)
            {
                return format!("{:?}", error.kind());
            }
            socket.set_nonblocking(false).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            if let Err(error) = socket.send(b"question") {
                return format!("{:?}", error.kind());
            }
            return socket
                .recv(&mut [0; 64])
                .map_or_else(|error| format!("{:?}", error.kind()), |_| "answered".to_owned());
        }
        "no socket came".to_owned()
    }

    /// Has the agent open a connection to a service of the host, and uses it as it is meant or for something else.
    fn ask_host(&self, to: SocketAddrV4, elsewhere: Option<&str>) -> String {
        self.say(&FromWorker::NeedHost { number: 1, address: *to.ip(), port: to.port() });
        for _ in 0..200 {
            std::thread::sleep(Duration::from_millis(10));
            let stream = match self.host.lock().unwrap().take() {
                None => continue,
                Some(Err(reason)) => return reason,
                Some(Ok(stream)) => stream,
            };
            if let Some(elsewhere) = elsewhere {
                rustix::net::connect_unspec(&stream).unwrap();
                let _ = rustix::net::connect(&stream, &elsewhere.parse::<SocketAddr>().unwrap());
            }
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            let mut words = [0; 64];
            return match std::io::Read::read(&mut &stream, &mut words) {
                Ok(length) => String::from_utf8_lossy(&words[..length]).trim().to_owned(),
                Err(error) => format!("{:?}", error.kind()),
            };
        }
        "no answer came".to_owned()
    }

    fn say(&self, message: &FromWorker) {
        self.control.lock().unwrap().write_all(&frame::encode(message).unwrap()).unwrap();
    }
}

fn take(buffer: &mut Vec<u8>) -> Option<ToWorker> {
    let length = frame::length(*buffer.first_chunk()?).unwrap();
    let message = frame::decode(buffer.get(frame::HEAD..frame::HEAD + length)?).unwrap();
    buffer.drain(..frame::HEAD + length);
    Some(message)
}
