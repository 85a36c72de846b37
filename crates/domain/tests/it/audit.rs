//! The audit chain, and what happens to those who touch it.

use reeve_domain::{App, audit};
use reeve_testkit::db::on_both;
use reeve_types::audit::AuditFilter;
use reeve_types::{Actor, Page, TextMatch};
use serde_json::json;

use crate::{Bench, app_with};

async fn record(app: &App, n: usize) {
    for i in 0..n {
        let mut tx = app.store.begin().await.unwrap();
        audit::record(app, &mut tx, &Actor::system(), "thing.do", &format!("thing-{i}"), json!({"i": i}))
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
}

async fn verify(app: &App) -> audit::Verified {
    audit::verify(app, &Actor::system()).await.unwrap()
}

#[tokio::test]
async fn an_untouched_log_holds() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        assert!(verify(&bench.app).await.ok);
        record(&bench.app, 12).await;
        let found = verify(&bench.app).await;
        assert_eq!((found.ok, found.entries, found.problem), (true, 12, None));
    })
    .await;
}

#[tokio::test]
async fn more_than_a_batch_holds() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let mut tx = bench.app.store.begin().await.unwrap();
        for i in 0..2_100 {
            audit::record(&bench.app, &mut tx, &Actor::system(), "thing.do", &i.to_string(), json!({})).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(verify(&bench.app).await.entries, 2_100);
        bench.sql("UPDATE audit_entries SET actor = 'user:somebody' WHERE seq = 1500").await;
        assert_eq!(verify(&bench.app).await.first_bad, Some(1500));
    })
    .await;
}

#[tokio::test]
async fn a_rolled_back_entry_leaves_no_hole() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        record(&bench.app, 3).await;
        let mut tx = bench.app.store.begin().await.unwrap();
        audit::record(&bench.app, &mut tx, &Actor::system(), "thing.undo", "x", json!({})).await.unwrap();
        drop(tx);
        record(&bench.app, 3).await;
        assert_eq!((verify(&bench.app).await.ok, verify(&bench.app).await.entries), (true, 6));
    })
    .await;
}

#[tokio::test]
async fn two_servers_make_one_chain() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let other = app_with(&bench.db, bench.clock.clone(), &[("k1", 1)]);
        let writers = [bench.app.clone(), other.clone(), bench.app.clone(), other];
        let tasks: Vec<_> =
            writers.into_iter().map(|app| tokio::spawn(async move { record(&app, 25).await })).collect();
        for task in tasks {
            task.await.unwrap();
        }
        let found = verify(&bench.app).await;
        assert_eq!((found.ok, found.entries, found.problem), (true, 100, None));
    })
    .await;
}

#[tokio::test]
async fn every_tampering_is_found() {
    let swap = "UPDATE audit_entries SET seq = CASE seq WHEN 4 THEN -5 WHEN 5 THEN -4 END WHERE seq IN (4, 5)";
    let cases: &[(&str, &[&str], i64)] = &[
        ("changed action", &["UPDATE audit_entries SET action = 'thing.other' WHERE seq = 4"], 4),
        ("changed actor", &["UPDATE audit_entries SET actor = 'user:eve' WHERE seq = 1"], 1),
        ("changed time", &["UPDATE audit_entries SET at = at + 1 WHERE seq = 9"], 9),
        ("changed details", &["UPDATE audit_entries SET details = '{}' WHERE seq = 10"], 10),
        (
            "moved text between columns",
            &["UPDATE audit_entries SET action = action || subject, subject = '' WHERE seq = 4"],
            4,
        ),
        ("changed mac", &["UPDATE audit_entries SET mac = 'k1.00' WHERE seq = 4"], 4),
        ("unknown key", &["UPDATE audit_entries SET mac = 'k9.00' WHERE seq = 4"], 4),
        ("missing in the middle", &["DELETE FROM audit_entries WHERE seq IN (4, 5)"], 4),
        ("missing at the start", &["DELETE FROM audit_entries WHERE seq = 1"], 1),
        (
            "missing and closed up",
            &["DELETE FROM audit_entries WHERE seq = 10", "UPDATE audit_entries SET seq = seq - 1 WHERE seq = 11"],
            10,
        ),
        ("reordered", &[swap, "UPDATE audit_entries SET seq = -seq WHERE seq < 0"], 4),
        ("tail cut off", &["DELETE FROM audit_entries WHERE seq > 8"], 9),
        ("everything gone", &["DELETE FROM audit_entries"], 1),
        ("head gone", &["DELETE FROM audit_heads"], 1),
        (
            "tail cut off and head moved back",
            &[
                "DELETE FROM audit_entries WHERE seq > 8",
                "UPDATE audit_heads SET seq = 8, mac = (SELECT mac FROM audit_entries WHERE seq = 8)",
            ],
            8,
        ),
        (
            "head of another entry",
            &["UPDATE audit_heads SET seq = 8, mac = (SELECT mac FROM audit_entries WHERE seq = 8)"],
            8,
        ),
    ];
    on_both(|db| async move {
        let bench = Bench::new(db);
        record(&bench.app, 11).await;
        for table in ["audit_entries", "audit_heads"] {
            bench.sql(&format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}")).await;
        }
        for (name, statements, first_bad) in cases {
            for statement in *statements {
                assert!(bench.sql(statement).await > 0, "{name}");
            }
            let found = verify(&bench.app).await;
            assert_eq!(
                (found.ok, found.first_bad, found.entries),
                (false, Some(*first_bad), first_bad - 1),
                "{name}: {found:?}"
            );
            for table in ["audit_entries", "audit_heads"] {
                bench.sql(&format!("DELETE FROM {table}")).await;
                bench.sql(&format!("INSERT INTO {table} SELECT * FROM kept_{table}")).await;
            }
            assert!(verify(&bench.app).await.ok);
        }
    })
    .await;
}

#[tokio::test]
async fn a_list_is_filtered_and_newest_first() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        record(&bench.app, 5).await;
        let filter = AuditFilter { subject: Some(TextMatch::parse("thing-*")), ..Default::default() };
        let page = audit::list(&bench.app, &Actor::system(), &filter, Page { number: 1, size: 2 }).await.unwrap();
        assert_eq!(page.total, 5);
        assert_eq!(page.items.iter().map(|e| e.seq).collect::<Vec<_>>(), [5, 4]);
        assert_eq!(page.items[0].details, r#"{"i":4}"#);
        let filter = AuditFilter { action: Some(TextMatch::parse("nothing")), ..Default::default() };
        assert_eq!(audit::list(&bench.app, &Actor::system(), &filter, Page::default()).await.unwrap().total, 0);
        assert!(audit::list(&bench.app, &Actor::anonymous(), &filter, Page::default()).await.is_err());
    })
    .await;
}
