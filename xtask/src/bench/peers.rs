//! The same command on the same hosts by `reeve run`, ansible and pssh, alternating. The hosts are network namespaces
//! of this machine, each with an sshd and a Reeve agent of its own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reeve_lab::{Agent, Host, Lab, Process, wait_for};

use super::Bench;
use super::report::{Figure, Target};
use super::rig::{Rig, folder, median};
use crate::{shell, test};

const COMMAND: &str = "uptime";

type Contestant<'a> = Box<dyn Fn() -> Command + 'a>;

/// Hosts with sshd, and how to log in.
pub struct SshHosts {
    pub inventory: PathBuf,
    pub key: PathBuf,
    count: usize,
    _daemons: Vec<Process>,
}

pub fn run(bench: &Bench) -> Result<Vec<Figure>> {
    test::apt_missing(&[
        ("sshd", "openssh-server"),
        ("ssh", "openssh-client"),
        ("ansible", "ansible-core"),
        ("parallel-ssh", "pssh"),
    ])?;
    let mut lab = Lab::new()?;
    let port = TcpListener::bind((lab.address(), 0))?.local_addr()?.port();
    let rig = Rig::on(bench, folder()?, &format!("{}:{port}", lab.address()))?;
    let hosts = lab.add_hosts(bench.hosts)?;
    eprintln!("  starting {} hosts with sshd and an agent each", hosts.len());
    let ssh = SshHosts::start(&hosts, rig.folder.path(), false)?;
    let key = rig.server.enrollment_key("hosts")?;
    let agents: Result<Vec<Agent>> = hosts
        .iter()
        .map(|host| Agent::enroll(&bench.reeve, Some(host), &rig.folder.path().join(host.name()), &key))
        .collect();
    let _agents = agents?;
    rig.server.await_agents(bench.hosts.into(), Duration::from_secs(60))?;

    let contestants: [(&str, Contestant); 3] = [
        ("reeve run", Box::new(|| reeve(bench, &rig))),
        ("ansible -m shell", Box::new(|| ssh.ansible())),
        ("parallel-ssh", Box::new(|| ssh.pssh())),
    ];
    let mut times = vec![Vec::new(); contestants.len()];
    for round in 0..=bench.rounds {
        for ((name, command), times) in contestants.iter().zip(&mut times) {
            let begun = Instant::now();
            let output = shell::capture(&mut command())?;
            let elapsed = begun.elapsed().as_secs_f64() * 1000.0;
            let answers = output.matches("load average").count();
            if answers != ssh.count {
                bail!("{name} brought {answers} answers from {} hosts:\n{output}", ssh.count);
            }
            if round > 0 {
                times.push(elapsed); // the first round warms caches and known hosts
            }
        }
    }
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    let ours = medians[0];
    let versions = [version("reeve", &bench.reeve)?, version("ansible", "ansible")?, version("pssh", "parallel-ssh")?];
    let mut figures = Vec::new();
    for (((name, _), time), version) in contestants.iter().zip(&medians).zip(versions) {
        figures.push(Figure::new(format!("{name} on {} hosts", ssh.count), *time, "ms", Target::None).note(version));
    }
    for (name, time) in [("ansible", medians[1]), ("pssh", medians[2])] {
        figures.push(Figure::new(format!("faster than {name} by"), time / ours, "x", Target::AtLeast(10.0)));
    }
    Ok(figures)
}

fn reeve(bench: &Bench, rig: &Rig) -> Command {
    let mut command = Command::new(&bench.reeve);
    command
        .args(["run", COMMAND, "--all"])
        .env("REEVE_URL", rig.server.url("console").unwrap_or_default())
        .env("REEVE_TOKEN", rig.server.master_key());
    command
}

