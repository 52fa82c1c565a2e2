//! What the rules of one hub have decided, as numbers for Prometheus. They name rules, so they are not among those that
//! everybody on the node may read: whoever scrapes them proves the right to read the hub's rules.

use bastide_arm::id::ResourceId;
use bastide_plan::flow::{FlowCount, FlowVerdict};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    hub: String,
    rule: String,
    verdict: &'static str,
}

/// The text that Prometheus reads.
pub(super) fn text(hub: &ResourceId, counts: &[FlowCount]) -> String {
    let mut registry = Registry::with_prefix("bastide_network");
    let [flows, sent, received] = [(); 3].map(|()| Family::<Labels, Counter>::default());
    registry.register("flows", "Connections and questions, by the rule that decided", flows.clone());
    registry.register("sent_bytes", "Bytes from computes", sent.clone());
    registry.register("received_bytes", "Bytes to computes", received.clone());
    for count in counts {
        let rule = count.rule.as_ref().map(ToString::to_string).unwrap_or_default();
        let labels = Labels { hub: hub.name().to_owned(), rule, verdict: verdict(count.verdict) };
        flows.get_or_create(&labels).inc_by(count.flows);
        sent.get_or_create(&labels).inc_by(count.sent);
        received.get_or_create(&labels).inc_by(count.received);
    }
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => text,
        Err(_) => String::new(),
    }
}

fn verdict(verdict: FlowVerdict) -> &'static str {
    match verdict {
        FlowVerdict::Allowed => "allowed",
        FlowVerdict::Denied => "denied",
        FlowVerdict::Cut => "cut",
        FlowVerdict::Failed => "failed",
    }
}
