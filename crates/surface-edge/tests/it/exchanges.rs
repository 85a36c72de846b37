//! Every exchange of the edge API, played over HTTP against a whole server on both databases.

use reeve_testkit::app::TestApp;
use reeve_testkit::exchange::{Player, Surface, gates};

/// Answers that no exchange brings about for each operation: limits are off, nothing breaks, and conflicts and
/// outages are played where they have a reason of their own.
const NOT_PLAYED: [u16; 4] = [429, 500, 503, 409];

/// Documented for the sake of a reader, but the same for every operation: 404 is what a wrong method gets, 422 what a
/// reused `Idempotency-Key` gets. Both are played where there is more to them.
const THE_SAME_EVERYWHERE: &[&str] = &[
    "admins.me 404",
    "admins.my_admin_cluster 404",
    "admins.admin_clusters 404",
    "admins.edge_clusters 404",
    "admins.orphaned_clusters 404",
    "clusters.list 404",
    "clusters.create 404",
    "command_executions.list 404",
    "commands.list 404",
    "commands.create 404",
    "enrollment_keys.list 404",
    "event_types.list 404",
    "nodes.list 404",
    "commands.cancel 422",
    "commands.rollout.abort 422",
    "commands.rollout.pause 422",
    "commands.rollout.resume 422",
    "enrollment_keys.create_default 422",
    "enrollment_keys.create_public 422",
    "enrollment_keys.update 422",
    "aliases.list 404",
    "ssh_usernames.list 404",
    "ssh_public_keys.list 404",
    "self_update_requests.create 404",
    "self_update_requests.list 404",
    "self_update_requests.rollout.abort 422",
    "self_update_requests.rollout.pause 422",
    "self_update_requests.rollout.resume 422",
    "webhooks.list 404",
    "webhooks.create 404",
    "webhook_deliveries.list 404",
    "webhooks.pause 422",
    "webhooks.resume 422",
    "webhooks.test 422",
    "webhooks.redeliver 422",
    "webhook_deliveries.redeliver 422",
];

/// Documented for what agents do not offer yet.
const NOT_YET: [&str; 1] = ["node_metrics.wireguard_raw 200"];

const EDGE: Surface = Surface {
    folder: "edge",
    player: |app| Player::new(&app.url, app.keys.clone(), app.contract.clone()),
    gates: Some(gates),
    not_played: &NOT_PLAYED,
    may_change_nothing: &[],
};

async fn play(fresh: impl AsyncFn() -> TestApp) {
    let mut missing = EDGE.play(fresh).await;
    missing.retain(|answer| !THE_SAME_EVERYWHERE.contains(&answer.as_str()) && !NOT_YET.contains(&answer.as_str()));
    assert!(missing.is_empty(), "documented answers that no exchange shows: {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_on_sqlite() {
    play(TestApp::sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_on_postgres() {
    play(TestApp::postgres).await;
}
