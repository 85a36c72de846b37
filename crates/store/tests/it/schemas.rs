//! The schemas of both databases, read back as plain lines and compared: a difference is shown as the lines that differ.

use std::collections::BTreeSet;

use reeve_store::{Store, args};
use reeve_testkit::db::TestDb;

/// What SQLite and PostgreSQL call the same thing.
fn type_word(word: &str) -> String {
    match word {
        // The only name that gives SQLite a row id.
        "INTEGER" | "BIGINT" | "bigint" => "bigint".to_owned(),
        "BLOB" | "bytea" => "bytes".to_owned(),
        "REAL" | "double precision" => "double".to_owned(),
        other => other.to_ascii_lowercase(),
    }
}

/// A default or a condition without what differs in spelling only: casts, quotes of names, parentheses and spaces.
fn bare(text: &str) -> String {
    let mut text = text.to_ascii_lowercase();
    for cast in ["::text[]", "::text", "::bigint", "::integer", "::character varying"] {
        text = text.replace(cast, "");
    }
    // PostgreSQL writes `IN (..)` as `= ANY (ARRAY[..])`.
    text = text.replace("= any (array[", "in ([").replace("= any ((array[", "in ([");
    text.chars().filter(|c| !" \n()[]\"".contains(*c)).collect()
}

fn column(table: &str, name: &str, kind: &str, required: bool, default: Option<&str>) -> String {
    let required = if required { "NOT NULL" } else { "NULL" };
    let default = default.map(|d| format!(" DEFAULT {}", bare(d))).unwrap_or_default();
    format!("{table}.{name} {} {required}{default}", type_word(kind))
}

fn index(table: &str, name: &str, unique: bool, columns: &str, condition: Option<&str>) -> String {
    let unique = if unique { "unique index" } else { "index" };
    let condition = condition.map(|c| format!(" WHERE {}", bare(c))).unwrap_or_default();
    format!("{unique} {name} ON {table} ({columns}){condition}")
}

fn foreign_key(table: &str, columns: &str, to: &str, on_delete: &str) -> String {
    let on_delete = match on_delete {
        "a" | "NO ACTION" => "no action",
        "c" | "CASCADE" => "cascade",
        "n" | "SET NULL" => "set null",
        "r" | "RESTRICT" => "restrict",
        other => other,
    };
    format!("{table} ({columns}) REFERENCES {to} ON DELETE {on_delete}")
}

async fn of_sqlite(store: &Store) -> BTreeSet<String> {
    let mut tx = store.read().await.unwrap();
    let mut lines = BTreeSet::new();
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    for mut table in tx.all(sql, &[]).await.unwrap() {
        let table: String = table.get().unwrap();
        let sql = "SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info($1) ORDER BY pk";
        let mut primary = Vec::new();
        for mut row in tx.all(sql, args![&table]).await.unwrap() {
            let (name, kind): (String, String) = (row.get().unwrap(), row.get().unwrap());
            let (required, default): (bool, Option<String>) = (row.get().unwrap(), row.get().unwrap());
            let place: i64 = row.get().unwrap();
            lines.insert(column(&table, &name, &kind, required || place > 0, default.as_deref()));
            if place > 0 {
                primary.push(name);
            }
        }
        lines.insert(format!("{table} PRIMARY KEY ({})", primary.join(", ")));
        let sql = "SELECT l.name, l.\"unique\", m.sql,
              (SELECT group_concat(coalesce(i.name, '?'), ', ') FROM pragma_index_info(l.name) i)
            FROM pragma_index_list($1) l JOIN sqlite_master m ON m.name = l.name WHERE m.sql IS NOT NULL";
        for mut row in tx.all(sql, args![&table]).await.unwrap() {
            let (name, unique): (String, bool) = (row.get().unwrap(), row.get().unwrap());
            let (text, columns): (String, String) = (row.get().unwrap(), row.get().unwrap());
            let condition = text.split_once(" WHERE ").map(|(_, condition)| condition);
            lines.insert(index(&table, &name, unique, &columns, condition));
        }
        let sql = "SELECT group_concat(\"from\", ', '), min(\"table\"), group_concat(\"to\", ', '), min(on_delete)
            FROM pragma_foreign_key_list($1) GROUP BY id";
        for mut row in tx.all(sql, args![&table]).await.unwrap() {
            let (from, to): (String, String) = (row.get().unwrap(), row.get().unwrap());
            let (columns, on_delete): (String, String) = (row.get().unwrap(), row.get().unwrap());
            lines.insert(foreign_key(&table, &from, &format!("{to} ({columns})"), &on_delete));
        }
    }
    lines
}

