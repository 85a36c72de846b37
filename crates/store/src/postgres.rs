//! PostgreSQL: a small pool of connections with prepared statements, and one connection that listens for wakes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use reeve_types::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::types::{IsNull, ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, Statement, error::SqlState};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::db::Wakes;
use crate::value::{Cell, Row, Value};
use crate::{dialect, postgres_tls};

/// Connections at the most.
const CONNECTIONS: usize = 16;
/// Prepared statements kept per connection. Lists with filters have many texts, and PostgreSQL keeps a plan for each.
const STATEMENTS: usize = 256;
/// How long a connection may take to be made, and how long PostgreSQL may leave sent bytes unconfirmed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Channel of LISTEN and NOTIFY.
const CHANNEL: &str = "reeve";
/// A server that is paused in mid transaction must not keep the others waiting for its locks: PostgreSQL ends the
/// transaction after this long without a word. A server that was cut off from the network is noticed as soon.
const SESSION: &str = "-c idle_in_transaction_session_timeout=8000 -c tcp_user_timeout=8000 -c tcp_keepalives_idle=5 \
    -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3";

pub struct Postgres {
    pool: Arc<Pool>,
    /// For what must not wait behind everything else.
    reserved: Arc<Semaphore>,
}

struct Pool {
    config: Config,
    tls: MakeRustlsConnect,
    free: StdMutex<Vec<Session>>,
    permits: Arc<Semaphore>,
}

struct Session {
    client: Client,
    statements: HashMap<String, Statement>,
}

impl Postgres {
    pub async fn open(url: &str, wakes: Arc<Wakes>) -> Result<Self> {
        let (mut config, tls) = postgres_tls::read(url)?;
        let given = config.get_options().map(|given| format!(" {given}")).unwrap_or_default();
        config.options(format!("{SESSION}{given}"));
        config.connect_timeout(CONNECT_TIMEOUT).tcp_user_timeout(CONNECT_TIMEOUT).keepalives_idle(CONNECT_TIMEOUT / 2);
        let (free, permits) = (StdMutex::new(Vec::new()), Arc::new(Semaphore::new(CONNECTIONS)));
        let pool = Arc::new(Pool { config, tls, free, permits });
        let first = pool.connect().await?;
        pool.put_back(first);
        tokio::spawn(listen(pool.config.clone(), pool.tls.clone(), wakes));
        Ok(Self { pool, reserved: Arc::new(Semaphore::new(1)) })
    }

    pub async fn administer(&self, sql: &str) -> Result<()> {
        let session = self.pool.connect().await?;
        session.client.batch_execute(sql).await.map_err(|e| failed(sql, e))
    }

    pub async fn begin(&self) -> Result<PostgresTx> {
        self.start("BEGIN", &self.pool.permits).await
    }

    pub async fn begin_reserved(&self) -> Result<PostgresTx> {
        self.start("BEGIN", &self.reserved).await
    }

    pub async fn read(&self) -> Result<PostgresTx> {
        self.start("BEGIN READ ONLY", &self.pool.permits).await
    }

    pub async fn read_consistent(&self) -> Result<PostgresTx> {
        self.start("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", &self.pool.permits).await
    }

    /// Reads for as long as it takes: it holds no lock that others wait for, so nobody ends it.
    pub async fn snapshot(&self) -> Result<PostgresTx> {
        let begin =
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0";
        self.start(begin, &self.pool.permits).await
    }

    async fn start(&self, begin: &str, permits: &Arc<Semaphore>) -> Result<PostgresTx> {
        let permit = permits.clone().acquire_owned().await.map_err(Error::internal)?;
        loop {
            let kept = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let fresh = kept.is_none();
            let session = match kept {
                Some(session) => session,
                None => self.pool.connect().await?,
            };
            match session.client.batch_execute(begin).await {
                Ok(()) => {
                    return Ok(PostgresTx { session: Some(session), pool: self.pool.clone(), permit: Some(permit) });
                }
                // A kept connection may have died with the server; a fresh one may not.
                Err(_) if !fresh => continue,
                Err(error) => return Err(failed(begin, error)),
            }
        }
    }
}

impl Pool {
    async fn connect(&self) -> Result<Session> {
        let (client, connection) = connect(&self.config, &self.tls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "a PostgreSQL connection ended");
            }
        });
        Ok(Session { client, statements: HashMap::new() })
    }

    fn put_back(&self, session: Session) {
        if !session.client.is_closed() {
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        }
    }
}

type Connection = tokio_postgres::Connection<
    tokio_postgres::Socket,
    <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<tokio_postgres::Socket>>::Stream,
>;

async fn connect(config: &Config, tls: &MakeRustlsConnect) -> Result<(Client, Connection)> {
    config
        .connect(tls.clone())
        .await
        .map_err(|e| Error::unavailable(format!("cannot reach PostgreSQL: {}", cause(&e))).with_source(e))
}

fn cause(error: &tokio_postgres::Error) -> String {
    let source = std::error::Error::source(error).map(|s| format!(": {s}")).unwrap_or_default();
    format!("{error}{source}")
}

