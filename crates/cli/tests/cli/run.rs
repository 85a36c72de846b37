//! `reeve run`: what is asked of the server, live output, summary, exit codes, interrupts.

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::fake::{Fake, Ran, User, data, event, node, node_id, open_stream, page, refuse, stream};

const POST: &str = "POST /edge/api/v1/commands";
const STREAM: &str = "GET /edge/api/v1/commands/c1/stream";
const SUMMARY: &str = "GET /edge/api/v1/commands/c1/summary";

pub fn summary(succeeded: u64, failed: u64, sent: u64) -> Value {
    json!({
        "total": succeeded + failed + sent, "pending": 0, "sent": sent, "running": sent, "completed": succeeded + failed,
        "succeeded": succeeded, "failed": failed, "timed_out": 0, "cancelled": 0, "expired": 0, "exit_codes": {},
    })
}

pub fn execution(id: &str, n: u8, status: &str, exit_code: Option<i64>) -> String {
    let data = json!({"id": id, "node_id": node_id(n), "command_id": "c1", "status": status, "exit_code": exit_code});
    event("x", "execution", data)
}

pub fn output(id: &str, n: u8, offset: u64, text: &str) -> String {
    event("x", "output", json!({"execution_id": id, "node_id": node_id(n), "offset": offset, "text": text}))
}

pub async fn fake(result: Value, events: Vec<String>) -> Fake {
    let fake = Fake::start().await;
    fake.on("GET /edge/api/v1/nodes", |_| page(vec![node(1, "web-1", "healthy"), node(2, "db", "healthy")], 2, false));
    fake.on(POST, |_| data(json!({"id": "c1", "command_text": "x", "rollout": null})));
    fake.on(SUMMARY, |_| data(summary(0, 0, 2)));
    let mut chunks = events;
    chunks.push(event("end", "end", result));
    let mut chunks = Some(chunks);
    fake.on(STREAM, move |_| stream(chunks.take().unwrap_or_default(), false));
    fake
}

async fn mixed() -> Fake {
    let events = vec![
        execution("e1", 1, "sent", None),
        execution("e2", 2, "sent", None),
        output("e1", 1, 0, "one\ntw"),
        output("e2", 2, 0, "bad things\n"),
        output("e1", 1, 6, "o\n"),
        output("e1", 1, 8, "no end"),
        execution("e1", 1, "completed", Some(0)),
        execution("e2", 2, "completed", Some(3)),
    ];
    fake(summary(1, 1, 0), events).await
}

fn without_times(text: &str) -> String {
    let mut words = Vec::new();
    for word in text.split(' ') {
        let bare = word.trim_end_matches([':', ';', '\n']);
        let timed =
            bare.strip_suffix("ms").or(bare.strip_suffix('s')).is_some_and(|number| number.parse::<f64>().is_ok());
        words.push(if timed { word.replacen(bare, "T", 1) } else { word.to_owned() });
    }
    words.join(" ")
}

#[tokio::test]
async fn output_is_live_and_named_and_failures_are_summed_up() {
    let fake = mixed().await;
    let ran = User::of(&fake).run("run uptime --all").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(ran.stdout, "web-1 | one\ndb | bad things\nweb-1 | two\nweb-1 | no end\n");
    let stderr = without_times(&ran.stderr);
    let (head, rest) = stderr.split_once('\n').unwrap();
    assert!(head.starts_with("2 nodes in T: 1 succeeded, 1 failed; slowest "), "{head}");
    assert_eq!(rest, "  db  exit 3  bad things\n");
    assert_eq!(fake.asked(POST)[0].body, json!({"command_text": "uptime", "targeting": {"type": "all"}}));
}

#[tokio::test]
async fn all_succeeded_is_exit_code_0() {
    let fake = fake(summary(1, 0, 0), vec![execution("e1", 1, "completed", Some(0))]).await;
    let ran = User::of(&fake).run("run true --all").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
    assert!(ran.stderr.starts_with("1 node in "), "{}", ran.stderr);
}

