//! An agent of a test: it holds nothing, and reports what it is made to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bastide_plan::frame::{self, HEAD};
use bastide_plan::hub_plan::{HubId, HubPlan, PLAN_VERSION, RuleName};
use bastide_plan::message::{Answer, Ask, Request, Tell};
use bastide_plan::report::{HubReport, RuleState, WallState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// An agent that notes what it is told and reports what it is made to.
#[derive(Default)]
pub struct Told {
    pub plans: Vec<HubPlan>,
    pub retained: Option<Vec<HubId>>,
    pub fences: Vec<i64>,
    /// Why the wall is shut, while it is.
    pub shut: Option<String>,
    /// Rules that do not take.
    pub broken: BTreeMap<RuleName, String>,
}

pub type Shared = Arc<Mutex<Told>>;

pub struct Agent {
    pub told: Shared,
    pub listening: JoinHandle<()>,
}

impl Agent {
    pub fn start(socket: &Path) -> Self {
        let told = Shared::default();
        let listening = Self::listen(socket, &told);
        Self { told, listening }
    }

    pub fn listen(socket: &Path, told: &Shared) -> JoinHandle<()> {
        let _absent = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        let told = Arc::clone(told);
        tokio::spawn(async move {
            let mut peers = tokio::task::JoinSet::new();
            loop {
                let (peer, _) = listener.accept().await.unwrap();
                peers.spawn(converse(peer, Arc::clone(&told)));
            }
        })
    }

    pub fn last_plan(&self) -> HubPlan {
        self.told.lock().unwrap().plans.last().unwrap().clone()
    }
}

async fn converse(mut peer: UnixStream, told: Shared) {
    loop {
        let mut head = [0; HEAD];
        if peer.read_exact(&mut head).await.is_err() {
            return;
        }
        let mut json = vec![0; frame::length(head).unwrap()];
        peer.read_exact(&mut json).await.unwrap();
        let Ask { number, request } = frame::decode(&json).unwrap();
        let answer = answer(&mut told.lock().unwrap(), request);
        peer.write_all(&frame::encode(&Tell { number, answer }).unwrap()).await.unwrap();
    }
}

fn answer(told: &mut Told, request: Request) -> Answer {
    match request {
        Request::Hello { version, fence } => {
            assert_eq!(version, PLAN_VERSION);
            told.fences.push(fence);
            Answer::Welcome { version, hubs: Vec::new(), computes: Vec::new() }
        }
        Request::Apply { plan } => {
            let rules = plan.names.iter().map(|rule| &rule.rule).chain(plan.endpoints.iter().map(|end| &end.rule));
            let rules = rules.chain(plan.prefixes.iter().map(|rule| &rule.rule));
            let state = |rule: &RuleName| match told.broken.get(rule) {
                Some(reason) => RuleState::Inactive { reason: reason.clone() },
                None => RuleState::Active,
            };
            let report = HubReport {
                hub: plan.hub,
                stamp: Some(plan.stamp),
                wall: match &told.shut {
                    Some(reason) => WallState::Shut { reason: reason.clone() },
                    None => WallState::Standing,
                },
                rules: rules.map(|rule| (rule.clone(), state(rule))).collect(),
                repairs: 0,
                at: 0,
            };
            told.plans.push(*plan);
            Answer::Changed { report: Box::new(report) }
        }
        Request::Retain { hubs } => {
            told.retained = Some(hubs);
            Answer::Retained { remaining: Vec::new() }
        }
        other => Answer::Refused { reason: format!("not in this test: {other:?}") },
    }
}
