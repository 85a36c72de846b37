//! What each operation does.

use reeve_testkit::db::on_both;
use serde_json::{Value, json};

use crate::{ADMIN_PASSWORD, Ask, Console};

#[tokio::test]
async fn a_session_from_login_to_logout() {
    on_both(|db| async move {
        let console = Console::new(db).await;
        let login = console.login("admin", ADMIN_PASSWORD).await;
        assert_eq!((login.status, login.headers["cache-control"].to_str().unwrap()), (200, "no-store"));
        assert_eq!(login.data("/user/role"), "admin");
        let me = console.send("GET", "/api/me", &login.text("/access_token"), Value::Null).await;
        assert_eq!((me.status, me.data("/kind"), me.data("/name")), (200, &json!("user"), &json!("admin")));

        let refresh = json!({ "refresh_token": login.text("/refresh_token") });
        let next = console.send("POST", "/api/auth/refresh", "", refresh.clone()).await;
        assert_eq!(next.status, 200);
        console.clock.advance_ms(1_000);
        assert_eq!(console.send("POST", "/api/auth/refresh", "", refresh).await.status, 401);
        assert_eq!(console.send("GET", "/api/me", &next.text("/access_token"), Value::Null).await.status, 401);

        let login = console.login("admin", ADMIN_PASSWORD).await;
        let refresh = json!({ "refresh_token": login.text("/refresh_token") });
        assert_eq!(console.send("POST", "/api/auth/logout", "", refresh.clone()).await.status, 204);
        assert_eq!(console.send("POST", "/api/auth/logout", "", refresh).await.status, 204);
        assert_eq!(console.send("GET", "/api/me", &login.text("/access_token"), Value::Null).await.status, 401);
        assert_eq!(console.send("POST", "/api/auth/login", "", json!({ "username": "admin" })).await.status, 400);
    })
    .await;
}

#[tokio::test]
async fn too_many_failed_logins_say_when_to_come_back() {
    on_both(|db| async move {
        let console = Console::new(db).await;
        for _ in 0..6 {
            console.login("admin", "wrong password").await;
            console.clock.advance_ms(1_000);
        }
        let blocked = console.login("admin", ADMIN_PASSWORD).await;
        assert_eq!((blocked.status, &blocked.body["error"]["code"]), (429, &json!("too_many_requests")));
        assert_eq!(blocked.headers["retry-after"], "1");
    })
    .await;
}

#[tokio::test]
async fn users() {
    on_both(|db| async move {
        let console = Console::new(db).await;
        let admin = console.login("admin", ADMIN_PASSWORD).await.text("/access_token");
        let bob = json!({ "username": "bob", "password": "bob's password", "role": "viewer" });
        let made = console.send("POST", "/api/users", &admin, bob.clone()).await;
        assert_eq!(made.status, 201);
        let path = made.headers["location"].to_str().unwrap().to_owned();
        assert_eq!(path, format!("/api/users/{}", made.text("/id")));
        assert!(!made.body.to_string().contains("argon2"));
        assert_eq!(console.send("POST", "/api/users", &admin, bob).await.status, 409);
        for bad in [
            json!({ "username": "Bob!", "password": "x", "role": "viewer" }),
            json!({ "username": "bo", "password": "short", "role": "viewer" }),
        ] {
            let refused = console.send("POST", "/api/users", &admin, bad).await;
            assert_eq!((refused.status, refused.body["error"]["details"].is_object()), (422, true));
        }
        let role = json!({ "username": "carol", "password": "carol's own", "role": "king" });
        assert_eq!(console.send("POST", "/api/users", &admin, role).await.status, 400);

        let token = console.login("bob", "bob's password").await.text("/access_token");
        let refused = console.send("GET", "/api/users", &token, Value::Null).await;
        assert_eq!(refused.status, 403);
        let own = json!({ "password": "bob's next one", "current_password": "bob's password" });
        assert_eq!(console.send("POST", &format!("{path}/password"), &token, own).await.status, 204);
        assert_eq!(console.send("GET", "/api/me", &token, Value::Null).await.status, 401);
        assert_eq!(console.login("bob", "bob's next one").await.status, 200);

        let changed = console.send("PATCH", &path, &admin, json!({ "role": "operator", "disabled": true })).await;
        assert_eq!((changed.data("/role"), changed.data("/disabled")), (&json!("operator"), &json!(true)));
        assert_eq!(console.login("bob", "bob's next one").await.status, 401);
        let listed = console.send("GET", "/api/users?page_size=1", &admin, Value::Null).await;
        assert_eq!(listed.body["meta"]["pagination"]["total_count"], 2);
        assert_eq!(console.send("GET", &path, &admin, Value::Null).await.text("/username"), "bob");
        assert_eq!(console.send("DELETE", &path, &admin, Value::Null).await.status, 204);
        assert_eq!(console.send("GET", &path, &admin, Value::Null).await.status, 404);
        let me = console.send("GET", "/api/me", &admin, Value::Null).await.text("/id");
        assert_eq!(console.send("DELETE", &format!("/api/users/{me}"), &admin, Value::Null).await.status, 409);
    })
    .await;
}

