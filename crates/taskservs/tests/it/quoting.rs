//! No value breaks out of the place it was put in: properties over any text, judged by the real readers where there are any.

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use reeve_taskservs::quote::{self, Format};
use reeve_taskservs::{Catalogue, Phase};
use serde_json::{Value, json};

use crate::examples::{bundle_of, catalogue, facts, settings};

fn nasty() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("'".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("$(touch /tmp/x)".to_owned()),
        Just("`id`".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\0".to_owned()),
        Just("; rm -rf /".to_owned()),
        Just("{{ 7 * 7 }}".to_owned()),
        Just("${HOME}".to_owned()),
        Just("%n".to_owned()),
        Just("#".to_owned()),
        Just("\u{2028}".to_owned()),
        Just("\u{7f}".to_owned()),
        Just("EOF\n".to_owned()),
        Just("]]>".to_owned()),
        "\\PC{0,8}".prop_map(|s| s),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_and_yaml_give_the_value_back(text in nasty()) {
        let quoted = Format::Yaml.quote(&json!({"k": [text.clone()]})).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Value>(&quoted).unwrap()["k"][0], &text);
        // A NUL cannot stand in YAML at all for some readers; no parameter lets one through.
        if !text.contains('\0') {
            prop_assert_eq!(&serde_saphyr::from_str::<Value>(&format!("a: {quoted}\nb: 1\n")).unwrap()["a"]["k"][0], &text);
        }
        prop_assert!(!quoted.chars().any(char::is_control));
    }

    #[test]
    fn toml_gives_the_value_back(text in nasty()) {
        let quoted = Format::Toml.quote(&json!([text.clone()])).unwrap();
        let table: toml::Table = toml::from_str(&format!("a = {quoted}\nb = 1\n")).unwrap();
        prop_assert_eq!(table["a"][0].as_str(), Some(text.as_str()));
        prop_assert_eq!(table.len(), 2);
    }

    #[test]
    fn formats_of_one_line_stay_on_it(text in nasty()) {
        for format in [Format::Ini, Format::Haproxy, Format::Redis, Format::Pg, Format::Systemd, Format::Words] {
            if let Ok(quoted) = format.quote(&Value::String(text.clone())) {
                prop_assert!(!quoted.chars().any(char::is_control), "{:?} {:?}", format, quoted);
            }
        }
        if let Ok(quoted) = quote::systemd(&text) {
            prop_assert!(!quoted.replace("%%", "").contains('%') && !quoted.replace("$$", "").contains('$'));
        }
        if let Ok(quoted) = quote::sql_name(&text) {
            prop_assert!(!quoted[1..quoted.len() - 1].replace("\"\"", "").contains('"'));
        }
        if let Ok(quoted) = Format::Pg.quote(&Value::String(text)) {
            let inner = quoted[1..quoted.len() - 1].replace("\\\\", "").replace("''", "");
            prop_assert!(!inner.contains(['\'', '\\']));
        }
    }
}

/// One process judges all cases: the shell prints each word behind a mark, and would print more or fewer if one broke out.
#[test]
fn the_shell_gives_every_word_back() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let texts: Vec<String> = (0..2_000)
        .map(|_| nasty().new_tree(&mut runner).unwrap().current())
        .filter(|text| !text.contains('\0'))
        .collect();
    let mut script = String::from("set -eu\n");
    for text in &texts {
        script.push_str(&format!("V={}\nprintf '%s\\000' \"$V\"\n", quote::sh(text)));
    }
    let mut child = Command::new("sh").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(script.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let words: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
    assert_eq!(words.len(), texts.len() + 1);
    for (word, text) in words.iter().zip(&texts) {
        assert_eq!(String::from_utf8_lossy(word), *text);
    }
}

/// Whatever is put into any text parameter of any taskserv: either it is refused with the field's name, or what comes out
/// is read by sh and runs nothing.
#[test]
fn hostile_values_run_nothing() {
    let catalogue = catalogue();
    let hostile = [
        "x'; touch /tmp/reeve-broke-out; echo '",
        "$(touch /tmp/reeve-broke-out)",
        "`touch /tmp/reeve-broke-out`",
        "\"; touch /tmp/reeve-broke-out; \"",
        "a\ntouch /tmp/reeve-broke-out\n",
        "/srv/../../etc/passwd",
        "-oProxyCommand=touch",
        "{{ params }}{% for x in range(9) %}{% endfor %}",
        "a\0b",
        "\u{202e}cod",
    ];
    let (mut refused, mut rendered) = (0, 0);
    let mut whole = String::from("set -eu\n");
    let mut seen = std::collections::BTreeSet::new();
    for (name, config) in crate::examples::all().into_iter().filter(|(name, _)| seen.insert(*name)) {
        let definition = catalogue.get(name).unwrap();
        for parameter in definition.parameters.keys().chain(catalogue.common().keys()) {
            for value in hostile {
                let mut config = config.clone();
                config[parameter] = json!(value);
                match rendered_env(catalogue, name, &config) {
                    Ok(env) => {
                        rendered += 1;
                        whole.push_str(&env);
                    }
                    Err(field) => {
                        refused += 1;
                        assert!(field.starts_with("config"), "{name}.{parameter} = {value:?}: {field}");
                    }
                }
            }
        }
    }
    assert!(refused > 1_000 && rendered > 50, "{refused} refused, {rendered} rendered");
    let mut child = Command::new("sh").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(whole.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(!std::path::Path::new("/tmp/reeve-broke-out").exists());
}

fn rendered_env(catalogue: &Catalogue, name: &str, config: &Value) -> Result<String, String> {
    let field = |problems: Vec<reeve_taskservs::Problem>| {
        problems.iter().map(|problem| problem.field.clone()).collect::<Vec<_>>().join(" ")
    };
    let settings = settings(name, config).map_err(field)?;
    let bundle = bundle_of(catalogue, &settings, 0, &facts()).map_err(field)?;
    assert!(bundle.inline(Phase::Preflight).is_some());
    Ok([bundle.part("env").unwrap(), bundle.part("service.env").unwrap_or_default()].concat())
}
