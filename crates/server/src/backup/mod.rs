//! `reeve backup` on this machine: a data directory and its database into a sealed file, and back.

mod restore;
mod site;
mod staging;

pub use site::Site;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use reeve_cli::backup::{Create, KeyArgs, KeyText, List, Verb, Verify, key_text};
use reeve_cli::{Failure, Format, World};
use reeve_domain::backup::create::{Made, Source};
use reeve_domain::backup::{self, BackupKey, File, KeyHint, Manifest};
use reeve_ports::{NewObject, Objects, OpenObject};
use reeve_provider_objects::{Address, S3Access};
use reeve_store::Store;
use reeve_types::id::SystemIds;
use reeve_types::{Error, SystemClock, Timestamp};
use serde_json::{Value, json};

use crate::config::{ServeArgs, Settings};

/// What makes a data directory this server's: who it is, what it seals with, whom agents trust.
pub const IDENTITY: [&str; 4] = ["server.json", "credentials.json", "tls-agents/cert.pem", "tls-agents/key.pem"];
/// The end of a backup's name.
const SUFFIX: &str = ".rvb";
/// Largest file of an identity, in bytes.
const MOST_FILE: u64 = 1 << 20;

/// Runs a verb; two lines on standard error say what went wrong.
pub async fn run(verb: &Verb, format: Format) -> ExitCode {
    let mut world = World::real();
    let done = match verb {
        Verb::Create(args) => create(args, format, &mut world).await,
        Verb::Verify(args) => verify(args, format, &mut world).await,
        Verb::Restore(args) => restore::run(args, format, &mut world).await,
        Verb::List(args) => list(args, format, &mut world).await,
        Verb::Key { file } => make_key(file, &mut world),
        // Asks a server; the client's own.
        Verb::Download(_) | Verb::Schedule { .. } => return ExitCode::from(2),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            world.out.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn create(args: &Create, format: Format, world: &mut World) -> Result<(), Failure> {
    let settings = settings(args.data.as_deref(), args.store.as_deref())?;
    let files = identity_of(&settings.data).map_err(local)?;
    if settings.store.is_none() && !settings.database().exists() {
        let what = format!("there is no database {}", settings.database().display());
        return Err(Failure::local_with(
            what,
            "name the data directory with --data, or the PostgreSQL URL with --store",
        ));
    }
    let server_id = server_id(&files).map_err(local)?;
    let key = key_of(&args.key, true, world)?;
    let store = Store::open_unmigrated(&settings.location()).await.map_err(refused)?;
    let now = reeve_types::Clock::now(&SystemClock);
    let (out, shown) = destination(args.to.as_deref(), &server_id, now).await?;
    let source = Source {
        store: &store,
        files,
        version: env!("CARGO_PKG_VERSION"),
        server_id: &server_id,
        clock: &SystemClock,
        ids: &SystemIds,
    };
    let made = backup::create(source, &key, out).await.map_err(refused)?;
    let lines = made_lines(&made, &shown);
    if shown == "-" {
        return lines.iter().try_for_each(|line| world.out.note(line));
    }
    let thing = json!({
        "to": shown, "bytes": made.bytes, "created_at": made.created_at, "schema": made.schema,
        "manifest": made.manifest,
    });
    reeve_cli::show(world, format, &thing, &lines)
}

/// Makes a backup with the key file kept in the data directory; says where it is.
pub async fn before_migration(settings: &Settings, store: &Store) -> anyhow::Result<Option<String>> {
    let mut tx = store.snapshot().await?;
    let schema = reeve_store::migrate::number(&mut tx).await?;
    drop(tx);
    if schema == 0 || schema >= reeve_store::migrate::newest() {
        return Ok(None);
    }
    let files = identity_of(&settings.data)?;
    let server_id = server_id(&files)?;
    let key = kept_key(&settings.data)?;
    let folder = settings.data.join("backups");
    let place = reeve_provider_objects::Folder::new(&folder);
    let now = reeve_types::Clock::now(&SystemClock);
    let name = format!("before-schema-{}-{}{SUFFIX}", reeve_store::migrate::newest(), stamp(now));
    let out = place.create(&name).await?;
    let source = Source {
        store,
        files,
        version: env!("CARGO_PKG_VERSION"),
        server_id: &server_id,
        clock: &SystemClock,
        ids: &SystemIds,
    };
    backup::create(source, &key, out).await?;
    Ok(Some(folder.join(name).display().to_string()))
}

/// Where the key of backups lies that a server makes by itself.
pub fn kept_key_path(data: &Path) -> PathBuf {
    data.join("backup.key")
}

/// The key with which a server makes backups by itself; made at the first use.
fn kept_key(data: &Path) -> anyhow::Result<BackupKey> {
    let path = kept_key_path(data);
    if !path.exists() {
        write_key(&path)?;
    }
    Ok(BackupKey::file(&std::fs::read_to_string(&path)?)?)
}

fn write_key(path: &Path) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(BackupKey::fresh_file(&SystemIds).expose().as_bytes())?;
    file.sync_all()
}

fn make_key(path: &Path, world: &mut World) -> Result<(), Failure> {
    write_key(path).map_err(|error| {
        let next = "name a file that does not exist, in a folder that does";
        Failure::local_with(format!("{} cannot be made: {error}", path.display()), next)
    })?;
    world.out.note(&format!(
        "{} made, readable by its owner only\nnext:  keep a copy away from the server: without it no backup made with it opens",
        path.display()
    ))
}

async fn verify(args: &Verify, format: Format, world: &mut World) -> Result<(), Failure> {
    let key = key_of(&args.key, false, world)?;
    let input = origin(&args.from).await?;
    let verified = backup::verify(input, &key).await.map_err(refused)?;
    let header = &verified.header;
    let mut lines = vec![
        format!("{} is whole and unchanged", args.from),
        format!(
            "made {} by reeve {} of server {} ({}, schema {})",
            header.created_at, header.reeve_version, header.server_id, header.database, header.schema
        ),
        count_line(&verified.manifest),
    ];
    if header.schema > reeve_store::migrate::newest() {
        let newest = reeve_store::migrate::newest();
        lines.push(format!("this version of reeve knows schema {newest} and cannot restore it; use a later one"));
    }
    let thing = json!({"from": args.from, "header": header, "manifest": verified.manifest});
    reeve_cli::show(world, format, &thing, &lines)
}

async fn list(args: &List, format: Format, world: &mut World) -> Result<(), Failure> {
    let address = Address::parse(args.place.as_deref().unwrap_or("."), true).map_err(refused)?;
    if let Address::Folder { folder, .. } = &address
        && !folder.is_dir()
    {
        return Err(Failure::usage(format!("there is no folder {}", folder.display()), "name the folder of backups"));
    }
    let place = address.place(&access()).map_err(refused)?;
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for object in place.list().await.map_err(refused)?.into_iter().filter(|o| o.name.ends_with(SUFFIX)) {
        let header = match place.open(&object.name).await {
            Ok(input) => backup::header_of(input).await,
            Err(error) => Err(error),
        };
        let size = mebibytes(object.bytes);
        match header {
            Ok(header) => {
                let key = match &header.key {
                    KeyHint::Passphrase { .. } => "passphrase".to_owned(),
                    KeyHint::KeyFile { id, .. } => format!("key file {id}"),
                };
                lines.push(format!(
                    "{}  {}  {size}  reeve {}  schema {}  server {}  {key}",
                    object.name, header.created_at, header.reeve_version, header.schema, header.server_id
                ));
                rows.push(json!({"name": object.name, "bytes": object.bytes, "header": header}));
            }
            Err(error) => {
                lines.push(format!("{}  {size}  {}", object.name, words(&error)));
                rows.push(json!({"name": object.name, "bytes": object.bytes, "problem": words(&error)}));
            }
        }
    }
    if rows.is_empty() {
        world.out.note(&format!("no backups in {}", place.describe()))?;
    }
    reeve_cli::show(world, format, &Value::Array(rows), &lines)
}

/// What goes along of a data directory.
pub fn identity_of(data: &Path) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    for name in IDENTITY {
        let path = data.join(name);
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() > MOST_FILE => anyhow::bail!("{} is larger than 1 MiB", path.display()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && name != "server.json" => continue,
            Err(error) => {
                anyhow::bail!("{} cannot be read: {error}; name the data directory with --data", path.display())
            }
        }
        let content = std::fs::read(&path).map_err(|e| anyhow::anyhow!("{} cannot be read: {e}", path.display()))?;
        files.push(File { name: name.to_owned(), content });
    }
    Ok(files)
}

