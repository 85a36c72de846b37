//! `reeve taskserv`: software on servers, installed, changed, asked after and removed.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::operation::{self, Wait};
use super::{push, segment, workspace};
use crate::Session;
use crate::api::{Api, PROVISIONING, Query};
use crate::failure::{Failure, Outcome};
use crate::names::only;
use crate::view::{View, age, column, state_style, text};

/// Taskservs.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List what is installed
    #[command(visible_alias = "ls")]
    List {
        /// Only of this workspace
        #[arg(long, short)]
        workspace: Option<String>,
    },
    /// List what can be installed
    Catalogue {
        /// One of them, with everything that may be set
        name: Option<String>,
    },
    /// Install something, with what it requires
    Install(Box<Install>),
    /// Give one another version or configuration
    Upgrade {
        /// By id, or by name where there is only one
        taskserv: String,
        #[command(flatten)]
        settings: Settings,
        /// Say what would be done, and do nothing
        #[arg(long)]
        check: bool,
        #[command(flatten)]
        wait: Wait,
    },
    /// Show one with everything known about it
    #[command(visible_alias = "get")]
    Show(Which),
    /// Ask its servers how it is doing
    Health(Which),
    /// Remove it; its data stay unless told otherwise
    #[command(visible_alias = "rm")]
    Delete {
        /// By id, or by name where there is only one
        taskserv: String,
        /// Past what others need, and even when a server does not answer
        #[arg(long)]
        force: bool,
        /// What it stored goes too
        #[arg(long)]
        remove_data: bool,
        #[command(flatten)]
        wait: Wait,
    },
}

#[derive(Debug, Clone, Args)]
struct Which {
    /// By id, or by name where there is only one
    taskserv: String,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  reeve taskserv install etcd --on db-1,db-2,db-3 --wait\n  \
reeve taskserv install redis --on cache --set max_memory=1gb --check\n  \
reeve taskserv install kubernetes --on cp,w1,w2 --config kubernetes.json")]
struct Install {
    /// What: `reeve taskserv catalogue` lists it
    name: String,
    /// Onto which servers, by hostname; the first one is the first where that matters
    #[arg(long, required = true, value_delimiter = ',')]
    on: Vec<String>,
    /// The workspace; the active one when absent
    #[arg(long, short)]
    workspace: Option<String>,
    #[command(flatten)]
    settings: Settings,
    /// Keep what was made when something fails
    #[arg(long)]
    preserve_on_failure: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Debug, Clone, Args)]
struct Settings {
    /// A setting NAME=VALUE, the value JSON or else a text; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// A JSON file with settings; --set wins
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
}

impl Settings {
    fn read(&self) -> Outcome<Value> {
        let mut all = match &self.config {
            None => Map::new(),
            Some(file) => {
                let shown = file.display();
                let bytes = std::fs::read(file)
                    .map_err(|error| Failure::usage(format!("cannot read {shown}: {error}"), "give a readable file"))?;
                serde_json::from_slice(&bytes)
                    .map_err(|error| Failure::usage(format!("{shown}: {error}"), "give a JSON object of settings"))?
            }
        };
        for word in &self.set {
            let (name, value) = word
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("`{word}` has no value"), "write --set NAME=VALUE"))?;
            // What is no JSON is a text: passwords and addresses need no quotes.
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
            all.insert(name.to_owned(), value);
        }
        Ok(Value::Object(all))
    }
}

static VIEW: View = View {
    plural: "taskservs",
    columns: &[
        column("NAME", 9, 6, |taskserv, _| text(taskserv, "name")),
        column("STATUS", 8, 6, |taskserv, _| text(taskserv, "status")).coloured(state_style),
        column("VERSION", 7, 6, |taskserv, _| text(taskserv, "version")),
        column("SERVERS", 8, 7, |taskserv, _| text(taskserv, "servers")),
        column("AGE", 7, 3, |taskserv, now| age(taskserv, "created_at", now)),
        column("ID", 6, 10, |taskserv, _| text(taskserv, "id")),
        column("CONFIG", 1, 5, |taskserv, _| text(taskserv, "config")).details(),
        column("HEALTH", 1, 5, |taskserv, _| text(taskserv, "health")).details(),
    ],
    name: |taskserv| text(taskserv, "id"),
};

