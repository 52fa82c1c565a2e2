//! The internet of the bench: one host for each load, on one port of two.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use crate::load::HELLO;
use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};

/// Name, address, and what it does with a connection.
type Host = (&'static str, Ipv4Addr, fn(TcpStream));

/// One host for each load.
pub const HOSTS: [Host; 5] = [
    ("source.example", Ipv4Addr::new(198, 18, 1, 1), source),
    ("sink.example", Ipv4Addr::new(198, 18, 1, 2), sink),
    ("short.example", Ipv4Addr::new(198, 18, 1, 3), short),
    ("echo.example", Ipv4Addr::new(198, 18, 1, 4), echo),
    ("http.example", Ipv4Addr::new(198, 18, 1, 5), http),
];

/// Starts all hosts and the name server, in the namespace of this thread.
pub fn start() {
    for (name, address, serve) in HOSTS {
        let port = if name == "http.example" { 80 } else { 443 };
        let listener = TcpListener::bind((address, port)).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_nodelay(true).unwrap();
                if name == "short.example" {
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

/// The hello, and not a byte of what comes behind it.
fn hello(stream: &mut TcpStream) {
    let _ = stream.read_exact(&mut vec![0; HELLO.len()]);
}

fn source(mut stream: TcpStream) {
    hello(&mut stream);
    let data = vec![1; 256 << 10];
    while stream.write_all(&data).is_ok() {}
}

fn sink(stream: TcpStream) {
    while super::load::discard(&stream) > 0 {}
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
    let answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 128\r\n\r\n" as &[u8], &[b'x'; 128]].concat();
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
        let asked = Message::from_vec(&buffer[..length]).unwrap();
        let mut answer = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
        let query = asked.queries[0].clone();
        let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
        let host = HOSTS.iter().find(|(host, ..)| name.ends_with(host));
        if let (Some((_, address, _)), RecordType::A) = (host, query.query_type()) {
            answer.insert_answers(vec![Record::from_rdata(query.name().clone(), 600, RData::A(A::from(*address)))]);
        }
        answer.metadata.recursion_available = true;
        answer.add_query(query);
        socket.send_to(&answer.to_vec().unwrap(), client).unwrap();
    }
}
