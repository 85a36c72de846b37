//! Users, logins, tokens and who is behind them.

use std::time::Duration;

use reeve_domain::identity::user::{Change, Create};
use reeve_domain::identity::{api_token, authenticate, bootstrap, me, prune, session, user, write_uses};
use reeve_store::{Topic, api_token as token_rows};
use reeve_testkit::PATIENCE;
use reeve_testkit::db::on_both;
use reeve_types::access::StaticKey;
use reeve_types::user::User;
use reeve_types::{Actor, ErrorKind, Page, Permission, Principal, Role, Secret, Timestamp};

use crate::{Bench, app_with, nobody_from};

const PASSWORD: &str = "correct horse battery";

async fn make(bench: &Bench, name: &str, role: Role) -> User {
    let input = Create { username: name.into(), password: Secret::new(PASSWORD), role };
    user::create(&bench.app, &Actor::system(), input).await.unwrap()
}

async fn login(bench: &Bench, name: &str, password: &str) -> reeve_types::Result<session::Tokens> {
    session::login(&bench.app, &nobody_from("192.0.2.7"), name, &Secret::new(password)).await
}

async fn who(bench: &Bench, bearer: &str) -> reeve_types::Result<Actor> {
    authenticate::authenticate(&bench.app, bearer, "192.0.2.7").await
}

#[tokio::test]
async fn a_login_gives_the_rights_of_the_role() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let alice = make(&bench, "alice", Role::Developer).await;
        let tokens = login(&bench, " Alice ", PASSWORD).await.unwrap();
        let actor = who(&bench, tokens.access_token.expose()).await.unwrap();
        assert_eq!(actor.principal, Principal::User { id: alice.id.clone(), name: "alice".into() });
        assert!(actor.may(Permission::CommandsRun) && !actor.may(Permission::NodesWrite));
        assert_eq!(actor.request.remote, "192.0.2.7");
        let me = me::get(&bench.app, &actor).await.unwrap();
        assert_eq!((me.id, me.kind, me.name, me.role), (alice.id.0, "user", "alice".into(), Some(Role::Developer)));
        assert!(me::get(&bench.app, &Actor::anonymous()).await.is_err());

        bench.clock.advance_ms(900_000);
        assert_eq!(who(&bench, tokens.access_token.expose()).await.unwrap_err().kind, ErrorKind::Unauthenticated);
    })
    .await;
}

