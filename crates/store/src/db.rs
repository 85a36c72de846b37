//! The store and its transactions, over either database.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use reeve_types::{Error, Result, ServerId};
use tokio::sync::watch;

use crate::value::{Row, Value};
use crate::{migrate, postgres, sqlite};

/// Where the data lives.
#[derive(Clone, Debug)]
pub enum Location {
    /// A SQLite file; its folder must exist.
    Sqlite(PathBuf),
    /// A PostgreSQL URL, `postgres://user:password@host:port/name`.
    Postgres(String),
}

/// What a commit can wake. Listeners look again; a wake carries no content and several may melt into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Events were appended.
    Events,
    /// Jobs became due.
    Jobs,
    /// Output of jobs or executions was appended.
    Output,
    /// Executions can be delivered or must be cancelled.
    Executions,
    /// Commands wait for their fan-out.
    Commands,
    /// Somebody asked for a tick or a pass out of turn.
    Schedules,
    /// Users, tokens or keys changed: caches of rights are void.
    Access,
    /// Webhooks changed or have deliveries that are due.
    Webhooks,
    /// Servers came or went, or what they share changed.
    Servers,
}

const TOPICS: usize = Topic::ALL.len();
/// First part of the word that wakes one server's mailbox.
const MAIL: &str = "mail:";

impl Topic {
    /// Every topic.
    pub const ALL: [Topic; 9] = [
        Topic::Events,
        Topic::Jobs,
        Topic::Output,
        Topic::Executions,
        Topic::Commands,
        Topic::Schedules,
        Topic::Access,
        Topic::Webhooks,
        Topic::Servers,
    ];
    /// The word sent between servers.
    pub fn word(self) -> &'static str {
        match self {
            Topic::Events => "events",
            Topic::Jobs => "jobs",
            Topic::Output => "output",
            Topic::Executions => "executions",
            Topic::Commands => "commands",
            Topic::Schedules => "schedules",
            Topic::Access => "access",
            Topic::Webhooks => "webhooks",
            Topic::Servers => "servers",
        }
    }
}

pub(crate) struct Wakes {
    topics: [watch::Sender<u64>; TOPICS],
    mailboxes: Mutex<HashMap<String, watch::Sender<u64>>>,
}

impl Wakes {
    fn new() -> Arc<Self> {
        let topics = std::array::from_fn(|_| watch::Sender::new(0));
        Arc::new(Self { topics, mailboxes: Mutex::default() })
    }
    pub(crate) fn wake(&self, topic: Topic) {
        raise(&self.topics[topic as usize]);
    }
    pub(crate) fn wake_by_word(&self, word: &str) {
        match word.strip_prefix(MAIL) {
            Some(server) => self.mail(server),
            None => Topic::ALL.into_iter().filter(|t| t.word() == word).for_each(|t| self.wake(t)),
        }
    }
    /// Wakes everything, as after a time without news from other servers.
    pub(crate) fn wake_all(&self) {
        Topic::ALL.into_iter().for_each(|topic| self.wake(topic));
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner).values().for_each(raise);
    }
    fn mail(&self, server: &str) {
        if let Some(mailbox) = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner).get(server) {
            raise(mailbox);
        }
    }
}

fn raise(watched: &watch::Sender<u64>) {
    watched.send_modify(|n| *n = n.wrapping_add(1));
}

pub(crate) enum Backend {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
}

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    backend: Arc<Backend>,
    wakes: Arc<Wakes>,
}

impl Store {
    /// Opens the database and brings its schema up to date.
    ///
    /// # Errors
    /// Unavailable when it cannot be reached; Conflict when its schema is newer than this binary.
    pub async fn open(location: &Location) -> Result<Self> {
        let store = Self::open_unmigrated(location).await?;
        migrate::up(&store).await?;
        Ok(store)
    }

    /// Opens the database as it is, for `reeve migrate` and `reeve doctor`.
    ///
    /// # Errors
    /// Unavailable when it cannot be reached.
    pub async fn open_unmigrated(location: &Location) -> Result<Self> {
        let wakes = Wakes::new();
        let backend = match location {
            Location::Sqlite(path) => Backend::Sqlite(sqlite::Sqlite::open(path)?),
            Location::Postgres(url) => Backend::Postgres(postgres::Postgres::open(url, wakes.clone()).await?),
        };
        Ok(Self { backend: Arc::new(backend), wakes })
    }

    /// Starts a transaction that may write. On SQLite there is one at a time, in order of arrival.
    ///
    /// # Errors
    /// Unavailable when the database is away.
    pub async fn begin(&self) -> Result<Tx> {
        let inner = match &*self.backend {
            Backend::Sqlite(db) => Inner::Sqlite(db.begin().await?),
            Backend::Postgres(db) => Inner::Postgres(db.begin().await?),
        };
        Ok(Tx { inner, wakes: self.wakes.clone(), woken: [false; TOPICS], mailed: BTreeSet::new() })
    }

