//! Settings of every taskserv that between them reach every branch of its templates, and the world they are rendered for.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use reeve_taskservs::{Bundle, Catalogue, Facts, Machine, Problems, RenderInput, Settings, render};
use serde_json::{Value, json};

pub const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
pub const SUM: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Reading it takes a while without optimisation: once for all tests.
pub fn catalogue() -> &'static Catalogue {
    static CORE: OnceLock<Catalogue> = OnceLock::new();
    CORE.get_or_init(|| Catalogue::core().unwrap_or_else(|problems| panic!("{problems:#?}")))
}

pub fn machines() -> Vec<Machine> {
    let machine = |n: u8| Machine { hostname: format!("node{n}"), address: format!("10.0.0.{n}") };
    (1..=3).map(machine).collect()
}

pub fn facts() -> Facts {
    Facts {
        os: "debian".into(),
        os_version: "12".into(),
        os_codename: "bookworm".into(),
        arch: "amd64".into(),
        init: "systemd".into(),
        cgroup: 2,
        cores: 4,
        memory_mb: 8192,
        disk_mb: 100_000,
        root: true,
        kernel: "6.1.0".into(),
    }
}

pub fn settings(name: &str, config: &Value) -> Result<Settings, Problems> {
    let catalogue = catalogue();
    let mut settings = Settings::read(catalogue, name, config, None)?;
    let mut next = 0;
    settings.make_up(catalogue, |n| {
        next += 1;
        next % n
    });
    Ok(settings)
}

pub fn bundle_of(catalogue: &Catalogue, settings: &Settings, index: usize, facts: &Facts) -> Result<Bundle, Problems> {
    let definition = catalogue.get(&settings.name).unwrap();
    let machines: Vec<Machine> = machines().into_iter().take(definition.servers.max).collect();
    let placed: BTreeMap<String, Vec<Machine>> =
        ["etcd", "postgres"].map(|name| (name.to_owned(), machines.clone())).into_iter().collect();
    let chosen = BTreeMap::from([("oci_runtime".to_owned(), "runc".to_owned()), ("cri".to_owned(), "crio".to_owned())]);
    let exports = BTreeMap::from([("ca_hash".to_owned(), format!("sha256:{SUM}"))]);
    render(&RenderInput {
        catalogue,
        settings,
        index: index.min(machines.len() - 1),
        machines: &machines,
        facts,
        chosen: &chosen,
        placed: &placed,
        exports: &exports,
        purge: false,
        change: Default::default(),
    })
}

