//! Every exchange of the console's own API, played over HTTP against a whole server on both databases.

use std::path::Path;

use reeve_testkit::app::TestApp;
use reeve_testkit::exchange::{Coverage, Player, console_gates, load_directory};

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

async fn play(fresh: impl AsyncFn() -> TestApp) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../compat/console/exchanges");
    let mut scripts = load_directory(&folder).unwrap();
    let mut coverage = Coverage::default();
    let (mut failures, mut silent) = (Vec::new(), Vec::new());
    let contract = fresh().await.console_contract.clone();
    scripts.push(console_gates(&contract));
    for script in &scripts {
        let mut app = fresh().await;
        let player = Player::new(&app.console_url, app.keys.clone(), app.console_contract.clone());
        let report = player.play(script, &mut app).await.unwrap();
        eprintln!("{}: {} fitted\n{}", script.name, report.fitted, report.failures.join("\n"));
        failures.extend(report.failures);
        failures.extend(report.skipped.iter().map(|step| format!("{step}: skipped")));
        coverage.merge(&report.coverage);
        silent.extend(app.without_audit_entry(&report.changes).await);
    }
    assert!(failures.is_empty(), "{} exchanges did not fit:\n{}", failures.len(), failures.join("\n"));
    assert!(silent.is_empty(), "changes without an audit entry: {silent:?}");
    let mut missing = coverage.missing(&contract, &NOT_PLAYED);
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