#[tokio::test]
async fn no_node_is_no_success() {
    let fake = fake(summary(0, 0, 0), Vec::new()).await;
    fake.on(SUMMARY, |_| data(summary(0, 0, 0)));
    let ran = User::of(&fake).run("run true --all").await;
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.ends_with("no node matched the target\nnext:  reeve node list shows which there are\n"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn terminals_get_aligned_coloured_names() {
    let mut user = User::of(&mixed().await).wide(80);
    user.colour = true;
    let ran = user.run("run uptime --all").await;
    let line = ran.stdout.lines().nth(1).unwrap();
    assert!(line.contains("db    |\u{1b}[0m bad things"), "{line:?}");
}

#[tokio::test]
async fn quiet_and_bare_output() {
    assert_eq!(User::of(&mixed().await).run("run uptime --all -q").await.stdout, "");
    assert_eq!(
        User::of(&mixed().await).run("run uptime --all --no-prefix").await.stdout,
        "one\nbad things\ntwo\nno end\n"
    );
}

#[tokio::test]
async fn documents_hold_every_execution_with_its_output() {
    let ran = User::of(&mixed().await).run("run uptime --all -o json").await;
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{ran:?}");
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["summary"]["failed"], 1);
    assert_eq!(document["executions"][0]["output"], "one\ntwo\nno end");
    assert_eq!(
        (&document["executions"][1]["exit_code"], &document["executions"][1]["node"]),
        (&json!(3), &json!("db"))
    );
}

async fn body_of(words: &[&str]) -> Value {
    let fake = mixed().await;
    for cluster in ["a", "b", "c"] {
        fake.on(&format!("GET /edge/api/v1/clusters/{cluster}"), move |_| data(json!({ "name": cluster })));
    }
    let ran = User::of(&fake).run_words(words).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    fake.asked(POST)[0].body.clone()
}

#[tokio::test]
async fn a_misspelt_cluster_is_told_before_anything_is_run() {
    let fake = mixed().await;
    let ran = User::of(&fake).run("run uptime --cluster prdo").await;
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (1, "error: no cluster is called 'prdo' (404 not_found)\nnext:  `reeve cluster list` shows which there are\n")
    );
    assert!(fake.asked(POST).is_empty());
}

#[tokio::test]
async fn output_of_a_node_cannot_steer_the_terminal() {
    let fake = mixed().await;
    let hostile = "\u{1b}]0;title\u{7}\u{1b}[2J\u{1b}[31mred\u{1b}[0m\n10%\r20%\r\nevil\r\u{1b}[1Aweb-2 | fine\n";
    let chunk = json!({"execution_id": "e9", "node_id": node_id(1), "offset": 0, "next_offset": hostile.len(), "text": hostile});
    let end = json!({"total": 1, "completed": 1, "succeeded": 1});
    fake.on(STREAM, move |_| stream(vec![event("1", "output", chunk.clone()), event("2", "end", end.clone())], false));
    let mut user = User::of(&fake).wide(80);
    user.colour = true;
    let seen = user.run("run x --all").await.stdout;
    let plain = console::strip_ansi_codes(&seen).into_owned();
    assert!(plain.contains("| \u{fffd}]0;title\u{fffd}\u{fffd}[2Jred\n"), "{seen:?}");
    assert!(seen.contains("\u{1b}[31mred\u{1b}[0m"), "colours are kept: {seen:?}");
    assert!(plain.contains("| 20%\n"), "{seen:?}");
    assert!(!seen.contains("\u{1b}[1A") && !seen.contains('\r') && !seen.contains('\u{7}'), "{seen:?}");
    // A pipe gets what the command wrote.
    let piped = User::of(&fake).run("run x --all").await.stdout;
    assert!(piped.contains("\u{1b}]0;title\u{7}"), "{piped:?}");
}

