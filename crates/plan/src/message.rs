//! What server and agent say to each other, over a local socket on which the kernel says who the peer is.
//!
//! The server asks and the agent answers each request once, in any order. An event is an [`Answer::Changed`] or
//! [`Answer::ComputeChanged`] with request number 0.
//!
//! [`Request::Open`] has a connection to itself: it is the first question there, without a greeting, and what follows is
//! about the process that it opened. Such a connection hears no events.

use serde::{Deserialize, Serialize};

use crate::compute_plan::ComputePlan;
use crate::compute_report::{ComputeReport, ScriptLog, Usage};
use crate::explanation::{Explanation, Question};
use crate::flow::{FlowCount, FlowQuery, Flows};
use crate::hub_plan::{ComputeId, HubId, HubPlan, Leg};
use crate::report::HubReport;
use crate::way_in::{Exit, TerminalSize, WayIn};

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
    /// Must come first, but for [`Request::Open`].
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
    /// Make the instances of a hub match a plan. Answered when it is kept; what becomes of it is told by events.
    Run {
        /// What must run.
        plan: Box<ComputePlan>,
    },
    /// These are all the hubs there are: take down every other one, its instances first.
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
    /// How often each rule has decided something.
    FlowCounts {
        /// In which hub.
        hub: HubId,
    },
    /// What an instance has used.
    Usage {
        /// Of which.
        compute: ComputeId,
    },
    /// What a script has printed, its last 256 KiB.
    Log {
        /// In which instance.
        compute: ComputeId,
        /// Which script.
        script: ScriptLog,
    },
    /// Open a way into an instance. The answer, [`Answer::Opened`], brings descriptors. Not fenced: it changes no plan, and
    /// every server that authorises people may ask.
    Open {
        /// [`crate::hub_plan::PLAN_VERSION`] of the server.
        version: u32,
        /// Into which.
        compute: ComputeId,
        /// What.
        way: Box<WayIn>,
    },
    /// The terminal of the process that this connection has opened has another size now. Not answered.
    Resize {
        /// Its size.
        size: TerminalSize,
    },
    /// Send the process that this connection has opened a signal. Not answered.
    Signal {
        /// Its number.
        signal: u8,
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
        /// The state of every instance it holds.
        computes: Vec<ComputeReport>,
    },
    /// To [`Request::Apply`] and [`Request::Report`]; as an event, when the kernel's state has changed by itself.
    Changed {
        /// What the kernel holds.
        report: Box<HubReport>,
    },
    /// To [`Request::Run`].
    Planned,
    /// As an event: an instance does something else than before.
    ComputeChanged {
        /// What.
        report: Box<ComputeReport>,
    },
    /// To [`Request::Usage`].
    Used {
        /// How much.
        usage: Usage,
    },
    /// To [`Request::Log`].
    Logged {
        /// The end of what was printed.
        text: String,
    },
    /// To [`Request::Open`]; brings as many descriptors as the way in says.
    Opened {
        /// How many descriptors come with it.
        descriptors: u8,
    },
    /// After [`Answer::Opened`] for a process, with the same number: it has ended.
    Exited {
        /// How.
        exit: Exit,
        /// What else there is to say about it, as a sentence for who waits for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
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
    /// To [`Request::FlowCounts`].
    FlowCounts {
        /// A line for each rule and verdict.
        counts: Vec<FlowCount>,
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
