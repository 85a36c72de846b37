//! All taskservs there are: the ones in the binary, and what a workspace lays over them.

use std::collections::BTreeMap;

use include_dir::{Dir, include_dir};
use serde_json::Value;

use crate::definition::Definition;
use crate::parameter::Parameter;
use crate::problem::{Problem, Problems, meant};

static CORE: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/catalogue");

/// What one layer says about one taskserv: a JSON merge patch on its definition, and files that replace or add.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// Taskserv -> patch of the definition (a whole one for a taskserv of its own).
    pub definitions: BTreeMap<String, Value>,
    /// Taskserv -> file name -> text: templates and scripts.
    pub files: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Clone, Debug)]
struct Entry {
    definition: Definition,
    raw: Value,
    files: BTreeMap<String, String>,
}

/// Definitions by name.
#[derive(Clone, Debug)]
pub struct Catalogue {
    entries: BTreeMap<String, Entry>,
    common: BTreeMap<String, Parameter>,
    library: String,
    supervisor: String,
}

impl Catalogue {
    /// The catalogue in the binary.
    pub fn core() -> Result<Self, Problems> {
        let mut catalogue = Self {
            entries: BTreeMap::new(),
            common: from_yaml("_common/parameters.yaml", core_text("_common/parameters.yaml")?)?,
            library: core_text("_common/lib.sh")?.to_owned(),
            supervisor: core_text("_common/supervise.sh")?.to_owned(),
        };
        let mut layer = Layer::default();
        for folder in CORE.dirs() {
            let name = folder.path().to_string_lossy().into_owned();
            if name.starts_with('_') {
                continue;
            }
            for file in folder.files() {
                let file_name = file.path().file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                let text = file.contents_utf8().ok_or_else(|| vec![not_text(&name, &file_name)])?;
                if file_name == "taskserv.yaml" {
                    layer.definitions.insert(name.clone(), from_yaml(&format!("{name}/{file_name}"), text)?);
                } else {
                    layer.files.entry(name.clone()).or_default().insert(file_name, text.to_owned());
                }
            }
        }
        catalogue.lay(layer)?;
        Ok(catalogue)
    }

    /// This catalogue with a layer over it: core < workspace < infra, the last one laid wins.
    pub fn with(mut self, layer: Layer) -> Result<Self, Problems> {
        self.lay(layer)?;
        Ok(self)
    }

    fn lay(&mut self, layer: Layer) -> Result<(), Problems> {
        let mut problems = Problems::new();
        for (name, patch) in layer.definitions {
            let mut raw = self.entries.get(&name).map_or(Value::Object(serde_json::Map::new()), |e| e.raw.clone());
            merge(&mut raw, patch);
            if let Value::Object(map) = &mut raw {
                map.insert("name".into(), Value::String(name.clone()));
            }
            match serde_json::from_value::<Definition>(raw.clone()) {
                Ok(definition) => {
                    let files = self.entries.remove(&name).map(|entry| entry.files).unwrap_or_default();
                    self.entries.insert(name, Entry { definition, raw, files });
                }
                Err(error) => {
                    problems.push(Problem::catalogue(name, error.to_string(), "see the definitions in the catalogue"))
                }
            }
        }
        for (name, files) in layer.files {
            match self.entries.get_mut(&name) {
                Some(entry) => entry.files.extend(files),
                None => problems.push(Problem::catalogue(name, "files without a definition", "add taskserv.yaml")),
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// One taskserv.
    pub fn get(&self, name: &str) -> Option<&Definition> {
        self.entries.get(name).map(|entry| &entry.definition)
    }

    /// One taskserv, or what is wrong with the name in `field`.
    pub fn find(&self, field: &str, name: &str) -> Result<&Definition, Problem> {
        self.get(name).ok_or_else(|| {
            let right = match meant(name, self.entries.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it can be {}", self.entries.keys().cloned().collect::<Vec<_>>().join(", ")),
            };
            let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
            Problem::invalid(field, format!("there is no taskserv `{shown}`"), right)
        })
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Definition> {
        self.entries.values().map(|entry| &entry.definition)
    }

    /// A template or script of a taskserv.
    pub fn file(&self, name: &str, file: &str) -> Option<&str> {
        self.entries.get(name)?.files.get(file).map(String::as_str)
    }

    /// The names of a taskserv's templates and scripts.
    pub fn files(&self, name: &str) -> impl Iterator<Item = &str> {
        self.entries.get(name).into_iter().flat_map(|entry| entry.files.keys().map(String::as_str))
    }

    /// What may be set on every taskserv.
    pub fn common(&self) -> &BTreeMap<String, Parameter> {
        &self.common
    }

    pub(crate) fn library(&self) -> &str {
        &self.library
    }

    pub(crate) fn supervisor(&self) -> &str {
        &self.supervisor
    }
}

/// RFC 7386: objects are merged, null takes away, the rest replaces.
fn merge(target: &mut Value, patch: Value) {
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

fn core_text(path: &str) -> Result<&'static str, Problems> {
    CORE.get_file(path).and_then(|file| file.contents_utf8()).ok_or_else(|| vec![not_text("", path)])
}

fn not_text(name: &str, file: &str) -> Problem {
    Problem::catalogue(format!("{name}/{file}"), "it is absent or no UTF-8 text", "build again from whole sources")
}

fn from_yaml<T: serde::de::DeserializeOwned>(name: &str, text: &str) -> Result<T, Problems> {
    serde_saphyr::from_str(text)
        .map_err(|error| vec![Problem::catalogue(name, error.to_string(), "see the definitions in the catalogue")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_reads() {
        let catalogue = Catalogue::core().unwrap_or_else(|problems| panic!("{problems:#?}"));
        assert_eq!(catalogue.iter().count(), 32);
    }
}
