//! `reeve workspace`: folders of servers and what is installed on them.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::segment;
use crate::Session;
use crate::api::{Api, PROVISIONING, Query};
use crate::failure::{Failure, OK, Outcome};
use crate::view::{Format, View, age, column, document, text};

/// Workspaces.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List workspaces
    #[command(visible_alias = "ls")]
    List,
    /// Show one workspace with its defaults
    #[command(visible_alias = "get")]
    Show {
        /// The workspace; the active one when absent
        name: Option<String>,
    },
    /// Create a workspace with its folder
    Create {
        /// 1 to 63 letters, digits, `.`, `_` and `-`
        name: String,
        /// Its folder, below the server's root for workspaces; a folder of that name there when absent
        #[arg(long)]
        path: Option<String>,
        /// Do not make it the active one
        #[arg(long)]
        no_activate: bool,
        #[command(flatten)]
        defaults: Defaults,
    },
    /// Make a workspace the active one
    #[command(visible_alias = "activate")]
    Use {
        /// The workspace
        name: String,
    },
    /// Change what commands may leave out
    Update {
        /// The workspace; the active one when absent
        name: Option<String>,
        #[command(flatten)]
        defaults: Defaults,
    },
    /// Delete a workspace that is empty
    #[command(visible_alias = "rm")]
    Delete {
        /// The workspace
        name: String,
        /// Also one that is not empty: its servers are forgotten, and run on
        #[arg(long)]
        force: bool,
    },
    /// Print the public SSH key that the workspace's servers let in
    Key {
        /// The workspace; the active one when absent
        name: Option<String>,
    },
    /// What providers know the workspace by
    #[command(subcommand, visible_alias = "credentials")]
    Credential(Credential),
}

#[derive(Debug, Clone, Subcommand)]
enum Credential {
    /// List the providers it has credentials for
    #[command(visible_alias = "ls")]
    List {
        /// The workspace; the active one when absent
        #[arg(long, short)]
        workspace: Option<String>,
    },
    /// Give it credentials for a provider; fields that are not given are asked for
    Set {
        /// The provider, e.g. upcloud
        provider: String,
        /// A field; `reeve provider list` shows which there are. Without a value it is asked for
        #[arg(value_name = "FIELD[=VALUE]")]
        fields: Vec<String>,
        /// The workspace; the active one when absent
        #[arg(long, short)]
        workspace: Option<String>,
    },
    /// Take its credentials for a provider away
    #[command(visible_alias = "rm")]
    Delete {
        /// The provider
        provider: String,
        /// The workspace; the active one when absent
        #[arg(long, short)]
        workspace: Option<String>,
    },
}

/// What commands may leave out in a workspace.
#[derive(Debug, Clone, Args)]
struct Defaults {
    /// Default provider; `none` clears it, here and below
    #[arg(long)]
    provider: Option<String>,
    /// Default size
    #[arg(long)]
    plan: Option<String>,
    /// Default place
    #[arg(long)]
    zone: Option<String>,
    /// Default system
    #[arg(long)]
    image: Option<String>,
}

impl Defaults {
    fn body(self) -> Map<String, Value> {
        let given = [("provider", self.provider), ("plan", self.plan), ("zone", self.zone), ("image", self.image)];
        let word = |word: String| if word == "none" { Value::Null } else { Value::String(word) };
        given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), word(value?)))).collect()
    }
}

static VIEW: View = View {
    plural: "workspaces",
    columns: &[
        column("NAME", 9, 6, |workspace, _| text(workspace, "name")),
        column("ACTIVE", 8, 3, |workspace, _| text(workspace, "active")),
        column("USED", 7, 4, |workspace, now| age(workspace, "last_used", now)),
        column("PATH", 6, 10, |workspace, _| text(workspace, "path")),
        column("DEFAULTS", 1, 8, |workspace, _| defaults(workspace)).details(),
    ],
    name: |workspace| text(workspace, "name"),
};

static CREDENTIALS: View = View {
    plural: "credentials",
    columns: &[
        column("PROVIDER", 9, 6, |credential, _| text(credential, "provider")),
        column("FIELDS", 8, 6, |credential, _| text(credential, "fields")),
        column("AGE", 7, 3, |credential, now| age(credential, "updated_at", now)),
    ],
    name: |credential| text(credential, "provider"),
};

fn defaults(workspace: &Value) -> String {
    let words = ["provider", "plan", "zone", "image"].into_iter().filter_map(|name| {
        let word = workspace.pointer(&format!("/defaults/{name}"))?.as_str()?;
        Some(format!("{name} {word}"))
    });
    let lines: Vec<String> = words.collect();
    if lines.is_empty() { "-".to_owned() } else { lines.join("\n") }
}

/// The workspace that a command is about: the one given, else the active one.
pub(super) async fn chosen(api: &Api, given: Option<String>) -> Outcome<String> {
    if let Some(name) = given {
        return Ok(name);
    }
    let workspaces = all(api).await?;
    active(&workspaces).ok_or_else(|| {
        let next = if workspaces.is_empty() {
            "make one: reeve workspace create NAME"
        } else {
            "choose one: reeve workspace use NAME, or give --workspace NAME"
        };
        Failure::usage("no workspace is active", next)
    })
}

