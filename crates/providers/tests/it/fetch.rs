//! Hostile URLs are refused when they are stored and when they are used, by the same rules, and no byte is sent.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use reeve_ports::Fetch;
use reeve_ports::fetch::{Answer, Failure, Request};
use reeve_providers::fetch::{Fetcher, Guard, Lookup};
use reeve_testkit::hostile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Names with the answers they give, one after the other; the last one stays.
#[derive(Default)]
struct Zone {
    names: HashMap<&'static str, Vec<Vec<IpAddr>>>,
    asked: Mutex<HashMap<String, usize>>,
}

impl Zone {
    fn with(mut self, name: &'static str, answers: &[&[&str]]) -> Self {
        let parse = |ips: &&[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
        self.names.insert(name, answers.iter().map(parse).collect());
        self
    }
    fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

impl Lookup for Zone {
    fn lookup(&self, name: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let mut asked = self.asked.lock().unwrap();
        let times = asked.entry(name.clone()).or_default();
        *times += 1;
        let answers = self.names.get(name.trim_end_matches('.'));
        let answer = answers.and_then(|a| a.get((*times - 1).min(a.len() - 1))).cloned();
        Box::pin(async move { answer.ok_or_else(|| std::io::Error::other("no such name")) })
    }
}

fn post(url: &str) -> Request {
    Request {
        method: "POST",
        url: url.to_owned(),
        headers: vec![("x-test".into(), "1".into())],
        body: Bytes::from_static(b"{}"),
        timeout: Duration::from_secs(60),
        most_bytes: 1_024,
    }
}

/// What a server got, and what it answers to each request.
struct Receiver {
    url: String,
    port: u16,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

async fn receiver(answer: &'static str) -> Receiver {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (requests, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, connected) = (requests.clone(), connections.clone());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            connected.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(answer_all(socket, answer, counted.clone()));
        }
    });
    Receiver { url: format!("http://127.0.0.1:{port}"), port, requests, connections }
}

