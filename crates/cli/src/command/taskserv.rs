//! `reeve taskserv`: software installed on servers.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::operation::{self, Extent};
use super::provisioned::{Called, Kind};
use super::workflow::parameters;
use super::{push, workspace};
use crate::Session;
use crate::api::Query;
use crate::failure::{FAILED, Failure, OK, Outcome};
use crate::view::{View, age, column, state_style, text};

/// Taskservs.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List taskservs that are installed
    #[command(visible_alias = "ls")]
    List {
        /// Only taskservs of this workspace
        #[arg(long, short)]
        workspace: Option<String>,
    },
    /// List taskservs that can be installed
    Catalogue {
        /// Show one with its settings
        name: Option<String>,
        /// As this workspace has it, with its own taskservs; the active one when absent
        #[arg(long, short)]
        workspace: Option<String>,
    },
    /// Install a taskserv on servers
    Install(Install),
    /// Show one taskserv with its settings
    #[command(visible_alias = "get")]
    Show(Which),
    /// Run the health check of a taskserv; exit code 1 when it is not well
    Health(Which),
    /// Bring a taskserv to another version or other settings
    Upgrade {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        settings: Settings,
        /// Leave it as it is when something fails, instead of going back to what was there before
        #[arg(long)]
        preserve_on_failure: bool,
        #[command(flatten)]
        extent: Extent,
    },
    /// Remove a taskserv
    #[command(visible_alias = "rm")]
    Delete {
        #[command(flatten)]
        which: Which,
        /// Past what others need
        #[arg(long)]
        force: bool,
        /// Remove its data too
        #[arg(long)]
        remove_data: bool,
        #[command(flatten)]
        extent: Extent,
    },
}

#[derive(Debug, Clone, Args)]
struct Which {
    /// The taskserv, by id, or by name where there is one of it
    taskserv: String,
}

