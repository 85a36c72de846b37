//! Every script that can reach a machine is read by sh and by shellcheck, each once in the form in which it runs.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use reeve_taskservs::{PROBE, Phase};

use crate::examples::{all, bundle_of, catalogue, facts, settings};

fn read_by(program: &str, args: &[&str], script: &str) -> Result<(), String> {
    let child =
        Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{program}: {error}; the stage `needs` installs it"));
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&words).into_owned()) }
}

/// SC2154 and SC2153: variables come from ./env. SC1091: ./env and ./lib.sh are not there. SC2034: what one phase sets and
/// another reads. SC2317, SC2119, SC2120: functions that another phase calls. SC3045: ulimit -n, which every sh has.
const ARGS: [&str; 5] = ["-s", "sh", "-e", "SC2154,SC2153,SC1091,SC2034,SC2317,SC2119,SC2120,SC3045", "-"];

#[test]
fn sh_reads_every_phase_of_every_example() {
    let catalogue = catalogue();
    for (name, config) in all() {
        let settings = settings(name, &config).unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
        let bundle =
            bundle_of(catalogue, &settings, 0, &facts()).unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
        let mut whole = String::new();
        for phase in Phase::SCRIPTED {
            whole.push_str(&bundle.inline(phase).unwrap());
        }
        for part in ["env", "service.env"] {
            whole.push_str(bundle.part(part).unwrap_or_default());
        }
        for file in bundle.files.iter().filter(|file| file.path.ends_with(".sh")) {
            whole.push_str(&file.content);
        }
        read_by("sh", &["-n"], &whole).unwrap_or_else(|words| panic!("{name} {config}: {words}"));
    }
}

#[test]
fn shellcheck_finds_nothing() {
    let catalogue = catalogue();
    for (name, script) in [
        ("probe", PROBE),
        ("lib.sh", part("os", "lib.sh").as_str()),
        ("supervise.sh", part("os", "supervise.sh").as_str()),
    ] {
        read_by("shellcheck", &ARGS, &format!("set -eu\n{script}")).unwrap_or_else(|words| panic!("{name}: {words}"));
    }
    let mut seen = BTreeSet::new();
    for definition in catalogue.iter() {
        if let Some(functions) = catalogue.file(&definition.name, "functions.sh").filter(|text| seen.insert(*text)) {
            read_by("shellcheck", &ARGS, &format!("set -eu\n{functions}"))
                .unwrap_or_else(|words| panic!("{}: {words}", definition.name));
        }
    }
    assert!(seen.len() > 25);
}

fn part(name: &str, part: &str) -> String {
    let settings = settings(name, &serde_json::json!({})).unwrap();
    bundle_of(catalogue(), &settings, 0, &facts()).unwrap().part(part).unwrap().to_owned()
}
