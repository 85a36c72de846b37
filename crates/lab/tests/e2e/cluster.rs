//! `kill -9` of the server at every step boundary of a `cluster_create`, with software really installed over SSH: on hosts of
//! this machine, at a simulated UpCloud, and on the way back from a failure. Whatever happens there is no orphan, no double,
//! and the operation comes to its end. And the cluster that nobody gave a list: Kubernetes, as far as this machine goes.

mod site;
mod watch;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::local_servers::run;
use site::{Ground, Up, UpCloud, beside, key};
use watch::{Story, kill_at_every_step};

const PATIENCE: Duration = Duration::from_secs(300);

/// A small cluster: two servers, what every one has, and a store on the first.
fn cluster(provider: &str, etcd: Value) -> Value {
    json!({
        "cluster_name": "k", "node_count": 2, "provider": provider,
        "taskservs": [{"name": "os", "servers": "all"}, {"name": "etcd", "servers": "first", "config": etcd}],
    })
}

/// Says what was seen, and that nobody was spared: there were at least as many kills as steps that began and ended, for they
/// met what steps are made of too.
fn was_killed_everywhere(story: &Story, steps: usize, begun: Instant) {
    eprintln!("{} kills in {} s\n{}", story.kills.len(), begun.elapsed().as_secs(), story.told());
    let ended =
        |line: &&str| line.starts_with("step ") && (line.ends_with(": completed") || line.ends_with(": failed"));
    assert_eq!(story.lines().filter(ended).count(), steps, "{}", story.told());
    assert!(story.kills.len() >= 2 * steps, "only {} kills for {steps} steps\n{}", story.kills.len(), story.told());
}

/// Phases of an installation, as `taskserv/etcd k-cp-1/etcd/upload: done`.
fn is_phase(line: &str) -> bool {
    line.starts_with("taskserv/") && line.contains(' ') && !line.contains("/remove: ")
}

#[test]
fn a_cluster_on_this_machine_is_made_once_however_often_the_server_is_killed() {
    let begun = Instant::now();
    let (ground, options) = Ground::new(91);
    let up = Up::start(&options).unwrap();
    run(&up.server, "reeve workspace create demo");
    let id = up.submit("cluster_create", cluster("local", json!({})));
    // In phases where they begin: the one before has ended by then.
    let worth = |line: &str| !is_phase(line) || line.ends_with(": running");
    let (up, story) = kill_at_every_step(up, &id, PATIENCE, worth).unwrap();
    assert_eq!((story.status.as_str(), story.error.as_str()), ("completed", ""), "{}", story.told());
    was_killed_everywhere(&story, 4, begun);

    let servers = up.servers();
    let shown: Vec<(&str, &str)> = servers.iter().map(|(name, state, _)| (name.as_str(), state.as_str())).collect();
    assert_eq!(shown, [("k-cp-1", "running"), ("k-node-1", "running")]);
    ground.holds(&servers.iter().map(|(_, _, address)| address.clone()).collect::<Vec<_>>());
    runs_its_software(&up, &ground);

    let id = up.submit("cluster_delete", json!({"cluster_name": "k"}));
    assert_eq!(up.ended(&id)["status"], "completed");
    assert_eq!((up.servers(), up.taskservs()), (vec![], vec![]));
    ground.is_empty();
}

/// Each taskserv is known once and well, and there is one etcd.
fn runs_its_software(up: &Up, ground: &Ground) {
    let known = up.taskservs();
    let known: Vec<(&str, &str, usize, &str)> =
        known.iter().map(|(name, state, servers, health)| (&**name, &**state, *servers, &**health)).collect();
    assert_eq!(known, [("etcd", "running", 1, "healthy"), ("os", "running", 2, "healthy")]);
    assert_eq!(ground.running("/usr/bin/etcd --config-file"), 1);
}

/// Settings of etcd on machines that a cloud has: the folder is not theirs by itself.
fn from_folder() -> Value {
    json!({"source": "folder", "source_folder": "/mnt/packages"})
}

#[test]
fn a_cluster_at_upcloud_is_paid_once_however_often_the_server_is_killed() {
    let begun = Instant::now();
    // More machines than servers: one that is ordered twice has an address too, until it goes.
    let upcloud = UpCloud::open(92, 5);
    let up = Up::start(&beside(upcloud.ground.folder.path(), upcloud.environment())).unwrap();
    run(&up.server, "reeve workspace create demo --provider upcloud --plan 1xCPU-1GB --zone de-fra1");
    upcloud.let_in(&key(&up));
    let id = up.submit("cluster_create", cluster("upcloud", from_folder()));
    // In the phases of one taskserv where they end: the next one has begun by then.
    let worth = |line: &str| !is_phase(line) || (line.starts_with("taskserv/etcd") && line.ends_with(": done"));
    let (up, story) = kill_at_every_step(up, &id, PATIENCE, worth).unwrap();
    assert_eq!((story.status.as_str(), story.error.as_str()), ("completed", ""), "{}", story.told());
    was_killed_everywhere(&story, 4, begun);

    assert_eq!(upcloud.servers("reeve-workspace=demo"), ["k-cp-1", "k-node-1"]);
    assert_eq!(upcloud.disks(), (2, 0), "attached to servers, and left over");
    assert_eq!(up.servers().len(), 2);
    runs_its_software(&up, &upcloud.ground);

    let id = up.submit("cluster_delete", json!({"cluster_name": "k"}));
    assert_eq!(up.ended(&id)["status"], "completed");
    assert_eq!((up.servers(), up.taskservs()), (vec![], vec![]));
    assert_eq!((upcloud.servers("reeve-operation"), upcloud.disks()), (vec![], (0, 0)));
    upcloud.close();
}

