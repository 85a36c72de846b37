//! 200 agent processes, each on a host of its own: whatever dies when, every execution ends, none runs twice, none is
//! lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use reeve_lab::{Agent, Lab, Server, ServerOptions, eventually};
use serde_json::Value;
use tempfile::TempDir;

use super::{LIMIT, binary, free_port};

const AGENTS: u32 = 200;

/// A server and its agents, all on one network.
struct Fleet {
    server: Server,
    agents: Vec<Agent>,
    folder: TempDir,
    // Last: its namespaces go after the processes in them.
    _lab: Lab,
}

impl Fleet {
    fn start() -> Self {
        let mut lab = Lab::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&ServerOptions {
            binary: binary(),
            data: folder.path().join("server"),
            agents: format!("{}:{}", lab.address(), free_port(lab.address())),
            environment: Vec::new(),
        })
        .unwrap();
        let key = server.enrollment_key("lab").unwrap();
        let hosts = lab.add_hosts(AGENTS).unwrap();
        let start = |host| Agent::enroll(&binary(), Some(host), &folder.path().join(host.name()), &key).unwrap();
        let agents: Vec<Agent> = hosts.iter().map(start).collect();
        server.await_agents(AGENTS.into(), LIMIT).unwrap();
        Self { server, agents, folder, _lab: lab }
    }

    /// A folder for the side effects of one command, and the start of a script that appends to `$f`, a file per host.
    fn effects(&self, name: &str) -> (Effects, String) {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        let script = format!("f={}/$(hostname -I | tr -d ' '); ", folder.display());
        (Effects { folder }, script)
    }

    /// Restarts the server after `kill -9`.
    fn kill_server(self) -> Self {
        let Self { server, agents, folder, _lab } = self;
        Self { server: server.kill_and_restart().unwrap(), agents, folder, _lab }
    }

    /// Waits until every execution of `command` has ended; one per agent, no more.
    fn await_end(&self, command: &str) -> Vec<Value> {
        self.server.await_end(command, AGENTS.into(), LIMIT).unwrap();
        let executions = self.server.executions(command).unwrap();
        let nodes: BTreeMap<&str, &Value> =
            executions.iter().map(|execution| (execution["node_id"].as_str().unwrap(), execution)).collect();
        assert_eq!(executions.len(), AGENTS as usize, "one execution per node");
        assert_eq!(nodes.len(), AGENTS as usize, "no node twice");
        executions
    }
}

/// What a command left behind: a file per host, a line per effect.
struct Effects {
    folder: PathBuf,
}

impl Effects {
    fn per_host(&self) -> BTreeMap<String, Vec<String>> {
        let files = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap());
        files
            .map(|file| {
                let text = fs::read_to_string(file.path()).unwrap();
                (file.file_name().into_string().unwrap(), text.lines().map(str::to_owned).collect())
            })
            .collect()
    }

    fn hosts(&self) -> usize {
        fs::read_dir(&self.folder).unwrap().count()
    }

    fn await_hosts(&self, count: usize) {
        eventually(&format!("effects on {count} hosts"), LIMIT, || Ok(self.hosts() >= count)).unwrap();
    }

    /// Each of the hosts did exactly `lines`.
    fn assert_each(&self, lines: &[&str]) {
        let hosts = self.per_host();
        let wrong: Vec<_> = hosts.iter().filter(|(_, done)| *done != lines).collect();
        assert!(wrong.is_empty(), "expected {lines:?} once on each host, got {wrong:?}");
        assert_eq!(hosts.len(), AGENTS as usize, "a host did nothing");
    }
}

fn succeeded(executions: &[Value]) -> usize {
    executions.iter().filter(|execution| execution["status"] == "completed" && execution["exit_code"] == 0).count()
}

#[test]
fn a_server_killed_in_mid_fan_out_loses_and_repeats_nothing() {
    let mut fleet = Fleet::start();
    for (round, hosts_before_the_kill) in [0, 1, 60, 150].into_iter().enumerate() {
        let (effects, script) = fleet.effects(&format!("round-{round}"));
        let command = fleet.server.run_on_all(&format!("{script} echo done >> $f")).unwrap();
        effects.await_hosts(hosts_before_the_kill);
        fleet = fleet.kill_server();
        let executions = fleet.await_end(&command);
        assert_eq!(succeeded(&executions), AGENTS as usize, "round {round}");
        effects.assert_each(&["done"]);
    }
    fleet.server.await_agents(AGENTS.into(), LIMIT).unwrap();
}

#[test]
fn agents_killed_in_mid_command_run_it_at_most_once_and_report() {
    let mut fleet = Fleet::start();
    let (effects, script) = fleet.effects("killed");
    let command = fleet.server.run_on_all(&format!("{script} echo start >> $f; sleep 2; echo end >> $f")).unwrap();
    effects.await_hosts(AGENTS as usize / 2);
    let mut killed = Vec::new();
    let agents = std::mem::take(&mut fleet.agents);
    fleet.agents = agents
        .into_iter()
        .enumerate()
        .map(|(number, agent)| {
            if number % 10 != 0 {
                return agent;
            }
            killed.push(agent.host().unwrap().address().to_string());
            agent.kill_and_restart().unwrap()
        })
        .collect();
    let executions = fleet.await_end(&command);
    let undisturbed = AGENTS as usize - killed.len();
    assert!(succeeded(&executions) >= undisturbed, "{} succeeded", succeeded(&executions));
    for (host, done) in effects.per_host() {
        let starts = done.iter().filter(|line| *line == "start").count();
        assert!(starts <= 1, "{host} ran it {starts} times");
        if !killed.contains(&host) {
            assert_eq!(done, ["start", "end"], "{host}");
        }
    }
    let failed = executions.iter().filter(|execution| execution["exit_code"] != 0);
    for execution in failed {
        assert!(
            !execution["output"].as_str().unwrap_or_default().is_empty(),
            "no word about what happened: {execution}"
        );
    }
    fleet.server.await_agents(AGENTS.into(), LIMIT).unwrap();
}

#[test]
fn a_partition_that_heals_delays_and_loses_nothing() {
    let fleet = Fleet::start();
    let apart = 50;
    let hosts: Vec<_> = fleet.agents.iter().take(apart).map(|agent| agent.host().unwrap().clone()).collect();

    let (running, script) = fleet.effects("running");
    let first = fleet.server.run_on_all(&format!("{script} echo start >> $f; sleep 3; echo end >> $f")).unwrap();
    running.await_hosts(AGENTS as usize);
    for host in &hosts {
        host.cut().unwrap();
    }
    let (waiting, script) = fleet.effects("waiting");
    let second = fleet.server.run_on_all(&format!("{script} echo done >> $f")).unwrap();
    waiting.await_hosts(AGENTS as usize - apart);
    eventually("the near side's results", LIMIT, || {
        Ok(fleet.server.summary(&second)?["succeeded"] == AGENTS as usize - apart)
    })
    .unwrap();
    assert_eq!(waiting.hosts(), AGENTS as usize - apart, "a command crossed the partition");

    for host in &hosts {
        host.heal().unwrap();
    }
    for (command, effects, lines) in [(&first, &running, &["start", "end"][..]), (&second, &waiting, &["done"])] {
        assert_eq!(succeeded(&fleet.await_end(command)), AGENTS as usize);
        effects.assert_each(lines);
    }
}
