//! Which server a command talks to, and as whom: options, then `REEVE_URL` and `REEVE_TOKEN`, then the context, then a
//! server whose data directory this user can read.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::args::Globals;
use crate::context::{Context, Session, Store};
use crate::failure::{Failure, Outcome};
use crate::world::World;

/// The URL that `reeve up` listens on by default.
pub const DEFAULT_URL: &str = "http://127.0.0.1:7400";

/// A server and the credentials for it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The base URL, without a slash at the end.
    pub url: String,
    /// The credentials.
    pub auth: Auth,
    /// Certificates to trust instead of the platform's.
    pub ca_pem: Option<String>,
    /// Whether the server's certificate goes unchecked.
    pub insecure: bool,
    /// Where this was learnt, for `doctor` and `context show`.
    pub origin: String,
}

/// The credentials of a request.
#[derive(Debug, Clone)]
pub enum Auth {
    /// None at all.
    Nobody,
    /// A token that does not change.
    Token(String),
    /// The tokens of a login, renewed in the context's file.
    Session {
        /// Where renewed tokens are kept.
        store: Store,
        /// The context's name.
        context: String,
        /// The tokens.
        session: Session,
    },
}

/// Finds the server for a command.
pub fn resolve(world: &World, globals: &Globals) -> Outcome<Target> {
    let url = globals.url.clone().or_else(|| world.var("REEVE_URL").map(str::to_owned));
    let token = globals.token.clone().or_else(|| world.var("REEVE_TOKEN").map(str::to_owned));
    let mut target = match &url {
        Some(url) => at_url(world, globals, &normal_url(url)?)?,
        None => known(world, globals, token.is_some())?,
    };
    if let Some(token) = token {
        target.auth = Auth::Token(token);
    }
    if let Some(file) = &globals.ca {
        target.ca_pem = Some(read_ca(file)?);
    }
    target.insecure |= globals.insecure;
    Ok(target)
}

/// Reads a file of certificates.
pub fn read_ca(file: &Path) -> Outcome<String> {
    std::fs::read_to_string(file).map_err(|error| {
        Failure::usage(format!("cannot read {}: {error}", file.display()), "give --ca a readable PEM file")
    })
}

