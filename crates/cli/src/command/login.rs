//! `reeve login` and `reeve logout`.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use crate::Session;
use crate::api::{Api, Query, login_session};
use crate::context::{Context, Store};
use crate::failure::{Failure, OK, Outcome};
use crate::target::{Auth, DEFAULT_URL, Target, normal_url, read_ca};
use crate::view::text;

/// Log in.
#[derive(Debug, Clone, Args)]
pub struct Login {
    /// Base URL of the server's console listener
    #[arg(value_name = "URL")]
    server: Option<String>,
    /// The user to log in as; asked for when absent
    #[arg(short, long)]
    username: Option<String>,
    /// The password; asked for (or read from standard input) when absent
    #[arg(long)]
    password: Option<String>,
    /// The context's name; the server's host and port when absent
    #[arg(long)]
    name: Option<String>,
}

/// Log out.
#[derive(Debug, Clone, Args)]
pub struct Logout {}

/// Runs `reeve login`.
pub async fn login(args: Login, session: &mut Session<'_>) -> Outcome<u8> {
    let store = Store::at_home(&session.world.vars)?;
    let contexts = store.read()?;
    let globals = &session.globals;
    let known = globals.context.as_ref().or(contexts.current.as_ref()).and_then(|name| contexts.contexts.get(name));
    let given =
        args.server.or_else(|| globals.url.clone()).or_else(|| session.world.var("REEVE_URL").map(str::to_owned));
    let url = match given {
        Some(url) => normal_url(&url)?,
        None => known.map_or_else(|| DEFAULT_URL.to_owned(), |context| context.url.clone()),
    };
    let before = known.filter(|context| context.url == url);
    let ca_pem = match &globals.ca {
        Some(file) => Some(read_ca(Path::new(file))?),
        None => before.and_then(|context| context.ca_pem.clone()),
    };
    let mut context = Context { url: url.clone(), ca_pem, insecure: globals.insecure, ..Context::default() };
    let name = args.name.or_else(|| globals.context.clone()).unwrap_or_else(|| name_of(&url));
    let now = session.world.now;
    let client = |auth: Auth| {
        Api::new(
            &Target {
                url: url.clone(),
                auth,
                ca_pem: context.ca_pem.clone(),
                insecure: context.insecure,
                origin: "login".to_owned(),
            },
            now,
        )
    };
    if let Some(token) = session.globals.token.clone() {
        let me = client(Auth::Token(token.clone()))?.get("/api/me", &Query::new()).await?;
        context.user = Some(text(&me, "name"));
        context.token = Some(token);
    } else {
        let api = client(Auth::Nobody)?;
        let username = match args.username {
            Some(username) => username,
            None => session.world.ask("Username", false)?,
        };
        let password = match args.password {
            Some(password) => password,
            None => session.world.ask("Password", true)?,
        };
        let answer = api.post("/api/auth/login", &json!({ "username": username, "password": password })).await;
        let answer = answer.map_err(|failure| wrong_password(failure, &username))?;
        context.session = Some(login_session(&answer).ok_or_else(|| Failure::lacking("tokens"))?);
        context.user = Some(answer.pointer("/user/username").and_then(Value::as_str).unwrap_or(&username).to_owned());
    }
    if context.insecure {
        session
            .world
            .out
            .note("warning: the server's certificate is not checked, now or later; better give it with --ca FILE")?;
    }
    let words = format!("logged in to {url} as {} (context {name})", context.user.as_deref().unwrap_or("?"));
    let locked = store.lock().await?;
    let mut contexts = locked.read()?;
    contexts.contexts.insert(name.clone(), context);
    contexts.current = Some(name.clone());
    locked.write(&contexts)?;
    session.said(&name, &words)
}

/// A wrong password is not an expired login.
fn wrong_password(failure: Failure, username: &str) -> Failure {
    match failure {
        Failure::Refused(refusal) if refusal.status == 401 => Failure::local_with(
            format!("the server does not know this username and password ({username})"),
            "try again; the first administrator's password is in credentials.json in the server's data directory",
        ),
        other => other,
    }
}

/// The name of a new context.
fn name_of(url: &str) -> String {
    let bare = url.split_once("://").map_or(url, |(_, rest)| rest);
    bare.split('/').next().unwrap_or(bare).to_owned()
}

/// Runs `reeve logout`.
pub async fn logout(_: Logout, session: &mut Session<'_>) -> Outcome<u8> {
    let store = Store::at_home(&session.world.vars)?;
    let contexts = store.read()?;
    let Some(name) = session.globals.context.clone().or(contexts.current) else {
        session.world.out.note("not logged in anywhere")?;
        return Ok(OK);
    };
    let locked = store.lock().await?;
    let mut contexts = locked.read()?;
    let Some(context) = contexts.contexts.get_mut(&name) else {
        return Err(Failure::usage(
            format!("there is no context '{name}'"),
            "`reeve context list` shows which there are",
        ));
    };
    let login = context.session.take();
    context.token = None;
    let target = Target {
        url: context.url.clone(),
        auth: Auth::Nobody,
        ca_pem: context.ca_pem.clone(),
        insecure: context.insecure,
        origin: format!("context {name}"),
    };
    locked.write(&contexts)?;
    drop(locked);
    if let Some(login) = login {
        let api = Api::new(&target, session.world.now)?;
        let told = api.post("/api/auth/logout", &json!({ "refresh_token": login.refresh_token })).await;
        if let Err(failure) = told {
            session.world.out.note(&format!("warning: the server could not be told: {failure}"))?;
        }
    }
    session.said(&name, &format!("logged out of context {name}"))
}
