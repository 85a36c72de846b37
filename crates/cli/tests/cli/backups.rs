//! `reeve backup schedule` and `reeve backup download`: what they ask the server for, and what never shows.

use axum::body::Body;
use serde_json::{Value, json};

use crate::fake::{Fake, Reply, User, data, empty, refuse, stream};

const SCHEDULE: &str = "/api/backups/schedule";

fn status(schedule: Value) -> Value {
    json!({"schedule": schedule, "next_at": "2026-01-11T03:00:00Z", "last_success": null, "late_since": null,
        "last_failure": {"at": "2026-01-10T03:00:01Z", "error": "no space left"}})
}

fn set() -> Value {
    json!({"cron": "0 3 * * *", "to": "/srv/backups", "keep_last": 7, "keep_days": null, "label": "ab", "key": "passphrase",
        "s3": null, "set_at": "2026-01-09T00:00:00Z", "set_by": "user:ann"})
}

#[tokio::test]
async fn a_schedule_is_set_with_a_key_and_shown_without() {
    let fake = Fake::start().await;
    fake.on(&format!("GET {SCHEDULE}"), |_| data(status(Value::Null)));
    fake.on(&format!("PUT {SCHEDULE}"), |_| data(status(set())));
    let mut user = User::of(&fake);
    let ran = user.run("backup schedule show").await;
    assert!(ran.stderr.contains("the server makes no backups by itself"), "{ran:?}");
    assert_eq!(user.run("backup schedule set").await.code, 2, "no place is known");
    user.answers = vec!["correct horse battery", "correct horse battery"];
    let ran = user.run("backup schedule set --to /srv/backups --keep 3 --keep-days 30").await;
    assert_eq!((ran.code, ran.stderr.contains("horse")), (0, false), "{ran:?}");
    assert!(ran.stderr.contains("backups go to /srv/backups, the next at 2026-01-11T03:00:00Z"), "{ran:?}");
    let asked = fake.asked(&format!("PUT {SCHEDULE}"));
    assert_eq!(
        asked[0].body,
        json!({"cron": "0 3 * * *", "to": "/srv/backups", "keep_last": 3, "keep_days": 30,
            "passphrase": "correct horse battery"})
    );
    // What is set stays: the place and the key.
    fake.on(&format!("GET {SCHEDULE}"), |_| data(status(set())));
    assert_eq!(user.run("backup schedule set --cron @hourly --keep 0").await.code, 0);
    let asked = fake.asked(&format!("PUT {SCHEDULE}"));
    assert_eq!(asked[1].body, json!({"cron": "@hourly", "to": "/srv/backups", "keep_last": null, "keep_days": null}));
    let shown = user.run("backup schedule show").await.stdout;
    assert!(shown.contains("the last 7") && shown.contains("2026-01-10T03:00:01Z: no space left"), "{shown}");
    let ran = user.run("backup schedule set --to s3://b/p --with-credentials").await;
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("this shell has no AWS_ACCESS_KEY_ID"), "{ran:?}");
    fake.on(&format!("DELETE {SCHEDULE}"), |_| empty());
    assert_eq!(user.run("backup schedule off").await.code, 0);
}

#[tokio::test]
async fn a_download_is_a_file_when_it_is_whole_and_none_otherwise() {
    let fake = Fake::start().await;
    let path = "POST /api/backups/download";
    fake.on(path, |_| Reply {
        status: 200,
        headers: vec![
            ("content-type", "application/octet-stream".to_owned()),
            ("content-disposition", "attachment; filename=\"../../evil.rvb\"".to_owned()),
        ],
        body: Body::from("reeve-backup\nx"),
    });
    let mut user = User::of(&fake);
    let key = user.home().join("key");
    std::fs::write(&key, "correct horse battery\n").unwrap();
    let to = user.home().join("it.rvb").display().to_string();
    let line = format!("backup download {to} --passphrase-file {}", key.display());
    let ran = user.run(&line).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(std::fs::read(&to).unwrap(), b"reeve-backup\nx");
    assert_eq!(fake.asked(path)[0].body, json!({"passphrase": "correct horse battery"}));
    let again = user.run(&line).await;
    assert!(again.code != 0 && again.stderr.contains("is there already"), "{again:?}");
    // One that breaks off leaves nothing.
    fake.on(path, |_| stream(vec!["reeve-backup".to_owned()], true));
    let other = user.home().join("other.rvb").display().to_string();
    let ran = user.run(&line.replace(&to, &other)).await;
    assert!(ran.code != 0 && ran.stderr.contains("broke off"), "{ran:?}");
    let left: Vec<String> =
        user.home().read_dir().unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert!(!left.iter().any(|name| name.starts_with("other")), "{left:?}");
    fake.on(path, |_| refuse(403, "forbidden", "Forbidden", Value::Null));
    assert_eq!(user.run(&line.replace(&to, &other)).await.code, 1);
}
