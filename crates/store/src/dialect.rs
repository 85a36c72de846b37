//! Everything in which the two databases differ.

use reeve_types::{Error, Result, Timestamp};

use crate::db::Tx;

/// Most arguments in one statement that both databases take.
pub const MAX_ARGS: usize = 30_000;

/// `reason` of an error that a unique index caused; the message names the index.
pub const UNIQUE: &str = "unique";
/// `reason` of an error that a foreign key caused.
pub const FOREIGN_KEY: &str = "foreign_key";
/// `reason` of an error that a full disk caused.
pub const DISK_FULL: &str = "disk_full";

/// Whether `error` says that the unique index `index` (named `table_column[_column]`) was violated.
pub fn is_unique_violation(error: &Error, index: &str) -> bool {
    error.reason == UNIQUE && error.message == index
}

/// Whether `error` says that a referenced row is missing or a referencing row remains.
pub fn is_foreign_key_violation(error: &Error) -> bool {
    error.reason == FOREIGN_KEY
}

/// A unique violation of the index `index`.
pub(crate) fn unique(index: String, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::conflict(index).with_reason(UNIQUE).with_source(source)
}

/// A foreign key violation.
pub(crate) fn foreign_key(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::conflict("a referenced row is missing or still referenced").with_reason(FOREIGN_KEY).with_source(source)
}

/// The disk is full.
pub(crate) fn disk_full(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::unavailable("the server's disk is full: nothing was changed; free some space and try again")
        .with_reason(DISK_FULL)
        .with_source(source)
}

/// Orders appends to a log (`events`, `audit_entries`) by commit: SQLite has one writer anyway, PostgreSQL takes a lock
/// that is held until the end of the transaction. Call it as late as possible.
///
/// # Errors
/// As [`Tx::execute`].
pub async fn lock_log(tx: &mut Tx, log: Log) -> Result<()> {
    if tx.is_postgres() {
        let sql = match log {
            Log::Events => "SELECT CAST(pg_advisory_xact_lock(727001) AS TEXT)",
            Log::Audit => "SELECT CAST(pg_advisory_xact_lock(727002) AS TEXT)",
        };
        tx.opt(sql, &[]).await?;
    }
    Ok(())
}

/// A log whose order is the order of commits.
#[derive(Clone, Copy, Debug)]
pub enum Log {
    /// The events feed.
    Events,
    /// The audit chain.
    Audit,
}

/// ` FOR UPDATE SKIP LOCKED` where several writers exist, else nothing: appended to a SELECT that claims rows.
pub fn skip_locked(tx: &Tx) -> &'static str {
    if tx.is_postgres() { " FOR UPDATE SKIP LOCKED" } else { "" }
}

/// ` FOR UPDATE` where several writers exist, else nothing: appended to a SELECT whose row is then changed.
pub fn for_update(tx: &Tx) -> &'static str {
    if tx.is_postgres() { " FOR UPDATE" } else { "" }
}

/// A value as the JSON text that [`json_texts`] and [`json_records`] take: PostgreSQL's JSON holds no NUL, so there is none.
///
/// # Errors
/// Internal when it cannot be written as JSON.
pub fn json_text<T: serde::Serialize + ?Sized>(value: &T) -> Result<String> {
    struct NoNul;
    impl serde_json::ser::Formatter for NoNul {
        fn write_char_escape<W: ?Sized + std::io::Write>(
            &mut self,
            out: &mut W,
            escape: serde_json::ser::CharEscape,
        ) -> std::io::Result<()> {
            match escape {
                serde_json::ser::CharEscape::AsciiControl(0) => out.write_all("\u{2400}".as_bytes()),
                other => serde_json::ser::CompactFormatter.write_char_escape(out, other),
            }
        }
    }
    let mut out = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut out, NoNul);
    value.serialize(&mut writer).map_err(Error::internal)?;
    String::from_utf8(out).map_err(Error::internal)
}

/// A subquery with the texts of a JSON array argument, for `column IN (...)`: any number of values in one argument.
pub fn json_texts(tx: &Tx, placeholder: &str) -> String {
    if tx.is_postgres() {
        format!("SELECT jsonb_array_elements_text(CAST(CAST({placeholder} AS TEXT) AS jsonb))")
    } else {
        format!("SELECT value FROM json_each({placeholder})")
    }
}

/// A query with the rows of a JSON array of objects: any number of rows in one argument, and one statement text. `columns`
/// pairs each field with `TEXT` or `BIGINT`.
pub fn json_records(tx: &Tx, placeholder: &str, columns: &[(&str, &str)]) -> String {
    if tx.is_postgres() {
        let list: Vec<String> = columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        let rows = format!("jsonb_to_recordset(CAST(CAST({placeholder} AS TEXT) AS jsonb))");
        format!("SELECT * FROM {rows} AS record({})", list.join(", "))
    } else {
        let list: Vec<String> = columns.iter().map(|(name, _)| format!("value ->> '$.{name}' AS {name}")).collect();
        format!("SELECT {} FROM json_each({placeholder})", list.join(", "))
    }
}

/// The database's clock, by which the servers on it agree; with one server on a SQLite file that is `here`, its own.
///
/// # Errors
/// As [`Tx::execute`].
pub async fn database_now(tx: &mut Tx, here: Timestamp) -> Result<Timestamp> {
    if tx.is_postgres() {
        let sql = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)";
        return tx.one(sql, &[]).await?.get();
    }
    Ok(here)
}

