//! The internet of the bench: one host for each load, on one port of two, and a name server that knows them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};

use crate::load::{BODY, HELLO, PORTION, discard};

/// Name, address, port, and what it does with a connection; nothing when another program serves it.
pub struct Host {
    pub name: &'static str,
    pub address: Ipv4Addr,
    pub port: u16,
    serve: Option<fn(TcpStream)>,
}

/// One host for each load.
pub const HOSTS: [Host; 8] = [
    host("source.example", 1, 443, Some(source)),
    host("sink.example", 2, 443, Some(sink)),
    host("drain.example", 3, 443, Some(drain)),
    host("short.example", 4, 443, Some(short)),
    host("echo.example", 5, 443, Some(echo)),
    host("http.example", 6, 80, Some(http)),
    host(TLS, 7, 443, None),
    host("iperf.example", 8, 443, None),
];

/// The host that speaks TLS.
pub const TLS: &str = "tls.example";

/// The host of a name.
pub fn find(name: &str) -> &'static Host {
    HOSTS.iter().find(|host| host.name == name).unwrap()
}

/// Starts all hosts and the name server, in the namespace of this thread.
pub fn start() {
    for host in &HOSTS {
        let Some(serve) = host.serve else { continue };
        let listener = TcpListener::bind((host.address, host.port)).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // One that has gone already has no options.
                let _ = stream.set_nodelay(true);
                if host.name == "short.example" {
                    short(stream);
                } else {
                    thread::spawn(move || serve(stream));
                }
            }
        });
    }
    let socket = UdpSocket::bind("0.0.0.0:53").unwrap();
    thread::spawn(move || answer_names(&socket));
}

const fn host(name: &'static str, last: u8, port: u16, serve: Option<fn(TcpStream)>) -> Host {
    Host { name, address: Ipv4Addr::new(198, 18, 1, last), port, serve }
}

/// The hello, and not a byte of what comes behind it.
fn hello(stream: &mut TcpStream) {
    let _ = stream.read_exact(&mut vec![0; HELLO.len()]);
}

fn source(mut stream: TcpStream) {
    hello(&mut stream);
    let data = vec![1; 256 << 10];
    while stream.write_all(&data).is_ok() {}
}

fn sink(mut stream: TcpStream) {
    let mut buffer = vec![0; PORTION];
    while let Ok(1..) = stream.read(&mut buffer) {}
}

fn drain(stream: TcpStream) {
    while let Ok(1..) = discard(&stream) {}
}

fn short(mut stream: TcpStream) {
    hello(&mut stream);
    let _ = stream.write_all(&[1; 128]);
}

fn echo(mut stream: TcpStream) {
    hello(&mut stream);
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}

fn http(mut stream: TcpStream) {
    let answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 128\r\n\r\n" as &[u8], BODY].concat();
    let mut bytes = [0; 4096];
    while let Ok(1..) = stream.read(&mut bytes) {
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

fn answer_names(socket: &UdpSocket) {
    let mut buffer = [0; 1500];
    while let Ok((length, client)) = socket.recv_from(&mut buffer) {
        let Ok(asked) = Message::from_vec(&buffer[..length]) else { continue };
        let mut answer = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
        let Some(query) = asked.queries.first().cloned() else { continue };
        let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
        let host = HOSTS.iter().find(|host| name.ends_with(host.name));
        if let (Some(host), RecordType::A) = (host, query.query_type()) {
            let address = RData::A(A::from(host.address));
            answer.insert_answers(vec![Record::from_rdata(query.name().clone(), 600, address)]);
        }
        answer.metadata.recursion_available = true;
        answer.add_query(query);
        let _ = socket.send_to(&answer.to_vec().unwrap(), client);
    }
}
