//! What is rendered is read by the format's own reader, and the whole of some bundles is kept in view.

use std::collections::BTreeSet;

use reeve_taskservs::{Facts, Phase};
use serde_json::{Value, json};

use crate::examples::{all, bundle_of, catalogue, facts, settings};

#[test]
fn the_catalogue_has_its_32_names() {
    let catalogue = catalogue();
    let names: Vec<&str> = catalogue.iter().map(|definition| definition.name.as_str()).collect();
    insta::assert_snapshot!(names.join(" "), @"cilium coder containerd coredns crio crun desktop etcd external-nfs generate gitea ip-aliases kms kubectl kubernetes mayastor nushell oci-reg oras os podman polkadot postgres provisioning proxy radicle redis resolv rook-ceph runc webhook youki");
    let shown: BTreeSet<&str> = all().iter().map(|(name, _)| *name).collect();
    assert_eq!(shown.len(), 32, "every taskserv has an example");
}

#[test]
fn definitions_hold_together() {
    let catalogue = catalogue();
    for definition in catalogue.iter() {
        let name = &definition.name;
        assert!(
            !definition.versions.is_empty() && !definition.versions[0].ends_with(".x"),
            "{name}: no default version"
        );
        assert!(!definition.health.is_empty() && definition.about.ends_with('.'), "{name}: about or health");
        for dependency in &definition.depends {
            assert!(!dependency.on.is_empty(), "{name}: an empty dependency");
            for on in &dependency.on {
                assert!(catalogue.get(on).is_some(), "{name} depends on {on}, which there is not");
            }
        }
        for (parameter, kind) in definition.parameters.iter().chain(catalogue.common()) {
            let word = parameter.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            assert!(word, "{name}: parameter {parameter}");
            assert!(!kind.about.is_empty(), "{name}: {parameter} says nothing about itself");
            if let Some(default) = &kind.default {
                kind.check(parameter, default).unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
            }
        }
        let used: BTreeSet<&str> = definition.files.iter().map(|file| file.template.as_str()).collect();
        for file in catalogue.files(name) {
            assert!(file == "functions.sh" || used.contains(file), "{name}: {file} is used by nobody");
        }
    }
}

#[test]
fn every_example_renders_on_every_machine_into_what_its_format_reads() {
    let catalogue = catalogue();
    for bare in [false, true] {
        for (name, config) in all() {
            let settings = settings(name, &config).unwrap_or_else(|problems| panic!("{name} {config}: {problems:#?}"));
            let facts =
                if bare { Facts { init: "none".into(), cgroup: 1, arch: "arm64".into(), ..facts() } } else { facts() };
            for index in 0..3 {
                let bundle = bundle_of(catalogue, &settings, index, &facts)
                    .unwrap_or_else(|problems| panic!("{name} {config}: {problems:#?}"));
                for file in &bundle.files {
                    readable(name, &file.path, &file.content);
                }
                assert_eq!(bundle.part_names().filter(|part| part.ends_with(".sh")).count(), 2 + Phase::SCRIPTED.len());
            }
        }
    }
}

fn readable(name: &str, path: &str, content: &str) {
    let told = |error: String| panic!("{name} {path}: {error}\n{content}");
    if path.ends_with(".yaml") {
        for document in content.split("\n---\n") {
            if let Err(error) = serde_saphyr::from_str::<Value>(document) {
                told(error.to_string());
            }
        }
    }
    let json = path.ends_with(".json");
    if let Some(error) = serde_json::from_str::<Value>(content).err().filter(|_| json) {
        told(error.to_string());
    }
    let other = path.ends_with("crio.conf.d/10-reeve.conf") || path.starts_with("/etc/containers/");
    let toml = path.ends_with(".toml") || other;
    if let Some(error) = toml::from_str::<toml::Value>(content).err().filter(|_| toml) {
        told(error.to_string());
    }
}

#[test]
fn the_same_settings_make_the_same_bytes() {
    let catalogue = catalogue();
    let settings = settings("etcd", &json!({})).unwrap();
    let bundles = [0, 0, 1].map(|index| bundle_of(catalogue, &settings, index, &facts()).unwrap());
    assert_eq!(bundles[0].archive().unwrap(), bundles[1].archive().unwrap());
    assert_eq!(bundles[0].digest, bundles[1].digest);
    assert_ne!(bundles[0].digest, bundles[2].digest);
}

fn file(name: &str, config: Value, index: usize, path: &str) -> String {
    let settings = settings(name, &config).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let bundle = bundle_of(catalogue(), &settings, index, &facts()).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let found = bundle.files.into_iter().find(|file| file.path == path);
    found.unwrap_or_else(|| panic!("{name} writes no {path}")).content
}

#[test]
fn etcd_names_all_members() {
    insta::assert_snapshot!(file("etcd", json!({}), 1, "/etc/reeve/etcd/etcd.yaml"));
}

#[test]
fn haproxy_gets_frontends_and_backends() {
    let (_, config) = all().into_iter().filter(|(name, _)| *name == "proxy").nth(1).unwrap();
    insta::assert_snapshot!(file("proxy", config, 0, "/etc/reeve/proxy/haproxy.cfg"));
}

#[test]
fn a_redis_replica_follows_the_first() {
    insta::assert_snapshot!(file(
        "redis",
        json!({"password": "twelve\"chars\\\n".trim_end()}),
        2,
        "/etc/reeve/redis/redis.conf"
    ));
}

#[test]
fn containerd_speaks_the_configuration_of_its_version() {
    insta::assert_snapshot!("containerd_1", file("containerd", json!({}), 0, "/etc/reeve/containerd/config.toml"));
    insta::assert_snapshot!(
        "containerd_2",
        file("containerd", json!({"version": "2.0.1"}), 0, "/etc/reeve/containerd/config.toml")
    );
}

#[test]
fn kubeadm_speaks_the_configuration_of_its_version() {
    let path = "/etc/reeve/kubernetes/kubeadm.yaml";
    insta::assert_snapshot!("kubeadm_1_28_init", file("kubernetes", json!({"version": "1.28.0"}), 0, path));
    let more = json!({"version": "1.33.1", "control_planes": 3, "labels": {"zone": "a"}, "kube_proxy": false});
    insta::assert_snapshot!("kubeadm_1_33_init", file("kubernetes", more.clone(), 0, path));
    insta::assert_snapshot!("kubeadm_1_33_join", file("kubernetes", more, 2, path));
}

#[test]
fn a_unit_carries_arguments_and_environment_as_they_are() {
    let settings = settings("radicle", &json!({"passphrase": "pass $HOME %n \"x\""})).unwrap();
    let bundle = bundle_of(catalogue(), &settings, 0, &facts()).unwrap();
    insta::assert_snapshot!(bundle.part("service.unit").unwrap());
    insta::assert_snapshot!("supervised", bundle.part("service.env").unwrap());
}
