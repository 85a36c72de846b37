//! The bridge, the cables into the hosts, and the way out where it is wanted.
//!
//! Nothing is taken over: a bridge that is not ours, or an address or route that overlaps the pool, is an error.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use ipnet::Ipv4Net;
use reeve_ports::{CloudError, CloudErrorKind};

use crate::Settings;
use crate::program::{io, run};
use crate::record::Record;

/// Begins the mark by which a bridge is known as ours.
const MARK: &str = "reeve-local-hosts:";

/// How long a bridge may be without its mark.
const MARKED_WITHIN: Duration = Duration::from_secs(1);

/// A host's end of the cable on this machine.
pub fn cable(id: &str) -> String {
    format!("rv{id}")
}

/// This machine's address on the bridge: the first one.
pub fn gateway(pool: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from_bits(pool.network().to_bits() + 1)
}

/// The lowest address that no host has. Quota when all are taken.
pub fn free_address(pool: Ipv4Net, hosts: &[Record]) -> Result<Ipv4Addr, CloudError> {
    let free = pool.hosts().skip(1).find(|address| hosts.iter().all(|host| host.address != *address));
    free.ok_or_else(|| {
        let text = format!("every address of the local pool {pool} is taken; delete a host or configure a larger pool");
        CloudError::new(CloudErrorKind::Quota, text)
    })
}

pub fn has_cable(id: &str) -> bool {
    Path::new("/sys/class/net").join(cable(id)).exists()
}

