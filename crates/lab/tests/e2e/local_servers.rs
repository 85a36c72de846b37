//! The documented example, as it stands in docs/three-servers.md, and the server killed in its midst.

use std::path::Path;
use std::process::Command;

use reeve_lab::{Server, ServerOptions, wait_for};

use super::{LIMIT, binary, free_port};

/// The commands of the document, block by block.
fn blocks() -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/three-servers.md");
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(|block| block.lines().map(str::to_owned).collect()).collect()
}

pub(super) fn run(server: &Server, line: &str) -> String {
    let folder = binary().parent().unwrap().display().to_string();
    let output = Command::new("sh")
        .args(["-c", line])
        .env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap()))
        .env("REEVE_URL", server.url("console").unwrap())
        .env("REEVE_TOKEN", server.master_key())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{line}: {}\n{text}\n{complaints}\n{}",
        output.status,
        server.process.last_words()
    );
    text
}

/// The processes that hold up hosts below `folder`, one for each.
pub(super) fn processes(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.starts_with("unshare ") && line.contains(folder)).collect()
}

/// What of local hosts below `folder` is on this machine.
pub(super) fn traces(folder: &Path, bridge: &str) -> Vec<String> {
    let mut traces = processes(folder);
    if Path::new("/sys/class/net").join(bridge).exists() {
        traces.push(format!("interface {bridge}"));
    }
    traces.extend(std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path().display().to_string()));
    traces
}

/// A server's address in a list, by the beginning of its network.
pub(super) fn address_of(list: &str, name: &str, network: &str) -> String {
    let line = list.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {list}"));
    line.split_whitespace().find(|word| word.starts_with(network)).unwrap().to_owned()
}

/// A machine that exists is adopted with a key that opens it, and with no other.
fn adopts(server: &Server, folder: &Path, hosts: &Path, list: &str) {
    for name in ["known", "stranger"] {
        let path = folder.join(name);
        let mut keygen = Command::new("ssh-keygen");
        assert!(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status().unwrap().success());
    }
    // Somebody on the machine lets one of them in.
    let address = address_of(list, "web-1", "10.213.77.");
    let of = |path: &Path| std::fs::read_to_string(path.join("host.json")).unwrap().contains(&format!("\"{address}\""));
    let host = std::fs::read_dir(hosts).unwrap().map(|entry| entry.unwrap().path()).find(|path| of(path)).unwrap();
    let authorized = host.join("root/root/.ssh/authorized_keys");
    let keys =
        std::fs::read_to_string(&authorized).unwrap() + &std::fs::read_to_string(folder.join("known.pub")).unwrap();
    std::fs::write(&authorized, keys).unwrap();

    let adopt =
        |key: &str| format!("reeve server adopt old --address {address} --key {}/{key} --wait", folder.display());
    let refused = run(server, &format!("{} 2>&1 && echo adopted || true", adopt("stranger")));
    assert!(refused.contains("does not let root in") && !refused.contains("adopted"), "{refused}");
    run(server, &adopt("known"));
    let shown = run(server, "reeve server show old");
    for words in ["running", "ssh-ed25519 ", "xCPU-"] {
        assert!(shown.contains(words), "{shown}");
    }
    // It is forgotten, not deleted.
    run(server, "reeve server delete old --wait");
    assert!(std::net::TcpStream::connect((address.as_str(), 22)).is_ok());
}

