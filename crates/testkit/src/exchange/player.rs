//! Plays scripts against a base URL.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use reeve_http_kit::Contract;
use serde_json::{Value, json};

use super::coverage::{Coverage, operation_of};
use super::matcher::{Matcher, text_problem};
use super::script::{RequestSpec, ResponseSpec, Script, Step};

/// How often, and how many times, `until` repeats a request: for as long as tests wait for anything.
const UNTIL: (u128, Duration) = (crate::PATIENCE.as_millis() / 50, Duration::from_millis(50));

/// An answer that takes longer, as a stream that should have ended, is a failure.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The keys of the server that is played against.
#[derive(Clone, Debug)]
pub struct Keys {
    /// `MASTER_KEY`
    pub master: String,
    /// `API_KEY`
    pub api: String,
    /// `METRICS_KEY`
    pub metrics: String,
}

/// What a [`TestHost`] answers: variables, or None when it cannot.
pub type Given<'a> = Pin<Box<dyn Future<Output = Result<Option<BTreeMap<String, Value>>>> + 'a>>;

/// What only the host of a test can bring about: agents, degraded mode.
pub trait TestHost {
    /// Does what a `given` step says and returns variables for later steps. `Ok(None)` when this host cannot: steps that
    /// need its variables are then skipped.
    fn given<'a>(&'a mut self, what: &'a Value) -> Given<'a>;
}

/// A host that can do nothing, for servers that were started elsewhere.
pub struct NoHost;

impl TestHost for NoHost {
    fn given<'a>(&'a mut self, _: &'a Value) -> Given<'a> {
        Box::pin(async { Ok(None) })
    }
}

/// What a play came to.
#[derive(Debug, Default)]
pub struct Report {
    /// Exchanges whose answers fitted.
    pub fitted: usize,
    /// Steps left out because something they need is not there.
    pub skipped: Vec<String>,
    /// What did not fit.
    pub failures: Vec<String>,
    /// Which documented answers were seen.
    pub coverage: Coverage,
    /// Requests that changed something, as (operation, request id).
    pub changes: Vec<(String, String)>,
}

impl Report {
    /// Panics with everything that did not fit.
    pub fn expect_clean(&self) {
        assert!(
            self.failures.is_empty(),
            "{} exchanges did not fit:\n{}",
            self.failures.len(),
            self.failures.join("\n")
        );
    }
}

/// Plays scripts against a server.
pub struct Player {
    base: String,
    keys: Keys,
    contract: Arc<Contract>,
    original: bool,
    client: reqwest::Client,
}

impl Player {
    /// Plays against our server at `base`, as in `http://127.0.0.1:44000`. Answers are held to the contract as well.
    pub fn new(base: &str, keys: Keys, contract: Arc<Contract>) -> Self {
        // Fails when it is installed already, which is fine.
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().expect("an HTTP client");
        Self { base: base.trim_end_matches('/').to_owned(), keys, contract, original: false, client }
    }

    /// What answers are held to.
    pub fn contract(&self) -> &Arc<Contract> {
        &self.contract
    }

    /// The server named by `REEVE_TEST_EDGE_URL` with the key in `REEVE_TEST_EDGE_KEY`: the original, without our
    /// additions. None when the variable is unset.
    pub fn from_environment(contract: Arc<Contract>) -> Option<Self> {
        let base = std::env::var("REEVE_TEST_EDGE_URL").ok()?;
        let key = std::env::var("REEVE_TEST_EDGE_KEY").unwrap_or_default();
        let keys = Keys {
            master: key.clone(),
            api: key,
            metrics: std::env::var("REEVE_TEST_EDGE_METRICS_KEY").unwrap_or_default(),
        };
        Some(Self::new(&base, keys, contract).for_original())
    }

    /// Plays as against the original: additions are left out and our contract is not applied to the answers.
    #[must_use]
    pub fn for_original(mut self) -> Self {
        self.original = true;
        self
    }

