//! A `reeve up` with a workspace, and the machines that it gets: hosts of this machine, or servers of a simulated UpCloud
//! behind whose addresses there are such hosts, made by a second Reeve that nobody kills.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use reeve_lab::{Client, Process, Server, ServerOptions, wait_for};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::local_servers::{Leftovers, processes, run, traces};
use super::super::{LIMIT, binary, free_port};
use super::watch::{list, provisioning, text};

/// The token of a simulated account.
const TOKEN: &str = "ucat_SIMULATED";

/// A running `reeve up` without agents.
pub struct Up {
    pub server: Server,
}

impl Up {
    pub fn start(options: &ServerOptions) -> Result<Self> {
        std::fs::create_dir_all(&options.data)?;
        // Of one that was killed.
        let run_file = options.data.join("run.json");
        if run_file.exists() {
            std::fs::remove_file(&run_file)?;
        }
        let mut command = Command::new(&options.binary);
        command.arg("up").arg("--data").arg(&options.data).envs(options.environment.iter().cloned());
        for listen in ["edge=off", "agents=off", "provisioning=127.0.0.1:0", "console=127.0.0.1:0"] {
            command.args(["--listen", listen]);
        }
        let process = Process::spawn("reeve up", &mut command, &options.data.with_extension("log"))?;
        Ok(Self { server: Server::ready(process, options)? })
    }

    /// `kill -9`, then starts it again on the same data.
    pub fn kill_and_restart(mut self) -> Result<Self> {
        self.server.process.kill()?;
        Self::start(&self.server.options)
    }

    pub fn api(&self) -> Client {
        provisioning(&self.server).unwrap()
    }

    /// Submits a workflow; its id.
    pub fn submit(&self, kind: &str, parameters: Value) -> String {
        let body = json!({"workspace": "demo", "workflow_type": kind, "parameters": parameters});
        text(&self.api().call("POST", "/v1/workflows/submit", &body).unwrap(), "id").to_owned()
    }

