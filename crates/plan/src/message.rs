//! What server and agent say to each other, over a local socket on which the kernel says who the peer is.
//!
//! The server asks and the agent answers each request once, in any order. An event is an [`Answer::Changed`] with request
//! number 0.

use serde::{Deserialize, Serialize};

use crate::explanation::{Explanation, Question};
use crate::flow::{FlowQuery, Flows};
use crate::hub_plan::{HubId, HubPlan, Leg};
use crate::report::HubReport;

/// From the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ask {
    /// Tells the answer's request; not 0.
    pub number: u64,
    /// What is asked.
    pub request: Request,
}

/// From the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tell {
    /// Which request is answered; 0 for an event.
    pub number: u64,
    /// The answer.
    pub answer: Answer,
}

/// What a server, or root on the node, asks of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Request {
    /// Must come first.
    Hello {
        /// [`crate::hub_plan::PLAN_VERSION`] of the server.
        version: u32,
        /// The server's fencing token: older ones are no longer listened to.
        fence: i64,
    },
    /// Make the node match a plan. Answered when the kernel was read back.
    Apply {
        /// What it must look like.
        plan: Box<HubPlan>,
    },
    /// These are all the hubs there are: take down every other one.
    Retain {
        /// The hubs with a network, ordered.
        hubs: Vec<HubId>,
    },
    /// Read the kernel and say what it holds.
    Report {
        /// Which hub.
        hub: HubId,
    },
    /// What would happen to a connection.
    Explain {
        /// In which hub.
        hub: HubId,
        /// Which connection.
        question: Question,
    },
    /// What happened.
    Flows {
        /// In which hub.
        hub: HubId,
        /// Which records.
        query: FlowQuery,
    },
    /// Give the hub a leg with nothing in it, for tests of the wall. Only root may ask.
    Attach {
        /// To which hub.
        hub: HubId,
        /// The leg's name.
        name: String,
    },
    /// Take such a leg away. Only root may ask.
    Detach {
        /// From which hub.
        hub: HubId,
        /// The leg's name.
        name: String,
    },
}

/// What an agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Answer {
    /// To [`Request::Hello`].
    Welcome {
        /// [`crate::hub_plan::PLAN_VERSION`] of the agent.
        version: u32,
        /// The state of every hub it holds.
        hubs: Vec<HubReport>,
    },
    /// To [`Request::Apply`] and [`Request::Report`]; as an event, when the kernel's state has changed by itself.
    Changed {
        /// What the kernel holds.
        report: Box<HubReport>,
    },
    /// To [`Request::Retain`].
    Retained {
        /// What could not be taken down yet, and is tried again.
        remaining: Vec<HubId>,
    },
    /// To [`Request::Explain`].
    Explained {
        /// The verdict.
        explanation: Box<Explanation>,
    },
    /// To [`Request::Flows`].
    Flows {
        /// The records.
        flows: Flows,
    },
    /// To [`Request::Attach`].
    Attached {
        /// The leg.
        leg: Leg,
        /// The name of its network namespace, as `ip netns` knows it.
        namespace: String,
    },
    /// To [`Request::Detach`].
    Detached,
    /// The request was understood and cannot be done.
    Refused {
        /// Why, and what to do about it.
        reason: String,
    },
}
