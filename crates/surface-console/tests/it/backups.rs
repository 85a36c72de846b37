//! Backups over HTTP.

use std::sync::Arc;

use reeve_domain::background;
use reeve_domain::backup::{self, BackupKey};
use reeve_testkit::backups::MemorySite;
use reeve_testkit::db::on_both;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::Console;

const SCHEDULE: &str = "/api/backups/schedule";

fn wanted() -> Value {
    json!({ "cron": "0 3 * * *", "to": "/srv/backups", "keep_last": 3, "passphrase": "correct horse battery" })
}

#[tokio::test]
async fn a_schedule_is_set_run_listed_and_ended() {
    on_both(|db| async move {
        let console = Console::new(db).await;
        let site = MemorySite::default();
        console.app.set_backup_site(Arc::new(site.clone()));
        let send = |method, path, body| console.send(method, path, "master-key", body);
        assert_eq!(send("GET", SCHEDULE, Value::Null).await.data("/schedule"), &Value::Null);
        assert_eq!(send("GET", "/api/backups", Value::Null).await.status, 409);
        assert_eq!(send("POST", "/api/backups", Value::Null).await.status, 409);
        assert_eq!(send("DELETE", SCHEDULE, Value::Null).await.status, 404);

        let set = send("PUT", SCHEDULE, wanted()).await;
        assert_eq!((set.status, set.text("/schedule/key")), (200, "passphrase".to_owned()), "{}", set.body);
        assert!(!set.body.to_string().contains("horse"));
        assert_eq!(set.text("/next_at"), "2027-01-16T03:00:00Z");
        let s3 = json!({ "endpoint": "http://127.0.0.1:1", "access_key_id": "AK", "secret_access_key": "planted" });
        let bucket = json!({ "cron": "@daily", "to": "s3://b/p", "s3": s3 });
        let set = send("PUT", SCHEDULE, bucket).await;
        assert_eq!((set.status, set.text("/schedule/s3/access_key_id")), (200, "AK".to_owned()), "{}", set.body);
        assert!(!set.body.to_string().contains("planted"));

        let stop = CancellationToken::new();
        let _loops = background::start(&console.app, &stop);
        let run = send("POST", "/api/backups", Value::Null).await;
        assert_eq!((run.status, run.text("/kind")), (202, "backup.create".to_owned()));
        let names = site.until(|names| !names.is_empty()).await;
        let listed = send("GET", "/api/backups", Value::Null).await;
        assert_eq!((listed.text("/backups/0/name"), listed.text("/place")), (names[0].clone(), "memory".to_owned()));
        let status = reeve_testkit::find("a success", async || {
            let status = send("GET", SCHEDULE, Value::Null).await;
            if status.data("/last_success").is_null() { Err(status.body) } else { Ok(status) }
        })
        .await;
        assert_eq!(status.text("/last_success/name"), names[0]);
        assert_eq!(send("DELETE", SCHEDULE, Value::Null).await.status, 204);
        stop.cancel();
        site.set_broken(true);
        let refused = send("PUT", SCHEDULE, wanted()).await;
        assert_eq!(refused.status, 422);
        assert!(refused.body["error"]["details"]["to"][0].as_str().unwrap().contains("on fire"));
    })
    .await;
}

#[tokio::test]
async fn hostile_schedules_are_refused_by_field() {
    on_both(|db| async move {
        let console = Console::new(db).await;
        console.app.set_backup_site(Arc::new(MemorySite::default()));
        for (field, value, status) in [
            ("cron", json!("whenever"), 422),
            ("cron", json!(""), 400),
            ("cron", json!(5), 400),
            ("cron", Value::Null, 400),
            ("to", json!("../../etc"), 422),
            ("to", json!("s4://b"), 422),
            ("to", json!("x".repeat(1025)), 400),
            ("keep_last", json!(0), 400),
            ("keep_last", json!(1e30), 400),
            ("keep_days", json!("many"), 400),
            ("passphrase", json!("short"), 422),
            ("key_file", json!("reeve-backup-key-x"), 422),
            ("s3", json!({ "access_key_id": "x" }), 422),
            ("s3", json!(["x"]), 400),
        ] {
            let mut body = wanted();
            body[field] = value.clone();
            let answer = console.send("PUT", SCHEDULE, "master-key", body).await;
            assert_eq!(answer.status, status, "{field} {value}: {}", answer.body);
            let details = answer.body["error"]["details"].as_object().unwrap();
            assert!(details.keys().any(|key| key.starts_with(field)), "{field} {value}: {details:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_backup_goes_out_to_the_caller() {
    on_both(|db| async move {
        let console = Console::new(db).await;
        let path = "/api/backups/download";
        let key = json!({ "passphrase": "correct horse battery" });
        assert_eq!(console.send("POST", path, "master-key", key.clone()).await.status, 409, "without a site");
        console.app.set_backup_site(Arc::new(MemorySite::default()));
        let (headers, bytes) = console.bytes(path, &key).await;
        assert_eq!(headers["content-type"], "application/octet-stream");
        let named = headers["content-disposition"].to_str().unwrap();
        assert!(named.starts_with("attachment; filename=\"reeve-server-"), "{named}");
        let key = BackupKey::passphrase("correct horse battery").unwrap();
        let verified = backup::verify(&bytes[..], &key).await.unwrap();
        assert!(verified.manifest.rows() > 0);
        for (body, field) in [
            (json!({}), "passphrase"),
            (json!({ "passphrase": "short" }), "passphrase"),
            (json!({ "passphrase": "long enough by far", "key_file": "x" }), "key_file"),
        ] {
            let refused = console.send("POST", path, "master-key", body).await;
            assert_eq!(refused.status, 422);
            assert!(refused.body["error"]["details"][field].is_array(), "{}", refused.body);
        }
    })
    .await;
}
