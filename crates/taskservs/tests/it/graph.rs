//! What goes where, in which order, and why not.

use std::collections::{BTreeMap, BTreeSet};

use reeve_taskservs::{
    Because, Catalogue, Installed, Layer, Machine, Missing, Problems, Resolution, Wanted, World, dependents, resolve,
};
use serde_json::{Value, json};

use crate::examples::{catalogue, machines, settings};

fn world(installed: &[(&str, Value, &[&str])]) -> World {
    World {
        machines: machines().into_iter().map(|machine: Machine| (machine.hostname.clone(), machine)).collect(),
        installed: installed
            .iter()
            .map(|(name, config, hosts)| Installed {
                hosts: hosts.iter().map(ToString::to_string).collect(),
                settings: settings(name, config).unwrap(),
            })
            .collect(),
        folder: None,
    }
}

fn want(name: &str, config: Value, hosts: &[&str]) -> Wanted {
    Wanted { name: name.into(), hosts: hosts.iter().map(ToString::to_string).collect(), config }
}

fn steps(resolution: &Resolution) -> String {
    let step = |step: &reeve_taskservs::Step| {
        let hosts: Vec<&str> = step.machines.iter().map(|machine| machine.hostname.as_str()).collect();
        let because = match &step.because {
            Because::Asked => String::new(),
            Because::RequiredBy(by) => format!(" for {by}"),
        };
        format!("{} on {}{because}", step.settings.name, hosts.join("+"))
    };
    resolution.steps.iter().map(step).collect::<Vec<_>>().join("; ")
}

fn told(result: Result<Resolution, Problems>) -> String {
    match result {
        Ok(resolution) => steps(&resolution),
        Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    }
}

