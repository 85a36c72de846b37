//! What somebody lays over the catalogue: changes to definitions, and templates and scripts that replace or add.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::phase::Phase;
use crate::problem::{Problem, Problems};
use crate::quote::Format;

/// Bytes of one file.
pub const LARGEST_FILE: usize = 64 * 1024;
/// Bytes of all files of one taskserv: they are kept with each installation.
const LARGEST: usize = 256 * 1024;
/// Files of one taskserv.
const MOST_FILES: usize = 64;
/// Taskservs of one layer.
const MOST: usize = 64;
/// The file that holds the definition.
const DEFINITION: &str = "taskserv.yaml";
/// Functions that several phases use.
const FUNCTIONS: &str = "functions.sh";

/// What one layer says, taskserv by taskserv: a JSON merge patch on its definition, and files that replace or add.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Taskserv -> patch of the definition (a whole one for a taskserv of its own).
    pub definitions: BTreeMap<String, Value>,
    /// Taskserv -> file name -> text: templates and scripts.
    pub files: BTreeMap<String, BTreeMap<String, String>>,
}

impl Layer {
    /// Nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.definitions.is_empty() && self.files.is_empty()
    }

    pub(crate) fn of(name: &str, patch: Option<Value>, files: BTreeMap<String, String>) -> Self {
        Self {
            definitions: patch.into_iter().map(|patch| (name.to_owned(), patch)).collect(),
            files: [(name.to_owned(), files)].into_iter().filter(|(_, files)| !files.is_empty()).collect(),
        }
    }

    /// Reads a layer from texts that people wrote: taskserv -> file name -> text. Says everything that is wrong with names,
    /// sizes and YAML; what the definitions say is held against the catalogue by [`crate::Catalogue::with`].
    pub fn read(texts: BTreeMap<String, BTreeMap<String, String>>) -> Result<Self, Problems> {
        let (mut layer, mut problems) = (Self::default(), Problems::new());
        if texts.len() > MOST {
            let problem = format!("there are {} taskservs", texts.len());
            problems.push(Problem::catalogue(".", problem, format!("keep at most {MOST}")));
        }
        for (name, mut files) in texts {
            if !is_name(&name) {
                let right =
                    "name the folder with lower case letters, digits and -, beginning with a letter, at most 32";
                problems.push(Problem::catalogue(shown(&name), "it is no name of a taskserv", right));
                continue;
            }
            let bytes: usize = files.values().map(String::len).sum();
            if bytes > LARGEST || files.len() > MOST_FILES {
                let problem = format!("{} files with {bytes} bytes are too many", files.len());
                let right = format!("keep it to {MOST_FILES} files and {LARGEST} bytes");
                problems.push(Problem::catalogue(&name, problem, right));
                continue;
            }
            if let Some(text) = files.remove(DEFINITION) {
                match patch(&name, &text) {
                    Ok(patch) => _ = layer.definitions.insert(name.clone(), patch),
                    Err(problem) => problems.push(problem),
                }
            }
            problems.extend(files.keys().filter_map(|file| wrong_file(&name, file)));
            if !files.is_empty() {
                layer.files.insert(name, files);
            }
        }
        if problems.is_empty() { Ok(layer) } else { Err(problems) }
    }
}

/// Also a folder on machines, part of a unit's name and of paths.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(60).collect()
}

fn wrong_file(name: &str, file: &str) -> Option<Problem> {
    let at = format!("{name}/{}", shown(file));
    let plain = file.len() <= 64 && file.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !plain {
        let right = "use letters, digits and ._- in names of files, at most 64";
        return Some(Problem::catalogue(at, "it is no name of a file", right));
    }
    if let Some(word) = file.strip_suffix(".sh") {
        let known = file == FUNCTIONS || Phase::SCRIPTED.iter().any(|phase| phase.word() == word);
        if known {
            return None;
        }
    }
    if Format::of(file).is_none() {
        let right = format!(
            "a template ends in its format ({}); scripts are {FUNCTIONS} or PHASE.sh",
            Format::ALL.map(Format::word).join(", ")
        );
        return Some(Problem::catalogue(at, "nothing is known of such a file", right));
    }
    None
}

fn patch(name: &str, text: &str) -> Result<Value, Problem> {
    let at = format!("{name}/{DEFINITION}");
    let value: Value = serde_saphyr::from_str(text).map_err(|error| {
        let told = error.to_string();
        let line: String = told.lines().next().unwrap_or_default().chars().take(300).collect();
        Problem::catalogue(&at, line, "give YAML with each key once")
    })?;
    match &value {
        Value::Object(map) => match map.get("name") {
            Some(own) if own != name => {
                Err(Problem::catalogue(at, format!("name is {own}"), format!("leave it out: the folder says {name}")))
            }
            _ => Ok(value),
        },
        Value::Null => Ok(Value::Object(serde_json::Map::new())),
        _ => Err(Problem::catalogue(at, "it is no mapping", "give fields of a definition, as `title: Mine`")),
    }
}

