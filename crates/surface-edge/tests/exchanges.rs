//! Every exchange of the edge API, played over HTTP against a whole server on both databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::path::Path;

use reeve_testkit::app::TestApp;
use reeve_testkit::exchange::{Coverage, Player, gates, load_directory};

/// Answers that no exchange can bring about on purpose: limits are off, nothing breaks, bodies are small.
const NOT_PLAYED: [u16; 4] = [429, 500, 503, 409];

async fn play(fresh: impl AsyncFn() -> TestApp) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../compat/edge/exchanges");
    let mut scripts = load_directory(&folder).unwrap();
    let mut coverage = Coverage::default();
    let mut failures = Vec::new();
    let contract = fresh().await.contract.clone();
    scripts.push(gates(&contract));
    for script in &scripts {
        let mut app = fresh().await;
        let player = Player::new(&app.url, app.keys.clone(), app.contract.clone());
        let report = player.play(script, &mut app).await.unwrap();
        eprintln!("{}: {} fitted", script.name, report.fitted);
        assert!(report.skipped.is_empty(), "skipped: {:?}", report.skipped);
        failures.extend(report.failures);
        coverage.merge(&report.coverage);
    }
    assert!(failures.is_empty(), "{} exchanges did not fit:\n{}", failures.len(), failures.join("\n"));
    let missing = coverage.missing(&contract, &NOT_PLAYED);
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
