//! The loads of egress.md 1: a real ClientHello, then plain bytes, so that no cryptography is in the way.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use super::server::HOSTS;

/// A load for so long, and how much came of it.
type Measure = fn(Duration) -> f64;

/// Name, unit and load.
pub const METRICS: &[(&str, &str, Measure)] = &[
    ("d1", "Gbit/s", |time| download(1, time)),
    ("d8", "Gbit/s", |time| download(8, time)),
    ("u1", "Gbit/s", upload),
    ("new", "conn/s", connections),
    ("http", "req/s", requests),
    ("ping", "us p50", ping),
];

/// What every connection to port 443 begins with.
pub const HELLO: &[u8] = include_bytes!("../../../inspect/data/hellos/openssl-tls13.bin");

fn download(streams: usize, time: Duration) -> f64 {
    let bytes = in_threads(streams, time, |end| {
        let stream = greet("source.example");
        count_until(end, || discard(&stream))
    });
    gigabits(bytes, time)
}

fn upload(time: Duration) -> f64 {
    let bytes = in_threads(1, time, |end| {
        let mut stream = greet("sink.example");
        let data = vec![1; 256 << 10];
        count_until(end, || stream.write(&data).unwrap())
    });
    gigabits(bytes, time)
}

fn connections(time: Duration) -> f64 {
    let count = in_threads(16, time, |end| {
        count_until(end, || {
            let mut answer = Vec::new();
            let came = greet("short.example").read_to_end(&mut answer);
            assert!(came.is_ok() && answer.len() == 128, "a connection was lost: {came:?}");
            1
        })
    });
    count as f64 / time.as_secs_f64()
}

fn requests(time: Duration) -> f64 {
    let count = in_threads(8, time, |end| {
        let mut stream = connect("http.example", 80);
        let request = b"GET /a/path HTTP/1.1\r\nHost: http.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
        let mut answer = [0; 4096];
        count_until(end, || {
            stream.write_all(request).unwrap();
            assert!(stream.read(&mut answer).unwrap() > 128);
            1
        })
    });
    count as f64 / time.as_secs_f64()
}

/// One byte there and back: the median, in microseconds.
fn ping(time: Duration) -> f64 {
    let mut stream = greet("echo.example");
    let end = Instant::now() + time;
    let mut times = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        stream.write_all(b"1").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    super::median(&times)
}

/// Takes what has arrived, without copying it.
pub fn discard(stream: &TcpStream) -> usize {
    // SAFETY: with MSG_TRUNC the kernel writes nothing to the buffer of a TCP socket.
    let count = unsafe { libc::recv(stream.as_raw_fd(), std::ptr::null_mut(), 1 << 20, libc::MSG_TRUNC) };
    usize::try_from(count).unwrap_or(0)
}

fn greet(name: &str) -> TcpStream {
    let mut stream = connect(name, 443);
    let place = HELLO.windows(17).position(|bytes| bytes == b"hello.example.org").unwrap();
    let mut hello = HELLO.to_vec();
    // All names of the bench, padded to the length of the one in the recorded hello.
    hello[place..place + 17].copy_from_slice(padded(name).as_bytes());
    stream.write_all(&hello).unwrap();
    stream
}

/// A name below the host's that is as long as the one in the recorded hello.
pub fn padded(name: &str) -> String {
    format!("{}.{name}", "x".repeat(17 - 1 - name.len()))
}

fn connect(name: &str, port: u16) -> TcpStream {
    let (_, address, _) = HOSTS.iter().find(|(host, ..)| *host == name).unwrap();
    let stream = TcpStream::connect((*address, port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn in_threads(threads: usize, time: Duration, work: impl Fn(Instant) -> usize + Sync) -> usize {
    let end = Instant::now() + time;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(end))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

fn count_until(end: Instant, mut step: impl FnMut() -> usize) -> usize {
    let mut count = 0;
    while Instant::now() < end {
        count += step();
    }
    count
}

fn gigabits(bytes: usize, time: Duration) -> f64 {
    bytes as f64 * 8.0 / time.as_secs_f64() / 1e9
}
