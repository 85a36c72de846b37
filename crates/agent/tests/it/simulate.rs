//! Virtual agents.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use reeve_agent::simulate::{SimulateOptions, run};
use reeve_agent_proto::ServerEvent;
use reeve_lab::until;

use crate::server::Server;

#[tokio::test]
async fn a_virtual_fleet_enrolls_answers_and_survives_churn() {
    let mut server = Server::start().await;
    let options = SimulateOptions {
        count: 40,
        key: server.key.clone(),
        server: None,
        churn_per_second: 40.0,
        latency_ms: 20,
        fail_rate: 0.5,
        heartbeat_ms: None,
    };
    let fleet = tokio::spawn(run(options, |_| {}));
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
    assert!(!fleet.is_finished());
    fleet.abort();
}
