//! What the server counts.

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Duration;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VerbLabels {
    verb: String,
    resource: String,
}

/// Upper bounds of the latency buckets, in seconds.
const BUCKETS: [f64; 10] = [0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

/// What the server counts.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    durations: Family<VerbLabels, Histogram>,
    pub in_flight: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<RequestLabels, Counter>::default();
        let durations = Family::<VerbLabels, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let in_flight = Gauge::default();
        registry.register("apiserver_request", "Requests, by verb, resource and HTTP status code", requests.clone());
        registry.register(
            "apiserver_request_duration_seconds",
            "Response latency in seconds, by verb and resource; watches are left out",
            durations.clone(),
        );
        registry.register("apiserver_current_inflight_requests", "Requests that are being worked on", in_flight.clone());
        Self { registry: Mutex::new(registry), requests, durations, in_flight }
    }

    /// One request is done.
    pub(crate) fn done(&self, info: &crate::info::RequestInfo, code: u16, took: Duration, long_running: bool) {
        let verb = info.verb.to_uppercase();
        // Paths that are no resource are not labels: anybody could make up new ones.
        let known = info.is_resource && code != 404;
        let part = |text: &str| if known { text.to_owned() } else { String::new() };
        let labels = RequestLabels {
            verb: verb.clone(),
            group: part(&info.group),
            version: part(&info.version),
            resource: part(&info.resource),
            subresource: part(&info.subresource),
            code,
        };
        self.requests.get_or_create(&labels).inc();
        if !long_running {
            self.durations.get_or_create(&VerbLabels { verb, resource: part(&info.resource) }).observe(took.as_secs_f64());
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry.lock()) {
            Ok(()) => text,
            Err(error) => format!("# {error}\n"),
        }
    }
}
