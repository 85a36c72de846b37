//! Upgrades that fail, for real over SSH: a taskserv of the workspace's own, from a file and from a Debian package, on a
//! host with our supervisor and on one with systemd. What was there before runs again.

use std::path::Path;
use std::process::Command;

use reeve_lab::Server;

use super::local_servers::{run, traces};
use super::taskservs::site_with;

const DEFINITION: &str = r#"title: Greeter
category: misc
about: Says hello into a file.
versions: ["1.0", "2.0"]
packages: [reeve-greeter]
download: {url: "", programs: {greeter: greeter}}
parameters:
  greeting: {type: word, default: hello, about: What it says.}
directories:
  - {path: /etc/greeter}
files:
  - {path: /etc/greeter/greeting, template: greeting.verbatim}
service:
  exec: ["{{ bin }}/greeter"]
health: It says its version and its greeting.
"#;

const FUNCTIONS: &str = r#"after_configure() { [ "$P_greeting" != rude ] || fail "that is no greeting"; }
is_healthy() {
	said=$(cat /run/greeter.said 2>/dev/null || :)
	[ "$said" = "$REEVE_VERSION $P_greeting" ] || { echo "it says: $said"; return 1; }
}
installed_version() { greeter --version; }
"#;

/// Version 2.0 does not say what it should.
fn program(version: &str) -> String {
    let said = if version == "1.0" { "$(cat /etc/greeter/greeting)" } else { "nothing of the kind" };
    format!(
        "#!/bin/sh\n[ \"${{1:-}}\" != --version ] || {{ echo {version}; exit 0; }}\n\
         echo \"{version} {said}\" >/run/greeter.said\nexec sleep infinity\n"
    )
}

fn package(folder: &Path, version: &str) {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    };
    let control = format!(
        "Package: reeve-greeter\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\n\
         Description: says hello\n"
    );
    write("DEBIAN/control", &control);
    let greeter = write("usr/bin/greeter", &program(version));
    for path in [greeter.as_path(), root.path()] {
        assert!(Command::new("chmod").arg("0755").arg(path).status().unwrap().success());
    }
    let deb = folder.join(format!("reeve-greeter_{version}_all.deb"));
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "--build"]).arg(root.path()).arg(deb);
    assert!(build.output().unwrap().status.success());
}

/// What the host itself says: the version, what the service said last, its configuration.
fn there(server: &Server) -> String {
    run(server, "reeve server ssh up -- 'greeter --version; cat /run/greeter.said /etc/greeter/greeting'")
}

fn goes_back(server: &Server, origin: [&str; 2]) {
    let [first, second] = origin;
    run(server, &format!("reeve taskserv install greeter --server up --version 1.0 {first} --wait"));
    assert_eq!(there(server), "1.0\n1.0 hello\nhello");
    let fails = |words: &str| {
        let said = run(server, &format!("reeve taskserv upgrade greeter {words} --wait 2>&1 && echo upgraded || true"));
        assert!(!said.contains("upgraded"), "{said}");
        let log = run(server, "reeve operation logs last");
        assert!(log.contains("going back to what was there before"), "{log}");
        let list = run(server, "reeve taskserv list");
        let line = list.lines().find(|line| line.contains("greeter")).unwrap();
        assert!(line.contains("1.0") && line.contains("running"), "{list}\n{log}");
        run(server, "reeve taskserv health greeter");
        said
    };
    // At configure: the file was replaced already.
    assert!(fails("--set greeting=rude").contains("that is no greeting"));
    assert_eq!(there(server), "1.0\n1.0 hello\nhello");
    // At verify: the other program runs already.
    let said = fails(&format!("--version 2.0 {second} --set greeting=bye --set verify_secs=5"));
    assert!(said.contains("it says: 2.0 nothing of the kind"), "{said}");
    assert_eq!(there(server), "1.0\n1.0 hello\nhello");
    run(server, "reeve taskserv upgrade greeter --set greeting=hi --wait");
    assert_eq!(there(server), "1.0\n1.0 hi\nhi");

    // Unless that is what is wished for.
    let kept = format!("--version 2.0 {second} --set verify_secs=5 --preserve-on-failure --wait");
    run(server, &format!("reeve taskserv upgrade greeter {kept} || true"));
    assert!(there(server).starts_with("2.0\n2.0 nothing"));
    let list = run(server, "reeve taskserv list");
    assert!(list.lines().any(|line| line.contains("greeter") && line.contains("failed")), "{list}");
    run(server, "reeve taskserv delete greeter --remove-data --wait");
    let left = run(
        server,
        "reeve server ssh up -- 'ls /usr/bin/greeter /usr/local/bin/greeter /etc/greeter 2>/dev/null || true'",
    );
    assert_eq!(left, "");
}

fn upgrades(net: u8, image: &str) {
    let packages = tempfile::tempdir().unwrap();
    for version in ["1.0", "2.0"] {
        std::fs::write(packages.path().join(format!("greeter-{version}")), program(version)).unwrap();
        package(packages.path(), version);
    }
    let site = site_with(net, packages.path());
    let server = &site.server;
    run(server, "reeve workspace create demo");
    let own = site.data.path().join("data/workspaces/demo/extensions/taskservs/greeter");
    std::fs::create_dir_all(&own).unwrap();
    for (name, text) in
        [("taskserv.yaml", DEFINITION), ("functions.sh", FUNCTIONS), ("greeting.verbatim", "{{ params.greeting }}")]
    {
        std::fs::write(own.join(name), text).unwrap();
    }
    assert!(run(server, "reeve taskserv catalogue greeter").contains("workspace"));
    run(server, &format!("reeve server create up --provider local --image {image} --wait"));
    run(server, "reeve taskserv install os --server up --wait");
    goes_back(server, ["--set source_path=/mnt/packages/greeter-1.0", "--set source_path=/mnt/packages/greeter-2.0"]);
    goes_back(server, ["--set source=folder", "--set source=folder"]);
    run(server, "reeve server delete up --force --wait");
    assert_eq!(traces(&site.hosts, &site.bridge), Vec::<String>::new());
}

#[test]
fn an_upgrade_that_fails_brings_the_earlier_version_back() {
    upgrades(83, "host");
}

#[test]
fn an_upgrade_that_fails_under_systemd_brings_the_earlier_version_back() {
    upgrades(84, "host-systemd");
}
