//! A server that is gone comes back elsewhere from its backup: agents trust it, secrets open, nothing acknowledged before
//! the snapshot is missing. And a fleet's desired state moves from one server to another as a file.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use reeve_lab::{Agent, Server, ServerOptions, wait_for};
use serde_json::{Value, json};

use super::{LIMIT, binary, free_port};

const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn server(data: &Path, agents: &str, environment: &[(&str, &str)]) -> Server {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Server::start(&ServerOptions { binary: binary(), data: data.to_owned(), agents: agents.to_owned(), environment })
        .unwrap()
}

fn reeve(folder: &Path, args: &[&str], stdin: &str) -> Output {
    use std::io::Write;
    let mut command = Command::new(binary());
    command.args(args).current_dir(folder).env("HOME", "/").stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn ok(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(output: Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(words), "{output:?}");
}

#[test]
fn a_server_comes_back_elsewhere_from_a_backup_made_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("passphrase"), "correct horse battery staple\n").unwrap();
    let (port, other) = (free_port(HERE), free_port(ELSEWHERE));
    let advertise = format!("[\"{HERE}:{port}\",\"{ELSEWHERE}:{other}\"]");
    let mut first = server(&path("first"), &format!("{HERE}:{port}"), &[("REEVE_ADVERTISE", &advertise)]);

    let key = first.enrollment_key("prod").unwrap();
    let agents: Vec<Agent> =
        (0..3).map(|n| Agent::enroll(&binary(), None, &path(&format!("agent{n}")), &key).unwrap()).collect();
    first.await_agents(3, LIMIT).unwrap();
    let command = first.run_on_all("echo before").unwrap();
    first.await_end(&command, 3, LIMIT).unwrap();
    let user = json!({"username": "ann", "password": "a password of ann", "role": "operator"});
    first.console().unwrap().call("POST", "/api/users", &user).unwrap();
    let nodes = first.edge().unwrap().get("/api/v1/nodes?order_by=inserted_at").unwrap();

    // Somebody writes all the time; what was acknowledged when the backup began must be in it.
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::<String>::new())));
    let writer = std::thread::spawn({
        let (stop, acknowledged, mut edge) = (stop.clone(), acknowledged.clone(), first.edge().unwrap());
        move || {
            for n in 0.. {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let body = json!({"name": format!("key {n}"), "uses_remaining": 1});
                let made = edge.call("POST", "/api/v1/clusters/prod/enrollment_keys", &body).unwrap();
                acknowledged.lock().unwrap().push(made["key"].as_str().unwrap().to_owned());
            }
        }
    });
    wait_for("writes", LIMIT, || Ok((acknowledged.lock().unwrap().len() > 20).then_some(()))).unwrap();
    let before = acknowledged.lock().unwrap().clone();
    let data = path("first").display().to_string();
    let create = ["backup", "create", "it.rvb", "--data", &data, "--passphrase-file", "passphrase", "-o", "json"];
    let made: Value = serde_json::from_str(&ok(reeve(folder.path(), &create, ""))).unwrap();
    stop.store(true, Ordering::SeqCst);
    writer.join().unwrap();
    let after = acknowledged.lock().unwrap().len();
    assert!(after > before.len());
    first.process.kill().unwrap();

    let verify = ["backup", "verify", "it.rvb", "--passphrase-file", "passphrase", "-o", "json"];
    let verified: Value = serde_json::from_str(&ok(reeve(folder.path(), &verify, ""))).unwrap();
    assert_eq!(verified["manifest"], made["manifest"]);
    let to = path("second").display().to_string();
    let restore = ["backup", "restore", "it.rvb", "--data", &to, "--passphrase-file", "passphrase"];
    damaged_ones_are_refused(folder.path(), &to);
    ok(reeve(folder.path(), &restore, ""));
    refused(reeve(folder.path(), &restore, ""), "is not empty");

    let second = server(&path("second"), &format!("{ELSEWHERE}:{other}"), &[]);
    assert_eq!(second.master_key(), first.master_key());
    second.await_agents(3, LIMIT).unwrap();
    let summary = second.summary(&command).unwrap();
    assert_eq!((summary["total"].as_u64(), summary["completed"].as_u64()), (Some(3), Some(3)));
    let again = second.edge().unwrap().get("/api/v1/nodes?order_by=inserted_at").unwrap();
    for (old, new) in nodes.as_array().unwrap().iter().zip(again.as_array().unwrap()) {
        // Both were sealed in the database.
        assert_eq!((&old["id"], &old["api_token"]), (&new["id"], &new["api_token"]));
        assert_eq!(old["proxy_password"], new["proxy_password"]);
    }
    let kept = keys_of(&second);
    let missing: Vec<&String> = before.iter().filter(|key| !kept.contains(*key)).collect();
    assert!(missing.is_empty(), "{} of {} acknowledged keys are missing", missing.len(), before.len());
    let mut console = second.console().unwrap();
    let verdict = console.get("/api/audit/verify").unwrap();
    assert_eq!(verdict["ok"], true, "{verdict}");
    let login = json!({"username": "ann", "password": "a password of ann"});
    console.call("POST", "/api/auth/login", &login).unwrap();
    let restored = console.get("/api/audit?action=backup.restore").unwrap();
    assert_eq!(restored.as_array().unwrap().len(), 1);
    // What ran before does not run again, and what is asked for runs.
    let command = second.run_on_all("echo after").unwrap();
    second.await_end(&command, 3, LIMIT).unwrap();
    drop(agents);
    drop(second);

    // Onto what is there: moved aside, not destroyed.
    let forced: Vec<&str> = restore.iter().copied().chain(["--force", "-o", "json"]).collect();
    let forced: Value = serde_json::from_str(&ok(reeve(folder.path(), &forced, ""))).unwrap();
    assert!(Path::new(forced["moved_aside"].as_str().unwrap()).join("reeve.db").exists());
    let third = server(&path("second"), &format!("{ELSEWHERE}:{other}"), &[]);
    assert_eq!(keys_of(&third).len(), kept.len());
}

