//! Brings a database's schema up to this binary's, one numbered step at a time.

use reeve_types::{Error, Result};

use crate::db::{Store, Tx};
use crate::{args, dialect};

struct Migration {
    number: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! migrations {
    ($($number:literal $name:literal),* $(,)?) => {
        const MIGRATIONS: &[Migration] = &[$(Migration {
            number: $number,
            name: $name,
            sqlite: include_str!(concat!("../../../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../../../migrations/postgres/", $name, ".sql")),
        }),*];
    };
}

migrations! {
    1 "0001_foundation",
    2 "0002_edge",
    3 "0003_fan_out",
    4 "0004_access",
    5 "0005_webhooks",
    6 "0006_node_metrics",
    7 "0007_servers",
    8 "0008_jobs",
    9 "0009_connected_session",
    10 "0010_lists",
    11 "0011_provisioning",
}

/// The newest schema number this binary knows.
pub fn newest() -> i64 {
    MIGRATIONS.last().map_or(0, |m| m.number)
}

/// The schema number of the database; 0 when it is empty.
///
/// # Errors
/// As the store.
pub async fn current(store: &Store) -> Result<i64> {
    let mut tx = store.begin().await?;
    let sql = "CREATE TABLE IF NOT EXISTS schema_migrations (number BIGINT PRIMARY KEY, name TEXT NOT NULL)";
    tx.execute(sql, &[]).await?;
    let number = tx.one("SELECT coalesce(max(number), 0) FROM schema_migrations", &[]).await?.get()?;
    tx.commit().await?;
    Ok(number)
}

/// The schema number that a transaction sees; 0 when the database is empty.
///
/// # Errors
/// As the store.
pub async fn number(tx: &mut Tx) -> Result<i64> {
    if !dialect::has_table(tx, "schema_migrations").await? {
        return Ok(0);
    }
    tx.one("SELECT coalesce(max(number), 0) FROM schema_migrations", &[]).await?.get()
}

/// Applies what is missing. Several servers may do so at once; one does the work.
///
/// # Errors
/// Conflict when the database is newer than this binary.
pub async fn up(store: &Store) -> Result<Vec<&'static str>> {
    let before = current(store).await?;
    if before > newest() {
        return Err(Error::conflict(format!(
            "the database has schema {before}, this version of reeve knows {}: start the newer version that wrote it",
            newest()
        )));
    }
    let mut applied = Vec::new();
    for migration in MIGRATIONS.iter().filter(|m| m.number > before) {
        let mut tx = store.begin().await?;
        if tx.is_postgres() {
            tx.execute("LOCK TABLE schema_migrations IN ACCESS EXCLUSIVE MODE", &[]).await?;
        }
        let known = tx.opt("SELECT number FROM schema_migrations WHERE number = $1", args![migration.number]).await?;
        if known.is_some() {
            continue;
        }
        apply(&mut tx, migration).await?;
        tx.commit().await?;
        applied.push(migration.name);
    }
    Ok(applied)
}

/// Makes the schema with `number` in an empty database, inside the caller's transaction.
///
/// # Errors
/// Conflict when this binary does not know the number.
pub async fn create(tx: &mut Tx, number: i64) -> Result<()> {
    if number > newest() {
        return Err(Error::conflict(format!(
            "schema {number} is newer than {}, which this version of reeve knows",
            newest()
        )));
    }
    let sql = "CREATE TABLE IF NOT EXISTS schema_migrations (number BIGINT PRIMARY KEY, name TEXT NOT NULL)";
    tx.execute(sql, &[]).await?;
    for migration in MIGRATIONS.iter().filter(|m| m.number <= number) {
        apply(tx, migration).await?;
    }
    Ok(())
}

async fn apply(tx: &mut Tx, migration: &Migration) -> Result<()> {
    for statement in statements(if tx.is_postgres() { migration.postgres } else { migration.sqlite }) {
        tx.execute(&statement, &[]).await?;
    }
    let sql = "INSERT INTO schema_migrations (number, name) VALUES ($1, $2)";
    tx.execute(sql, args![migration.number, migration.name]).await?;
    Ok(())
}

/// Splits a migration at the semicolons that end a line; comment lines are dropped.
fn statements(text: &str) -> Vec<String> {
    let code: String = text.lines().filter(|l| !l.trim_start().starts_with("--")).map(|l| format!("{l}\n")).collect();
    code.split(";\n").map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()
}