#[test]
fn a_cluster_that_fails_half_way_is_taken_back_however_often_the_server_is_killed() {
    let begun = Instant::now();
    let (ground, options) = Ground::new(93);
    let up = Up::start(&options).unwrap();
    run(&up.server, "reeve workspace create demo");
    // A program that ends at once: installed and configured, it cannot be started.
    let broken = json!({"source": "path", "source_path": "/usr/bin/false", "version": "3.5.17", "verify_secs": 5});
    let id = up.submit("cluster_create", cluster("local", broken));
    let (up, story) = kill_at_every_step(up, &id, PATIENCE, |line| !is_phase(line)).unwrap();
    assert_eq!(story.status, "failed", "{}", story.told());
    assert!(story.error.starts_with("operations: taskserv/etcd: install: "), "{}", story.error);
    // Two servers, os, etcd, and the servers once more on the way back.
    was_killed_everywhere(&story, 6, begun);
    let back = story.lines().filter(|line| line.ends_with(": undoing") || line.contains("undo/")).count();
    assert!(back > 6, "{}", story.told());
    assert_eq!((up.servers(), up.taskservs()), (vec![], vec![]));
    ground.is_empty();
}

/// k3s and cilium as programs: simulators, unless `REEVE_TEST_K3S` and `REEVE_TEST_CILIUM` name the real ones. Real ones
/// need images too, which have to be where they look for them.
#[test]
fn a_cluster_without_a_list_is_kubernetes_with_all_its_nodes() {
    let programs = tempfile::tempdir().unwrap();
    for name in ["k3s", "cilium"] {
        let variable = format!("REEVE_TEST_{}", name.to_uppercase());
        let program =
            std::env::var_os(&variable).unwrap_or_else(|| panic!("{variable}: run `cargo xtask test --only e2e`"));
        std::fs::copy(program, programs.path().join(name)).unwrap();
    }
    let (ground, options) = Ground::showing(94, programs.path().display().to_string());
    let up = Up::start(&options).unwrap();
    run(&up.server, "reeve workspace create demo");
    let config = json!({
        "kubernetes": {"distribution": "k3s", "source_path": "/mnt/packages/k3s", "version": "1.31.4"},
        "cilium": {"source_path": "/mnt/packages/cilium"},
    });
    let parameters = json!({"cluster_name": "k8s", "node_count": 3, "provider": "local", "config": config});
    let id = up.submit("cluster_create", parameters);
    let made = up.ended(&id);
    assert_eq!(made["status"], "completed", "{made:#}\n{}", run(&up.server, "reeve operation logs last || true"));
    let known = up.taskservs();
    let known: Vec<(&str, &str, usize, &str)> =
        known.iter().map(|(name, state, servers, health)| (&**name, &**state, *servers, &**health)).collect();
    let well =
        [("cilium", 1), ("kubernetes", 3), ("os", 3)].map(|(name, servers)| (name, "running", servers, "healthy"));
    assert_eq!(known, well);
    // One control plane, two that work, all with a network.
    assert_eq!((ground.running("/k3s server"), ground.running("/k3s agent")), (1, 2));
    let health = run(&up.server, "reeve taskserv health kubernetes -o json").replace([' ', '\n'], "");
    assert!(health.contains(r#""nodes":"3""#) && health.contains(r#""nodes_ready":"3""#), "{health}");

    // Other settings reach the nodes, and what is removed is gone.
    run(&up.server, r#"reeve taskserv upgrade kubernetes --set 'labels={"rack":"r1"}' --wait"#);
    let nodes = run(&up.server, "reeve server ssh k8s-cp-1 -- k3s kubectl get nodes -o json");
    assert_eq!(nodes.matches(r#""rack":"r1""#).count(), 3, "{nodes}");
    run(&up.server, "reeve taskserv delete cilium --wait");
    run(&up.server, "reeve taskserv delete kubernetes --remove-data --wait");
    assert_eq!(ground.running("k3s"), 0);
    let left = "reeve server ssh k8s-node-1 -- ls -d /etc/rancher/k3s /var/lib/rancher/k3s /usr/local/bin/k3s || true";
    assert!(!run(&up.server, left).contains("/k3s\n"));

    let id = up.submit("cluster_delete", json!({"cluster_name": "k8s"}));
    assert_eq!(up.ended(&id)["status"], "completed");
    ground.is_empty();
}
