//! `reeve webhook`: what it asks the server for and what it says.

use serde_json::{Value, json};

use crate::fake::{Fake, User, data, empty, page};

fn hook() -> Value {
    json!({
        "id": "w1", "url": "https://ops.example/hook", "subscribed_events": ["edge.node.registered"], "state": "active",
        "state_reason": null, "waiting_deliveries": 3, "failing_since": null, "has_headers": false,
        "inserted_at": "2026-01-10T11:00:00Z", "updated_at": "2026-01-10T11:00:00Z",
    })
}

fn delivery(state: &str, attempts: i64) -> Value {
    json!({
        "id": "d1", "webhook_id": "w1", "event_type": "reeve.webhook.test", "state": state, "attempts": attempts,
        "http_status": 200, "duration_ms": 12, "error": null, "event_time": "2026-01-10T11:00:00.000000Z",
    })
}

#[tokio::test]
async fn a_webhook_is_made_with_a_secret_that_is_shown_once() {
    let fake = Fake::start().await;
    fake.on("POST /edge/api/v1/webhooks", |_| data(hook()));
    let mut user = User::of(&fake);
    let line =
        "webhook create https://ops.example/hook --event edge.node.registered,edge.node.status_changed -H X-Team:ops";
    let ran = user.run(line).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let body = fake.asked("POST /edge/api/v1/webhooks")[0].body.clone();
    let secret = body["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && secret.len() >= 50, "{secret}");
    assert!(ran.stderr.contains(secret) && ran.stderr.contains("reeve webhook test w1"), "{}", ran.stderr);
    assert_eq!(body["headers"], json!({"X-Team": "ops"}));
    assert_eq!(body["subscribed_events"], json!(["edge.node.registered", "edge.node.status_changed"]));
    let ran = user.run("webhook create https://ops.example/hook").await;
    assert_eq!(ran.code, 2);
}

#[tokio::test]
async fn a_test_says_what_the_receiver_answered() {
    let fake = Fake::start().await;
    fake.on("GET /edge/api/v1/webhooks", |_| page(vec![hook()], 1, false));
    fake.on("POST /edge/api/v1/webhooks/w1/test", |_| data(delivery("pending", 0)));
    fake.on("GET /edge/api/v1/webhook_deliveries/d1", |_| data(delivery("delivered", 1)));
    let mut user = User::of(&fake);
    let ran = user.run("webhook test w1").await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "delivered: the receiver answered 200 after 12 ms\n"));
    fake.on("GET /edge/api/v1/webhook_deliveries/d1", |_| {
        let mut row = delivery("pending", 1);
        row["error"] = json!("answered 500");
        data(row)
    });
    let ran = user.run("webhook test w1").await;
    assert_eq!((ran.code, ran.stderr.as_str()), (1, "not delivered: answered 500\n"));
}

#[tokio::test]
async fn webhooks_are_listed_steered_and_sent_again() {
    let fake = Fake::start().await;
    fake.on("GET /edge/api/v1/webhooks", |_| page(vec![hook()], 1, false));
    fake.on("PATCH /edge/api/v1/webhooks/w1", |_| data(hook()));
    fake.on("POST /edge/api/v1/webhooks/w1/pause", |_| data(hook()));
    fake.on("POST /edge/api/v1/webhooks/w1/resume", |_| data(hook()));
    fake.on("GET /edge/api/v1/webhooks/w1/deliveries", |_| page(vec![delivery("failed", 12)], 1, false));
    fake.on("POST /edge/api/v1/webhook_deliveries/d1/redeliver", |_| data(delivery("pending", 12)));
    fake.on("POST /edge/api/v1/webhooks/w1/redeliver", |_| {
        data(json!({"requeued": 2, "added": 1, "continue_from": null}))
    });
    fake.on("DELETE /edge/api/v1/webhooks/w1", |_| empty());
    let mut user = User::of(&fake);
    let ran = user.run("webhook list --state active --event edge.node.registered").await;
    assert!(ran.stdout.contains("https://ops.example/hook"), "{}", ran.stdout);
    let asked = &fake.asked("GET /edge/api/v1/webhooks")[0];
    assert_eq!((asked.param("state"), asked.param("event_type")), (Some("active"), Some("edge.node.registered")));
    let ran = user.run("webhook update w1 --no-headers --overlap 1h").await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(
        fake.asked("PATCH /edge/api/v1/webhooks/w1")[0].body,
        json!({"headers": null, "secret_overlap_seconds": 3600})
    );
    assert_eq!(user.run("webhook update w1").await.code, 2);
    assert_eq!(user.run("webhook pause w1").await.stderr, "webhook w1 is paused; events wait for it\n");
    assert_eq!(user.run("webhook pause https://ops.example/hook").await.code, 0, "by its URL");
    assert_eq!(
        user.run("webhook show nosuch").await.stderr,
        "error: no webhook is called 'nosuch'\nnext:  `reeve webhook list` shows which there are\n"
    );
    assert_eq!(user.run("webhook resume w1").await.stderr, "webhook w1 is active\n");
    let ran = user.run("webhook deliveries w1 --state failed,dropped --status 500 --since 2h").await;
    assert!(ran.stdout.contains("failed"), "{}", ran.stdout);
    assert_eq!(fake.asked("GET /edge/api/v1/webhooks/w1/deliveries")[0].param("http_status"), Some("500"));
    assert_eq!(user.run("webhook redeliver d1").await.stderr, "delivery d1 is sent again\n");
    let ran = user.run("webhook redeliver w1 --since 2026-01-10").await;
    assert_eq!(ran.stderr, "2 deliveries are sent again, 1 events were added\n");
    let body = fake.asked("POST /edge/api/v1/webhooks/w1/redeliver")[0].body.clone();
    assert_eq!(body, json!({"since": "2026-01-10T00:00:00Z"}));
    assert_eq!(user.run("webhook delete w1").await.stderr, "webhook w1 deleted\n");
}