fn server_id(files: &[File]) -> anyhow::Result<String> {
    let file = files.iter().find(|f| f.name == "server.json");
    let value: Value = serde_json::from_slice(file.map_or(b"", |f| &f.content))
        .map_err(|e| anyhow::anyhow!("server.json is damaged: {e}"))?;
    value["id"].as_str().map(str::to_owned).ok_or_else(|| anyhow::anyhow!("server.json is damaged: it has no id"))
}

fn settings(data: Option<&Path>, store: Option<&str>) -> Result<Settings, Failure> {
    let args = ServeArgs { data: data.map(Path::to_owned), store: store.map(str::to_owned), ..ServeArgs::default() };
    Settings::load(&args)
        .map_err(|e| Failure::usage(format!("{e:#}"), "correct the settings, see `reeve serve --help`"))
}

fn key_of(args: &KeyArgs, fresh: bool, world: &mut World) -> Result<BackupKey, Failure> {
    match key_text(args, fresh, world)? {
        // A short passphrase opens nothing that was ever made, and says so as a wrong one.
        KeyText::Passphrase(text) => BackupKey::passphrase(&text),
        KeyText::File(text) => BackupKey::file(&text),
    }
    .map_err(refused)
}

/// A standard stream as a file.
fn own(fd: std::os::fd::BorrowedFd<'_>) -> Result<tokio::fs::File, Failure> {
    let file = fd.try_clone_to_owned().map(std::fs::File::from);
    file.map(tokio::fs::File::from_std).map_err(|e| Failure::local(format!("the standard streams cannot be used: {e}")))
}

