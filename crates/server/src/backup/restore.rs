//! `reeve backup restore`: all or nothing, into an empty data directory and an empty database.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use reeve_cli::backup::Restore;
use reeve_cli::{Failure, Format, World};
use reeve_domain::backup::restore::Restored;
use reeve_domain::backup::{self, BackupKey};
use reeve_domain::{App, audit};
use reeve_store::{Location, Store, migrate};
use reeve_types::id::SystemIds;
use reeve_types::{Actor, Clock, Error, SystemClock};
use serde_json::json;

use super::staging::{self, Staging};
use super::{count_line, key_of, local, origin, refused, settings, stamp, words};
use crate::config::Settings;
use crate::data_dir::DataDir;

/// Runs `reeve backup restore`.
pub async fn run(args: &Restore, format: Format, world: &mut World) -> std::result::Result<(), Failure> {
    let settings = settings(args.data.as_deref(), args.store.as_deref())?;
    let target = &settings.data;
    let empty = staging::is_empty(target).map_err(local)?;
    if !empty && !args.force {
        let what = format!("the data directory {} is not empty: nothing was changed", target.display());
        return Err(Failure::local_with(
            what,
            "name an empty one with --data, or move what is there aside with --force",
        ));
    }
    // Held until the end: no server starts on it meanwhile.
    let lock = if target.exists() { Some(DataDir::open(target).map_err(local)?) } else { None };
    let key = key_of(&args.key, false, world)?;
    let input = origin(&args.from).await?;
    let staging = Staging::begin(target).map_err(local)?;
    let location = match &settings.store {
        Some(url) => Location::Postgres(url.clone()),
        None => Location::Sqlite(staging.path().join("reeve.db")),
    };
    let restored = fill(input, &key, &location, args.force && settings.store.is_some(), &staging).await?;
    let aside = staging.finish(&stamp(SystemClock.now())).map_err(|error| {
        let next = match &settings.store {
            Some(_) => "the database is restored; restore again with --force once this is repaired",
            None => "nothing was changed",
        };
        Failure::local_with(format!("{error:#}"), next)
    })?;
    drop(lock);
    report(args, &settings, &restored, aside.as_deref(), format, world)
}

async fn fill(
    input: reeve_ports::OpenObject,
    key: &BackupKey,
    location: &Location,
    replace: bool,
    staging: &Staging,
) -> std::result::Result<Restored, Failure> {
    let store = Store::open_unmigrated(location).await.map_err(refused)?;
    let place = |files: &[backup::File]| {
        let placed = files.iter().try_for_each(|file| staging.write(&file.name, &file.content));
        placed.map_err(|e| Error::conflict(format!("{e:#}")))
    };
    let restored = backup::restore(input, key, &store, replace, place).await.map_err(refused)?;
    let finished = settle(&store, staging.path(), &restored).await;
    finished.map_err(|error| match location {
        Location::Postgres(_) => {
            let next = "the rows are in the database, the data directory is not in place; repair this and restore again \
                        with --force";
            Failure::local_with(format!("{error:#}"), next)
        }
        Location::Sqlite(_) => local(error),
    })?;
    Ok(restored)
}

/// Brings the schema up to date, tries the keys on the rows, and notes in the audit log what happened.
async fn settle(store: &Store, data: &Path, restored: &Restored) -> Result<()> {
    migrate::up(store)
        .await
        .map_err(|e| anyhow::anyhow!(words(&e)))
        .context("the restored database cannot be brought up to date")?;
    let data = DataDir::open(data)?;
    let me = data.identity(&Settings::default(), &SystemIds)?;
    let keys = data.credentials(&Settings::default(), &SystemIds)?.0.keys();
    let config = reeve_domain::config::Config::with_keys(keys);
    let app = App::new(store.clone(), Arc::new(SystemClock), Arc::new(SystemIds), me.seal, config, me.id);
    let fits = reeve_domain::seal::rotate::check_keys(&app).await;
    fits.map_err(|e| anyhow::anyhow!(words(&e)))
        .context("the sealing keys in the backup are not those of its database")?;
    let header = &restored.header;
    let details = json!({
        "created_at": header.created_at, "reeve_version": header.reeve_version, "schema": header.schema,
        "rows": restored.manifest.rows(),
    });
    let mut tx = app.store.begin().await?;
    audit::record(&app, &mut tx, &Actor::system(), "backup.restore", app.server_id.as_str(), details).await?;
    tx.commit().await?;
    Ok(())
}

fn report(
    args: &Restore,
    settings: &Settings,
    restored: &Restored,
    aside: Option<&Path>,
    format: Format,
    world: &mut World,
) -> std::result::Result<(), Failure> {
    let header = &restored.header;
    let data = settings.data.display();
    let mut lines =
        vec![format!("restored {} to {data}, as of {}", args.from, header.created_at), count_line(&restored.manifest)];
    lines.extend(aside.map(|aside| format!("what was there is in {}", aside.display())));
    if header.schema < migrate::newest() {
        lines.push(format!("brought from schema {} to {}", header.schema, migrate::newest()));
    }
    let store = settings.store.as_ref().map_or("", |_| " --store URL");
    lines.push(format!("next:  reeve serve --data {data}{store}"));
    lines.push(
        "       agents trust it as before; one that finds it at a new address only is told with `reeve agent --server HOST:PORT`"
            .to_owned(),
    );
    let thing = json!({
        "data": settings.data, "header": header, "manifest": restored.manifest, "moved_aside": aside,
        "schema": migrate::newest(),
    });
    reeve_cli::show(world, format, &thing, &lines)
}
