//! Several servers on one PostgreSQL: who is a member, what an expelled one may not do, and what is passed on.

use std::sync::Arc;
use std::time::Duration;

use reeve_domain::agent::{self, Known, Report, Stage};
use reeve_domain::server::questions;
use reeve_domain::{App, admin, background, cluster, execution, node, server};
use reeve_ports::{AgentLink, Answer, Order, Question, Unreached};
use reeve_store::server as table;
use reeve_testkit::db::{TestDb, on_both};
use reeve_types::execution::ExecutionStatus;
use reeve_types::node_metrics::{Host, Sample};
use reeve_types::server::ServerState;
use reeve_types::{Actor, ErrorKind, NodeId, ServerId};

use tokio_util::sync::CancellationToken;

use crate::world::{FakeAgents, World, all_are, everything, machine, outcome};

fn about() -> server::About {
    server::About { version: "1.0.0".into(), listeners: "{}".into() }
}

/// Two servers on one database, `a` with background loops, `b` driven by hand.
struct Two {
    a: World,
    b: Arc<App>,
    agents_of_b: Arc<FakeAgents>,
}

impl Two {
    async fn new() -> Self {
        let db = TestDb::postgres().await;
        let store = reeve_store::Store::open(&db.location).await.unwrap();
        let a = World::new(db).await;
        server::join(&a.app, about()).await.unwrap();
        let mut config = a.app.config.clone();
        config.agent_endpoints = vec!["b:7443".into()];
        let (clock, ids) = (a.clock.clone(), Arc::new(reeve_types::id::SystemIds));
        let b = Arc::new(App::new(store, clock, ids, a.app.seal.clone(), config, ServerId("s2".into())));
        let agents_of_b = Arc::new(FakeAgents::default());
        b.set_agents(agents_of_b.clone());
        server::join(&b, about()).await.unwrap();
        Self { a, b, agents_of_b }
    }

    /// The node's agent comes to `b`.
    async fn connect_to_b(&self, node: &NodeId, known: Vec<Known>) {
        self.agents_of_b.add(node);
        agent::connected(&self.b, node, machine("1.0.0"), known).await.unwrap();
    }

    async fn holder(&self, node: &NodeId) -> Option<ServerId> {
        let mut tx = self.b.store.read().await.unwrap();
        reeve_store::node::by_id(&mut tx, node).await.unwrap().unwrap().connected_server
    }

    async fn server(&self, id: &str) -> reeve_types::server::Server {
        let (servers, _) = server::list(&self.b, &Actor::system()).await.unwrap();
        servers.into_iter().find(|server| server.id.as_str() == id).unwrap()
    }

    /// As if `a` had been silent for longer than its lease.
    async fn let_lease_of_a_pass(&self) {
        self.sql("UPDATE servers SET lease_until = 1 WHERE id = 's1'").await;
    }

