//! Backups by schedule: made when due and once, kept as long as wanted, told of when they fail, and never shown the key.

use std::sync::Arc;

use reeve_domain::backup::schedule::{self, BucketAccess, KeyText, Status, Wanted};
use reeve_domain::backup::{self, BackupKey, download};
use reeve_domain::{App, background, event, server};
use reeve_testkit::backups::{MemorySite, SERVER_JSON};
use reeve_testkit::db::{TestDb, on_both};
use reeve_testkit::find;
use reeve_types::{Actor, Error, ErrorKind, Secret, ServerId};
use tokio_util::sync::CancellationToken;

use crate::world::World;

const DAY_MS: i64 = 86_400_000;
const PASSPHRASE: &str = "correct horse battery";

fn wanted() -> Wanted {
    Wanted {
        cron: "0 3 * * *".into(),
        to: "/srv/backups".into(),
        keep_last: Some(2),
        keep_days: None,
        key: Some(KeyText::Passphrase(Secret::new(PASSPHRASE))),
        access: None,
    }
}

struct Yard {
    world: World,
    site: MemorySite,
    me: Actor,
}

impl Yard {
    async fn new(db: TestDb) -> Self {
        let (world, site) = (World::new(db).await, MemorySite::default());
        world.app.set_backup_site(Arc::new(site.clone()));
        Self { world, site, me: Actor::system() }
    }

    async fn set(&self, wanted: Wanted) -> Result<Status, Error> {
        schedule::set(&self.world.app, &self.me, wanted).await
    }

    async fn status(&self) -> Status {
        schedule::status(&self.world.app, &self.me).await.unwrap()
    }

    /// Moves the clock in steps in which jobs and loops have their turn, until `condition` holds.
    async fn until(&self, condition: impl Fn(&Status) -> bool) -> Status {
        find("the backups to stand so", async || {
            let status = self.status().await;
            if condition(&status) {
                return Ok(status);
            }
            self.world.clock.advance_ms(1_000);
            Err(status)
        })
        .await
    }

    /// Awaits that no job is unfinished: until then another one of the kind is the same.
    async fn idle(&self) {
        find("no job to be open", async || {
            let mut tx = self.world.app.store.read().await.unwrap();
            let sql = "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')";
            let open: i64 = tx.one(sql, &[]).await.unwrap().get().unwrap();
            if open == 0 { Ok(()) } else { Err(open) }
        })
        .await;
    }

    async fn events(&self, kind: &str) -> Vec<String> {
        let found = event::after(&self.world.app, &self.me, 0, &[kind.to_owned()]).await.unwrap();
        found.into_iter().map(|event| event.data).collect()
    }
}