    /// Plays one script from its first step to its last.
    ///
    /// # Errors
    /// When the host fails; answers that do not fit are in the report.
    pub async fn play(&self, script: &Script, host: &mut dyn TestHost) -> Result<Report> {
        let mut report = Report::default();
        let mut variables = BTreeMap::from([("unique".to_owned(), json!(unique()))]);
        for (index, step) in script.steps.iter().enumerate() {
            let title = format!("{}[{index}] {}", script.name, step.name);
            if step.addition && self.original {
                report.skipped.push(title);
                continue;
            }
            if let Some(given) = &step.given {
                let outcome = match filled(given, &variables) {
                    None => None,
                    Some(given) => host.given(&given).await.with_context(|| title.clone())?,
                };
                match outcome {
                    Some(more) => variables.extend(more),
                    None => report.skipped.push(title),
                }
                continue;
            }
            let Some(request) = &step.request else {
                report.failures.push(format!("{title}: neither request nor given"));
                continue;
            };
            match self.exchange(script, step, request, &mut variables, &mut report).await {
                Ok(Some(problems)) if problems.is_empty() => report.fitted += 1,
                Ok(Some(problems)) => report.failures.push(format!("{title}\n  {}", problems.join("\n  "))),
                Ok(None) => report.skipped.push(title),
                Err(error) => report.failures.push(format!("{title}: {error:#}")),
            }
        }
        Ok(report)
    }

    /// None when a variable is missing.
    async fn exchange(
        &self,
        script: &Script,
        step: &Step,
        request: &RequestSpec,
        variables: &mut BTreeMap<String, Value>,
        report: &mut Report,
    ) -> Result<Option<Vec<String>>> {
        let Some(request) = fill_request(request, variables) else { return Ok(None) };
        let Some(expected) = fill_response(&step.response, variables) else { return Ok(None) };
        let attempts = if step.until { UNTIL.0 } else { 1 };
        let mut problems = Vec::new();
        for attempt in 0..attempts {
            if attempt > 0 {
                tokio::time::sleep(UNTIL.1).await;
            }
            let answer = self.send(&request).await?;
            problems = self.problems(script, &expected, &answer);
            if let Some(operation) = operation_of(&self.contract, &request.method, &request.path) {
                report.coverage.saw(&operation.id, answer.status);
                if (200..300).contains(&answer.status) && request.method != "GET" && !answer.replayed() {
                    let id = answer.headers.get("x-request-id").cloned().unwrap_or_default();
                    report.changes.push((operation.id.clone(), id));
                }
                if !self.original {
                    problems.extend(self.contract.answer_problems(&operation.id, answer.status, answer.json.as_ref()));
                }
            }
            if problems.is_empty() {
                for (name, pointer) in &step.save {
                    let body = answer.json.as_ref().ok_or_else(|| anyhow!("nothing to save from"))?;
                    let value = body.pointer(pointer).ok_or_else(|| anyhow!("no {pointer} in the answer"))?;
                    variables.insert(name.clone(), value.clone());
                }
                break;
            }
        }
        Ok(Some(problems))
    }

    async fn send(&self, request: &RequestSpec) -> Result<Answer> {
        let method = request.method.parse().context("method")?;
        let mut sent = self.client.request(method, format!("{}{}", self.base, request.path));
        sent = match request.key.as_deref().unwrap_or("api") {
            "none" => sent,
            "api" => sent.bearer_auth(&self.keys.api),
            "master" => sent.bearer_auth(&self.keys.master),
            "metrics" => sent.bearer_auth(&self.keys.metrics),
            other => sent.bearer_auth(other),
        };
        if (request.body.is_some() || request.raw.is_some()) && !request.headers.contains_key("content-type") {
            sent = sent.header("content-type", "application/json");
        }
        for (name, value) in &request.headers {
            sent = sent.header(name, value);
        }
        if let Some(body) = &request.body {
            sent = sent.body(body.to_string());
        } else if let Some(raw) = &request.raw {
            sent = sent.body(raw.clone());
        }
        let response = sent.send().await?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect::<BTreeMap<_, _>>();
        let text = response.text().await?;
        let is_json = headers.get("content-type").is_some_and(|kind| kind.contains("json"));
        let json = if is_json { Some(serde_json::from_str(&text).context("the answer's body")?) } else { None };
        Ok(Answer { status, headers, text, json })
    }

