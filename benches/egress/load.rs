//! The loads of egress.md 1: a real ClientHello, then plain bytes, so that no cryptography is in the way; and TLS as it is.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use bastide_benches::numbers::median;

use crate::server::find;

/// What is measured.
pub struct Metric {
    /// A word for the command line.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    pub unit: &'static str,
    pub aim: Goal,
    pub load: Load,
    /// Peers are measured too.
    pub is_for_peers: bool,
}

/// How a number should be to that of the raw forward.
#[derive(Clone, Copy)]
pub enum Goal {
    /// At least so many times as much; 0 when nothing was promised.
    AtLeast(f64),
    /// At most so much more.
    AtMostAdded(f64),
}

/// Who makes the load.
#[derive(Clone, Copy)]
pub enum Load {
    /// A function of the bench, run as the client.
    Own(fn(Way, Duration) -> io::Result<f64>),
    /// `wrk` with so many connections and these options, as the client.
    Wrk(usize, &'static [&'static str]),
}

/// How a client comes to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// At the host's own address.
    Internet,
    /// At the private endpoint that leads there.
    Endpoint,
}

/// Everything that is measured. Real clients read into a buffer, as iperf3 does; "pages only" are those numbers of egress.md
/// whose receiver discards what has arrived without a copy, which no real client does.
pub const METRICS: [Metric; 11] = [
    metric("d1", "download, one stream", "Gbit/s", 0.85, Load::Own(|way, time| download(way, 1, read, time))),
    metric("d8", "download, eight streams", "Gbit/s", 0.5, Load::Own(|way, time| download(way, 8, read, time))),
    metric("u1", "upload, one stream", "Gbit/s", 0.5, Load::Own(|way, time| upload(way, "sink.example", time))),
    metric("new", "new connections with a hello, 16 clients", "/s", 0.47, Load::Own(connections)),
    metric("tls", "TLS requests, kept alive, 8 connections (wrk, nginx)", "/s", 0.45, Load::Wrk(8, &[])),
    metric(
        "handshakes",
        "TLS handshakes with a request each, 32 connections (wrk, nginx)",
        "/s",
        0.45,
        Load::Wrk(32, &["-H", "Connection: close"]),
    ),
    metric("http", "HTTP requests, each one read, 8 clients", "/s", 0.35, Load::Own(requests)),
    Metric {
        aim: Goal::AtMostAdded(15.0),
        ..metric("ping", "a byte there and back, median", "µs", 0.0, Load::Own(ping))
    },
    pages_only("d1-pages", "download, one stream, pages only", |way, time| download(way, 1, pages, time)),
    pages_only("d8-pages", "download, eight streams, pages only", |way, time| download(way, 8, pages, time)),
    pages_only("u1-pages", "upload, one stream, pages only", |way, time| upload(way, "drain.example", time)),
];

/// What every connection to port 443 begins with.
pub const HELLO: &[u8] = include_bytes!("../../crates/inspect/data/hellos/openssl-tls13.bin");

/// What answers end with.
pub const BODY: &[u8] = &[b'x'; 128];

/// Bytes that are read at once: what iperf3 reads.
pub const PORTION: usize = 128 << 10;

/// The private endpoint that leads to a host.
pub fn endpoint(host: Ipv4Addr) -> Ipv4Addr {
    let [.., last] = host.octets();
    Ipv4Addr::new(100, 127, 255, last)
}

/// A name below the host's that is as long as the one in the recorded hello.
pub fn padded(name: &str) -> String {
    format!("{}.{name}", "x".repeat(NAME_IN_HELLO.len() - 1 - name.len()))
}