    /// Waits for an operation's end; how it stands then.
    pub fn ended(&self, id: &str) -> Value {
        let mut api = self.api();
        wait_for(&format!("the end of {id}"), LIMIT, || {
            let found = api.get(&format!("/v1/operations/{id}"))?;
            Ok(matches!(text(&found, "status"), "completed" | "failed" | "cancelled").then_some(found))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", self.server.process.last_words()))
    }

    /// The servers that it knows: hostname, state and address.
    pub fn servers(&self) -> Vec<(String, String, String)> {
        let all = self.api().get("/v1/servers").unwrap();
        let of = |server: &Value| ["hostname", "status", "ip_address"].map(|field| text(server, field).to_owned());
        let mut all: Vec<_> = list(&all).iter().map(of).map(|[name, state, ip]| (name, state, ip)).collect();
        all.sort();
        all
    }

    /// The taskservs that it knows: name, state, servers, and what their health checks say now.
    pub fn taskservs(&self) -> Vec<(String, String, usize, String)> {
        let mut api = self.api();
        let all = api.get("/v1/taskservs").unwrap();
        let mut known = Vec::new();
        for one in list(&all) {
            let health = api.get(&format!("/v1/taskservs/{}/health", text(one, "id"))).unwrap();
            let field = |name: &str| text(one, name).to_owned();
            known.push((
                field("name"),
                field("status"),
                list(&one["servers"]).len(),
                text(&health, "status").to_owned(),
            ));
        }
        known.sort();
        known
    }
}

/// Hosts of this machine below one data directory.
pub struct Ground {
    pub hosts: PathBuf,
    pub bridge: String,
    _leftovers: Leftovers,
    pub folder: TempDir,
}

impl Ground {
    /// Options of a server whose local hosts have addresses in 10.213.`net`.0/24 and see the Debian packages that tests
    /// install.
    pub fn new(net: u8) -> (Self, ServerOptions) {
        let packages =
            std::env::var("REEVE_TEST_PACKAGES").expect("the stage `services` of `cargo xtask test` makes the folder");
        Self::showing(net, packages)
    }

    /// The same with another folder that the hosts see as `/mnt/packages`.
    pub fn showing(net: u8, packages: String) -> (Self, ServerOptions) {
        let folder = tempfile::tempdir().unwrap();
        let bridge = format!("rvc{}-{net}", std::process::id());
        let environment = vec![
            ("REEVE_LOCAL_BRIDGE".to_owned(), bridge.clone()),
            ("REEVE_LOCAL_POOL".to_owned(), format!("10.213.{net}.0/24")),
            ("REEVE_LOCAL_PACKAGES".to_owned(), packages),
        ];
        let options =
            ServerOptions { binary: binary(), data: folder.path().join("data"), agents: String::new(), environment };
        let hosts = options.data.join("local/hosts");
        let leftovers = Leftovers { hosts: hosts.clone(), bridge: bridge.clone() };
        (Self { hosts, bridge, _leftovers: leftovers, folder }, options)
    }

    /// As many hosts are here as files, as processes, and as sshds that answer.
    pub fn holds(&self, addresses: &[String]) {
        let folders = std::fs::read_dir(&self.hosts).unwrap().count();
        assert_eq!((folders, processes(&self.hosts).len()), (addresses.len(), addresses.len()), "no orphan, no double");
        for address in addresses {
            let mut greeting = [0; 4];
            let mut socket = std::net::TcpStream::connect((address.as_str(), 22)).unwrap();
            std::io::Read::read_exact(&mut socket, &mut greeting).unwrap();
            assert_eq!(&greeting, b"SSH-", "{address}");
        }
    }

    /// Nothing of any host is left.
    pub fn is_empty(&self) {
        assert_eq!(traces(&self.hosts, &self.bridge), Vec::<String>::new());
    }

    /// How many processes of the hosts have a command line that holds these words.
    pub fn running(&self, words: &str) -> usize {
        let below = self.hosts.to_str().unwrap().to_owned();
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let ours = entries.filter(|process| {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let mounts = std::fs::read_to_string(process.path().join("mountinfo")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ").contains(words) && mounts.contains(&below)
        });
        ours.count()
    }
}

/// A simulated UpCloud in a process of its own, and the machines behind its addresses.
pub struct UpCloud {
    pub ground: Ground,
    metal: Up,
    _simulator: Process,
    url: String,
}

impl UpCloud {
    /// With `machines` machines, in 10.213.`net`.0/24.
    pub fn open(net: u8, machines: usize) -> Self {
        let (ground, options) = Ground::new(net);
        let metal = Up::start(&options).unwrap();
        run(&metal.server, "reeve workspace create demo");
        run(&metal.server, &format!("reeve server create metal --count {machines} --provider local --wait"));
        let addresses: Vec<String> = metal.servers().into_iter().map(|(_, _, address)| address).collect();
        let program = std::env::var_os("REEVE_TEST_CLOUD_SIMULATOR").expect("run `cargo xtask test --only e2e`");
        let listen = format!("127.0.0.1:{}", free_port(std::net::Ipv4Addr::LOCALHOST));
        let mut command = Command::new(program);
        // An order whose answer got lost is not to be seen at once: it may be made a second time, and then one must go.
        command.args(["upcloud", "--speed", "25", "--list-lag", "20"]);
        command.args(["--listen", &listen, "--addresses", &addresses.join(",")]);
        let log = ground.folder.path().join("simulator.log");
        let simulator = Process::spawn("the simulator", &mut command, &log).unwrap();
        wait_for("the simulator", LIMIT, || Ok(simulator.output().contains("UpCloud at").then_some(()))).unwrap();
        Self { ground, metal, _simulator: simulator, url: format!("http://{listen}") }
    }

    /// What a Reeve is told to find it by.
    pub fn environment(&self) -> Vec<(String, String)> {
        let settings =
            [("REEVE_UPCLOUD_URL", self.url.as_str()), ("UPCLOUD_TOKEN", TOKEN), ("REEVE_LOCAL_ENABLED", "false")];
        settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// The machines let this key in, as cloud-init would see to it.
    pub fn let_in(&self, key: &str) {
        for host in std::fs::read_dir(&self.ground.hosts).unwrap().flatten() {
            let path = host.path().join("root/root/.ssh/authorized_keys");
            let keys = std::fs::read_to_string(&path).unwrap() + key.trim() + "\n";
            std::fs::write(&path, keys).unwrap();
        }
    }

    fn ask(&self, path: &str, many: &str, one: &str) -> Vec<Value> {
        let answer = Client::new(&self.url, TOKEN).get(path).unwrap();
        list(&answer[many][one]).to_vec()
    }

    /// Names of the servers that carry a label, sorted.
    pub fn servers(&self, label: &str) -> Vec<String> {
        let found = self.ask(&format!("/1.3/server?label={label}"), "servers", "server");
        let mut names: Vec<String> = found.iter().map(|server| text(server, "hostname").to_owned()).collect();
        names.sort();
        names
    }

    /// Disks, those attached to a server and the others.
    pub fn disks(&self) -> (usize, usize) {
        let all = self.ask("/1.3/storage", "storages", "storage");
        let attached = all.iter().filter(|disk| !list(&disk["servers"]["server"]).is_empty()).count();
        (attached, all.len() - attached)
    }

    /// Takes the machines away.
    pub fn close(self) {
        let names: Vec<String> = self.metal.servers().into_iter().map(|(name, _, _)| name).collect();
        run(&self.metal.server, &format!("reeve server delete {} --force --wait", names.join(" ")));
        self.ground.is_empty();
    }
}

/// The public key of the workspace `demo`.
pub fn key(up: &Up) -> String {
    run(&up.server, "reeve workspace key demo")
}

/// Where a server keeps its data below a folder.
pub fn beside(folder: &Path, environment: Vec<(String, String)>) -> ServerOptions {
    ServerOptions { binary: binary(), data: folder.join("reeve"), agents: String::new(), environment }
}
