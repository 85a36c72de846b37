//! Three servers on one PostgreSQL and 300 agents, 30 of them real ones whose side effects are counted: whichever server
//! dies or is paused when, every execution ends once, none is lost, none runs twice.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use reeve_lab::{Agent, Lab, Process, Server, ServerOptions, eventually};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{LIMIT, binary, free_port};

const REAL: u32 = 30;
const VIRTUAL: u32 = 270;
const ALL: u64 = 300;
/// Members are expelled after this many seconds of silence, and agents beat every second.
const LEASE: &str = "3";
/// Base64 of 32 bytes: the servers share it.
const SEAL_KEY: &str = "c2VydmVycyBvZiBvbmUgc3RvcmUgc2hhcmUgYSBrZXk";

/// A database of its own on the PostgreSQL that `cargo xtask test` starts.
struct Database {
    url: String,
}

impl Database {
    fn create(name: &str) -> Self {
        let base = std::env::var("REEVE_TEST_POSTGRES_URL").expect("run `cargo xtask test --only e2e`");
        let name = format!("e2e_{name}_{}", std::process::id());
        ask(&base, &format!("CREATE DATABASE {name}"));
        Self { url: format!("{}/{name}", base.rsplit_once('/').unwrap().0) }
    }

    /// The rows of a query, columns separated by `|`.
    fn rows(&self, sql: &str) -> Vec<String> {
        ask(&self.url, sql)
    }
}

