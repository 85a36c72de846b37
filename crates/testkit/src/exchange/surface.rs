//! A whole surface: every script of its folder, each against a server of its own.

use std::path::Path;

use reeve_http_kit::Contract;

use super::{Coverage, Player, Script, load_directory};
use crate::app::TestApp;

/// A surface, and how it is played.
pub struct Surface {
    /// Its folder below `compat`.
    pub folder: &'static str,
    /// What plays against it on a server.
    pub player: fn(&TestApp) -> Player,
    /// The exchanges that follow from its contract alone.
    pub gates: Option<fn(&Contract) -> Script>,
    /// Statuses that no exchange has to show.
    pub not_played: &'static [u16],
    /// Operations that succeed where there is nothing to change, and then leave no audit entry.
    pub may_change_nothing: &'static [&'static str],
}

impl Surface {
    /// Plays everything. Gives the documented answers that no exchange showed, as `clusters.get 404`.
    ///
    /// # Panics
    /// With all that did not fit, and with changes that left no audit entry.
    pub async fn play(&self, fresh: impl AsyncFn() -> TestApp) -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../compat").join(self.folder).join("exchanges");
        let mut scripts = load_directory(&folder).unwrap();
        let contract = (self.player)(&fresh().await).contract().clone();
        scripts.extend(self.gates.map(|gates| gates(&contract)));
        let mut coverage = Coverage::default();
        let (mut failures, mut silent) = (Vec::new(), Vec::new());
        for script in &scripts {
            let mut app = fresh().await;
            let report = (self.player)(&app).play(script, &mut app).await.unwrap();
            eprintln!("{}: {} fitted\n{}", script.name, report.fitted, report.failures.join("\n"));
            failures.extend(report.failures);
            failures.extend(report.skipped.iter().map(|step| format!("{step}: skipped")));
            coverage.merge(&report.coverage);
            silent.extend(app.without_audit_entry(&report.changes).await);
        }
        assert!(failures.is_empty(), "{} exchanges did not fit:\n{}", failures.len(), failures.join("\n"));
        silent.retain(|operation| !self.may_change_nothing.contains(&operation.as_str()));
        assert!(silent.is_empty(), "changes without an audit entry: {silent:?}");
        coverage.missing(&contract, self.not_played)
    }
}