#[tokio::test]
async fn options_become_the_request() {
    let words = [
        "run",
        "-d",
        "systemctl restart app",
        "-l",
        "env=prod",
        "--canary",
        "1",
        "--batch",
        "10%",
        "--max-failures",
        "2",
        "--timeout",
        "1m30s",
        "--expire-in",
        "1h",
    ];
    assert_eq!(
        body_of(&words).await,
        json!({
            "command_text": "systemctl restart app", "targeting": {"type": "all", "label_selector": "env=prod"}, "timeout": 90_000,
            "expired_at": "2026-01-10T13:00:00Z", "rollout": {"canary": 1, "batch_size": "10%", "max_failures": 2},
        })
    );
    assert_eq!(
        body_of(&["run", "-d", "x", "-c", "a,b", "--cluster", "c", "--healthy", "--batch", "5"]).await,
        json!({
            "command_text": "x", "targeting": {"type": "clusters", "cluster_names": ["a", "b", "c"], "node_filters": {"status": "healthy"}},
            "rollout": {"batch_size": 5},
        })
    );
    assert_eq!(
        body_of(&["run", "-d", "--node", "web-1,db", "--", "ls", "-la", "/"]).await,
        json!({"command_text": "ls -la /", "targeting": {"type": "nodes", "node_ids": [node_id(1), node_id(2)]}})
    );
}

#[tokio::test]
async fn a_script_comes_from_a_file_or_standard_input() {
    let fake = mixed().await;
    let mut user = User::of(&fake);
    let script = user.home().join("x.sh");
    std::fs::write(&script, "echo a\necho b\n").unwrap();
    assert_eq!(user.run(&format!("run -d --all -f {}", script.display())).await.code, 0);
    user.answers = vec!["echo c", "echo d"];
    assert_eq!(user.run("run -d --all -f -").await.code, 0);
    let texts: Vec<Value> = fake.asked(POST).into_iter().map(|seen| seen.body["command_text"].clone()).collect();
    assert_eq!(texts, ["echo a\necho b\n", "echo c\necho d"]);
    assert_eq!(user.run("run --all -f /nope").await.code, 2);
}

#[tokio::test]
async fn detaching_prints_the_id() {
    let ran = User::of(&mixed().await).run("run uptime --all --detach").await;
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "c1\n", "next:  reeve command watch c1\n"));
}

#[tokio::test]
async fn a_refused_command_is_an_error() {
    let fake = Fake::start().await;
    fake.on(POST, |_| {
        refuse(422, "validation_failed", "Validation failed", json!({"expired_at": ["must be in the future"]}))
    });
    let ran = User::of(&fake).run("run uptime --all").await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("expired_at: must be in the future"), "{}", ran.stderr);
}

async fn interrupted(line: &str, after_cancel: Option<Vec<String>>) -> (Fake, Ran) {
    let fake = Fake::start().await;
    let (press, interrupts) = mpsc::unbounded_channel();
    fake.on("GET /edge/api/v1/nodes", |_| page(vec![node(1, "web-1", "healthy")], 1, false));
    fake.on(POST, |_| data(json!({"id": "c1"})));
    fake.on(SUMMARY, |_| data(summary(0, 0, 1)));
    let mut connections = 0;
    fake.on(STREAM, move |seen| {
        connections += 1;
        if connections == 1 {
            press.send(()).unwrap();
            return match after_cancel {
                Some(_) => stream(vec![execution("e1", 1, "sent", None)], true),
                None => open_stream(vec![execution("e1", 1, "sent", None)]),
            };
        }
        assert_eq!(seen.header("last-event-id"), "x");
        stream(after_cancel.clone().unwrap_or_default(), false)
    });
    fake.on("POST /edge/api/v1/commands/c1/cancel", |_| data(summary(0, 0, 1)));
    let mut user = User::of(&fake);
    user.interrupts = Some(interrupts);
    let ran = user.run(line).await;
    (fake, ran)
}