#[test]
fn what_is_required_comes_first() {
    let wanted = [want("kubernetes", json!({}), &["node1", "node2"])];
    let found = resolve(catalogue(), &world(&[]), &wanted, Missing::Install).unwrap();
    insta::assert_snapshot!(steps(&found), @"os on node1+node2 for kubernetes; runc on node1+node2 for containerd; containerd on node1+node2 for kubernetes; kubernetes on node1+node2");
    assert_eq!(found.steps[2].chosen["node1"]["oci_runtime"], "runc");
    insta::assert_snapshot!(told(resolve(catalogue(), &world(&[]), &wanted, Missing::Refuse)), @r"
    name: kubernetes requires os on node1; install os first, or set config.dependencies to install
    name: kubernetes requires os on node2; install os first, or set config.dependencies to install
    name: kubernetes requires containerd or crio on node1; install containerd or crio first, or set config.dependencies to install
    name: kubernetes requires containerd or crio on node2; install containerd or crio first, or set config.dependencies to install
    ");
}

#[test]
fn the_order_of_a_list_does_not_matter() {
    // The platform's own example puts kubernetes before containerd.
    let wanted = [
        want("cilium", json!({}), &["node1"]),
        want("kubernetes", json!({"etcd": "external"}), &["node1"]),
        want("containerd", json!({}), &["node1"]),
        want("etcd", json!({}), &["node2"]),
        want("crun", json!({}), &["node1"]),
    ];
    let found = resolve(catalogue(), &world(&[("os", json!({}), &["node1", "node2"])]), &wanted, Missing::Refuse);
    insta::assert_snapshot!(told(found), @"crun on node1; containerd on node1; etcd on node2; kubernetes on node1; cilium on node1");
}

#[test]
fn what_is_there_is_taken() {
    let world = world(&[("os", json!({}), &["node1"]), ("crun", json!({}), &["node1"])]);
    let found =
        resolve(catalogue(), &world, &[want("containerd", json!({}), &["node1", "node2"])], Missing::Install).unwrap();
    insta::assert_snapshot!(steps(&found), @"os on node2 for containerd; runc on node2 for containerd; containerd on node1+node2");
    let chosen = &found.steps[2].chosen;
    assert_eq!((chosen["node1"]["oci_runtime"].as_str(), chosen["node2"]["oci_runtime"].as_str()), ("crun", "runc"));
}

#[test]
fn clashes_are_told() {
    let os = ("os", json!({}), &["node1", "node2", "node3"][..]);
    let there = world(&[os.clone(), ("crio", json!({}), &["node1"]), ("runc", json!({}), &["node1"])]);
    insta::assert_snapshot!(told(resolve(catalogue(), &there, &[want("containerd", json!({}), &["node1"])], Missing::Refuse)), @"name: containerd cannot be where crio is: on node1; delete crio there first, or name other servers");
    insta::assert_snapshot!(told(resolve(catalogue(), &there, &[want("runc", json!({}), &["node1"])], Missing::Refuse)), @"servers: runc is installed on node1; upgrade or delete what is there, or name other servers");
    insta::assert_snapshot!(told(resolve(catalogue(), &there, &[want("etcd", json!({}), &["node1", "node2"])], Missing::Refuse)), @"servers: 2 servers for etcd; name an odd number of servers, from 1 to 9");
    insta::assert_snapshot!(told(resolve(catalogue(), &there, &[want("redis", json!({}), &["node1", "node9", "node1"])], Missing::Refuse)), @r"
    servers[1]: there is no server `node9` in the workspace; name servers of it, as node1, node2, node3
    servers[2]: `node1` stands there twice; name each server once
    ");
    insta::assert_snapshot!(told(resolve(catalogue(), &there, &[want("redis", json!({}), &[])], Missing::Refuse)), @"servers: it is empty; name servers of it, as node1, node2, node3");
    let ports = [want("redis", json!({"port": 5000}), &["node1"]), want("oci-reg", json!({}), &["node1"])];
    insta::assert_snapshot!(told(resolve(catalogue(), &there, &ports, Missing::Refuse)), @"config: oci-reg and redis both want tcp port 5000 on node1; set another port for one of them");
}

#[test]
fn settings_that_a_requirement_needs_are_asked_for() {
    let wanted = [want(
        "gitea",
        json!({"domain": "a.example", "database": "postgres", "database_password": "x".repeat(12)}),
        &["node1"],
    )];
    insta::assert_snapshot!(told(resolve(catalogue(), &world(&[]), &wanted, Missing::Install)), @"os on node1 for gitea; postgres on node1 for gitea; gitea on node1");
}

#[test]
fn a_cycle_is_named() {
    let layer = Layer {
        definitions: BTreeMap::from([("runc".to_owned(), json!({"depends": [{"on": ["containerd"]}]}))]),
        files: BTreeMap::new(),
    };
    let catalogue = catalogue().clone().with(layer).unwrap();
    let wanted = [want("containerd", json!({}), &["node1"])];
    insta::assert_snapshot!(told(resolve(&catalogue, &world(&[("os", json!({}), &["node1"])]), &wanted, Missing::Install)), @"name: containerd, runc require each other; take one of the dependencies out of the catalogue");
}

#[test]
fn who_would_miss_it_is_told() {
    let world = world(&[
        ("os", json!({}), &["node1", "node2"]),
        ("runc", json!({}), &["node1", "node2"]),
        ("crun", json!({}), &["node2"]),
        ("containerd", json!({}), &["node1", "node2"]),
    ]);
    let names = |name: &str, hosts: &[&str]| {
        let hosts: BTreeSet<String> = hosts.iter().map(ToString::to_string).collect();
        let found = dependents(catalogue(), &world, name, &hosts).unwrap();
        found.iter().map(|installed| installed.settings.name.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("runc", &["node1"]), "containerd");
    assert_eq!(names("runc", &["node2"]), "", "crun is there too");
    assert_eq!(names("containerd", &["node1"]), "");
    assert_eq!(names("os", &["node1"]), "runc containerd");
}

#[test]
fn layers_override_and_add() {
    let own = json!({"title": "Own", "category": "misc", "about": "Ours.", "versions": ["1"], "health": "It is there.",
                     "depends": [{"on": ["os"]}], "files": [{"path": "/etc/own/own.yaml", "template": "own.yaml"}],
                     "parameters": {"greeting": {"type": "string", "default": "hello", "about": "What it says."}}});
    let workspace = Layer {
        definitions: BTreeMap::from([
            ("own".to_owned(), own),
            ("redis".to_owned(), json!({"parameters": {"max_memory": {"default": "1gb"}}})),
        ]),
        files: BTreeMap::from([(
            "own".to_owned(),
            BTreeMap::from([("own.yaml".to_owned(), "say: {{ params.greeting }}\n".to_owned())]),
        )]),
    };
    let infra = Layer {
        definitions: BTreeMap::from([("redis".to_owned(), json!({"parameters": {"max_memory": {"default": "2gb"}}}))]),
        files: BTreeMap::new(),
    };
    let catalogue = catalogue().clone().with(workspace).unwrap().with(infra).unwrap();
    assert_eq!(catalogue.iter().count(), 33);
    assert_eq!(catalogue.get("redis").unwrap().parameters["max_memory"].default, Some(json!("2gb")));
    let found =
        resolve(&catalogue, &world(&[]), &[want("own", json!({"greeting": "a: \"b\""}), &["node1"])], Missing::Install)
            .unwrap();
    let bundle =
        crate::examples::bundle_of(&catalogue, &found.steps[1].settings, 0, &crate::examples::facts()).unwrap();
    assert_eq!(bundle.files[0].content, "say: \"a: \\\"b\\\"\"\n");
    let broken =
        Layer { definitions: BTreeMap::from([("own".to_owned(), json!({"titel": 1}))]), files: BTreeMap::new() };
    assert!(Catalogue::core().unwrap().with(broken).unwrap_err()[0].problem.contains("titel"));
}
