//! `reeve backup schedule` and `reeve backup download`: backups that a server makes, asked for over its API.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueHint};
use reqwest::Method;
use reqwest::header::CONTENT_DISPOSITION;
use serde_json::{Map, Value, json};

use super::backup::{KeyArgs, KeyText, key_text};
use super::job;
use crate::Session;
use crate::api::{Listing, Query};
use crate::failure::{Failure, OK, Outcome};
use crate::view::{View, age, column, text};
use crate::world::World;

const SCHEDULE: &str = "/api/backups/schedule";

/// `reeve backup download`
#[derive(Debug, Clone, Args)]
pub struct Download {
    /// File, or `-` for standard output [default: a name with date and time, here]
    #[arg(value_hint = ValueHint::AnyPath)]
    pub to: Option<String>,
    /// The key.
    #[command(flatten)]
    pub key: KeyArgs,
}

/// `reeve backup schedule`
#[derive(Debug, Clone, Subcommand)]
pub enum ScheduleVerb {
    /// Show when the server backs itself up, and how that goes
    #[command(visible_alias = "get")]
    Show,
    /// Set when and where to; the place is tried at once
    Set(Box<Set>),
    /// End it; backups that were made stay
    Off,
    /// Make a backup as the schedule would, at once; follows it to its end
    Run {
        /// Start it and leave
        #[arg(long)]
        detach: bool,
    },
    /// List the backups that the schedule made
    #[command(visible_alias = "ls")]
    List,
}

/// `reeve backup schedule set`
#[derive(Debug, Clone, Args)]
pub struct Set {
    /// When, as a cron pattern in UTC: `0 3 * * *`, or @daily
    #[arg(long, value_name = "PATTERN", default_value = "0 3 * * *")]
    pub cron: String,
    /// A folder on the server as an absolute path, or s3://BUCKET/PREFIX [default: as it is set]
    #[arg(long, value_name = "PLACE")]
    pub to: Option<String>,
    /// Keep this many; 0 keeps all
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub keep: u32,
    /// Delete those older than this many days as well; the newest is kept in any case
    #[arg(long, value_name = "DAYS")]
    pub keep_days: Option<u32>,
    /// The key. One that is set stays when none is given.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Give the server this shell's AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL; otherwise
    /// it goes by what is set, or by its own environment
    #[arg(long)]
    pub with_credentials: bool,
}

static VIEW: View = View {
    plural: "schedules",
    columns: &[
        column("WHEN", 9, 6, |status, _| of(status, "/schedule/cron")),
        column("TO", 9, 6, |status, _| of(status, "/schedule/to")),
        column("KEEP", 7, 4, |status, _| keep(status)),
        column("SEALED WITH", 4, 6, |status, _| of(status, "/schedule/key")),
        column("NEXT", 7, 6, |status, _| text(status, "next_at")),
        column("LAST BACKUP", 7, 6, |status, _| last(status)),
        column("FAILURE", 6, 6, |status, _| failure(status)),
        column("LATE SINCE", 5, 6, |status, _| text(status, "late_since")),
        column("NOT DELETED", 1, 6, |status, _| of(status, "/last_success/not_deleted")).details(),
        column("BUCKET ACCESS", 1, 6, |status, _| of(status, "/schedule/s3/access_key_id")).details(),
        column("ENDPOINT", 1, 6, |status, _| of(status, "/schedule/s3/endpoint")).details(),
        column("SET BY", 1, 6, |status, _| of(status, "/schedule/set_by")).details(),
        column("SET AT", 1, 6, |status, _| of(status, "/schedule/set_at")).details(),
    ],
    name: |status| of(status, "/schedule/label"),
};

static BACKUPS: View = View {
    plural: "backups",
    columns: &[
        column("NAME", 9, 12, |backup, _| text(backup, "name")),
        column("BYTES", 7, 6, |backup, _| text(backup, "bytes")),
        column("AGE", 6, 3, |backup, now| age(backup, "modified_at", now)),
    ],
    name: |backup| text(backup, "name"),
};