#[tokio::test]
async fn wrong_credentials_are_all_alike() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        make(&bench, "alice", Role::Viewer).await;
        let bob = make(&bench, "bob", Role::Viewer).await;
        let disable = Change { disabled: Some(true), ..Change::default() };
        user::update(&bench.app, &Actor::system(), &bob.id, disable).await.unwrap();
        for (name, password) in
            [("alice", "wrong password"), ("nobody", PASSWORD), ("bob", PASSWORD), ("", ""), ("a\0b", "\0")]
        {
            let error = login(&bench, name, password).await.unwrap_err();
            assert_eq!(
                (error.kind, &*error.message),
                (ErrorKind::Unauthenticated, "the username or the password is wrong")
            );
        }
        for bearer in ["", "x", "rv_", "rv_00000000_x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
            assert_eq!(who(&bench, bearer).await.unwrap_err().kind, ErrorKind::Unauthenticated, "{bearer}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_changed_access_token_is_refused() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        make(&bench, "alice", Role::Viewer).await;
        let token = login(&bench, "alice", PASSWORD).await.unwrap().access_token;
        let token = token.expose();
        let last = token.rfind('.').unwrap();
        for at in [0, 5, token.find('.').unwrap() + 3, last + 1, last + 20] {
            let mut changed = token.as_bytes().to_vec();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            assert!(who(&bench, std::str::from_utf8(&changed).unwrap()).await.is_err(), "at {at}");
        }
        let stranger = app_with(&bench.db, bench.clock.clone(), &[("k1", 7)]);
        assert!(authenticate::authenticate(&stranger, token, "").await.is_err());
        let rotated = app_with(&bench.db, bench.clock.clone(), &[("k2", 2), ("k1", 1)]);
        assert!(authenticate::authenticate(&rotated, token, "").await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn failed_logins_slow_down_the_next() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        make(&bench, "alice", Role::Viewer).await;
        for _ in 0..5 {
            assert_eq!(login(&bench, "alice", "wrong password").await.unwrap_err().kind, ErrorKind::Unauthenticated);
        }
        // Not even the right password, and not from elsewhere.
        let elsewhere = nobody_from("192.0.2.99");
        let error = session::login(&bench.app, &elsewhere, "alice", &Secret::new(PASSWORD)).await.unwrap_err();
        assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::TooMany, Some(1_000)));
        // Other servers know too.
        let other = app_with(&bench.db, bench.clock.clone(), &[("k1", 1)]);
        assert!(session::login(&other, &elsewhere, "alice", &Secret::new(PASSWORD)).await.is_err());

        bench.clock.advance_ms(1_000);
        assert_eq!(login(&bench, "alice", "wrong password").await.unwrap_err().kind, ErrorKind::Unauthenticated);
        assert_eq!(login(&bench, "alice", PASSWORD).await.unwrap_err().retry_after_ms, Some(2_000));
        bench.clock.advance_ms(2_000);
        login(&bench, "alice", PASSWORD).await.unwrap();
        // A right password clears the name.
        for _ in 0..4 {
            assert_eq!(login(&bench, "alice", "wrong password").await.unwrap_err().kind, ErrorKind::Unauthenticated);
        }
        login(&bench, "alice", PASSWORD).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_address_that_tries_many_names_is_slowed_down() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        make(&bench, "alice", Role::Viewer).await;
        for i in 0..20 {
            assert_eq!(
                login(&bench, &format!("name{i}"), "wrong password").await.unwrap_err().kind,
                ErrorKind::Unauthenticated
            );
        }
        assert_eq!(login(&bench, "alice", PASSWORD).await.unwrap_err().kind, ErrorKind::TooMany);
        let elsewhere = nobody_from("192.0.2.99");
        session::login(&bench.app, &elsewhere, "alice", &Secret::new(PASSWORD)).await.unwrap();
        bench.clock.advance_ms(60 * 60 * 1000 + 1);
        login(&bench, "alice", PASSWORD).await.unwrap();
        assert!(bench.count("login_failures").await > 15);
        prune(&bench.app).await.unwrap();
        assert_eq!(bench.count("login_failures").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_refresh_token_works_once() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        make(&bench, "alice", Role::Viewer).await;
        let first = login(&bench, "alice", PASSWORD).await.unwrap();
        let other_login = login(&bench, "alice", PASSWORD).await.unwrap();
        let nobody = nobody_from("192.0.2.7");
        let second = session::refresh(&bench.app, &nobody, &first.refresh_token).await.unwrap();
        assert_ne!(first.refresh_token, second.refresh_token);
        assert!(who(&bench, second.access_token.expose()).await.is_ok());

        // A client racing with itself within a second: refused, nothing else.
        assert!(session::refresh(&bench.app, &nobody, &first.refresh_token).await.is_err());
        assert!(who(&bench, second.access_token.expose()).await.is_ok());

        // Later it is a theft: the session is over, for both who hold a token of it.
        bench.clock.advance_ms(1_000);
        assert!(session::refresh(&bench.app, &nobody, &first.refresh_token).await.is_err());
        assert!(session::refresh(&bench.app, &nobody, &second.refresh_token).await.is_err());
        assert!(who(&bench, second.access_token.expose()).await.is_err());
        assert!(who(&bench, first.access_token.expose()).await.is_err());
        assert_eq!(bench.count("audit_entries WHERE action = 'session.reuse'").await, 1);
        // Other sessions go on.
        assert!(who(&bench, other_login.access_token.expose()).await.is_ok());
        session::refresh(&bench.app, &nobody, &other_login.refresh_token).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn of_two_exchanges_at_once_one_succeeds() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        make(&bench, "alice", Role::Viewer).await;
        let tokens = login(&bench, "alice", PASSWORD).await.unwrap();
        let tasks: Vec<_> = (0..6)
            .map(|_| {
                let (app, token) = (bench.app.clone(), tokens.refresh_token.clone());
                tokio::spawn(async move { session::refresh(&app, &nobody_from(""), &token).await.is_ok() })
            })
            .collect();
        let mut succeeded = 0;
        for task in tasks {
            succeeded += usize::from(task.await.unwrap());
        }
        assert_eq!(succeeded, 1);
    })
    .await;
}

