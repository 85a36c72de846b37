//! Joining, coming back, and being refused.

use std::sync::atomic::Ordering;

use reeve_agent_proto::message::Rejected;
use reeve_agent_proto::{EnrollmentKey, ServerEvent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::agent::{Agent, Start};
use crate::server::Server;

#[tokio::test]
async fn enrolls_once_and_comes_back_without_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a");
    let mut server = Server::start().await;
    let mut agent = Agent::start(&data, &server.key);
    let enroll = server
        .hear("enroll", |_, event| match event {
            ServerEvent::Enroll(enroll) => Some((**enroll).clone()),
            _ => None,
        })
        .await;
    assert_eq!((enroll.key.as_str(), enroll.public_key.len()), (server.key.as_str(), 32));
    assert_eq!(enroll.ports.unwrap().ssh, 40022);
    assert!(serde_json::from_str::<serde_json::Value>(&enroll.facts).unwrap()["hostname"].is_string());
    let hello = server.hello().await;
    assert_eq!(hello.node_id, enroll.node_id);
    agent.kill();
    for key in [None, Some(server.key.clone())] {
        let mut again = Start::new(&data, key.as_deref()).spawn();
        let hello = server
            .hear("a hello without an enroll", |_, event| match event {
                ServerEvent::Enroll(_) => panic!("enrolled again"),
                ServerEvent::Hello(hello) => Some((**hello).clone()),
                _ => None,
            })
            .await;
        assert_eq!(hello.node_id, enroll.node_id);
        again.terminate();
        assert!(again.exit().await.success());
    }
}

#[tokio::test]
async fn a_refusal_ends_the_agent_with_the_next_step() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    *server.shared.refuse.lock().unwrap() = Some(Rejected {
        error: "key_spent".into(),
        message: "the enrollment key has no uses left".into(),
        ..Rejected::default()
    });
    let mut agent = Agent::start(&dir.path().join("a"), &server.key);
    assert_eq!(agent.exit().await.code(), Some(1));
    let log = agent.log();
    assert!(log.contains("the enrollment key has no uses left") && log.contains("next step: create a new"), "{log}");
}

#[tokio::test]
async fn an_enrollment_whose_answer_was_lost_is_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a");
    let mut server = Server::start().await;
    let mut agent = Agent::start(&data, &server.key);
    server.hello().await;
    agent.kill();
    std::fs::remove_file(data.join("membership.json")).unwrap();
    // The server knows the node, but the key is spent: enrollment is refused, a hello is not.
    let refuse = server.shared.clone();
    *refuse.refuse.lock().unwrap() = Some(Rejected { error: "key_spent".into(), ..Rejected::default() });
    let _agent = Agent::start(&data, &server.key);
    server
        .hear("enroll", |_, event| match event {
            ServerEvent::Enroll(_) => {
                *refuse.refuse.lock().unwrap() = None;
                Some(())
            }
            _ => None,
        })
        .await;
    server.hello().await;
    reeve_lab::until("the session", || refuse.welcomed.load(Ordering::SeqCst) == 2).await;
}

#[tokio::test]
async fn another_servers_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let other =
        EnrollmentKey::new(vec![], vec![server.endpoint.clone()], Some(format!("sha256:{}", "0".repeat(64))), [1; 32]);
    let mut agent = Agent::start(&dir.path().join("a"), &other.encode());
    assert_eq!(agent.exit().await.code(), Some(1));
    assert!(agent.log().contains("is not the server this enrollment key was made for"), "{}", agent.log());
    assert!(server.shared.keys.lock().unwrap().is_empty());
}

#[tokio::test]
async fn without_a_key_or_with_a_broken_one_it_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut agent = Start::new(&dir.path().join("a"), None).spawn();
    assert_eq!(agent.exit().await.code(), Some(1));
    assert!(agent.log().contains("--enroll KEY"), "{}", agent.log());
    let mut agent = Start::new(&dir.path().join("b"), Some("nonsense")).spawn();
    assert_eq!(agent.exit().await.code(), Some(1));
    assert!(agent.log().contains("copy the whole key"), "{}", agent.log());
}

#[tokio::test]
async fn two_agents_do_not_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a");
    let mut server = Server::start().await;
    let first = Agent::start(&data, &server.key);
    server.hello().await;
    let mut second = Agent::start(&data, &server.key);
    assert_eq!(second.exit().await.code(), Some(1));
    assert!(second.log().contains(&format!("another agent (process {})", first.pid())), "{}", second.log());
}

#[tokio::test]
async fn connects_through_a_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://user:secret@{}", proxy.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut client, _) = proxy.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let target = head.split_whitespace().nth(1).unwrap().to_owned();
        let mut upstream = TcpStream::connect(&target).await.unwrap();
        client.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await.unwrap();
        let relay = async move { tokio::io::copy_bidirectional(&mut client, &mut upstream).await };
        tokio::spawn(relay);
        head
    });
    let _agent = Start::new(&dir.path().join("a"), Some(&server.key)).arg("--http-proxy", &url).spawn();
    server.hello().await;
    let head = asked.await.unwrap();
    assert!(head.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", server.endpoint)), "{head}");
    assert!(head.contains("Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"), "{head}");
}
