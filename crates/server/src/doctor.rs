//! `reeve doctor`: looks at store, keys, clock, listeners and space, and says what to do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use futures::future::BoxFuture;
use reeve_domain::backup::schedule;
use reeve_domain::{App, job, server};
use reeve_surface_console::Check;
use reeve_types::Actor;
use reeve_types::job::JobState;
use reeve_types::server::{Server, ServerState};

use crate::config::{ServeArgs, Settings, is_private};
use crate::data_dir::DataDir;
use crate::say;

/// Less free space than this is a problem.
const LEAST_FREE_BYTES: u64 = 256 << 20;
/// The newest event may be this far in the future before the clock is suspect.
const CLOCK_SLACK_MS: i64 = 60_000;

/// A job that is due and waits longer says that the runners do not keep up.
const MOST_WAITING_MS: i64 = 60_000;

/// The checks of a running server.
pub struct Doctor {
    /// The domain.
    pub app: Arc<App>,
    /// The data directory.
    pub data: PathBuf,
    /// Surface to URL.
    pub listeners: BTreeMap<String, String>,
}

impl reeve_surface_console::Doctor for Doctor {
    fn run(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async move {
            vec![
                self.store().await,
                self.keys().await,
                self.clock().await,
                self.members().await,
                self.clock_skew().await,
                self.jobs().await,
                self.backups().await,
                self.listeners(),
                space(&self.data),
                permissions(&self.data),
            ]
        })
    }
}

impl Doctor {
    async fn store(&self) -> Check {
        let write = async {
            let mut tx = self.app.store.begin().await?;
            let sql = "INSERT INTO settings (name, value, updated_at) VALUES ('doctor', 'x', 0)
                ON CONFLICT (name) DO UPDATE SET value = excluded.value";
            tx.execute(sql, &[]).await?;
            tx.commit().await
        };
        match write.await {
            Ok(()) => ok("store", format!("{} takes durable writes", self.app.store.backend_name())),
            Err(error) => bad(
                "store",
                error.message,
                "free space on the disk, or see the server's log for what the database said",
            ),
        }
    }

    async fn keys(&self) -> Check {
        match reeve_domain::seal::rotate::check_keys(&self.app).await {
            Ok(_) => ok("keys", format!("the newest sealing key is {}", self.app.seal.newest_id())),
            Err(error) => {
                bad("keys", error.message, "put the server.json with the missing key back into the data directory")
            }
        }
    }

    async fn clock(&self) -> Check {
        let newest = async {
            let mut tx = self.app.store.read().await?;
            tx.one("SELECT coalesce(max(at), 0) FROM events", &[]).await?.get::<i64>()
        };
        match newest.await {
            Ok(newest) if newest / 1000 - self.app.now().0 / 1000 > CLOCK_SLACK_MS => bad(
                "clock",
                "the newest event is in the future".into(),
                "set this machine's clock (systemctl status systemd-timesyncd)",
            ),
            Ok(_) => ok("clock", format!("it is {}", self.app.now().rfc3339_secs())),
            Err(error) => bad("clock", error.message, "see the check of the store"),
        }
    }

    async fn members(&self) -> Check {
        if !self.app.store.is_shared() {
            return ok("members", "one server, on its own SQLite file".into());
        }
        let (servers, now) = match server::list(&self.app, &Actor::system()).await {
            Ok(found) => found,
            Err(error) => return bad("members", error.message, "see the check of the store"),
        };
        let gone = |s: &&Server| match s.state {
            ServerState::Member => s.lease_until < now,
            ServerState::Expelled => true,
            ServerState::Left => false,
        };
        let shown = |s: &Server| {
            let seconds = now.ms_since(s.last_seen_at) / 1000;
            format!("{} ({} agents, seen {seconds} s ago)", s.name(), s.agents)
        };
        let members: Vec<String> = servers.iter().filter(|s| s.state == ServerState::Member).map(shown).collect();
        let gone: Vec<String> = servers.iter().filter(gone).map(Server::name).collect();
        let list = format!("{} of {}: {}", members.len(), servers.len(), members.join(", "));
        if gone.is_empty() {
            return ok("members", list);
        }
        let detail = format!("{list}; gone without a word: {}", gone.join(", "));
        bad("members", detail, "start it again, or see its log; one that stays away is forgotten after a while")
    }

    async fn clock_skew(&self) -> Check {
        let servers = match server::list(&self.app, &Actor::system()).await {
            Ok((servers, _)) => servers,
            Err(error) => return bad("clock skew", error.message, "see the check of the store"),
        };
        let members = servers.iter().filter(|s| s.state == ServerState::Member);
        let off: Vec<String> = members
            .filter(|s| s.clock_ahead_us.abs() > server::CLOCK_WARN_US)
            .map(|s| format!("{} by {} ms", s.name(), s.clock_ahead_us / 1000))
            .collect();
        if off.is_empty() {
            return ok("clock skew", "the servers' clocks agree with the database's".into());
        }
        let detail = format!("clocks ahead of the database's: {}", off.join(", "));
        bad(
            "clock skew",
            detail,
            "set the clocks of these machines and of the database's (NTP); leases go by the database's",
        )
    }