/// Keeps other writers out of `table` until the transaction ends. SQLite has one writer anyway.
///
/// # Errors
/// As [`Tx::execute`].
pub async fn lock_table(tx: &mut Tx, table: &'static str) -> Result<()> {
    if tx.is_postgres() {
        tx.execute(&format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"), &[]).await?;
    }
    Ok(())
}

/// Names of our tables, `schema_migrations` and what triggers fill left out: a column `name`, in order.
pub(crate) fn tables_sql(tx: &Tx) -> &'static str {
    if tx.is_postgres() {
        "SELECT CAST(c.relname AS TEXT) AS name FROM pg_class c WHERE c.relnamespace = CAST(current_schema() AS regnamespace)
            AND c.relkind IN ('r', 'p') AND c.relname NOT IN ('schema_migrations', 'execution_counts') ORDER BY 1"
    } else {
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'
            AND name NOT IN ('schema_migrations', 'execution_counts') ORDER BY 1"
    }
}

/// The columns of the table `$1` in order: name, declared type in lower case, place in the primary key (0: none).
pub(crate) fn columns_sql(tx: &Tx) -> &'static str {
    if tx.is_postgres() {
        "SELECT CAST(a.attname AS TEXT), format_type(a.atttypid, NULL), coalesce(k.place, 0) FROM pg_attribute a
            LEFT JOIN (
                SELECT u.attnum, u.place FROM pg_index i,
                    unnest(CAST(i.indkey AS smallint[])) WITH ORDINALITY AS u (attnum, place)
                WHERE i.indrelid = to_regclass(quote_ident($1)) AND i.indisprimary
            ) k ON k.attnum = a.attnum
            WHERE a.attrelid = to_regclass(quote_ident($1)) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    } else {
        "SELECT name, lower(type), pk FROM pragma_table_info($1) ORDER BY cid"
    }
}

/// How far the numbers of a table have been given out, where the database gives them: table, number.
pub(crate) fn sequences_sql(tx: &Tx) -> &'static str {
    if tx.is_postgres() {
        "SELECT CAST(c.relname AS TEXT), coalesce(pg_sequence_last_value(CAST(s.seqrelid AS regclass)), 0)
            FROM pg_sequence s
            JOIN pg_depend d ON d.objid = s.seqrelid AND d.deptype IN ('a', 'i') AND d.classid = CAST('pg_class' AS regclass)
            JOIN pg_class c ON c.oid = d.refobjid
            WHERE c.relnamespace = CAST(current_schema() AS regnamespace) ORDER BY 1"
    } else {
        "SELECT name, seq FROM sqlite_sequence ORDER BY 1"
    }
}

/// Lets the numbers of `table`, given out in its column `column`, go on after `number`.
pub(crate) async fn set_sequence(tx: &mut Tx, table: &str, column: &str, number: i64) -> Result<()> {
    if tx.is_postgres() {
        let sql = "SELECT setval(CAST(pg_get_serial_sequence(quote_ident($1), $2) AS regclass), $3)";
        tx.opt(sql, crate::args![table, column, number]).await?;
    } else if tx.execute("UPDATE sqlite_sequence SET seq = $2 WHERE name = $1", crate::args![table, number]).await? == 0
    {
        tx.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)", crate::args![table, number]).await?;
    }
    Ok(())
}

/// Stops checking foreign keys, so that rows may come in any order; [`check_foreign_keys`] makes up for it in the same
/// transaction. What it gives must be handed to that.
pub(crate) async fn suspend_foreign_keys(tx: &mut Tx) -> Result<Vec<String>> {
    if !tx.is_postgres() {
        tx.execute("PRAGMA defer_foreign_keys = ON", &[]).await?;
        return Ok(Vec::new());
    }
    let sql = "SELECT quote_ident(c.relname), quote_ident(k.conname), pg_get_constraintdef(k.oid)
        FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
        WHERE k.contype = 'f' AND k.connamespace = CAST(current_schema() AS regnamespace) ORDER BY 1, 2";
    let mut again = Vec::new();
    for mut row in tx.all(sql, &[]).await? {
        let (table, name, definition) = (row.get::<String>()?, row.get::<String>()?, row.get::<String>()?);
        tx.execute(&format!("ALTER TABLE {table} DROP CONSTRAINT {name}"), &[]).await?;
        again.push(format!("ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"));
    }
    Ok(again)
}

/// Checks what [`suspend_foreign_keys`] let pass. On SQLite the commit does.
pub(crate) async fn check_foreign_keys(tx: &mut Tx, suspended: &[String]) -> Result<()> {
    for sql in suspended {
        tx.execute(sql, &[]).await?;
    }
    Ok(())
}

/// Between the columns and the values of an INSERT that brings its own numbers along.
pub(crate) fn keep_numbers(tx: &Tx) -> &'static str {
    if tx.is_postgres() { " OVERRIDING SYSTEM VALUE" } else { "" }
}

/// `text` as the database will give it back: PostgreSQL cannot hold NUL.
pub(crate) fn as_stored<'a>(tx: &Tx, text: &'a str) -> std::borrow::Cow<'a, str> {
    if tx.is_postgres() && text.contains('\0') { text.replace('\0', "\u{2400}").into() } else { text.into() }
}

/// Whether there is a table called `name`.
pub(crate) async fn has_table(tx: &mut Tx, name: &str) -> Result<bool> {
    let sql = if tx.is_postgres() {
        "SELECT 1 FROM pg_class WHERE oid = to_regclass(quote_ident($1))"
    } else {
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1"
    };
    Ok(tx.opt(sql, crate::args![name]).await?.is_some())
}
