//! Steps over SSH: on every host a file, a command and a process that is started, by the adapter of `provider-ssh` and by
//! ansible-playbook, alternating. The hosts are network namespaces of this machine with an sshd each.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use reeve_lab::Lab;

use super::Bench;
use super::peers::{SshHosts, version};
use super::report::{Figure, Target};
use super::rig::{folder, median};
use crate::{shell, test, up};

/// As the client has it: the hosts share this machine's file system, so each gets a folder.
const FOLDER: &str = "/tmp/reeve-bench-ssh";
const STEPS: usize = 3;

const PLAYBOOK: &str = r#"
- hosts: all
  gather_facts: false
  tasks:
    - name: a file
      ansible.builtin.copy:
        content: "{{ ('round ' ~ round ~ '\n') * 400 }}"
        dest: "FOLDER/{{ inventory_hostname }}/config"
        mode: "0644"
    - name: a command
      ansible.builtin.command: uptime
    - name: a process
      ansible.builtin.shell: |
        if [ -f "$DIR/pid" ]; then kill "$(cat "$DIR/pid")" 2>/dev/null; fi
        nohup sleep 600 >/dev/null 2>&1 </dev/null &
        echo $! > "$DIR/pid"
        kill -0 "$(cat "$DIR/pid")"
      environment:
        DIR: "FOLDER/{{ inventory_hostname }}"
"#;

pub fn run(bench: &Bench) -> Result<Vec<Figure>> {
    test::apt_missing(&[("sshd", "openssh-server"), ("ssh", "openssh-client"), ("ansible-playbook", "ansible-core")])?;
    let client = match &bench.client {
        Some(client) => client.clone(),
        None => {
            eprintln!("  building the client (release)");
            let built = up::build(&["-p", "reeve-provider-ssh", "--example", "phases"], "release")?;
            built.get("phases").context("cargo built no client")?.clone()
        }
    };
    let mut lab = Lab::new()?;
    let hosts = lab.add_hosts(bench.hosts.max(1))?;
    let rig = folder()?;
    let ssh = SshHosts::start(&hosts, rig.path(), true)?;
    for host in &hosts {
        fs::create_dir_all(Path::new(FOLDER).join(host.address().to_string()))?;
    }
    let playbook = rig.path().join("steps.yml");
    fs::write(&playbook, PLAYBOOK.replace("FOLDER", FOLDER))?;
    let steps = STEPS * hosts.len();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=bench.rounds {
        let text = shell::capture(Command::new(&client).arg(&ssh.key).arg(&ssh.inventory).arg(round.to_string()))?;
        let (seconds, done) = text.trim().split_once(' ').context("the client did not say how long it took")?;
        if done.parse() != Ok(steps) {
            bail!("the client did {done} steps of {steps}");
        }
        check(&hosts, round)?;
        // A round of its own number, so that nobody finds the file in place already.
        let number = round + 1000;
        let begun = Instant::now();
        let text = shell::capture(&mut ssh.playbook(&playbook, number))?;
        let elapsed = begun.elapsed().as_secs_f64();
        let changed = text.matches("changed=3").count();
        if changed != hosts.len() {
            bail!("ansible changed {changed} hosts of {}:\n{text}", hosts.len());
        }
        check(&hosts, number)?;
        if round > 0 {
            ours.push(seconds.parse::<f64>()?);
            theirs.push(elapsed);
        }
    }
    fs::remove_dir_all(FOLDER)?;
    let (ours, theirs) = (median(ours), median(theirs));
    let rate = |seconds: f64| steps as f64 / seconds;
    let name = |who: &str| format!("{who}: {STEPS} steps on {} hosts", hosts.len());
    Ok(vec![
        Figure::new(name("reeve"), rate(ours), "steps/s", Target::None).note(format!("{ours:.2} s, logins included")),
        Figure::new(name("ansible-playbook"), rate(theirs), "steps/s", Target::None)
            .note(format!("{theirs:.2} s, pipelining; {}", version("ansible", "ansible")?)),
        Figure::new("faster than ansible by", theirs / ours, "x", Target::AtLeast(10.0)),
    ])
}

/// Every host has the file of this round and a process that lives.
fn check(hosts: &[reeve_lab::Host], round: usize) -> Result<()> {
    for host in hosts {
        let folder = Path::new(FOLDER).join(host.address().to_string());
        let file = fs::read_to_string(folder.join("config"))?;
        if file != format!("round {round}\n").repeat(400) {
            bail!("{}: not the file of round {round}", host.address());
        }
        let pid = fs::read_to_string(folder.join("pid"))?;
        if !Path::new("/proc").join(pid.trim()).exists() {
            bail!("{}: the process does not run", host.address());
        }
    }
    Ok(())
}
