//! The values of one installation: what was given, checked, with defaults and made-up secrets.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::catalogue::Catalogue;
use crate::definition::Definition;
use crate::layer::Layer;
use crate::parameter::{Kind, Parameter, read_fields, whole};
use crate::problem::{Problem, Problems};
use crate::redact::Redactor;
use crate::template;

/// Where programs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The package sources of the machine.
    Package,
    /// A folder of packages on the machine, for one without a network.
    Folder,
    /// An address, with a checksum.
    Url,
    /// A file on the machine.
    Path,
}

impl Source {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Source::Package => "package",
            Source::Folder => "folder",
            Source::Url => "url",
            Source::Path => "path",
        }
    }
}

/// The version that stands for whatever the machine's distribution has.
pub const PACKAGED: &str = "packaged";

/// Checked values. Holds secrets: store it sealed, show [`Settings::public`].
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The taskserv.
    pub name: String,
    /// The version asked for.
    pub version: String,
    /// Where the programs come from.
    pub source: Source,
    /// Whether what it requires is installed along with it; None leaves it to the caller.
    pub install_missing: Option<bool>,
    /// All parameters, absent ones null.
    pub params: Map<String, Value>,
    /// What its workspace laid over the definition: it stays what it was installed as when those files change or go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Settings({} {} from {})", self.name, self.version, self.source.word())
    }
}

impl Settings {
    /// Reads `config` for taskserv `name`. `folder` is where the machines keep packages when nothing else is said.
    pub fn read(catalogue: &Catalogue, name: &str, config: &Value, folder: Option<&str>) -> Result<Self, Problems> {
        let definition = catalogue.find("name", name).map_err(|problem| vec![problem])?;
        let empty = Map::new();
        let given = match config {
            Value::Object(map) => map,
            Value::Null => &empty,
            _ => return Err(vec![Problem::invalid("config", "it is no object", "give an object of settings")]),
        };
        let mut fields = definition.parameters.clone();
        fields.extend(catalogue.common().iter().map(|(name, parameter)| (name.clone(), parameter.clone())));
        let Value::Object(mut params) = read_fields(&fields, "config", given)? else { return Err(Vec::new()) };
        if let Some(folder) = folder.filter(|_| params.get("source_folder").is_none_or(Value::is_null)) {
            params.insert("source_folder".into(), Value::String(folder.to_owned()));
        }
        let (version, source) = origin(definition, given, &params, folder)?;
        let install_missing = match params.get("dependencies").and_then(Value::as_str) {
            Some("install") => Some(true),
            Some("refuse") => Some(false),
            _ => None,
        };
        let layers = catalogue.layers(name).to_vec();
        let settings = Self { name: name.to_owned(), version, source, install_missing, params, layers };
        settings.rules(definition)?;
        Ok(settings)
    }

