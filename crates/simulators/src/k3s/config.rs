//! `/etc/rancher/k3s/config.yaml`: the names that k3s knows as flags of `server` and `agent`, and nothing else.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

pub const PATH: &str = "/etc/rancher/k3s/config.yaml";

/// Flags of both roles (v1.31).
const BOTH: &[&str] = &[
    "alsologtostderr",
    "bind-address",
    "container-runtime-endpoint",
    "data-dir",
    "debug",
    "default-runtime",
    "disable-default-registry-endpoint",
    "docker",
    "enable-pprof",
    "flannel-cni-conf",
    "flannel-conf",
    "flannel-iface",
    "image-credential-provider-bin-dir",
    "image-credential-provider-config",
    "image-service-endpoint",
    "kube-proxy-arg",
    "kubelet-arg",
    "lb-server-port",
    "log",
    "node-external-dns",
    "node-external-ip",
    "node-internal-dns",
    "node-ip",
    "node-label",
    "node-name",
    "node-taint",
    "nonroot-devices",
    "pause-image",
    "prefer-bundled-bin",
    "private-registry",
    "protect-kernel-defaults",
    "resolv-conf",
    "rootless",
    "selinux",
    "server",
    "snapshotter",
    "token",
    "token-file",
    "v",
    "vmodule",
    "vpn-auth",
    "vpn-auth-file",
    "with-node-id",
];
/// Flags of servers alone.
const SERVER: &[&str] = &[
    "advertise-address",
    "advertise-port",
    "agent-token",
    "agent-token-file",
    "cluster-cidr",
    "cluster-dns",
    "cluster-domain",
    "cluster-init",
    "cluster-reset",
    "cluster-reset-restore-path",
    "datastore-cafile",
    "datastore-certfile",
    "datastore-endpoint",
    "datastore-keyfile",
    "default-local-storage-path",
    "disable",
    "disable-apiserver",
    "disable-cloud-controller",
    "disable-controller-manager",
    "disable-etcd",
    "disable-helm-controller",
    "disable-kube-proxy",
    "disable-network-policy",
    "disable-scheduler",
    "egress-selector-mode",
    "embedded-registry",
    "etcd-arg",
    "etcd-disable-snapshots",
    "etcd-expose-metrics",
    "etcd-s3",
    "etcd-snapshot-compress",
    "etcd-snapshot-dir",
    "etcd-snapshot-name",
    "etcd-snapshot-retention",
    "etcd-snapshot-schedule-cron",
    "flannel-backend",
    "flannel-external-ip",
    "flannel-ipv6-masq",
    "helm-job-image",
    "https-listen-port",
    "kine-tls",
    "kube-apiserver-arg",
    "kube-cloud-controller-manager-arg",
    "kube-controller-manager-arg",
    "kube-scheduler-arg",
    "secrets-encryption",
    "service-cidr",
    "service-node-port-range",
    "servicelb-namespace",
    "supervisor-metrics",
    "supervisor-port",
    "system-default-registry",
    "tls-san",
    "tls-san-security",
    "write-kubeconfig",
    "write-kubeconfig-group",
    "write-kubeconfig-mode",
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Server,
    Agent,
}

/// What the simulator does something with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub role: Role,
    pub token: String,
    /// Whom it joins; a server that founds has none.
    pub join: Option<String>,
    pub node_name: String,
    pub node_ip: Option<IpAddr>,
    pub labels: Vec<String>,
    pub port: u16,
    pub names: Vec<String>,
    /// Whether it brings a network of its own.
    pub flannel: bool,
}

impl Config {
    pub fn read(role: Role) -> Result<Self, String> {
        let text = std::fs::read_to_string(PATH).map_err(|error| format!("{PATH}: {error}"))?;
        Self::parse(role, &text)
    }

    pub fn parse(role: Role, text: &str) -> Result<Self, String> {
        let map: BTreeMap<String, Value> = serde_saphyr::from_str(text).map_err(|error| format!("{PATH}: {error}"))?;
        let known =
            |name: &&String| BOTH.contains(&name.as_str()) || (role == Role::Server && SERVER.contains(&name.as_str()));
        if let Some(unknown) = map.keys().find(|name| !known(name)) {
            return Err(format!("flag provided but not defined: -{unknown}"));
        }
        let text = |name: &str| map.get(name).and_then(Value::as_str).map(str::to_owned);
        let words = |name: &str| match map.get(name) {
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::String(word)) => vec![word.clone()],
            _ => Vec::new(),
        };
        let token = text("token").unwrap_or_default();
        let join = text("server");
        match (role, &join) {
            (Role::Agent, None) => return Err("--server is required".to_owned()),
            (Role::Server, Some(_)) => return Err("the simulator has no etcd: one server, and agents".to_owned()),
            (Role::Agent, Some(_)) if token.is_empty() => return Err("--token is required".to_owned()),
            _ => {}
        }
        let node_ip = text("node-ip");
        let node_ip = node_ip.map(|ip| ip.parse().map_err(|_| format!("invalid node-ip: {ip}"))).transpose()?;
        let port = map.get("https-listen-port").map_or(Some(6443), |port| u16::try_from(port.as_u64()?).ok());
        Ok(Self {
            role,
            token,
            join,
            node_name: text("node-name").ok_or("the simulator wants a node-name")?,
            node_ip,
            labels: words("node-label"),
            port: port.ok_or("invalid https-listen-port")?,
            names: words("tls-san"),
            flannel: text("flannel-backend").as_deref() != Some("none"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_role_does_not_know_is_refused() {
        let base = "token: t\nnode-name: one\n";
        let server = Config::parse(Role::Server, &format!("{base}flannel-backend: none\ntls-san: [a]\n")).unwrap();
        assert_eq!((server.flannel, server.port, server.names.len()), (false, 6443, 1));
        for (role, more, says) in [
            (Role::Agent, "server: https://a:6443\ncluster-cidr: 10.0.0.0/8\n", "not defined: -cluster-cidr"),
            (Role::Server, "pods: 1\n", "not defined: -pods"),
            (Role::Agent, "", "--server is required"),
            (Role::Server, "node-ip: here\n", "invalid node-ip"),
        ] {
            let refused = Config::parse(role, &format!("{base}{more}")).unwrap_err();
            assert!(refused.contains(says), "{refused}");
        }
    }
}