async fn of_postgres(store: &Store) -> BTreeSet<String> {
    let mut tx = store.read().await.unwrap();
    let mut lines = BTreeSet::new();
    // Types of the catalog are none that the store reads, so everything is cast.
    let sql = "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT), CAST(data_type AS TEXT),
          CAST(CASE is_nullable WHEN 'NO' THEN 1 ELSE 0 END AS BIGINT), CAST(column_default AS TEXT)
        FROM information_schema.columns WHERE table_schema = current_schema()";
    for mut row in tx.all(sql, &[]).await.unwrap() {
        let (table, name): (String, String) = (row.get().unwrap(), row.get().unwrap());
        let (kind, required): (String, bool) = (row.get().unwrap(), row.get().unwrap());
        let default: Option<String> = row.get().unwrap();
        lines.insert(column(&table, &name, &kind, required, default.as_deref()));
    }
    let columns_of = "(SELECT string_agg(a.attname, ', ' ORDER BY k.place)
        FROM unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
        LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum)";
    let sql = format!(
        "SELECT CAST(t.relname AS TEXT), CAST(c.relname AS TEXT), CAST(CASE WHEN i.indisunique THEN 1 ELSE 0 END AS BIGINT),
           CAST(CASE WHEN i.indisprimary THEN 1 ELSE 0 END AS BIGINT), CAST({columns_of} AS TEXT),
           CAST(pg_get_expr(i.indpred, i.indrelid) AS TEXT)
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
         JOIN pg_namespace n ON n.oid = t.relnamespace WHERE n.nspname = current_schema()"
    );
    for mut row in tx.all(&sql, &[]).await.unwrap() {
        let (table, name): (String, String) = (row.get().unwrap(), row.get().unwrap());
        let (unique, primary): (bool, bool) = (row.get().unwrap(), row.get().unwrap());
        let (columns, condition): (String, Option<String>) = (row.get().unwrap(), row.get().unwrap());
        lines.insert(match primary {
            true => format!("{table} PRIMARY KEY ({columns})"),
            false => index(&table, &name, unique, &columns, condition.as_deref()),
        });
    }
    let names = |rel: &str, keys: &str| {
        format!(
            "CAST((SELECT string_agg(a.attname, ', ' ORDER BY k.place) FROM unnest(o.{keys}) WITH ORDINALITY AS k (attnum, place)
             JOIN pg_attribute a ON a.attrelid = o.{rel} AND a.attnum = k.attnum) AS TEXT)"
        )
    };
    let sql = format!(
        "SELECT CAST(t.relname AS TEXT), {}, CAST(f.relname AS TEXT), {}, CAST(o.confdeltype AS TEXT)
         FROM pg_constraint o JOIN pg_class t ON t.oid = o.conrelid JOIN pg_class f ON f.oid = o.confrelid
         JOIN pg_namespace n ON n.oid = t.relnamespace WHERE o.contype = 'f' AND n.nspname = current_schema()",
        names("conrelid", "conkey"),
        names("confrelid", "confkey"),
    );
    for mut row in tx.all(&sql, &[]).await.unwrap() {
        let (table, from): (String, String) = (row.get().unwrap(), row.get().unwrap());
        let (to, columns): (String, String) = (row.get().unwrap(), row.get().unwrap());
        let on_delete: String = row.get().unwrap();
        lines.insert(foreign_key(&table, &from, &format!("{to} ({columns})"), &on_delete));
    }
    lines
}

/// The lines that one has and the other has not, side by side; empty when they agree.
fn difference(sqlite: &BTreeSet<String>, postgres: &BTreeSet<String>) -> String {
    let only = |name: &str, these: &BTreeSet<String>, those: &BTreeSet<String>| {
        these.difference(those).map(|line| format!("  only {name}: {line}\n")).collect::<String>()
    };
    only("sqlite  ", sqlite, postgres) + &only("postgres", postgres, sqlite)
}

#[tokio::test]
async fn schemas_agree() {
    let (sqlite, postgres) = (TestDb::sqlite().await, TestDb::postgres().await);
    let (sqlite, postgres) = (of_sqlite(&sqlite.store).await, of_postgres(&postgres.store).await);
    assert!(
        sqlite.len() > 100 && sqlite.iter().any(|line| line.contains(" WHERE ")),
        "too little was read: {sqlite:#?}"
    );
    assert!(sqlite.iter().any(|line| line.contains(" REFERENCES ")), "no foreign keys were read");
    let difference = difference(&sqlite, &postgres);
    assert!(difference.is_empty(), "the migrations of the two databases differ:\n{difference}");
}

#[tokio::test]
async fn every_kind_of_difference_is_noticed() {
    let (sqlite, postgres) = (TestDb::sqlite().await, TestDb::postgres().await);
    let mut tx = postgres.store.begin().await.unwrap();
    for change in [
        "ALTER TABLE settings ADD COLUMN extra TEXT",
        "ALTER TABLE jobs ALTER COLUMN error SET NOT NULL",
        "ALTER TABLE jobs ALTER COLUMN attempts TYPE INTEGER",
        "ALTER TABLE jobs ALTER COLUMN subject SET DEFAULT 'x'",
        "DROP INDEX jobs_kind",
        "DROP INDEX jobs_due",
        "CREATE INDEX jobs_due ON jobs (run_at, id) WHERE state = 'running'",
        "ALTER TABLE job_output DROP CONSTRAINT job_output_job_id_fkey",
        "CREATE TABLE forgotten (id TEXT PRIMARY KEY)",
    ] {
        tx.execute(change, &[]).await.unwrap();
    }
    tx.commit().await.unwrap();
    let difference = difference(&of_sqlite(&sqlite.store).await, &of_postgres(&postgres.store).await);
    for line in [
        "only postgres: settings.extra text NULL",
        "only sqlite  : jobs.error text NULL",
        "only postgres: jobs.error text NOT NULL",
        "only postgres: jobs.attempts integer NOT NULL DEFAULT 0",
        "only sqlite  : jobs.subject text NOT NULL DEFAULT ''",
        "only postgres: jobs.subject text NOT NULL DEFAULT 'x'",
        "only sqlite  : index jobs_kind ON jobs (kind, id)",
        "only sqlite  : index jobs_due ON jobs (run_at, id) WHERE state='queued'",
        "only sqlite  : job_output (job_id) REFERENCES jobs (id) ON DELETE cascade",
        "only postgres: forgotten PRIMARY KEY (id)",
    ] {
        assert!(difference.contains(line), "{line} is not in\n{difference}");
    }
}