/// Name and settings; every taskserv stands here at least once.
pub fn all() -> Vec<(&'static str, Value)> {
    let url = json!({"source_url": "https://downloads.internal/file", "source_sha256": SUM});
    let with = |more: Value| {
        let mut all = url.as_object().unwrap().clone();
        all.extend(more.as_object().unwrap().clone());
        Value::Object(all)
    };
    vec![
        ("os", json!({})),
        (
            "os",
            json!({"kubernetes": true, "timezone": "Europe/Berlin", "packages": ["curl"], "modules": ["dm_crypt"],
                   "sysctl": {"net.core.somaxconn": "4096"}, "time_servers": ["ntp.internal"],
                   "users": [{"name": "ada", "keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== ada@home"], "sudo": true}]}),
        ),
        ("etcd", json!({})),
        ("etcd", json!({"version": "v3.5.10", "tls": true, "tls_ca": PEM, "tls_cert": PEM, "tls_key": PEM})),
        ("redis", json!({})),
        (
            "redis",
            json!({"bind": ["10.0.0.1", "::1"], "append_only": false, "password": "quote\" back\\slash and more"}),
        ),
        ("postgres", json!({})),
        (
            "postgres",
            json!({"listen": ["0.0.0.0"], "networks": ["10.0.0.0/8", "192.168.0.1"],
                   "databases": [{"name": "app", "owner": "app", "password": "it's a \\ 'secret'"}]}),
        ),
        ("proxy", json!({})),
        (
            "proxy",
            json!({"frontends": [
                      {"name": "web", "port": 443, "mode": "http", "backend": "app", "certificate": PEM, "allow": ["10.0.0.0/8"]},
                      {"name": "api", "port": 6443, "address": "10.0.0.9", "backend": "kube"}],
                   "backends": [
                      {"name": "app", "mode": "http", "servers": ["10.0.0.1:80", "web.internal:80"], "check_path": "/healthz"},
                      {"name": "kube", "balance": "leastconn", "servers": ["10.0.0.2:6443"], "send_proxy": true}]}),
        ),
        ("oci-reg", json!({})),
        (
            "oci-reg",
            json!({"version": "2.8.3", "certificate": PEM, "key": PEM, "mirror_of": "https://registry-1.docker.io",
                   "htpasswd": format!("ada:$2y$05${}\n", "a".repeat(53))}),
        ),
        ("runc", json!({})),
        ("runc", json!({"version": "1.2.3"})),
        ("crun", json!({})),
        ("youki", url.clone()),
        (
            "containerd",
            json!({"mirrors": [{"registry": "docker.io", "endpoints": ["http://10.0.0.9:5000"]}], "metrics": "127.0.0.1:1338"}),
        ),
        ("containerd", json!({"version": "2.0.1", "systemd_cgroup": "no"})),
        ("crio", json!({"metrics_port": 9537, "cgroup_manager": "cgroupfs"})),
        ("crio", json!({"version": "1.30.4"})),
        ("podman", json!({"nofile": 4096, "nproc": 4096, "insecure_registries": ["10.0.0.9:5000"]})),
        ("podman", json!({"cgroup_manager": "cgroupfs"})),
        ("resolv", json!({"nameservers": ["10.0.0.1", "fd00::1"], "search": ["internal.example"], "rotate": true})),
        ("external-nfs", json!({"exports": [{"path": "/srv/a", "networks": ["10.0.0.0/8", "10.1.0.1"]}]})),
        (
            "external-nfs",
            json!({"server": "ganesha", "port": 2050,
                   "exports": [{"path": "/srv/a", "networks": ["10.0.0.0/8"], "read_only": true, "squash": "none"}]}),
        ),
        (
            "ip-aliases",
            json!({"aliases": [{"interface": "eth0", "address": "10.0.0.50/24"}, {"interface": "lo", "address": "fd00::5", "server": "node2"}]}),
        ),
        (
            "webhook",
            json!({"hooks": [{"id": "deploy", "command": "/usr/local/bin/deploy", "arguments": ["a b", "\"x\""], "secret": "0123456789abcdef"}]}),
        ),
        (
            "coredns",
            json!({"forwarders": ["1.1.1.1"], "log_queries": true,
                   "zones": [{"name": "internal.example", "machines": true, "records": [
                        {"name": "@", "type": "MX", "value": "10 mail"}, {"name": "www", "type": "CNAME", "value": "node1"},
                        {"name": "*.apps", "type": "A", "value": "10.0.0.1"}, {"name": "_a", "type": "TXT", "value": "v=1 x"}]}]}),
        ),
        (
            "coredns",
            json!({"zones": [{"name": "a.example", "records": [{"name": "@", "type": "NS", "value": "ns1.b.example."}]}]}),
        ),
        (
            "coder",
            json!({"access_url": "https://coder.example.org", "postgres_url": "postgres://coder:secret-secret@10.0.0.1/coder"}),
        ),
        ("desktop", json!({})),
        ("desktop", json!({"environment": "mate"})),
        ("gitea", json!({"domain": "git.example.org"})),
        (
            "gitea",
            json!({"domain": "git.example.org", "database": "postgres", "database_password": "with;semi #hash", "version": "1.23.1",
                   "admin_name": "ada", "admin_email": "ada@example.org", "root_url": "https://git.example.org/"}),
        ),
        ("nushell", json!({"config": "$env.config.show_banner = false", "login_shell": true})),
        ("oras", json!({"registry": "10.0.0.9:5000", "username": "ada", "password": "secret-secret"})),
        ("radicle", json!({"policy": "allow", "external_address": "seed.example.org:8776"})),
        ("kms", with(json!({}))),
        (
            "kms",
            with(json!({"database": "postgresql", "database_url": "postgresql://kms:secret@10.0.0.1/kms",
                        "certificate_p12": "/etc/kms.p12", "certificate_password": "changeit", "authority": PEM})),
        ),
        ("kubectl", json!({})),
        ("kubectl", json!({"version": "packaged", "kubeconfig": "apiVersion: v1\nkind: Config\n"})),
        ("polkadot", json!({"validator": true, "bootnode": "/dns/boot.example/tcp/30333/p2p/12D3KooW"})),
        ("provisioning", with(json!({}))),
        ("provisioning", with(json!({"database_url": "postgres://u:p@h/d", "seal_key": "k".repeat(44)}))),
        ("kubernetes", json!({"version": "1.28.0"})),
        (
            "kubernetes",
            json!({"version": "1.33.1", "control_planes": 3, "etcd": "external", "etcd_ca": PEM, "etcd_cert": PEM, "etcd_key": PEM,
                   "kube_proxy": false, "labels": {"zone": "a"}, "endpoint": "lb.internal:6443", "image_repository": "10.0.0.9:5000/k8s",
                   "images_path": "/srv/images.tar"}),
        ),
        (
            "kubernetes",
            json!({"distribution": "k3s", "source_path": "/srv/k3s", "cni": "flannel", "labels": {"a": "b"}}),
        ),
        (
            "kubernetes",
            json!({"distribution": "k3s", "source": "url", "version": "1.30.4", "control_planes": 3, "kube_proxy": false,
                   "endpoint": "lb.internal:6443", "image_repository": "10.0.0.9:5000"}),
        ),
        ("cilium", json!({})),
        (
            "cilium",
            json!({"replace_kube_proxy": true, "api_endpoint": "10.0.0.1:6443", "routing": "native", "encryption": "wireguard",
                   "hubble": true, "image_registry": "10.0.0.9:5000", "values": {"debug": {"enabled": true}}}),
        ),
        ("rook-ceph", with(json!({"devices": ["sdb", "nvme1n1"]}))),
        ("rook-ceph", with(json!({"monitors": 1, "replicas": 1}))),
        ("mayastor", json!({"disks": ["/dev/disk/by-id/nvme-x"]})),
        ("generate", json!({"names": ["api.internal"]})),
    ]
}
