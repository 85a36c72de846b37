//! The provisioning API over HTTP: every exchange, every right, every refusal in its own words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod exchanges;
mod gates;
mod rights;

use reeve_testkit::app::TestApp;

/// Where the surface is.
pub fn base(app: &TestApp) -> String {
    app.provisioning_url.clone()
}
