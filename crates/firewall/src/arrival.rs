//! A connection from a compute, before it is known what it wants.

use std::rc::Rc;
use std::sync::Arc;

use bastide_inspect::Name;
use bastide_plan::RuleName;
use bastide_plan::flow::FlowKind;
use tokio::io::AsyncWriteExt;

use crate::admission::Ticket;
use crate::connect::{self, Opening};
use crate::live::{LiveFlow, Origin};
use crate::socket::Socket;
use crate::switch::Switch;
use crate::thread::Thread;
use crate::view::View;

/// A connection from a compute, before it is known what it wants.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// Who serves it.
    pub thread: &'a Thread,
    /// Whence and whereto.
    pub origin: Origin,
    /// The connection.
    pub client: Socket,
    /// Its place.
    pub ticket: Ticket,
    /// Ends it.
    pub switch: Rc<Switch>,
}

impl Arrival<'_> {
    /// What it is decided by at this moment: the plan may have changed since it was opened. Whoever lets it through by this
    /// view says so ([`Arrival::begin`]) before it waits for anything, so that a later change finds it. And lets the view go
    /// before it carries anything: a connection lives longer than a plan, and ten thousand rules are megabytes.
    pub fn view(&self) -> Arc<View> {
        self.thread.context.view.load().unwrap_or_else(|| Arc::new(View::closed()))
    }

    /// Notes that it was let through.
    pub fn begin(&self, kind: FlowKind, name: Option<Name>, rule: Option<RuleName>) -> LiveFlow {
        self.thread.live.begin(self.origin.clone(), kind, name, rule, Rc::clone(&self.switch))
    }

    /// Notes that it was refused.
    pub fn refuse(&self, kind: FlowKind, name: Option<&Name>, rule: Option<RuleName>, reason: String) {
        self.thread.live.refuse(&self.origin, kind, name, rule, reason);
    }

    /// Carries it to the address that it was opened to; `flight` has been read already. `name` is what the address was
    /// approved for, if it was.
    pub async fn carry_to_address(
        mut self,
        kind: FlowKind,
        name: Option<Name>,
        rule: Option<RuleName>,
        flight: Vec<u8>,
    ) {
        if let Err(full) = self.ticket.establish() {
            return self.refuse(kind, name.as_ref(), rule, format!("Refused: {full}."));
        }
        let flow = self.begin(kind, name, rule);
        let (context, origin) = (&self.thread.context, &self.origin);
        let opening = if flight.is_empty() { Opening::Silence } else { Opening::Words };
        let mut server = match connect::to_address(context, origin.address, origin.port, opening).await {
            Ok(stream) => Socket::new(stream),
            Err(error) => return flow.failed(error.to_string()),
        };
        flow.connected(self.origin.address);
        flow.sent(flight.len());
        if let Err(error) = server.write_all(&flight).await {
            return flow.failed(format!("The destination hung up: {error}"));
        }
        drop(flight);
        let carried = self.thread.carrier.carry(&mut self.client, &mut server, &flow, None, Vec::new()).await;
        if carried.is_ok() {
            self.client.ended();
            server.ended();
        }
    }
}
