//! Backups: from either database onto either, taken while others write, and refused with the right words when damaged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use reeve_domain::backup::{self, BackupKey, File, Manifest, create::Source};
use reeve_domain::{App, audit};
use reeve_store::{Store, Value, args, migrate, setting};
use reeve_testkit::db::{TestDb, on_both};
use reeve_types::id::SystemIds;
use reeve_types::{Actor, Error, ErrorKind, ManualClock, Timestamp};
use serde_json::json;

use crate::{Bench, app_with};

fn key() -> BackupKey {
    BackupKey::file(BackupKey::fresh_file(&reeve_types::id::CountingIds::new()).expose()).unwrap()
}

fn files() -> Vec<File> {
    vec![File { name: "server.json".into(), content: b"{}".to_vec() }]
}

fn source(store: &Store) -> Source<'_> {
    static CLOCK: std::sync::LazyLock<ManualClock> =
        std::sync::LazyLock::new(|| ManualClock::at(Timestamp(1_800_000_000_000_000)));
    Source { store, files: files(), version: "9.9.9", server_id: "s1", clock: &*CLOCK, ids: &SystemIds }
}

async fn backup_of(store: &Store) -> (Vec<u8>, Manifest) {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let made = backup::create(source(store), &key(), &mut bytes).await.unwrap();
    assert_eq!(made.bytes, bytes.get_ref().len() as u64);
    (bytes.into_inner(), made.manifest)
}

async fn restore(bytes: &[u8], store: &Store) -> Result<backup::restore::Restored, Error> {
    backup::restore(bytes, &key(), store, false, |_| Ok(())).await
}

/// Rows of many tables, among them large ones, an own numbering and a chain of audit entries.
async fn fill(app: &App, rows: usize) {
    let mut tx = app.store.begin().await.unwrap();
    for i in 0..rows {
        let text = format!("{i} ü \" ' \\ {}", "x".repeat(i % 700));
        setting::put(&mut tx, &format!("setting.{i:05}"), &text, app.now()).await.unwrap();
    }
    let user = "INSERT INTO users (id, username, password_hash, role, inserted_at, updated_at) VALUES ('u', 'u', 'h', 'admin', 1, 1)";
    tx.execute(user, &[]).await.unwrap();
    let tokens: Vec<Vec<Value<'_>>> = (0..rows)
        .map(|i| {
            let id = format!("t{i}");
            vec![
                id.clone().into(),
                "u".into(),
                id.clone().into(),
                "p".into(),
                id.into(),
                "[]".into(),
                (i as i64).into(),
            ]
        })
        .collect();
    let into = "api_tokens (id, user_id, name, prefix, hash, scopes, inserted_at)";
    tx.insert_many(into, &tokens, "").await.unwrap();
    tx.execute("INSERT INTO events (id, kind, subject, at, data) VALUES ('e1', 'k', 's', 1, '{}')", &[]).await.unwrap();
    let large = "l".repeat(3 << 20);
    for name in ["large.1", "large.2", "large.3"] {
        setting::put(&mut tx, name, &large, app.now()).await.unwrap();
    }
    for i in 0..5 {
        audit::record(app, &mut tx, &Actor::system(), "thing.do", &format!("{i}"), json!({})).await.unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_backup_restores_onto_either_database() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        fill(&bench.app, 2500).await;
        let (bytes, manifest) = backup_of(&bench.app.store).await;
        assert!(manifest.rows() > 5000);
        let verified = backup::verify(&bytes[..], &key()).await.unwrap();
        assert_eq!(verified.manifest, manifest);
        for target in [TestDb::bare_sqlite().await, TestDb::bare_postgres().await] {
            let restored = restore(&bytes, &target.store).await.unwrap();
            assert!(restored.files == files());
            assert_eq!(migrate::current(&target.store).await.unwrap(), migrate::newest());
            let (_, again) = backup_of(&target.store).await;
            assert_eq!(again.tables, manifest.tables);

            let app = app_with(&target, bench.clock.clone(), &[("k1", 1)]);
            let found = audit::verify(&app, &Actor::system()).await.unwrap();
            assert!(found.ok && found.entries == 5, "{found:?}");
            // The numbers of the feed go on, well after those that were given out.
            let mut tx = target.store.begin().await.unwrap();
            let sql = "INSERT INTO events (id, kind, subject, at, data) VALUES ('e2', 'k', 's', 1, '{}') RETURNING seq";
            let seq: i64 = tx.one(sql, &[]).await.unwrap().get().unwrap();
            assert!(seq > 1_000_000, "{seq}");
            // Foreign keys are checked as before.
            let orphan = "INSERT INTO api_tokens (id, user_id, name, prefix, hash, scopes, inserted_at)
                VALUES ('x', 'nobody', 'x', 'x', 'x', '[]', 1)";
            let result = match tx.execute(orphan, &[]).await {
                Ok(_) => tx.commit().await.map(|()| 0),
                Err(error) => Err(error),
            };
            assert_eq!(result.unwrap_err().kind, ErrorKind::Conflict);
        }
    })
    .await;
}