static CATALOGUE: View = View {
    plural: "taskservs in the catalogue",
    columns: &[
        column("NAME", 9, 6, |offer, _| text(offer, "name")),
        column("CATEGORY", 8, 6, |offer, _| text(offer, "category")),
        column("VERSION", 7, 6, |offer, _| text(offer, "default_version")),
        column("ABOUT", 6, 10, |offer, _| text(offer, "about")),
        column("VERSIONS", 1, 5, |offer, _| text(offer, "versions")).details(),
        column("DEPENDS", 1, 5, |offer, _| text(offer, "depends")).details(),
        column("PARAMETERS", 1, 5, |offer, _| text(offer, "parameters")).details(),
        column("HEALTH CHECK", 1, 5, |offer, _| text(offer, "health")).details(),
    ],
    name: |offer| text(offer, "name"),
};

static HEALTH: View = View {
    plural: "servers",
    columns: &[
        column("SERVER", 9, 6, |server, _| text(server, "hostname")),
        column("HEALTHY", 8, 6, |server, _| text(server, "healthy")),
        column("FACTS", 7, 6, |server, _| text(server, "facts")),
        column("PROBLEM", 8, 6, |server, _| text(server, "problem")),
    ],
    name: |server| text(server, "hostname"),
};

async fn find(api: &Api, reference: &str) -> Outcome<String> {
    let all = api.rows(&format!("{PROVISIONING}/taskservs"), &Query::new()).await?.rows;
    let found = all.iter().filter(|one| one["id"] == reference || one["name"] == reference);
    only("taskserv", reference, found.map(|one| text(one, "id")).collect())
}

/// Runs `reeve taskserv`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let base = format!("{PROVISIONING}/taskservs");
    let path = async |one: &str| -> Outcome<String> { Ok(format!("{base}/{}", segment(&find(&api, one).await?))) };
    match noun.verb {
        Verb::List { workspace } => {
            let mut query = Query::new();
            push(&mut query, "workspace", workspace);
            let listing = api.rows(&base, &query).await?;
            session.show_list(&VIEW, &listing)
        }
        Verb::Catalogue { name } => {
            let mut listing = api.rows(&format!("{base}/catalogue"), &Query::new()).await?;
            let Some(name) = name else { return session.show_list(&CATALOGUE, &listing) };
            listing.rows.retain(|offer| offer["name"] == name.as_str());
            only("taskserv of the catalogue", &name, listing.rows.iter().map(|offer| text(offer, "name")).collect())?;
            session.show(&CATALOGUE, &listing.rows[0])
        }
        Verb::Install(install) => {
            let body = json!({
                "workspace": workspace::chosen(&api, install.workspace.clone()).await?, "name": install.name,
                "servers": install.on, "config": install.settings.read()?, "check_mode": install.check,
                "preserve_on_failure": install.preserve_on_failure,
            });
            let operation = api.post(&format!("{base}/create"), &body).await?;
            let about = format!("{} {}", if install.check { "checking" } else { "installing" }, install.name);
            operation::begun(session, &api, vec![(about, operation)], &install.wait.or_plan(install.check)).await
        }
        Verb::Upgrade { taskserv, settings, check, wait } => {
            let body = json!({"config": settings.read()?, "check_mode": check});
            let operation = api.post(&format!("{}/upgrade", path(&taskserv).await?), &body).await?;
            operation::begun(session, &api, vec![(format!("changing {taskserv}"), operation)], &wait.or_plan(check))
                .await
        }
        Verb::Show(Which { taskserv }) => {
            let taskserv = api.get(&path(&taskserv).await?, &Query::new()).await?;
            session.show(&VIEW, &taskserv)
        }
        Verb::Health(Which { taskserv }) => {
            let health = api.get(&format!("{}/health", path(&taskserv).await?), &Query::new()).await?;
            let well = health["status"] == "healthy";
            let rows = health["servers"].as_array().cloned().unwrap_or_default();
            session.show_list(&HEALTH, &crate::api::Listing { rows, total: None })?;
            Ok(u8::from(!well))
        }
        Verb::Delete { taskserv, force, remove_data, wait } => {
            let body = json!({"force": force, "remove_data": remove_data});
            let operation = api.call(Method::DELETE, &path(&taskserv).await?, &Query::new(), Some(&body)).await?;
            operation::begun(session, &api, vec![(format!("removing {taskserv}"), operation)], &wait).await
        }
    }
}
