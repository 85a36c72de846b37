//! Webhooks of a server that is killed again and again: every event of every acknowledged command arrives, and a repeat
//! has the id that it had before.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use reeve_lab::{Server, ServerOptions, eventually};
use serde_json::{Value, json};

use super::{LIMIT, binary, free_port};

const NODES: usize = 300;
const ROUNDS: usize = 5;

/// Delivery id to execution id, and how many requests there were.
type Got = Arc<Mutex<(HashMap<String, String>, usize)>>;

/// A receiver that refuses now and then.
fn receiver() -> (String, Got) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let got = Got::default();
    let taken = got.clone();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let taken = taken.clone();
            std::thread::spawn(move || serve(BufReader::new(socket), &taken));
        }
    });
    (url, got)
}

/// Ends with the connection, as when the server is killed.
fn serve(mut connection: BufReader<TcpStream>, got: &Got) -> Option<()> {
    loop {
        let (mut id, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let (name, value) = line.trim_end().split_once(": ").unwrap_or((line.trim_end(), ""));
            match name.to_ascii_lowercase().as_str() {
                "webhook-id" => value.clone_into(&mut id),
                "content-length" => length = value.parse().ok()?,
                "" => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        connection.read_exact(&mut body).ok()?;
        let event: Value = serde_json::from_slice(&body).ok()?;
        let refuse = {
            let mut got = got.lock().unwrap();
            got.1 += 1;
            let refuse = got.1.is_multiple_of(7);
            if !refuse {
                got.0.insert(id, event["data"]["command_execution_id"].as_str()?.to_owned());
            }
            refuse
        };
        let status = if refuse { "503 Busy" } else { "200 OK" };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        connection.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}

#[test]
fn no_delivery_is_lost_over_kills() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("server");
    let mut seed = Command::new(binary());
    seed.args(["dev", "seed", "--nodes", &NODES.to_string(), "--data"]).arg(&data);
    assert!(seed.status().unwrap().success());
    let address = std::net::Ipv4Addr::LOCALHOST;
    let mut server = Server::start(&ServerOptions {
        binary: binary(),
        data,
        agents: format!("{address}:{}", free_port(address)),
        environment: vec![
            ("WEBHOOK_ALLOW_PRIVATE_IPS".to_owned(), "true".to_owned()),
            ("REEVE_WEBHOOK_RETRY_SCHEDULE_SECS".to_owned(), "[0.2]".to_owned()),
        ],
    })
    .unwrap();
    let (url, got) = receiver();
    let hook = json!({
        "url": url, "secret": "a-secret-of-the-lab-with-more-than-32-bytes",
        "subscribed_events": ["edge.command_execution.created"],
    });
    let hook = server.edge().unwrap().call("POST", "/api/v1/webhooks", &hook).unwrap();
    let log = format!("/api/v1/webhooks/{}/deliveries", hook["id"].as_str().unwrap());
    for round in 0..ROUNDS {
        server.run_on_all("true").unwrap();
        // At another moment of the work each time, the first ones before the fan-out has ended.
        eventually("some deliveries", LIMIT, || Ok(got.lock().unwrap().1 >= round * NODES / 2)).unwrap();
        server = server.kill_and_restart().unwrap();
    }
    let count = |server: &Server, filter: &str| -> u64 {
        let answer = server.edge().unwrap().send("GET", &format!("{log}?page_size=1{filter}"), None).unwrap();
        answer.json().unwrap()["meta"]["pagination"]["total_count"].as_u64().unwrap()
    };
    let all = (ROUNDS * NODES) as u64;
    eventually("every delivery", LIMIT, || {
        let delivered = count(&server, "&state=delivered");
        if delivered < all { anyhow::bail!("{delivered} of {all}") } else { Ok(true) }
    })
    .unwrap();
    assert_eq!(count(&server, ""), all, "each event once");
    let got = got.lock().unwrap();
    let executions: HashSet<&String> = got.0.values().collect();
    assert_eq!((got.0.len() as u64, executions.len() as u64), (all, all), "one id for each event");
}