/// Takes what has arrived, without copying it.
pub fn discard(stream: &TcpStream) -> io::Result<usize> {
    // SAFETY: with MSG_TRUNC the kernel writes nothing to the buffer of a TCP socket.
    let count = unsafe { libc::recv(stream.as_raw_fd(), std::ptr::null_mut(), 1 << 20, libc::MSG_TRUNC) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// New connections, for those who measure nothing else.
pub fn connections(way: Way, time: Duration) -> io::Result<f64> {
    let count = in_threads(16, time, |end| {
        count_until(end, || {
            let mut answer = Vec::new();
            greet(way, "short.example")?.read_to_end(&mut answer)?;
            if answer.len() == 128 { Ok(1) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
        })
    })?;
    Ok(count as f64 / time.as_secs_f64())
}

const fn metric(name: &'static str, what: &'static str, unit: &'static str, aim: f64, load: Load) -> Metric {
    Metric { name, what, unit, aim: Goal::AtLeast(aim), load, is_for_peers: true }
}

const fn pages_only(name: &'static str, what: &'static str, load: fn(Way, Duration) -> io::Result<f64>) -> Metric {
    Metric { is_for_peers: false, ..metric(name, what, "Gbit/s", 0.0, Load::Own(load)) }
}

/// Takes what comes on a stream until `end`; how many bytes.
type Take = fn(TcpStream, Instant) -> io::Result<usize>;

fn read(mut stream: TcpStream, end: Instant) -> io::Result<usize> {
    let mut buffer = vec![0; PORTION];
    count_until(end, || some(stream.read(&mut buffer)?))
}

fn pages(stream: TcpStream, end: Instant) -> io::Result<usize> {
    count_until(end, || some(discard(&stream)?))
}

fn some(count: usize) -> io::Result<usize> {
    if count > 0 { Ok(count) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn download(way: Way, streams: usize, take: Take, time: Duration) -> io::Result<f64> {
    let bytes = in_threads(streams, time, |end| take(greet(way, "source.example")?, end))?;
    Ok(gigabits(bytes, time))
}

fn upload(way: Way, to: &str, time: Duration) -> io::Result<f64> {
    let bytes = in_threads(1, time, |end| {
        let mut stream = greet(way, to)?;
        let data = vec![1; 256 << 10];
        count_until(end, || stream.write(&data))
    })?;
    Ok(gigabits(bytes, time))
}

fn requests(way: Way, time: Duration) -> io::Result<f64> {
    let count = in_threads(8, time, |end| {
        let mut stream = connect(way, "http.example")?;
        let request = b"GET /a/path HTTP/1.1\r\nHost: http.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
        let mut answer = [0; 4096];
        count_until(end, || {
            stream.write_all(request)?;
            let mut length = stream.read(&mut answer)?;
            // Some send a head before its body.
            while length > 0 && !answer[..length].ends_with(BODY) {
                length += some(stream.read(&mut answer[length..])?)?;
            }
            let is_well = answer.starts_with(b"HTTP/1.1 200");
            if is_well { Ok(1) } else { Err(io::ErrorKind::InvalidData.into()) }
        })
    })?;
    Ok(count as f64 / time.as_secs_f64())
}

/// One byte there and back: the median, in microseconds.
fn ping(way: Way, time: Duration) -> io::Result<f64> {
    let mut stream = greet(way, "echo.example")?;
    let end = Instant::now() + time;
    let mut times = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        stream.write_all(b"1")?;
        stream.read_exact(&mut [0])?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(&mut times))
}

fn greet(way: Way, name: &str) -> io::Result<TcpStream> {
    let mut stream = connect(way, name)?;
    let place = HELLO.windows(NAME_IN_HELLO.len()).position(|bytes| bytes == NAME_IN_HELLO.as_bytes()).unwrap();
    let mut hello = HELLO.to_vec();
    hello[place..place + NAME_IN_HELLO.len()].copy_from_slice(padded(name).as_bytes());
    stream.write_all(&hello)?;
    Ok(stream)
}

fn connect(way: Way, name: &str) -> io::Result<TcpStream> {
    let host = find(name);
    let address = match way {
        Way::Internet => host.address,
        Way::Endpoint => endpoint(host.address),
    };
    let stream = TcpStream::connect_timeout(&SocketAddr::from((address, host.port)), PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn in_threads(threads: usize, time: Duration, work: impl Fn(Instant) -> io::Result<usize> + Sync) -> io::Result<usize> {
    let end = Instant::now() + time;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(end))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

fn count_until(end: Instant, mut step: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    let mut count = 0;
    while Instant::now() < end {
        count += step()?;
    }
    Ok(count)
}

fn gigabits(bytes: usize, time: Duration) -> f64 {
    bytes as f64 * 8.0 / time.as_secs_f64() / 1e9
}

const NAME_IN_HELLO: &str = "hello.example.org";

/// A peer that lets a client wait so long has failed.
const PATIENCE: Duration = Duration::from_secs(10);
