//! Connections whose first words are a ClientHello.

use std::io;
use std::time::Duration;

use bastide_inspect::Name;
use bastide_inspect::client_hello::{ClientHello, Hello, HelloRefusal, MAX_FLIGHT};
use bastide_inspect::retry::RetryWatch;
use bastide_plan::RuleName;
use bastide_plan::flow::FlowKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::arrival::Arrival;
use crate::carry::CarryError;
use crate::connect;
use crate::decision::Decision;
use crate::socket::Socket;

/// Serves a connection to its end.
///
/// What was read is what is sent on: the first flight is taken out of the socket, judged, and sent from memory, so that
/// nobody can change it in between (egress.md 5.1). Nothing is sent to anybody before the verdict.
pub async fn serve(mut arrival: Arrival<'_>) {
    let mut flight = Vec::new();
    let patience = if by_address(&arrival).is_some() { SERVER_FIRST } else { HELLO_DEADLINE };
    let hello = match tokio::time::timeout(patience, read_hello(&mut arrival.client, &mut flight)).await {
        // Who has hung up is told nothing any more.
        Ok(Ok(Hello::NeedMore) | Err(_)) => return,
        Ok(Ok(hello)) => hello,
        Err(_) => Hello::NeedMore,
    };
    match hello {
        Hello::Found(hello) => named(arrival, hello, flight).await,
        Hello::Absent => nameless(arrival, flight, "Its ClientHello names no host.", Some(UNRECOGNIZED_NAME)).await,
        Hello::NeedMore => {
            nameless(arrival, flight, "It did not say within 5 seconds which host it wants.", None).await;
        }
        Hello::Refuse(HelloRefusal::NotTls) => nameless(arrival, flight, "It does not speak TLS.", None).await,
        Hello::Refuse(refusal) => {
            nameless(arrival, flight, &format!("Refused: {refusal}."), Some(DECODE_ERROR)).await;
        }
    }
}

async fn named(mut arrival: Arrival<'_>, hello: ClientHello, mut flight: Vec<u8>) {
    let rule = match arrival.view().decide(&hello.name, arrival.origin.port) {
        Decision::Allow(rule) => rule,
        Decision::Deny(denial) => {
            arrival.refuse(FlowKind::Tls, Some(&hello.name), denial.rule, denial.reason);
            return arrival.client.say_last(&alert(ACCESS_DENIED)).await;
        }
    };
    if let Err(full) = arrival.ticket.establish() {
        return arrival.refuse(FlowKind::Tls, Some(&hello.name), rule, format!("Refused: {full}."));
    }
    let flow = arrival.begin(FlowKind::Tls, Some(hello.name.clone()), rule);
    let (context, origin) = (&arrival.thread.context, &arrival.origin);
    let mut server = match connect::to_name(context, &hello.name, origin).await {
        Ok((stream, address)) => {
            flow.connected(address);
            Socket::new(stream)
        }
        Err(error) => {
            flow.failed(error.to_string());
            return;
        }
    };
    let held = flight.split_off(hello.length.min(flight.len()));
    flow.sent(flight.len() + held.len());
    if let Err(error) = server.write_all(&flight).await {
        return flow.failed(format!("The destination hung up: {error}"));
    }
    let watch = RetryWatch::new(hello.name);
    match arrival.thread.carrier.carry(&mut arrival.client, &mut server, &flow, Some(watch), held).await {
        Ok(()) => {
            arrival.client.ended();
            server.ended();
        }
        Err(CarryError::SecondHello(refusal)) => {
            flow.failed(format!("Cut: {refusal}."));
            arrival.client.say_last(&alert(ILLEGAL_PARAMETER)).await;
        }
        Err(CarryError::Io(_)) => {}
    }
}

/// A connection that names nobody is a matter of its address. A mode that opens the internet lets it through, and so does
/// a rule that opens a port on which not everybody speaks TLS.
async fn nameless(mut arrival: Arrival<'_>, flight: Vec<u8>, why: &str, last_word: Option<u8>) {
    if let Some((name, rule)) = by_address(&arrival) {
        return arrival.carry_to_address(FlowKind::Tcp, Some(name), Some(rule), flight).await;
    }
    match arrival.view().decide_nameless(arrival.origin.address, arrival.origin.port) {
        Decision::Allow(rule) => arrival.carry_to_address(FlowKind::Tcp, None, rule, flight).await,
        Decision::Deny(denial) => {
            arrival.refuse(FlowKind::Tls, None, denial.rule, format!("{why} {}", denial.reason));
            if let Some(word) = last_word {
                arrival.client.say_last(&alert(word)).await;
            }
        }
    }
}

fn by_address(arrival: &Arrival<'_>) -> Option<(Name, RuleName)> {
    let origin = &arrival.origin;
    arrival.view().approved_for(&arrival.thread.context.resolver, origin.address, origin.port)
}

/// Reads until it is clear what the client wants, or it ends.
async fn read_hello(client: &mut Socket, flight: &mut Vec<u8>) -> io::Result<Hello> {
    flight.reserve(USUAL_FLIGHT);
    loop {
        if client.read_buf(flight).await? == 0 {
            return Ok(Hello::NeedMore);
        }
        match Hello::read(flight) {
            Hello::NeedMore => flight.reserve(MAX_FLIGHT - flight.len().min(MAX_FLIGHT)),
            hello => return Ok(hello),
        }
    }
}

/// A fatal alert in the clear (RFC 8446, section 6).
fn alert(description: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, description]
}

/// How long a client may take to say whom it wants (egress.md rows 5 and 22).
pub const HELLO_DEADLINE: Duration = Duration::from_secs(5);
/// How long a client is given to speak first where it may be the server that does.
const SERVER_FIRST: Duration = Duration::from_millis(300);
/// A hello with a post-quantum key share.
const USUAL_FLIGHT: usize = 2048;
/// RFC 8446, section 6.2.
const ILLEGAL_PARAMETER: u8 = 47;
const ACCESS_DENIED: u8 = 49;
const DECODE_ERROR: u8 = 50;
const UNRECOGNIZED_NAME: u8 = 112;
