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
        timeout: Duration::from_secs(5),
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

/// Written out for the port of a real server on this machine, which must never hear of it.
fn hostile(port: u16) -> Vec<String> {
    let hosts = [
        // this machine, in every spelling
        "127.0.0.1",
        "127.0.0.2",
        "127.1",
        "127.0.1",
        "127.255.255.254",
        "0177.0.0.1",
        "0177.1",
        "0x7f.0.0.1",
        "0x7f.1",
        "0x7f000001",
        "0X7F000001",
        "2130706433",
        "017700000001",
        "0x7f.0x0.0x0.0x1",
        "127.0.0.1.",
        "127。0。0。1",
        "①②⑦.⓪.⓪.①",
        "１２７.0.0.1",
        "%31%32%37.0.0.1",
        "0",
        "0.0.0.0",
        "0.0.0.1",
        "00.0.0.0",
        "0x0",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "LocalHost",
        "a.localhost",
        "a.b.localhost.",
        "localhost.localdomain",
        "ip6-localhost",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[0000::0001]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::FFFF:7F00:0001]",
        "[::127.0.0.1]",
        "[::7f00:1]",
        "[::ffff:0:127.0.0.1]",
        // through IPv4 in IPv6
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2002:a9fe:a9fe::1]",
        "[2002:a00:1::1]",
        "[2001:0:7f00:1::]",
        "[2001:0000:4136:e378:8000:63bf:3fff:fdd2]",
        "[fe80::5efe:7f00:1]",
        "[2606:4700::5efe:7f00:1]",
        "[2606:4700::200:5efe:7f00:1]",
        // metadata services
        "169.254.169.254",
        "0xa9fea9fe",
        "2852039166",
        "0251.0376.0251.0376",
        "169.254.170.2",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
        "100.100.100.200",
        "192.0.0.192",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "metadata",
        "metadata.azure.internal",
        "metadata.tencentyun.com",
        "instance-data",
        "kubernetes.default.svc",
        // private and special networks
        "10.0.0.1",
        "10.1",
        "012.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "192.168.257",
        "0xc0a80001",
        "100.64.0.1",
        "100.127.255.254",
        "169.254.0.1",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "[fc00::1]",
        "[fd12:3456:789a::1]",
        "[fe80::1]",
        "[febf::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[ff0e::1]",
        "[2001:db8::1]",
        "[3fff::1]",
        "[100::1]",
        "[2001:2::1]",
        "[5f00::1]",
        "[::ffff:10.0.0.1]",
        "[::ffff:192.168.1.1]",
        // names that lead there
        "loop.test",
        "mixed.test",
        "mapped.test",
        "nat64.test",
        "private.test",
        "linklocal.test",
    ];
    let mut urls: Vec<String> = hosts.iter().map(|host| format!("http://{host}:{port}/hook")).collect();
    let whole = [
        "ftp://127.0.0.1:PORT/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:PORT/_x",
        "unix:///run/reeve.sock",
        "http://",
        "http:///hook",
        "http://?x",
        "http://user@loop.test:PORT/",
        "http://user:pass@8.8.8.8:PORT/",
        "http://8.8.8.8@127.0.0.1:PORT/",
        "http://8.8.8.8:PORT\\@127.0.0.1:PORT/",
        "http://8.8.8.8:80#@127.0.0.1:PORT/",
        "http://127.0.0.1:PORT#@8.8.8.8/",
        "http:127.0.0.1:PORT/",
        "http:/127.0.0.1:PORT/",
        "http:\\\\127.0.0.1:PORT/",
        "http://127.0.0.1:PORT /",
        "http://loop\n.test:PORT/",
        "http://loop\t.test:PORT/",
        " http://loop.test:PORT/",
        "http://loop.test\u{0}:PORT/",
        "http://[::1%25lo]:PORT/",
        "http://8.8.8.8:0/",
        "//127.0.0.1:PORT/",
        "127.0.0.1:PORT",
        "https://127.0.0.1:PORT/",
        "HTTP://LOOP.TEST:PORT/",
        "https://loop.test:PORT/",
    ];
    urls.extend(whole.iter().map(|url| url.replace("PORT", &port.to_string())));
    urls.push(format!("http://8.8.8.8/{}", "a".repeat(2048)));
    urls
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
    let urls = hostile(real.port);
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

    let short = |url: &str| Request { timeout: Duration::from_millis(300), ..post(url) };
    let silent = receiver("").await;
    assert_eq!(fetcher.send(short(&silent.url)).await, Err(Failure::TimedOut));
    // The status counts, whether or not a body follows.
    let hanging = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(fetcher.send(short(&hanging.url)).await.unwrap().status, 204);
    let hanging = receiver("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab").await;
    let answer = fetcher.send(short(&hanging.url)).await.unwrap();
    assert_eq!((answer.status, &*answer.body, answer.truncated), (200, &b"ab"[..], true));
}

#[tokio::test]
async fn nobody_there_is_told() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let fetcher = Fetcher::new(Guard { allow_private: true });
    let sent = fetcher.send(post(&format!("http://{}/", SocketAddr::new(free.ip(), free.port())))).await;
    assert!(matches!(&sent, Err(Failure::Unreachable(why)) if why.starts_with("cannot connect")), "{sent:?}");
}
