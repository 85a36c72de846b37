//! `reeve top` without a terminal, and `reeve node metrics`.

use serde_json::{Value, json};

use crate::fake::{Fake, Reply, User, data, node, node_id, page, refuse};

fn measured(n: u8, load: f64) -> Value {
    json!({
        "node_id": node_id(n), "hostname": format!("web-{n}"), "cluster_name": "prod", "status": "healthy", "connected": true,
        "labels": {}, "timestamp": "2026-01-10T11:59:30Z",
        "cpu": {"cores": 2, "load_1m": load, "load_5m": 0.5, "load_15m": 0.25, "usage_percent": 12.5},
        "memory": {"usage_percent": 50.0, "used_bytes": 4294967296_u64, "total_bytes": 8589934592_u64}, "disk": null,
        "network": {"received_bytes_per_second": 2048, "sent_bytes_per_second": 0},
        "uptime": {"seconds": 60, "human": "1m"}, "commands": {"running": 0, "queued": 0},
    })
}

#[tokio::test]
async fn the_fleet_is_shown_once_in_a_pipe() {
    let fake = Fake::start().await;
    fake.on("GET /edge/api/v1/nodes/metrics", |_| page(vec![measured(1, 2.5), measured(2, 0.5)], 2, false));
    let ran = User::of(&fake).run("top -l env=prod --cluster pro* --status healthy --sort cpu --limit 20").await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let lines: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1][..6], ["web-1", "prod", "healthy", "12.5", "2", "2.50"]);
    let asked = &fake.asked("GET /edge/api/v1/nodes/metrics")[0];
    let told = ["label_selector", "cluster_name", "status", "order_by", "order_directions", "live", "page_size"];
    let told: Vec<_> = told.into_iter().map(|name| asked.param(name).unwrap_or_default().to_owned()).collect();
    assert_eq!(told, ["env%3Dprod", "pro*", "healthy", "cpu_usage_percent", "desc", "true", "20"]);
}

#[tokio::test]
async fn the_fleet_is_a_document_for_programs() {
    let fake = Fake::start().await;
    fake.on("GET /edge/api/v1/nodes/metrics", |_| page(vec![measured(1, 2.5)], 1, false));
    let ran = User::of(&fake).wide(80).run("top --once --reverse --sort cluster -o json").await;
    let rows: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(rows, json!([measured(1, 2.5)]));
    let asked = &fake.asked("GET /edge/api/v1/nodes/metrics")[0];
    assert_eq!((asked.param("order_directions"), asked.param("live")), (Some("desc"), None));
    let ran = User::of(&fake).run("top -o name").await;
    assert_eq!(ran.stdout, format!("{}\n", node_id(1)));
}

#[tokio::test]
async fn an_empty_fleet_and_a_missing_right_are_told() {
    let fake = Fake::start().await;
    fake.on("GET /edge/api/v1/nodes/metrics", |_| page(Vec::new(), 0, false));
    let ran = User::of(&fake).run("top").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert_eq!(ran.stderr, "no node has told its load in the last 5 minutes\n");
    fake.on("GET /edge/api/v1/nodes/metrics", |_| refuse(403, "forbidden", "Forbidden", Value::Null));
    let ran = User::of(&fake).run("top").await;
    assert_eq!(ran.code, 1);
    let ran = User::of(&fake).run("top --sort nonsense").await;
    assert_eq!(ran.code, 2);
}

#[tokio::test]
async fn a_node_is_measured() {
    let fake = Fake::start().await;
    let m = measured(1, 1.5);
    let host = json!({"available": true, "cpu": m["cpu"], "memory": m["memory"], "disk": m["memory"], "network": m["network"], "uptime": m["uptime"]});
    let agent = json!({
        "available": true, "application": {"uptime_human": "3h 2m", "memory_total_bytes": 3145728},
        "oban_queues": [{"queue": "commands", "available": 2, "executing": 1, "completed": 40}],
    });
    let whole = json!({"node_id": node_id(1), "cluster_name": "prod", "timestamp": "2026-01-10T11:59:58Z", "host": host, "agent": agent});
    fake.on("GET /edge/api/v1/nodes", |_| page(vec![node(1, "web-1", "healthy")], 1, false));
    fake.on(&format!("GET /edge/api/v1/nodes/{}/metrics", node_id(1)), move |_| data(whole.clone()));
    let ran = User::of(&fake).run("node metrics web-1").await;
    for line in [
        "CPU           12.5% of 2 cores",
        "LOAD          1.50 0.50 0.25",
        "MEMORY        50.0%, 4.0G of 8.0G",
        "NETWORK       2.0K/s in, 0/s out",
        "AGENT UPTIME  3h 2m",
        "COMMANDS      1 running, 2 queued, 40 ended",
    ] {
        assert!(ran.stdout.lines().any(|shown| shown == line), "{line}\n{}", ran.stdout);
    }
    assert_eq!(ran.stderr, "");
}

#[tokio::test]
async fn a_silent_node_and_text_for_prometheus() {
    let fake = Fake::start().await;
    let nothing = json!({"available": false, "error": "unavailable"});
    let whole = json!({"node_id": node_id(1), "cluster_name": "prod", "timestamp": "2026-01-10T12:00:00Z", "host": nothing, "agent": nothing});
    fake.on(&format!("GET /edge/api/v1/nodes/{}/metrics", node_id(1)), move |_| data(whole.clone()));
    let raw = || Reply {
        status: 200,
        headers: vec![("content-type", "text/plain".to_owned())],
        body: "node_load1 1\n".into(),
    };
    fake.on(&format!("GET /edge/api/v1/nodes/{}/metrics/host/raw", node_id(1)), move |_| raw());
    let ran = User::of(&fake).run(&format!("node metrics {}", node_id(1))).await;
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (0, "the node does not answer and has told nothing in the last 5 minutes\n")
    );
    let ran = User::of(&fake).run(&format!("node metrics {} --raw host", node_id(1))).await;
    assert_eq!(ran.stdout, "node_load1 1\n");
}