    /// As [`begin`](Self::begin), on PostgreSQL with a connection of its own that is used one at a time: for heartbeats,
    /// which must not wait while every other connection is busy.
    ///
    /// # Errors
    /// Unavailable when the database is away.
    pub async fn begin_reserved(&self) -> Result<Tx> {
        let inner = match &*self.backend {
            Backend::Sqlite(db) => Inner::Sqlite(db.begin().await?),
            Backend::Postgres(db) => Inner::Postgres(db.begin_reserved().await?),
        };
        Ok(Tx { inner, wakes: self.wakes.clone(), woken: [false; TOPICS], mailed: BTreeSet::new() })
    }

    /// Starts a transaction that only reads one consistent state. Dropping it ends it.
    ///
    /// # Errors
    /// Unavailable when the database is away.
    pub async fn read(&self) -> Result<Tx> {
        let inner = match &*self.backend {
            Backend::Sqlite(db) => Inner::Sqlite(db.read().await?),
            Backend::Postgres(db) => Inner::Postgres(db.read().await?),
        };
        Ok(Tx { inner, wakes: self.wakes.clone(), woken: [false; TOPICS], mailed: BTreeSet::new() })
    }

    /// As [`read`](Self::read), where several statements have to see one moment: on PostgreSQL each would see its own.
    ///
    /// # Errors
    /// Unavailable when the database is away.
    pub async fn read_consistent(&self) -> Result<Tx> {
        let inner = match &*self.backend {
            Backend::Sqlite(db) => Inner::Sqlite(db.read().await?),
            Backend::Postgres(db) => Inner::Postgres(db.read_consistent().await?),
        };
        Ok(Tx { inner, wakes: self.wakes.clone(), woken: [false; TOPICS], mailed: BTreeSet::new() })
    }

    /// Starts a transaction that reads one consistent state of the whole database for as long as it is open, beside
    /// writers. On SQLite the log cannot be copied back completely meanwhile, on PostgreSQL old rows are kept.
    ///
    /// # Errors
    /// Unavailable when the database is away.
    pub async fn snapshot(&self) -> Result<Tx> {
        let inner = match &*self.backend {
            Backend::Sqlite(db) => Inner::Sqlite(db.read().await?),
            Backend::Postgres(db) => Inner::Postgres(db.snapshot().await?),
        };
        let mut tx = Tx { inner, wakes: self.wakes.clone(), woken: [false; TOPICS], mailed: BTreeSet::new() };
        // The state is chosen by the first read.
        tx.opt("SELECT 1", &[]).await?;
        if !tx.is_postgres() {
            tx.opt("SELECT count(*) FROM sqlite_master", &[]).await?;
        }
        Ok(tx)
    }

    /// Fires when a commit of any server woke `topic`.
    pub fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        self.wakes.topics[topic as usize].subscribe()
    }

    /// Fires when a commit of any server left a letter for `server`, which is one of this process.
    pub fn mailbox(&self, server: &ServerId) -> watch::Receiver<u64> {
        let mut mailboxes = self.wakes.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
        mailboxes.entry(server.0.clone()).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// Wakes `topic` in this process only.
    pub fn wake(&self, topic: Topic) {
        self.wakes.wake(topic);
    }

    /// Runs one statement outside a transaction, as `CREATE DATABASE` wants it.
    ///
    /// # Errors
    /// As [`Tx::execute`].
    pub async fn administer(&self, sql: &str) -> Result<()> {
        match &*self.backend {
            Backend::Sqlite(db) => db.administer(sql).await,
            Backend::Postgres(db) => db.administer(sql).await,
        }
    }

    /// `sqlite` or `postgres`.
    pub fn backend_name(&self) -> &'static str {
        match &*self.backend {
            Backend::Sqlite(_) => "sqlite",
            Backend::Postgres(_) => "postgres",
        }
    }

    /// Whether other servers may be on the same store.
    pub fn is_shared(&self) -> bool {
        matches!(&*self.backend, Backend::Postgres(_))
    }

    /// The SQLite file, None on PostgreSQL.
    pub fn sqlite_path(&self) -> Option<&std::path::Path> {
        match &*self.backend {
            Backend::Sqlite(db) => Some(db.path()),
            Backend::Postgres(_) => None,
        }
    }
}

pub(crate) enum Inner {
    Sqlite(sqlite::SqliteTx),
    Postgres(postgres::PostgresTx),
}

/// A transaction. Dropped without [`commit`](Tx::commit) it is rolled back.
pub struct Tx {
    inner: Inner,
    wakes: Arc<Wakes>,
    woken: [bool; TOPICS],
    mailed: BTreeSet<ServerId>,
}

