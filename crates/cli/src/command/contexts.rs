//! `reeve context`: which servers this user talks to.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::Session;
use crate::api::Listing;
use crate::context::{Context, Contexts, Store};
use crate::failure::{Failure, OK, Outcome};
use crate::target::{self, Auth};
use crate::view::{View, column, text};

/// Contexts.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List contexts
    #[command(visible_alias = "ls")]
    List,
    /// Use a context from now on
    Use {
        /// The context's name
        name: String,
    },
    /// Show the server that commands talk to, and where that was learnt
    #[command(visible_aliases = ["get", "current"])]
    Show {
        /// A context's name; what is in force when absent
        name: Option<String>,
    },
    /// Delete contexts
    #[command(visible_alias = "rm")]
    Delete {
        /// The contexts' names
        #[arg(required = true)]
        names: Vec<String>,
    },
}

static VIEW: View = View {
    plural: "contexts",
    columns: &[
        column("CURRENT", 6, 1, |context, _| {
            if context.get("current") == Some(&Value::Bool(true)) { "*".into() } else { String::new() }
        }),
        column("NAME", 9, 6, |context, _| text(context, "name")),
        column("URL", 8, 10, |context, _| text(context, "url")),
        column("USER", 7, 4, |context, _| text(context, "user")),
        column("LOGIN", 5, 4, |context, _| text(context, "login")),
        column("FROM", 1, 4, |context, _| text(context, "from")).details(),
        column("TLS", 3, 4, |context, _| text(context, "tls")),
    ],
    name: |context| text(context, "name"),
};

/// A context for display: no secret leaves the file.
fn row(name: &str, context: &Context, current: bool) -> Value {
    let login = match (&context.token, &context.session) {
        (Some(_), _) => "token",
        (None, Some(_)) => "password",
        (None, None) => "none",
    };
    json!({ "name": name, "url": context.url, "user": context.user, "login": login, "current": current, "tls": tls(context.insecure, context.ca_pem.is_some()) })
}

fn tls(insecure: bool, pinned: bool) -> &'static str {
    match (insecure, pinned) {
        (true, _) => "unchecked",
        (false, true) => "own CA",
        (false, false) => "platform",
    }
}

/// Runs `reeve context`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let store = Store::at_home(&session.world.vars)?;
    match noun.verb {
        Verb::List => {
            let contexts = store.read()?;
            let current = contexts.current.as_deref();
            let rows: Vec<Value> = contexts
                .contexts
                .iter()
                .map(|(name, context)| row(name, context, Some(name.as_str()) == current))
                .collect();
            session.show_list(&VIEW, &Listing { rows, total: None })
        }
        Verb::Use { name } => {
            let locked = store.lock().await?;
            let mut contexts = locked.read()?;
            let url = find(&contexts, &name)?.url.clone();
            contexts.current = Some(name.clone());
            locked.write(&contexts)?;
            session.said(&name, &format!("using context {name} ({url})"))
        }
        Verb::Show { name: Some(name) } => {
            let contexts = store.read()?;
            let row = row(&name, find(&contexts, &name)?, contexts.current.as_deref() == Some(name.as_str()));
            session.show(&VIEW, &row)
        }
        Verb::Show { name: None } => {
            let target = target::resolve(session.world, &session.globals)?;
            let (name, login) = match &target.auth {
                Auth::Nobody => (None, "none"),
                Auth::Token(_) => (None, "token"),
                Auth::Session { context, .. } => (Some(context.clone()), "password"),
            };
            let row = json!({
                "name": name, "url": target.url, "login": login, "current": true, "from": target.origin,
                "tls": tls(target.insecure, target.ca_pem.is_some()),
            });
            session.show(&VIEW, &row)
        }
        Verb::Delete { names } => {
            let locked = store.lock().await?;
            let mut contexts = locked.read()?;
            for name in &names {
                find(&contexts, name)?;
                contexts.contexts.remove(name);
            }
            contexts.current = contexts.current.filter(|current| contexts.contexts.contains_key(current));
            locked.write(&contexts)?;
            for name in &names {
                session.said(name, &format!("context {name} deleted"))?;
            }
            Ok(OK)
        }
    }
}

fn find<'a>(contexts: &'a Contexts, name: &str) -> Outcome<&'a Context> {
    contexts.contexts.get(name).ok_or_else(|| {
        Failure::usage(format!("there is no context '{name}'"), "`reeve context list` shows which there are")
    })
}
