//! A second machine behind NAT joins with the line that `reeve up` prints.

use std::process::Command;

use reeve_lab::{Lab, Process, Server, ServerOptions, eventually, wait_for};

use super::{LIMIT, binary, free_port};

#[test]
fn a_machine_behind_nat_joins_with_the_printed_line() {
    let mut lab = Lab::new().unwrap();
    let mut router = lab.router().unwrap();
    let hidden = router.hidden_host().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let port = free_port(lab.address());
    let options = ServerOptions {
        binary: binary(),
        data: folder.path().join("up"),
        agents: format!("{}:{port}", lab.address()),
        environment: Vec::new(),
    };

    let mut up = Command::new(binary());
    up.arg("up").arg("--data").arg(&options.data).env("USE_RANDOM_ID", "true");
    for listen in ["edge=127.0.0.1:0", "console=127.0.0.1:0", &format!("agents={}", options.agents)] {
        up.args(["--listen", listen]);
    }
    let up = Process::spawn("reeve up", &mut up, &folder.path().join("up.log")).unwrap();
    let server = Server::ready(up, &options).unwrap();
    server.await_agents(1, LIMIT).unwrap();
    let line = wait_for("the line to join with", LIMIT, || Ok(join_line(&server.process.output()))).unwrap();

    assert!(
        hidden.run("nsenter", &["--version"]).is_ok() && !reaches(&lab, &hidden),
        "the hidden host must not be in reach from outside, or this test proves nothing"
    );
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut join = hidden.command(binary());
    join.args(&words[1..]).arg("--data").arg(folder.path().join("hidden")).env("USE_RANDOM_ID", "true");
    let agent = Process::spawn("reeve agent", &mut join, &folder.path().join("hidden.log")).unwrap();
    server.await_agents(2, LIMIT).unwrap_or_else(|error| panic!("{error:#}\n{}", agent.last_words()));

    let peers = Command::new("ss").args(["-Htn", &format!("sport = :{port}")]).output().unwrap();
    let peers = String::from_utf8(peers.stdout).unwrap();
    assert!(peers.contains(&router.address().to_string()), "the server sees the router: {peers}");
    assert!(!peers.contains(&hidden.address().to_string()), "the server must not see the host itself: {peers}");

    let command = server.run_on_all("hostname -I").unwrap();
    let summary = server.await_end(&command, 2, LIMIT).unwrap();
    assert_eq!(summary["succeeded"], 2, "{summary}");
    let executions = server.executions(&command).unwrap();
    let from_hidden =
        executions.iter().filter(|e| e["output"].as_str().unwrap_or_default().trim() == hidden.address().to_string());
    assert_eq!(from_hidden.count(), 1, "one answer comes from behind the router");

    router.host().cut().unwrap();
    router.host().heal().unwrap();
    let command = server.run_on_all("true").unwrap();
    eventually("both answers after the router was away", LIMIT, || Ok(server.summary(&command)?["succeeded"] == 2))
        .unwrap();
}

/// The words from `reeve agent` on, in the first line that holds an enrollment.
fn join_line(output: &str) -> Option<String> {
    let line = output.lines().find(|line| line.contains("reeve agent") && line.contains("--enroll"))?;
    Some(line[line.find("reeve agent")?..].trim_end_matches(['`', ' ']).to_owned())
}

/// True when the lab's network leads to `host`.
fn reaches(lab: &Lab, host: &reeve_lab::Host) -> bool {
    let route = Command::new("ip").args(["route", "get", &host.address().to_string()]).output().unwrap();
    String::from_utf8_lossy(&route.stdout).contains(&lab.address().to_string())
}