impl SshHosts {
    /// `own_home`: root's home on a host is empty instead of this machine's, whose profile may take longer than a step.
    pub fn start(hosts: &[Host], folder: &Path, own_home: bool) -> Result<Self> {
        let key = folder.join("id");
        for file in [&key, &folder.join("host_key")] {
            shell::capture(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(file))?;
        }
        fs::create_dir_all("/run/sshd").context("sshd wants /run/sshd")?;
        let sshd = shell::find("sshd").context("no sshd")?;
        let mut daemons = Vec::new();
        for host in hosts {
            let mut command = if own_home {
                let mut command = host.command("unshare");
                command
                    .args(["--mount", "--", "sh", "-c", "mount -t tmpfs tmpfs /root && exec \"$0\" \"$@\""])
                    .arg(&sshd);
                command
            } else {
                host.command(&sshd)
            };
            // MaxStartups: the default refuses some of twenty connections at once.
            command.args(["-D", "-e", "-f", "/dev/null", "-o", "UsePAM=yes", "-o", "StrictModes=no"]);
            command.args(["-o", "PermitRootLogin=yes", "-o", "MaxStartups=100:30:200"]);
            command.arg("-o").arg(format!("HostKey={}", folder.join("host_key").display()));
            command.arg("-o").arg(format!("AuthorizedKeysFile={}.pub", key.display()));
            daemons.push(Process::spawn("sshd", &mut command, &folder.join(format!("{}-sshd.log", host.name())))?);
        }
        let inventory = folder.join("hosts");
        let names: Vec<String> = hosts.iter().map(|host| host.address().to_string()).collect();
        fs::write(&inventory, names.join("\n") + "\n")?;
        let ssh = Self { inventory, key, count: hosts.len(), _daemons: daemons };
        for name in &names {
            wait_for("sshd", Duration::from_secs(20), || shell::capture(ssh.ssh(name).arg("true")).map(Some))?;
        }
        Ok(ssh)
    }

    fn options(&self) -> Vec<String> {
        ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes"]
            .iter()
            .map(ToString::to_string)
            .chain([format!("IdentityFile={}", self.key.display())])
            .collect()
    }

    fn ssh(&self, host: &str) -> Command {
        let mut command = Command::new("ssh");
        for option in self.options() {
            command.args(["-o", &option]);
        }
        command.arg(format!("root@{host}"));
        command
    }

    fn ansible(&self) -> Command {
        let mut command = Command::new("ansible");
        command.arg("all").arg("-i").arg(&self.inventory).args(["-u", "root", "-m", "shell", "-a", COMMAND]);
        command.args(["-f", &self.count.to_string()]).arg("--private-key").arg(&self.key);
        command.env("ANSIBLE_HOST_KEY_CHECKING", "False").env("ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3");
        command
    }

    /// As fast as ansible goes: no facts, one connection kept for all steps, no module files copied.
    pub fn playbook(&self, playbook: &Path, round: usize) -> Command {
        let mut command = Command::new("ansible-playbook");
        command.arg("-i").arg(&self.inventory).args(["-u", "root", "-e", &format!("round={round}")]);
        command.args(["-f", &self.count.to_string()]).arg("--private-key").arg(&self.key).arg(playbook);
        command.env("ANSIBLE_HOST_KEY_CHECKING", "False").env("ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3");
        command.env("ANSIBLE_PIPELINING", "True").env("ANSIBLE_NOCOLOR", "True");
        command
    }

    fn pssh(&self) -> Command {
        let mut command = Command::new("parallel-ssh");
        command.arg("-h").arg(&self.inventory).args(["-l", "root", "-i", "-p", &self.count.to_string()]);
        for option in self.options() {
            command.args(["-O", &option]);
        }
        command.arg(COMMAND);
        command
    }
}

/// The first line of what `--version` says.
pub fn version(name: &str, program: impl AsRef<std::ffi::OsStr>) -> Result<String> {
    let text = shell::capture(Command::new(program).arg("--version"))?;
    let line = text.lines().next().unwrap_or_default();
    Ok(if line.contains(name) { line.to_owned() } else { format!("{name} {line}") })
}
