//! What an agent and the firewall of one hub say to each other, over a pair of sockets made by the agent.
//!
//! Descriptors travel beside a message; a message says how many it brings. The firewall holds no privilege: whatever it
//! needs opened, the agent opens.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::address::AddressFilter;
use crate::explanation::{Explanation, Question};
use crate::flow::{FlowQuery, FlowRecord, Flows};
use crate::hub_plan::{HubPlan, Leg, RuleName, Stamp};
use crate::name_change::NameChange;

/// From the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ToWorker {
    /// First message, before privileges are dropped; brings no descriptor.
    Start {
        /// [`crate::hub_plan::PLAN_VERSION`] of the agent.
        version: u32,
        /// Where names may lead.
        filter: AddressFilter,
        /// The path of the server's socket for [`crate::hub_plan::Target::Server`].
        server_socket: String,
    },
    /// A listening socket of the hub's namespace; brings one descriptor. Several of a purpose share the work.
    Listener {
        /// What arrives there.
        purpose: Purpose,
    },
    /// A socket connected to the host's resolver; brings one descriptor.
    Upstream {
        /// How to speak on it.
        transport: Transport,
    },
    /// The kernel's log of refused packets (`nfnetlink_log`, bound to the hub's group); brings one descriptor.
    /// What the kernel says of a packet is a [`crate::log_prefix::LogPrefix`].
    KernelLog,
    /// What the kernel tells of connections that it forwarded and that have ended (`ctnetlink`, destroy events); brings one
    /// descriptor.
    Endings,
    /// The answer to [`FromWorker::NeedHost`]; brings one descriptor, a stream that may still be connecting.
    Host {
        /// Of the question.
        number: u64,
    },
    /// The answer to [`FromWorker::NeedHost`] when there is no connection.
    NoHost {
        /// Of the question.
        number: u64,
        /// Why, in a sentence.
        reason: String,
    },
    /// Decide by this plan from now on; answered by [`FromWorker::Applied`] once every flow that it does not allow is cut.
    Plan {
        /// The plan.
        plan: Box<HubPlan>,
        /// Legs that are not in the plan: those of tests.
        attached: Vec<Leg>,
    },
    /// Decide by the plan of before, but for this; answered like [`ToWorker::Plan`]. A plan with 10,000 rules is a
    /// megabyte, and most changes are about one.
    Change {
        /// What is different.
        change: NameChange,
    },
    /// Where names may lead has changed, because the host's addresses have.
    Filter {
        /// The new filter.
        filter: AddressFilter,
    },
    /// Answered by [`FromWorker::Explained`].
    Explain {
        /// Comes back with the answer.
        number: u64,
        /// The question.
        question: Question,
    },
    /// Answered by [`FromWorker::Flows`].
    Flows {
        /// Comes back with the answer.
        number: u64,
        /// Which records.
        query: FlowQuery,
    },
    /// Hand over the records that nothing is added to any more, [`BATCH`] at most; answered once, by
    /// [`FromWorker::Collected`], as soon as there are any. A firewall that is not asked lets the oldest ones go.
    Collect {
        /// Also those that something may be added to, and connections that are still carried: it is about to end. Answered
        /// at once.
        is_last: bool,
    },
}

/// From the firewall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum FromWorker {
    /// Privileges are dropped; nothing hostile was read before.
    Confined,
    /// The data path decides by the plan of this stamp, and flows that it does not allow are gone.
    Applied {
        /// Which plan.
        stamp: Stamp,
        /// Rules that the firewall cannot enforce, with the reason.
        inactive: Vec<(RuleName, String)>,
    },
    /// Answered with [`ToWorker::Upstream`].
    NeedUpstream {
        /// How it is going to speak.
        transport: Transport,
    },
    /// A connection to a service of the host is wanted, at a loopback address that the plan declares and an Owner admitted
    /// ([`crate::hub_plan::Target::External`]). Answered with [`ToWorker::Host`] or [`ToWorker::NoHost`].
    NeedHost {
        /// Comes back with the answer.
        number: u64,
        /// Where it is.
        address: Ipv4Addr,
        /// Its TCP port.
        port: u16,
    },
    /// The answer to [`ToWorker::Explain`].
    Explained {
        /// Of the question.
        number: u64,
        /// The verdict.
        explanation: Box<Explanation>,
    },
    /// The answer to [`ToWorker::Flows`]: what is not handed over yet.
    Flows {
        /// Of the question.
        number: u64,
        /// The records.
        flows: Flows,
    },
    /// The answer to [`ToWorker::Collect`]. These are the agent's from now on.
    Collected {
        /// Oldest first.
        records: Vec<FlowRecord>,
        /// How many were let go since the last time.
        dropped: u64,
        /// As it was asked.
        is_last: bool,
    },
}

/// What arrives at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Purpose {
    /// Connections to any address at port 443, and at other ports of FQDN rules: `getsockname` tells which (TPROXY).
    Tls,
    /// Connections to any address at port 80.
    Http,
    /// DNS over UDP, at the gateway.
    DnsUdp,
    /// DNS over TCP, at the gateway.
    DnsTcp,
    /// Connections to a private endpoint or to a service of Bastide's.
    Relay {
        /// The address it listens at.
        address: Ipv4Addr,
        /// The port.
        port: u16,
    },
}

/// A way to speak DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Transport {
    /// A connected datagram socket; its source port is one more thing an attacker must guess.
    Udp,
    /// A connected stream.
    Tcp,
}

/// Records that are handed over at a time, at most.
pub const BATCH: usize = 4096;
