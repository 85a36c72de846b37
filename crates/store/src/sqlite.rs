//! SQLite: one writer, a few readers, statements run where they stand (a few microseconds each).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use reeve_types::{Error, Result};
use rusqlite::{Connection, OpenFlags, types::ValueRef};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::dialect;
use crate::sqlite_sync::Syncer;
use crate::value::{Cell, Row, Value};

/// Connections for reading at the same time.
const READERS: usize = 8;
/// Prepared statements kept per connection.
const STATEMENTS: usize = 256;
/// The log is copied back when it has grown past this many pages of 4 KiB.
const CHECKPOINT_PAGES: i64 = 4_000;

pub struct Sqlite {
    path: PathBuf,
    writer: Arc<Mutex<Connection>>,
    readers: Arc<Readers>,
    syncer: Arc<Syncer>,
}

struct Readers {
    free: StdMutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Sqlite {
    pub fn open(path: &Path) -> Result<Self> {
        let writer = connect(path, false)?;
        // The log file appears with the first write; an empty transaction that touches the header makes one.
        writer.execute_batch("BEGIN IMMEDIATE; PRAGMA user_version = 1; COMMIT;").map_err(|e| cannot_open(path, e))?;
        let readers = (0..READERS).map(|_| connect(path, true)).collect::<Result<Vec<_>>>()?;
        let mut wal = path.as_os_str().to_owned();
        wal.push("-wal");
        Ok(Self {
            path: path.to_owned(),
            writer: Arc::new(Mutex::new(writer)),
            readers: Arc::new(Readers { free: StdMutex::new(readers), permits: Arc::new(Semaphore::new(READERS)) }),
            syncer: Arc::new(Syncer::start(wal.into())?),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub async fn begin(&self) -> Result<SqliteTx> {
        let connection = self.writer.clone().lock_owned().await;
        run(&connection, "BEGIN IMMEDIATE")?;
        Ok(SqliteTx { hold: Hold::Writer { connection, syncer: self.syncer.clone() }, open: true })
    }

    pub async fn administer(&self, sql: &str) -> Result<()> {
        run(&*self.writer.lock().await, sql)
    }

    pub async fn read(&self) -> Result<SqliteTx> {
        let permit = self.readers.permits.clone().acquire_owned().await.map_err(Error::internal)?;
        let connection = self.readers.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = connection.ok_or_else(|| Error::internal("no free reader despite a permit"))?;
        let tx = SqliteTx {
            hold: Hold::Reader { connection: Some(connection), readers: self.readers.clone(), _permit: permit },
            open: true,
        };
        run(tx.connection(), "BEGIN")?;
        Ok(tx)
    }
}

fn connect(path: &Path, read_only: bool) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| cannot_open(path, e))?;
    let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;
        PRAGMA busy_timeout = 10000; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864;";
    connection.execute_batch(pragmas).map_err(|e| cannot_open(path, e))?;
    let extra = if read_only {
        "PRAGMA query_only = ON; PRAGMA cache_size = -4000;".to_owned()
    } else {
        format!("PRAGMA cache_size = -16000; PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};")
    };
    connection.execute_batch(&extra).map_err(|e| cannot_open(path, e))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

enum Hold {
    Writer { connection: OwnedMutexGuard<Connection>, syncer: Arc<Syncer> },
    Reader { connection: Option<Connection>, readers: Arc<Readers>, _permit: OwnedSemaphorePermit },
}

pub struct SqliteTx {
    hold: Hold,
    open: bool,
}

// A connection is moved between threads whole and used by one at a time: it stands behind a guard or is owned here.
impl SqliteTx {
    fn connection(&self) -> &Connection {
        match &self.hold {
            Hold::Writer { connection, .. } => connection,
            #[allow(clippy::expect_used)] // taken only in drop
            Hold::Reader { connection, .. } => connection.as_ref().expect("held until drop"),
        }
    }

    pub fn execute(&mut self, sql: &str, args: &[Value<'_>]) -> Result<u64> {
        let mut statement = self.connection().prepare_cached(sql).map_err(|e| failed(sql, e))?;
        bind(&mut statement, args).map_err(|e| failed(sql, e))?;
        if statement.column_count() > 0 {
            let mut rows = statement.raw_query();
            let mut count = 0;
            while rows.next().map_err(|e| failed(sql, e))?.is_some() {
                count += 1;
            }
            return Ok(count);
        }
        statement.raw_execute().map(|n| n as u64).map_err(|e| failed(sql, e))
    }

    pub fn all(&mut self, sql: &str, args: &[Value<'_>]) -> Result<Vec<Row>> {
        self.rows(sql, args, usize::MAX, usize::MAX)
    }

    pub fn some(&mut self, sql: &str, args: &[Value<'_>], most_bytes: usize) -> Result<Vec<Row>> {
        self.rows(sql, args, usize::MAX, most_bytes)
    }

    pub fn opt(&mut self, sql: &str, args: &[Value<'_>]) -> Result<Option<Row>> {
        Ok(self.rows(sql, args, 1, usize::MAX)?.pop())
    }

    fn rows(&mut self, sql: &str, args: &[Value<'_>], most: usize, most_bytes: usize) -> Result<Vec<Row>> {
        let mut statement = self.connection().prepare_cached(sql).map_err(|e| failed(sql, e))?;
        bind(&mut statement, args).map_err(|e| failed(sql, e))?;
        let width = statement.column_count();
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(|e| failed(sql, e))? {
            if found.len() < most {
                let cells = (0..width).map(|i| cell(row.get_ref(i))).collect::<Result<Vec<_>, _>>();
                let row = Row::new(cells.map_err(|e| failed(sql, e))?);
                bytes = bytes.saturating_add(row.text_bytes());
                found.push(row);
            }
            if bytes >= most_bytes {
                break;
            }
        }
        Ok(found)
    }

    pub async fn commit(mut self) -> Result<()> {
        self.open = false;
        if let Err(error) = run(self.connection(), "COMMIT") {
            self.open = true;
            return Err(error);
        }
        let syncer = match &self.hold {
            Hold::Writer { syncer, .. } => syncer.clone(),
            Hold::Reader { .. } => return Ok(()),
        };
        // The next writer may go on while this one waits for the disk.
        drop(self);
        syncer.sync().await
    }
}

impl Drop for SqliteTx {
    fn drop(&mut self) {
        if self.open
            && let Err(error) = run(self.connection(), "ROLLBACK")
            && !self.connection().is_autocommit()
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
        if let Hold::Reader { connection, readers, .. } = &mut self.hold
            && let Some(connection) = connection.take()
        {
            readers.free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

fn run(connection: &Connection, sql: &str) -> Result<()> {
    let mut statement = connection.prepare_cached(sql).map_err(|e| failed(sql, e))?;
    statement.raw_execute().map(|_| ()).map_err(|e| failed(sql, e))
}

fn bind(statement: &mut rusqlite::Statement<'_>, args: &[Value<'_>]) -> rusqlite::Result<()> {
    // To SQLite `$2` is a name: parameters are numbered in the order in which the text first mentions them.
    for index in 1..=statement.parameter_count() {
        let number = statement.parameter_name(index).and_then(|name| name.get(1..)?.parse::<usize>().ok());
        let value = number.and_then(|n| args.get(n.checked_sub(1)?));
        match value.ok_or(rusqlite::Error::InvalidParameterCount(args.len(), index))? {
            Value::Null => statement.raw_bind_parameter(index, rusqlite::types::Null)?,
            Value::Int(v) => statement.raw_bind_parameter(index, v)?,
            Value::Text(v) => statement.raw_bind_parameter(index, &**v)?,
        }
    }
    Ok(())
}

fn cell(value: rusqlite::Result<ValueRef<'_>>) -> rusqlite::Result<Cell> {
    Ok(match value? {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(v) => Cell::Int(v),
        ValueRef::Real(v) => Cell::Int(v as i64),
        ValueRef::Text(v) | ValueRef::Blob(v) => Cell::Text(String::from_utf8_lossy(v).into_owned()),
    })
}

fn failed(sql: &str, error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode as Code;
    if let rusqlite::Error::SqliteFailure(code, message) = &error {
        let text = message.clone().unwrap_or_default();
        match (code.code, code.extended_code) {
            (
                Code::ConstraintViolation,
                rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY,
            ) => {
                return dialect::unique(index_name(&text), error);
            }
            (Code::ConstraintViolation, rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => {
                return dialect::foreign_key(error);
            }
            (Code::DiskFull, _) => return dialect::disk_full(error),
            (Code::SystemIoFailure, _) => {
                return Error::unavailable("the server's disk gave an error; see the server's log").with_source(error);
            }
            (Code::DatabaseBusy | Code::DatabaseLocked, _) => {
                return Error::unavailable("another process holds the database; stop it or wait").with_source(error);
            }
            _ => {}
        }
    }
    Error::internal(format!("{error} in: {sql}"))
}

/// `UNIQUE constraint failed: nodes.a, nodes.b` -> `nodes_a_b`, the name of the index.
fn index_name(message: &str) -> String {
    let columns = message.rsplit(": ").next().unwrap_or_default();
    let table = columns.split('.').next().unwrap_or_default();
    let names = columns.split(", ").map(|c| c.rsplit('.').next().unwrap_or_default()).collect::<Vec<_>>();
    format!("{table}_{}", names.join("_"))
}

fn cannot_open(path: &Path, error: rusqlite::Error) -> Error {
    Error::unavailable(format!("cannot open the database {}: {error}", path.display())).with_source(error)
}
