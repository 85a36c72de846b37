//! Fresh databases for tests: a SQLite file, or a database of its own on the PostgreSQL that `cargo xtask test` starts.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use reeve_store::{Location, Store};

/// Where `cargo xtask test` says its PostgreSQL is.
pub const POSTGRES_URL: &str = "REEVE_TEST_POSTGRES_URL";

/// A database that is gone when this is dropped (a PostgreSQL one goes with its server).
pub struct TestDb {
    /// The migrated store.
    pub store: Store,
    /// How to open it a second time.
    pub location: Location,
    _folder: Option<tempfile::TempDir>,
}

impl TestDb {
    /// An empty SQLite store.
    pub async fn sqlite() -> Self {
        Self::bare_sqlite().await.migrated().await
    }

    /// An empty PostgreSQL store. Panics with what to do when no server was named.
    pub async fn postgres() -> Self {
        Self::bare_postgres().await.migrated().await
    }

    /// A SQLite database without a table.
    pub async fn bare_sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let location = Location::Sqlite(folder.path().join("reeve.db"));
        let store = Store::open_unmigrated(&location).await.expect("a SQLite store");
        Self { store, location, _folder: Some(folder) }
    }

    async fn migrated(self) -> Self {
        reeve_store::migrate::up(&self.store).await.expect("a migrated store");
        self
    }

    /// A PostgreSQL database without a table. Panics with what to do when no server was named.
    pub async fn bare_postgres() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let base = std::env::var(POSTGRES_URL)
            .unwrap_or_else(|_| panic!("{POSTGRES_URL} is not set: run the tests with `cargo xtask test`"));
        let name = format!("t{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let server = Store::open_unmigrated(&Location::Postgres(base.clone())).await.expect("PostgreSQL");
        server.administer(&format!("CREATE DATABASE {name}")).await.expect("a fresh database");
        let (head, _) = base.rsplit_once('/').expect("a URL with a database");
        let location = Location::Postgres(format!("{head}/{name}"));
        let store = Store::open_unmigrated(&location).await.expect("a PostgreSQL store");
        Self { store, location, _folder: None }
    }
}

/// Plays `test` on SQLite and then on PostgreSQL.
pub async fn on_both<F: Future<Output = ()>>(test: impl Fn(TestDb) -> F) {
    eprintln!("on sqlite");
    test(TestDb::sqlite().await).await;
    eprintln!("on postgres");
    test(TestDb::postgres().await).await;
}
