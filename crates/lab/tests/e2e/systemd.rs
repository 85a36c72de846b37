//! The systemd half of the service manager: hosts whose process 1 it is, one made here and one adopted by its address.

use std::time::Duration;

use reeve_lab::{Server, wait_for};

use super::local_servers::{address_of, run, traces};
use super::taskservs::{packages, site_with};

const PATIENCE: Duration = Duration::from_secs(60);

/// What systemd says of properties of a unit, in the order in which they are asked for.
fn unit<const N: usize>(server: &Server, host: &str, name: &str, properties: [&str; N]) -> [String; N] {
    let asked = properties.map(|property| format!("systemctl show -p {property} --value reeve-{name}")).join("; ");
    let said = run(server, &format!("reeve server ssh {host} -- '{asked}'"));
    let mut lines = said.lines().map(str::to_owned);
    properties.map(|_| lines.next().unwrap_or_default())
}

fn is_well(server: &Server, name: &str) {
    wait_for(&format!("{name} to be well"), PATIENCE, || {
        let health = run(server, &format!("reeve taskserv health {name} -o json || true")).replace([' ', '\n'], "");
        Ok(health.contains("\"status\":\"healthy\"").then_some(()))
    })
    .unwrap();
}

#[test]
fn services_are_units_of_systemd() {
    let site = site_with(82, &packages());
    let server = &site.server;
    run(server, "reeve workspace create demo");
    run(server, "reeve server create sd --count 2 --provider local --image host-systemd --wait");
    let list = run(server, "reeve server list");
    let init = run(
        server,
        "reeve server ssh sd-1 -- 'cat /proc/1/comm; systemctl is-system-running --wait; systemctl --failed --no-legend'",
    );
    assert_eq!(init.lines().collect::<Vec<_>>(), ["systemd", "running"], "{init}");

    // The other one as a machine that exists already.
    let key = site.data.path().join("key");
    let keygen = format!("ssh-keygen -q -t ed25519 -N '' -f {0} && reeve server ssh sd-2 --key {0}.pub", key.display());
    run(server, &keygen);
    let address = address_of(&list, "sd-2", "10.213.82.");
    run(server, "reeve workspace create other && reeve workspace use other");
    run(server, &format!("reeve server adopt old --address {address} --key {} --wait", key.display()));
    run(
        server,
        "reeve taskserv install redis --server old --set source_folder=/mnt/packages --set max_memory=64mb --wait",
    );
    run(server, "reeve workspace use demo");
    run(server, "reeve taskserv install etcd --server sd-1 --wait");

    for (host, name, program) in [("sd-1", "etcd", "etcd"), ("old", "redis", "redis-server")] {
        let [enabled, active, file, pid] =
            unit(server, host, name, ["UnitFileState", "ActiveState", "FragmentPath", "MainPID"]);
        assert_eq!([enabled.as_str(), active.as_str()], ["enabled", "active"]);
        assert_eq!(file, format!("/etc/systemd/system/reeve-{name}.service"));
        is_well(server, name);
        // Killed, it is started again.
        let is = run(server, &format!("reeve server ssh {host} -- 'cat /proc/{pid}/comm; kill -KILL {pid}'"));
        assert!(is.contains(program), "{is}");
        wait_for("another process", PATIENCE, || {
            let [fresh, restarts] = unit(server, host, name, ["MainPID", "NRestarts"]);
            Ok((fresh != "0" && fresh != pid && restarts == "1").then_some(()))
        })
        .unwrap();
        is_well(server, name);
    }

    // The distribution's own unit does not run beside it.
    let own = run(server, "reeve server ssh old -- 'systemctl is-enabled redis-server || true'");
    assert_eq!(own.trim(), "masked");

    // After a restart of the machine it is there again, without anybody's doing.
    let before = run(server, "reeve server ssh sd-1 -- 'cut \"-d \" -f22 /proc/1/stat'");
    run(server, "reeve server reboot sd-1 sd-2 --wait");
    assert_ne!(run(server, "reeve server ssh sd-1 -- 'cut \"-d \" -f22 /proc/1/stat'"), before);
    for (host, name) in [("sd-1", "etcd"), ("old", "redis")] {
        is_well(server, name);
        assert_eq!(unit(server, host, name, ["NRestarts", "ActiveState"]), ["0", "active"]);
    }

    for (host, name) in [("sd-1", "etcd"), ("old", "redis")] {
        run(server, &format!("reeve taskserv delete {name} --remove-data --wait"));
        assert_eq!(unit(server, host, name, ["LoadState"]), ["not-found"]);
        let left =
            run(server, &format!("reeve server ssh {host} -- 'ls /etc/systemd/system | grep reeve-{name} || true'"));
        assert_eq!(left, "");
    }
    run(server, "reeve server stop sd-1 --wait && reeve server start sd-1 --wait");
    run(server, "reeve server delete old --force --wait && reeve server delete sd-1 sd-2 --force --wait");
    assert_eq!(traces(&site.hosts, &site.bridge), Vec::<String>::new());
}
