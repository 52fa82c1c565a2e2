//! The whole resolver between a client and a hostile stand-in for the host's resolver, all on loopback.

mod answers;
mod refusals;
mod upstream;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bastide_inspect::Name;
use bastide_plan::flow::{FlowQuery, FlowRecord};
use bastide_plan::hub_plan::{
    ComputeId, Endpoint, HubId, HubPlan, Leg, Mode, NameRule, PLAN_VERSION, Service, Stamp, Target,
};
use bastide_plan::worker::Transport;
use bastide_plan::{AddressFilter, RuleName};
use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr;
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::{A, CNAME};
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Resolver;
use crate::clock::ManualClock;
use crate::flow_log::FlowLog;
use crate::view::{CurrentView, View};

/// A resolver that serves on loopback, and what belongs to it.
pub(crate) struct House {
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) view: Arc<CurrentView>,
    clock: Arc<ManualClock>,
    log: Arc<FlowLog>,
    far: Arc<Far>,
    address: std::net::SocketAddr,
}

/// What the stand-in does with a question.
pub(crate) enum Act {
    /// Sends these messages, the first one being the answer if it is honest.
    Send(Vec<Message>),
    /// Sends a message later.
    Late(Duration, Message),
    /// Sends nothing.
    Silence,
}

type Script = Box<dyn FnMut(&Message, Transport) -> Act + Send>;

/// The stand-in for the host's resolver.
struct Far {
    script: Mutex<Script>,
    /// What it was asked: name, type, transport, port of the asker.
    asked: Mutex<Vec<(String, RecordType, Transport, u16)>>,
}

impl House {
    /// Serves by a plan; the far side follows a script.
    pub(crate) async fn new(plan: HubPlan, script: impl FnMut(&Message, Transport) -> Act + Send + 'static) -> Self {
        let far = Arc::new(Far { script: Mutex::new(Box::new(script)), asked: Mutex::default() });
        let (udp, tcp) = both_on_one_port().await;
        let upstream = udp.local_addr().unwrap();
        tokio::spawn(Arc::clone(&far).serve_datagrams(udp));
        tokio::spawn(Arc::clone(&far).serve_streams(tcp));

        let (need, mut needed) = mpsc::unbounded_channel();
        let (view, log) = (Arc::new(CurrentView::default()), Arc::new(FlowLog::default()));
        let clock = Arc::new(ManualClock::new());
        view.replace(Arc::new(View::new(plan, Vec::new(), AddressFilter::default())));
        let resolver = Resolver::new(Arc::clone(&view), Arc::clone(&log), clock.clone(), need);
        let house = Arc::downgrade(&resolver);
        tokio::spawn(async move {
            while let (Some(transport), Some(resolver)) = (needed.recv().await, house.upgrade()) {
                let descriptor = match transport {
                    Transport::Udp => {
                        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                        socket.connect(upstream).await.unwrap();
                        socket.into_std().unwrap().into()
                    }
                    Transport::Tcp => TcpStream::connect(upstream).await.unwrap().into_std().unwrap().into(),
                };
                resolver.add_upstream(transport, descriptor).unwrap();
            }
        });

        let (udp, tcp) = both_on_one_port().await;
        let address = udp.local_addr().unwrap();
        tokio::spawn(Arc::clone(&resolver).serve_datagrams(udp));
        tokio::spawn(Arc::clone(&resolver).serve_streams(tcp));
        Self { resolver, view, clock, log, far, address }
    }

    /// A house without a far side.
    async fn alone(plan: HubPlan) -> Self {
        Self::new(plan, |_, _| Act::Silence).await
    }

    /// Asks as the compute `dev` does.
    pub(crate) async fn ask(&self, name: &str, kind: RecordType) -> Message {
        self.ask_from(DEV, &question(name, kind)).await.expect("no answer")
    }

    async fn ask_from(&self, source: Ipv4Addr, question: &Message) -> Option<Message> {
        let bytes = self.send_from(source, &question.to_vec().unwrap()).await?;
        Some(Message::from_vec(&bytes).unwrap())
    }

