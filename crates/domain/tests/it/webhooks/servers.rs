//! Several servers on one PostgreSQL: each delivery is one server's, and another takes over when it dies.

use std::collections::HashSet;

use reeve_domain::background;
use reeve_testkit::db::TestDb;
use tokio_util::sync::CancellationToken;

use super::{A, Hooks, happen, server, started};

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_and_one_takes_over() {
    let mut hooks = Hooks::new(TestDb::postgres().await).await;
    let second = server(&hooks.db, &hooks.clock, "s2", &hooks.receivers, |_| {});
    started(&second).await;
    let stop = CancellationToken::new();
    let _loops = background::start(&second, &stop);
    for n in 0..8 {
        hooks.webhook(&format!("http://r{n}/"), &[A]).await;
    }
    for round in 0..10 {
        // From either server.
        let app = if round % 2 == 0 { &hooks.app } else { &second };
        happen(app, A, round * 10..round * 10 + 10).await;
    }
    hooks.receivers.await_count(800).await;
    hooks.await_delivered(800).await;
    let ids: HashSet<String> = hooks.receivers.got().iter().map(|g| g.id().to_owned()).collect();
    assert_eq!((hooks.receivers.got().len(), ids.len()), (800, 800), "each once");
    let holders = |rows: Vec<reeve_store::Row>| -> HashSet<String> {
        rows.into_iter().map(|mut r| r.get::<String>().unwrap().split('/').next().unwrap().to_owned()).collect()
    };
    let owners = {
        let mut tx = hooks.app.store.read().await.unwrap();
        holders(tx.all("SELECT lease_owner FROM webhooks", &[]).await.unwrap())
    };
    assert_eq!(owners, HashSet::from(["s1".to_owned(), "s2".to_owned()]));

    hooks.kill();
    // It is silent for longer than its lease, which goes by the database's clock.
    let mut tx = second.store.begin().await.unwrap();
    tx.execute("UPDATE servers SET lease_until = 1 WHERE id = 's1'", &[]).await.unwrap();
    tx.commit().await.unwrap();
    reeve_domain::server::beat(&second).await.unwrap();
    happen(&second, A, 100..110).await;
    // Expelled, it holds nothing any more: nobody waits for its leases to pass, and no clock is moved.
    hooks.receivers.await_until("the rest", |got| got.iter().filter(|g| g.number() >= 100).count() >= 80).await;
    hooks.await_delivered(880).await;
    stop.cancel();
}