    fn rules(&self, definition: &Definition) -> Result<(), Problems> {
        let context = self.context();
        let mut problems = Problems::new();
        for check in &definition.checks {
            match template::holds(Some(&check.when), &context) {
                Ok(false) => {}
                Ok(true) => {
                    problems.push(Problem::invalid(format!("config.{}", check.field), &check.problem, &check.right))
                }
                Err(why) => {
                    problems.push(Problem::catalogue(format!("{}: {}", self.name, check.when), why, "mend the rule"))
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// What expressions see before any machine is known.
    pub(crate) fn context(&self) -> Value {
        serde_json::json!({
            "name": self.name, "version": self.version, "source": self.source.word(), "params": self.params,
        })
    }

    /// A value by its name.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.params.get(name).and_then(Value::as_str)
    }

    /// Makes up the secrets that nobody gave. `draw(n)` is a number below n that nobody can guess.
    pub fn make_up(&mut self, catalogue: &Catalogue, mut draw: impl FnMut(u32) -> u32) {
        let Some(definition) = catalogue.get(&self.name) else { return };
        for (name, parameter) in &definition.parameters {
            let Some(pattern) = &parameter.generate else { continue };
            if self.params.get(name).is_none_or(Value::is_null) {
                self.params.insert(name.clone(), Value::String(made_up(pattern, &mut draw)));
            }
        }
    }

    /// The values with `***` for each secret.
    pub fn public(&self, catalogue: &Catalogue) -> Value {
        let mut shown = Value::Object(self.params.clone());
        if let (Some(definition), Value::Object(map)) = (catalogue.get(&self.name), &mut shown) {
            map.retain(|_, value| !value.is_null());
            for (name, value) in map {
                if let Some(parameter) = definition.parameters.get(name) {
                    blank(parameter, value);
                }
            }
        }
        shown
    }

    /// Takes this installation's secrets out of text.
    pub fn redactor(&self, catalogue: &Catalogue) -> Redactor {
        let mut secrets = Vec::new();
        if let Some(definition) = catalogue.get(&self.name) {
            for (name, parameter) in &definition.parameters {
                if let Some(value) = self.params.get(name) {
                    collect(parameter, value, &mut secrets);
                }
            }
        }
        Redactor::new(secrets)
    }
}

/// The version and where it comes from.
fn origin(
    definition: &Definition,
    given: &Map<String, Value>,
    params: &Map<String, Value>,
    folder: Option<&str>,
) -> Result<(String, Source), Problems> {
    let text = |name: &str| params.get(name).and_then(Value::as_str);
    let default = definition.versions.first().map_or(PACKAGED, String::as_str);
    let version = text("version").unwrap_or(default);
    let version = match version.strip_prefix('v') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => rest,
        _ => version,
    };
    let packaged = version == PACKAGED;
    let said = match text("source") {
        Some("package") => Some(Source::Package),
        Some("folder") => Some(Source::Folder),
        Some("url") => Some(Source::Url),
        Some("path") => Some(Source::Path),
        _ if text("source_url").is_some() => Some(Source::Url),
        _ if text("source_path").is_some() => Some(Source::Path),
        _ if given.contains_key("source_folder") => Some(Source::Folder),
        _ => None,
    };
    let packages = !definition.packages.is_empty();
    let source = said.unwrap_or(match (&definition.download, packages) {
        (Some(_), false) => Source::Url,
        (Some(_), true) if !packaged && definition.repository.is_none() => Source::Url,
        _ if folder.is_some() => Source::Folder,
        _ => Source::Package,
    });
    let refuse = |field: &str, problem: String, right: String| Err(vec![Problem::invalid(field, problem, right)]);
    let offered = definition.versions.iter().any(|offer| offer == version || fits(offer, version));
    let shaped = whole("[0-9A-Za-z][0-9A-Za-z.+_~-]{0,63}", version);
    if !shaped || (!offered && said.is_none()) {
        let right = format!(
            "it can be {}; another one needs source_url with source_sha256, source_path or source_folder",
            definition.versions.join(", ")
        );
        return refuse("config.version", format!("`{}` is not on offer", version.escape_default()), right);
    }
    match source {
        Source::Package | Source::Folder if !packages && definition.download.is_some() => {
            refuse("config.source", "there are no packages of it".into(), "take url or path".into())
        }
        Source::Folder if text("source_folder").is_none() => {
            refuse("config.source_folder", "it is missing".into(), "name the folder of packages on the machines".into())
        }
        Source::Url | Source::Path if definition.download.is_none() => {
            refuse("config.source", "it only comes as packages".into(), "take package or folder".into())
        }
        Source::Url | Source::Path if packaged => refuse(
            "config.version",
            "`packaged` is no version of a download".into(),
            "say which version it is, as 1.2.3".into(),
        ),
        Source::Path if text("source_path").is_none() => {
            refuse("config.source_path", "it is missing".into(), "name the archive or program on the machines".into())
        }
        Source::Url
            if text("source_url").is_none() && definition.download.as_ref().is_some_and(|d| d.url.is_empty()) =>
        {
            let right = "give it with source_sha256, or give source_path";
            refuse("config.source_url", "its makers offer no download".into(), right.into())
        }
        Source::Url if text("source_sha256").is_none() && !checksummed(definition, text("source_url")) => refuse(
            "config.source_sha256",
            "nothing says what the download must be".into(),
            "give the SHA-256 of the file behind the address".into(),
        ),
        _ => Ok((version.to_owned(), source)),
    }
}

/// A version on offer may end in `.x`: any of that line.
fn fits(offer: &str, version: &str) -> bool {
    offer
        .strip_suffix('x')
        .and_then(|line| version.strip_prefix(line))
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

/// The makers' own checksums vouch for the makers' own address only.
fn checksummed(definition: &Definition, url: Option<&str>) -> bool {
    url.is_none() && definition.download.as_ref().is_some_and(|download| download.checksums.is_some())
}

fn made_up(pattern: &str, draw: &mut impl FnMut(u32) -> u32) -> String {
    const LOWER: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let alphabet: Option<&[u8]> = match first {
            'a' => Some(LOWER),
            'h' => Some(HEX),
            _ => None,
        };
        let count = rest[first.len_utf8()..].strip_prefix('{').and_then(|tail| tail.split_once('}'));
        match (alphabet, count.and_then(|(count, tail)| Some((count.parse::<usize>().ok()?, tail)))) {
            (Some(alphabet), Some((count, tail))) => {
                let size = u32::try_from(alphabet.len()).unwrap_or(1);
                out.extend((0..count).map(|_| char::from(alphabet[draw(size) as usize % alphabet.len()])));
                rest = tail;
            }
            _ => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

fn blank(parameter: &Parameter, value: &mut Value) {
    if parameter.secret && !value.is_null() {
        *value = Value::String("***".into());
        return;
    }
    match value {
        Value::Array(items) => {
            for item in items {
                if let Some(kind) = &parameter.item {
                    blank(kind, item);
                }
            }
        }
        Value::Object(map) => {
            for (name, value) in map {
                if let Some(kind) = parameter.fields.get(name).or(parameter.item.as_deref()) {
                    blank(kind, value);
                }
            }
        }
        _ => {}
    }
}

fn collect<'a>(parameter: &Parameter, value: &'a Value, secrets: &mut Vec<&'a str>) {
    if parameter.secret {
        texts(value, secrets);
        return;
    }
    match value {
        Value::Array(items) => {
            items.iter().for_each(|item| {
                if let Some(kind) = &parameter.item {
                    collect(kind, item, secrets);
                }
            });
        }
        Value::Object(map) => map.iter().for_each(|(name, value)| {
            if let Some(kind) = parameter.fields.get(name).or(parameter.item.as_deref()) {
                collect(kind, value, secrets);
            }
        }),
        // A document may hold anything: nothing in it is known to be secret.
        _ => debug_assert!(parameter.kind != Kind::Object || value.is_null()),
    }
}

fn texts<'a>(value: &'a Value, secrets: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => secrets.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, secrets)),
        Value::Object(map) => map.values().for_each(|item| texts(item, secrets)),
        _ => {}
    }
}