fn ask(url: &str, sql: &str) -> Vec<String> {
    let output = Command::new("psql").args([url, "-qAt", "-v", "ON_ERROR_STOP=1", "-c", sql]).output().unwrap();
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

struct Fleet {
    database: Database,
    servers: Vec<Server>,
    _real: Vec<Agent>,
    _virtual: Process,
    folder: TempDir,
    // Last: its namespaces go after the processes in them.
    _lab: Lab,
}

impl Fleet {
    fn start(name: &str) -> Self {
        let mut lab = Lab::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let database = Database::create(name);
        let start = |number: u32| {
            let environment = [
                ("REEVE_STORE", database.url.as_str()),
                ("REEVE_SEAL_KEY", SEAL_KEY),
                ("REEVE_SERVER_LEASE_SECS", LEASE),
                ("REEVE_HEARTBEAT_SECS", "1"),
                ("REEVE_UNREACHABLE_AFTER_SECS", "600"),
                ("EXECUTION_PRUNING_ENABLED", "true"),
                ("EXECUTION_PRUNING_SCHEDULE", "* * * * *"),
            ];
            Server::start(&ServerOptions {
                binary: binary(),
                data: folder.path().join(format!("server-{number}")),
                agents: format!("{}:{}", lab.address(), free_port(lab.address())),
                environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            })
            .unwrap()
        };
        let servers: Vec<Server> = (0..3).map(start).collect();
        // The key of any server names all of them.
        let key = servers[2].enrollment_key("lab").unwrap();
        let hosts = lab.add_hosts(REAL).unwrap();
        let enroll = |host| Agent::enroll(&binary(), Some(host), &folder.path().join(host.name()), &key).unwrap();
        let real: Vec<Agent> = hosts.iter().map(enroll).collect();
        let mut simulate = Command::new(binary());
        simulate.args(["simulate", "agents", "--latency", "300ms", "--count", &VIRTUAL.to_string(), "--key", &key]);
        let simulated = Process::spawn("reeve simulate", &mut simulate, &folder.path().join("simulate.log")).unwrap();
        let fleet = Self { database, servers, _real: real, _virtual: simulated, folder, _lab: lab };
        fleet.await_agents(&[0, 1, 2]);
        for server in &fleet.servers {
            assert!(server.agents_connected().unwrap() > 0, "agents of a fresh fleet go to every server");
        }
        fleet
    }

    /// Waits until these servers hold all agents among them.
    fn await_agents(&self, servers: &[usize]) {
        eventually("all agents", LIMIT, || {
            let mut connected = 0;
            for server in servers {
                connected += self.servers[*server].agents_connected()?;
            }
            if connected < ALL {
                anyhow::bail!("{connected} connected");
            }
            Ok(connected == ALL)
        })
        .unwrap();
    }

    fn id(&self, server: usize) -> String {
        let file = fs::read(self.servers[server].options.data.join("server.json")).unwrap();
        let file: Value = serde_json::from_slice(&file).unwrap();
        file["id"].as_str().unwrap().to_owned()
    }

    /// The state of server `of` as server `seen_by` has it: `member`, `expelled`, ...
    fn state(&self, of: usize, seen_by: usize) -> anyhow::Result<String> {
        let id = self.id(of);
        let servers = self.servers[seen_by].console()?.get("/api/servers")?;
        let servers = servers.as_array().cloned().unwrap_or_default();
        let server = servers.iter().find(|server| server["id"] == id.as_str());
        Ok(server.map(|server| server["state"].as_str().unwrap_or_default().to_owned()).unwrap_or_default())
    }

    /// Minutes in which the schedule of every minute put its job in; in each of them it did so once, whoever did.
    fn minutes_with_a_tick(&self) -> usize {
        let sql = "SELECT inserted_at / 60000000, count(*) FROM jobs WHERE kind = 'execution.prune' GROUP BY 1";
        let minutes = self.database.rows(sql);
        assert!(minutes.iter().all(|minute| minute.ends_with("|1")), "more than one tick in a minute: {minutes:?}");
        minutes.len()
    }

    /// Starts a command at a server; every real agent appends a line to a file of its own.
    fn run(&self, server: usize, name: &str) -> (String, Effects) {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        let script = format!("echo done >> {}/$(hostname -I | tr -d ' ')", folder.display());
        (self.servers[server].run_on_all(&script).unwrap(), Effects(folder))
    }

    /// Waits at a server until every execution of `command` has ended, and checks that each did once and went well.
    fn assert_end(&self, server: usize, command: &str, effects: &Effects) {
        self.servers[server].await_end(command, ALL, LIMIT).unwrap();
        let executions = self.servers[server].executions(command).unwrap();
        let nodes: BTreeMap<&str, &Value> = executions.iter().map(|e| (e["node_id"].as_str().unwrap(), e)).collect();
        assert_eq!((executions.len() as u64, nodes.len() as u64), (ALL, ALL), "one execution per node");
        let failed: Vec<_> = executions.iter().filter(|e| e["status"] != "completed" || e["exit_code"] != 0).collect();
        assert!(failed.is_empty(), "{} did not succeed, as {:?}", failed.len(), failed.first());
        effects.assert_each_once();
        let sql = format!(
            "SELECT e.id, (SELECT count(*) FROM events v WHERE v.subject = e.id AND v.kind = k.kind), k.kind
             FROM executions e CROSS JOIN (VALUES ('edge.command_execution.created'), ('edge.command_execution.sent'),
               ('edge.command_execution.completed')) AS k (kind)
             WHERE e.command_id = '{command}'
               AND (SELECT count(*) FROM events v WHERE v.subject = e.id AND v.kind = k.kind) <> 1"
        );
        let told = self.database.rows(&sql);
        assert!(told.is_empty(), "{} events were told not once: {told:?}", told.len());
    }
}

/// A folder with a file per host, a line per effect.
struct Effects(std::path::PathBuf);

impl Effects {
    fn hosts(&self) -> usize {
        fs::read_dir(&self.0).unwrap().count()
    }

    fn await_hosts(&self, count: usize) {
        eventually(&format!("effects on {count} hosts"), LIMIT, || Ok(self.hosts() >= count)).unwrap();
    }

    fn assert_each_once(&self) {
        for file in fs::read_dir(&self.0).unwrap() {
            let file = file.unwrap();
            let text = fs::read_to_string(file.path()).unwrap();
            assert_eq!(text, "done\n", "{:?} did it not once", file.file_name());
        }
        assert_eq!(self.hosts(), REAL as usize, "a host did nothing");
    }
}

#[test]
fn a_node_is_asked_live_through_a_server_that_it_is_not_connected_to() {
    let fleet = Fleet::start("asked");
    let mut took = Vec::new();
    // Real agents at another server than the first; virtual ones answer no questions.
    let id = fleet.id(0);
    let sql = format!(
        "SELECT id FROM nodes WHERE connected_server <> '{id}' AND facts NOT LIKE '%simulated%' ORDER BY id LIMIT 10"
    );
    let nodes = fleet.database.rows(&sql);
    assert!(!nodes.is_empty());
    let mut edge = fleet.servers[0].edge().unwrap();
    for node in &nodes {
        let asked = Instant::now();
        let metrics = edge.get(&format!("/api/v1/nodes/{node}/metrics/host")).unwrap();
        took.push(asked.elapsed());
        assert!(metrics.is_object(), "{metrics}");
    }
    took.sort();
    eprintln!(
        "asked {} nodes at other servers: median {:?}, longest {:?}",
        nodes.len(),
        took[took.len() / 2],
        took.last()
    );
}

#[test]
fn a_server_killed_in_mid_fan_out_is_replaced_by_the_others_within_seconds() {
    let mut fleet = Fleet::start("killed");
    for (round, hosts_before_the_kill) in [0, 1, 10].into_iter().enumerate() {
        let (command, effects) = fleet.run(0, &format!("round-{round}"));
        effects.await_hosts(hosts_before_the_kill);
        let killed = Instant::now();
        fleet.servers[0].process.kill().unwrap();
        eventually("its expulsion", LIMIT, || Ok(fleet.state(0, 1)? == "expelled")).unwrap();
        let expelled = killed.elapsed();
        fleet.await_agents(&[1, 2]);
        eprintln!("round {round}: expelled after {expelled:?}, all agents at the others after {:?}", killed.elapsed());
        fleet.assert_end(1, &command, &effects);
        // Back again, it takes part and serves agents that come to it.
        let server = fleet.servers.remove(0).kill_and_restart().unwrap();
        fleet.servers.insert(0, server);
        eventually("its return", LIMIT, || Ok(fleet.state(0, 1)? == "member")).unwrap();
        // Some of the agents come back to it when another one goes away in an orderly way.
        fleet.servers[2].process.stop(Duration::from_secs(30)).unwrap();
        assert_eq!(fleet.state(2, 1).unwrap(), "left");
        fleet.await_agents(&[0, 1]);
        let server = fleet.servers.remove(2).kill_and_restart().unwrap();
        fleet.servers.push(server);
    }
}

#[test]
fn a_server_that_is_paused_and_resumed_does_nothing_twice() {
    let fleet = Fleet::start("paused");
    let (first, first_effects) = fleet.run(0, "first");
    first_effects.await_hosts(5);
    fleet.servers[0].process.signal(Signal::STOP).unwrap();
    let paused = Instant::now();
    eventually("its expulsion", LIMIT, || Ok(fleet.state(0, 1)? == "expelled")).unwrap();
    let expelled = paused.elapsed();
    fleet.await_agents(&[1, 2]);
    eprintln!("paused: expelled after {expelled:?}, all agents at the others after {:?}", paused.elapsed());
    let before = fleet.minutes_with_a_tick();
    let (second, second_effects) = fleet.run(1, "second");
    fleet.assert_end(2, &first, &first_effects);
    fleet.assert_end(2, &second, &second_effects);

    eventually("a tick while it is paused", LIMIT, || Ok(fleet.minutes_with_a_tick() > before)).unwrap();

    fleet.servers[0].process.signal(Signal::CONT).unwrap();
    eventually("its return", LIMIT, || Ok(fleet.state(0, 1)? == "member")).unwrap();
    assert!(fleet.servers[0].process.output().contains("the others expelled this server"));
    // What it still held when it woke changed nothing, and it gives commands to agents of the others.
    let (third, third_effects) = fleet.run(0, "third");
    fleet.assert_end(0, &third, &third_effects);
    for (command, effects) in [(&first, &first_effects), (&second, &second_effects)] {
        fleet.assert_end(0, command, effects);
    }
    fleet.await_agents(&[0, 1, 2]);
    let before = fleet.minutes_with_a_tick();
    eventually("a tick after it was resumed", LIMIT, || Ok(fleet.minutes_with_a_tick() > before)).unwrap();
}