#[tokio::test]
async fn sessions_end() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let nobody = nobody_from("");
        make(&bench, "alice", Role::Viewer).await;
        let tokens = login(&bench, "alice", PASSWORD).await.unwrap();
        assert!(who(&bench, tokens.access_token.expose()).await.is_ok());
        session::logout(&bench.app, &nobody, &tokens.refresh_token).await.unwrap();
        assert!(who(&bench, tokens.access_token.expose()).await.is_err());
        assert!(session::refresh(&bench.app, &nobody, &tokens.refresh_token).await.is_err());
        session::logout(&bench.app, &nobody, &tokens.refresh_token).await.unwrap();
        session::logout(&bench.app, &nobody, &Secret::new("rvr_unknown")).await.unwrap();

        let tokens = login(&bench, "alice", PASSWORD).await.unwrap();
        bench.clock.advance_ms(3_600_000);
        assert!(session::refresh(&bench.app, &nobody, &tokens.refresh_token).await.is_err());
        bench.clock.advance_ms(1);
        prune(&bench.app).await.unwrap();
        assert_eq!(bench.count("refresh_tokens").await, 0);
    })
    .await;
}

#[tokio::test]
async fn changes_of_rights_hold_at_once() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let system = Actor::system();
        let alice = make(&bench, "alice", Role::Operator).await;
        let tokens = login(&bench, "alice", PASSWORD).await.unwrap();
        assert!(who(&bench, tokens.access_token.expose()).await.unwrap().may(Permission::NodesWrite));
        let to_viewer = Change { role: Some(Role::Viewer), ..Change::default() };
        user::update(&bench.app, &system, &alice.id, to_viewer).await.unwrap();
        assert!(who(&bench, tokens.access_token.expose()).await.is_err());
        // A change of role keeps the session.
        let tokens = session::refresh(&bench.app, &nobody_from(""), &tokens.refresh_token).await.unwrap();
        let actor = who(&bench, tokens.access_token.expose()).await.unwrap();
        assert!(!actor.may(Permission::NodesWrite));

        let error =
            user::set_password(&bench.app, &actor, &alice.id, None, &Secret::new("another one")).await.unwrap_err();
        assert!(error.details.contains_key("current_password"));
        let wrong = Secret::new("wrong password");
        let error = user::set_password(&bench.app, &actor, &alice.id, Some(&wrong), &Secret::new("another one"))
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        let right = Secret::new(PASSWORD);
        user::set_password(&bench.app, &actor, &alice.id, Some(&right), &Secret::new("another one")).await.unwrap();
        assert!(who(&bench, tokens.access_token.expose()).await.is_err());
        assert!(session::refresh(&bench.app, &nobody_from(""), &tokens.refresh_token).await.is_err());
        assert!(login(&bench, "alice", PASSWORD).await.is_err());
        let tokens = login(&bench, "alice", "another one").await.unwrap();

        user::delete(&bench.app, &system, &alice.id).await.unwrap();
        assert!(who(&bench, tokens.access_token.expose()).await.is_err());
        assert_eq!(bench.count("refresh_tokens").await, 0);
    })
    .await;
}

#[tokio::test]
async fn another_servers_change_voids_the_cache() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let alice = make(&bench, "alice", Role::Viewer).await;
        let tokens = login(&bench, "alice", PASSWORD).await.unwrap();
        assert!(who(&bench, tokens.access_token.expose()).await.is_ok());
        // Behind the caches' back: remembered for a few seconds.
        bench.sql("UPDATE users SET disabled = 1").await;
        assert!(who(&bench, tokens.access_token.expose()).await.is_ok());
        bench.clock.advance_ms(5_000);
        assert!(who(&bench, tokens.access_token.expose()).await.is_err());

        bench.sql("UPDATE users SET disabled = 0").await;
        assert!(who(&bench, tokens.access_token.expose()).await.is_ok());
        let second = reeve_store::Store::open(&bench.db.location).await.unwrap();
        let mut told = bench.app.store.subscribe(Topic::Access);
        told.mark_unchanged();
        let on_postgres = second.backend_name() == "postgres";
        let mut tx = second.begin().await.unwrap();
        tx.execute("UPDATE users SET disabled = 1", &[]).await.unwrap();
        tx.wake(Topic::Access);
        tx.commit().await.unwrap();
        if on_postgres {
            told.changed().await.unwrap();
        } else {
            bench.app.store.wake(Topic::Access);
        }
        assert!(who(&bench, tokens.access_token.expose()).await.is_err());
        assert_eq!(alice.username, "alice");
    })
    .await;
}

