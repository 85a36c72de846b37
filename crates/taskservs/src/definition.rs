//! What the catalogue says about one taskserv: the shape of `taskserv.yaml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::parameter::Parameter;

/// Where a taskserv belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Category {
    ContainerRuntime,
    Databases,
    Development,
    Infrastructure,
    Kubernetes,
    Networking,
    Storage,
    Misc,
}

/// One taskserv.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Its name in the catalogue; the folder's, not the file's.
    #[serde(default)]
    pub name: String,
    /// For people.
    pub title: String,
    /// Where it belongs.
    pub category: Category,
    /// What it is and what this makes of it.
    pub about: String,
    /// The versions on offer, the default first. `packaged` is whatever the machine's distribution has.
    pub versions: Vec<String>,
    /// Packages of Debian and its kin.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Where the programs come from when not from packages.
    #[serde(default)]
    pub download: Option<Download>,
    /// A package repository that must be added first.
    #[serde(default)]
    pub repository: Option<Repository>,
    /// Units of the packages that must not run beside ours.
    #[serde(default)]
    pub units: Vec<String>,
    /// What it needs, follows and excludes.
    #[serde(default)]
    pub depends: Vec<Dependency>,
    /// On how many machines one installation may be.
    #[serde(default)]
    pub servers: Servers,
    /// Whether the machines go together.
    #[serde(default)]
    pub rollout: Rollout,
    /// What a machine must have.
    #[serde(default)]
    pub needs: Needs,
    /// What may be set.
    #[serde(default)]
    pub parameters: BTreeMap<String, Parameter>,
    /// Rules between parameters.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Where it listens.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// The system user it runs as; made when the packages do not.
    #[serde(default)]
    pub user: Option<String>,
    /// Folders that must be there.
    #[serde(default)]
    pub directories: Vec<Directory>,
    /// What is written.
    #[serde(default)]
    pub files: Vec<FileTemplate>,
    /// Values that the scripts get, computed from the parameters.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// What runs.
    #[serde(default)]
    pub service: Option<Service>,
    /// What its health check asks, for people.
    pub health: String,
}

/// Programs as an archive or a single file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// Where it is; `version` and `arch` are known. Empty when its makers offer none.
    #[serde(default)]
    pub url: String,
    /// A file there with SHA-256 sums, for those who give none.
    #[serde(default)]
    pub checksums: Option<String>,
    /// The program's word for an architecture, where it is not `amd64` and `arm64`.
    #[serde(default)]
    pub arch: BTreeMap<String, String>,
    /// Which files of the archive become which commands.
    pub programs: BTreeMap<String, String>,
}

/// A package repository of the software's makers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// One line in apt's format without the key, as a template.
    pub line: String,
    /// Where its key is, as a template.
    pub key: String,
    /// Only then.
    #[serde(default)]
    pub when: Option<String>,
}

/// A relation to other taskservs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// Any one of these, the preferred first.
    pub on: Vec<String>,
    /// What relation.
    #[serde(default)]
    pub kind: DependencyKind,
    /// Where it must be.
    #[serde(default)]
    pub scope: Scope,
    /// Under which name templates learn which of them it is.
    #[serde(default, rename = "as")]
    pub role: Option<String>,
    /// Only then; an expression over `params`.
    #[serde(default)]
    pub when: Option<String>,
}

/// Kinds of relations, in the words of the platform's contracts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DependencyKind {
    /// It must be there first.
    #[default]
    Requires,
    /// When both come, that one first.
    PrefersBefore,
    /// Not both on one machine.
    ConflictsWith,
}

/// Where a required taskserv must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// On the same machine.
    #[default]
    Host,
    /// Anywhere in the workspace.
    Workspace,
}

/// How many machines.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Servers {
    /// At least.
    pub min: usize,
    /// At most.
    pub max: usize,
    /// An odd number, for a majority.
    pub odd: bool,
}

