//! Rotation of the sealing key, on rows.

use std::sync::{Arc, Mutex};

use reeve_domain::idempotency;
use reeve_domain::identity::{authenticate, bootstrap, session};
use reeve_domain::seal::rotate::{check_keys, rotate, setting_place};
use reeve_domain::seal::rotation;
use reeve_domain::{App, audit, background, cluster, enrollment_key, job};
use reeve_ports::SealKeys;
use reeve_store::setting;
use reeve_testkit::db::on_both;
use reeve_testkit::find;
use reeve_types::access::{Lookup, StoredReply};
use reeve_types::job::JobState;
use reeve_types::{Actor, Error, ErrorKind, Result, Secret};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{Bench, app_with, nobody_from, with_key};

/// The key file; refuses to be written while `full`.
#[derive(Default)]
struct FakeKeys {
    kept: Mutex<Vec<(String, Secret)>>,
    full: Mutex<bool>,
    fixed: bool,
}

impl SealKeys for FakeKeys {
    fn may_change(&self) -> Result<()> {
        if self.fixed { Err(Error::conflict("given by the settings")) } else { Ok(()) }
    }
    fn keep(&self, keys: &[(String, Secret)]) -> Result<()> {
        if *self.full.lock().unwrap() {
            return Err(Error::unavailable("the disk is full"));
        }
        *self.kept.lock().unwrap() = keys.to_vec();
        Ok(())
    }
}

/// Every place of the database with a text that the key `key_id` sealed.
async fn sealed_by(app: &App, key_id: &str) -> Vec<String> {
    let mut tx = app.store.read().await.unwrap();
    let columns = match app.store.is_shared() {
        true => {
            "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT) FROM information_schema.columns
             WHERE table_schema = current_schema() AND data_type = 'text'"
        }
        false => {
            "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c
             WHERE m.type = 'table' AND c.type = 'TEXT' AND m.name NOT LIKE 'sqlite_%'"
        }
    };
    let mut found = Vec::new();
    for mut row in tx.all(columns, &[]).await.unwrap() {
        let (table, column): (String, String) = (row.get().unwrap(), row.get().unwrap());
        let sql = format!("SELECT count(*) FROM {table} WHERE {column} LIKE 's1.{key_id}.%'");
        let count: i64 = tx.one(&sql, &[]).await.unwrap().get().unwrap();
        if count > 0 {
            found.push(format!("{table}.{column}: {count}"));
        }
    }
    found
}

async fn ended(bench: &Bench, id: &reeve_types::JobId) -> job::View {
    find("the job to end", async || {
        let view = job::get(&bench.app, &Actor::system(), id).await.unwrap();
        if view.job.state.is_final() {
            return Ok(view);
        }
        bench.clock.advance_ms(1_000);
        Err(view.job)
    })
    .await
}