#[derive(Debug, Clone, Args)]
struct Settings {
    /// The version; the newest of the catalogue when absent
    #[arg(long)]
    version: Option<String>,
    /// A YAML or JSON file with settings (`-`: standard input)
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A setting; JSON where it is that, else text. Goes before what the file says
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  reeve taskserv install etcd --server db-1,db-2,db-3 --wait\n  \
reeve taskserv install redis --server cache --set port=6380 --check")]
struct Install {
    /// A name of the catalogue
    name: String,
    /// The servers, by hostname; repeatable, or several after a comma. Their order decides who is first
    #[arg(long, short, required = true, value_delimiter = ',', value_name = "HOSTNAME")]
    server: Vec<String>,
    #[command(flatten)]
    settings: Settings,
    /// The workspace; the active one when absent
    #[arg(long, short)]
    workspace: Option<String>,
    /// Keep what was made when something fails
    #[arg(long)]
    preserve_on_failure: bool,
    #[command(flatten)]
    extent: Extent,
}

static VIEW: View = View {
    plural: "taskservs",
    columns: &[
        column("NAME", 9, 6, |taskserv, _| text(taskserv, "name")),
        column("VERSION", 8, 5, |taskserv, _| text(taskserv, "version")),
        column("STATUS", 8, 6, |taskserv, _| text(taskserv, "status")).coloured(state_style),
        column("SERVERS", 7, 6, |taskserv, _| text(taskserv, "servers")),
        column("AGE", 6, 3, |taskserv, now| age(taskserv, "created_at", now)),
        column("ID", 6, 10, |taskserv, _| text(taskserv, "id")),
        column("DEFINITION", 1, 4, |taskserv, _| text(taskserv, "layer")).details(),
        column("SETTINGS", 1, 6, |taskserv, _| pretty(&taskserv["config"])).details(),
        column("HEALTH", 1, 6, |taskserv, _| text(&taskserv["health"], "status")).details(),
    ],
    name: |taskserv| text(taskserv, "id"),
};

static CATALOGUE: View = View {
    plural: "taskservs",
    columns: &[
        column("NAME", 9, 6, |definition, _| text(definition, "name")),
        column("CATEGORY", 7, 6, |definition, _| text(definition, "category")),
        column("VERSIONS", 6, 6, |definition, _| text(definition, "versions")),
        column("TITLE", 8, 6, |definition, _| text(definition, "title")),
        column("FROM", 4, 4, |definition, _| text(definition, "layer")),
        column("NEEDS", 1, 6, |definition, _| needs(definition)).details(),
        column("SETTINGS", 1, 6, |definition, _| settings(definition)).details(),
        column("ABOUT", 1, 6, |definition, _| text(definition, "about")).details(),
    ],
    name: |definition| text(definition, "name"),
};

static HEALTH: View = View {
    plural: "servers",
    columns: &[
        column("SERVER", 9, 6, |server, _| text(server, "hostname")),
        column("HEALTHY", 8, 3, |server, _| text(server, "healthy")).coloured(state_style),
        column("FACTS", 6, 6, |server, _| text(server, "facts")),
        column("PROBLEM", 7, 6, |server, _| text(server, "problem")),
    ],
    name: |server| text(server, "hostname"),
};

fn pretty(value: &Value) -> String {
    match value.as_object() {
        Some(map) if !map.is_empty() => serde_json::to_string_pretty(value).unwrap_or_default(),
        _ => "-".to_owned(),
    }
}

fn needs(definition: &Value) -> String {
    let lines: Vec<String> = definition["depends"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|needed| format!("{} {}", text(needed, "kind"), text(needed, "on")))
        .collect();
    if lines.is_empty() { "-".to_owned() } else { lines.join("\n") }
}

fn settings(definition: &Value) -> String {
    let mut lines = Vec::new();
    for (name, parameter) in definition["parameters"].as_object().into_iter().flatten() {
        let default = parameter.get("default").filter(|default| !default.is_null());
        let default = default.map_or_else(String::new, |default| format!(" = {default}"));
        lines.push(format!("{name}: {}{default}  {}", text(parameter, "type"), text(parameter, "about")));
    }
    if lines.is_empty() { "-".to_owned() } else { lines.join("\n") }
}

static KIND: Kind = Kind { noun: "taskserv", lines: &VIEW, view: &VIEW, whole: "", called: Called::Name("name") };

impl Settings {
    fn body(&self, session: &mut Session<'_>) -> Outcome<Value> {
        let mut config = parameters(session.world, self.file.as_ref(), &self.set)?;
        config.extend(self.version.clone().map(|version| ("version".to_owned(), version.into())));
        Ok(Value::Object(config))
    }
}

/// Runs `reeve taskserv`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let path = async |which: &Which| KIND.path(&api, &which.taskserv).await;
    match noun.verb {
        Verb::List { workspace } => KIND.list(session, &api, [("workspace", workspace)], 0).await,
        Verb::Catalogue { name, workspace } => {
            let mut query = Query::new();
            push(&mut query, "workspace", workspace::given_or_active(&api, workspace).await?);
            let listing = api.rows(&format!("{}/catalogue", KIND.base()), &query).await?;
            let Some(name) = name else { return session.show_list(&CATALOGUE, &listing) };
            let found = listing.rows.iter().find(|definition| definition["name"] == *name);
            let found = found.ok_or_else(|| {
                let next = "`reeve taskserv catalogue` shows what can be installed";
                Failure::local_with(format!("the catalogue has no '{name}'"), next)
            })?;
            session.show(&CATALOGUE, found)
        }
        Verb::Install(install) => {
            let workspace = workspace::chosen(&api, install.workspace.clone()).await?;
            let config = install.settings.body(session)?;
            let body = json!({
                "workspace": workspace, "name": install.name, "servers": install.server, "config": config,
                "check_mode": install.extent.check, "preserve_on_failure": install.preserve_on_failure,
            });
            let begun = api.post(&format!("{}/create", KIND.base()), &body).await?;
            let what = format!("installing {}", install.name);
            operation::begun(session, &api, vec![(what, begun)], &install.extent.wait()).await
        }
        Verb::Show(which) => KIND.show(session, &api, &which.taskserv).await,
        Verb::Health(which) => {
            let health = api.get(&format!("{}/health", path(&which).await?), &Query::new()).await?;
            let well = health["status"] == "healthy";
            if session.format().is_table() {
                let rows = health["servers"].as_array().cloned().unwrap_or_default();
                session.show_list(&HEALTH, &crate::api::Listing { rows, total: None })?;
            } else {
                session.show(&HEALTH, &health)?;
            }
            Ok(if well { OK } else { FAILED })
        }
        Verb::Upgrade { which, settings, preserve_on_failure, extent } => {
            let config = settings.body(session)?;
            let body =
                json!({ "config": config, "check_mode": extent.check, "preserve_on_failure": preserve_on_failure });
            let begun = api.post(&format!("{}/upgrade", path(&which).await?), &body).await?;
            let what = format!("upgrading {}", which.taskserv);
            operation::begun(session, &api, vec![(what, begun)], &extent.wait()).await
        }
        Verb::Delete { which, force, remove_data, extent } => {
            let body = json!({ "force": force, "remove_data": remove_data, "check_mode": extent.check });
            let begun = api.call(Method::DELETE, &path(&which).await?, &Query::new(), Some(&body)).await?;
            let what = format!("removing {}", which.taskserv);
            operation::begun(session, &api, vec![(what, begun)], &extent.wait()).await
        }
    }
}
