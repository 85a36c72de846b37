//! The door that every simulator has: takes connections on loopback, counts calls, and makes trouble on demand.
//!
//! A dropped answer is a closed connection, as a crash or a cut cable makes it: no status, no body.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower::ServiceExt;

use crate::time::SimulatedTime;

const BODY_BYTES: usize = 4 * 1024 * 1024;
/// Calls that are remembered; older ones are forgotten.
const LOG: usize = 100_000;

/// What goes wrong with a call.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// Answers this instead of doing anything.
    Answer {
        /// HTTP status.
        status: u16,
        /// Sent as `application/json` unless it begins with `<`.
        body: String,
        /// Further headers.
        headers: Vec<(&'static str, String)>,
    },
    /// Does it, then answers this instead of the truth.
    AnswerAfter(Vec<u8>),
    /// Waits, then does it.
    Delay(Duration),
    /// Closes the connection without doing anything.
    DropBefore,
    /// Does it, and closes the connection instead of answering: the client cannot know.
    DropAfter,
    /// Does it and never answers.
    Silence,
    /// Answers an endless body of so many bytes.
    Flood(usize),
}

struct Fault {
    matching: String,
    times: u32,
    trouble: Trouble,
}

#[derive(Default)]
struct Ledger {
    calls: VecDeque<String>,
    faults: Vec<Fault>,
}

/// What a front knows about itself; shared with its connections.
#[derive(Default)]
struct Shared {
    ledger: Mutex<Ledger>,
    cut_off: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no panic while it is held")
    }
}

/// A listening simulator; closed when dropped.
pub struct Front {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Front {
    /// Opens a door before `routes`.
    pub async fn open(address: SocketAddr, routes: Router, time: Arc<SimulatedTime>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let for_connections = shared.clone();
        let listening = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                while connections.try_join_next().is_some() {}
                connections.spawn(serve(stream, routes.clone(), for_connections.clone(), time.clone()));
            }
        });
        Ok(Self { address, shared, listening })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next `times` calls whose line (`METHOD /path?query body`) holds `matching` get into trouble.
    pub fn trouble(&self, matching: &str, times: u32, trouble: Trouble) {
        self.shared.lock().faults.push(Fault { matching: matching.to_owned(), times, trouble });
    }

    /// No more trouble.
    pub fn calm(&self) {
        self.shared.lock().faults.clear();
        self.cut_off(false);
    }

    /// Cut off, every connection is closed without an answer.
    pub fn cut_off(&self, cut_off: bool) {
        self.shared.cut_off.store(cut_off, Ordering::SeqCst);
    }

    /// Calls so far whose line holds `matching`; all of them for "".
    pub fn calls(&self, matching: &str) -> usize {
        self.shared.lock().calls.iter().filter(|line| line.contains(matching)).count()
    }

    /// As [`calls`](Self::calls), to be asked from elsewhere.
    pub fn counter(&self, matching: &'static str) -> impl Fn() -> usize + Send + Sync + 'static {
        let shared = self.shared.clone();
        move || shared.lock().calls.iter().filter(|line| line.contains(matching)).count()
    }

    /// The calls so far, as `METHOD /path?query`.
    pub fn call_lines(&self) -> Vec<String> {
        self.shared.lock().calls.iter().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
    }

    /// Counts from nothing again.
    pub fn forget_calls(&self) {
        self.shared.lock().calls.clear();
    }
}

async fn serve(stream: TcpStream, routes: Router, shared: Arc<Shared>, time: Arc<SimulatedTime>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (routes, shared, time) = (routes.clone(), shared.clone(), time.clone());
        async move { answer(request, routes, &shared, &time).await }
    });
    // An error is a client that went away, or trouble that was asked for.
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(
    request: Request<Incoming>,
    routes: Router,
    shared: &Shared,
    time: &SimulatedTime,
) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, BODY_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Err(closed()),
    };
    let line = format!("{} {} {}", parts.method, parts.uri, String::from_utf8_lossy(&body));
    let trouble = {
        let mut ledger = shared.lock();
        let fault = ledger.faults.iter_mut().find(|fault| fault.times > 0 && line.contains(&fault.matching));
        let trouble = fault.map(|fault| {
            fault.times -= 1;
            fault.trouble.clone()
        });
        if ledger.calls.len() == LOG {
            ledger.calls.pop_front();
        }
        ledger.calls.push_back(line);
        trouble
    };
    if shared.cut_off.load(Ordering::SeqCst) {
        return Err(closed());
    }
    time.call();
    let proceed = async {
        let routed = routes.oneshot(Request::from_parts(parts, Body::from(body))).await;
        routed.unwrap_or_else(|never| match never {})
    };
    match trouble {
        None => Ok(proceed.await),
        Some(Trouble::Delay(delay)) => {
            tokio::time::sleep(delay).await;
            Ok(proceed.await)
        }
        Some(Trouble::DropBefore) => Err(closed()),
        Some(Trouble::DropAfter) => {
            proceed.await;
            Err(closed())
        }
        Some(Trouble::Silence) => {
            proceed.await;
            std::future::pending().await
        }
        Some(Trouble::AnswerAfter(body)) => {
            let mut response = proceed.await;
            *response.body_mut() = Body::from(body);
            response.headers_mut().remove(http::header::CONTENT_LENGTH);
            Ok(response)
        }
        Some(Trouble::Answer { status, body, headers }) => {
            let kind = if body.starts_with('<') { "text/xml" } else { "application/json" };
            let mut response = Response::builder().status(status).header("content-type", kind);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).map_err(io::Error::other)
        }
        Some(Trouble::Flood(bytes)) => Ok(Response::new(flood(bytes))),
    }
}

fn flood(bytes: usize) -> Body {
    const CHUNK: usize = 64 * 1024;
    let chunk = Bytes::from(vec![b' '; CHUNK]);
    let chunks = (0..bytes.div_ceil(CHUNK)).map(move |_| Ok::<_, io::Error>(chunk.clone()));
    Body::from_stream(futures::stream::iter(chunks))
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "cut off")
}
