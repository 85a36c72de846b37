//! All taskservs there are: the ones in the binary, and what a workspace lays over them.

use std::collections::{BTreeMap, BTreeSet};

use include_dir::{Dir, include_dir};
use serde_json::Value;

use crate::definition::Definition;
use crate::layer::{Layer, merge};
use crate::lint;
use crate::parameter::Parameter;
use crate::problem::{Problem, Problems, meant};

static CORE: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/catalogue");

#[derive(Clone, Debug)]
struct Entry {
    definition: Definition,
    raw: Value,
    files: BTreeMap<String, String>,
    /// What was laid over the one in the binary, or makes it up where there is none.
    layers: Vec<Layer>,
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
        for entry in catalogue.entries.values_mut() {
            entry.layers.clear();
        }
        Ok(catalogue)
    }

    /// This catalogue with a layer over it; the last one laid wins. What is wrong with the layer, or with what comes out
    /// of it, is said with the file it stands in.
    pub fn with(mut self, layer: Layer) -> Result<Self, Problems> {
        let names: Vec<String> = layer.definitions.keys().chain(layer.files.keys()).cloned().collect();
        self.lay(layer)?;
        let mut problems = Problems::new();
        for name in &names {
            if let Some(entry) = self.entries.get(name) {
                problems.extend(lint::definition(&self, &entry.definition, &entry.files));
            }
        }
        problems.dedup();
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }

    /// With a layer that was found right before: what it refers to may be gone meanwhile.
    pub fn with_again(mut self, layer: Layer) -> Result<Self, Problems> {
        self.lay(layer)?;
        Ok(self)
    }

    fn lay(&mut self, mut layer: Layer) -> Result<(), Problems> {
        let mut problems = Problems::new();
        let names: BTreeSet<String> = layer.definitions.keys().chain(layer.files.keys()).cloned().collect();
        for name in names {
            let (patch, files) = (layer.definitions.remove(&name), layer.files.remove(&name).unwrap_or_default());
            let own = Layer::of(&name, patch.clone(), files.clone());
            let known = self.entries.get(&name);
            let Some(patch) = patch.or_else(|| known.is_some().then(empty)) else {
                let right =
                    "add taskserv.yaml: without one in the catalogue to change, it needs a definition of its own";
                problems.push(Problem::catalogue(name, "there are files without a definition", right));
                continue;
            };
            let mut raw = known.map_or_else(empty, |entry| entry.raw.clone());
            merge(&mut raw, patch);
            if let Value::Object(map) = &mut raw {
                map.insert("name".into(), Value::String(name.clone()));
            }
            match serde_path_to_error::deserialize::<_, Definition>(&raw) {
                Ok(definition) => {
                    let (mut all, mut layers) = match self.entries.remove(&name) {
                        Some(entry) => (entry.files, entry.layers),
                        None => Default::default(),
                    };
                    all.extend(files);
                    layers.push(own);
                    self.entries.insert(name, Entry { definition, raw, files: all, layers });
                }
                Err(error) => problems.push(lint::unreadable(&name, &error)),
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// What was laid over a taskserv of the catalogue in the binary, the first one first.
    pub fn layers(&self, name: &str) -> &[Layer] {
        self.entries.get(name).map(|entry| entry.layers.as_slice()).unwrap_or_default()
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

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
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
        let found: Problems = catalogue
            .entries
            .values()
            .flat_map(|entry| lint::definition(&catalogue, &entry.definition, &entry.files))
            .collect();
        assert_eq!(found, Problems::new());
    }
}
