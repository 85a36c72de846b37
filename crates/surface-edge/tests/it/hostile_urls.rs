//! URLs that lead into the server's own network: refused over HTTP when a webhook is made or changed, and refused when a
//! delivery is attempted, for a row that got into the store by other means or was fine when it was made.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reeve_domain::webhook::{self, delivery};
use reeve_testkit::app::TestApp;
use reeve_testkit::db::on_both;
use reeve_testkit::{find, hostile};
use reeve_types::webhook::{DeliveryFilter, DeliveryState};
use reeve_types::{Actor, Page, Secret};
use serde_json::json;

const SECRET: &str = "a-cryptographically-random-32-byte-secret";

/// A listener that counts who connects.
async fn listener() -> (u16, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connected = Arc::new(AtomicUsize::new(0));
    let counted = connected.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (port, connected)
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_urls_are_refused_at_creation_and_at_delivery() {
    on_both(|db| async move {
        let app = TestApp::strict(db).await;
        let (port, connected) = listener().await;
        let urls = hostile::urls(port);
        assert!(urls.len() >= 80, "{}", urls.len());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let endpoint = format!("{}/api/v1/webhooks", app.url);
        for url in &urls {
            let body = json!({"url": url, "secret": SECRET, "subscribed_events": ["edge.node.registered"]});
            let asked = client.post(&endpoint).bearer_auth(&app.keys.api).body(body.to_string());
            let answer = asked.header("content-type", "application/json").send().await.unwrap();
            let status = answer.status().as_u16();
            assert!(matches!(status, 400 | 422), "{url}: {status}");
            let problem: serde_json::Value = answer.json().await.unwrap();
            assert!(problem["error"]["details"]["url"].is_array(), "{url}: {problem}");
        }

        let admin = Actor::system();
        for (n, url) in urls.iter().enumerate() {
            let input = webhook::Create {
                // Nothing is sent there: a public address passes the check.
                url: format!("http://8.8.8.8/{n}"),
                secret: Secret::new(SECRET),
                headers: None,
                subscribed_events: vec!["edge.node.registered".to_owned()],
            };
            let hook = webhook::create(&app.app, &admin, input).await.unwrap();
            let mut tx = app.app.store.begin().await.unwrap();
            // PostgreSQL keeps no NUL.
            let planted = url.replace('\0', "\u{1}").replace('\'', "''");
            let sql = format!("UPDATE webhooks SET url = '{planted}' WHERE id = '{}'", hook.id);
            tx.execute(&sql, &[]).await.unwrap();
            tx.commit().await.unwrap();
            // Told of a change, the sender looks at the row again before it sends anything.
            webhook::pause(&app.app, &admin, &hook.id).await.unwrap();
            webhook::resume(&app.app, &admin, &hook.id).await.unwrap();
            delivery::send_test(&app.app, &admin, &hook.id).await.unwrap();
        }
        let page = Page { number: 1, size: 1_000 };
        let attempted = find("all to be attempted", async || {
            let log = delivery::list(&app.app, &admin, &DeliveryFilter::default(), page).await.unwrap().items;
            if log.len() == urls.len() && log.iter().all(|d| d.attempts > 0) { Ok(log) } else { Err(log) }
        });
        for d in attempted.await {
            let error = d.error.unwrap_or_default();
            assert!(error.starts_with("refused: "), "{error}");
            assert_eq!((d.state, d.http_status), (DeliveryState::Pending, None));
        }
        assert_eq!(connected.load(Ordering::SeqCst), 0);
    })
    .await;
}
