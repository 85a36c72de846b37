//! Software really installed over SSH on hosts of this machine, from a folder of Debian packages: the documented example, a
//! member of a majority killed, the server killed in the midst of an installation, and what else this machine can run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use reeve_lab::{Server, ServerOptions, wait_for};

use super::local_servers::{Leftovers, run, traces};
use super::{binary, free_port};

/// Long enough for apt on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

pub(super) struct Site {
    pub server: Server,
    pub hosts: PathBuf,
    pub bridge: String,
    pub _leftovers: Leftovers,
    pub data: tempfile::TempDir,
}

/// Debian packages for hosts.
pub(super) fn packages() -> PathBuf {
    std::env::var_os("REEVE_TEST_PACKAGES").expect("the stage `services` of `cargo xtask test` makes the folder").into()
}

fn site(net: u8) -> Site {
    site_with(net, &packages())
}

/// A server whose hosts see `packages`.
pub(super) fn site_with(net: u8, packages: &Path) -> Site {
    let data = tempfile::tempdir().unwrap();
    let bridge = format!("rvs{}-{net}", std::process::id());
    let environment = vec![
        ("REEVE_LOCAL_BRIDGE".to_owned(), bridge.clone()),
        ("REEVE_LOCAL_POOL".to_owned(), format!("10.213.{net}.0/24")),
        ("REEVE_LOCAL_PACKAGES".to_owned(), packages.display().to_string()),
    ];
    let localhost = std::net::Ipv4Addr::LOCALHOST;
    let agents = format!("{localhost}:{}", free_port(localhost));
    let options = ServerOptions { binary: binary(), data: data.path().join("data"), agents, environment };
    let hosts = data.path().join("data/local/hosts");
    let leftovers = Leftovers { hosts: hosts.clone(), bridge: bridge.clone() };
    Site { server: Server::start(&options).unwrap(), hosts, bridge, _leftovers: leftovers, data }
}

/// One of the processes on our hosts with such a command line, killed like a machine that breaks: with the supervisor that
/// would start it again.
fn kill_one(hosts: &Path, words: &str) {
    let below = hosts.to_str().unwrap().to_owned();
    let found = std::fs::read_dir("/proc").unwrap().flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let line = String::from_utf8_lossy(&std::fs::read(process.path().join("cmdline")).ok()?).replace('\0', " ");
        let mounts = std::fs::read_to_string(process.path().join("mountinfo")).ok()?;
        (line.contains(words) && mounts.contains(&below)).then_some(pid)
    });
    let pid = found.unwrap_or_else(|| panic!("nobody runs {words}")).to_string();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let parent = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned();
    assert!(Command::new("kill").args(["-KILL", &parent, &pid]).status().unwrap().success());
}

#[test]
fn etcd_on_three_servers_survives_one() {
    let site = site(79);
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/taskservs.md")).unwrap();
    let blocks: Vec<Vec<&str>> =
        text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().lines().collect()).collect();
    for line in &blocks[0] {
        eprintln!("{line}\n{}", run(&site.server, line));
    }
    kill_one(&site.hosts, "/usr/bin/etcd --config-file");
    wait_for("a majority without one", PATIENCE, || {
        let health = run(&site.server, "reeve taskserv health etcd -o json || true").replace([' ', '\n'], "");
        let two = health.matches("\"healthy\":\"2\"").count() == 2 && health.contains("\"status\":\"unhealthy\"");
        Ok(two.then_some(()))
    })
    .unwrap();
    for line in &blocks[1] {
        eprintln!("{line}\n{}", run(&site.server, line));
    }

    // Killed in the midst of an installation, the server goes on where it was.
    run(&site.server, "reeve taskserv install etcd --server db-1,db-2,db-3");
    wait_for("the installation to be under way", PATIENCE, || {
        let shown: serde_json::Value = serde_json::from_str(&run(&site.server, "reeve operation show last -o json"))?;
        let begun = |phase: &serde_json::Value| phase["name"] == "db-2/etcd/install";
        Ok(shown["phases"].as_array().is_some_and(|phases| phases.iter().any(begun)).then_some(()))
    })
    .unwrap();
    let server = site.server.kill_and_restart().unwrap();
    let installed = wait_for("etcd to be installed", PATIENCE, || {
        let list = run(&server, "reeve taskserv list");
        Ok(list.lines().any(|line| line.contains("etcd") && line.contains("running")).then_some(()))
    });
    if let Err(error) = installed {
        let (shown, log) = (run(&server, "reeve operation show last"), run(&server, "reeve operation logs last"));
        panic!("{error}\n{shown}\n{log}");
    }
    run(&server, "reeve taskserv health etcd");
    run(&server, "reeve server delete db-1 db-2 db-3 --force --wait");
    assert_eq!(traces(&site.hosts, &site.bridge), Vec::<String>::new());
}

#[test]
fn what_this_machine_can_run_is_installed_asked_and_removed() {
    let site = site(80);
    let server = &site.server;
    run(server, "reeve workspace create demo");
    run(server, "reeve server create n --count 2 --provider local --wait");
    let proxy = r#"--set 'frontends=[{"name":"web","port":5001,"backend":"reg","mode":"http"}]' --set 'backends=[{"name":"reg","mode":"http","servers":["10.213.80.2:5000"],"check_path":"/v2/"}]'"#;
    let nfs =
        r#"--set server=ganesha --set port=2050 --set 'exports=[{"path":"/srv/share","networks":["10.213.80.0/24"]}]'"#;
    let hook = r#"--set 'hooks=[{"id":"deploy","command":"/bin/true","secret":"0123456789abcdef"}]'"#;
    let postgres = r#"--set 'databases=[{"name":"app","owner":"app","password":"it has \\ and \" inside"}]'"#;
    for line in [
        "redis --server n-1,n-2 --set max_memory=64mb".to_owned(),
        "oci-reg --server n-1".to_owned(),
        format!("proxy --server n-2 {proxy}"),
        "containerd --server n-1 --set restrict_oom_score_adj=true".to_owned(),
        "podman --server n-2 --set nofile=4096 --set nproc=4096 --set storage_driver=vfs".to_owned(),
        format!("postgres --server n-2 {postgres}"),
        format!("webhook --server n-1 {hook}"),
        format!("external-nfs --server n-1 {nfs}"),
        "resolv --server n-2 --set 'nameservers=[\"10.213.80.1\"]'".to_owned(),
        "ip-aliases --server n-2 --set 'aliases=[{\"interface\":\"lo\",\"address\":\"10.99.0.1/32\"}]'".to_owned(),
        "generate --server n-2".to_owned(),
    ] {
        run(server, &format!("reeve taskserv install {line} --wait"));
    }
    let list = run(server, "reeve taskserv list");
    assert_eq!(list.matches("running").count(), 14, "{list}");
    for name in
        ["redis", "oci-reg", "proxy", "containerd", "podman", "postgres", "webhook", "external-nfs", "ip-aliases"]
    {
        run(server, &format!("reeve taskserv health {name}"));
        run(server, &format!("reeve taskserv delete {name} --remove-data --wait"));
    }
    run(server, "reeve server delete n-1 n-2 --force --wait");
    assert_eq!(traces(&site.hosts, &site.bridge), Vec::<String>::new());
}
