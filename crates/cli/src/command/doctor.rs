//! `reeve doctor`: is the server reachable, does it know us, and is it well?

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::Session;
use crate::api::Query;
use crate::failure::{FAILED, Failure, OK, Outcome};
use crate::target;
use crate::view::{self, View, column, state_style, text};

/// Checks.
#[derive(Debug, Clone, Default, Args)]
pub struct Doctor {
    /// Check a data directory on this machine instead of a server over HTTP; works while the server is down
    #[arg(long)]
    pub local: bool,
    /// The data directory for --local
    #[arg(long, value_name = "DIR", env = "REEVE_DATA", hide_env = true)]
    pub data: Option<PathBuf>,
}

static VIEW: View = View {
    plural: "checks",
    columns: &[
        column("OK", 9, 2, |check, _| if passed(check) { "ok".into() } else { "FAILED".into() }).coloured(state_style),
        column("CHECK", 8, 6, |check, _| text(check, "name")),
        column("DETAIL", 7, 10, |check, _| text(check, "detail")),
    ],
    name: |check| text(check, "name"),
};

fn passed(check: &Value) -> bool {
    check.get("ok").and_then(Value::as_bool).unwrap_or(false)
}

fn check(name: &str, ok: bool, detail: impl Into<String>, fix: Option<String>) -> Value {
    json!({ "name": name, "ok": ok, "detail": detail.into(), "fix": fix })
}

/// Runs `reeve doctor`.
pub async fn run(args: Doctor, session: &mut Session<'_>) -> Outcome<u8> {
    if args.local {
        return Err(Failure::usage(
            "this program cannot look into a data directory",
            "run the `reeve` of the server, or leave out --local",
        ));
    }
    let mut checks = Vec::new();
    let code = examine(session, &mut checks).await;
    if session.format().is_table() {
        let now = session.now();
        view::list(&mut session.world.out, session.globals.output, &VIEW, &checks, now)?;
        for check in checks.iter().filter(|check| !passed(check)) {
            if let Some(fix) = check.get("fix").and_then(Value::as_str) {
                session.world.out.note(&format!("{}: {fix}", text(check, "name")))?;
            }
        }
    } else {
        let ok = checks.iter().all(passed);
        view::document(&mut session.world.out, session.globals.output, &json!({ "ok": ok, "checks": checks }))?;
    }
    Ok(code)
}

async fn examine(session: &mut Session<'_>, checks: &mut Vec<Value>) -> u8 {
    let failed = |name: &str, failure: &Failure| check(name, false, failure.to_string(), failure.next_step());
    let target = match target::resolve(session.world, &session.globals) {
        Ok(target) => target,
        Err(failure) => {
            checks.push(failed("login", &failure));
            return failure.exit_code();
        }
    };
    let api = match crate::api::Api::new(&target, session.world.now) {
        Ok(api) => api,
        Err(failure) => {
            checks.push(failed("client", &failure));
            return failure.exit_code();
        }
    };
    match api.get("/api/me", &Query::new()).await {
        Ok(me) => {
            checks.push(check("server reached", true, format!("{} ({})", target.url, target.origin), None));
            let role = Some(text(&me, "role"))
                .filter(|role| role != "-")
                .map(|role| format!(", role {role}"))
                .unwrap_or_default();
            checks.push(check("login", true, format!("{} {}{role}", text(&me, "kind"), text(&me, "name")), None));
        }
        Err(failure @ Failure::Unreachable { .. }) => {
            checks.push(failed("server reached", &failure));
            return failure.exit_code();
        }
        Err(failure) => {
            checks.push(check("server reached", true, format!("{} ({})", target.url, target.origin), None));
            checks.push(failed("login", &failure));
            return failure.exit_code();
        }
    }
    match api.get("/api/doctor", &Query::new()).await {
        Ok(report) => {
            let of_server = report.get("checks").and_then(Value::as_array).cloned().unwrap_or_default();
            checks.extend(of_server);
        }
        Err(failure) => {
            checks.push(failed("server's own checks", &failure));
            return failure.exit_code();
        }
    }
    if checks.iter().all(passed) { OK } else { FAILED }
}
