//! The file of contexts: which servers this user talks to, and as whom. Readable by the owner only, replaced atomically,
//! and locked while it changes, so that two commands at once lose nothing.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::{Failure, Outcome};

/// All contexts and which one is in use.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Contexts {
    /// The name of the context in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// The contexts by name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

/// One server and the credentials for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Context {
    /// The base URL of the console listener.
    pub url: String,
    /// The name of the user or token, for display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// An API token or static key, which needs no refreshing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The tokens of a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// Certificates to trust, as PEM text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// Whether the server's certificate goes unchecked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
}

/// The tokens that a login gave.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// The short-lived bearer token.
    pub access_token: String,
    /// When it expires; RFC 3339 text or seconds since 1970.
    #[serde(default)]
    pub access_expires_at: Value,
    /// The single-use token for the next pair.
    pub refresh_token: String,
    /// When that one expires.
    #[serde(default)]
    pub refresh_expires_at: Value,
}

impl Session {
    /// Whether the access token is still good for the length of a request.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        const MARGIN_S: i64 = 20;
        instant(&self.access_expires_at).is_none_or(|at| at.as_second() > now.as_second() + MARGIN_S)
    }

    /// Whether the refresh token is certainly no longer worth trying.
    pub fn is_over(&self, now: Timestamp) -> bool {
        instant(&self.refresh_expires_at).is_some_and(|at| at <= now)
    }
}

fn instant(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(seconds) => Timestamp::from_second(seconds.as_i64()?).ok(),
        _ => None,
    }
}

/// Where the contexts are kept.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
}

/// Holds off other commands while the file changes.
#[derive(Debug)]
pub struct Locked {
    store: Store,
    /// Held only for its lock, which ends with it.
    _lock: File,
}

impl Store {
    /// `$XDG_CONFIG_HOME/reeve/contexts.json`, or below `~/.config`.
    pub fn at_home(vars: &BTreeMap<String, String>) -> Outcome<Self> {
        let set = |name: &str| vars.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = set("XDG_CONFIG_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| set("HOME").map(|home| home.join(".config")))
            .ok_or_else(|| Failure::local_with("no home directory is known", "set HOME or XDG_CONFIG_HOME"))?;
        Ok(Self { path: base.join("reeve").join("contexts.json") })
    }

    /// Reads the file; an absent one has no contexts.
    pub fn read(&self) -> Outcome<Contexts> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Contexts::default()),
            Err(error) => return Err(self.broken(&error.to_string())),
        };
        serde_json::from_str(&text).map_err(|error| self.broken(&error.to_string()))
    }

    /// Waits until no other command changes the file.
    pub async fn lock(&self) -> Outcome<Locked> {
        let store = self.clone();
        // Another command may hold the lock for a whole request: that wait must not stop the runtime.
        tokio::task::spawn_blocking(move || store.lock_blocking())
            .await
            .map_err(|error| Failure::local(error.to_string()))?
    }

    fn lock_blocking(self) -> Outcome<Locked> {
        let broken = |error: std::io::Error| self.broken(&error.to_string());
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(broken)?;
        }
        let lock = private().truncate(false).open(self.path.with_extension("lock")).map_err(broken)?;
        lock.lock().map_err(broken)?;
        Ok(Locked { _lock: lock, store: self.clone() })
    }

    fn broken(&self, why: &str) -> Failure {
        Failure::local_with(
            format!("cannot use {}: {why}", self.path.display()),
            "repair or remove the file, then run `reeve login` again",
        )
    }
}

impl Locked {
    /// Reads the contexts as they are under the lock.
    pub fn read(&self) -> Outcome<Contexts> {
        self.store.read()
    }

    /// Replaces the file: whole, durable, and readable by the owner only.
    pub fn write(&self, contexts: &Contexts) -> Outcome<()> {
        let path = &self.store.path;
        let broken = |error: std::io::Error| self.store.broken(&error.to_string());
        let text = serde_json::to_string_pretty(contexts).map_err(|error| Failure::local(error.to_string()))?;
        let draft = path.with_extension("new");
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(broken(error)),
            _ => {}
        }
        let mut file = private().create_new(true).open(&draft).map_err(broken)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(broken)?;
        fs::rename(&draft, path).map_err(broken)
    }
}

/// Opens for writing, creating with the rights of the owner alone.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(home: &std::path::Path) -> Store {
        Store::at_home(&BTreeMap::from([("HOME".to_owned(), home.display().to_string())])).unwrap()
    }

    #[tokio::test]
    async fn contexts_are_kept_for_the_owner_only() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        assert_eq!(store.read().unwrap(), Contexts::default());
        let mut contexts = Contexts { current: Some("a".into()), ..Contexts::default() };
        contexts.contexts.insert("a".into(), Context { url: "http://h".into(), ..Context::default() });
        store.lock().await.unwrap().write(&contexts).unwrap();
        store.lock().await.unwrap().write(&contexts).unwrap();
        assert_eq!(store.read().unwrap(), contexts);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&store.path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn changes_wait_for_each_other() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..20 {
            let store = store.clone();
            tasks.spawn(async move {
                let locked = store.lock().await.unwrap();
                let mut contexts = locked.read().unwrap();
                contexts.contexts.insert(format!("c{i}"), Context::default());
                tokio::task::yield_now().await;
                locked.write(&contexts).unwrap();
            });
        }
        tasks.join_all().await;
        assert_eq!(store.read().unwrap().contexts.len(), 20);
    }

    #[test]
    fn a_broken_file_says_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        fs::create_dir_all(store.path.parent().unwrap()).unwrap();
        fs::write(&store.path, "{").unwrap();
        let failure = store.read().unwrap_err();
        assert!(failure.to_string().contains("contexts.json") && failure.next_step().unwrap().contains("reeve login"));
    }

    #[test]
    fn freshness_reads_text_and_seconds() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let session =
            |at: Value| Session { access_expires_at: at.clone(), refresh_expires_at: at, ..Session::default() };
        assert!(session("2026-01-01T00:01:00Z".into()).is_fresh(now));
        assert!(!session("2026-01-01T00:00:10Z".into()).is_fresh(now));
        assert!(!session((now.as_second() + 5).into()).is_fresh(now));
        assert!(session(Value::Null).is_fresh(now));
        assert!(session("2025-01-01T00:00:00Z".into()).is_over(now) && !session(Value::Null).is_over(now));
    }
}