#[tokio::test]
async fn an_interrupt_leaves_the_command_running_and_says_how_to_come_back() {
    let (fake, ran) = interrupted("run sleep --all", None).await;
    assert_eq!(ran.code, 130);
    assert_eq!(
        ran.stderr,
        "detached; the command goes on\nnext:  reeve command watch c1\n       reeve command cancel c1\n"
    );
    assert!(fake.asked("POST /edge/api/v1/commands/c1/cancel").is_empty());
}

#[tokio::test]
async fn an_interrupt_can_cancel_instead() {
    let cancelled = json!({"total": 1, "pending": 0, "sent": 0, "completed": 0, "succeeded": 0, "failed": 0, "timed_out": 0, "cancelled": 1, "expired": 0});
    let rest = vec![execution("e1", 1, "cancelled", Some(143)), event("end", "end", cancelled)];
    let (fake, ran) = interrupted("run sleep --all --cancel-on-interrupt", Some(rest)).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(fake.asked("POST /edge/api/v1/commands/c1/cancel").len(), 1);
    assert!(ran.stderr.contains("1 cancelled") && ran.stderr.contains("  web-1  cancelled"), "{}", ran.stderr);
}

#[tokio::test]
async fn results_that_the_stream_left_out_are_fetched() {
    let fake = fake(summary(1, 1, 0), vec![execution("e1", 1, "completed", Some(0))]).await;
    fake.on("GET /edge/api/v1/command_executions", |seen| {
        let row = json!({"id": "e2", "node_id": node_id(2), "status": "completed", "exit_code": 9, "output": "first\nlast words\n"});
        if seen.param("exit_code__gte") == Some("1") { page(vec![row], 1, false) } else { page(Vec::new(), 0, false) }
    });
    let ran = User::of(&fake).run("run x --all").await;
    assert!(ran.stderr.ends_with("  db  exit 9  last words\n"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_stopped_rollout_ends_the_watch() {
    let fake = Fake::start().await;
    let rollout = json!({"state": "stopped", "current_batch": 1, "batches": 3, "failures": 1});
    let command = json!({"id": "c1", "rollout": rollout});
    fake.on("GET /edge/api/v1/nodes", |_| page(vec![node(1, "web-1", "healthy")], 1, false));
    fake.on(POST, |_| data(json!({"id": "c1", "rollout": {"state": "running", "current_batch": 1, "batches": 3}})));
    fake.on("GET /edge/api/v1/commands/c1", move |_| data(command.clone()));
    let mut counts = summary(0, 1, 0);
    counts["total"] = json!(3);
    counts["pending"] = json!(2);
    fake.on(SUMMARY, move |_| data(counts.clone()));
    fake.on(STREAM, |_| open_stream(vec![execution("e1", 1, "completed", Some(1))]));
    let ran = User::of(&fake).run("run x --all --canary 1 --max-failures 0").await;
    assert_eq!(ran.code, 1);
    let head = without_times(ran.stderr.lines().next().unwrap());
    assert!(head.starts_with("3 nodes in T: 1 failed, 2 waiting") && head.ends_with("batch 1 of 3, stopped"), "{head}");
}

#[tokio::test]
async fn watching_later_is_like_running() {
    let fake = mixed().await;
    fake.on("GET /edge/api/v1/commands", |_| {
        page(vec![json!({"id": "0193aaaa-0000-7000-8000-00000000c1c1"})], 1, false)
    });
    let id = "0193aaaa-0000-7000-8000-00000000c1c1";
    fake.on(&format!("GET /edge/api/v1/commands/{id}"), |_| data(json!({"id": "c1"})));
    let ran = User::of(&fake).run("command watch last").await;
    assert_eq!((ran.code, ran.stdout.lines().count()), (1, 4), "{ran:?}");
    assert_eq!(User::of(&mixed().await).run(&format!("command watch {id}")).await.code, 1);
}
