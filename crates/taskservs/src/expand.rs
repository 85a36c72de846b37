//! The parts of a definition with a taskserv's values in place: ports, folders, files.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::catalogue::Catalogue;
use crate::definition::{Definition, Exposure};
use crate::parameter::{is_path, whole};
use crate::problem::{Problem, Problems};
use crate::quote::Format;
use crate::settings::Settings;
use crate::template::{self, Context};

/// A port that an installation listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListeningPort {
    pub name: String,
    pub protocol: String,
    pub number: u16,
    #[allow(dead_code)] // firewalls will ask
    pub exposure: Exposure,
}

/// A folder of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder {
    pub path: String,
    pub mode: String,
    pub owner: String,
    pub data: bool,
}

/// A file of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RenderedFile {
    pub path: String,
    pub mode: String,
    pub owner: String,
    pub secret: bool,
    pub once: bool,
    pub content: String,
}

fn wrong(definition: &Definition, at: &str, why: impl Into<String>) -> Problems {
    vec![Problem::catalogue(format!("{}: {at}", definition.name), why, "mend the definition")]
}

/// Where `settings` listens.
pub(crate) fn ports(catalogue: &Catalogue, settings: &Settings) -> Result<Vec<ListeningPort>, Problems> {
    let Some(definition) = catalogue.get(&settings.name) else { return Ok(Vec::new()) };
    let context = settings.context();
    let mut ports = Vec::new();
    for port in &definition.ports {
        let at = format!("port {}", port.name);
        if !template::holds(port.when.as_deref(), &context).map_err(|why| wrong(definition, &at, why))? {
            continue;
        }
        let value = match &port.port {
            Value::String(expression) => {
                template::evaluate(expression, &context).map_err(|why| wrong(definition, &at, why))?
            }
            other => other.clone(),
        };
        let numbers = match value {
            Value::Array(numbers) => numbers,
            one => vec![one],
        };
        let mut seen = BTreeSet::new();
        for number in numbers {
            let number = number
                .as_u64()
                .and_then(|n| u16::try_from(n).ok())
                .filter(|n| *n > 0)
                .ok_or_else(|| wrong(definition, &at, "it is no port"))?;
            if seen.insert(number) {
                ports.push(ListeningPort {
                    name: port.name.clone(),
                    protocol: port.protocol.clone(),
                    number,
                    exposure: port.exposure,
                });
            }
        }
    }
    Ok(ports)
}

/// The folders.
pub(crate) fn folders(definition: &Definition, context: &Context) -> Result<Vec<Folder>, Problems> {
    let mut folders = Vec::new();
    for folder in &definition.directories {
        let at = format!("directory {}", folder.path);
        let why = |why: String| wrong(definition, &at, why);
        if template::holds(folder.when.as_deref(), context).map_err(why)? {
            let path = template::plain(&folder.path, context).map_err(why)?;
            place(definition, &at, &path, &folder.mode, &folder.owner)?;
            folders.push(Folder { path, mode: folder.mode.clone(), owner: folder.owner.clone(), data: folder.data });
        }
    }
    Ok(folders)
}

/// The files.
pub(crate) fn files(
    catalogue: &Catalogue,
    definition: &Definition,
    context: &Context,
) -> Result<Vec<RenderedFile>, Problems> {
    let (mut files, mut problems) = (Vec::new(), Problems::new());
    for file in &definition.files {
        match one_file(catalogue, definition, file, context) {
            Ok(rendered) => files.extend(rendered),
            Err(found) => problems.extend(found),
        }
    }
    let mut paths = BTreeSet::new();
    for file in &files {
        if !paths.insert(&file.path) {
            problems.push(Problem::invalid(
                "config",
                format!("{} would be written twice", file.path),
                "use different names",
            ));
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

fn one_file(
    catalogue: &Catalogue,
    definition: &Definition,
    file: &crate::definition::FileTemplate,
    context: &Context,
) -> Result<Vec<RenderedFile>, Problems> {
    let at = format!("file {}", file.template);
    if !template::holds(file.when.as_deref(), context).map_err(|why| wrong(definition, &at, why))? {
        return Ok(Vec::new());
    }
    if Format::of(&file.template).is_none() {
        return Err(wrong(definition, &at, "the template's name ends in no known format"));
    }
    let source = catalogue
        .file(&definition.name, &file.template)
        .ok_or_else(|| wrong(definition, &at, "there is no such template"))?;
    let items = match &file.each {
        None => vec![None],
        Some(expression) => match template::evaluate(expression, context).map_err(|why| wrong(definition, &at, why))? {
            Value::Array(items) => items.into_iter().map(Some).collect(),
            Value::Object(map) => {
                map.into_iter().map(|(key, value)| Some(serde_json::json!({"key": key, "value": value}))).collect()
            }
            _ => return Err(wrong(definition, &at, "`each` gives no list")),
        },
    };
    let mut rendered = Vec::new();
    for item in items {
        let mut context = context.clone();
        if let (Some(item), Value::Object(map)) = (item, &mut context) {
            map.insert("item".into(), item);
        }
        let path = template::plain(&file.path, &context).map_err(|why| wrong(definition, &at, why))?;
        place(definition, &at, &path, &file.mode, &file.owner)?;
        let content = template::render(&file.template, source, &context).map_err(|why| {
            // The template is right for every value that its format can carry, so it is the value.
            vec![Problem::invalid(format!("config ({})", file.template), why, "use a value that the file can hold")]
        })?;
        rendered.push(RenderedFile {
            path,
            mode: file.mode.clone(),
            owner: file.owner.clone(),
            secret: file.secret,
            once: file.once,
            content,
        });
    }
    Ok(rendered)
}

/// A path, a mode and an owner go into a list that a script reads word by word.
fn place(definition: &Definition, at: &str, path: &str, mode: &str, owner: &str) -> Result<(), Problems> {
    if !is_path(path) || path.split('/').count() < 3 {
        let problem = format!("`{}` is no place for a file", path.escape_default());
        return Err(vec![Problem::invalid(
            format!("config ({at})"),
            problem,
            "use plain words in names that become paths",
        )]);
    }
    if !whole("0[0-7]{3}", mode) || !whole("[a-z_][a-z0-9_-]{0,31}:[a-z_][a-z0-9_-]{0,31}", owner) {
        return Err(wrong(definition, at, "mode or owner is none"));
    }
    Ok(())
}
