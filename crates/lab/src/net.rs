//! Network namespaces as hosts: a bridge on this machine, hosts on it, hosts behind a NAT router, links that can be
//! cut. Needs root. A lab removes itself when dropped (also by a panic); one whose owner was killed is removed by the
//! next lab that starts.

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Labs that can exist side by side: 198.18.0.0/15, the range set aside for benchmarks, in networks of 1022 hosts.
const LABS: u32 = 128;
const FIRST: u32 = 0xC612_0000;
const HOSTS_PER_LAB: u32 = 1024;

/// Masquerade on the way out, and let nothing in that was not asked for.
const NAT_RULES: &str = "
table ip nat {
  chain out {
    type nat hook postrouting priority 100
    oifname eth0 masquerade
  }
}
table ip wall {
  chain through {
    type filter hook forward priority 0
    policy drop
    iifname lan accept
    ct state established,related accept
  }
}
";

/// A network of this machine and its hosts.
#[derive(Debug)]
pub struct Lab {
    index: u32,
    hosts: u32,
    routers: u32,
}

/// A namespace with one interface.
#[derive(Clone, Debug)]
pub struct Host {
    namespace: String,
    /// The other end of its cable: an interface of `side`'s namespace, or of this machine.
    cable: String,
    side: Option<String>,
    address: Ipv4Addr,
}

/// A host of the lab that hides the hosts behind it: they dial out, nobody dials in.
#[derive(Debug)]
pub struct Router {
    host: Host,
    number: u32,
    hidden: u32,
}

impl Lab {
    /// Makes the network. Fails with the reason when this process may not.
    pub fn new() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("network namespaces need root");
        }
        let start = std::process::id() % LABS;
        for index in (start..LABS).chain(0..start) {
            let lab = Self { index, hosts: 0, routers: 0 };
            if lab.claim()? {
                return Ok(lab);
            }
            std::mem::forget(lab); // it belongs to another process
        }
        bail!("{LABS} labs exist already")
    }

    /// This machine's address on the lab's network: where a server listens.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(FIRST + self.index * HOSTS_PER_LAB + 1)
    }

    /// Adds a host.
    pub fn host(&mut self) -> Result<Host> {
        let mut hosts = self.add_hosts(1)?;
        hosts.pop().context("no host")
    }

    /// Adds `count` hosts in a few calls.
    pub fn add_hosts(&mut self, count: u32) -> Result<Vec<Host>> {
        if self.hosts + count > HOSTS_PER_LAB - 3 {
            bail!("a lab has room for {} hosts", HOSTS_PER_LAB - 3);
        }
        let hosts: Vec<Host> = (self.hosts..self.hosts + count)
            .map(|number| Host {
                namespace: format!("{}h{number}", self.name()),
                cable: format!("{}v{number}", self.name()),
                side: None,
                address: Ipv4Addr::from_bits(self.address().to_bits() + 1 + number),
            })
            .collect();
        self.hosts += count;
        let mut script = String::new();
        for Host { namespace, cable, .. } in &hosts {
            script += &format!(
                "netns add {namespace}\n\
                 link add {cable} type veth peer name eth0 netns {namespace}\n\
                 link set {cable} master {} up\n",
                self.name()
            );
        }
        ip_batch(None, &script)?;
        for host in &hosts {
            let script = format!("link set lo up\naddress add {}/22 dev eth0\nlink set eth0 up\n", host.address);
            ip_batch(Some(&host.namespace), &script)?;
        }
        Ok(hosts)
    }

    /// Adds a NAT router.
    pub fn router(&mut self) -> Result<Router> {
        let host = self.host()?;
        let number = self.routers;
        self.routers += 1;
        let lan = format!("192.168.{}.1/24", 100 + number);
        ip_batch(
            Some(&host.namespace),
            &format!("link add lan type bridge\naddress add {lan} dev lan\nlink set lan up\n"),
        )?;
        host.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
        feed(host.command("nft").args(["-f", "-"]), NAT_RULES)?;
        Ok(Router { host, number, hidden: 0 })
    }

    fn name(&self) -> String {
        format!("rl{}", self.index)
    }

    /// Takes this lab's name by making its bridge, after clearing away what a killed owner left. False: it is in use.
    fn claim(&self) -> Result<bool> {
        let name = self.name();
        if Path::new("/sys/class/net").join(&name).exists() {
            if owner_lives(&name) {
                return Ok(false);
            }
            self.remove();
        }
        let mut add = Command::new("ip");
        if !add.args(["link", "add", &name, "type", "bridge"]).stderr(Stdio::null()).status()?.success() {
            return Ok(false);
        }
        self.clear("");
        let script = format!(
            "link set dev {name} alias pid-{}\naddress add {}/22 dev {name}\nlink set {name} up\n",
            std::process::id(),
            self.address()
        );
        ip_batch(None, &script)?;
        Ok(true)
    }

    fn remove(&self) {
        self.clear(&format!("link del {}\n", self.name()));
    }

    /// Kills what runs in the lab's namespaces and takes hosts and cables away, then does what `last` says; goes on
    /// past what is gone already.
    fn clear(&self, last: &str) {
        let mut script = String::new();
        // A cable dies with its namespace, but some time later: pull it out, so that its name is free at once.
        for cable in numbered("/sys/class/net", &format!("{}v", self.name())) {
            script += &format!("link del {cable}\n");
        }
        for name in numbered("/run/netns", &format!("{}h", self.name())) {
            let pids = Command::new("ip").args(["netns", "pids", &name]).output();
            let pids = pids.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            for pid in pids.unwrap_or_default().split_whitespace() {
                kill(pid);
            }
            script += &format!("netns del {name}\n");
        }
        script += last;
        if let Err(error) = feed(Command::new("ip").args(["-force", "-batch", "-"]), &script) {
            eprintln!("the lab {} did not go away cleanly: {error:#}", self.name());
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Host {
    /// Its address on its own network.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The name of its namespace, unique on this machine.
    pub fn name(&self) -> &str {
        &self.namespace
    }

    /// A command that runs on this host (the file system is this machine's).
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace)).arg("--").arg(program);
        command
    }

    /// Runs a command on this host to its end and returns what it printed.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        feed(self.command(program).args(args), "")
    }

    /// Pulls the cable: packets are dropped without a word, as in a partition.
    pub fn cut(&self) -> Result<()> {
        self.cable("down")
    }

    /// Plugs the cable in again.
    pub fn heal(&self) -> Result<()> {
        self.cable("up")
    }

    fn cable(&self, state: &str) -> Result<()> {
        ip_batch(self.side.as_deref(), &format!("link set {} {state}\n", self.cable))
    }
}

