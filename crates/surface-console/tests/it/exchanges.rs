//! Every exchange of the console's own API, played over HTTP against a whole server on both databases.

use reeve_testkit::app::TestApp;
use reeve_testkit::exchange::{Player, Surface, console_gates};

/// Answers that no exchange brings about for each operation: bodies arrive in time, limits are off, nothing breaks, and
/// conflicts are played where they have a reason of their own.
const NOT_PLAYED: [u16; 5] = [408, 429, 500, 503, 409];

/// Documented for the sake of a reader, but the same for every operation: 404 is a path that does not exist, 422 what a
/// reused `Idempotency-Key` gets. Both are played where there is more to them.
const THE_SAME_EVERYWHERE: &[&str] = &[
    "auth.login 404",
    "auth.login 422",
    "auth.logout 404",
    "auth.logout 422",
    "auth.refresh 404",
    "auth.refresh 422",
    "me.get 404",
    "users.list 404",
    "users.create 404",
    "tokens.list 404",
    "tokens.create 404",
    "audit.list 404",
    "audit.verify 404",
    "events.list 404",
    "jobs.list 404",
    "jobs.cancel 422",
    "jobs.retry 422",
    "schedules.list 404",
    "schedules.poke 422",
    "reconcilers.list 404",
    "reconcilers.poke 422",
    "seal.get 404",
    "seal.rotate 404",
    "seal.rotate 422",
    "doctor.run 404",
    "server.get 404",
    "servers.list 404",
    "backups.list 404",
    "backups.create 404",
    "backups.create 422",
    "backups.download 404",
    "backups.schedule.get 404",
    "backups.schedule.set 404",
    "backups.schedule.delete 422",
];

const CONSOLE: Surface = Surface {
    folder: "console",
    player: |app| Player::new(&app.console_url, app.keys.clone(), app.console_contract.clone()),
    gates: Some(console_gates),
    not_played: &NOT_PLAYED,
    may_change_nothing: &[],
};

async fn play(fresh: impl AsyncFn() -> TestApp) {
    let mut missing = CONSOLE.play(fresh).await;
    missing.retain(|answer| !THE_SAME_EVERYWHERE.contains(&answer.as_str()));
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
