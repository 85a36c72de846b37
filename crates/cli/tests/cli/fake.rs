//! A fake console listener that answers from a script and remembers what it was asked, and a way to run the client
//! against it without touching the process's own environment.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use clap::{CommandFactory, Parser};
use jiff::Timestamp;
use reeve_cli::{ClientCommand, Input, Interrupt, Out, Pace, World};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// A request that the fake got.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    pub fn param(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// An answer of the fake.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
}

/// One thing.
pub fn data(data: Value) -> Reply {
    raw(200, json!({"data": data, "meta": {"request_id": "req-1", "timestamp": "2026-01-10T00:00:00Z"}}))
}

/// A page of things.
pub fn page(rows: Vec<Value>, total: usize, has_next: bool) -> Reply {
    raw(
        200,
        json!({"data": rows, "meta": {"request_id": "req-1", "pagination": {"total_count": total, "has_next": has_next}}}),
    )
}

/// An error.
pub fn refuse(status: u16, code: &str, message: &str, details: Value) -> Reply {
    raw(
        status,
        json!({"error": {"code": code, "message": message, "details": details}, "meta": {"request_id": "req-9"}}),
    )
}

pub fn empty() -> Reply {
    Reply { status: 204, headers: Vec::new(), body: Body::empty() }
}

/// An answer without an envelope.
pub fn raw(status: u16, value: Value) -> Reply {
    Reply {
        status,
        headers: vec![("content-type", "application/json".to_owned())],
        body: Body::from(value.to_string()),
    }
}

/// An event stream that sends the chunks and then ends: properly, or by a broken connection.
pub fn stream(chunks: Vec<String>, broken: bool) -> Reply {
    use futures::{StreamExt, future::ready};
    let items = chunks.into_iter().map(|chunk| Ok::<_, std::io::Error>(chunk.into_bytes()));
    let cut = futures::stream::once(async {
        // The chunks must have left before the connection breaks.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("cut"))
    });
    let body = futures::stream::iter(items).chain(cut.filter(move |_| ready(broken)));
    Reply {
        status: 200,
        headers: vec![("content-type", "text/event-stream".to_owned())],
        body: Body::from_stream(body),
    }
}

/// An event stream that sends the chunks and then stays open.
pub fn open_stream(chunks: Vec<String>) -> Reply {
    use futures::StreamExt;
    let items = chunks.into_iter().map(|chunk| Ok::<_, std::io::Error>(chunk.into_bytes()));
    let body = futures::stream::iter(items).chain(futures::stream::pending());
    Reply {
        status: 200,
        headers: vec![("content-type", "text/event-stream".to_owned())],
        body: Body::from_stream(body),
    }
}

/// One event as text.
pub fn event(id: &str, kind: &str, data: Value) -> String {
    format!("id: {id}\nevent: {kind}\ndata: {data}\n\n")
}

type Handler = Box<dyn FnMut(&Seen) -> Reply + Send>;

#[derive(Default)]
struct Shared {
    handlers: Mutex<Vec<(String, Handler)>>,
    seen: Mutex<Vec<Seen>>,
}

/// The fake listener; it stops with the test's runtime.
pub struct Fake {
    pub url: String,
    shared: Arc<Shared>,
}

impl Fake {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let for_router = Arc::clone(&shared);
        let router = Router::new().fallback(move |request: Request| answer(Arc::clone(&for_router), request));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared }
    }

    /// Answers requests like `GET /api/me`; a later rule for the same request replaces an earlier one.
    pub fn on(&self, request: &str, handler: impl FnMut(&Seen) -> Reply + Send + 'static) -> &Self {
        self.shared.handlers.lock().unwrap().insert(0, (request.to_owned(), Box::new(handler)));
        self
    }

    /// What was asked, like `GET /api/me`.
    pub fn asked(&self, request: &str) -> Vec<Seen> {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter().filter(|seen| format!("{} {}", seen.method, seen.path) == request).cloned().collect()
    }
}

