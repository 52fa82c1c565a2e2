//! What happens at the wall of a hub, as it happens: an answer that goes on until the client hangs up, or may no longer see it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use bastide_arm::id::ResourceId;
use bastide_identity::Secret;
use bastide_plan::flow::{FlowQuery, FlowRecord};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::ocsf;
use crate::failure::Failure;
use crate::front::{Credential, Front};

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Server-sent events, each with the place to go on from as its id.
    Events,
    /// A line of JSON each.
    Lines,
    /// A line of JSON each, as the Open Cybersecurity Schema Framework has them.
    Ocsf,
}

/// Somebody who reads a flow log.
#[derive(Debug, Clone)]
pub(super) struct FlowStream {
    hub: ResourceId,
    query: FlowQuery,
    form: Form,
    is_live: bool,
    token: Secret,
    epoch: i64,
    _place: Arc<OwnedSemaphorePermit>,
}

impl Form {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Lines | Self::Ocsf => "application/x-ndjson",
        }
    }

    fn write(self, hub: &ResourceId, next: u64, records: &[FlowRecord]) -> Bytes {
        let mut text = String::new();
        for (place, record) in records.iter().enumerate() {
            match self {
                Self::Events => {
                    if place + 1 == records.len() {
                        text += &format!("id: {next}\n");
                    }
                    text += &format!("data: {}\n\n", json!(record));
                }
                Self::Lines => text += &format!("{}\n", json!(record)),
                Self::Ocsf => text += &format!("{}\n", ocsf::event(hub, record)),
            }
        }
        text.into()
    }

    /// Says something that is no record, where there is a way to.
    fn note(self, event: &str, data: &Value) -> Bytes {
        match self {
            Self::Events => format!("event: {event}\ndata: {data}\n\n").into(),
            Self::Lines | Self::Ocsf => Bytes::new(),
        }
    }
}

impl FlowStream {
    pub(super) fn new(
        hub: ResourceId,
        query: FlowQuery,
        form: Form,
        is_live: bool,
        token: &str,
        epoch: i64,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { hub, query, form, is_live, token: Secret::new(token), epoch, _place: Arc::new(place) }
    }

    /// The body of the answer. What a slow client has not taken yet is not read either: the log on disk waits for it.
    pub(super) fn open(self, front: Arc<Front>) -> Body {
        let (sender, mut receiver) = mpsc::channel(2);
        tokio::spawn(self.run(front, sender));
        let portions = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
        Body::from_stream(portions)
    }

    async fn run(mut self, front: Arc<Front>, sender: mpsc::Sender<Result<Bytes, std::io::Error>>) {
        let (mut dropped, mut last_sent, mut last_asked) = (None, Instant::now(), Instant::now());
        loop {
            if let Err(failure) = self.stand(&front, &mut last_asked).await {
                let end = self.form.note("end", &json!({"reason": failure.to_string()}));
                let _gone = sender.try_send(Ok(end));
                return;
            }
            let flows = match front.networks.flows(&self.hub, self.query.clone()).await {
                Ok(flows) => flows,
                // An agent that is being started again is back in a moment; a file must not look whole.
                Err(_) if self.is_live => {
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
                Err(away) => {
                    let _gone = sender.send(Err(std::io::Error::other(away.to_string()))).await;
                    return;
                }
            };
            self.query.after = Some(flows.next);
            let mut bytes = self.form.write(&self.hub, flows.next, &flows.records);
            if dropped.replace(flows.dropped).is_some_and(|before| before < flows.dropped) {
                bytes = [bytes, self.form.note("dropped", &json!({"dropped": flows.dropped}))].concat().into();
            }
            if bytes.is_empty() && self.form == Form::Events && last_sent.elapsed() > HEARTBEAT {
                bytes = Bytes::from_static(b": still here\n\n");
            }
            if !bytes.is_empty() {
                last_sent = Instant::now();
                let sent = tokio::time::timeout(PATIENCE, sender.send(Ok(bytes))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
            let is_full = flows.records.len() >= usize::try_from(self.query.limit).unwrap_or(usize::MAX);
            match (is_full, self.is_live) {
                (true, _) => {}
                (false, false) => return,
                (false, true) => tokio::select! {
                    () = sender.closed() => return,
                    () = tokio::time::sleep(LOOK) => {}
                },
            }
        }
    }

    /// Whether the reader may still read: asked anew whenever access has changed, and from time to time.
    async fn stand(&mut self, front: &Front, last_asked: &mut Instant) -> Result<(), Failure> {
        if front.gatekeeper.epoch().await? == self.epoch && last_asked.elapsed() < LOOK_AGAIN {
            return Ok(());
        }
        let caller = front.identify(&Credential::Token(self.token.expose())).await?;
        front.gatekeeper.authorise(&caller, READ_RULES, &self.hub).await?;
        (self.epoch, *last_asked) = (caller.epoch, Instant::now());
        Ok(())
    }
}

/// What reading a flow log takes, as its route says.
const READ_RULES: &str = "Microsoft.MachineLearningServices/workspaces/outboundRules/read";

/// How often the log is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How often a token that is still good by the epoch is looked at all the same: it may have expired.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// Proxies close what is silent.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A client that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_mins(1);