/// What to read from.
async fn origin(from: &str) -> Result<OpenObject, Failure> {
    if from == "-" {
        return Ok(Box::new(own(std::io::stdin().as_fd())?));
    }
    let address = Address::parse(from, false).map_err(refused)?;
    let place = address.place(&access()).map_err(refused)?;
    place.open(address.name()).await.map_err(refused)
}

/// What to write to, and how it is called.
async fn destination(to: Option<&str>, server_id: &str, now: Timestamp) -> Result<(NewObject, String), Failure> {
    let fresh = format!("reeve-{server_id}-{}{SUFFIX}", stamp(now));
    let to = to.unwrap_or(&fresh);
    if to == "-" {
        return Ok((Box::new(own(std::io::stdout().as_fd())?), to.to_owned()));
    }
    let is_place = to.ends_with('/') || (!to.starts_with("s3://") && Path::new(to).is_dir());
    let address = Address::parse(to, is_place).map_err(refused)?;
    let name = if is_place { fresh.clone() } else { address.name().to_owned() };
    let place = address.place(&access()).map_err(refused)?;
    // Where one may write and not read, what is there cannot be seen; the writing says whatever else is wrong.
    if place.open(&name).await.is_ok() {
        let what = format!("{}/{name} is there already", place.describe().trim_end_matches('/'));
        return Err(Failure::usage(what, "choose another name; a backup never replaces another"));
    }
    let out = place.create(&name).await.map_err(refused)?;
    Ok((out, if is_place { format!("{}/{name}", place.describe().trim_end_matches('/')) } else { to.to_owned() }))
}

fn access() -> S3Access {
    S3Access::from_variables(|name| std::env::var(name).ok())
}

fn made_lines(made: &Made, to: &str) -> Vec<String> {
    vec![format!("backup of {} in {to}, {}", made.created_at, mebibytes(made.bytes)), count_line(&made.manifest)]
}

fn count_line(manifest: &Manifest) -> String {
    let rows = |name: &str| manifest.tables.iter().find(|t| t.name == name).map_or(0, |t| t.rows);
    format!(
        "{} rows of {} tables ({} nodes, {} clusters, {} users, {} executions) and {} files",
        manifest.rows(),
        manifest.tables.len(),
        rows("nodes"),
        rows("clusters"),
        rows("users"),
        rows("executions"),
        manifest.files.len()
    )
}

fn mebibytes(bytes: u64) -> String {
    if bytes < 1 << 20 {
        format!("{} KiB", bytes.div_ceil(1024))
    } else {
        format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
    }
}

/// `20260131T080000Z`
fn stamp(at: Timestamp) -> String {
    at.rfc3339_secs().replace(['-', ':'], "")
}

/// A message with its fields.
fn words(error: &Error) -> String {
    let fields: Vec<String> =
        error.details.iter().map(|(field, problems)| format!("{field} {}", problems.join(", "))).collect();
    let source = match (&error.kind, &error.source) {
        (reeve_types::ErrorKind::Internal, Some(source)) => format!(": {source}"),
        _ => String::new(),
    };
    if fields.is_empty() { format!("{}{source}", error.message) } else { fields.join("; ") }
}

