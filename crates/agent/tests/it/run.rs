//! Running commands on a connection that holds, and on one that does not.

use std::path::Path;
use std::sync::atomic::Ordering;

use reeve_agent_proto::ServerEvent;
use reeve_agent_proto::message::{Cancel, GoAway, Progress, ResultStatus, Run};
use reeve_lab::until;

use crate::agent::{Agent, Start, alive};
use crate::server::Server;

async fn connected(dir: &Path) -> (Server, Agent, String) {
    let mut server = Server::start().await;
    let agent = Agent::start(&dir.join("agent"), &server.key);
    let node = server.hello().await.node_id;
    let welcomed = server.shared.clone();
    until("the session", || welcomed.welcomed.load(Ordering::SeqCst) > 0).await;
    (server, agent, node)
}

#[tokio::test]
async fn a_command_is_accepted_started_streamed_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, _agent, node) = connected(dir.path()).await;
    server.run(&node, "e1", "echo out; echo err >&2; exit 3");
    let mut steps = Vec::new();
    let result = server
        .hear("the result", |_, event| {
            match event {
                ServerEvent::Accepted(_) => steps.push("accepted"),
                ServerEvent::Started(_) => steps.push("started"),
                ServerEvent::Output(chunk) if chunk.offset == 0 => steps.push("output"),
                ServerEvent::Result(result) => return Some((**result).clone()),
                _ => {}
            }
            None
        })
        .await;
    assert_eq!(steps, ["accepted", "started", "output"]);
    assert_eq!((result.output.as_str(), result.exit_code), ("out\nerr\n", 3));
    assert_eq!(result.status(), ResultStatus::Completed);
}

#[tokio::test]
async fn a_timeout_over_the_wire() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, _agent, node) = connected(dir.path()).await;
    let text = "echo before; sleep 600".to_owned();
    server.say(&node, Run { execution_id: "e1".into(), command_text: text, timeout_ms: 5_000, ..Run::default() });
    let result = server.result("e1").await;
    assert_eq!(result.exit_code, 124);
    assert_eq!(result.output, "before\nCommand timed out after 5000 milliseconds\n");
}

#[tokio::test]
async fn queue_is_first_in_first_out_and_cancel_reaches_into_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    let _agent = Start::new(&dir.path().join("agent"), Some(&server.key)).arg("--max-parallel", "1").spawn();
    let node = server.hello().await.node_id;
    let shared = server.shared.clone();
    until("the session", || shared.welcomed.load(Ordering::SeqCst) > 0).await;
    let trace = dir.path().join("trace");
    let append = |word: &str| format!("echo {word} >> {}", trace.display());
    server.run(&node, "e1", "sleep 600");
    server.started("e1").await;
    for id in ["e2", "e3", "e4"] {
        server.run(&node, id, &append(id));
    }
    server.say(&node, Cancel { execution_id: "e3".into() });
    let cancelled = server.result("e3").await;
    assert_eq!((cancelled.exit_code, cancelled.output.as_str()), (143, "Command cancelled\n"));
    server.say(&node, Cancel { execution_id: "e1".into() });
    assert_eq!(server.result("e1").await.exit_code, 143);
    server.result("e4").await;
    assert_eq!(std::fs::read_to_string(&trace).unwrap(), "e2\ne4\n");
}

#[tokio::test]
async fn cancel_of_something_that_never_arrived_prevents_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, _agent, node) = connected(dir.path()).await;
    let trace = dir.path().join("trace");
    server.say(&node, Cancel { execution_id: "e1".into() });
    assert_eq!(server.result("e1").await.exit_code, 143);
    server.run(&node, "e1", &format!("touch {}", trace.display()));
    server.run(&node, "e2", "true");
    server.result("e2").await;
    assert!(!trace.exists());
}

