//! Numbers for Prometheus at `/metrics`: no ids, no names, nothing that tells tenants apart.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Instant;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// The server's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    durations: Family<MethodLabel, Histogram>,
    in_flight: Gauge,
    revision: Gauge<i64, AtomicI64>,
}

/// A request under way. One that is dropped before its answer, because the client hung up, no longer counts as such.
#[derive(Debug)]
pub struct Timer {
    started: Instant,
    in_flight: Gauge,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.in_flight.dec();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabel {
    method: &'static str,
}

impl Metrics {
    /// Metrics at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("bastide");
        let requests = Family::<Labels, Counter>::default();
        let durations = Family::<MethodLabel, Histogram>::new_with_constructor(|| {
            // 0.25 ms to about 8 s.
            Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
        });
        let (in_flight, revision) = (Gauge::default(), Gauge::default());
        registry.register("http_requests", "Answered requests to the resource manager", requests.clone());
        registry.register("http_request_duration_seconds", "Time from head to answer", durations.clone());
        registry.register("http_requests_in_flight", "Requests under way", in_flight.clone());
        registry.register("store_revision", "Global revision of the store", revision.clone());
        Self { registry, requests, durations, in_flight, revision }
    }

    /// A request begins.
    pub fn start(&self) -> Timer {
        self.in_flight.inc();
        Timer { started: Instant::now(), in_flight: self.in_flight.clone() }
    }

    /// A request was answered.
    pub fn finish(&self, timer: &Timer, method: &Method, status: StatusCode) {
        let method = label(method);
        self.requests.get_or_create(&Labels { method, status: status.as_u16() }).inc();
        self.durations.get_or_create(&MethodLabel { method }).observe(timer.started.elapsed().as_secs_f64());
    }

    /// The store's revision, read when the metrics are.
    pub fn set_revision(&self, revision: i64) {
        self.revision.set(revision);
    }

    /// The text Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Answers `/metrics`.
pub async fn serve(State((metrics, store)): State<(Arc<Metrics>, bastide_store::Store)>) -> Response {
    metrics.set_revision(*store.revisions().borrow());
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], metrics.text())
        .into_response()
}

/// A word from a closed set: a client that makes up methods must not make up time series.
fn label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "POST" => "POST",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_method_and_status() {
        let metrics = Metrics::new();
        let timer = metrics.start();
        metrics.finish(&timer, &Method::from_bytes(b"BREW").unwrap(), StatusCode::NOT_FOUND);
        drop(timer);
        let text = metrics.text();
        assert!(text.contains("bastide_http_requests_total{method=\"other\",status=\"404\"} 1"), "{text}");
        assert!(text.contains("bastide_http_requests_in_flight 0"), "{text}");
    }
}
