//! Every text for Prometheus, judged by Prometheus' own `promtool check metrics`.
#![allow(clippy::disallowed_methods)] // a test may start the judge

use std::io::Write;
use std::process::{Command, Stdio};

use reeve_domain::cluster;
use reeve_testkit::app::TestApp;
use reeve_types::Actor;

/// What promtool finds not beautiful although it can be read: names that exporters and the original gave, and that
/// dashboards are written for.
const NAMES_OF_OTHERS: [&str; 3] = ["node_memory_", "_prom_ex_", "node_cpu_seconds"];

fn promtool(text: &str) -> (bool, String) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is not here: run the tests with `cargo xtask test`, or install Debian's `prometheus`");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    // 3 is a matter of style, 1 a text that cannot be read.
    (done.status.success() || done.status.code() == Some(3), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_can_be_read() {
    let app = TestApp::sqlite().await;
    let input = cluster::Create { name: "a".into(), ipv4_range: None, node_limit: None };
    cluster::create(&app.app, &Actor::system(), input).await.unwrap();
    let node = app.agents.enroll("a").await;
    // Fails when it is installed already, which is fine.
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let paths = [
        "/api/v1/admins/me/metrics/raw".to_owned(),
        format!("/api/v1/nodes/{node}/metrics/host/raw"),
        format!("/api/v1/nodes/{node}/metrics/agent/raw"),
    ];
    for path in paths {
        let answer = client.get(format!("{}{path}", app.url)).bearer_auth(&app.keys.metrics).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let text = answer.text().await.unwrap();
        assert!(text.lines().filter(|line| !line.starts_with('#')).count() > 15, "{text}");
        let (can_be_read, said) = promtool(&text);
        assert!(can_be_read, "{path}: {said}\n{text}");
        let ours: Vec<&str> =
            said.lines().filter(|line| !NAMES_OF_OTHERS.iter().any(|name| line.contains(name))).collect();
        assert!(ours.is_empty(), "{path}: {ours:?}");
    }
    let (broken, _) = promtool("a{b=\"\n");
    assert!(!broken, "the judge is awake");
}
