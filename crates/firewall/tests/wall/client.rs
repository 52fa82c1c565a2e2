//! What a program in a compute does.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

/// What came of a connection.
#[derive(Debug)]
pub struct Outcome {
    pub bytes: Vec<u8>,
    pub end: End,
    pub took: Duration,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Closed,
    Reset,
    /// It was still open when nothing had come for 7 seconds.
    Open,
}

impl Outcome {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// A fatal alert of TLS, by its number.
    pub fn alert(&self) -> Option<u8> {
        match self.bytes.as_slice() {
            [21, 3, 3, 0, 2, 2, description] => Some(*description),
            _ => None,
        }
    }
}

/// Connects, sends the pieces one by one, says that it is done, and hears what comes.
pub fn exchange(to: Ipv4Addr, port: u16, pieces: &[&[u8]]) -> Outcome {
    let start = Instant::now();
    let mut stream = connect(to, port);
    for piece in pieces {
        // The reset that a write meets is not met again by a read.
        if stream.write_all(piece).is_err() {
            return Outcome { bytes: Vec::new(), end: End::Reset, took: start.elapsed() };
        }
        if pieces.len() > 1 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    hear(stream, start)
}

pub fn connect(to: Ipv4Addr, port: u16) -> TcpStream {
    let stream = TcpStream::connect((to, port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(7))).unwrap();
    stream
}

/// Hears what comes until the end. Half a second of silence after some words is an end too: the hosts of the lab leave the
/// connection open.
pub fn hear(mut stream: TcpStream, start: Instant) -> Outcome {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break End::Closed,
            Ok(count) => {
                bytes.extend_from_slice(&buffer[..count]);
                stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break End::Open,
            Err(_) => break End::Reset,
        }
    };
    Outcome { bytes, end, took: start.elapsed() }
}

/// A ClientHello with these names in its `server_name` extension.
pub fn hello_with(names: &[&[u8]], padding: usize) -> Vec<u8> {
    let list: Vec<u8> = names.iter().flat_map(|name| [&[0], &len16(name) as &[u8], name].concat()).collect();
    let mut extensions = Vec::new();
    if !names.is_empty() {
        extensions.extend(extension(0, &[&len16(&list), list.as_slice()].concat()));
    }
    extensions.extend(extension(43, &[2, 3, 4]));
    extensions.extend(extension(21, &vec![0; padding]));
    handshake(&extensions)
}

pub fn hello(name: &str) -> Vec<u8> {
    hello_with(&[name.as_bytes()], 0)
}

pub fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), &len16(body) as &[u8], body].concat()
}

pub fn handshake(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend([&len16(extensions), extensions].concat());
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    records(&[&[1], &length[1..], &body].concat(), 16_384)
}

/// A handshake message in records of at most so many bytes.
pub fn records(handshake: &[u8], most: usize) -> Vec<u8> {
    handshake.chunks(most).flat_map(|part| [&[22, 3, 1], &len16(part) as &[u8], part].concat()).collect()
}

fn len16(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap().to_be_bytes()
}