#[tokio::test]
async fn a_backup_under_load_is_one_state_and_holds_what_was_acknowledged() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let (store, stopping, counted) = (bench.app.store.clone(), stop.clone(), acknowledged.clone());
        // Both tables change in one transaction, so in one state they count alike.
        let writer = tokio::spawn(async move {
            let mut n = 0_i64;
            while !stopping.load(Ordering::SeqCst) {
                n += 1;
                let mut tx = store.begin().await.unwrap();
                setting::put(&mut tx, &format!("a{n}"), "x", Timestamp(n)).await.unwrap();
                let sql = "INSERT INTO events (id, kind, subject, at, data) VALUES ($1, 'k', 's', 1, '{}')";
                tx.execute(sql, args![format!("e{n}")]).await.unwrap();
                tx.commit().await.unwrap();
                counted.store(n, Ordering::SeqCst);
            }
        });
        let mut counts = Vec::new();
        while counts.len() < 10 {
            if acknowledged.load(Ordering::SeqCst) < counts.len() as i64 * 3 {
                tokio::task::yield_now().await;
                continue;
            }
            let before = acknowledged.load(Ordering::SeqCst);
            let (_, manifest) = backup_of(&bench.app.store).await;
            let rows = |name: &str| manifest.tables.iter().find(|t| t.name == name).unwrap().rows as i64;
            assert_eq!(rows("settings"), rows("events"));
            assert!(rows("events") >= before);
            counts.push(rows("events"));
        }
        stop.store(true, Ordering::SeqCst);
        writer.await.unwrap();
        assert!(counts.first() < counts.last(), "{counts:?}");
    })
    .await;
}

#[tokio::test]
async fn each_kind_of_damage_has_its_own_words() {
    let bench = Bench::new(TestDb::sqlite().await);
    fill(&bench.app, 1200).await;
    let (good, _) = backup_of(&bench.app.store).await;
    let edited = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    let first_chunk = 13 + 2 + 4 + u32::from_be_bytes(good[15..19].try_into().unwrap()) as usize + 64;
    let chunk = |at: usize| (u32::from_be_bytes(good[at..at + 4].try_into().unwrap()) & 0x7fff_ffff) as usize + 4;
    let second_chunk = first_chunk + chunk(first_chunk);
    let table: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("empty", vec![], backup::NOT_A_BACKUP, "is not a backup"),
        ("something else", b"SQLite format 3\0 and more".to_vec(), backup::NOT_A_BACKUP, "is not a backup"),
        ("cut in the header", good[..40].to_vec(), backup::TRUNCATED, "in the middle of its header"),
        ("cut after the header", good[..first_chunk].to_vec(), backup::TRUNCATED, "the end of the backup is missing"),
        ("cut in a chunk", good[..second_chunk + 100].to_vec(), backup::TRUNCATED, "in the middle of chunk 1"),
        ("tail missing", good[..second_chunk].to_vec(), backup::TRUNCATED, "stops after 1 chunks"),
        ("last byte missing", good[..good.len() - 1].to_vec(), backup::TRUNCATED, "was cut off"),
        ("flipped in the header", edited(&|b| b[60] ^= 1), backup::CHANGED, "header is damaged"),
        ("flipped in chunk 0", edited(&|b| b[first_chunk + 50] ^= 1), backup::CHANGED, "chunk 0 of the backup"),
        ("flipped in chunk 1", edited(&|b| b[second_chunk + 4] ^= 128), backup::CHANGED, "chunk 1 of the backup"),
        ("flipped length", edited(&|b| b[first_chunk] ^= 0x40), backup::CHANGED, "chunk 0 of the backup"),
        ("made the last", edited(&|b| b[first_chunk] ^= 0x80), backup::CHANGED, "chunk 0 of the backup"),
        ("last byte flipped", edited(&|b| *b.last_mut().unwrap() ^= 1), backup::CHANGED, "was changed"),
        ("bytes appended", edited(&|b| b.push(0)), backup::CHANGED, "bytes follow after the end"),
        ("chunk left out", [&good[..first_chunk], &good[second_chunk..]].concat(), backup::CHANGED, "chunk 0"),
        ("newer format", edited(&|b| b[14] = 9), backup::NEWER, "has format 9"),
    ];
    let target = TestDb::bare_sqlite().await;
    for (name, bytes, reason, words) in table {
        let refused = backup::verify(&bytes[..], &key()).await.unwrap_err();
        assert_eq!(refused.reason, reason, "{name}: {refused}");
        assert!(refused.message.contains(words), "{name}: {}", refused.message);
        let refused = restore(&bytes, &target.store).await.err().expect(name);
        assert_eq!(refused.reason, reason, "{name}");
        assert_eq!(migrate::current(&target.store).await.unwrap(), 0, "{name}");
    }
    restore(&good, &target.store).await.unwrap();
}