#[tokio::test]
async fn the_last_admin_stays() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let system = Actor::system();
        let first = make(&bench, "first", Role::Admin).await;
        for change in [
            Change { disabled: Some(true), ..Change::default() },
            Change { role: Some(Role::Viewer), ..Change::default() },
        ] {
            let error = user::update(&bench.app, &system, &first.id, change).await.unwrap_err();
            assert_eq!((error.kind, error.reason), (ErrorKind::Conflict, "last_admin"));
        }
        assert_eq!(user::delete(&bench.app, &system, &first.id).await.unwrap_err().reason, "last_admin");
        let second = make(&bench, "second", Role::Admin).await;
        // Each removes the other, at the same time.
        let (a, b) =
            tokio::join!(user::delete(&bench.app, &system, &first.id), user::delete(&bench.app, &system, &second.id));
        assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
        assert_eq!(bench.count("users").await, 1);
    })
    .await;
}

#[tokio::test]
async fn users_are_made_changed_and_listed() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let system = Actor::system();
        let alice = make(&bench, "alice", Role::Viewer).await;
        let again = Create { username: "alice".into(), password: Secret::new(PASSWORD), role: Role::Viewer };
        let error = user::create(&bench.app, &system, again).await.unwrap_err();
        assert_eq!((error.kind, &*error.message), (ErrorKind::Conflict, "username has already been taken"));
        make(&bench, "bob", Role::Viewer).await;
        let rename = Change { username: Some("bob".into()), ..Change::default() };
        assert_eq!(user::update(&bench.app, &system, &alice.id, rename).await.unwrap_err().kind, ErrorKind::Conflict);
        let rename = Change { username: Some("carol".into()), ..Change::default() };
        let carol = user::update(&bench.app, &system, &alice.id, rename).await.unwrap();
        assert_eq!(user::get(&bench.app, &system, &alice.id).await.unwrap(), carol);
        let page = user::list(&bench.app, &system, Page { number: 1, size: 1 }).await.unwrap();
        assert_eq!((page.total, &*page.items[0].username), (2, "bob"));
        assert_eq!(user::get(&bench.app, &system, &"gone".into()).await.unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(user::delete(&bench.app, &system, &"gone".into()).await.unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(bench.count("audit_entries WHERE action = 'user.create'").await, 2);
    })
    .await;
}

