//! Records of a flow log as events of the Open Cybersecurity Schema Framework 1.4: Network Activity (4001) and DNS Activity
//! (4003), with the profile `security_control`.

use bastide_arm::id::ResourceId;
use bastide_plan::flow::{FlowKind, FlowRecord, FlowVerdict};
use serde_json::{Value, json};

/// The event that a record is.
pub(super) fn event(hub: &ResourceId, record: &FlowRecord) -> Value {
    let is_question = record.kind == FlowKind::Dns;
    let class = if is_question { DNS_ACTIVITY } else { NETWORK_ACTIVITY };
    let (activity, name) = activity(record, is_question);
    let passed = matches!(record.verdict, FlowVerdict::Allowed | FlowVerdict::Failed);
    let end = record.at.saturating_add(i64::try_from(record.duration).unwrap_or(i64::MAX));
    let mut event = json!({
        "metadata": {
            "version": "1.4.0",
            "product": {"name": "Bastide", "vendor_name": "Bastide", "version": env!("CARGO_PKG_VERSION")},
            "profiles": ["security_control"],
        },
        "category_uid": 4,
        "category_name": "Network Activity",
        "class_uid": class,
        "class_name": if is_question { "DNS Activity" } else { "Network Activity" },
        "activity_id": activity,
        "activity_name": name,
        "type_uid": class * 100 + activity,
        "severity_id": if passed { 1 } else { 2 },
        "severity": if passed { "Informational" } else { "Low" },
        "time": record.at,
        "start_time": record.at,
        "end_time": end,
        "duration": record.duration,
        "count": record.count,
        "action_id": if passed { 1 } else { 2 },
        "action": if passed { "Allowed" } else { "Denied" },
        "disposition_id": if passed { 1 } else { 2 },
        "disposition": if passed { "Allowed" } else { "Blocked" },
        "status_id": if record.verdict == FlowVerdict::Allowed { 1 } else { 2 },
        "status": if record.verdict == FlowVerdict::Allowed { "Success" } else { "Failure" },
        "src_endpoint": {"ip": record.source, "name": record.compute},
        "connection_info": {"direction_id": 2, "direction": "Outbound", "protocol_name": protocol(record.kind)},
        "unmapped": {
            "hub": hub.to_string(),
            "project": record.project,
            "kind": record.kind,
            "verdict": record.verdict,
        },
    });
    let Some(fields) = event.as_object_mut() else { return event };
    if is_question {
        fields.insert("query".into(), json!({"hostname": record.name}));
        if let Some(address) = record.address {
            fields.insert("answers".into(), json!([{"rdata": address, "type": "A"}]));
        }
        if record.verdict == FlowVerdict::Denied {
            fields.extend([("rcode_id".into(), json!(3)), ("rcode".into(), json!("NXDomain"))]);
        }
    } else {
        let traffic = json!({
            "bytes_out": record.sent,
            "bytes_in": record.received,
            "bytes": record.sent.saturating_add(record.received),
        });
        fields.insert("traffic".into(), traffic);
        let port = (record.port > 0).then_some(record.port);
        fields.insert("dst_endpoint".into(), json!({"ip": record.address, "port": port, "hostname": record.name}));
    }
    if let Some(rule) = &record.rule {
        fields.insert("firewall_rule".into(), json!({"name": rule}));
    }
    if let Some(reason) = &record.reason {
        fields.extend([("message".into(), json!(reason)), ("status_detail".into(), json!(reason))]);
    }
    event
}

fn activity(record: &FlowRecord, is_question: bool) -> (u32, &'static str) {
    match record.verdict {
        _ if is_question => (6, "Traffic"),
        FlowVerdict::Allowed => (6, "Traffic"),
        FlowVerdict::Denied => (5, "Refuse"),
        FlowVerdict::Cut => (3, "Reset"),
        FlowVerdict::Failed => (4, "Fail"),
    }
}

fn protocol(kind: FlowKind) -> &'static str {
    match kind {
        FlowKind::Tls | FlowKind::Http | FlowKind::Relay | FlowKind::Tcp => "tcp",
        FlowKind::Dns | FlowKind::Udp => "udp",
        FlowKind::Icmp => "icmp",
        FlowKind::Other => "other",
    }
}

const NETWORK_ACTIVITY: u32 = 4001;
const DNS_ACTIVITY: u32 = 4003;

#[cfg(test)]
mod tests {
    use bastide_plan::RuleName;

    use super::*;

    fn record(kind: FlowKind, verdict: FlowVerdict) -> FlowRecord {
        FlowRecord {
            at: 1_000,
            duration: 250,
            compute: Some("dev".into()),
            project: Some("churn".into()),
            source: [100, 127, 0, 2].into(),
            kind,
            name: Some("pypi.org".into()),
            address: Some([198, 18, 0, 9].into()),
            port: 443,
            verdict,
            rule: Some(RuleName("pypi".into())),
            reason: None,
            sent: 10,
            received: 32,
            count: 2,
        }
    }

    #[test]
    fn connections_are_network_activity_and_questions_dns_activity() {
        let hub = ResourceId::parse(
            "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/h",
        )
        .unwrap();
        let passed = event(&hub, &record(FlowKind::Tls, FlowVerdict::Allowed));
        assert_eq!((&passed["class_uid"], &passed["type_uid"]), (&json!(4001), &json!(400_106)));
        assert_eq!((&passed["src_endpoint"]["name"], &passed["unmapped"]["project"]), (&json!("dev"), &json!("churn")));
        assert_eq!((&passed["traffic"]["bytes"], &passed["end_time"]), (&json!(42), &json!(1250)));
        assert_eq!(passed["dst_endpoint"], json!({"ip": "198.18.0.9", "port": 443, "hostname": "pypi.org"}));
        let refused = event(&hub, &FlowRecord { address: None, ..record(FlowKind::Dns, FlowVerdict::Denied) });
        assert_eq!((&refused["class_uid"], &refused["rcode"]), (&json!(4003), &json!("NXDomain")));
        assert_eq!((&refused["action"], &refused["query"]["hostname"]), (&json!("Denied"), &json!("pypi.org")));
        assert_eq!(refused["dst_endpoint"], Value::Null);
    }
}