#[tokio::test]
async fn tokens_and_idempotency() {
    on_both(|db| async move {
        let console = Console::new(db).await;
        let admin = console.login("admin", ADMIN_PASSWORD).await.text("/access_token");
        let body = json!({ "name": "ci", "scopes": ["audit.read"], "expires_at": "2030-01-01T00:00:00Z" });
        let create = || Ask {
            method: "POST",
            path: "/api/tokens",
            bearer: &admin,
            body: body.clone(),
            header: Some(("idempotency-key", "once")),
        };
        let made = console.ask(create()).await;
        let again = console.ask(create()).await;
        assert_eq!((made.status, again.status), (201, 201));
        assert_eq!(made.text("/token"), again.text("/token"));
        assert_eq!(again.headers["idempotency-replayed"], "true");
        console.sql("UPDATE idempotency_keys SET reply = NULL").await;
        let on_its_way = console.ask(create()).await;
        assert_eq!((on_its_way.status, &on_its_way.body["error"]["code"]), (409, &json!("conflict")));
        console.clock.advance_ms(61_000);
        let lost = console.ask(create()).await;
        assert_eq!((lost.status, &lost.body["error"]["code"]), (409, &json!("idempotency_answer_lost")));
        assert!(lost.body["error"]["message"].as_str().unwrap().contains("was applied, but its answer was lost"));
        assert!(!lost.headers.contains_key("retry-after"), "trying again is of no use");
        let other = Ask { body: json!({ "name": "cd" }), ..create() };
        assert_eq!(console.ask(other).await.status, 422);

        let token = made.text("/token");
        assert!(token.starts_with(&format!("rv_{}_", made.text("/prefix"))));
        let me = console.send("GET", "/api/me", &token, Value::Null).await;
        assert_eq!((me.data("/kind"), me.data("/permissions")), (&json!("token"), &json!(["audit.read"])));
        assert_eq!(console.send("GET", "/api/audit", &token, Value::Null).await.status, 200);
        assert_eq!(console.send("GET", "/api/users", &token, Value::Null).await.status, 403);
        assert_eq!(console.send("GET", "/api/tokens", &admin, Value::Null).await.data("").as_array().unwrap().len(), 1);
        for (bad, status) in
            [(json!({ "name": "x", "scopes": ["no.such"] }), 422), (json!({ "name": "ci" }), 409), (json!({}), 400)]
        {
            assert_eq!(console.send("POST", "/api/tokens", &admin, bad).await.status, status);
        }
        assert_eq!(console.send("POST", "/api/tokens", "master-key", json!({ "name": "x" })).await.status, 409);
        let path = format!("/api/tokens/{}", made.text("/id"));
        assert_eq!(console.send("DELETE", &path, &admin, Value::Null).await.status, 204);
        assert_eq!(console.send("DELETE", &path, &admin, Value::Null).await.status, 404);
        assert_eq!(console.send("GET", "/api/audit", &token, Value::Null).await.status, 401);
    })
    .await;
}

#[tokio::test]
async fn the_audit_log_is_read_and_checked() {
    on_both(|db| async move {
        let console = Console::new(db).await;
        console.login("admin", ADMIN_PASSWORD).await;
        let all = console.send("GET", "/api/audit", "master-key", Value::Null).await;
        assert_eq!((all.data("/0/action"), all.data("/0/actor")), (&json!("session.login"), &json!("user:admin")));
        assert_eq!((all.data("/1/action"), all.data("/1/details/role")), (&json!("user.create"), &json!("admin")));
        for (query, count) in [
            ("action=user.*", 1),
            ("actor=system", 1),
            ("since=2090-01-01", 0),
            ("until=2027-01-15", 2),
            ("subject=x", 0),
        ] {
            let some = console.send("GET", &format!("/api/audit?{query}"), "master-key", Value::Null).await;
            assert_eq!(some.body["meta"]["pagination"]["total_count"], count, "{query}");
        }
        let whole = console.send("GET", "/api/audit/verify", "master-key", Value::Null).await;
        assert_eq!(whole.body["data"], json!({ "ok": true, "entries": 2 }));
        let mut tx = console.db.store.begin().await.unwrap();
        tx.execute("UPDATE audit_entries SET details = 'broken' WHERE seq = 1", &[]).await.unwrap();
        tx.commit().await.unwrap();
        let broken = console.send("GET", "/api/audit/verify", "master-key", Value::Null).await;
        assert_eq!((broken.data("/ok"), broken.data("/first_bad")), (&json!(false), &json!(1)));
    })
    .await;
}