    async fn send_from(&self, source: Ipv4Addr, bytes: &[u8]) -> Option<Vec<u8>> {
        let socket = UdpSocket::bind((source, 0)).await.unwrap();
        socket.connect(self.address).await.unwrap();
        socket.send(bytes).await.unwrap();
        let mut buffer = vec![0; 4096];
        let length = timeout(Duration::from_secs(5), socket.recv(&mut buffer)).await.ok()?.unwrap();
        buffer.truncate(length);
        Some(buffer)
    }

    async fn ask_by_stream(&self, question: &Message) -> Message {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        write_framed(&mut stream, &question.to_vec().unwrap()).await;
        Message::from_vec(&read_framed(&mut stream).await.unwrap()).unwrap()
    }

    /// Decides by another plan.
    fn replan(&self, plan: HubPlan) {
        self.view.replace(Arc::new(View::new(plan, Vec::new(), AddressFilter::default())));
        self.resolver.forget();
    }

    fn records(&self) -> Vec<FlowRecord> {
        self.log.query(&FlowQuery { limit: u32::MAX, ..FlowQuery::default() }).records
    }

    fn last_record(&self) -> FlowRecord {
        self.records().pop().expect("no record")
    }

    /// The names that the far side was asked for.
    fn asked(&self) -> Vec<String> {
        let asked = self.far.asked.lock().unwrap();
        asked.iter().map(|(name, ..)| name.clone()).collect()
    }
}

impl Far {
    fn act(&self, message: &[u8], transport: Transport, port: u16) -> Act {
        let message = Message::from_vec(message).unwrap();
        let query = &message.queries[0];
        let name = query.name.to_lowercase().to_ascii().trim_end_matches('.').to_owned();
        self.asked.lock().unwrap().push((name, query.query_type, transport, port));
        (self.script.lock().unwrap())(&message, transport)
    }

    async fn serve_datagrams(self: Arc<Self>, socket: UdpSocket) {
        let socket = Arc::new(socket);
        let mut buffer = vec![0; 4096];
        loop {
            let (length, source) = socket.recv_from(&mut buffer).await.unwrap();
            let act = self.act(&buffer[..length], Transport::Udp, source.port());
            let socket = Arc::clone(&socket);
            tokio::spawn(async move {
                for message in act.messages().await {
                    socket.send_to(&message.to_vec().unwrap(), source).await.unwrap();
                }
            });
        }
    }

    async fn serve_streams(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (mut stream, source) = listener.accept().await.unwrap();
            let far = Arc::clone(&self);
            tokio::spawn(async move {
                while let Some(message) = read_framed(&mut stream).await {
                    for message in far.act(&message, Transport::Tcp, source.port()).messages().await {
                        write_framed(&mut stream, &message.to_vec().unwrap()).await;
                    }
                }
            });
        }
    }
}

impl Act {
    async fn messages(self) -> Vec<Message> {
        match self {
            Self::Send(messages) => messages,
            Self::Late(after, message) => {
                tokio::time::sleep(after).await;
                vec![message]
            }
            Self::Silence => Vec::new(),
        }
    }
}

/// A hub whose rules approve `exact.org`, what is below `wild.org`, and nothing else.
pub(crate) fn plan(mode: Mode) -> HubPlan {
    let leg = |name: &str, address| Leg {
        compute: ComputeId(uuid::Uuid::nil()),
        name: name.into(),
        project: Some("churn".into()),
        address,
    };
    HubPlan {
        version: PLAN_VERSION,
        hub: HubId(uuid::Uuid::nil()),
        name: "research".into(),
        stamp: Stamp { fence: 1, revision: 1 },
        mode,
        subnet: "100.127.0.0/16".parse().unwrap(),
        legs: vec![leg("dev", DEV), leg("batch", BATCH)],
        names: vec![rule("exact", "exact.org"), rule("wild", "*.wild.org")],
        prefixes: Vec::new(),
        endpoints: vec![Endpoint {
            rule: RuleName("lake".into()),
            names: vec![Name::parse("lake.dfs.core.windows.net").unwrap()],
            address: ENDPOINT,
            ports: vec![443],
            target: None,
        }],
        services: vec![Service {
            name: Name::parse("api.bastide.localhost").unwrap(),
            port: 8443,
            target: Target::Server,
        }],
        ends: Vec::new(),
    }
}