/// The workspace that is given, else the active one if there is one.
pub(super) async fn given_or_active(api: &Api, given: Option<String>) -> Outcome<Option<String>> {
    match given {
        Some(name) => Ok(Some(name)),
        None => Ok(active(&all(api).await?)),
    }
}

async fn all(api: &Api) -> Outcome<Vec<Value>> {
    Ok(api.rows(&format!("{PROVISIONING}/workspaces"), &Query::new()).await?.rows)
}

fn active(workspaces: &[Value]) -> Option<String> {
    workspaces.iter().find(|workspace| workspace["active"] == true).map(|workspace| text(workspace, "name"))
}

/// Runs `reeve workspace`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let base = format!("{PROVISIONING}/workspaces");
    let path = |name: &str| format!("{base}/{}", segment(name));
    match noun.verb {
        Verb::List => {
            let listing = api.rows(&base, &Query::new()).await?;
            session.show_list(&VIEW, &listing)
        }
        Verb::Show { name } => {
            let name = chosen(&api, name).await?;
            let workspace = api.get(&path(&name), &Query::new()).await?;
            session.show(&VIEW, &workspace)
        }
        Verb::Create { name, path, no_activate, defaults } => {
            let body = json!({ "name": name, "path": path, "activate": !no_activate, "defaults": defaults.body() });
            let workspace = api.post(&format!("{base}/create"), &body).await?;
            let words = format!(
                "workspace {name} made in {}\nnext:  reeve server create web --provider local",
                text(&workspace, "path")
            );
            session.done(&VIEW, &workspace, &words)
        }
        Verb::Use { name } => {
            let workspace = api.post(&format!("{}/activate", path(&name)), &json!({})).await?;
            session.done(&VIEW, &workspace, &format!("workspace {name} is the active one"))
        }
        Verb::Update { name, defaults } => {
            let name = chosen(&api, name).await?;
            let body = defaults.body();
            if body.is_empty() {
                return Err(Failure::usage("nothing to change", "add --provider, --plan, --zone or --image"));
            }
            let workspace = api.patch(&path(&name), &json!({ "defaults": body })).await?;
            session.done(&VIEW, &workspace, &format!("workspace {name} has other defaults"))
        }
        Verb::Delete { name, force } => {
            let query = vec![("force", force.to_string())];
            let gone = api.call(Method::DELETE, &path(&name), &query, None).await?;
            let mut words = format!("workspace {name} deleted");
            for server in gone["servers_left"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                words.push_str(&format!("\nwarning: {server} is not known any more and may be running still"));
            }
            session.told(&name, &gone, &words)
        }
        Verb::Key { name } => {
            let name = chosen(&api, name).await?;
            let key = api.get(&format!("{}/key", path(&name)), &Query::new()).await?;
            match session.format() {
                format @ (Format::Json | Format::Yaml) => document(&mut session.world.out, format, &key)?,
                Format::Table | Format::Wide | Format::Name => session.world.out.line(&text(&key, "public_key"))?,
            }
            Ok(OK)
        }
        Verb::Credential(verb) => credential(verb, session, &api).await,
    }
}

async fn credential(verb: Credential, session: &mut Session<'_>, api: &Api) -> Outcome<u8> {
    let path = async |workspace: Option<String>| -> Outcome<String> {
        Ok(format!("{PROVISIONING}/workspaces/{}/credentials", segment(&chosen(api, workspace).await?)))
    };
    match verb {
        Credential::List { workspace } => {
            let listing = api.rows(&path(workspace).await?, &Query::new()).await?;
            session.show_list(&CREDENTIALS, &listing)
        }
        Credential::Set { provider, fields, workspace } => {
            let path = path(workspace).await?;
            let body = read_fields(session, api, &provider, fields).await?;
            let credential =
                api.call(Method::PUT, &format!("{path}/{}", segment(&provider)), &Query::new(), Some(&body)).await?;
            session.done(&CREDENTIALS, &credential, &format!("credentials for {provider} are kept, sealed"))
        }
        Credential::Delete { provider, workspace } => {
            let path = path(workspace).await?;
            api.delete(&format!("{path}/{}", segment(&provider))).await?;
            session.said(&provider, &format!("credentials for {provider} deleted"))
        }
    }
}

/// The fields from the command line; what has no value there is asked for, so that it need not be in the shell's history.
async fn read_fields(session: &mut Session<'_>, api: &Api, provider: &str, given: Vec<String>) -> Outcome<Value> {
    let mut wanted = given;
    if wanted.is_empty() {
        let providers = api.rows(&format!("{PROVISIONING}/providers"), &Query::new()).await?;
        let known = providers.rows.iter().find(|known| known["name"] == provider);
        let known = known.ok_or_else(|| {
            Failure::usage(format!("no provider is called '{provider}'"), "`reeve provider list` shows which there are")
        })?;
        let fields = known["fields"].as_array().into_iter().flatten();
        wanted = fields.map(|field| text(field, "name")).collect();
    }
    let mut body = Map::new();
    for field in wanted {
        let (name, value) = match field.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (field.clone(), session.world.ask(&format!("{field} (empty: none)"), true)?),
        };
        if !value.is_empty() {
            body.insert(name, value.into());
        }
    }
    Ok(Value::Object(body))
}
