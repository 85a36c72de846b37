//! The agent is killed with -9 at bad moments: nothing runs twice, nothing is lost.

use std::sync::atomic::Ordering;

use reeve_agent_proto::message::Progress;
use reeve_lab::until;

use crate::agent::{Agent, Start, alive};
use crate::server::Server;

#[tokio::test]
async fn killed_in_mid_command_it_reports_the_loss_and_kills_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("agent");
    let mut server = Server::start().await;
    let mut agent = Start::new(&data, Some(&server.key)).arg("--max-parallel", "1").spawn();
    let node = server.hello().await.node_id;
    let shared = server.shared.clone();
    until("the session", || shared.welcomed.load(Ordering::SeqCst) > 0).await;
    let (trace, pid) = (dir.path().join("trace"), dir.path().join("pid"));
    let text = format!(
        "echo x >> {}; setsid sleep 600 & echo $! > {pid}.new; mv {pid}.new {pid}; sleep 600",
        trace.display(),
        pid = pid.display()
    );
    server.run(&node, "e1", &text);
    server.started("e1").await;
    server.run(&node, "e2", "echo queued");
    until("the command", || pid.exists()).await;
    until("e2 in the journal", || {
        let journal = std::fs::read(data.join("journal")).unwrap();
        journal.windows(11).any(|w| w == b"echo queued")
    })
    .await;
    agent.kill();
    let escaped = std::fs::read_to_string(&pid).unwrap();
    assert!(alive(&escaped));
    let _again = Agent::start(&data, &server.key);
    let hello = server.hello().await;
    let known = |id: &str| hello.known.iter().find(|k| k.execution_id == id).unwrap().progress();
    assert!(matches!(known("e1"), Progress::Started | Progress::Finished));
    known("e2");
    let (mut lost, mut queued) = (None, None);
    server
        .hear("both results", |_, event| {
            if let reeve_agent_proto::ServerEvent::Result(result) = event {
                match result.execution_id.as_str() {
                    "e1" => lost = Some(result.clone()),
                    _ => queued = Some(result.clone()),
                }
            }
            (lost.is_some() && queued.is_some()).then_some(())
        })
        .await;
    let (lost, queued) = (lost.unwrap(), queued.unwrap());
    assert_eq!(lost.exit_code, 1);
    assert!(lost.output.contains("agent stopped while this command was running"), "{}", lost.output);
    assert_eq!((queued.exit_code, queued.output.as_str()), (0, "queued\n"));
    assert_eq!(std::fs::read_to_string(&trace).unwrap(), "x\n");
    until("the leftover to die", || !alive(&escaped)).await;
}

#[tokio::test]
async fn a_result_that_was_not_acknowledged_survives_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("agent");
    let mut server = Server::start().await;
    server.shared.no_ack.store(true, Ordering::SeqCst);
    let mut agent = Agent::start(&data, &server.key);
    let node = server.hello().await.node_id;
    let shared = server.shared.clone();
    until("the session", || shared.welcomed.load(Ordering::SeqCst) > 0).await;
    server.run(&node, "e1", "date +%N");
    let first = server.result("e1").await;
    agent.kill();
    let mut agent = Agent::start(&data, &server.key);
    let second = server.result("e1").await;
    assert_eq!(first, second);
    agent.kill();
    server.shared.no_ack.store(false, Ordering::SeqCst);
    let mut agent = Agent::start(&data, &server.key);
    assert_eq!(server.result("e1").await, first);
    // Acknowledged: forgotten, and remembered as past.
    server.run(&node, "e2", "true");
    server.result("e2").await;
    agent.terminate();
    agent.exit().await;
    let _agent = Agent::start(&data, &server.key);
    assert!(server.hello().await.known.is_empty());
    until("the session", || shared.welcomed.load(Ordering::SeqCst) == 4).await;
    server.run(&node, "e1", "date +%N");
    let refused = server.result("e1").await;
    assert!(refused.output.contains("does not run it again"), "{}", refused.output);
}

#[tokio::test]
async fn killed_at_random_moments_every_command_has_one_effect_and_one_result() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("agent");
    let mut server = Server::start().await;
    let mut agent = Agent::start(&data, &server.key);
    let node = server.hello().await.node_id;
    let shared = server.shared.clone();
    until("the session", || shared.welcomed.load(Ordering::SeqCst) > 0).await;
    let count = 60;
    let effect = |i: usize| dir.path().join(format!("effect{i:02}"));
    let text = |i: usize| format!("echo x >> {}", effect(i).display());
    let mut done = vec![false; count];
    let mut rounds = 0;
    while done.iter().any(|d| !d) {
        // What the server has no result for is sent again, as after its own restart.
        for i in (0..count).filter(|i| !done[*i]) {
            server.run(&node, &format!("e{i:02}"), &text(i));
        }
        let wanted = if rounds < 6 { 1 + rounds * 2 } else { count };
        let mut heard = 0;
        let all = done.iter().filter(|d| !**d).count().min(wanted);
        server
            .hear("results", |_, event| {
                if let reeve_agent_proto::ServerEvent::Result(result) = event {
                    let i: usize = result.execution_id[1..].parse().unwrap();
                    if !std::mem::replace(&mut done[i], true) {
                        heard += 1;
                    }
                }
                (heard >= all).then_some(())
            })
            .await;
        agent.kill();
        let before = shared.welcomed.load(Ordering::SeqCst);
        agent = Agent::start(&data, &server.key);
        until("the session", || shared.welcomed.load(Ordering::SeqCst) > before).await;
        rounds += 1;
    }
    for i in 0..count {
        // A command that was killed together with its agent may not have got as far as its effect.
        let content = std::fs::read_to_string(effect(i)).unwrap_or_default();
        assert!(content.is_empty() || content == "x\n", "effect {i}: {content:?}");
    }
}
