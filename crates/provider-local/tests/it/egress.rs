//! The way out, where it is wanted: through this machine, under its address.

use std::net::TcpStream;
use std::process::{Command, Stdio};

use reeve_lab::{PATIENCE, eventually};
use reeve_ports::cloud::Cloud;

use crate::rig::{Rig, sh};

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

fn ip(words: &str) {
    assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success(), "ip {words}");
}

/// A network beyond this machine, with somebody who says under which address a caller comes.
struct Beyond {
    name: String,
    forward: String,
    listener: std::process::Child,
}

impl Beyond {
    fn new() -> Self {
        let forward = std::fs::read_to_string(FORWARD).unwrap();
        let name = format!("rvb{}", std::process::id());
        ip(&format!("netns add {name}"));
        ip(&format!("link add {name} type veth peer name eth0 netns {name}"));
        ip(&format!("address add 198.19.250.1/30 dev {name}"));
        ip(&format!("link set {name} up"));
        ip(&format!("-n {name} address add 198.19.250.2/30 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        let program = "import socket\ns = socket.create_server(('198.19.250.2', 7777))\n\
                       while True:\n c, peer = s.accept()\n c.sendall(peer[0].encode())\n c.close()\n";
        let listener = Command::new("nsenter")
            .args([&format!("--net=/run/netns/{name}"), "python3", "-c", program])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let beyond = Self { name, forward, listener };
        eventually("somebody beyond", PATIENCE, || Ok(TcpStream::connect("198.19.250.2:7777").is_ok())).unwrap();
        beyond
    }
}

impl Drop for Beyond {
    fn drop(&mut self) {
        self.listener.kill().unwrap();
        self.listener.wait().unwrap();
        Command::new("ip").args(["link", "del", &self.name]).status().unwrap();
        Command::new("ip").args(["netns", "del", &self.name]).status().unwrap();
        std::fs::write(FORWARD, &self.forward).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_reach_the_world_only_where_it_is_wanted() {
    let _beyond = Beyond::new();
    let mut rig = Rig::new();
    rig.settings.egress = true;
    rig.local = rig.again();
    let made = rig.create("out").await;
    let host = rig.login(&made.server).await;
    let ask =
        "python3 -c \"import socket; print(socket.create_connection(('198.19.250.2', 7777), 10).recv(99).decode())\"";
    assert_eq!(sh(&*host, ask).await, "198.19.250.1", "under this machine's address");
    let tables = || String::from_utf8(Command::new("nft").args(["list", "tables"]).output().unwrap().stdout).unwrap();
    let table = format!("reeve_{}", rig.settings.bridge.replace('-', "_"));
    assert!(tables().contains(&table));
    rig.delete_all().await;
    assert!(!tables().contains(&table));

    let closed = Rig::new();
    let made = closed.local.create(&closed.spec("in")).await.unwrap();
    let host = closed.login(&made.server).await;
    assert_eq!(sh(&*host, &format!("timeout 2 {ask} 2>/dev/null || echo no")).await, "no");
    closed.delete_all().await;
}