async fn answer_all(mut socket: TcpStream, answer: &'static str, counted: Arc<AtomicUsize>) {
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read) = socket.read(&mut buffer).await {
        if read == 0 {
            return;
        }
        got.extend_from_slice(&buffer[..read]);
        // Every test request has a body of two bytes.
        while let Some(end) = got.windows(4).position(|w| w == b"\r\n\r\n") {
            if got.len() < end + 6 {
                break;
            }
            got.drain(..end + 6);
            counted.fetch_add(1, Ordering::SeqCst);
            if socket.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

fn zone() -> Zone {
    Zone::default()
        .with("loop.test", &[&["127.0.0.1"]])
        .with("mixed.test", &[&["8.8.8.8", "127.0.0.1"]])
        .with("mapped.test", &[&["::ffff:127.0.0.1"]])
        .with("nat64.test", &[&["64:ff9b::7f00:1"]])
        .with("private.test", &[&["10.1.2.3"]])
        .with("linklocal.test", &[&["169.254.169.254"]])
}

#[tokio::test]
async fn hostile_urls_are_refused_at_both_moments() {
    let real = receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let fetcher = Fetcher::with_lookup(Guard { allow_private: false }, Arc::new(zone()));
    let mut urls = hostile::urls(real.port);
    urls.extend(hostile::NAMES.iter().map(|name| format!("http://{name}:{}/", real.port)));
    assert!(urls.len() >= 80, "{}", urls.len());
    for url in &urls {
        let checked = fetcher.check(url).await;
        assert!(checked.is_err(), "{url} may be stored");
        let sent = fetcher.send(post(url)).await;
        assert!(matches!(sent, Err(Failure::Refused(_))), "{url} was used: {sent:?}");
    }
    assert_eq!(real.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_is_never_a_receiver_stays_closed_when_private_addresses_are_open() {
    let fetcher = Fetcher::with_lookup(Guard { allow_private: true }, Arc::new(zone()));
    for host in [
        "169.254.169.254",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "metadata.google.internal",
        "0.0.0.0",
        "[::]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "224.0.0.1",
        "255.255.255.255",
        "linklocal.test",
        "nat64.test",
    ] {
        assert!(fetcher.check(&format!("http://{host}/")).await.is_err(), "{host}");
    }
    for host in ["127.0.0.1", "10.0.0.1", "[::1]", "[fd12::1]", "localhost", "loop.test", "192.168.1.1", "100.64.0.1"] {
        assert_eq!(fetcher.check(&format!("http://{host}/")).await, Ok(()), "{host}");
    }
}

#[tokio::test]
async fn a_name_that_rebinds_is_refused_when_it_is_used() {
    let real = receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let rebinding: &[&[&str]] = &[&["93.184.216.34"], &["127.0.0.1"]];
    let zone = Arc::new(Zone::default().with("rebind.test", rebinding));
    let fetcher = Fetcher::with_lookup(Guard { allow_private: false }, zone.clone());
    let url = format!("http://rebind.test:{}/", real.port);
    assert_eq!(fetcher.check(&url).await, Ok(()));
    let sent = fetcher.send(post(&url)).await;
    assert!(matches!(&sent, Err(Failure::Refused(why)) if why.contains("loopback")), "{sent:?}");
    assert_eq!((zone.asked("rebind.test"), real.connections.load(Ordering::SeqCst)), (2, 0));
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_connected_to() {
    let real = receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    // A second question would be answered with an address where nobody listens.
    let zone = Arc::new(Zone::default().with("once.test", &[&["127.0.0.1"], &["127.0.0.9"]]));
    let fetcher = Fetcher::with_lookup(Guard { allow_private: true }, zone.clone());
    let url = format!("http://once.test:{}/", real.port);
    let answer = fetcher.send(post(&url)).await.unwrap();
    assert_eq!((answer.status, zone.asked("once.test")), (200, 1));
    // The kept connection is used again: no question, no new connection.
    fetcher.send(post(&url)).await.unwrap();
    let seen = (real.requests.load(Ordering::SeqCst), real.connections.load(Ordering::SeqCst));
    assert_eq!((seen, zone.asked("once.test")), ((2, 1), 1));
}

#[tokio::test]
async fn redirects_are_told_and_not_followed() {
    let target = receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let answer: &'static str =
            format!("HTTP/1.1 {status}\r\nlocation: {}/stolen\r\ncontent-length: 0\r\n\r\n", target.url).leak();
        let first = receiver(answer).await;
        let fetcher = Fetcher::new(Guard { allow_private: true });
        let answer = fetcher.send(post(&first.url)).await.unwrap();
        assert_eq!(answer.status.to_string(), status[..3]);
    }
    assert_eq!(target.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_may_be_stored_and_is_unreachable() {
    let fetcher = Fetcher::with_lookup(Guard { allow_private: false }, Arc::new(Zone::default()));
    assert_eq!(fetcher.check("https://nowhere.test/").await, Ok(()));
    let sent = fetcher.send(post("https://nowhere.test/secret-path")).await;
    assert!(matches!(&sent, Err(Failure::Unreachable(why)) if !why.contains("secret-path")), "{sent:?}");
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_time() {
    let fetcher = Fetcher::new(Guard { allow_private: true });
    let large: &'static str =
        format!("HTTP/1.1 500 Oops\r\nretry-after: 7\r\ncontent-length: 100000\r\n\r\n{}", "x".repeat(100_000)).leak();
    let Answer { status, retry_after, body, truncated } = fetcher.send(post(&receiver(large).await.url)).await.unwrap();
    assert_eq!((status, retry_after.as_deref(), body.len(), truncated), (500, Some("7"), 1_024, true));

    let within = |ms, url: &str| Request { timeout: Duration::from_millis(ms), ..post(url) };
    let silent = receiver("").await;
    assert_eq!(fetcher.send(within(300, &silent.url)).await, Err(Failure::TimedOut));
    // The status counts, whether or not a body follows.
    let hanging = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(fetcher.send(within(5_000, &hanging.url)).await.unwrap().status, 204);
    let hanging = receiver("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab").await;
    let answer = fetcher.send(within(5_000, &hanging.url)).await.unwrap();
    assert_eq!((answer.status, &*answer.body, answer.truncated), (200, &b"ab"[..], true));
}

#[tokio::test]
async fn nobody_there_is_told() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let fetcher = Fetcher::new(Guard { allow_private: true });
    let sent = fetcher.send(post(&format!("http://{}/", SocketAddr::new(free.ip(), free.port())))).await;
    assert!(matches!(&sent, Err(Failure::Unreachable(why)) if why.starts_with("cannot connect")), "{sent:?}");
}