/// Nothing of a damaged backup is left behind.
fn damaged_ones_are_refused(folder: &Path, to: &str) {
    let good = fs::read(folder.join("it.rvb")).unwrap();
    let middle = good.len() / 2;
    let mut flipped = good.clone();
    flipped[middle] ^= 1;
    for (name, bytes, words) in
        [("cut", &good[..good.len() - 1], "was cut off"), ("flipped", &flipped[..], "was changed or is damaged")]
    {
        fs::write(folder.join(name), bytes).unwrap();
        let args = ["backup", "restore", name, "--data", to, "--passphrase-file", "passphrase"];
        refused(reeve(folder, &args, ""), words);
        assert!(!Path::new(to).exists(), "{name}");
    }
    fs::write(folder.join("wrong"), "another passphrase\n").unwrap();
    let args = ["backup", "restore", "it.rvb", "--data", to, "--passphrase-file", "wrong"];
    refused(reeve(folder, &args, ""), "the passphrase is wrong");
    assert!(!Path::new(to).exists());
}

fn keys_of(server: &Server) -> Vec<String> {
    let mut edge = server.edge().unwrap();
    let mut keys = Vec::new();
    for page in 1.. {
        let rows =
            edge.get(&format!("/api/v1/enrollment_keys?page={page}&page_size=100&order_by=inserted_at")).unwrap();
        let rows = rows.as_array().unwrap();
        keys.extend(rows.iter().map(|row| row["key"].as_str().unwrap().to_owned()));
        if rows.len() < 100 {
            break;
        }
    }
    keys
}

#[test]
fn a_fleets_desired_state_moves_to_another_server_as_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let agents = |address| format!("{address}:{}", free_port(address));
    let first = server(&folder.path().join("first"), &agents(HERE), &[]);
    let second = server(&folder.path().join("second"), &agents(ELSEWHERE), &[]);
    let of = |server: &Server, args: &[&str], stdin: &str| {
        let (url, key) = (server.url("console").unwrap(), server.master_key());
        let args: Vec<&str> = args.iter().copied().chain(["--url", url, "--token", key]).collect();
        reeve(folder.path(), &args, stdin)
    };
    for name in ["prod", "edge-1", "lab"] {
        ok(of(&first, &["cluster", "create", name, "--node-limit", "7"], ""));
    }
    for name in ["rack 7: \"left\"", "yes", "1e3", "- x", "ünï#1 # no comment", "a/b"] {
        ok(of(&first, &["key", "create", "--cluster", "prod", &format!("--name={name}"), "--uses", "unlimited"], ""));
    }
    ok(of(&first, &["key", "create", "--cluster", "lab", "--name", "day", "--uses", "20", "--expire-in", "8h"], ""));

    let exported = ok(of(&first, &["export"], ""));
    assert_eq!(exported, ok(of(&first, &["export"], "")));
    assert!(!exported.contains("eyJ"), "a key stands in the export");
    let difference = ok(of(&second, &["apply", "-f", "-", "--dry-run"], &exported));
    assert!(
        difference.contains("+ cluster edge-1") && difference.contains("+ enrollment key prod/yes"),
        "{difference}"
    );
    ok(of(&second, &["apply", "-f", "-"], &exported));
    assert_eq!(ok(of(&second, &["export"], "")), exported);
    assert_eq!(ok(of(&second, &["apply", "-f", "-"], &exported)), "", "the second time nothing changes");
    assert_eq!(ok(of(&second, &["apply", "-f", "-", "--dry-run"], &exported)), "");

    // Drift is mended; what the file does not name goes only when asked for.
    ok(of(&second, &["cluster", "update", "prod", "--node-limit", "9"], ""));
    ok(of(&second, &["cluster", "create", "stray"], ""));
    let difference = ok(of(&second, &["apply", "-f", "-", "--dry-run", "--prune"], &exported));
    assert_eq!(difference, "~ cluster prod\n-   node_limit: 9\n+   node_limit: 7\n- cluster stray\n");
    refused(of(&second, &["apply", "-f", "-", "--prune"], &exported), "there is nobody to ask");
    ok(of(&second, &["apply", "-f", "-", "--prune", "--yes"], &exported));
    assert_eq!(ok(of(&second, &["export"], "")), exported);

    // One object fails, the others are done.
    let partly = "version: 1\nclusters:\n  prod: {ipv4_range: 100.99.0.0/16}\n  later: {node_limit: 3}\n";
    let output = of(&second, &["apply", "-f", "-"], partly);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "cluster later created\n");
    refused(output, "cluster prod failed: its ipv4_range is");
}