#[tokio::test]
async fn a_running_server_takes_a_new_key_and_forgets_the_old_one() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let keys = Arc::new(FakeKeys::default());
        bench.app.set_seal_keys(keys.clone());
        let (app, system) = (&bench.app, Actor::system());
        // Something of every kind that is sealed or derived.
        check_keys(app).await.unwrap();
        bootstrap::first_admin(app, Some(Secret::new("long enough"))).await.unwrap();
        let main = cluster::Create { name: "main".into(), ipv4_range: None, node_limit: None };
        cluster::create(app, &system, main).await.unwrap();
        let key = enrollment_key::create(app, &system, "main", enrollment_key::Create::default()).await.unwrap();
        let tokens =
            session::login(app, &nobody_from("192.0.2.1"), "admin", &Secret::new("long enough")).await.unwrap();
        let once = with_key(&system, "r1", "once", "f");
        let mut tx = app.begin(&once).await.unwrap();
        setting::put(&mut tx, "by.hand", &app.seal.seal(&*app.ids, setting_place("by.hand"), "x"), app.now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let reply = StoredReply { status: 201, headers: Vec::new(), body: "{}".into() };
        idempotency::complete(app, &once, &reply).await.unwrap();
        assert!(sealed_by(app, "k1").await.len() >= 3);

        let stop = CancellationToken::new();
        let mut loops = background::start(app, &stop);
        let started = rotation::start(app, &system).await.unwrap();
        assert_eq!(rotation::start(app, &system).await.unwrap().job.id, started.job.id, "one at a time");
        let done = ended(&bench, &started.job.id).await;
        assert_eq!((done.job.state, done.job.error), (JobState::Succeeded, None));
        assert_eq!(done.job.done, done.job.total);

        assert_eq!(sealed_by(app, "k1").await, Vec::<String>::new());
        let status = rotation::status(app, &system).await.unwrap();
        assert_eq!((status.keys.len(), status.others), (1, 0));
        assert_eq!(done.job.subject, format!("seal:{}", status.keys[0].0));
        assert!(status.keys[0].1 >= 4, "{status:?}");
        assert_eq!(keys.kept.lock().unwrap().iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), app.seal.key_ids());
        let output = job::output(app, &system, &done.job.id, 0, 10_000).await.unwrap().text;
        assert!(output.ends_with("dropped the key k1\n"), "{output}");

        // A server that starts with what was kept reads everything.
        let kept = keys.kept.lock().unwrap().clone();
        let seal = reeve_domain::seal::Seal::new(kept).unwrap();
        let ids = Arc::new(reeve_types::id::SystemIds);
        let config = reeve_domain::config::Config::with_keys(crate::keys());
        let next = App::new(app.store.clone(), bench.clock.clone(), ids, seal, config, "server".into());
        for app in [&next, &**app] {
            check_keys(app).await.unwrap();
            assert!(audit::verify(app, &system).await.unwrap().ok);
            let shown = enrollment_key::get(app, &system, &key.row.id).await.unwrap();
            assert_eq!(shown.key.expose(), key.key.expose());
            let again = with_key(&system, "r2", "once", "f");
            assert_eq!(idempotency::lookup(app, &again).await.unwrap(), Lookup::Replay(reply.clone()));
            // An access token ends with its key; the session goes on with its refresh token.
            assert!(authenticate::authenticate(app, tokens.access_token.expose(), "").await.is_err());
        }
        let fresh = session::refresh(&next, &nobody_from("192.0.2.1"), &tokens.refresh_token).await.unwrap();
        authenticate::authenticate(app, fresh.access_token.expose(), "").await.unwrap();
        stop.cancel();
        while loops.join_next().await.is_some() {}
    })
    .await;
}

#[tokio::test]
async fn a_rotation_goes_on_where_a_crash_stopped_it() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let keys = Arc::new(FakeKeys::default());
        bench.app.set_seal_keys(keys.clone());
        check_keys(&bench.app).await.unwrap();
        let stop = CancellationToken::new();
        let loops = background::start(&bench.app, &stop);
        let started = rotation::start(&bench.app, &Actor::system()).await.unwrap();
        find("the wait for old transactions", async || {
            let text = job::output(&bench.app, &Actor::system(), &started.job.id, 0, 10_000).await.unwrap().text;
            if text.contains("waiting for transactions") { Ok(()) } else { Err(text) }
        })
        .await;
        drop(loops);

        bench.clock.advance_ms(20_000);
        let config = reeve_domain::config::Config::with_keys(crate::keys());
        let seal = reeve_domain::seal::Seal::new(keys.kept.lock().unwrap().clone()).unwrap();
        let ids = Arc::new(reeve_types::id::SystemIds);
        let next = Arc::new(App::new(bench.app.store.clone(), bench.clock.clone(), ids, seal, config, "server".into()));
        next.set_seal_keys(keys.clone());
        let _loops = background::start(&next, &stop);
        let again = next.now();
        let bench = Bench { app: next, ..bench };
        assert_eq!(ended(&bench, &started.job.id).await.job.state, JobState::Succeeded);
        assert_eq!(bench.app.seal.key_ids().len(), 1);
        // Who sealed with the old key is dead. A transaction of theirs may live on in PostgreSQL for a while.
        let took_ms = bench.app.now().ms_since(again);
        assert!(bench.app.store.is_shared() || took_ms < 30_000, "{took_ms}");
        stop.cancel();
    })
    .await;
}

