//! Metrics: counters and durations per operation, the recorder, and its text for scrapers.

use std::time::Duration;

use http::StatusCode;
use metrics::{Counter, Histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

const DURATIONS_SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// The handles of one operation, looked up once.
pub(crate) struct Measured {
    /// By first digit of the status.
    classes: [Counter; 5],
    duration: Histogram,
}

impl Measured {
    pub(crate) fn new(surface: &'static str, operation: &str) -> Self {
        let class = |status: &'static str| metrics::counter!("reeve_http_requests_total", "surface" => surface, "operation" => operation.to_owned(), "status" => status);
        Self {
            classes: [class("1xx"), class("2xx"), class("3xx"), class("4xx"), class("5xx")],
            duration: metrics::histogram!("reeve_http_request_duration_seconds", "surface" => surface, "operation" => operation.to_owned()),
        }
    }

    pub(crate) fn record(&self, status: StatusCode, took: Duration) {
        if let Some(counter) = self.classes.get(usize::from(status.as_u16() / 100).wrapping_sub(1)) {
            counter.increment(1);
        }
        self.duration.record(took.as_secs_f64());
    }
}

/// The process's metrics.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Makes this process record metrics. Once, before any surface is built: handles are bound then. Names of counters
    /// end in `_total`.
    ///
    /// # Errors
    /// When a recorder is installed already.
    pub fn install() -> Result<Self, String> {
        let builder = PrometheusBuilder::new().set_buckets(&DURATIONS_SECONDS).map_err(|e| e.to_string())?;
        let handle = builder.install_recorder().map_err(|e| e.to_string())?;
        metrics::describe_counter!("reeve_http_requests_total", "Requests answered");
        metrics::describe_histogram!(
            "reeve_http_request_duration_seconds",
            metrics::Unit::Seconds,
            "Time from headers to answer"
        );
        Ok(Self(handle))
    }

    /// Has to run every few seconds: folds recorded values together, or they pile up while nobody scrapes.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }

    /// The text for a scraper and its content type; OpenMetrics when `accept` asks for it.
    pub fn render(&self, accept: Option<&str>) -> (&'static str, String) {
        let text = self.0.render();
        if accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", open_metrics(&text))
        } else {
            ("text/plain; version=0.0.4; charset=utf-8", text)
        }
    }
}

/// In OpenMetrics a counter's family has no `_total`, its samples do, there are no blank lines, and the end is marked.
fn open_metrics(text: &str) -> String {
    let mut counters: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter")) {
            counters.push(name);
        }
    }
    let mut output = String::with_capacity(text.len() + 8);
    for line in text.lines().filter(|line| !line.is_empty()) {
        let renamed = ["# TYPE ", "# HELP "].into_iter().find_map(|mark| {
            let (name, rest) = line.strip_prefix(mark)?.split_once(' ')?;
            let family = name.strip_suffix("_total").filter(|_| counters.contains(&name))?;
            Some(format!("{mark}{family} {rest}"))
        });
        output.push_str(renamed.as_deref().unwrap_or(line));
        output.push('\n');
    }
    output.push_str("# EOF\n");
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_renames_counter_families_only() {
        let text = "# HELP a_total Things\n# TYPE a_total counter\na_total{x=\"1\"} 5\n\n# TYPE b gauge\nb 1\n";
        let expected = "# HELP a Things\n# TYPE a counter\na_total{x=\"1\"} 5\n# TYPE b gauge\nb 1\n# EOF\n";
        assert_eq!(open_metrics(text), expected);
    }
}