impl Router {
    /// Its address on the lab's network: what the world sees of the hosts behind it.
    pub fn address(&self) -> Ipv4Addr {
        self.host.address
    }

    /// The router itself, whose cable cuts off everybody behind it.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Adds a host behind the router.
    pub fn hidden_host(&mut self) -> Result<Host> {
        if self.hidden == 200 {
            bail!("a router hides at most 200 hosts");
        }
        let inside = &self.host.namespace;
        // Ends in a digit like every host of the lab, so that `remove` finds it: 1, number of router, number of host.
        let (lab, own) = inside.split_once('h').context("not a host of a lab")?;
        let number = 1_000_000 + own.parse::<u32>()? * 1000 + self.hidden;
        let host = Host {
            namespace: format!("{lab}h{number}"),
            cable: format!("lan{}", self.hidden),
            side: Some(inside.clone()),
            address: Ipv4Addr::new(192, 168, 100 + u8::try_from(self.number)?, 2 + u8::try_from(self.hidden)?),
        };
        self.hidden += 1;
        ip_batch(None, &format!("netns add {}\n", host.namespace))?;
        ip_batch(
            Some(inside),
            &format!(
                "link add {} type veth peer name eth0 netns {}\nlink set {} master lan up\n",
                host.cable, host.namespace, host.cable
            ),
        )?;
        ip_batch(
            Some(&host.namespace),
            &format!(
                "link set lo up\naddress add {}/24 dev eth0\nlink set eth0 up\nroute add default via 192.168.{}.1\n",
                host.address,
                100 + self.number
            ),
        )?;
        Ok(host)
    }
}

/// The entries of a folder that are called `prefix` and a number.
fn numbered(folder: &str, prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).ok().into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| name.strip_prefix(prefix).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit())))
        .collect()
}

/// Whether the process that made the bridge `name` still runs.
fn owner_lives(name: &str) -> bool {
    let alias = fs::read_to_string(format!("/sys/class/net/{name}/ifalias")).unwrap_or_default();
    let pid = alias.trim().strip_prefix("pid-").map(str::to_owned);
    // Without an alias it is being made just now by somebody else.
    pid.is_none_or(|pid| Path::new("/proc").join(pid).exists())
}

fn kill(pid: &str) {
    let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::KILL)
        && error != rustix::io::Errno::SRCH
    {
        eprintln!("pid {pid:?} of the lab could not be killed: {error}");
    }
}

/// Runs a script of `ip` commands, in a namespace or on this machine.
fn ip_batch(namespace: Option<&str>, script: &str) -> Result<()> {
    let mut ip = Command::new("ip");
    if let Some(namespace) = namespace {
        ip.args(["-n", namespace]);
    }
    feed(ip.args(["-batch", "-"]), script).with_context(|| format!("in the script:\n{script}"))?;
    Ok(())
}

/// Runs a command with `input` and returns its output; the error carries what it said.
fn feed(command: &mut Command, input: &str) -> Result<String> {
    let name = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let mut pipe = child.stdin.take().context("no stdin")?;
    pipe.write_all(input.as_bytes())?;
    drop(pipe);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{name} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