impl Default for Servers {
    fn default() -> Self {
        Self { min: 1, max: 1000, odd: false }
    }
}

/// Whether the machines of one installation go together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rollout {
    /// All do a phase before any does the next.
    #[default]
    Together,
    /// The first does them all; the others get what it exported.
    FirstThenRest,
}

/// What a machine must have.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Needs {
    /// Memory.
    pub memory_mb: u64,
    /// Free disk under `/var`.
    pub disk_mb: u64,
    /// Processors.
    pub cores: u64,
    /// systemd as process 1: it cannot be run by our own supervisor.
    pub systemd: bool,
}

/// A rule between parameters: when `when` holds, it is broken.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// An expression over `params`, `version`, `source` and `hosts`.
    pub when: String,
    /// The field that is wrong then.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub right: String,
}

/// Who should reach a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exposure {
    /// Everybody.
    Public,
    /// The machines of the workspace.
    Private,
    /// The machine itself.
    #[default]
    Internal,
}

/// Where it listens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// What for.
    pub name: String,
    /// The number, or an expression over `params` (also one that gives a list).
    pub port: serde_json::Value,
    /// `tcp` or `udp`.
    #[serde(default = "tcp")]
    pub protocol: String,
    /// Who should reach it.
    #[serde(default)]
    pub exposure: Exposure,
    /// Only then.
    #[serde(default)]
    pub when: Option<String>,
}

fn tcp() -> String {
    "tcp".into()
}

/// A folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Where, as a template.
    pub path: String,
    /// Octal.
    #[serde(default = "folder_mode")]
    pub mode: String,
    /// `user:group`.
    #[serde(default = "root")]
    pub owner: String,
    /// It holds what people would miss: kept on removal unless asked otherwise.
    #[serde(default)]
    pub data: bool,
    /// Only then.
    #[serde(default)]
    pub when: Option<String>,
}

fn folder_mode() -> String {
    "0755".into()
}

fn root() -> String {
    "root:root".into()
}

/// A file that is rendered from a template beside `taskserv.yaml`. Its format is the template's ending.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileTemplate {
    /// Where it goes, as a template.
    pub path: String,
    /// The template's file name.
    pub template: String,
    /// Octal.
    #[serde(default = "file_mode")]
    pub mode: String,
    /// `user:group`.
    #[serde(default = "root")]
    pub owner: String,
    /// It holds secrets: never shown.
    #[serde(default)]
    pub secret: bool,
    /// Only then.
    #[serde(default)]
    pub when: Option<String>,
    /// Once for each `item` of this expression.
    #[serde(default)]
    pub each: Option<String>,
    /// Written when it is not there; never changed, never removed.
    #[serde(default)]
    pub once: bool,
}

fn file_mode() -> String {
    "0644".into()
}

/// What runs, in the foreground.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The program and its arguments, each a template. An argument that renders to nothing is left out.
    pub exec: Vec<String>,
    /// As whom; root when absent.
    #[serde(default)]
    pub user: Option<String>,
    /// Its group, where it is not the user's own.
    #[serde(default)]
    pub group: Option<String>,
    /// Where.
    #[serde(default)]
    pub directory: Option<String>,
    /// Environment, each value a template.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Folders under `/run` that must be there while it runs.
    #[serde(default)]
    pub runtime: Vec<String>,
    /// Open files.
    #[serde(default)]
    pub open_files: Option<u64>,
    /// How long it may take to stop.
    #[serde(default = "stop_secs")]
    pub stop_secs: u64,
    /// The signal that ends it.
    #[serde(default = "stop_signal")]
    pub stop_signal: String,
    /// Delegates its control group, as container engines need.
    #[serde(default)]
    pub delegate: bool,
    /// Ends only itself, not the containers it started.
    #[serde(default)]
    pub process_only: bool,
    /// Only then.
    #[serde(default)]
    pub when: Option<String>,
}

fn stop_secs() -> u64 {
    20
}

fn stop_signal() -> String {
    "TERM".into()
}
