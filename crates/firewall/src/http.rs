//! Connections to port 80: every request on them is read, decided about and written anew (egress.md row 17).
//!
//! One request at a time: the next one is looked at when the response to the one before it has ended. That is what makes it
//! certain which host a byte belongs to, and where the words of a refusal go.

mod exchange;
mod page;

use std::io;
use std::time::Duration;

use bastide_inspect::Name;
use bastide_inspect::http::{Framing, Head, HttpRefusal, MAX_HEAD, Request};
use bastide_plan::flow::FlowKind;
use tokio::io::{AsyncReadExt, Interest};
use tokio::time::timeout;

use self::exchange::Ended;
use self::page::Page;
use crate::arrival::Arrival;
use crate::connect;
use crate::decision::Decision;
use crate::live::LiveFlow;
use crate::socket::Socket;
use crate::tls::HELLO_DEADLINE;

/// Serves a connection to its end.
pub async fn serve(arrival: Arrival<'_>) {
    let mut session = Session { arrival, received: Vec::new(), head: Vec::new(), upstream: None };
    loop {
        let asked = match session.next_request().await {
            Next::Request(asked) => asked,
            Next::Closed => return session.end(),
            Next::Late => return session.refuse("It did not say within 5 seconds which host it wants.").await,
            Next::Refused(refusal) => return session.refuse(&format!("Refused: {refusal}.")).await,
        };
        match session.answer(asked).await {
            Ended::KeepsAlive => {}
            Ended::Closes => return session.end(),
            Ended::Page(page) => return session.arrival.client.say_last(&page.write()).await,
            Ended::Broken => return,
        }
    }
}

/// A connection of a client, with the connection that its requests go to.
struct Session<'a> {
    arrival: Arrival<'a>,
    /// What the client has sent and nobody has taken yet.
    received: Vec<u8>,
    /// The head that goes to the far side.
    head: Vec<u8>,
    upstream: Option<Upstream>,
}

/// A connection to a host.
struct Upstream {
    name: Name,
    socket: Socket,
    /// What the host has sent and nobody has taken yet.
    received: Vec<u8>,
    // Behind the socket, so that the flow ends when the socket has.
    flow: LiveFlow,
}

/// What was asked; its head is [`Session::head`].
struct Asked {
    host: Name,
    framing: Framing,
    keeps_alive: bool,
    is_websocket: bool,
    is_head: bool,
}

enum Next {
    Request(Asked),
    Refused(HttpRefusal),
    Closed,
    Late,
}

impl Session<'_> {
    /// Reads until a whole head has arrived.
    async fn next_request(&mut self) -> Next {
        if self.received.is_empty() && self.upstream.is_some() {
            match timeout(IDLE, self.something_to_read()).await {
                Ok(Ok(true)) => {}
                _ => return Next::Closed,
            }
        }
        let wait = async {
            loop {
                if let Some(next) = self.read_request() {
                    return next;
                }
                self.received
                    .reserve(USUAL_HEAD.max(MAX_HEAD.saturating_sub(self.received.len()).min(self.received.len())));
                match self.arrival.client.read_buf(&mut self.received).await {
                    Ok(count) if count > 0 => {}
                    _ => return Next::Closed,
                }
            }
        };
        timeout(HELLO_DEADLINE, wait).await.unwrap_or(Next::Late)
    }

    /// Waits between two requests; false when the far side has ended, which the client is then to learn.
    async fn something_to_read(&mut self) -> io::Result<bool> {
        let Some(upstream) = &self.upstream else { return Ok(true) };
        tokio::select! {
            biased;
            ready = upstream.socket.ready(Interest::READABLE) => ready.map(|_| false),
            ready = self.arrival.client.readable() => ready.map(|()| true),
        }
    }

    /// Takes a head from what has arrived; `None` when it is not whole.
    fn read_request(&mut self) -> Option<Next> {
        let request = match Request::read(&self.received, self.arrival.origin.port) {
            Head::Found(request) => request,
            Head::NeedMore => return None,
            Head::Refuse(refusal) => return Some(Next::Refused(refusal)),
        };
        self.head.clear();
        request.write(&mut self.head);
        let asked = Asked {
            host: request.host.clone(),
            framing: request.framing,
            keeps_alive: request.keeps_alive,
            is_websocket: request.is_websocket,
            is_head: request.method == "HEAD",
        };
        let length = request.length;
        self.received.drain(..length);
        Some(Next::Request(asked))
    }

    /// Decides about a request, and carries it and its response.
    async fn answer(&mut self, asked: Asked) -> Ended {
        let decision = self.arrival.view().decide(&asked.host, self.arrival.origin.port);
        let rule = match decision {
            Decision::Allow(rule) => rule,
            Decision::Deny(denial) => {
                let page = Page::forbidden(&denial.reason);
                self.arrival.refuse(FlowKind::Http, Some(&asked.host), denial.rule, denial.reason);
                return Ended::Page(page);
            }
        };
        let mut upstream = match self.upstream.take().filter(|upstream| upstream.name == asked.host) {
            Some(upstream) => upstream,
            None => {
                if let Err(full) = self.arrival.ticket.establish() {
                    let reason = format!("Refused: {full}.");
                    let page = Page::too_many(&reason);
                    self.arrival.refuse(FlowKind::Http, Some(&asked.host), rule, reason);
                    return Ended::Page(page);
                }
                let flow = self.arrival.begin(FlowKind::Http, Some(asked.host.clone()), rule);
                match self.connect(&asked.host, flow).await {
                    Ok(upstream) => upstream,
                    Err(page) => return Ended::Page(page),
                }
            }
        };
        let ended = self.exchange(&asked, &mut upstream).await;
        match ended {
            Ended::KeepsAlive => self.upstream = Some(upstream),
            Ended::Closes => upstream.socket.ended(),
            Ended::Page(_) | Ended::Broken => {}
        }
        ended
    }

    async fn connect(&self, host: &Name, flow: LiveFlow) -> Result<Upstream, Page> {
        let (context, origin) = (&self.arrival.thread.context, &self.arrival.origin);
        match connect::to_name(context, host, origin).await {
            Ok((stream, address)) => {
                flow.connected(address);
                Ok(Upstream { name: host.clone(), socket: Socket::new(stream), received: Vec::new(), flow })
            }
            Err(error) => {
                let page = Page::bad_gateway(&format!("{error}."));
                flow.failed(error.to_string());
                Err(page)
            }
        }
    }

    /// Refuses what could not be read; a mode that opens the internet carries it by its address instead, when nothing else
    /// was on the connection before.
    async fn refuse(mut self, why: &str) {
        let denial = match self.arrival.view().decide_nameless(self.arrival.origin.address, self.arrival.origin.port) {
            Decision::Allow(rule) if self.upstream.is_none() => {
                return self.arrival.carry_to_address(FlowKind::Tcp, None, rule, self.received).await;
            }
            Decision::Allow(_) => String::new(),
            Decision::Deny(denial) => denial.reason,
        };
        self.arrival.refuse(FlowKind::Http, None, None, format!("{why} {denial}").trim_end().to_owned());
        if !self.received.is_empty() {
            self.arrival.client.say_last(&Page::bad_request(why).write()).await;
        }
    }

    /// Both sides have come to their end.
    fn end(&mut self) {
        self.arrival.client.ended();
        if let Some(upstream) = &mut self.upstream {
            upstream.socket.ended();
        }
    }
}

/// How long a connection may wait for its next request.
const IDLE: Duration = Duration::from_mins(2);
const USUAL_HEAD: usize = 1024;
