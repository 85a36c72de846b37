//! Exchange files as they are read.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// One exchange file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// File name without extension.
    #[serde(skip)]
    pub name: String,
    /// Named bodies for `{"<shape>": name}`.
    #[serde(default)]
    pub shapes: BTreeMap<String, Value>,
    /// Played in order.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// One step: an exchange, or something the host of the test brings about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Shown in failures.
    #[serde(default)]
    pub name: String,
    /// For the host of the test, as `{degraded: true}`.
    #[serde(default)]
    pub given: Option<Value>,
    /// What is sent.
    #[serde(default)]
    pub request: Option<RequestSpec>,
    /// What must come back.
    #[serde(default)]
    pub response: ResponseSpec,
    /// Variable -> JSON pointer into the answer's body.
    #[serde(default)]
    pub save: BTreeMap<String, String>,
    /// Repeat the request until the answer fits.
    #[serde(default)]
    pub until: bool,
    /// The original does not have it.
    #[serde(default)]
    pub addition: bool,
}

/// A request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestSpec {
    /// HTTP method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// `api`, `master`, `metrics`, `none`.
    #[serde(default)]
    pub key: Option<String>,
    /// More headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Variables without which the step is skipped, although no text names them.
    #[serde(default)]
    pub needs: Vec<String>,
    /// JSON body.
    #[serde(default)]
    pub body: Option<Value>,
    /// Body as it is; sent as JSON unless `headers` says otherwise.
    #[serde(default)]
    pub raw: Option<String>,
}

/// What must come back.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResponseSpec {
    /// HTTP status.
    #[serde(default)]
    pub status: u16,
    /// Headers that must be there and match.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The whole JSON body.
    #[serde(default)]
    pub body: Option<Value>,
    /// The data in the envelope.
    #[serde(default)]
    pub data: Option<Value>,
    /// The rows in the envelope of a list.
    #[serde(default)]
    pub page: Option<Value>,
    /// `{code, message?, details?}` in the envelope.
    #[serde(default)]
    pub error: Option<Value>,
    /// A body that is not JSON.
    #[serde(default)]
    pub text: Option<String>,
}

impl Script {
    /// Reads one file.
    ///
    /// # Errors
    /// When it cannot be read or is no exchange file; says where.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut script: Self = serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?;
        script.name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(script)
    }
}

/// Reads all files of a directory in name order; the shapes of `shapes.yaml` are known in each.
///
/// # Errors
/// When a file cannot be read.
pub fn load_directory(directory: &Path) -> Result<Vec<Script>> {
    let shared = match directory.join("shapes.yaml") {
        path if path.exists() => Script::load(&path)?.shapes,
        _ => BTreeMap::new(),
    };
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .with_context(|| directory.display().to_string())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|e| e == "yaml") && !path.ends_with("shapes.yaml"));
    paths.sort();
    let mut scripts = Vec::new();
    for path in paths {
        let mut script = Script::load(&path)?;
        for (name, shape) in &shared {
            script.shapes.entry(name.clone()).or_insert_with(|| shape.clone());
        }
        scripts.push(script);
    }
    Ok(scripts)
}