#[tokio::test]
async fn a_key_that_cannot_be_kept_is_not_used() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let refused = rotation::start(&bench.app, &Actor::system()).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Conflict, "no place for keys");
        let keys = Arc::new(FakeKeys { full: Mutex::new(true), ..FakeKeys::default() });
        bench.app.set_seal_keys(keys.clone());
        let stop = CancellationToken::new();
        let mut loops = background::start(&bench.app, &stop);
        let started = rotation::start(&bench.app, &Actor::system()).await.unwrap();
        find("the first failure", async || {
            let job = job::get(&bench.app, &Actor::system(), &started.job.id).await.unwrap().job;
            if job.error.as_deref() == Some("the disk is full") { Ok(()) } else { Err(job) }
        })
        .await;
        assert_eq!(bench.app.seal.key_ids(), ["k1"]);
        *keys.full.lock().unwrap() = false;
        assert_eq!(ended(&bench, &started.job.id).await.job.state, JobState::Succeeded);
        assert_ne!(bench.app.seal.key_ids(), ["k1"]);
        stop.cancel();
        while loops.join_next().await.is_some() {}
    })
    .await;
}

#[tokio::test]
async fn keys_that_others_hold_are_not_rotated() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        bench.app.set_seal_keys(Arc::new(FakeKeys { fixed: true, ..FakeKeys::default() }));
        let fixed = rotation::start(&bench.app, &Actor::system()).await.unwrap_err();
        assert_eq!((fixed.kind, fixed.message.as_str()), (ErrorKind::Conflict, "given by the settings"));

        let bench = Bench { app: app_with(&bench.db, bench.clock.clone(), &[("k1", 1)]), ..bench };
        bench.app.set_seal_keys(Arc::new(FakeKeys::default()));
        let now = bench.app.now().0;
        bench.sql(&format!("INSERT INTO servers (id, version, listeners, started_at, last_seen_at) VALUES ('other', '1', '{{}}', {now}, {now})")).await;
        let shared = rotation::start(&bench.app, &Actor::system()).await.unwrap_err();
        assert!(shared.kind == ErrorKind::Conflict && shared.message.contains("REEVE_SEAL_KEY"), "{shared}");
    })
    .await;
}

#[tokio::test]
async fn everything_is_sealed_again_and_the_old_key_can_go() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let names: Vec<String> = (0..450).map(|i| format!("secret.{i:04}")).collect();
        let mut tx = bench.app.store.begin().await.unwrap();
        for name in &names {
            let sealed = bench.app.seal.seal(&*bench.app.ids, setting_place(name), &format!("value of {name}"));
            setting::put(&mut tx, name, &sealed, bench.app.now()).await.unwrap();
        }
        setting::put(&mut tx, "plain", "not sealed", bench.app.now()).await.unwrap();
        setting::put(&mut tx, "strange", "s1.k0.AAAA", bench.app.now()).await.unwrap();
        audit::record(&bench.app, &mut tx, &Actor::system(), "thing.do", "x", json!({})).await.unwrap();
        tx.commit().await.unwrap();

        let both = app_with(&bench.db, bench.clock.clone(), &[("k2", 2), ("k1", 1)]);
        let rotated = rotate(&both).await.unwrap();
        assert_eq!((rotated.resealed, rotated.unreadable), (450, vec!["settings.value strange".to_owned()]));
        assert_eq!(rotate(&both).await.unwrap().resealed, 0);

        let new = app_with(&bench.db, bench.clock.clone(), &[("k2", 2)]);
        let mut tx = new.store.read().await.unwrap();
        for name in &names {
            let sealed = setting::get(&mut tx, name).await.unwrap().unwrap();
            assert_eq!(new.seal.open(setting_place(name), &sealed).unwrap().expose(), format!("value of {name}"));
        }
        drop(tx);
        let found = audit::verify(&new, &Actor::system()).await.unwrap();
        assert_eq!((found.ok, found.entries), (true, 2), "{found:?}");

        let newest = app_with(&bench.db, bench.clock.clone(), &[("k3", 3), ("k2", 2)]);
        rotate(&newest).await.unwrap();
        let newest = app_with(&bench.db, bench.clock.clone(), &[("k3", 3)]);
        assert!(audit::verify(&newest, &Actor::system()).await.unwrap().ok);
    })
    .await;
}

#[tokio::test]
async fn another_databases_key_is_noticed() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        check_keys(&bench.app).await.unwrap();
        check_keys(&bench.app).await.unwrap();
        assert!(check_keys(&app_with(&bench.db, bench.clock.clone(), &[("k1", 9)])).await.is_err());
        assert!(check_keys(&app_with(&bench.db, bench.clock.clone(), &[("k2", 2)])).await.is_err());
    })
    .await;
}