#[tokio::test]
async fn api_tokens_narrow_their_user() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let alice = make(&bench, "alice", Role::Operator).await;
        let actor = who(&bench, login(&bench, "alice", PASSWORD).await.unwrap().access_token.expose()).await.unwrap();
        let end = Timestamp(bench.app.now().0).plus_ms(60_000);
        let ci = api_token::Create {
            name: "ci".into(),
            scopes: vec!["edge.nodes.read".into(), "self.manage".into()],
            expires_at: Some(end),
        };
        let (row, secret) = api_token::create(&bench.app, &actor, ci.clone()).await.unwrap();
        assert!(secret.expose().starts_with(&format!("rv_{}_", row.prefix)) && row.prefix.len() == 8);
        let error = api_token::create(&bench.app, &actor, ci.clone()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict);
        for (scope, kind) in [("audit.read", ErrorKind::Forbidden), ("no.such", ErrorKind::Invalid)] {
            let input = api_token::Create { name: "x".into(), scopes: vec![scope.into()], expires_at: None };
            assert_eq!(api_token::create(&bench.app, &actor, input).await.unwrap_err().kind, kind);
        }
        let past = api_token::Create { name: "x".into(), scopes: vec![], expires_at: Some(bench.app.now()) };
        assert_eq!(api_token::create(&bench.app, &actor, past).await.unwrap_err().kind, ErrorKind::Invalid);

        let narrow = who(&bench, secret.expose()).await.unwrap();
        assert_eq!(
            narrow.principal,
            Principal::ApiToken { id: row.id.clone(), user: alice.id.clone(), name: "ci".into() }
        );
        assert!(narrow.may(Permission::NodesRead) && !narrow.may(Permission::NodesWrite));
        // A narrow token cannot make a wide one.
        let wide = api_token::Create { name: "wide".into(), scopes: vec![], expires_at: None };
        let (wide, _) = api_token::create(&bench.app, &narrow, wide).await.unwrap();
        assert_eq!(wide.scopes, ["edge.nodes.read", "self.manage"]);
        // Nor does one that ends live on in another.
        assert_eq!(wide.expires_at, Some(end));
        let later = api_token::Create { name: "later".into(), scopes: vec![], expires_at: Some(end.plus_ms(1)) };
        let error = api_token::create(&bench.app, &narrow, later).await.unwrap_err();
        assert!(error.kind == ErrorKind::Invalid && error.details.contains_key("expires_at"), "{error:?}");

        // Last use, to the minute and in batches.
        assert_eq!(bench.count("api_tokens WHERE last_used_at IS NOT NULL").await, 0);
        write_uses(&bench.app).await.unwrap();
        let mut tx = bench.app.store.read().await.unwrap();
        let used = token_rows::get(&mut tx, &row.id).await.unwrap().unwrap().last_used_at.unwrap();
        drop(tx);
        assert!(used.0 % 60_000_000 == 0 && used <= bench.app.now());

        let narrower_role = Change { role: Some(Role::Viewer), ..Change::default() };
        user::update(&bench.app, &Actor::system(), &alice.id, narrower_role).await.unwrap();
        assert!(who(&bench, secret.expose()).await.is_ok());
        bench.clock.advance_ms(60_000);
        assert!(who(&bench, secret.expose()).await.is_err());

        let page = api_token::list(&bench.app, &actor, Page::default()).await.unwrap();
        assert_eq!(page.total, 2);
        let bob = make(&bench, "bob", Role::Viewer).await;
        let bob = who(&bench, login(&bench, "bob", PASSWORD).await.unwrap().access_token.expose())
            .await
            .map(|a| (bob, a))
            .unwrap()
            .1;
        assert_eq!(api_token::delete(&bench.app, &bob, &row.id).await.unwrap_err().kind, ErrorKind::NotFound);
        api_token::delete(&bench.app, &actor, &row.id).await.unwrap();
        assert_eq!(api_token::delete(&bench.app, &actor, &row.id).await.unwrap_err().kind, ErrorKind::NotFound);
    })
    .await;
}

#[tokio::test]
async fn streams_end_with_the_rights_of_who_watches() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let alice = make(&bench, "alice", Role::Operator).await;
        let tokens = login(&bench, "alice", PASSWORD).await.unwrap();
        let actor = who(&bench, tokens.access_token.expose()).await.unwrap();
        let input = api_token::Create { name: "ci".into(), scopes: vec![], expires_at: None };
        let (token, secret) = api_token::create(&bench.app, &actor, input).await.unwrap();
        let watch = |bearer: &Secret, permission| {
            Box::pin(authenticate::revoked(bench.app.clone(), bearer.expose().to_owned(), permission))
        };
        let going_on = async |stream: &mut std::pin::Pin<Box<_>>| {
            tokio::time::timeout(Duration::from_millis(50), stream).await.is_err()
        };
        let (mut session, mut narrow) =
            (watch(&tokens.access_token, Permission::EventsRead), watch(&secret, Permission::EventsRead));
        let mut role = watch(&tokens.access_token, Permission::WebhooksRead);
        assert!(going_on(&mut session).await && going_on(&mut narrow).await && going_on(&mut role).await);
        // The access token ends, the session does not.
        bench.clock.advance_ms(3_600_000);
        api_token::delete(&bench.app, &actor, &token.id).await.unwrap();
        tokio::time::timeout(PATIENCE, narrow).await.expect("the token is gone");
        assert!(going_on(&mut session).await && going_on(&mut role).await);
        session::logout(&bench.app, &nobody_from("192.0.2.1"), &tokens.refresh_token).await.unwrap();
        tokio::time::timeout(PATIENCE, session).await.expect("the session is over");
        drop(role);

        let tokens = login(&bench, "alice", PASSWORD).await.unwrap();
        let mut role = watch(&tokens.access_token, Permission::WebhooksRead);
        assert!(going_on(&mut role).await);
        let viewer = Change { role: Some(Role::Viewer), ..Change::default() };
        user::update(&bench.app, &Actor::system(), &alice.id, viewer).await.unwrap();
        tokio::time::timeout(PATIENCE, role).await.expect("a viewer sees no webhooks");
    })
    .await;
}