/// Makes the bridge unless it is there.
pub async fn ensure_bridge(settings: &Settings) -> Result<(), CloudError> {
    let Settings { bridge, pool, .. } = settings;
    let refused = |text: String| Err(CloudError::new(CloudErrorKind::State, text).with_code("LOCAL_NETWORK"));
    let plain = bridge.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if bridge.is_empty() || bridge.len() > 15 || bridge.starts_with('-') || !plain {
        return refused(format!("{bridge:?} is no name of an interface: 1 to 15 letters, digits, - and _"));
    }
    if pool.prefix_len() > 29 || pool.prefix_len() < 16 || pool.trunc() != *pool {
        return refused(format!("{pool} is no pool of addresses for local hosts: write a network of /16 to /29"));
    }
    let mark = format!("{MARK}{}", settings.folder.display());
    let mark: String = mark.chars().map(|c| if c.is_ascii_graphic() && c != '"' { c } else { '_' }).take(250).collect();
    let there = Path::new("/sys/class/net").join(bridge);
    let alias = || std::fs::read_to_string(there.join("ifalias")).unwrap_or_default().trim().to_owned();
    if !there.exists() {
        if let Some(taken) = overlap(*pool, &run(&["ip", "-j", "-4", "route", "show", "table", "all"], "").await?) {
            return refused(format!(
                "this machine has a route to {taken}, which overlaps {pool}: configure another pool"
            ));
        }
        let script = format!("link add name {bridge} type bridge\nlink set dev {bridge} alias {mark}\n");
        raced(run(&["ip", "-batch", "-"], &script).await, || there.exists())?;
    }
    // What a server that was killed has started goes on for a moment: the mark may still come.
    let begun = tokio::time::Instant::now();
    while alias() != mark {
        let alias = alias();
        if !alias.is_empty() || begun.elapsed() > MARKED_WITHIN {
            return refused(format!(
                "the interface {bridge} exists and is not of these hosts ({}): configure another name for the bridge",
                if alias.is_empty() { "not marked" } else { &alias }
            ));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let script =
        format!("address replace {}/{} dev {bridge}\nlink set dev {bridge} up\n", gateway(*pool), pool.prefix_len());
    run(&["ip", "-batch", "-"], &script).await?;
    if settings.egress {
        egress(settings).await?;
    }
    Ok(())
}

/// A route of this machine (the default one aside) that overlaps the pool.
fn overlap(pool: Ipv4Net, routes: &str) -> Option<String> {
    let routes: Vec<serde_json::Value> = serde_json::from_str(routes).unwrap_or_default();
    let destinations = routes.iter().filter_map(|route| route["dst"].as_str()).filter(|dst| *dst != "default");
    destinations
        .filter_map(|dst| {
            let net = dst.parse::<Ipv4Net>().ok().or_else(|| Ipv4Net::new(dst.parse().ok()?, 32).ok())?;
            (net.contains(&pool.network()) || pool.contains(&net.network())).then(|| dst.to_owned())
        })
        .next()
}

fn table(bridge: &str) -> String {
    format!("reeve_{}", bridge.replace('-', "_"))
}

async fn egress(settings: &Settings) -> Result<(), CloudError> {
    let Settings { bridge, pool, .. } = settings;
    let table = table(bridge);
    let rules = format!(
        "table ip {table}\ndelete table ip {table}\ntable ip {table} {{\n  chain out {{\n    \
         type nat hook postrouting priority 100\n    ip saddr {pool} ip daddr != {pool} masquerade\n  }}\n}}\n"
    );
    run(&["nft", "-f", "-"], &rules).await?;
    let switch = Path::new("/proc/sys/net/ipv4/ip_forward");
    std::fs::write(switch, "1").map_err(io("set", switch))
}

/// Plugs a host in: its end is called `eth0` and configures itself.
///
/// The hardware address follows from the IP address: whoever has that one next, after a restart or a deletion, is found by
/// those who remember it.
pub async fn plug(settings: &Settings, id: &str, address: Ipv4Addr, pid: i32) -> Result<(), CloudError> {
    let (cable, bridge) = (cable(id), &settings.bridge);
    if !has_cable(id) {
        let [a, b, c, d] = address.octets();
        let hardware = format!("02:52:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
        let script = format!("link add name {cable} type veth peer name eth0 address {hardware} netns {pid}\n");
        raced(run(&["ip", "-batch", "-"], &script).await, || has_cable(id))?;
    }
    run(&["ip", "-batch", "-"], &format!("link set dev {cable} master {bridge} up\n")).await.map(drop)
}

/// A failure counts unless somebody else did the same at the same time: a program that a killed server left running.
fn raced(result: Result<String, CloudError>, done: impl Fn() -> bool) -> Result<(), CloudError> {
    match result {
        Err(error) if !done() => Err(error),
        _ => Ok(()),
    }
}

/// Pulls the cable out. It goes with the host's network, but some time later.
pub async fn unplug(id: &str) -> Result<(), CloudError> {
    if !has_cable(id) {
        return Ok(());
    }
    match run(&["ip", "link", "delete", "dev", &cable(id)], "").await {
        // It went meanwhile.
        Err(_) if !has_cable(id) => Ok(()),
        other => other.map(drop),
    }
}

/// Takes the bridge away with the last host.
pub async fn remove_bridge(settings: &Settings) -> Result<(), CloudError> {
    let there = Path::new("/sys/class/net").join(&settings.bridge);
    let alias = std::fs::read_to_string(there.join("ifalias")).unwrap_or_default();
    if alias.starts_with(MARK) {
        run(&["ip", "link", "delete", "dev", &settings.bridge], "").await?;
    }
    if settings.egress {
        let table = table(&settings.bridge);
        run(&["nft", "-f", "-"], &format!("table ip {table}\ndelete table ip {table}\n")).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_in_use_is_seen() {
        let pool: Ipv4Net = "10.214.0.0/24".parse().unwrap();
        let routes =
            |dst: &str| format!(r#"[{{"dst":"default","gateway":"192.0.2.1"}},{{"dst":"{dst}","dev":"eth0"}}]"#);
        for taken in ["10.214.0.0/24", "10.0.0.0/8", "10.214.0.7", "10.214.0.128/25"] {
            assert_eq!(overlap(pool, &routes(taken)).as_deref(), Some(taken));
        }
        for free in ["10.215.0.0/24", "192.0.2.0/24", "10.213.255.255"] {
            assert_eq!(overlap(pool, &routes(free)), None);
        }
        assert_eq!(gateway(pool).to_string(), "10.214.0.1");
        assert_eq!(free_address(pool, &[]).unwrap().to_string(), "10.214.0.2");
    }
}
