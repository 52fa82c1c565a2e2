//! The internet of the lab: a name server, and three hosts that say who they are. One of them is the attacker's.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use bastide_inspect::http::{BodyReader, Head, Request};
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};

/// Where `good.example` is.
pub const GOOD: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 1);
/// Where `evil.example` is.
pub const EVIL: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 2);
/// Where `other.example` is.
pub const OTHER: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 3);

/// What the internet's name server says, and what its hosts have heard.
#[derive(Clone, Default)]
pub struct Internet {
    names: Arc<Mutex<HashMap<String, Vec<Ipv4Addr>>>>,
    heard: Arc<Mutex<Vec<Heard>>>,
    asked: Arc<Mutex<Vec<(String, RecordType)>>>,
}

/// What a host was told first on a connection, or the head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub at: Ipv4Addr,
    pub bytes: Vec<u8>,
}

impl Internet {
    /// Starts the name server and the hosts, in the namespace of this thread.
    pub fn start() -> Self {
        let internet = Self::default();
        for (name, address) in [("good.example", GOOD), ("evil.example", EVIL), ("other.example", OTHER)] {
            internet.name(name, &[address]);
        }
        let server = internet.clone();
        let socket = UdpSocket::bind("0.0.0.0:53").unwrap();
        thread::spawn(move || server.answer_names(&socket));
        for (port, serve) in [(443, Self::echo as fn(&Self, TcpStream)), (80, Self::answer_requests)] {
            let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
            let server = internet.clone();
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let server = server.clone();
                    thread::Builder::new()
                        .stack_size(128 << 10)
                        .spawn(move || serve(&server, stream.unwrap()))
                        .unwrap();
                }
            });
        }
        internet
    }

    /// Changes where a name leads.
    pub fn name(&self, name: &str, addresses: &[Ipv4Addr]) {
        self.names.lock().unwrap().insert(name.to_owned(), addresses.to_vec());
    }

    /// What the name server was asked so far.
    pub fn asked(&self) -> Vec<(String, RecordType)> {
        self.asked.lock().unwrap().clone()
    }

    /// What the host at an address has heard so far.
    pub fn heard_at(&self, address: Ipv4Addr) -> Vec<Vec<u8>> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|heard| heard.at == address).map(|heard| heard.bytes.clone()).collect()
    }

    fn hear(&self, stream: &TcpStream, bytes: &[u8]) -> Ipv4Addr {
        let Ok(IpAddr::V4(at)) = stream.local_addr().map(|address| address.ip()) else { panic!("{stream:?}") };
        self.heard.lock().unwrap().push(Heard { at, bytes: bytes.to_vec() });
        at
    }

    /// Says who it is after the first bytes, and then everything that it hears.
    fn echo(&self, mut stream: TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        let Ok(count) = stream.read(&mut buffer) else { return };
        let at = self.hear(&stream, &buffer[..count]);
        let mut said = stream.write_all(format!("{at}\n").as_bytes());
        while said.is_ok() {
            match stream.read(&mut buffer) {
                Ok(count) if count > 0 => said = stream.write_all(&buffer[..count]),
                _ => return,
            }
        }
    }

    /// Answers each request with its own address and what it understood. `/ws` switches when asked to, and echoes.
    fn answer_requests(&self, mut stream: TcpStream) {
        let mut received = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let (length, framing, target, is_websocket) = match Request::read(&received, 80) {
                Head::Found(request) => {
                    let target = String::from_utf8_lossy(request.target).into_owned();
                    (request.length, request.framing, target, request.is_websocket)
                }
                _ => match stream.read(&mut buffer) {
                    Ok(count) if count > 0 => {
                        received.extend_from_slice(&buffer[..count]);
                        continue;
                    }
                    _ => return,
                },
            };
            let head: Vec<u8> = received.drain(..length).collect();
            let at = self.hear(&stream, &head);
            if is_websocket && target == "/ws" {
                let switching =
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
                stream.write_all(switching).unwrap();
                stream.write_all(&received).unwrap();
                let _ = std::io::copy(&mut stream.try_clone().unwrap(), &mut stream);
                return;
            }
            let mut body = BodyReader::new(framing);
            let mut length = 0;
            loop {
                let count = body.read(&received).unwrap();
                received.drain(..count);
                length += count;
                if body.is_done() {
                    break;
                }
                match stream.read(&mut buffer) {
                    Ok(count) if count > 0 => received.extend_from_slice(&buffer[..count]),
                    _ => return,
                }
            }
            let text = format!("{at} {target} {length}\n");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn answer_names(&self, socket: &UdpSocket) {
        let mut buffer = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let asked = Message::from_vec(&buffer[..length]).unwrap();
            let mut answer = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
            let query = asked.queries[0].clone();
            let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
            self.asked.lock().unwrap().push((name.clone(), query.query_type()));
            match self.names.lock().unwrap().get(&name) {
                Some(addresses) if query.query_type() == RecordType::A => {
                    let record =
                        |address: &Ipv4Addr| Record::from_rdata(query.name().clone(), 60, RData::A(A::from(*address)));
                    answer.insert_answers(addresses.iter().map(record).collect());
                }
                Some(_) => {}
                None => answer.metadata.response_code = ResponseCode::NXDomain,
            }
            answer.metadata.recursion_available = true;
            answer.add_query(query);
            socket.send_to(&answer.to_vec().unwrap(), client).unwrap();
        }
    }
}