    fn problems(&self, script: &Script, expected: &ResponseSpec, answer: &Answer) -> Vec<String> {
        let mut problems = Vec::new();
        if answer.status != expected.status {
            problems.push(format!("status {} instead of {}: {}", answer.status, expected.status, answer.text));
            return problems;
        }
        for (name, pattern) in &expected.headers {
            let actual = answer.headers.get(name).map_or(Value::Null, |v| json!(v));
            problems.extend(text_problem(pattern, &actual).map(|problem| format!("header {name}: {problem}")));
        }
        let matcher = Matcher { shapes: &script.shapes, original: self.original };
        let meta = json!({"request_id": "<uuid>", "timestamp": "<micros>"});
        let pattern = if let Some(body) = &expected.body {
            Some(body.clone())
        } else if let Some(data) = &expected.data {
            Some(json!({"data": data, "meta": meta}))
        } else if let Some(rows) = &expected.page {
            let pagination = json!({
                "page": "<int>", "page_size": "<int>", "total_count": "<int>", "total_pages": "<int>",
                "has_next": "<bool>", "has_prev": "<bool>", "next_page": "<int?>", "prev_page": "<int?>",
            });
            Some(
                json!({"data": rows, "meta": {"request_id": "<uuid>", "timestamp": "<micros>", "pagination": pagination}}),
            )
        } else if let Some(error) = &expected.error {
            let mut error = error.clone();
            error["message"] = error.get("message").cloned().unwrap_or_else(|| json!("<string>"));
            if expected.status == 400 && error.get("details").is_none() {
                error["<more>"] = json!(true);
            }
            Some(json!({"error": error, "meta": meta}))
        } else {
            None
        };
        match (pattern, &answer.json, &expected.text) {
            (Some(pattern), Some(body), _) => {
                problems.extend(matcher.problems(&pattern, body));
                let id = answer.headers.get("x-request-id").map(String::as_str);
                if let Some(shown) = body.pointer("/meta/request_id").filter(|shown| shown.as_str() != id) {
                    problems.push(format!("x-request-id is {id:?}, meta.request_id {shown}"));
                }
            }
            (Some(_), None, _) => problems.push(format!("no JSON: {}", answer.text)),
            (None, _, Some(pattern)) => problems.extend(text_problem(pattern, &json!(answer.text))),
            (None, _, None) if !answer.text.is_empty() => {
                problems.push(format!("a body where none is expected: {}", answer.text))
            }
            (None, _, None) => {}
        }
        problems
    }
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    text: String,
    json: Option<Value>,
}

impl Answer {
    /// Whether it is the kept answer of an earlier request with the same `Idempotency-Key`.
    fn replayed(&self) -> bool {
        self.headers.contains_key("idempotency-replayed")
    }
}

/// A few characters that no earlier play against the same server used.
fn unique() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{SystemTime, UNIX_EPOCH};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_millis()).unwrap_or_default();
    format!("{:x}{:x}", millis & 0xffff_ffff, NEXT.fetch_add(1, Ordering::Relaxed))
}

fn fill_request(request: &RequestSpec, variables: &BTreeMap<String, Value>) -> Option<RequestSpec> {
    if !request.needs.iter().all(|name| variables.contains_key(name)) {
        return None;
    }
    let mut headers = BTreeMap::new();
    for (name, value) in &request.headers {
        headers.insert(name.clone(), text(value, variables)?);
    }
    Some(RequestSpec {
        method: request.method.clone(),
        path: text(&request.path, variables)?,
        key: match &request.key {
            None => None,
            Some(key) => Some(text(key, variables)?),
        },
        headers,
        needs: Vec::new(),
        body: match &request.body {
            None => None,
            Some(body) => Some(filled(body, variables)?),
        },
        raw: request.raw.clone(),
    })
}

fn fill_response(response: &ResponseSpec, variables: &BTreeMap<String, Value>) -> Option<ResponseSpec> {
    let fill = |value: &Option<Value>| match value {
        None => Some(None),
        Some(value) => filled(value, variables).map(Some),
    };
    let mut headers = BTreeMap::new();
    for (name, value) in &response.headers {
        headers.insert(name.clone(), text(value, variables)?);
    }
    Some(ResponseSpec {
        status: response.status,
        headers,
        body: fill(&response.body)?,
        data: fill(&response.data)?,
        page: fill(&response.page)?,
        error: fill(&response.error)?,
        text: match &response.text {
            None => None,
            Some(pattern) => Some(text(pattern, variables)?),
        },
    })
}

/// Replaces `${name}` in every text; a text that is nothing else becomes the variable's value. None when one is unset.
pub(super) fn filled(value: &Value, variables: &BTreeMap<String, Value>) -> Option<Value> {
    Some(match value {
        Value::String(content) => match content.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
            Some(name) if !name.contains('}') => variables.get(name)?.clone(),
            _ => Value::String(text(content, variables)?),
        },
        Value::Array(items) => Value::Array(items.iter().map(|item| filled(item, variables)).collect::<Option<_>>()?),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, item)| Some((text(name, variables)?, filled(item, variables)?)))
                .collect::<Option<_>>()?,
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

fn text(content: &str, variables: &BTreeMap<String, Value>) -> Option<String> {
    let mut output = String::new();
    let mut rest = content;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}')?;
        output.push_str(before);
        match variables.get(name)? {
            Value::String(value) => output.push_str(value),
            other => output.push_str(&other.to_string()),
        }
        rest = after;
    }
    output.push_str(rest);
    Some(output)
}
