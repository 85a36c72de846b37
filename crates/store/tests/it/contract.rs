//! What both databases must do alike.

use reeve_store::{Topic, args, dialect, migrate};
use reeve_testkit::db::on_both;

#[tokio::test]
async fn a_dropped_transaction_leaves_nothing() {
    on_both(|db| async move {
        let mut tx = db.store.begin().await.unwrap();
        tx.execute("INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3)", args!["a", "b", 1])
            .await
            .unwrap();
        drop(tx);
        let mut tx = db.store.begin().await.unwrap();
        let count: i64 = tx.one("SELECT count(*) FROM settings", &[]).await.unwrap().get().unwrap();
        assert_eq!(count, 0);
    })
    .await;
}

#[tokio::test]
async fn a_unique_violation_names_its_index() {
    on_both(|db| async move {
        let mut tx = db.store.begin().await.unwrap();
        let sql = "INSERT INTO clusters (id, name, ipv4_range, ipv4_first, ipv4_last, inserted_at, updated_at)
            VALUES ($1, $2, $3, 1, 2, 0, 0)";
        tx.execute(sql, args!["1", "a", "100.64.0.0/24"]).await.unwrap();
        let error = tx.execute(sql, args!["2", "a", "100.64.1.0/24"]).await.unwrap_err();
        assert!(dialect::is_unique_violation(&error, "clusters_name"), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn placeholders_are_bound_by_their_numbers() {
    on_both(|db| async move {
        let mut tx = db.store.begin().await.unwrap();
        tx.execute("INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3)", args!["a", "b", 1])
            .await
            .unwrap();
        let sql = "UPDATE settings SET value = $2, updated_at = $3 WHERE name = $1 AND updated_at < $3";
        assert_eq!(tx.execute(sql, args!["a", "c", 2]).await.unwrap(), 1);
        let mut row = tx
            .one("SELECT value, updated_at FROM settings WHERE value = $2 AND name = $1", args!["a", "c"])
            .await
            .unwrap();
        assert_eq!((row.get::<String>().unwrap(), row.get::<i64>().unwrap()), ("c".to_owned(), 2));
        assert!(tx.execute("UPDATE settings SET value = $2 WHERE name = $1", args!["a"]).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_commit_wakes_its_topics() {
    on_both(|db| async move {
        let mut events = db.store.subscribe(Topic::Events);
        let mut tx = db.store.begin().await.unwrap();
        tx.wake(Topic::Events);
        tx.commit().await.unwrap();
        events.changed().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn migrations_run_once() {
    on_both(|db| async move {
        assert_eq!(migrate::current(&db.store).await.unwrap(), migrate::newest());
        assert!(migrate::up(&db.store).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn many_rows_go_in_with_few_statements() {
    on_both(|db| async move {
        let mut tx = db.store.begin().await.unwrap();
        let names: Vec<String> = (0..1234).map(|i| format!("n{i}")).collect();
        let rows: Vec<_> = names.iter().map(|n| vec![n.into(), "v".into(), 1i64.into()]).collect();
        let inserted = tx.insert_many("settings (name, value, updated_at)", &rows, "").await.unwrap();
        assert_eq!(inserted, 1234);
        tx.commit().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn arguments_are_taken_by_number_wherever_they_stand() {
    on_both(|db| async move {
        let mut tx = db.store.begin().await.unwrap();
        let sql = "SELECT CAST($2 AS TEXT), CAST($1 AS TEXT), CAST($2 AS TEXT)";
        let mut row = tx.one(sql, args!["first", "second"]).await.unwrap();
        let read: [String; 3] = [row.get().unwrap(), row.get().unwrap(), row.get().unwrap()];
        assert_eq!(read, ["second", "first", "second"]);
    })
    .await;
}

#[tokio::test]
async fn prepared_statements_are_not_kept_without_an_end() {
    on_both(|db| async move {
        let mut tx = db.store.begin().await.unwrap();
        for number in 0..700 {
            let row: i64 = tx.one(&format!("SELECT CAST({number} AS BIGINT)"), &[]).await.unwrap().get().unwrap();
            assert_eq!(row, number);
        }
        if db.store.is_shared() {
            let kept: i64 = tx.one("SELECT count(*) FROM pg_prepared_statements", &[]).await.unwrap().get().unwrap();
            assert!(kept <= 300, "{kept}");
        }
    })
    .await;
}

#[tokio::test]
async fn lists_of_texts_hold_any_text() {
    on_both(|db| async move {
        let mut tx = db.store.read().await.unwrap();
        let texts = ["a\0b", "\\u0000", "\"", "ü\n", ""];
        let sql = format!("SELECT count(*) FROM ({}) AS t", dialect::json_texts(&tx, "$1"));
        let found: i64 = tx.one(&sql, args![dialect::json_text(&texts).unwrap()]).await.unwrap().get().unwrap();
        assert_eq!(found, 5);
        let sql = format!(
            "SELECT 1 FROM ({}) AS t WHERE t.v = $2",
            format_args!("SELECT CAST($2 AS TEXT) AS v WHERE $2 IN ({})", dialect::json_texts(&tx, "$1"))
        );
        for text in ["a\u{2400}b", "\\u0000", "\"", "ü\n", ""] {
            let found = tx.opt(&sql, args![dialect::json_text(&texts).unwrap(), text]).await.unwrap();
            assert!(found.is_some(), "{text:?}");
        }
    })
    .await;
}