#[tokio::test]
async fn what_expired_is_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, _agent, node) = connected(dir.path()).await;
    let trace = dir.path().join("trace");
    server.say(
        &node,
        Run {
            execution_id: "e1".into(),
            command_text: format!("touch {}", trace.display()),
            expires_at_us: 1,
            ..Run::default()
        },
    );
    assert_eq!(server.result("e1").await.status(), ResultStatus::Expired);
    assert!(!trace.exists());
}

#[tokio::test]
async fn a_command_goes_on_while_the_connection_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, _agent, node) = connected(dir.path()).await;
    let (trace, go) = (dir.path().join("trace"), dir.path().join("go"));
    let text =
        format!("echo x >> {}; while [ ! -e {} ]; do sleep 0.01; done; echo done", trace.display(), go.display());
    server.run(&node, "e1", &text);
    server.started("e1").await;
    server.shared.deaf.store(true, Ordering::SeqCst);
    server.cut();
    std::fs::write(&go, "").unwrap();
    server.shared.deaf.store(false, Ordering::SeqCst);
    let hello = server.hello().await;
    assert_eq!(hello.known.len(), 1);
    assert!(matches!(hello.known[0].progress(), Progress::Started | Progress::Finished));
    // A server that lost track sends it again: it must not run again.
    let shared = server.shared.clone();
    until("the session", || shared.welcomed.load(Ordering::SeqCst) == 2).await;
    server.run(&node, "e1", &text);
    assert_eq!(server.result("e1").await.output, "done\n");
    server.run(&node, "e1", &text);
    server.run(&node, "e2", "true");
    server.result("e2").await;
    assert_eq!(std::fs::read_to_string(&trace).unwrap(), "x\n");
}

#[tokio::test]
async fn unacknowledged_results_come_again_after_a_reconnect() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, _agent, node) = connected(dir.path()).await;
    server.shared.no_ack.store(true, Ordering::SeqCst);
    for i in 0..20 {
        server.run(&node, &format!("e{i:02}"), "head -c 700000 /dev/zero | tr '\\0' x");
    }
    // Only a window's worth is sent before acknowledgements come: of those that end first, whichever they are.
    server.hear("a result", |_, event| matches!(event, ServerEvent::Result(_)).then_some(())).await;
    server.cut();
    server.shared.no_ack.store(false, Ordering::SeqCst);
    let mut missing: Vec<String> = (0..20).map(|i| format!("e{i:02}")).collect();
    server
        .hear("all results", |_, event| {
            if let ServerEvent::Result(result) = event {
                assert_eq!(result.output.len(), 700_000);
                missing.retain(|id| *id != result.execution_id);
            }
            missing.is_empty().then_some(())
        })
        .await;
}

#[tokio::test]
async fn go_away_is_obeyed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, agent, node) = connected(dir.path()).await;
    let before = std::time::Instant::now();
    server.say(&node, GoAway { reconnect_after_ms: 300 });
    server.hang_up(&node);
    server.hello().await;
    assert!(before.elapsed() >= std::time::Duration::from_millis(290), "{}", agent.log());
}

#[tokio::test]
async fn stopping_ends_commands_and_reports_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    let data = dir.path().join("agent");
    let mut agent = Start::new(&data, Some(&server.key)).env("REEVE_AGENT_STOP_GRACE_MS", "200").spawn();
    let node = server.hello().await.node_id;
    let shared = server.shared.clone();
    until("the session", || shared.welcomed.load(Ordering::SeqCst) > 0).await;
    let pid = dir.path().join("pid");
    server.run(&node, "e1", &format!("echo $$ > {}; echo begun; sleep 600", pid.display()));
    server.started("e1").await;
    until("the command", || std::fs::read_to_string(&pid).is_ok_and(|p| p.ends_with('\n'))).await;
    agent.terminate();
    assert!(agent.exit().await.success());
    let result = server.result("e1").await;
    assert_eq!((result.exit_code, result.output.as_str()), (1, "begun\nCommand stopped: the agent was shut down\n"));
    assert!(!alive(&std::fs::read_to_string(&pid).unwrap()));
}