    async fn sql(&self, sql: &str) {
        let mut tx = self.b.store.begin().await.unwrap();
        assert!(tx.execute(sql, &[]).await.unwrap() > 0, "{sql}");
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_server_alone_is_a_group_of_one() {
    on_both(|db| async {
        let world = World::new(db).await;
        server::join(&world.app, about()).await.unwrap();
        world.node("main").await;
        server::share::share_out(&world.app).await.unwrap();
        let me = admin::me(&world.app, &world.admin).await.unwrap();
        assert_eq!((me.entry.name.as_str(), me.entry.peers), ("admin-s1", 0));
        assert!(me.computed_at.is_some());
        let shares = admin::edge_clusters(&world.app, &world.admin).await.unwrap();
        assert_eq!(shares["admin-s1"]["cluster-main"].len(), 1);
        assert!(admin::orphaned_clusters(&world.app, &world.admin).await.unwrap().is_empty());
        server::beat(&world.app).await.unwrap();
        server::tidy(&world.app).await.unwrap();
        server::leave(&world.app).await.unwrap();
        let (servers, _) = server::list(&world.app, &world.admin).await.unwrap();
        assert_eq!((servers.len(), servers[0].state), (1, ServerState::Left));
    })
    .await;
}

#[tokio::test]
async fn joining_again_raises_the_epoch_and_drops_what_was_held() {
    on_both(|db| async {
        let world = World::new(db).await;
        server::join(&world.app, about()).await.unwrap();
        let node = world.node("main").await;
        let (before, _) = server::list(&world.app, &world.admin).await.unwrap();
        server::join(&world.app, about()).await.unwrap();
        let (after, _) = server::list(&world.app, &world.admin).await.unwrap();
        assert!(after[0].epoch > before[0].epoch);
        let view = node::get(&world.app, &world.admin, &node).await.unwrap();
        assert_eq!(view.node.connected_server, None);
    })
    .await;
}

#[tokio::test]
async fn more_nodes_than_room_is_degraded_and_orphans_are_named() {
    on_both(|db| async {
        let world = World::new(db).await;
        let mut config = world.app.config.clone();
        config.max_peers = 1;
        let ids = Arc::new(reeve_types::id::SystemIds);
        let seal = world.app.seal.clone();
        let small = App::new(world.app.store.clone(), world.clock.clone(), ids, seal, config, "s1".into());
        for _ in 0..2 {
            world.node("main").await;
        }
        server::join(&small, about()).await.unwrap();
        assert!(small.is_degraded());
        let topology = admin::my_cluster(&small, &world.admin).await.unwrap();
        assert_eq!((topology.degraded, topology.total_nodes, topology.total_capacity), (true, 2, 1));
        assert_eq!(admin::orphaned_clusters(&small, &world.admin).await.unwrap()["cluster-main"].len(), 2);
        let refused = agent::Refusal::Degraded;
        let key = world.key("main", None, None).await;
        let enrollment = agent::Enrollment {
            key,
            node_id: "n".into(),
            id_type: reeve_types::node::NodeIdType::Random,
            public_key: vec![1; 32],
            machine: machine("1"),
        };
        assert_eq!(agent::enroll(&small, enrollment).await.unwrap().unwrap_err(), refused);
    })
    .await;
}

#[tokio::test]
async fn two_servers_share_the_clusters_and_know_each_other() {
    let two = Two::new().await;
    for name in ["c1", "c2", "c3"] {
        two.a.cluster(name, None).await;
    }
    for app in [&two.a.app, &two.b] {
        server::share::share_out(app).await.unwrap();
        let shares = admin::edge_clusters(app, &two.a.admin).await.unwrap();
        assert_eq!(shares.values().map(|of_server| of_server.len()).collect::<Vec<_>>(), [2, 2], "{shares:?}");
        let topology = admin::my_cluster(app, &two.a.admin).await.unwrap();
        assert_eq!((topology.leader.as_str(), topology.members.len()), ("admin-s1", 2));
        assert!(topology.members.iter().all(|member| member.peers == 1));
    }
    let groups = admin::clusters(&two.b, &two.a.admin).await.unwrap();
    let standings: Vec<_> = groups[0].servers.iter().map(|s| (s.name.as_str(), s.standing)).collect();
    assert_eq!(standings, [("admin-s1", admin::Standing::Online), ("admin-s2", admin::Standing::Online)]);
    let mut tx = two.a.app.store.read().await.unwrap();
    assert_eq!(server::agent_endpoints(&two.a.app, &mut tx).await.unwrap(), ["b:7443"]);
}

#[tokio::test]
async fn the_servers_own_network_overlaps_with_no_cluster() {
    let two = Two::new().await;
    let groups = admin::clusters(&two.b, &two.a.admin).await.unwrap();
    let range = groups[0].ipv4_range.clone();
    assert_eq!(range, "100.127.255.0/24");
    let input = cluster::Create { name: "c".into(), ipv4_range: Some(range.clone()), node_limit: None };
    let error = cluster::create(&two.a.app, &two.a.admin, input).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(error.message.contains(&range), "{error}");
}

#[tokio::test]
async fn a_server_whose_lease_passed_is_expelled_and_its_agents_count_as_gone() {
    let two = Two::new().await;
    let node = two.a.node("main").await;
    assert_eq!(two.holder(&node).await, Some("s1".into()));
    two.let_lease_of_a_pass().await;
    server::beat(&two.b).await.unwrap();
    assert_eq!(two.server("s1").await.state, ServerState::Expelled);
    assert_eq!(two.holder(&node).await, None);
    server::share::share_out(&two.b).await.unwrap();
    let shares = admin::edge_clusters(&two.b, &two.a.admin).await.unwrap();
    assert_eq!(shares.keys().collect::<Vec<_>>(), ["admin-s2"]);
}

#[tokio::test]
async fn an_expelled_server_cannot_take_agents_in_and_joins_anew_with_its_next_beat() {
    let two = Two::new().await;
    let node = two.a.node("main").await;
    two.a.run(everything(), None).await;
    two.let_lease_of_a_pass().await;
    server::beat(&two.b).await.unwrap();
    // The agent has moved on and runs the command at b; a, which was paused, looks at its old hello.
    two.connect_to_b(&node, Vec::new()).await;
    let stale = agent::connected(&two.a.app, &node, machine("1.0.0"), Vec::new()).await.unwrap_err();
    assert_eq!(stale.kind, ErrorKind::Unavailable);
    assert_eq!(two.holder(&node).await, Some("s2".into()));
    // It lets go of its agents: those it had are the others' by now.
    let before = two.server("s1").await.epoch;
    server::beat(&two.a.app).await.unwrap();
    let after = two.server("s1").await;
    assert_eq!(after.state, ServerState::Member);
    assert!(after.epoch > before);
    assert_eq!(two.a.agents.connected_count(), 0);
    // What ends at a changes nothing of what b holds.
    agent::disconnected(&two.a.app, &node).await.unwrap();
    assert_eq!(two.holder(&node).await, Some("s2".into()));
}

#[tokio::test]
async fn a_hello_that_is_looked_at_too_late_does_not_take_the_agent_from_where_it_went() {
    on_both(|db| async {
        let world = World::new(db).await;
        let node = world.node("main").await;
        let said = |session| agent::Machine { session, ..machine("1.0.0") };
        agent::connected(&world.app, &node, said(7), Vec::new()).await.unwrap();
        let late = agent::connected(&world.app, &node, said(6), Vec::new()).await.unwrap_err();
        assert_eq!(late.kind, ErrorKind::Unavailable);
        agent::connected(&world.app, &node, said(8), Vec::new()).await.unwrap();
        // An agent that lost its count, as from a backup, waits until its old connection is gone; one without a count does not.
        agent::disconnected(&world.app, &node).await.unwrap();
        agent::connected(&world.app, &node, said(1), Vec::new()).await.unwrap();
        agent::connected(&world.app, &node, said(0), Vec::new()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn who_could_not_beat_itself_expels_nobody() {
    let two = Two::new().await;
    two.let_lease_of_a_pass().await;
    // b's own last beat is longer ago than a lease: the database was away for everybody.
    let mut config = two.b.config.clone();
    config.server_lease = std::time::Duration::ZERO;
    let ids = Arc::new(reeve_types::id::SystemIds);
    let seal = two.b.seal.clone();
    let judge = App::new(two.b.store.clone(), two.a.clock.clone(), ids, seal, config, "s3".into());
    server::join(&judge, about()).await.unwrap();
    server::beat(&judge).await.unwrap();
    assert_eq!(two.server("s1").await.state, ServerState::Member);
}

#[tokio::test]
async fn a_lease_that_was_prolonged_in_time_is_not_ended() {
    let two = Two::new().await;
    let a = two.server("s1").await;
    let mut tx = two.b.store.begin().await.unwrap();
    assert!(!table::end(&mut tx, &a.id, a.epoch, ServerState::Expelled, a.last_seen_at).await.unwrap());
    assert!(!table::end(&mut tx, &a.id, a.epoch - 1, ServerState::Left, a.last_seen_at).await.unwrap());
    assert!(table::end(&mut tx, &a.id, a.epoch, ServerState::Left, a.last_seen_at).await.unwrap());
}

#[tokio::test]
async fn deleting_a_node_reaches_its_agent_at_another_server() {
    let two = Two::new().await;
    let node = two.a.node("main").await;
    two.a.disconnect(&node).await;
    two.connect_to_b(&node, Vec::new()).await;
    let command = two.a.run(everything(), None).await;
    let executions = two.a.until(&command, |rows| rows.len() == 1).await;
    node::delete(&two.a.app, &two.a.admin, &node).await.unwrap();
    server::letters::read(&two.b).await.unwrap();
    assert_eq!(two.agents_of_b.take(&node), [Order::Forget(executions[0].id.clone())]);
    assert!(!two.agents_of_b.is_connected(&node));
}

#[tokio::test]
async fn an_execution_that_expires_is_stopped_at_another_server() {
    let two = Two::new().await;
    let node = two.a.node("main").await;
    two.a.disconnect(&node).await;
    two.connect_to_b(&node, Vec::new()).await;
    let later = two.a.app.now().plus_ms(60_000);
    let command = two.a.try_run(everything(), None, Some(later)).await.unwrap();
    let executions = two.a.until(&command, |rows| rows.len() == 1).await;
    reeve_domain::agent::dispatch::pass(&two.b).await.unwrap();
    assert_eq!(two.agents_of_b.runs(&node), [executions[0].id.clone()]);
    two.agents_of_b.take(&node);
    two.a.answer_accepted(&node, &executions[0].id).await;
    two.a.until(&command, all_are(ExecutionStatus::Sent, 1)).await;
    two.a.clock.advance_ms(61_000);
    execution::expire(&two.a.app).await.unwrap();
    // The database counts how long letters are good for: its clock and the servers' are months apart here.
    server::tidy(&two.a.app).await.unwrap();
    server::tidy(&two.b).await.unwrap();
    server::letters::read(&two.b).await.unwrap();
    assert_eq!(two.agents_of_b.take(&node), [Order::Cancel(executions[0].id.clone())]);
}

#[tokio::test]
async fn a_question_reaches_an_agent_at_another_server_and_the_answer_comes_back() {
    const SOON: Duration = reeve_testkit::PATIENCE;
    let two = Two::new().await;
    let (node, silent, nowhere) = (two.a.node("main").await, two.a.node("main").await, two.a.node("main").await);
    for node in [&node, &silent, &nowhere] {
        two.a.disconnect(node).await;
    }
    two.connect_to_b(&node, Vec::new()).await;
    two.connect_to_b(&silent, Vec::new()).await;
    let stop = CancellationToken::new();
    let loops = background::start(&two.b, &stop);
    let sample = Sample { host: Some(Host { cores: Some(3), ..Host::default() }), ..Sample::default() };
    two.agents_of_b.answers.lock().unwrap().insert(node.clone(), sample.clone());
    let ask = |node, patience| questions::ask(&two.a.app, node, Question::Sample, patience);
    let answer = Ok(Answer::Sample(Box::new(sample)));
    assert_eq!(ask(&node, SOON).await, answer);
    let many = futures::future::join_all((0..100).map(|_| ask(&node, SOON))).await;
    assert!(many.iter().all(|one| *one == answer), "{many:?}");
    // What the agent's server could not find out comes back as it said it.
    assert_eq!(ask(&silent, SOON).await, Err(Unreached::TimedOut));
    assert_eq!(ask(&nowhere, SOON).await, Err(Unreached::NotConnected));
    // A server that reads no letters any more is not waited for beyond the deadline.
    two.sql(&format!("UPDATE nodes SET connected_server = 'gone' WHERE id = '{node}'")).await;
    assert_eq!(ask(&node, Duration::from_millis(200)).await, Err(Unreached::TimedOut));
    // One that cannot be written down is given back at once, long before its deadline.
    let mut tx = two.b.store.begin().await.unwrap();
    tx.execute("ALTER TABLE letters RENAME TO letters_away", &[]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ask(&node, SOON * 100).await, Err(Unreached::Lost));
    stop.cancel();
    drop(loops);
}

#[tokio::test]
async fn a_late_report_of_a_resumed_server_changes_nothing() {
    let two = Two::new().await;
    let node = two.a.node("main").await;
    let command = two.a.run(everything(), None).await;
    let executions = two.a.until(&command, |rows| rows.len() == 1).await;
    let id = executions[0].id.clone();
    // It ended at b; a still has what the agent said before it went there.
    two.a.answer(&node, &id, 0, "done").await;
    two.a.until(&command, all_are(ExecutionStatus::Completed, 1)).await;
    let events = two.a.count_events(&id).await;
    agent::report(&two.a.app, &node, Report::Accepted(id.clone())).await;
    agent::report(&two.a.app, &node, Report::Outcome(outcome(&id, 1, "late"))).await;
    // A marker behind them in the queue tells that they were read.
    let second = two.a.run(everything(), None).await;
    let marker = two.a.until(&second, |rows| rows.len() == 1).await[0].id.clone();
    two.a.answer(&node, &marker, 0, "").await;
    two.a.until(&second, all_are(ExecutionStatus::Completed, 1)).await;
    let execution = execution::get(&two.a.app, &two.a.admin, &id).await.unwrap();
    assert_eq!((execution.exit_code, execution.output.as_deref()), (Some(0), Some("done")));
    assert_eq!(two.a.count_events(&id).await, events);
}

#[tokio::test]
async fn an_agent_that_beats_here_is_taken_back_when_the_store_lost_it() {
    let two = Two::new().await;
    let node = two.a.node("main").await;
    two.a.disconnect(&node).await;
    two.connect_to_b(&node, vec![Known { execution_id: "e".into(), stage: Stage::Finished }]).await;
    two.sql("UPDATE nodes SET connected_server = NULL").await;
    agent::heartbeat(&two.b, &node, reeve_types::node::NodeStatus::Healthy);
    agent::presence::flush(&two.b).await.unwrap();
    assert_eq!(two.holder(&node).await, Some("s2".into()));
}

#[tokio::test]
async fn connections_of_servers_that_are_no_members_are_cleared() {
    let two = Two::new().await;
    let node = two.a.node("main").await;
    two.sql("UPDATE nodes SET connected_server = 'gone', connected_epoch = 5").await;
    server::tidy(&two.b).await.unwrap();
    assert_eq!(two.holder(&node).await, None);
    two.a.connect(&node).await;
    server::tidy(&two.b).await.unwrap();
    assert_eq!(two.holder(&node).await, Some("s1".into()));
}

#[tokio::test]
async fn a_server_that_ended_long_ago_is_forgotten() {
    let two = Two::new().await;
    server::leave(&two.a.app).await.unwrap();
    server::tidy(&two.b).await.unwrap();
    assert_eq!(server::list(&two.b, &two.a.admin).await.unwrap().0.len(), 2);
    two.sql("UPDATE servers SET ended_at = 1 WHERE id = 's1'").await;
    server::tidy(&two.b).await.unwrap();
    assert_eq!(server::list(&two.b, &two.a.admin).await.unwrap().0.len(), 1);
}