#[test]
fn what_hangs_on_nodes_moves_along_with_them() {
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDhVX/7vyodHPimN2fnuT1inLDnEkkMwov/ZqBn3Fzos ann@laptop";
    let folder = tempfile::tempdir().unwrap();
    let agents = |address| format!("{address}:{}", free_port(address));
    let private = [("REEVE_WEBHOOK_ALLOW_PRIVATE_IPS", "true")];
    let first = server(&folder.path().join("first"), &agents(HERE), &private);
    let second = server(&folder.path().join("second"), &agents(ELSEWHERE), &private);
    let of = |server: &Server, args: &[&str], stdin: &str| {
        let (url, key) = (server.url("console").unwrap(), server.master_key());
        let args: Vec<&str> = args.iter().copied().chain(["--url", url, "--token", key]).collect();
        reeve(folder.path(), &args, stdin)
    };
    let data = folder.path().join("agent");
    let mut agent = Agent::enroll(&binary(), None, &data, &first.enrollment_key("prod").unwrap()).unwrap();
    first.await_agents(1, LIMIT).unwrap();
    let node = ok(of(&first, &["node", "list", "-o", "name"], "")).trim().to_owned();
    fs::write(folder.path().join("laptop.pub"), KEY).unwrap();
    ok(of(&first, &["node", "label", &node, "env=prod"], ""));
    ok(of(&first, &["alias", "create", &node, "db", "db-2"], ""));
    ok(of(&first, &["ssh-user", "create", &format!("ann@{node}"), "--key", "laptop.pub"], ""));
    let password = "planted-in-the-password\n";
    ok(of(&first, &["ssh-user", "create", &format!("bob@{node}"), "--password"], password));
    let events = ["--event", "edge.node.registered", "--event", "edge.command_execution.completed"];
    for (url, secret) in [
        ("http://127.0.0.1:9/a?b=c", "planted-planted-planted-planted-1\n"),
        ("http://127.0.0.1:9/", "planted-planted-planted-planted-2\n"),
    ] {
        let args: Vec<&str> = ["webhook", "create", url, "--secret-stdin", "--header", "x-token: planted"]
            .into_iter()
            .chain(events)
            .collect();
        ok(of(&first, &args, secret));
    }

    let exported = ok(of(&first, &["export"], ""));
    assert!(!exported.contains("planted"), "{exported}");
    for words in
        [&format!("prod/db: # {}", node), &format!("ann@{node}"), "with a password", "http://127.0.0.1:9/a?b=c"]
    {
        let words = words.split(": #").next().unwrap();
        assert!(exported.contains(words), "{words} in {exported}");
    }
    // The node is not there: what hangs on it waits, the rest is made.
    let said = ok(of(&second, &["apply", "-f", "-"], &exported));
    assert!(
        said.contains(&format!("alias prod/db needs node {node}"))
            && said.contains("webhook http://127.0.0.1:9/ created"),
        "{said}"
    );
    // The same machine joins the other server.
    agent.process.kill().unwrap();
    drop(agent);
    let key = ok(of(&second, &["key", "create", "--cluster", "prod", "-o", "json"], ""));
    let key: Value = serde_json::from_str(&key).unwrap();
    let _agent = Agent::enroll(&binary(), None, &data, key["key"].as_str().unwrap()).unwrap();
    second.await_agents(1, LIMIT).unwrap();
    assert_eq!(ok(of(&second, &["node", "list", "-o", "name"], "")).trim(), node);
    ok(of(&second, &["apply", "-f", "-"], &exported));
    let plain = |text: &str| text.replace(", with a password", "");
    assert_eq!(plain(&ok(of(&second, &["export"], ""))), plain(&exported));
    assert_eq!(ok(of(&second, &["apply", "-f", "-", "--dry-run"], &exported)), "");
    // What a file takes away goes.
    let fewer =
        format!("version: 1\naliases: {{}}\nssh_usernames:\n  ann@{node}: {{public_keys: {{}}}}\nwebhooks: {{}}\n");
    ok(of(&second, &["apply", "-f", "-", "--prune", "--yes"], &fewer));
    let left = ok(of(&second, &["export", "--only", "aliases,ssh_usernames,webhooks"], ""));
    assert!(
        left.contains("aliases: {}") && left.contains("webhooks: {}") && left.contains("public_keys: {}"),
        "{left}"
    );
    assert!(!left.contains("bob"), "{left}");
}
