//! Which events are sent, in which order, and that nobody waits for somebody else.

use std::collections::HashSet;

use reeve_domain::webhook::{self, delivery};
use reeve_testkit::db::on_both;
use reeve_testkit::until;
use reeve_types::webhook::{DeliveryFilter, DeliveryState, WebhookFilter};
use reeve_types::{ErrorKind, Page, Patch, Secret};

use super::{A, B, Hooks, SECRET, status};

fn hex_hmac(key: &[u8], body: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    hex::encode(ring::hmac::sign(&key, body))
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_subscribed_events_in_the_order_of_the_feed() {
    on_both(|db| async move {
        let hooks = Hooks::with(db, |config| config.webhooks.at_once = 1).await;
        hooks.happen(A, 0..5).await;
        let first = hooks.webhook("http://one/", &[A]).await;
        let both = hooks.webhook("http://two/", &[B, A]).await;
        hooks.happen(A, 5..300).await;
        hooks.happen(B, 300..310).await;
        hooks.happen("edge.node.reregistered", 310..320).await;
        hooks.happen(A, 320..321).await;
        let numbers = |url: &str| hooks.receivers.of(url).iter().map(super::Got::number).collect::<Vec<_>>();
        hooks.receivers.await_count(296 + 306).await;
        assert_eq!(numbers("http://one/"), (5..300).chain(320..321).collect::<Vec<_>>());
        assert_eq!(numbers("http://two/"), (5..310).chain(320..321).collect::<Vec<_>>());
        let log = hooks
            .await_log("all delivered", |log| {
                log.len() == 602 && log.iter().all(|d| d.state == DeliveryState::Delivered)
            })
            .await;
        // Counted once it is stored.
        until("all to be counted", || hooks.app.counters.webhook_delivered.get() == 602).await;
        assert_eq!(hooks.app.counters.webhook_put_off.get(), 0);
        assert!(log.iter().all(|d| d.attempts == 1 && d.http_status == Some(200) && d.error.is_none()));
        let of_first = DeliveryFilter { webhook_id: Some(first.id.clone()), ..Default::default() };
        assert_eq!(hooks.log(of_first).await.len(), 296);
        let ids: HashSet<_> = hooks.receivers.got().iter().map(|got| got.id().to_owned()).collect();
        assert_eq!(ids.len(), 602);
        assert_ne!(first.id, both.id);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_signed_and_carry_the_headers() {
    on_both(|db| async move {
        let hooks = Hooks::new(db).await;
        let input = webhook::Create {
            url: "http://one/".into(),
            secret: Secret::new(SECRET),
            headers: Some([("X-Custom".to_owned(), "value".to_owned())].into()),
            subscribed_events: vec![A.into()],
        };
        let made = webhook::create(&hooks.app, &hooks.admin, input).await.unwrap();
        hooks.happen(A, 0..1).await;
        let got = hooks.receivers.await_count(1).await.remove(0);
        assert_eq!((got.headers["x-custom"].as_str(), got.body["type"].as_str()), ("value", Some(A)));
        assert_eq!(got.headers["content-type"], "application/cloudevents+json");
        let mut tx = hooks.app.store.read().await.unwrap();
        let event = reeve_store::event::newest(&mut tx, &[], 1).await.unwrap().remove(0);
        drop(tx);
        let body = reeve_domain::event::envelope(&hooks.app, &event);
        assert_eq!(got.headers["x-edge-signature"], format!("sha256={}", hex_hmac(SECRET.as_bytes(), body.as_bytes())));
        assert_eq!(got.headers["webhook-timestamp"], "1800000000");
        assert_eq!(got.headers["webhook-signature"].split(' ').count(), 1);

        let change = webhook::Update {
            secret: Some(Secret::new("another-secret-of-at-least-32-bytes!")),
            headers: Patch::Clear,
            ..Default::default()
        };
        webhook::update(&hooks.app, &hooks.admin, &made.id, change).await.unwrap();
        delivery::send_test(&hooks.app, &hooks.admin, &made.id).await.unwrap();
        let got = hooks.receivers.await_count(2).await.remove(1);
        assert_eq!((got.body["type"].as_str(), got.headers.get("x-custom")), (Some(delivery::TEST), None));
        assert_eq!(got.headers["webhook-signature"].split(' ').count(), 2, "both secrets sign for a day");
        hooks.clock.advance_ms(86_400_000);
        delivery::send_test(&hooks.app, &hooks.admin, &made.id).await.unwrap();
        let got = hooks.receivers.await_count(3).await.remove(2);
        assert_eq!(got.headers["webhook-signature"].split(' ').count(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_one_delays_nobody_and_has_bounded_attempts() {
    on_both(|db| async move {
        let hooks = Hooks::with(db, |config| (config.webhooks.at_once, config.webhooks.at_once_in_all) = (3, 4)).await;
        let gate = hooks.receivers.hold("http://slow/");
        hooks.webhook("http://slow/", &[A]).await;
        hooks.webhook("http://dead/", &[A]).await;
        for n in 0..5 {
            hooks.webhook(&format!("http://fast{n}/"), &[A]).await;
        }
        let dead = || Err(reeve_ports::fetch::Failure::Unreachable("nobody there".into()));
        hooks.receivers.answer(move |got, _| if got.url == "http://dead/" { dead() } else { status(200) });
        hooks.happen(A, 0..100).await;
        let fast = |got: &[super::Got]| got.iter().filter(|g| g.url.contains("fast")).count() == 500;
        hooks.receivers.await_until("what the fast ones get", fast).await;
        // What is on its way counts before it is written down.
        let slow = |got: &[super::Got]| got.iter().filter(|g| g.url.contains("slow")).count() == 3;
        hooks.receivers.await_until("what the slow one gets at once", slow).await;
        assert_eq!((hooks.receivers.of("http://slow/").len(), hooks.receivers.peak("http://slow/")), (3, 3));
        gate.add_permits(1_000);
        hooks
            .receivers
            .await_until("the rest", |got| got.iter().filter(|g| g.url.contains("slow")).count() == 100)
            .await;
        assert!(hooks.receivers.peak("http://slow/") <= 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_process_dies() {
    on_both(|db| async move {
        let mut hooks = Hooks::new(db).await;
        for n in 0..4 {
            hooks.webhook(&format!("http://r{n}/"), &[A]).await;
        }
        let mut next = 0;
        for round in 0..6 {
            hooks.happen(A, next..next + 150).await;
            next += 150;
            // At another moment of the work each time.
            hooks.receivers.await_count(round * 90 + 20).await;
            hooks.kill();
            hooks.happen(A, next..next + 5).await;
            next += 5;
            // On PostgreSQL the leases of the dead process have to end.
            hooks.clock.advance_ms(60_000);
            hooks.restart();
        }
        hooks.await_delivered(4 * next).await;
        for n in 0..4 {
            let got = hooks.receivers.of(&format!("http://r{n}/"));
            let seen: HashSet<i64> = got.iter().map(super::Got::number).collect();
            assert_eq!(seen.len() as i64, next);
            // A repeat has the id that it had before.
            let ids: HashSet<&str> = got.iter().map(super::Got::id).collect();
            assert_eq!(ids.len() as i64, next);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_is_refused() {
    on_both(|db| async move {
        let hooks = Hooks::with(db, |config| config.webhooks.most = 2).await;
        let input = |url: &str, secret: &str, kinds: &[&str]| webhook::Create {
            url: url.into(),
            secret: Secret::new(secret),
            headers: None,
            subscribed_events: kinds.iter().map(|k| (*k).to_owned()).collect(),
        };
        for (field, bad) in [
            ("url", input("http://forbidden/", SECRET, &[A])),
            ("secret", input("http://ok/", "short", &[A])),
            ("secret", input("http://ok/", &"ü".repeat(200), &[A])),
            ("subscribed_events", input("http://ok/", SECRET, &[A, "edge.node.*"])),
        ] {
            let error = webhook::create(&hooks.app, &hooks.admin, bad).await.unwrap_err();
            assert_eq!((error.kind, error.details.contains_key(field)), (ErrorKind::Invalid, true), "{error:?}");
        }
        hooks.webhook("http://a/", &[A, A]).await;
        hooks.webhook("http://b/", &[A, B]).await;
        let many = webhook::create(&hooks.app, &hooks.admin, input("http://c/", SECRET, &[A])).await.unwrap_err();
        assert_eq!(many.kind, ErrorKind::Conflict);
        // The filter comes before the page, so counts are right.
        let filter = WebhookFilter { event_type: Some(B.into()), ..Default::default() };
        let page = Page { number: 1, size: 1 };
        let found = webhook::list(&hooks.app, &hooks.admin, &filter, &[], page).await.unwrap();
        assert_eq!((found.total, found.items[0].url.as_str()), (1, "http://b/"));
        let filter = WebhookFilter { event_type: Some(A.into()), ..Default::default() };
        assert_eq!(webhook::list(&hooks.app, &hooks.admin, &filter, &[], page).await.unwrap().total, 2);
    })
    .await;
}
