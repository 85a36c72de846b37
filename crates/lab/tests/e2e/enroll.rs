//! Servers that are born as nodes: on this machine's own programs, and on the Debian that debootstrap makes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use reeve_lab::{Server, ServerOptions, wait_for};

use super::local_servers::{Leftovers, run, traces};
use super::{LIMIT, binary, free_port};

/// Serves one file to whoever asks, as a release's download does.
fn offer(file: PathBuf) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 1024];
            // Whoever hangs up in the middle asks again.
            if stream.read(&mut asked).is_ok() {
                let body = std::fs::read(&file).unwrap();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).ok();
            }
        }
    });
    port
}

/// Where this machine's own Debian packages come from.
fn mirror() -> String {
    let targets =
        Command::new("apt-get").args(["indextargets", "--format", "$(CODENAME) $(REPO_URI)"]).output().unwrap();
    let text = String::from_utf8(targets.stdout).unwrap();
    let found = text.lines().find_map(|line| line.strip_prefix("bookworm "));
    found.expect("this machine gets Debian 12 from somewhere").to_owned()
}

/// Images are kept from run to run: the product makes them when there is none of this recipe yet.
fn images() -> PathBuf {
    let mut hash = DefaultHasher::new();
    include_str!("../../../provider-local/src/image.rs").hash(&mut hash);
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/local-images");
    let folder = target.join(format!("{:016x}", hash.finish()));
    std::fs::create_dir_all(&folder).unwrap();
    folder.canonicalize().unwrap()
}

#[test]
fn servers_are_born_as_nodes() {
    let agent = PathBuf::from(std::env::var_os("REEVE_AGENT_BIN").expect("`cargo xtask test --only e2e` sets it"));
    let sum = String::from_utf8(Command::new("sha256sum").arg(&agent).output().unwrap().stdout).unwrap();
    let data = tempfile::tempdir().unwrap();
    let local = data.path().join("data/local");
    std::fs::create_dir_all(&local).unwrap();
    std::os::unix::fs::symlink(images(), local.join("images")).unwrap();
    let bridge = format!("rvn{}", std::process::id());
    let environment = [
        ("REEVE_LOCAL_BRIDGE", bridge.clone()),
        ("REEVE_LOCAL_POOL", "10.213.85.0/24".to_owned()),
        ("REEVE_LOCAL_MIRROR", mirror()),
        ("REEVE_AGENT_DOWNLOAD_URL", format!("http://10.213.85.1:{}/reeve-agent", offer(agent))),
        ("REEVE_AGENT_DOWNLOAD_SHA256", sum[..64].to_owned()),
        ("REEVE_ADVERTISE", "[\"10.213.85.1\"]".to_owned()),
    ];
    let agents = format!("0.0.0.0:{}", free_port(Ipv4Addr::UNSPECIFIED));
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let options = ServerOptions { binary: binary(), data: data.path().join("data"), agents, environment };
    let hosts = local.join("hosts");
    let _leftovers = Leftovers { hosts: hosts.clone(), bridge: bridge.clone() };
    let server = Server::start(&options).unwrap();

    run(&server, "reeve workspace create demo");
    let images = ["host", "host-systemd", "debian-12"];
    for image in images {
        run(&server, &format!("reeve server create {image} --image {image} --provider local --enroll --wait"));
    }
    let nodes = wait_for("three healthy nodes", LIMIT, || {
        let nodes = server.edge()?.get("/api/v1/nodes?status=healthy")?;
        Ok(nodes.as_array().filter(|nodes| nodes.len() == images.len()).cloned())
    });
    let nodes = nodes.unwrap_or_else(|error| panic!("{error:#}\n{}", consoles(&server, &images)));
    for image in images {
        let shown = run(&server, &format!("reeve server show {image} -o json"));
        let id = nodes.iter().filter_map(|node| node["id"].as_str()).find(|id| shown.contains(*id));
        assert!(id.is_some(), "{image} leads to its node: {shown}");
    }

    let command = server.run_on_all("uname -n; . /etc/os-release; echo $ID $VERSION_ID").unwrap();
    let summary = server.await_end(&command, images.len() as u64, LIMIT).unwrap();
    assert_eq!(summary["succeeded"], images.len(), "{summary}");
    let executions = server.executions(&command).unwrap();
    let mut said: Vec<&str> = executions.iter().filter_map(|one| one["output"].as_str()).map(str::trim).collect();
    said.sort_unstable();
    assert_eq!(said.len(), images.len());
    assert_eq!(said[0], "debian-12\ndebian 12");
    assert!(said[1].starts_with("host\n") && said[2].starts_with("host-systemd\n"), "{said:?}");

    // A machine that goes is no node any more.
    run(&server, &format!("reeve server delete {} --force --wait", images.join(" ")));
    assert_eq!(server.edge().unwrap().get("/api/v1/nodes").unwrap().as_array().map(Vec::len), Some(0));
    assert_eq!(traces(&hosts, &bridge), Vec::<String>::new());
}

/// What hosts have to say about how they fetched and started the agent.
fn consoles(server: &Server, hosts: &[&str]) -> String {
    let words = "tail -n 20 /var/log/reeve-user-data.log /var/log/reeve-agent.log 2>/dev/null || true";
    hosts.iter().map(|host| run(server, &format!("reeve server ssh {host} -- '{words}' || true"))).collect()
}
