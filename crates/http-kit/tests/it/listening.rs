//! Listeners: drain, deadlines, TLS.

use std::time::Duration;

use http::Method;
use reeve_http_kit::listener::{Listener, ListenerOptions};
use reeve_http_kit::tls::Identity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::toy::{Toy, client, kit};

#[tokio::test]
async fn drain_finishes_what_runs_and_takes_nothing_new() {
    let toy = Toy::start(kit()).await;
    let running = tokio::spawn(toy.request(Method::GET, "/wait", "reader").send());
    toy.state.waiting.notified().await;
    toy.draining.cancel();
    // The listening socket closes as soon as the loop sees the signal.
    while TcpStream::connect(toy.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!toy.serving.is_finished());
    toy.state.release.notify_one();
    assert_eq!(running.await.unwrap().unwrap().status(), 200);
    toy.serving.await.unwrap();
}

#[tokio::test]
async fn drain_ends_streams_and_cuts_what_does_not_end() {
    let options = ListenerOptions { drain_timeout: Duration::from_millis(50), ..Default::default() };
    let toy = Toy::start_with(kit(), options, client(None)).await;
    let mut stream =
        toy.request(Method::GET, "/stream", "reader").header("last-event-id", " 41 ").send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut seen = String::new();
    while !seen.contains("data: now") {
        seen.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert_eq!(seen, ": connected\n\nid: 42\nevent: tick\ndata: now\n\n");
    let stuck = tokio::spawn(toy.request(Method::GET, "/wait", "reader").send());
    toy.state.waiting.notified().await;
    toy.draining.cancel();
    assert_eq!(stream.chunk().await.unwrap(), None);
    assert!(stuck.await.unwrap().is_err());
    toy.serving.await.unwrap();
}

#[tokio::test]
async fn a_stream_ends_with_the_right_to_it() {
    let toy = Toy::start(kit()).await;
    let mut stream = toy.request(Method::GET, "/stream", "leaving").send().await.unwrap();
    assert_eq!(stream.status(), 200);
    let end = async { while stream.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(Duration::from_secs(20), end).await.expect("the stream goes on");
    assert_eq!(toy.get("/things", "leaving").await.0, 200, "other answers are whole");
}

#[tokio::test]
async fn clients_that_send_no_request_are_let_go() {
    let options = ListenerOptions { header_timeout: Duration::from_secs(1), ..Default::default() };
    let toy = Toy::start_with(kit(), options, client(None)).await;
    for start in ["GET /open HTTP/1.1\r\nHost:", "", "PRI * HT"] {
        let mut slow = TcpStream::connect(toy.address).await.unwrap();
        slow.write_all(start.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        tokio::time::timeout(Duration::from_secs(20), slow.read_to_end(&mut rest)).await.expect(start).unwrap();
    }
    assert_eq!(toy.get("/open", "").await.0, 200);
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_their_turn() {
    let options = ListenerOptions { max_connections: 1, ..Default::default() };
    let toy = Toy::start_with(kit(), options, client(None)).await;
    let idle = TcpStream::connect(toy.address).await.unwrap();
    let waiting = tokio::spawn(toy.request(Method::GET, "/open", "").send());
    drop(idle);
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_self_signed_certificate_is_made_once_and_serves_http2() {
    let directory = tempfile::tempdir().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let identity = Identity::self_signed(directory.path(), &names).unwrap();
    let again = Identity::self_signed(directory.path(), &names).unwrap();
    assert_eq!(identity.certificate, again.certificate);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(directory.path().join("key.pem")).unwrap().permissions().mode() & 0o777, 0o600);

    let pem = std::fs::read(directory.path().join("cert.pem")).unwrap();
    let options = ListenerOptions { tls: Some(identity), ..Default::default() };
    let toy = Toy::start_with(kit(), options, client(Some(&pem))).await;
    assert!(toy.url.starts_with("https://127.0.0.1:"));
    let response = toy.request(Method::GET, "/things", "reader").send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
    assert!(toy.client.get(toy.url.replace("https", "http")).send().await.is_err());
    assert!(Identity::from_pem(&directory.path().join("none.pem"), &directory.path().join("key.pem")).is_err());
}

#[tokio::test]
async fn an_address_in_use_is_named_in_the_error() {
    let first = Listener::bind("edge", ([127, 0, 0, 1], 0).into(), Default::default()).await.unwrap();
    let error = Listener::bind("edge", first.address(), Default::default()).await.err().unwrap();
    assert!(error.to_string().starts_with(&format!("listener edge on {}", first.address())));
    let wildcard = Listener::bind("any", "[::]:0".parse().unwrap(), Default::default()).await.unwrap();
    assert!(wildcard.url().starts_with("http://[::1]:"));
}
