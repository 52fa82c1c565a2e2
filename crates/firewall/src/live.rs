//! The connections that are being carried at this moment.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bastide_inspect::Name;
use bastide_plan::RuleName;
use bastide_plan::flow::{FlowKind, FlowRecord, FlowVerdict};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::connect;
use crate::decision::Decision;
use crate::flow_log::FlowLog;
use crate::switch::Switch;
use crate::view::View;

/// What is known about a connection from its first moment on.
#[derive(Debug, Clone)]
pub struct Origin {
    /// When it began, in milliseconds since 1970.
    pub at: i64,
    /// The same moment by the monotonic clock.
    pub start: Instant,
    /// The compute's name.
    pub compute: Option<String>,
    /// The name of the project that it belongs to, or of the hub.
    pub project: Option<String>,
    /// Its address.
    pub source: Ipv4Addr,
    /// The address it was opened to; whether that means anything is another question.
    pub address: Ipv4Addr,
    /// The port it was opened to.
    pub port: u16,
}

/// A connection that was let through.
#[derive(Debug)]
pub struct Flow {
    origin: Origin,
    kind: FlowKind,
    name: Option<Name>,
    rule: RefCell<Option<RuleName>>,
    address: Cell<Option<Ipv4Addr>>,
    sent: Cell<u64>,
    received: Cell<u64>,
    switch: Rc<Switch>,
    failure: RefCell<Option<String>>,
}

/// All flows of a thread.
#[derive(Debug)]
pub struct LiveFlows {
    flows: RefCell<HashMap<u64, Rc<Flow>>>,
    next: Cell<u64>,
    ended: Notify,
    log: Arc<FlowLog>,
    clock: Arc<dyn Clock>,
}

/// A flow's place among the live ones; dropping it writes the record.
#[derive(Debug)]
pub struct LiveFlow {
    flows: Rc<LiveFlows>,
    number: u64,
    flow: Rc<Flow>,
}

impl LiveFlows {
    /// No flows yet; what ends goes into `log`.
    pub fn new(log: Arc<FlowLog>, clock: Arc<dyn Clock>) -> Self {
        Self { flows: RefCell::default(), next: Cell::new(0), ended: Notify::new(), log, clock }
    }

    /// Notes a flow that was let through by `rule`, and is ended by `switch`.
    pub fn begin(
        self: &Rc<Self>,
        origin: Origin,
        kind: FlowKind,
        name: Option<Name>,
        rule: Option<RuleName>,
        switch: Rc<Switch>,
    ) -> LiveFlow {
        let flow = Rc::new(Flow {
            origin,
            kind,
            name,
            rule: RefCell::new(rule),
            address: Cell::new(None),
            sent: Cell::new(0),
            received: Cell::new(0),
            switch,
            failure: RefCell::new(None),
        });
        let number = self.next.get();
        self.next.set(number + 1);
        self.flows.borrow_mut().insert(number, Rc::clone(&flow));
        LiveFlow { flows: Rc::clone(self), number, flow }
    }

    /// Writes the record of a connection that was refused.
    pub fn refuse(&self, origin: &Origin, kind: FlowKind, name: Option<&Name>, rule: Option<RuleName>, reason: String) {
        self.log.push(FlowRecord {
            name: name.map(Name::to_string),
            rule,
            reason: Some(reason),
            verdict: FlowVerdict::Denied,
            ..self.record(origin, kind)
        });
    }

    /// Ends every flow that `view` does not let through any more, and waits until they are gone.
    pub async fn enforce(&self, view: &View) {
        for flow in self.flows.borrow().values() {
            if let Some(reason) = flow.check(view) {
                flow.switch.throw(reason);
            }
        }
        loop {
            let ended = self.ended.notified();
            if !self.flows.borrow().values().any(|flow| flow.switch.is_thrown()) {
                return;
            }
            ended.await;
        }
    }

    /// Records of the flows that live, as they are now.
    pub fn records(&self) -> Vec<FlowRecord> {
        self.flows.borrow().values().map(|flow| self.record_of(flow, FlowVerdict::Allowed, None)).collect()
    }

    fn record_of(&self, flow: &Flow, verdict: FlowVerdict, reason: Option<String>) -> FlowRecord {
        FlowRecord {
            name: flow.name.as_ref().map(Name::to_string),
            address: flow.address.get().or(Some(flow.origin.address)),
            rule: flow.rule.borrow().clone(),
            verdict,
            reason,
            sent: flow.sent.get(),
            received: flow.received.get(),
            ..self.record(&flow.origin, flow.kind)
        }
    }

    fn record(&self, origin: &Origin, kind: FlowKind) -> FlowRecord {
        let passed = self.clock.instant().saturating_duration_since(origin.start);
        FlowRecord {
            at: origin.at,
            duration: u64::try_from(passed.as_millis()).unwrap_or(u64::MAX),
            compute: origin.compute.clone(),
            project: origin.project.clone(),
            source: origin.source,
            kind,
            name: None,
            address: Some(origin.address),
            port: origin.port,
            verdict: FlowVerdict::Allowed,
            rule: None,
            reason: None,
            sent: 0,
            received: 0,
            count: 1,
        }
    }
}

impl Flow {
    /// Notes the address that it was connected to.
    pub fn connected(&self, address: Ipv4Addr) {
        self.address.set(Some(address));
    }

    /// Counts bytes from the compute.
    pub fn sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }

    /// Counts bytes to the compute.
    pub fn received(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
    }

    /// Notes that it failed beyond the wall.
    pub fn failed(&self, reason: String) {
        self.failure.borrow_mut().get_or_insert(reason);
    }

    /// Why it may not go on; when it may, the rule that now lets it through is noted.
    fn check(&self, view: &View) -> Option<String> {
        if view.leg(self.origin.source).is_none() {
            return Some("Its compute was removed from the hub.".to_owned());
        }
        if self.kind == FlowKind::Relay {
            let relay = view.policy.relay(self.origin.address, self.origin.port);
            return relay
                .and_then(|relay| relay.target)
                .is_none()
                .then(|| "What it was connected to is gone.".to_owned());
        }
        if let Some(address) = self.address.get()
            && let Err(error) = connect::check(view, address, self.origin.port)
        {
            return Some(format!("Its destination changed: {error}."));
        }
        let decision = match &self.name {
            Some(name) => view.decide(name, self.origin.port),
            None => view.decide_nameless(self.origin.address, self.origin.port),
        };
        match decision {
            Decision::Allow(rule) => {
                self.rule.replace(rule);
                None
            }
            Decision::Deny(denial) => Some(denial.reason),
        }
    }
}

impl std::ops::Deref for LiveFlow {
    type Target = Flow;

    fn deref(&self) -> &Flow {
        &self.flow
    }
}

impl Drop for LiveFlow {
    fn drop(&mut self) {
        self.flows.flows.borrow_mut().remove(&self.number);
        let (verdict, reason) = match (self.flow.switch.reason(), self.flow.failure.take()) {
            (Some(reason), _) => (FlowVerdict::Cut, Some(reason)),
            (None, Some(reason)) => (FlowVerdict::Failed, Some(reason)),
            (None, None) => (FlowVerdict::Allowed, None),
        };
        self.flows.log.push(self.flows.record_of(&self.flow, verdict, reason));
        self.flows.ended.notify_waiters();
    }
}
