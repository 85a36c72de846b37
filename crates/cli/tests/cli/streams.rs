//! Streams that break: nothing is lost, nothing comes twice.

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::fake::{Fake, User, data, event, node_id, open_stream, page, refuse, stream};
use crate::run::{execution, output, summary};

const EXECUTION: &str = "0193aaaa-0000-7000-8000-000000000001";

fn logs_path(rest: &str) -> String {
    format!("GET /edge/api/v1/command_executions/{EXECUTION}/{rest}")
}

fn chunk(offset: usize, text: &str) -> String {
    let data = json!({"execution_id": EXECUTION, "node_id": node_id(1), "offset": offset, "text": text});
    event(&(offset + text.len()).to_string(), "output", data)
}

#[tokio::test]
async fn a_broken_stream_goes_on_where_it_stopped() {
    let fake = Fake::start().await;
    let mut connection = 0;
    fake.on(&logs_path("stream"), move |seen| {
        connection += 1;
        match connection {
            1 => stream(vec![chunk(0, "one\n"), chunk(4, "two\n"), "id: 99\nevent: output\ndata: {\"cut".into()], true),
            2 => refuse(503, "service_unavailable", "Service Unavailable", Value::Null),
            3 => {
                assert_eq!(seen.header("last-event-id"), "8");
                // A server that begins a little earlier than asked must not make lines come twice.
                stream(vec![chunk(4, "two\nthr")], false)
            }
            _ => {
                assert_eq!(seen.header("last-event-id"), "11");
                stream(vec![chunk(11, "ee\n"), event("14", "end", json!({"exit_code": 0}))], false)
            }
        }
    });
    let ran = User::of(&fake).run(&format!("execution logs -f {EXECUTION}")).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "one\ntwo\nthree\n"), "{ran:?}");
    assert!(ran.stderr.contains("trying again\nconnected again\n"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_whole_command_survives_a_restart_of_the_server() {
    let fake = Fake::start().await;
    fake.on("GET /edge/api/v1/nodes", |_| page(Vec::new(), 0, false));
    fake.on("POST /edge/api/v1/commands", |_| data(json!({"id": "c1"})));
    fake.on("GET /edge/api/v1/commands/c1/summary", |_| data(summary(0, 0, 2)));
    let mut connection = 0;
    fake.on("GET /edge/api/v1/commands/c1/stream", move |_| {
        connection += 1;
        match connection {
            1 => stream(vec![output("a", 1, 0, "x1\n"), output("b", 2, 0, "y1\ny")], true),
            2..5 => refuse(502, "bad_gateway", "Bad Gateway", Value::Null),
            _ => stream(
                vec![
                    output("a", 1, 0, "x1\nx2\n"),
                    output("b", 2, 0, "y1\n"),
                    output("b", 2, 3, "y2\n"),
                    execution("a", 1, "completed", Some(0)),
                    execution("b", 2, "completed", Some(0)),
                    event("z", "end", summary(2, 0, 0)),
                ],
                false,
            ),
        }
    });
    let ran = User::of(&fake).run("run x --all").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout, "00000001 | x1\n00000002 | y1\n00000001 | x2\n00000002 | y2\n");
}

#[tokio::test]
async fn a_server_that_stays_away_is_given_up() {
    let fake = Fake::start().await;
    fake.on("GET /edge/api/v1/nodes", |_| page(Vec::new(), 0, false));
    fake.on("POST /edge/api/v1/commands", |_| data(json!({"id": "c1"})));
    fake.on("GET /edge/api/v1/commands/c1/stream", |_| stream(Vec::new(), true));
    let ran = User::of(&fake).run("run x --all").await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stderr.contains("next:  the work goes on at the server"), "{}", ran.stderr);
}

#[tokio::test]
async fn output_is_read_from_an_offset_to_its_end() {
    let fake = Fake::start().await;
    fake.on(&logs_path("output"), |seen| {
        let all = "0123456789";
        let offset: usize = seen.param("offset").unwrap().parse().unwrap();
        let end = (offset + 4).min(all.len());
        let body = all[offset..end].to_owned();
        crate::fake::Reply {
            status: 200,
            headers: vec![("content-type", "text/plain".into()), ("x-next-offset", end.to_string())],
            body: body.into(),
        }
    });
    assert_eq!(User::of(&fake).run(&format!("execution logs {EXECUTION}")).await.stdout, "0123456789");
    assert_eq!(User::of(&fake).run(&format!("execution logs {EXECUTION} --offset 7")).await.stdout, "789");
}

fn node_event(n: u32) -> Value {
    json!({
        "specversion": "1.0", "id": format!("id-{n}"), "type": "edge.node.registered", "time": "2026-01-10T11:59:00Z",
        "data": {"node_id": node_id(1), "status": "healthy", "cluster_name": "prod"},
    })
}

#[tokio::test]
async fn events_are_followed_until_interrupted() {
    let fake = Fake::start().await;
    let (press, interrupts) = mpsc::unbounded_channel();
    let mut connection = 0;
    fake.on("GET /api/events", move |seen| {
        connection += 1;
        assert_eq!(seen.param("type"), Some("edge.node.*"));
        match connection {
            1 => stream(vec![event("41", "edge.node.registered", node_event(1))], false),
            2 => {
                assert_eq!(seen.header("last-event-id"), "41");
                stream(vec![event("42", "edge.node.registered", node_event(2))], false)
            }
            _ => {
                press.send(()).unwrap();
                open_stream(Vec::new())
            }
        }
    });
    let mut user = User::of(&fake);
    user.interrupts = Some(interrupts);
    let ran = user.run("events -f --type edge.node.* -o json").await;
    assert_eq!(ran.code, 130, "{ran:?}");
    let ids: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).collect();
    assert_eq!(ids, ["id-1", "id-2"]);
}

#[tokio::test]
async fn events_are_listed() {
    let fake = Fake::start().await;
    fake.on("GET /api/events", |seen| {
        assert_eq!((seen.param("after"), seen.header("accept")), (Some("7"), "application/json"));
        data(json!([node_event(1), node_event(2)]))
    });
    let ran = User::of(&fake).run("events --after 7 --limit 1").await;
    assert_eq!(
        ran.stdout,
        format!(
            "AGE  TYPE                  ABOUT                                 DETAIL\n60s  edge.node.registered  {}  status=healthy cluster_name=prod\n",
            node_id(1)
        )
    );
}

#[tokio::test]
async fn a_stream_that_is_refused_at_first_is_an_error() {
    let fake = Fake::start().await;
    fake.on("GET /api/events", |_| refuse(403, "forbidden", "Forbidden", json!({"permission": "event.read"})));
    let ran = User::of(&fake).run("events -f").await;
    assert!(ran.code == 1 && ran.stderr.contains("event.read"), "{ran:?}");
}