fn refused(error: Error) -> Failure {
    let next = match error.reason {
        backup::TRUNCATED | backup::CHANGED => {
            "nothing was restored from it; use another backup, `reeve backup verify` checks one"
        }
        backup::WRONG_KEY => "give the passphrase or key file that the backup was made with",
        backup::NEWER => "install that version of reeve",
        backup::NOT_A_BACKUP => "give a file made by `reeve backup create`",
        backup::IN_USE => "stop the servers on this database, or restore into another one with --store",
        backup::NOT_EMPTY => "restore elsewhere, or add --force",
        _ => return Failure::local(words(&error)),
    };
    Failure::local_with(words(&error), next)
}

fn local(error: anyhow::Error) -> Failure {
    Failure::local(format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeve_store::migrate;

    #[tokio::test]
    async fn a_backup_never_replaces_another() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("a.rvb").display().to_string();
        drop(destination(Some(&to), "s", Timestamp(0)).await.unwrap());
        std::fs::write(&to, "kept").unwrap();
        let Err(refused) = destination(Some(&to), "s", Timestamp(0)).await else { panic!("it would be replaced") };
        assert_eq!(refused.to_string(), format!("{to} is there already"));
        let (_, shown) = destination(Some(&format!("{}/", folder.path().display())), "s", Timestamp(0)).await.unwrap();
        assert!(!shown.contains("//"), "{shown}");
    }

    #[tokio::test]
    async fn an_older_database_is_backed_up_before_its_schema_changes() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { data: folder.path().join("data"), ..Settings::default() };
        std::fs::create_dir(&settings.data).unwrap();
        let store = Store::open_unmigrated(&settings.location()).await.unwrap();
        // An empty database has nothing to lose.
        assert_eq!(before_migration(&settings, &store).await.unwrap(), None);
        let mut tx = store.begin().await.unwrap();
        migrate::create(&mut tx, 1).await.unwrap();
        reeve_store::setting::put(&mut tx, "a", "kept", Timestamp(1)).await.unwrap();
        tx.commit().await.unwrap();
        // Without an identity it fails, and the caller does not go on.
        assert!(before_migration(&settings, &store).await.is_err());
        std::fs::write(settings.data.join("server.json"), r#"{"id": "s1", "seal_keys": []}"#).unwrap();
        let path = before_migration(&settings, &store).await.unwrap().unwrap();
        migrate::up(&store).await.unwrap();
        assert_eq!(before_migration(&settings, &store).await.unwrap(), None);

        let key = BackupKey::file(&std::fs::read_to_string(kept_key_path(&settings.data)).unwrap()).unwrap();
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(backup::header_of(&bytes[..]).await.unwrap().schema, 1);
        let again = folder.path().join("again.db");
        let again = Store::open_unmigrated(&reeve_store::Location::Sqlite(again)).await.unwrap();
        backup::restore(&bytes[..], &key, &again, false, |_| Ok(())).await.unwrap();
        let kept = reeve_store::setting::get(&mut again.read().await.unwrap(), "a").await.unwrap();
        assert_eq!(kept.as_deref(), Some("kept"));
    }

    #[test]
    fn a_directory_is_put_in_place_at_once_and_removed_when_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("data");
        let names = |path: &Path| {
            let mut names: Vec<_> = std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let staging = staging::Staging::begin(&target).unwrap();
        staging.write("server.json", b"1").unwrap();
        for name in ["../x", "/etc/passwd", "reeve.db", "tls-agents/../../x"] {
            assert!(staging.write(name, b"x").is_err(), "{name}");
        }
        drop(staging);
        assert!(names(folder.path()).is_empty());
        for (content, aside) in [(b"1", false), (b"2", true)] {
            let staging = staging::Staging::begin(&target).unwrap();
            staging.write("server.json", content).unwrap();
            staging.write("tls-agents/key.pem", b"k").unwrap();
            assert_eq!(staging.finish("then").unwrap().is_some(), aside);
            assert_eq!(std::fs::read(target.join("server.json")).unwrap(), content);
        }
        assert_eq!(names(folder.path()), ["data", "data.before-restore-then"]);
        assert_eq!(std::fs::read(folder.path().join("data.before-restore-then/server.json")).unwrap(), b"1");
        assert!(!staging::is_empty(&target).unwrap());
    }
}