/// A base URL without a slash at the end; a bare `host:port` means http.
pub fn normal_url(text: &str) -> Outcome<String> {
    let bad = || Failure::usage(format!("'{text}' is not the URL of a server"), format!("write it like {DEFAULT_URL}"));
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url: reqwest::Url = full.parse().map_err(|_| bad())?;
    if !matches!(url.scheme(), "http" | "https")
        || url.host_str().is_none()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(bad());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn at_url(world: &World, globals: &Globals, url: &str) -> Outcome<Target> {
    let store = Store::at_home(&world.vars).ok();
    if let Some(store) = &store {
        let contexts = store.read()?;
        let preferred = context_name(world, globals).or_else(|| contexts.current.clone());
        let of_url = |name: &String| contexts.contexts.get(name).is_some_and(|context| context.url == url);
        let name = preferred.filter(&of_url).or_else(|| contexts.contexts.keys().find(|name| of_url(name)).cloned());
        if let Some((name, context)) =
            name.and_then(|name| contexts.contexts.get(&name).map(|context| (name.clone(), context)))
        {
            return Ok(of_context(store, &name, context));
        }
    }
    if let Some(local) = local(world)
        && local.url == url
    {
        return Ok(local);
    }
    Ok(Target {
        url: url.to_owned(),
        auth: Auth::Nobody,
        ca_pem: None,
        insecure: false,
        origin: "the given URL".to_owned(),
    })
}

fn known(world: &World, globals: &Globals, has_token: bool) -> Outcome<Target> {
    let named = context_name(world, globals);
    // A data directory named on purpose says more than whichever context happens to be current.
    // Never on to another server when it is silent: what was meant for this one would happen there.
    if named.is_none()
        && let Some(folder) = world.var("REEVE_DATA")
    {
        return local_in(Path::new(folder)).ok_or_else(|| Failure::Unreachable {
            url: folder.to_owned(),
            why: "REEVE_DATA names it, and no server runs there whose run.json and credentials.json can be read"
                .to_owned(),
            next: format!("start one with `reeve up --data {folder}`, or unset REEVE_DATA"),
        });
    }
    if let Ok(store) = Store::at_home(&world.vars) {
        let contexts = store.read()?;
        if let Some(name) = named.clone().or_else(|| contexts.current.clone()) {
            return match contexts.contexts.get(&name) {
                Some(context) => Ok(of_context(&store, &name, context)),
                None => Err(Failure::usage(
                    format!("there is no context '{name}'"),
                    "`reeve context list` shows which there are",
                )),
            };
        }
    } else if let Some(name) = named {
        return Err(Failure::usage(format!("there is no context '{name}'"), "set HOME or XDG_CONFIG_HOME"));
    }
    match local(world) {
        Some(target) => Ok(target),
        None if has_token => Ok(Target {
            url: DEFAULT_URL.to_owned(),
            auth: Auth::Nobody,
            ca_pem: None,
            insecure: false,
            origin: "the default URL".to_owned(),
        }),
        None => Err(Failure::NoServer {
            next: format!("log in with `reeve login {DEFAULT_URL}`, or start a server here with `reeve up`"),
        }),
    }
}

fn context_name(world: &World, globals: &Globals) -> Option<String> {
    globals.context.clone().or_else(|| world.var("REEVE_CONTEXT").map(str::to_owned))
}

fn of_context(store: &Store, name: &str, context: &Context) -> Target {
    let auth = match (&context.token, &context.session) {
        (Some(token), _) => Auth::Token(token.clone()),
        (None, Some(session)) => {
            Auth::Session { store: store.clone(), context: name.to_owned(), session: session.clone() }
        }
        (None, None) => Auth::Nobody,
    };
    Target {
        url: context.url.clone(),
        auth,
        ca_pem: context.ca_pem.clone(),
        insecure: context.insecure,
        origin: format!("context {name}"),
    }
}

/// The folders where a local server may keep its data, the most specific first.
fn data_folders(world: &World) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = world.var("REEVE_DATA").map(PathBuf::from).into_iter().collect();
    folders.push(world.cwd.join("reeve-data"));
    folders.extend(world.var("XDG_DATA_HOME").map(|base| Path::new(base).join("reeve")));
    folders.extend(world.var("HOME").map(|home| Path::new(home).join(".local/share/reeve")));
    folders.push(world.system_data.clone());
    folders
}

fn local(world: &World) -> Option<Target> {
    data_folders(world).iter().find_map(|folder| local_in(folder))
}

fn local_in(folder: &Path) -> Option<Target> {
    let read =
        |name: &str| -> Option<Value> { serde_json::from_str(&std::fs::read_to_string(folder.join(name)).ok()?).ok() };
    let run = read("run.json")?;
    let credentials = read("credentials.json")?;
    let url = run
        .pointer("/listeners/console")
        .and_then(Value::as_str)
        .or_else(|| credentials.get("url").and_then(Value::as_str))?;
    let url = normal_url(&url.replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//[::1]")).ok()?;
    let token = credentials.get("master_key").and_then(Value::as_str)?;
    // Whoever may read the credentials may believe the certificate that stands beside them.
    let certificate = run.get("tls_certificate").and_then(Value::as_str);
    let ca_pem = certificate.and_then(|file| std::fs::read_to_string(file).ok());
    Some(Target {
        url,
        auth: Auth::Token(token.to_owned()),
        ca_pem,
        insecure: false,
        origin: format!("the server in {}", folder.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_normalised() {
        assert_eq!(normal_url("http://h:7400/").unwrap(), "http://h:7400");
        assert_eq!(normal_url("h:7400").unwrap(), "http://h:7400");
        assert_eq!(normal_url("https://h/reeve/").unwrap(), "https://h/reeve");
        for bad in ["ftp://h", "http://", "http://h?x=1", "a b"] {
            assert!(normal_url(bad).is_err(), "{bad}");
        }
    }
}