#[tokio::test]
async fn only_the_right_key_opens() {
    let bench = Bench::new(TestDb::sqlite().await);
    let passphrase = BackupKey::passphrase("correct horse battery").unwrap();
    let mut with_passphrase = std::io::Cursor::new(Vec::new());
    backup::create(source(&bench.app.store), &passphrase, &mut with_passphrase).await.unwrap();
    let with_passphrase = with_passphrase.into_inner();
    let (with_file, _) = backup_of(&bench.app.store).await;
    let other_file = BackupKey::file(BackupKey::fresh_file(&SystemIds).expose()).unwrap();
    let wrong = BackupKey::passphrase("correct horse batterY").unwrap();
    for (bytes, key, words) in [
        (&with_passphrase, &wrong, "the passphrase is wrong"),
        (&with_passphrase, &other_file, "made with a passphrase"),
        (&with_file, &passphrase, "made with a key file"),
        (&with_file, &other_file, "is not the one"),
    ] {
        let refused = backup::verify(&bytes[..], key).await.unwrap_err();
        assert_eq!(refused.reason, backup::WRONG_KEY);
        assert!(refused.message.contains(words), "{}", refused.message);
    }
    backup::verify(&with_passphrase[..], &passphrase).await.unwrap();
    assert!(BackupKey::passphrase("short").is_err() && BackupKey::file("nonsense").is_err());
    let header = backup::header_of(&with_passphrase[..]).await.unwrap();
    assert_eq!((header.reeve_version.as_str(), header.schema), ("9.9.9", migrate::newest()));
}

#[tokio::test]
async fn a_newer_schema_and_a_filled_database_are_refused() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let (bytes, _) = backup_of(&bench.app.store).await;
        let refused = restore(&bytes, &bench.app.store).await.err().unwrap();
        assert_eq!(refused.reason, backup::NOT_EMPTY);
        if bench.app.store.is_shared() {
            let mut tx = bench.app.store.begin().await.unwrap();
            setting::put(&mut tx, "later", "x", Timestamp(1)).await.unwrap();
            tx.commit().await.unwrap();
            backup::restore(&bytes[..], &key(), &bench.app.store, true, |_| Ok(())).await.unwrap();
            assert_eq!(setting::get(&mut bench.app.store.read().await.unwrap(), "later").await.unwrap(), None);
        }
        // When its files cannot be placed nothing is changed.
        let target = TestDb::bare_sqlite().await;
        let refused = backup::restore(&bytes[..], &key(), &target.store, false, |_| Err(Error::conflict("no"))).await;
        assert_eq!(refused.err().unwrap().message, "no");
        assert_eq!(migrate::current(&target.store).await.unwrap(), 0);

        bench.sql("INSERT INTO schema_migrations (number, name) VALUES (9999, '9999_later')").await;
        let (bytes, _) = backup_of(&bench.app.store).await;
        backup::verify(&bytes[..], &key()).await.unwrap();
        let refused = restore(&bytes, &target.store).await.err().unwrap();
        assert_eq!(refused.reason, backup::NEWER);
        assert!(refused.message.contains("schema 9999") && refused.message.contains("9.9.9"), "{}", refused.message);
    })
    .await;
}

#[tokio::test]
async fn an_older_schema_is_restored_and_then_brought_up_to_date() {
    on_both(|_| async move {
        for (from, to) in [
            (TestDb::bare_sqlite().await, TestDb::bare_postgres().await),
            (TestDb::bare_postgres().await, TestDb::bare_sqlite().await),
        ] {
            let mut tx = from.store.begin().await.unwrap();
            migrate::create(&mut tx, 1).await.unwrap();
            setting::put(&mut tx, "a", "b", Timestamp(1)).await.unwrap();
            tx.commit().await.unwrap();
            let (bytes, _) = backup_of(&from.store).await;
            restore(&bytes, &to.store).await.unwrap();
            assert_eq!(migrate::current(&to.store).await.unwrap(), 1);
            migrate::up(&to.store).await.unwrap();
            assert_eq!(migrate::current(&to.store).await.unwrap(), migrate::newest());
            let value = setting::get(&mut to.store.read().await.unwrap(), "a").await.unwrap();
            assert_eq!(value.as_deref(), Some("b"));
        }
    })
    .await;
}