#[tokio::test]
async fn a_deleted_token_is_refused_at_once() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        make(&bench, "alice", Role::Viewer).await;
        let actor = who(&bench, login(&bench, "alice", PASSWORD).await.unwrap().access_token.expose()).await.unwrap();
        let input = api_token::Create { name: "ci".into(), scopes: vec![], expires_at: None };
        let (row, secret) = api_token::create(&bench.app, &actor, input).await.unwrap();
        assert!(who(&bench, secret.expose()).await.is_ok());
        api_token::delete(&bench.app, &actor, &row.id).await.unwrap();
        assert!(who(&bench, secret.expose()).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn user_management_alone_is_not_everything() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let root = make(&bench, "root", Role::Admin).await;
        let actor = who(&bench, login(&bench, "root", PASSWORD).await.unwrap().access_token.expose()).await.unwrap();
        let input = api_token::Create {
            name: "hr".into(),
            scopes: vec!["users.write".into(), "users.read".into()],
            expires_at: None,
        };
        let (_, secret) = api_token::create(&bench.app, &actor, input).await.unwrap();
        let clerk = who(&bench, secret.expose()).await.unwrap();
        let evil = Create { username: "evil".into(), password: Secret::new(PASSWORD), role: Role::Admin };
        assert_eq!(user::create(&bench.app, &clerk, evil).await.unwrap_err().kind, ErrorKind::Forbidden);
        let new = Secret::new("taken over");
        assert_eq!(
            user::set_password(&bench.app, &clerk, &root.id, None, &new).await.unwrap_err().kind,
            ErrorKind::Forbidden
        );
        let change = Change { password: Some(new), ..Change::default() };
        assert_eq!(user::update(&bench.app, &clerk, &root.id, change).await.unwrap_err().kind, ErrorKind::Forbidden);
        assert_eq!(user::delete(&bench.app, &clerk, &root.id).await.unwrap_err().kind, ErrorKind::Forbidden);
    })
    .await;
}

#[tokio::test]
async fn static_keys_are_principals() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        for (bearer, key) in [
            ("master-master-master", StaticKey::Master),
            ("api-api-api", StaticKey::Api),
            ("metrics-metrics-metrics", StaticKey::Metrics),
            ("mcp-mcp-mcp", StaticKey::Mcp),
            ("proxy-proxy-proxy", StaticKey::Proxy),
        ] {
            assert_eq!(who(&bench, bearer).await.unwrap().principal, Principal::Key(key));
        }
        let master = who(&bench, "master-master-master").await.unwrap();
        assert_eq!(me::get(&bench.app, &master).await.unwrap().permissions.len(), Permission::ALL.len());
        let input = api_token::Create { name: "x".into(), scopes: vec![], expires_at: None };
        assert_eq!(api_token::create(&bench.app, &master, input).await.unwrap_err().kind, ErrorKind::Conflict);
        assert!(who(&bench, "master-master-maste").await.is_err());
    })
    .await;
}

#[tokio::test]
async fn there_is_one_first_admin() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let other = app_with(&bench.db, bench.clock.clone(), &[("k1", 1)]);
        let (a, b) = tokio::join!(bootstrap::first_admin(&bench.app, None), bootstrap::first_admin(&other, None));
        let passwords: Vec<Secret> = [a.unwrap(), b.unwrap()].into_iter().flatten().collect();
        let [password] = &passwords[..] else { panic!("{} admins", passwords.len()) };
        assert_eq!(login(&bench, "admin", password.expose()).await.unwrap().user.role, Role::Admin);
        assert_eq!(bootstrap::first_admin(&bench.app, Some(Secret::new("something else"))).await.unwrap(), None);
    })
    .await;
}