async fn answer(shared: Arc<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, 1 << 20).await.unwrap();
    let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let seen = Seen {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: headers.collect(),
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    };
    shared.seen.lock().unwrap().push(seen.clone());
    let wanted = format!("{} {}", seen.method, seen.path);
    let reply = {
        let mut handlers = shared.handlers.lock().unwrap();
        match handlers.iter_mut().find(|(request, _)| *request == wanted) {
            Some((_, handler)) => handler(&seen),
            None => refuse(404, "not_found", "Resource not found", Value::Null),
        }
    };
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(reply.body).unwrap()
}

#[derive(Debug, Parser)]
#[command(name = "reeve")]
struct Program {
    #[command(subcommand)]
    command: ClientCommand,
}

/// The definition of the whole command line.
pub fn program() -> clap::Command {
    Program::command()
}

/// The user at the keyboard: a home directory, an environment, a terminal width.
pub struct User {
    pub home: tempfile::TempDir,
    pub vars: BTreeMap<String, String>,
    pub width: Option<usize>,
    pub colour: bool,
    pub answers: Vec<&'static str>,
    pub interrupts: Option<mpsc::UnboundedReceiver<()>>,
    pub now: fn() -> Timestamp,
    pub pace: Pace,
}

/// What a command left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: u8,
    pub stdout: String,
    pub stderr: String,
}

pub fn noon() -> Timestamp {
    "2026-01-10T12:00:00Z".parse().unwrap()
}

impl User {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let vars = BTreeMap::from([("HOME".to_owned(), home.path().display().to_string())]);
        let pace = Pace {
            first: Duration::from_millis(1),
            most: Duration::from_millis(5),
            attempts: 20,
            poll: Duration::from_millis(50),
        };
        Self { home, vars, width: None, colour: false, answers: Vec::new(), interrupts: None, now: noon, pace }
    }

    /// A user with a static key for a fake.
    pub fn of(fake: &Fake) -> Self {
        let mut user = Self::new();
        user.vars.insert("REEVE_URL".to_owned(), fake.url.clone());
        user.vars.insert("REEVE_TOKEN".to_owned(), "key-1".to_owned());
        user
    }

    pub fn wide(mut self, width: usize) -> Self {
        self.width = Some(width);
        self
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub async fn run(&mut self, line: &str) -> Ran {
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        self.run_words(&words).await
    }

    pub async fn run_words(&mut self, words: &[&str]) -> Ran {
        let args = std::iter::once("reeve").chain(words.iter().copied());
        let program = match Program::try_parse_from(args) {
            Ok(program) => program,
            Err(error) => {
                let code = u8::try_from(error.exit_code()).unwrap();
                return Ran { code, stdout: String::new(), stderr: error.to_string() };
            }
        };
        let stdout = Buffer::default();
        let stderr = Buffer::default();
        let mut out = Out::to(Box::new(stdout.clone()), Box::new(stderr.clone()), self.width);
        out.colour = self.colour;
        let interrupt = match self.interrupts.take() {
            Some(channel) => channel,
            None => mpsc::unbounded_channel().1,
        };
        let mut world = World {
            vars: self.vars.clone(),
            cwd: self.home().to_owned(),
            system_data: self.home().join("var-lib-reeve"),
            out,
            now: self.now,
            input: Input::Lines(self.answers.drain(..).map(str::to_owned).collect::<VecDeque<_>>()),
            interrupt: Interrupt::Channel(interrupt),
            pace: self.pace,
        };
        let code = reeve_cli::run_in(&mut world, program.command, Program::command()).await;
        Ran { code, stdout: stdout.text(), stderr: stderr.text() }
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A node as the server shows it.
pub fn node(n: u8, name: &str, status: &str) -> Value {
    json!({
        "id": format!("{n:08x}-89ab-4def-8123-456789abcdef"), "cluster_name": "prod", "status": status, "connected": status == "healthy",
        "labels": {"env": "prod", "name": name}, "facts": {"hostname": "h"}, "aliases": [], "version": "0.1.0", "id_type": "persistent",
        "last_seen_at": "2026-01-10T11:59:30Z", "inserted_at": "2026-01-08T12:00:00Z", "api_token": "secret-a", "proxy_password": "secret-b",
        "vpn_hostname": "node-x.cluster-prod.nm.internal", "ssh_port": 40022,
    })
}

pub fn node_id(n: u8) -> String {
    format!("{n:08x}-89ab-4def-8123-456789abcdef")
}