/// Keeps a listening connection up for as long as the process runs.
async fn listen(config: Config, tls: MakeRustlsConnect, wakes: Arc<Wakes>) {
    let mut pause_ms = 100;
    loop {
        if Arc::strong_count(&wakes) == 1 {
            return;
        }
        if let Ok((client, mut connection)) = connect(&config, &tls).await {
            let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
            let subscribed = async { client.batch_execute(&format!("LISTEN {CHANNEL}")).await };
            tokio::pin!(subscribed);
            let mut listening = false;
            loop {
                let message = tokio::select! {
                    result = &mut subscribed, if !listening => {
                        listening = result.is_ok();
                        if !listening { break }
                        pause_ms = 100;
                        // What was missed while away is found by looking at everything.
                        wakes.wake_all();
                        continue;
                    }
                    message = messages.next() => message,
                };
                match message {
                    Some(Ok(AsyncMessage::Notification(note))) => wakes.wake_by_word(note.payload()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                }
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(pause_ms)).await;
        pause_ms = (pause_ms * 2).min(5_000);
    }
}

pub struct PostgresTx {
    session: Option<Session>,
    pool: Arc<Pool>,
    permit: Option<OwnedSemaphorePermit>,
}

impl PostgresTx {
    async fn prepared(&mut self, sql: &str) -> Result<(&Client, Statement)> {
        let session = self.session.as_mut().ok_or_else(|| Error::internal("the transaction has ended"))?;
        let statement = match session.statements.get(sql) {
            Some(statement) => statement.clone(),
            None => {
                let statement = session.client.prepare(sql).await.map_err(|e| failed(sql, e))?;
                if session.statements.len() >= STATEMENTS {
                    session.statements.clear();
                }
                session.statements.insert(sql.to_owned(), statement.clone());
                statement
            }
        };
        Ok((&session.client, statement))
    }

    pub async fn execute(&mut self, sql: &str, args: &[Value<'_>]) -> Result<u64> {
        let (client, statement) = self.prepared(sql).await?;
        client.execute_raw(&statement, args.iter().map(Arg)).await.map_err(|e| failed(sql, e))
    }

    pub async fn all(&mut self, sql: &str, args: &[Value<'_>]) -> Result<Vec<Row>> {
        self.some(sql, args, usize::MAX).await
    }

    pub async fn some(&mut self, sql: &str, args: &[Value<'_>], most_bytes: usize) -> Result<Vec<Row>> {
        let (client, statement) = self.prepared(sql).await?;
        let rows = client.query_raw(&statement, args.iter().map(Arg)).await.map_err(|e| failed(sql, e))?;
        tokio::pin!(rows);
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        // What is not read is thrown away as it arrives.
        while bytes < most_bytes
            && let Some(row) = rows.next().await
        {
            let row = row.map_err(|e| failed(sql, e))?;
            let cells = (0..row.len()).map(|i| cell(&row, i)).collect::<Result<Vec<_>, _>>();
            let row = Row::new(cells.map_err(|e| failed(sql, e))?);
            bytes = bytes.saturating_add(row.text_bytes());
            found.push(row);
        }
        Ok(found)
    }

    pub async fn opt(&mut self, sql: &str, args: &[Value<'_>]) -> Result<Option<Row>> {
        Ok(self.all(sql, args).await?.into_iter().next())
    }

    pub async fn commit(mut self, words: &[String]) -> Result<()> {
        let Some(session) = self.session.take() else { return Err(Error::internal("the transaction has ended")) };
        let mut sql = String::new();
        for word in words {
            sql.push_str(&format!("SELECT pg_notify('{CHANNEL}', '{}');", word.replace('\'', "''")));
        }
        sql.push_str("COMMIT");
        let result = session.client.batch_execute(&sql).await.map_err(|e| failed("COMMIT", e));
        if result.is_ok() {
            self.pool.put_back(session);
        }
        result
    }
}

impl Drop for PostgresTx {
    fn drop(&mut self) {
        let (Some(session), permit, pool) = (self.session.take(), self.permit.take(), self.pool.clone()) else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if session.client.batch_execute("ROLLBACK").await.is_ok() {
                pool.put_back(session);
            }
            drop(permit);
        });
    }
}

#[derive(Debug)]
struct Arg<'a, 'b>(&'a Value<'b>);

impl ToSql for Arg<'_, '_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut tokio_postgres::types::private::BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(v) if *ty == Type::INT4 => i32::try_from(*v)?.to_sql(ty, out),
            Value::Int(v) => v.to_sql(&Type::INT8, out),
            // PostgreSQL text cannot hold NUL; everywhere else it is kept as it is.
            Value::Text(v) if v.contains('\0') => v.replace('\0', "\u{2400}").to_sql(&Type::TEXT, out),
            Value::Text(v) => (&**v).to_sql(&Type::TEXT, out),
        }
    }
    fn accepts(_: &Type) -> bool {
        true
    }
    tokio_postgres::types::to_sql_checked!();
}

fn cell(row: &tokio_postgres::Row, i: usize) -> Result<Cell, tokio_postgres::Error> {
    let ty = row.columns()[i].type_();
    Ok(if *ty == Type::INT8 {
        row.try_get::<_, Option<i64>>(i)?.map_or(Cell::Null, Cell::Int)
    } else if *ty == Type::INT4 {
        row.try_get::<_, Option<i32>>(i)?.map_or(Cell::Null, |v| Cell::Int(v.into()))
    } else {
        row.try_get::<_, Option<String>>(i)?.map_or(Cell::Null, Cell::Text)
    })
}

fn failed(sql: &str, error: tokio_postgres::Error) -> Error {
    if let Some(db) = error.as_db_error() {
        let code = db.code();
        if *code == SqlState::UNIQUE_VIOLATION {
            return dialect::unique(db.constraint().unwrap_or_default().to_owned(), error);
        }
        if *code == SqlState::FOREIGN_KEY_VIOLATION {
            return dialect::foreign_key(error);
        }
        if *code == SqlState::DISK_FULL {
            return dialect::disk_full(error);
        }
        return Error::internal(format!("{} in: {sql}", cause(&error)));
    }
    Error::unavailable("the database is away; try again in a moment").with_source(error)
}