#[tokio::test]
async fn a_backup_is_made_when_it_is_due_and_old_ones_go() {
    on_both(|db| async {
        let yard = Yard::new(db).await;
        for name in ["reeve-s1-20260101T000000Z.rvb", "notes.txt"] {
            yard.site.put(name);
        }
        let set = yard.set(wanted()).await.unwrap();
        assert!(set.outcome.last_success.is_none() && set.late_since.is_none());
        let label = set.schedule.unwrap().label;
        for round in 1..=4_usize {
            yard.world.clock.advance_ms(DAY_MS);
            // A tick brings the job, the job the file.
            yard.until(|status| status.outcome.last_success.is_some()).await;
            let own = |names: &[String]| names.iter().filter(|n| n.contains(&label)).count();
            yard.site.until(|names| own(names) == round.min(2)).await;
            let mut tx = yard.world.app.store.begin().await.unwrap();
            reeve_store::setting::delete(&mut tx, "backup.outcome").await.unwrap();
            tx.commit().await.unwrap();
        }
        let names = yard.site.names();
        assert!(names.contains(&"notes.txt".to_owned()) && names.contains(&"reeve-s1-20260101T000000Z.rvb".to_owned()));
        let newest = names.iter().rfind(|name| name.contains(&label)).unwrap();
        let key = BackupKey::passphrase(PASSPHRASE).unwrap();
        let verified = backup::verify(&yard.site.content(newest)[..], &key).await.unwrap();
        assert!(verified.manifest.files.iter().any(|f| f.name == "server.json"));
        let told = yard.events(event::BACKUP_COMPLETED).await;
        assert_eq!(told.len(), 4);
        assert!(told[3].contains(newest) && !told[3].contains(PASSPHRASE), "{told:?}");
        let (place, listed) = schedule::list(&yard.world.app, &yard.me).await.unwrap();
        assert_eq!((place.as_str(), listed.len()), ("memory", 2));

        schedule::unset(&yard.world.app, &yard.me).await.unwrap();
        let error = schedule::unset(&yard.world.app, &yard.me).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert_eq!(schedule::run_now(&yard.world.app, &yard.me).await.unwrap_err().kind, ErrorKind::Conflict);
        assert!(yard.status().await.schedule.is_none());
        assert_eq!(yard.site.names(), names, "what was made stays");
    })
    .await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_field() {
    on_both(|db| async {
        let yard = Yard::new(db).await;
        let bucket = |id: Option<&str>, secret: Option<&str>| BucketAccess {
            access_key_id: id.map(str::to_owned),
            secret_access_key: secret.map(Secret::new),
            ..BucketAccess::default()
        };
        for (field, wrong) in [
            ("cron", Wanted { cron: "at night".into(), ..wanted() }),
            ("cron", Wanted { cron: "0 0 31 2 *".into(), ..wanted() }),
            ("to", Wanted { to: "backups".into(), ..wanted() }),
            ("to", Wanted { to: String::new(), ..wanted() }),
            ("to", Wanted { to: format!("/{}", "x".repeat(2_000)), ..wanted() }),
            ("keep_last", Wanted { keep_last: Some(0), ..wanted() }),
            ("keep_days", Wanted { keep_days: Some(1_000_000), ..wanted() }),
            ("passphrase", Wanted { key: None, ..wanted() }),
            ("passphrase", Wanted { key: Some(KeyText::Passphrase(Secret::new("short"))), ..wanted() }),
            ("key_file", Wanted { key: Some(KeyText::KeyFile(Secret::new("no key"))), ..wanted() }),
            ("s3", Wanted { access: Some(bucket(Some("id"), Some("secret"))), ..wanted() }),
            ("s3", Wanted { to: "s3://b/p".into(), access: Some(bucket(Some("id"), None)), ..wanted() }),
            ("s3", Wanted { to: "s3://b/p".into(), access: Some(bucket(Some(""), Some(""))), ..wanted() }),
        ] {
            let error = yard.set(wrong.clone()).await.unwrap_err();
            assert!(error.details.contains_key(field), "{wrong:?} gives {error:?}");
        }
        yard.site.set_broken(true);
        let error = yard.set(wanted()).await.unwrap_err();
        assert!(error.details["to"][0].contains("on fire"), "{error:?}");
        assert!(yard.status().await.schedule.is_none());
        let nobody = Actor::anonymous();
        assert!(schedule::set(&yard.world.app, &nobody, wanted()).await.is_err());
        assert!(schedule::status(&yard.world.app, &nobody).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn secrets_are_sealed_kept_and_never_shown() {
    on_both(|db| async {
        let yard = Yard::new(db).await;
        let access = BucketAccess {
            access_key_id: Some("AKID".into()),
            secret_access_key: Some(Secret::new("planted-secret")),
            ..BucketAccess::default()
        };
        let first = Wanted { to: "s3://bucket/p".into(), access: Some(access.clone()), ..wanted() };
        let set = yard.set(first.clone()).await.unwrap();
        let shown = format!("{set:?}");
        assert!(shown.contains("AKID") && !shown.contains("planted-secret") && !shown.contains(PASSPHRASE), "{shown}");
        let mut tx = yard.world.app.store.read().await.unwrap();
        let mut row = tx.one("SELECT value FROM settings WHERE name = 'backup.schedule'", &[]).await.unwrap();
        let stored: String = row.get().unwrap();
        assert!(stored.starts_with("s1."), "it is sealed");
        drop(tx);
        // What is left out stays: the key, and the access while it is a bucket.
        let second = Wanted { cron: "@hourly".into(), key: None, access: None, ..first };
        let again = yard.set(second).await.unwrap();
        assert_eq!(again.schedule.unwrap().label, set.schedule.unwrap().label);
        assert_eq!(yard.site.last_asked(), ("s3://bucket/p".to_owned(), access));
        yard.set(Wanted { key: None, ..wanted() }).await.unwrap();
        assert_eq!(yard.site.last_asked().1, BucketAccess::default(), "a folder needs none");
        schedule::run_now(&yard.world.app, &yard.me).await.unwrap();
        let names = yard.site.until(|names| !names.is_empty()).await;
        let key = BackupKey::passphrase(PASSPHRASE).unwrap();
        backup::verify(&yard.site.content(&names[0])[..], &key).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_failure_is_told_once_and_the_next_success_clears_it() {
    on_both(|db| async {
        let yard = Yard::new(db).await;
        yard.set(wanted()).await.unwrap();
        yard.site.set_broken(true);
        schedule::run_now(&yard.world.app, &yard.me).await.unwrap();
        let failed = yard.until(|status| status.outcome.last_failure.is_some()).await;
        assert!(failed.outcome.last_failure.unwrap().error.contains("on fire"));
        // Tried again before it is given up, with one event at the end.
        let told = find("the event", async || {
            let told = yard.events(event::BACKUP_FAILED).await;
            if !told.is_empty() {
                return Ok(told);
            }
            yard.world.clock.advance_ms(60_000);
            Err("none")
        });
        assert_eq!(told.await.len(), 1);
        yard.site.set_broken(false);
        yard.site.set_undeletable(true);
        yard.idle().await;
        schedule::run_now(&yard.world.app, &yard.me).await.unwrap();
        let well = yard.until(|status| status.outcome.last_failure.is_none()).await;
        assert_eq!(well.outcome.last_success.unwrap().not_deleted, None);
        // A backup is a success, and that the old ones stay is said beside it.
        for _ in 0..3 {
            let before = yard.site.names().len();
            yard.world.clock.advance_ms(5_000);
            yard.idle().await;
            schedule::run_now(&yard.world.app, &yard.me).await.unwrap();
            yard.site.until(|names| names.len() > before).await;
        }
        let kept = yard.until(|s| s.outcome.last_success.as_ref().is_some_and(|s| s.not_deleted.is_some())).await;
        assert!(kept.outcome.last_success.unwrap().not_deleted.unwrap().contains("write-once"));
    })
    .await;
}

#[tokio::test]
async fn two_in_one_second_are_two_files() {
    on_both(|db| async {
        let yard = Yard::new(db).await;
        yard.set(Wanted { keep_last: None, ..wanted() }).await.unwrap();
        for count in 1..=3 {
            // The clock stands.
            schedule::run_now(&yard.world.app, &yard.me).await.unwrap();
            yard.site.until(|names| names.len() == count).await;
            yard.idle().await;
        }
        let last = yard.status().await.outcome.last_success.unwrap().name;
        assert_eq!(yard.site.names().last(), Some(&last), "their order is that of their names");
        let key = BackupKey::passphrase(PASSPHRASE).unwrap();
        for name in yard.site.names() {
            backup::verify(&yard.site.content(&name)[..], &key).await.unwrap();
        }
        assert_eq!(schedule::list(&yard.world.app, &yard.me).await.unwrap().1.len(), 3, "all are the schedule's");
    })
    .await;
}

#[tokio::test]
async fn of_two_servers_one_makes_it() {
    let yard = Yard::new(TestDb::postgres().await).await;
    let app = &yard.world.app;
    let (clock, ids) = (yard.world.clock.clone(), Arc::new(reeve_types::id::SystemIds));
    let (store, seal) = (app.store.clone(), app.seal.clone());
    let other = Arc::new(App::new(store, clock, ids, seal, app.config.clone(), ServerId("s2".into())));
    other.set_backup_site(Arc::new(yard.site.clone()));
    let stop = CancellationToken::new();
    let _loops = background::start(&other, &stop);
    yard.set(Wanted { keep_last: None, ..wanted() }).await.unwrap();
    for round in 1..=3 {
        yard.world.clock.advance_ms(DAY_MS);
        for _ in 0..20 {
            // Both look, at the same time.
            let (a, b) = tokio::join!(schedule::tick(app), schedule::tick(&other));
            a.unwrap();
            b.unwrap();
        }
        yard.site.until(|names| names.len() == round).await;
        yard.idle().await;
    }
    stop.cancel();
    let mut tx = app.store.read().await.unwrap();
    let jobs: i64 = tx.one("SELECT count(*) FROM jobs WHERE kind = 'backup.create'", &[]).await.unwrap().get().unwrap();
    assert_eq!(jobs, 3);
}

#[tokio::test]
async fn a_caller_gets_one_sealed_with_a_key_of_its_own() {
    on_both(|db| async {
        use futures::StreamExt;
        let yard = Yard::new(db).await;
        let key = KeyText::Passphrase(Secret::new("the caller's own"));
        // More than what is on its way at a time, and nothing that packs.
        let mut noise = vec![0_u8; 2 << 20];
        yard.world.app.ids.fill(&mut noise);
        let noise: String = noise.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut tx = yard.world.app.store.begin().await.unwrap();
        reeve_store::setting::put(&mut tx, "noise", &noise, yard.world.app.now()).await.unwrap();
        tx.commit().await.unwrap();
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(download::download(&yard.world.app, &yard.me, key.clone()).await.unwrap());
        }
        let busy = download::download(&yard.world.app, &yard.me, key.clone()).await.err().unwrap();
        assert_eq!(busy.kind, ErrorKind::TooMany);
        let one = held.pop().unwrap();
        assert!(one.name.starts_with("reeve-s1-") && one.name.ends_with(".rvb"));
        let bytes: Vec<u8> = one.bytes.map(|piece| piece.unwrap().to_vec()).collect::<Vec<_>>().await.concat();
        let opened = BackupKey::passphrase("the caller's own").unwrap();
        backup::verify(&bytes[..], &opened).await.unwrap();
        let planted = std::str::from_utf8(SERVER_JSON).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(planted));
        let short = KeyText::Passphrase(Secret::new("short"));
        let error = download::download(&yard.world.app, &yard.me, short).await.err().unwrap();
        assert!(error.details.contains_key("passphrase"));
    })
    .await;
}

#[tokio::test]
async fn a_database_in_use_is_not_replaced() {
    let from = Yard::new(TestDb::sqlite().await).await;
    let key = KeyText::Passphrase(Secret::new(PASSPHRASE));
    let bytes = {
        use futures::StreamExt;
        let one = download::download(&from.world.app, &from.me, key).await.unwrap();
        one.bytes.map(|piece| piece.unwrap().to_vec()).collect::<Vec<_>>().await.concat()
    };
    let target = Yard::new(TestDb::postgres().await).await;
    let about = server::About { version: "1.0.0".into(), listeners: "{}".into() };
    server::join(&target.world.app, about).await.unwrap();
    let key = BackupKey::passphrase(PASSPHRASE).unwrap();
    let store = &target.world.app.store;
    let refused = backup::restore(&bytes[..], &key, store, true, |_| Ok(())).await.err().unwrap();
    assert_eq!((refused.kind, refused.reason), (ErrorKind::Conflict, backup::IN_USE));
    assert!(refused.message.contains("admin-s1"), "{refused}");
    // One that said goodbye, or whose lease has passed, is in nobody's way.
    server::leave(&target.world.app).await.unwrap();
    backup::restore(&bytes[..], &key, store, true, |_| Ok(())).await.unwrap();
}
