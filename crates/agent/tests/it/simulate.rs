//! Virtual agents.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use reeve_agent::simulate::{SimulateOptions, run};
use reeve_agent_proto::ServerEvent;
use reeve_agent_proto::message::Rejected;
use tokio_util::sync::CancellationToken;

use crate::agent::until;
use crate::server::Server;

#[tokio::test]
async fn a_virtual_fleet_enrolls_answers_and_survives_churn() {
    let mut server = Server::start().await;
    let stop = CancellationToken::new();
    let options = SimulateOptions {
        fail_rate: 0.5,
        latency_ms: 20,
        churn_per_minute: 60.0,
        reconnect_cap_ms: 100,
        progress_ms: 50,
        ..SimulateOptions::new(40, server.key.clone())
    };
    let fleet = tokio::spawn(run(options, stop.clone(), |_| {}));
    let shared = server.shared.clone();
    until("every agent to enroll", || shared.keys.lock().unwrap().len() == 40).await;
    until("some churn", || shared.welcomed.load(Ordering::SeqCst) > 60).await;
    let nodes: Vec<String> = shared.keys.lock().unwrap().keys().cloned().collect();
    let mut missing: HashSet<String> = nodes.iter().map(|node| format!("e-{node}")).collect();
    let (mut failed, mut rounds) = (0, 0);
    while !missing.is_empty() {
        assert!(rounds < 100, "{} results missing", missing.len());
        rounds += 1;
        for id in &missing {
            server.try_run(&id[2..], id, "true");
        }
        let ids = missing.clone();
        let results = server.gather(200, |event| match event {
            ServerEvent::Result(result) => Some((**result).clone()),
            _ => None,
        });
        for result in results.await {
            if missing.remove(&result.execution_id) {
                assert_eq!(result.output, format!("simulated {}\n", &result.execution_id[2..]));
                failed += result.exit_code;
            }
        }
        assert!(missing.len() <= ids.len());
    }
    assert!((5..35).contains(&failed), "{failed}");
    stop.cancel();
    let stats = fleet.await.unwrap().unwrap();
    assert_eq!((stats.enrolled, stats.refused, stats.accepted), (40, 0, 40));
}

#[tokio::test]
async fn refused_virtual_agents_end() {
    let server = Server::start().await;
    *server.shared.refuse.lock().unwrap() = Some(Rejected { error: "key_spent".into(), ..Rejected::default() });
    let options = SimulateOptions::new(5, server.key.clone());
    let stats = run(options, CancellationToken::new(), |_| {}).await.unwrap();
    assert_eq!((stats.refused, stats.enrolled), (5, 0));
}
