//! A full disk, on either side: a clear error, and work again once there is space. Nothing acknowledged is lost.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use reeve_lab::{Agent, Server, ServerOptions, wait_for};
use serde_json::json;
use tempfile::TempDir;

use super::{LIMIT, binary, free_port};

/// A small disk, unmounted when dropped.
struct Disk {
    path: PathBuf,
}

impl Disk {
    fn mount(folder: &TempDir, name: &str, megabytes: u32) -> Self {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        let size = format!("size={megabytes}m");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "reeve-lab"]).arg(&path).status().unwrap();
        assert!(done.success(), "cannot mount a tmpfs");
        Self { path }
    }

    /// Writes until nothing fits any more.
    fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            let block = vec![0; size];
            while ballast.write_all(&block).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("--lazy").arg(&self.path).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.path.display());
        }
    }
}

fn server(data: &Path) -> Server {
    let address = std::net::Ipv4Addr::LOCALHOST;
    Server::start(&ServerOptions {
        binary: binary(),
        data: data.to_owned(),
        agents: format!("{address}:{}", free_port(address)),
        environment: Vec::new(),
    })
    .unwrap()
}

#[test]
fn a_server_on_a_full_disk_refuses_clearly_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(&folder, "disk", 64);
    let mut server = server(&disk.path.join("data"));
    let mut edge = server.edge().unwrap();
    let mut acknowledged = Vec::new();
    let mut create = |number: usize| {
        let name = format!("c{number}");
        let answer =
            edge.send("POST", "/api/v1/clusters", Some(json!({ "name": name }).to_string().as_bytes())).unwrap();
        if answer.status == 201 {
            acknowledged.push(name);
        }
        answer
    };
    for number in 0..10 {
        assert_eq!(create(number).status, 201);
    }
    disk.fill();
    // What the log file has reserved may take a few writes more.
    let refused = (10..5000).map(&mut create).find(|answer| answer.status != 201).expect("a full disk refuses");
    assert_eq!(refused.status, 503, "{}", refused.text());
    let error = refused.json().unwrap();
    assert!(error["error"]["code"].is_string() && error["meta"]["request_id"].is_string(), "{error}");
    server.process.must_run().unwrap();
    let doctor = server.console().unwrap().get("/api/doctor").unwrap();
    assert_eq!(doctor["ok"], false, "doctor must see it: {doctor}");
    assert!(doctor.to_string().contains("space"), "doctor must say what is short: {doctor}");
    assert!(edge_reads(&server), "reading goes on");

    disk.free();
    wait_for("a write after the disk has space", LIMIT, || Ok((create(6000).status == 201).then_some(()))).unwrap();
    let mut server = server.kill_and_restart().unwrap();
    let mut edge = server.edge().unwrap();
    for name in acknowledged {
        edge.get(&format!("/api/v1/clusters/{name}"))
            .unwrap_or_else(|error| panic!("{name} was acknowledged: {error:#}"));
    }
    server.process.must_run().unwrap();
}

fn edge_reads(server: &Server) -> bool {
    server.edge().unwrap().get("/api/v1/clusters/c0").is_ok()
}

#[test]
fn an_agent_on_a_full_disk_says_so_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(&folder, "disk", 16);
    let server = server(&folder.path().join("server"));
    let key = server.enrollment_key("lab").unwrap();
    let mut agent = Agent::enroll(&binary(), None, &disk.path.join("agent"), &key).unwrap();
    server.await_agents(1, LIMIT).unwrap();

    disk.fill();
    let effects = folder.path().join("effects");
    // Too long for what is left of the journal's last block.
    let padding = "x".repeat(256 * 1024);
    let command = server.run_on_all(&format!("echo done >> {} # {padding}", effects.display())).unwrap();
    wait_for("a word about the full disk", LIMIT, || {
        let executions = server.executions(&command)?;
        let said = format!("{}{}", serde_json::to_string(&executions)?, agent.process.output()).to_lowercase();
        Ok(["no space", "disk is full", "disk full"].iter().any(|words| said.contains(words)).then_some(()))
    })
    .unwrap();
    agent.process.must_run().unwrap();

    disk.free();
    server.await_end(&command, 1, LIMIT).unwrap();
    let execution = server.executions(&command).unwrap().remove(0);
    let done = fs::read_to_string(&effects).unwrap_or_default().lines().count();
    assert!(done <= 1, "it ran {done} times");
    if execution["exit_code"] == 0 {
        assert_eq!(done, 1, "a success without its effect: {execution}");
    }
    let command = server.run_on_all("echo again").unwrap();
    let summary = server.await_end(&command, 1, LIMIT).unwrap();
    assert_eq!(summary["succeeded"], 1, "{summary}");
    agent.process.must_run().unwrap();
}