fn rule(rule: &str, pattern: &str) -> NameRule {
    NameRule { rule: RuleName(rule.into()), pattern: pattern.parse().unwrap(), ports: vec![80, 443] }
}

/// A far side that holds `records` and nothing else.
pub(crate) fn zone(records: Vec<Record>) -> impl FnMut(&Message, Transport) -> Act + Send + 'static {
    move |asked, _| Act::Send(vec![resolve(asked, &records)])
}

/// Answers honestly: follows aliases as far as the records go.
fn resolve(asked: &Message, records: &[Record]) -> Message {
    let query = &asked.queries[0];
    let mut message = answer(asked, Vec::new());
    let mut name = query.name.clone();
    while let Some(alias) =
        records.iter().find(|record| record.name == name && record.record_type() == RecordType::CNAME)
    {
        message.add_answer(alias.clone());
        if let RData::CNAME(target) = &alias.data {
            name = target.0.clone();
        }
    }
    let held = records.iter().filter(|record| record.name == name && record.record_type() == query.query_type);
    message.add_answers(held.cloned());
    if !records.iter().any(|record| record.name == name) {
        message.metadata.response_code = ResponseCode::NXDomain;
    }
    message
}

fn answer(asked: &Message, records: Vec<Record>) -> Message {
    let mut message = Message::response(asked.metadata.id, OpCode::Query);
    message.add_query(asked.queries[0].clone());
    message.insert_answers(records);
    message
}

/// A question as a stub asks it.
fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 4242;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(spelled(name), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    message.set_edns(edns);
    message
}

pub(crate) fn address(owner: &str, ttl: u32, address: [u8; 4]) -> Record {
    Record::from_rdata(spelled(owner), ttl, RData::A(A(address.into())))
}

fn alias(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(spelled(owner), ttl, RData::CNAME(CNAME(spelled(target))))
}

fn spelled(name: &str) -> rr::Name {
    rr::Name::from_ascii(format!("{}.", name.trim_end_matches('.'))).unwrap()
}

/// The addresses that an answer holds.
fn addresses(message: &Message) -> Vec<Ipv4Addr> {
    let addresses = message.answers.iter().filter_map(|record| match &record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    });
    addresses.collect()
}

/// The extended error of an answer: its code and what it says.
fn extended_error(message: &Message) -> Option<(u16, String)> {
    let options = message.edns.as_ref()?.options().as_ref();
    options.iter().find_map(|(_, option)| match option {
        EdnsOption::Unknown(15, data) => {
            let (code, text) = data.split_first_chunk()?;
            Some((u16::from_be_bytes(*code), String::from_utf8(text.to_vec()).ok()?))
        }
        _ => None,
    })
}

/// A socket and a listener at one free port.
async fn both_on_one_port() -> (UdpSocket, TcpListener) {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()).await {
            return (socket, listener);
        }
    }
}

async fn read_framed(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = stream.read_u16().await.ok()?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await.ok()?;
    Some(message)
}

async fn write_framed(stream: &mut TcpStream, message: &[u8]) {
    let length = u16::try_from(message.len()).unwrap();
    let framed = [&length.to_be_bytes(), message].concat();
    // The other side may have had enough.
    let _ = stream.write_all(&framed).await;
}

const DEV: Ipv4Addr = Ipv4Addr::LOCALHOST;
const BATCH: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const ENDPOINT: Ipv4Addr = Ipv4Addr::new(100, 127, 255, 1);
const SITE: [u8; 4] = [198, 18, 0, 80];
