//! What is wrong with a value is said with the field, the problem and what would be right.

use reeve_taskservs::Settings;
use serde_json::{Value, json};

use crate::examples::{catalogue, settings};

fn wrong(name: &str, config: Value) -> String {
    let problems = settings(name, &config).expect_err("it was taken");
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn problems_name_field_problem_and_what_is_right() {
    insta::assert_snapshot!(wrong("etdc", json!({})), @"name: there is no taskserv `etdc`; did you mean `etcd`?");
    insta::assert_snapshot!(wrong("etcd", json!([])), @"config: it is no object; give an object of settings");
    insta::assert_snapshot!(wrong("etcd", json!({"client_prt": 1})), @"config.client_prt: there is no such field; did you mean `client_port`?");
    insta::assert_snapshot!(wrong("etcd", json!({"client_port": "2379"})), @"config.client_port: `2379` is not what it takes; give a port from 1 to 65535");
    insta::assert_snapshot!(wrong("etcd", json!({"data_dir": "/var/lib/../x"})), @"config.data_dir: `/var/lib/../x` is not what it takes; give an absolute path without .. and without blanks or quotes");
    insta::assert_snapshot!(wrong("redis", json!({"password": "short"})), @"config.password: the value is not what it takes; give a text of one line, 12 to 512 characters");
    insta::assert_snapshot!(wrong("proxy", json!({"backends": [{"name": "a", "servers": ["nowhere"]}]})), @"config.backends[0].servers[0]: `nowhere` is not what it takes; give host:port, as 10.0.0.1:8080, db.internal:5432 or [fd00::1]:80");
    insta::assert_snapshot!(wrong("proxy", json!({"frontends": [{"name": "a", "port": 80, "backend": "b"}]})), @"config.frontends: a frontend names a backend that is not there; name one of backends");
    insta::assert_snapshot!(wrong("etcd", json!({"election_ms": 100})), @"config.election_ms: it is shorter than five heartbeats; give at least five times heartbeat_ms");
    insta::assert_snapshot!(wrong("resolv", json!({})), @"config.nameservers: it is missing; give a list");
}

#[test]
fn versions_and_sources_belong_together() {
    insta::assert_snapshot!(wrong("etcd", json!({"version": "2.0.0"})), @"config.version: `2.0.0` is not on offer; it can be packaged, 3.4.x, 3.5.x, 3.6.x; another one needs source_url with source_sha256, source_path or source_folder");
    insta::assert_snapshot!(wrong("etcd", json!({"version": "3.5.10", "source_url": "https://x.internal/etcd.tgz"})), @"config.source_sha256: nothing says what the download must be; give the SHA-256 of the file behind the address");
    insta::assert_snapshot!(wrong("etcd", json!({"source_path": "/srv/etcd.tgz"})), @"config.version: `packaged` is no version of a download; say which version it is, as 1.2.3");
    insta::assert_snapshot!(wrong("redis", json!({"source": "url", "version": "7.2.1"})), @"config.source: it only comes as packages; take package or folder");
    insta::assert_snapshot!(wrong("kubernetes", json!({"distribution": "k3s"})), @"config.source: k3s comes as a program; take url or path, as source_path: /srv/k3s");
    insta::assert_snapshot!(wrong("provisioning", json!({})), @"config.source_url: its makers offer no download; give it with source_sha256, or give source_path");
    let read = |config: Value| settings("etcd", &config).map(|s| format!("{} {}", s.version, s.source.word())).unwrap();
    assert_eq!(read(json!({})), "packaged package");
    assert_eq!(read(json!({"version": "v3.5.10"})), "3.5.10 url");
    assert_eq!(read(json!({"source_folder": "/srv/debs"})), "packaged folder");
    assert_eq!(read(json!({"version": "9.9.9", "source_path": "/srv/etcd"})), "9.9.9 path");
}

#[test]
fn secrets_are_made_up_and_never_shown() {
    let catalogue = catalogue();
    let settings = settings(
        "postgres",
        &json!({"databases": [{"name": "app", "owner": "app", "password": "a-very-secret-thing"}]}),
    )
    .unwrap();
    let made_up = settings.text("password").unwrap().to_owned();
    assert_eq!(made_up.len(), 40);
    let shown = settings.public(catalogue).to_string();
    assert!(!shown.contains(&made_up) && !shown.contains("a-very-secret-thing") && shown.contains("***"), "{shown}");
    let cleaned = settings.redactor(catalogue).clean(&format!("x {made_up} y a-very-secret-thing z"));
    assert_eq!(cleaned, "x *** y *** z");
    assert_eq!(format!("{settings:?}"), "Settings(postgres packaged from package)");
    let stored: Settings = serde_json::from_str(&serde_json::to_string(&settings).unwrap()).unwrap();
    assert_eq!(stored, settings);
}

#[test]
fn a_flood_of_input_is_refused() {
    wrong("etcd", json!({"data_dir": format!("/{}", "a".repeat(100_000))}));
    wrong("resolv", json!({"nameservers": vec!["10.0.0.1"; 100_000]}));
    wrong("cilium", json!({"values": {"x": "y".repeat(100_000)}}));
    wrong("os", json!({"sysctl": {"a\nb": "1"}}));
}