#[test]
fn a_server_that_is_killed_while_it_makes_three_leaves_three() {
    let data = tempfile::tempdir().unwrap();
    let bridge = format!("rvk{}", std::process::id());
    let environment = vec![
        ("REEVE_LOCAL_BRIDGE".to_owned(), bridge.clone()),
        ("REEVE_LOCAL_POOL".to_owned(), "10.213.78.0/24".to_owned()),
    ];
    let localhost = std::net::Ipv4Addr::LOCALHOST;
    let agents = format!("{localhost}:{}", free_port(localhost));
    let options = ServerOptions { binary: binary(), data: data.path().join("data"), agents, environment };
    let hosts = data.path().join("data/local/hosts");
    let _leftovers = Leftovers { hosts: hosts.clone(), bridge: bridge.clone() };
    let mut server = Server::start(&options).unwrap();
    run(&server, "reeve workspace create demo");
    for delay_ms in [0, 40, 120, 300, 700] {
        run(&server, "reeve server create web --count 3 --provider local");
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        server = server.kill_and_restart().unwrap();
        wait_for("three servers", LIMIT, || {
            let list = run(&server, "reeve server list");
            Ok((list.matches("running").count() == 3).then_some(()))
        })
        .unwrap();
        assert_eq!(std::fs::read_dir(&hosts).unwrap().count(), 3, "killed after {delay_ms} ms: no orphan, no double");
        assert_eq!(processes(&hosts).len(), 3, "killed after {delay_ms} ms");
        run(&server, "reeve server delete web-1 web-2 web-3 --wait");
        assert_eq!(traces(&hosts, &bridge), Vec::<String>::new(), "killed after {delay_ms} ms");
    }
}

/// Takes away what a failed test leaves: hosts outlive their server.
pub(super) struct Leftovers {
    pub hosts: std::path::PathBuf,
    pub bridge: String,
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        for host in std::fs::read_dir(&self.hosts).into_iter().flatten().flatten() {
            let alive = host.path().join("alive");
            let held = std::fs::File::open(&alive).is_ok_and(|file| file.try_lock().is_err());
            if held && let Ok(pid) = std::fs::read_to_string(&alive) {
                Command::new("kill").args(["-KILL", &pid]).status().unwrap();
            }
        }
        Command::new("ip").args(["link", "del", &self.bridge]).output().unwrap();
    }
}

#[test]
fn from_nothing_to_three_servers() {
    let data = tempfile::tempdir().unwrap();
    let bridge = format!("rve{}", std::process::id());
    let environment = vec![
        ("REEVE_LOCAL_BRIDGE".to_owned(), bridge.clone()),
        ("REEVE_LOCAL_POOL".to_owned(), "10.213.77.0/24".to_owned()),
    ];
    let localhost = std::net::Ipv4Addr::LOCALHOST;
    let agents = format!("{localhost}:{}", free_port(localhost));
    let options = ServerOptions { binary: binary(), data: data.path().join("data"), agents, environment };
    let hosts = data.path().join("data/local/hosts");
    let _leftovers = Leftovers { hosts: hosts.clone(), bridge: bridge.clone() };
    let server = Server::start(&options).unwrap();
    let [create, delete] = blocks().try_into().unwrap();
    for line in &create {
        eprintln!("{line}\n{}", run(&server, line));
    }
    assert_eq!(std::fs::read_dir(&hosts).unwrap().count(), 3);
    let list = run(&server, "reeve server list");
    for name in ["web-1", "web-2", "web-3"] {
        let line = list.lines().find(|line| line.contains(name)).unwrap();
        assert!(line.contains("running") && line.contains("10.213.77."), "{list}");
    }
    let addresses: Vec<&str> = list.split_whitespace().filter(|word| word.starts_with("10.213.77.")).collect();

    adopts(&server, data.path(), &hosts, &list);

    // They outlive the server, and it finds them again.
    let server = server.kill_and_restart().unwrap();
    for address in &addresses {
        let mut greeting = [0; 4];
        let mut socket = std::net::TcpStream::connect((*address, 22)).unwrap();
        std::io::Read::read_exact(&mut socket, &mut greeting).unwrap();
        assert_eq!(&greeting, b"SSH-");
    }
    assert_eq!(run(&server, "reeve server list").matches("running").count(), 3);

    for line in &delete {
        eprintln!("{line}\n{}", run(&server, line));
    }
    assert_eq!(traces(&hosts, &bridge), Vec::<String>::new());
}