/// Rows of one `INSERT` of [`Tx::insert_many`].
const INSERT_ROWS: [usize; 5] = [500, 100, 20, 5, 1];

impl Tx {
    /// Runs a statement and says how many rows it changed.
    ///
    /// # Errors
    /// See [`crate::dialect`] for how database errors are told apart.
    pub async fn execute(&mut self, sql: &str, args: &[Value<'_>]) -> Result<u64> {
        match &mut self.inner {
            Inner::Sqlite(tx) => tx.execute(sql, args),
            Inner::Postgres(tx) => tx.execute(sql, args).await,
        }
    }

    /// All rows of a query. Callers bound them.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn all(&mut self, sql: &str, args: &[Value<'_>]) -> Result<Vec<Row>> {
        match &mut self.inner {
            Inner::Sqlite(tx) => tx.all(sql, args),
            Inner::Postgres(tx) => tx.all(sql, args).await,
        }
    }

    /// The first rows of a query, until they hold `most_bytes` of text. At least one row, if there is one.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub(crate) async fn some(&mut self, sql: &str, args: &[Value<'_>], most_bytes: usize) -> Result<Vec<Row>> {
        match &mut self.inner {
            Inner::Sqlite(tx) => tx.some(sql, args, most_bytes),
            Inner::Postgres(tx) => tx.some(sql, args, most_bytes).await,
        }
    }

    /// The first row of a query.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn opt(&mut self, sql: &str, args: &[Value<'_>]) -> Result<Option<Row>> {
        match &mut self.inner {
            Inner::Sqlite(tx) => tx.opt(sql, args),
            Inner::Postgres(tx) => tx.opt(sql, args).await,
        }
    }

    /// The only row of a query that always has one, as `SELECT count(*)`.
    ///
    /// # Errors
    /// As [`execute`](Self::execute); Internal when there is none.
    pub async fn one(&mut self, sql: &str, args: &[Value<'_>]) -> Result<Row> {
        self.opt(sql, args).await?.ok_or_else(|| Error::internal("a query that always has a row had none"))
    }

    /// Inserts many rows with few statements: `INSERT INTO <into> VALUES (..),(..) <tail>`.
    /// `into` is `table (a, b)`, each row has as many values as columns. Says how many rows were inserted.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn insert_many(&mut self, into: &str, rows: &[Vec<Value<'_>>], tail: &str) -> Result<u64> {
        let Some(width) = rows.first().map(Vec::len) else { return Ok(0) };
        // A few fixed sizes: the drivers keep every statement prepared, whatever the number of rows. SQLite compares a new
        // `$N` with every parameter before it, `?N` with none.
        let mark = if self.is_postgres() { '$' } else { '?' };
        let most = (crate::dialect::MAX_ARGS / width.max(1)).max(1);
        let (mut rest, mut inserted) = (rows, 0);
        while !rest.is_empty() {
            let size = INSERT_ROWS.into_iter().find(|size| *size <= rest.len() && *size <= most).unwrap_or(1);
            let (chunk, after) = rest.split_at(size);
            rest = after;
            let mut sql = format!("INSERT INTO {into} VALUES ");
            let mut args = Vec::with_capacity(chunk.len() * width);
            for (i, row) in chunk.iter().enumerate() {
                sql.push_str(if i == 0 { "(" } else { ",(" });
                for (j, value) in row.iter().enumerate() {
                    if j > 0 {
                        sql.push(',');
                    }
                    args.push(value.clone());
                    sql.push(mark);
                    sql.push_str(&args.len().to_string());
                }
                sql.push(')');
            }
            sql.push(' ');
            sql.push_str(tail);
            inserted += self.execute(&sql, &args).await?;
            tokio::task::yield_now().await;
        }
        Ok(inserted)
    }

    /// Remembers to wake `topic` on every server once this is committed.
    pub fn wake(&mut self, topic: Topic) {
        self.woken[topic as usize] = true;
    }

    /// Remembers to wake the mailbox of `server` once this is committed.
    pub fn mail(&mut self, server: &ServerId) {
        self.mailed.insert(server.clone());
    }

    /// True on PostgreSQL; only [`crate::dialect`] may ask.
    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.inner, Inner::Postgres(_))
    }

    /// Commits. Returns once the change would survive a power cut.
    ///
    /// # Errors
    /// Unavailable when the database could not promise that.
    pub async fn commit(self) -> Result<()> {
        let topics = Topic::ALL.into_iter().filter(|t| self.woken[*t as usize]).map(|t| t.word().to_owned());
        let words: Vec<String> = topics.chain(self.mailed.iter().map(|server| format!("{MAIL}{server}"))).collect();
        match self.inner {
            Inner::Sqlite(tx) => tx.commit().await?,
            Inner::Postgres(tx) => tx.commit(&words).await?,
        }
        words.iter().for_each(|word| self.wakes.wake_by_word(word));
        Ok(())
    }
}