    async fn jobs(&self) -> Check {
        let health = match job::health(&self.app).await {
            Ok(health) => health,
            Err(error) => return bad("jobs", error.message, "see the check of the store"),
        };
        if let Some((name, error)) = health.failing.first() {
            let (others, name) = (health.failing.len() - 1, *name);
            let more = if others == 0 { String::new() } else { format!(", and {others} more") };
            let fix = "reeve job reconcilers and reeve job schedules show them all; the server's log has the cause";
            return bad("jobs", format!("the last turn of {name} failed: {error}{more}"), fix);
        }
        let (waiting, running) = (health.count(JobState::Queued), health.count(JobState::Running));
        let detail = format!("{waiting} waiting, {running} running, {} failed within a day", health.failed);
        if health.oldest_waiting_ms > MOST_WAITING_MS {
            let detail = format!("{detail}; the oldest has waited for {} s", health.oldest_waiting_ms / 1000);
            return bad("jobs", detail, "reeve job list --state queued,running shows what is in the way");
        }
        ok("jobs", detail)
    }

    async fn backups(&self) -> Check {
        let status = match schedule::status(&self.app, &Actor::system()).await {
            Ok(status) => status,
            Err(error) => return bad("backups", error.message, "see the checks of the store and of the keys"),
        };
        let Some(schedule) = status.schedule else {
            let detail = "the server makes none by itself; `reeve backup schedule set` changes that";
            return ok("backups", detail.to_owned());
        };
        let to = schedule.to;
        let last = status.outcome.last_success;
        let made = last.as_ref().map_or_else(|| "none yet".to_owned(), |last| last.at.rfc3339_secs());
        if let Some(failure) = status.outcome.last_failure {
            let at = failure.at.rfc3339_secs();
            let detail = format!("the last one to {to} failed at {at}: {}; the newest is {made}", failure.error);
            return bad("backups", detail, "correct that, then `reeve backup schedule run`");
        }
        if let Some(due) = status.late_since {
            let detail = format!("one to {to} was due at {}; the newest is {made}", due.rfc3339_secs());
            return bad("backups", detail, "`reeve job list --kind backup.create` shows what became of it");
        }
        if let Some(why) = last.and_then(|last| last.not_deleted) {
            let detail = format!("old ones in {to} could not be deleted: {why}");
            return bad("backups", detail, "allow the server to delete there, or delete them by hand");
        }
        let next = status.next_at.map_or_else(|| "never".to_owned(), |at| at.rfc3339_secs());
        ok("backups", format!("the newest in {to} is {made}, the next one comes at {next}"))
    }

    fn listeners(&self) -> Check {
        let list: Vec<String> = self.listeners.iter().map(|(surface, url)| format!("{surface} {url}")).collect();
        if list.is_empty() {
            return bad("listeners", "every listener is off".into(), "open one, as --listen console=127.0.0.1:7400");
        }
        ok("listeners", list.join(", "))
    }
}

fn space(data: &Path) -> Check {
    match rustix::fs::statvfs(data) {
        Ok(fs) => {
            let free = fs.f_bavail.saturating_mul(fs.f_frsize);
            let detail = format!("{} MiB of space free in {}", free >> 20, data.display());
            if free < LEAST_FREE_BYTES {
                bad("space", detail, "free space, or move the data directory to a larger disk")
            } else {
                ok("space", detail)
            }
        }
        Err(error) => {
            bad("space", format!("{} cannot be looked at: {error}", data.display()), "check the data directory")
        }
    }
}

fn permissions(data: &Path) -> Check {
    if is_private(data) {
        ok("permissions", format!("only its owner can enter {}", data.display()))
    } else {
        bad("permissions", format!("others can enter {}", data.display()), "chmod 700 the data directory")
    }
}

fn ok(name: &str, detail: String) -> Check {
    Check { name: name.into(), ok: true, detail, fix: None }
}

fn bad(name: &str, detail: String, fix: &str) -> Check {
    Check { name: name.into(), ok: false, detail, fix: Some(fix.into()) }
}

/// `reeve doctor --local`: what can be said of a data directory without a running server.
pub async fn run_locally(data: Option<PathBuf>) -> ExitCode {
    let settings = match Settings::load(&ServeArgs { data, ..ServeArgs::default() }) {
        Ok(settings) => settings,
        Err(error) => {
            say::error(&format!("{error:#}"));
            return ExitCode::from(2);
        }
    };
    // To look must not make one.
    if !settings.data.is_dir() {
        say::error(&format!(
            "there is no data directory {}; name it with --data, or make one with `reeve up`",
            settings.data.display()
        ));
        return ExitCode::FAILURE;
    }
    let mut checks = vec![space(&settings.data), permissions(&settings.data)];
    let in_use = DataDir::is_in_use(&settings.data);
    checks.push(ok("lock", if in_use { "a server runs on it" } else { "no server runs on it" }.into()));
    checks.push(if settings.store.is_none() && !settings.database().exists() {
        bad("store", format!("there is no database {}", settings.database().display()), "start a server on it once")
    } else {
        store_without_server(&settings).await
    });
    for check in &checks {
        say::line(&format!("{:4} {:12} {}", if check.ok { "ok" } else { "BAD" }, check.name, check.detail));
        if let Some(fix) = &check.fix {
            say::line(&format!("                  -> {fix}"));
        }
    }
    if checks.iter().all(|c| c.ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn store_without_server(settings: &Settings) -> Check {
    match reeve_store::Store::open_unmigrated(&settings.location()).await {
        Ok(store) => match reeve_store::migrate::current(&store).await {
            Ok(number) => {
                ok("store", format!("schema {number}, this version knows {}", reeve_store::migrate::newest()))
            }
            Err(error) => bad("store", error.to_string(), "free space on the disk, or restore a backup"),
        },
        Err(error) => bad("store", error.to_string(), "check the path or the URL of the store"),
    }
}