fn of(status: &Value, pointer: &str) -> String {
    match status.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

fn keep(status: &Value) -> String {
    match (status.pointer("/schedule/keep_last"), status.pointer("/schedule/keep_days")) {
        (Some(Value::Number(last)), Some(Value::Number(days))) => format!("the last {last}, {days} days"),
        (Some(Value::Number(last)), _) => format!("the last {last}"),
        (_, Some(Value::Number(days))) => format!("{days} days"),
        _ => "all".to_owned(),
    }
}

fn last(status: &Value) -> String {
    match status.pointer("/last_success/at") {
        Some(Value::String(at)) => format!("{at} {}", of(status, "/last_success/name")),
        _ => "-".to_owned(),
    }
}

fn failure(status: &Value) -> String {
    match status.pointer("/last_failure/at") {
        Some(Value::String(at)) => format!("{at}: {}", of(status, "/last_failure/error")),
        _ => "-".to_owned(),
    }
}

/// Runs `reeve backup schedule`.
pub async fn run(verb: ScheduleVerb, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    match verb {
        ScheduleVerb::Show => {
            let status = api.get(SCHEDULE, &Query::new()).await?;
            if status["schedule"].is_null() && session.format().is_table() {
                session.world.out.note(
                    "the server makes no backups by itself\nnext:  reeve backup schedule set --to /srv/backups --key-file FILE",
                )?;
                return Ok(OK);
            }
            session.show(&VIEW, &status)
        }
        ScheduleVerb::Set(args) => {
            let before = api.get(SCHEDULE, &Query::new()).await?;
            let body = wanted(&args, &before, session.world)?;
            let mut answer = api.call(Method::PUT, SCHEDULE, &Query::new(), Some(&body)).await?;
            let status = answer["data"].take();
            let words =
                format!("backups go to {}, the next at {}", of(&status, "/schedule/to"), text(&status, "next_at"));
            session.done(&VIEW, &status, &words)
        }
        ScheduleVerb::Off => {
            api.delete(SCHEDULE).await?;
            session.said("off", "the server makes no more backups by itself; those that were made stay")
        }
        ScheduleVerb::Run { detach } => {
            let started = api.post("/api/backups", &json!({})).await?;
            let id = started.get("id").and_then(Value::as_str);
            let id = id.ok_or_else(|| Failure::lacking("job id"))?;
            if detach {
                return session.told(id, &started, &format!("the backup is being made\nnext:  reeve job logs -f {id}"));
            }
            job::tail(session, id, 0).await
        }
        ScheduleVerb::List => {
            let answer = api.get("/api/backups", &Query::new()).await?;
            let rows = answer["backups"].as_array().cloned().unwrap_or_default();
            if rows.is_empty() {
                session.world.out.note(&format!("no scheduled backups in {}", text(&answer, "place")))?;
            }
            session.show_list(&BACKUPS, &Listing { rows, total: None })
        }
    }
}

/// The schedule in the API's words. The key is asked for when none is set and none was given.
fn wanted(args: &Set, before: &Value, world: &mut World) -> Outcome<Value> {
    let now = before.pointer("/schedule/to").and_then(Value::as_str).map(str::to_owned);
    let to = args.to.clone().or(now).ok_or_else(|| {
        Failure::usage("where are the backups to go?", "give --to with a folder on the server or s3://BUCKET/PREFIX")
    })?;
    let mut body = Map::new();
    let keep = (args.keep > 0).then_some(args.keep);
    for (field, value) in [
        ("cron", json!(args.cron)),
        ("to", json!(to)),
        ("keep_last", json!(keep)),
        ("keep_days", json!(args.keep_days)),
    ] {
        body.insert(field.to_owned(), value);
    }
    let is_given = args.key.passphrase_file.is_some() || args.key.key_file.is_some();
    if is_given || before["schedule"].is_null() {
        let (field, text) = key_field(&args.key, world)?;
        body.insert(field.to_owned(), text.into());
    }
    if args.with_credentials {
        let var = |names: &[&str]| names.iter().find_map(|name| world.var(name)).map(str::to_owned);
        let access = json!({
            "endpoint": var(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
            "region": var(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
            "access_key_id": var(&["AWS_ACCESS_KEY_ID"]),
            "secret_access_key": var(&["AWS_SECRET_ACCESS_KEY"]),
        });
        if access["access_key_id"].is_null() || access["secret_access_key"].is_null() {
            let what = "this shell has no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
            return Err(Failure::usage(what, "set them, or leave out --with-credentials"));
        }
        body.insert("s3".to_owned(), access);
    }
    Ok(Value::Object(body))
}

fn key_field(args: &KeyArgs, world: &mut World) -> Outcome<(&'static str, String)> {
    Ok(match key_text(args, true, world)? {
        KeyText::Passphrase(text) => ("passphrase", text),
        KeyText::File(text) => ("key_file", text),
    })
}

/// Runs `reeve backup download`.
pub async fn download(args: Download, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let (field, key) = key_field(&args.key, session.world)?;
    let mut response = api.download("/api/backups/download", &json!({ field: key })).await?;
    let named = response.headers().get(CONTENT_DISPOSITION).and_then(|value| value.to_str().ok());
    let named = named.and_then(|value| value.split_once("filename=\"")?.1.split('"').next()).unwrap_or_default();
    // The name comes from elsewhere: it may not lead out of this folder.
    let plain = !named.is_empty() && !named.contains(['/', '\\']) && !named.starts_with('.');
    let to = args.to.unwrap_or_else(|| if plain { named.to_owned() } else { "reeve-backup.rvb".to_owned() });
    let broken = |error: reqwest::Error| {
        let next = "what came is no backup and was removed; try again, the server's log says why it broke off";
        Failure::local_with(format!("the backup broke off: {error}"), next)
    };
    if to == "-" {
        let mut out = std::io::stdout();
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            out.write_all(&piece)?;
        }
        out.flush()?;
        return Ok(OK);
    }
    let mut partial = Partial::begin(Path::new(&to))?;
    let mut total = 0;
    while let Some(piece) = response.chunk().await.map_err(broken)? {
        total += piece.len();
        partial.file.write_all(&piece)?;
    }
    partial.finish()?;
    let words = format!("{total} bytes in {to}\nnext:  reeve backup verify {to}");
    session.said(&to, &words)
}

/// A file that appears under its name once it is whole.
struct Partial {
    file: std::fs::File,
    path: PathBuf,
    to: PathBuf,
    done: bool,
}

impl Partial {
    fn begin(to: &Path) -> Outcome<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        if to.exists() {
            let what = format!("{} is there already", to.display());
            return Err(Failure::usage(what, "choose another name; a backup never replaces another"));
        }
        let mut name = to.as_os_str().to_owned();
        name.push(".partial");
        let path = PathBuf::from(name);
        let mut options = std::fs::OpenOptions::new();
        let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = opened.map_err(|error| {
            Failure::usage(format!("{} cannot be written: {error}", to.display()), "name a file in a folder of yours")
        })?;
        Ok(Self { file, path, to: to.to_owned(), done: false })
    }

    fn finish(&mut self) -> Outcome<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.path, &self.to)?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.done {
            std::fs::remove_file(&self.path).ok();
        }
    }
}