/// RFC 7386: objects are merged, null takes away, the rest replaces.
pub(crate) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(&key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalogue;

    fn read(files: &[(&str, &str, &str)]) -> Result<Layer, String> {
        let mut texts: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (name, file, text) in files {
            texts.entry((*name).to_owned()).or_default().insert((*file).to_owned(), (*text).to_owned());
        }
        Layer::read(texts).map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    fn laid(files: &[(&str, &str, &str)]) -> Result<Catalogue, String> {
        let laid = Catalogue::core().unwrap().with(read(files)?);
        laid.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn what_is_wrong_is_said_with_its_file_and_field() {
        let own = "title: Own\ncategory: misc\nabout: Ours.\nversions: [packaged]\nhealth: It runs.\n";
        let with = |more: &str| laid(&[("own", "taskserv.yaml", &format!("{own}{more}"))]).unwrap_err();
        for (said, words) in [
            (read(&[("Own", "taskserv.yaml", own)]).unwrap_err(), "Own: it is no name of a taskserv"),
            (read(&[("own", "a/b", "")]).unwrap_err(), "own/a/b: it is no name of a file"),
            (read(&[("own", "setup.exe", "")]).unwrap_err(), "own/setup.exe: nothing is known of such a file"),
            (read(&[("own", "taskserv.yaml", "a: 1\na: 2\n")]).unwrap_err(), "own/taskserv.yaml: "),
            (read(&[("own", "taskserv.yaml", "- 1\n")]).unwrap_err(), "own/taskserv.yaml: it is no mapping"),
            (read(&[("own", "taskserv.yaml", "name: other\n")]).unwrap_err(), "own/taskserv.yaml: name is \"other\""),
            (laid(&[("own", "functions.sh", ":")]).unwrap_err(), "own: there are files without a definition"),
            (laid(&[("own", "taskserv.yaml", "title: x\n")]).unwrap_err(), "own/taskserv.yaml: missing field"),
            (with("colour: red\n"), "own/taskserv.yaml: colour: unknown field `colour`"),
            (
                with("parameters: {port: {type: prot}}\n"),
                "own/taskserv.yaml: parameters.port.type: unknown variant `prot`",
            ),
            (
                with("parameters: {port: {type: port, default: 70000}}\n"),
                "own/taskserv.yaml: parameters.port.default: ",
            ),
            (with("parameters: {a-b: {type: port}}\n"), "own/taskserv.yaml: parameters.a-b: "),
            (with("parameters: {a: {type: string, pattern: '('}}\n"), "own/taskserv.yaml: parameters.a.pattern: "),
            (with("parameters: {source_url: {type: url}}\n"), "own/taskserv.yaml: parameters.source_url: "),
            (
                with("depends: [{on: [etdc]}]\n"),
                "own/taskserv.yaml: depends[0].on[0]: there is no taskserv `etdc`; did you mean `etcd`?",
            ),
            (
                with("files: [{path: /etc/own/a, template: a.yaml}]\n"),
                "own/taskserv.yaml: files[0].template: there is no file a.yaml",
            ),
            (with("files: [{path: '/etc/own/{{', template: a.yaml}]\n"), "own/taskserv.yaml: files[0].path: "),
            (
                with("checks: [{when: 'params.a <', field: a, problem: p, right: r}]\n"),
                "own/taskserv.yaml: checks[0].when: ",
            ),
            (
                with("service: {exec: [/bin/x], environment: {'A=1; B': x}}\n"),
                "own/taskserv.yaml: service.environment.A=1; B: ",
            ),
            (with("service: {exec: [/bin/x], user: 'x\n\n    y'}\n"), "own/taskserv.yaml: service.user: "),
        ] {
            assert!(said.contains(words), "{words}:\n{said}");
        }
        let bad = laid(&[("etcd", "taskserv.yaml", "title: \"a\\nExecStart=/bin/evil\"\n")]).unwrap_err();
        assert!(bad.contains("etcd/taskserv.yaml: title: "), "{bad}");
        let bad = laid(&[("etcd", "etcd.yaml", "{% if %}")]).unwrap_err();
        assert!(bad.contains("etcd/etcd.yaml: line 1: "), "{bad}");
        let large = "#".repeat(LARGEST + 1);
        assert!(read(&[("etcd", "etcd.yaml", &large)]).unwrap_err().contains("bytes are too many"));
    }

    #[test]
    fn a_layer_is_kept_with_what_was_made_from_it() {
        let catalogue = laid(&[("redis", "taskserv.yaml", "parameters: {max_memory: {default: 1gb}}\n")]).unwrap();
        let settings = crate::Settings::read(&catalogue, "redis", &Value::Null, None).unwrap();
        let kept: crate::Settings = serde_json::from_str(&serde_json::to_string(&settings).unwrap()).unwrap();
        let mut again = Catalogue::core().unwrap();
        for layer in kept.layers {
            again = again.with_again(layer).unwrap();
        }
        let default = |catalogue: &Catalogue| catalogue.get("redis").unwrap().parameters["max_memory"].default.clone();
        assert_eq!(default(&again), Some("1gb".into()));
        assert_eq!(crate::Settings::read(&catalogue, "etcd", &Value::Null, None).unwrap().layers, Vec::new());
    }
}
