//! Every route with every kind of caller.

use reeve_testkit::db::TestDb;
use serde_json::{Value, json};

use crate::{ADMIN_PASSWORD, Console};

/// Method, path, and who is let past authorization: admin, operator, developer, viewer, then the static keys master, api,
/// metrics, mcp, proxy.
const ROUTES: &[(&str, &str, [u8; 9])] = &[
    ("GET", "/api/me", [1, 1, 1, 1, 1, 1, 1, 1, 1]),
    ("GET", "/api/users", [1, 0, 0, 0, 1, 0, 0, 0, 0]),
    ("POST", "/api/users", [1, 0, 0, 0, 1, 0, 0, 0, 0]),
    ("GET", "/api/users/01900000-0000-7000-8000-000000000001", [1, 0, 0, 0, 1, 0, 0, 0, 0]),
    ("PATCH", "/api/users/01900000-0000-7000-8000-000000000001", [1, 0, 0, 0, 1, 0, 0, 0, 0]),
    ("DELETE", "/api/users/01900000-0000-7000-8000-000000000001", [1, 0, 0, 0, 1, 0, 0, 0, 0]),
    ("POST", "/api/users/01900000-0000-7000-8000-000000000001/password", [1, 0, 0, 0, 1, 0, 0, 0, 0]),
    ("GET", "/api/tokens", [1, 1, 1, 1, 1, 0, 0, 0, 0]),
    ("POST", "/api/tokens", [1, 1, 1, 1, 1, 0, 0, 0, 0]),
    ("DELETE", "/api/tokens/01900000-0000-7000-8000-000000000001", [1, 1, 1, 1, 1, 0, 0, 0, 0]),
    ("GET", "/api/audit", [1, 0, 0, 0, 1, 0, 0, 0, 0]),
    ("GET", "/api/audit/verify", [1, 0, 0, 0, 1, 0, 0, 0, 0]),
    ("GET", "/api/events", [1, 1, 1, 1, 1, 1, 0, 0, 0]),
    ("GET", "/api/jobs", [1, 1, 1, 1, 1, 0, 0, 0, 0]),
    ("GET", "/api/jobs/01900000-0000-7000-8000-000000000001", [1, 1, 1, 1, 1, 0, 0, 0, 0]),
    ("POST", "/api/jobs/01900000-0000-7000-8000-000000000001/cancel", [1, 1, 0, 0, 1, 0, 0, 0, 0]),
    ("POST", "/api/jobs/01900000-0000-7000-8000-000000000001/retry", [1, 1, 0, 0, 1, 0, 0, 0, 0]),
    ("GET", "/api/jobs/01900000-0000-7000-8000-000000000001/output", [1, 1, 1, 1, 1, 0, 0, 0, 0]),
    ("GET", "/api/jobs/01900000-0000-7000-8000-000000000001/stream", [1, 1, 1, 1, 1, 0, 0, 0, 0]),
    ("GET", "/api/schedules", [1, 1, 1, 1, 1, 0, 0, 0, 0]),
    ("POST", "/api/schedules/nothing/poke", [1, 1, 0, 0, 1, 0, 0, 0, 0]),
    ("GET", "/api/reconcilers", [1, 1, 1, 1, 1, 0, 0, 0, 0]),
    ("POST", "/api/reconcilers/nothing/poke", [1, 1, 0, 0, 1, 0, 0, 0, 0]),
    ("GET", "/api/seal", [1, 1, 1, 1, 1, 0, 0, 0, 0]),
    ("POST", "/api/seal/rotations", [1, 0, 0, 0, 1, 0, 0, 0, 0]),
    ("GET", "/api/backups", [1, 1, 1, 1, 1, 0, 0, 0, 0]),
    ("POST", "/api/backups", [1, 0, 0, 0, 1, 0, 0, 0, 0]),
    ("POST", "/api/backups/download", [1, 0, 0, 0, 1, 0, 0, 0, 0]),
    ("GET", "/api/backups/schedule", [1, 1, 1, 1, 1, 0, 0, 0, 0]),
    ("PUT", "/api/backups/schedule", [1, 0, 0, 0, 1, 0, 0, 0, 0]),
    ("DELETE", "/api/backups/schedule", [1, 0, 0, 0, 1, 0, 0, 0, 0]),
    ("GET", "/api/doctor", [1, 1, 1, 1, 1, 0, 0, 0, 0]),
    ("GET", "/api/servers", [1, 1, 1, 1, 1, 0, 0, 0, 0]),
    ("GET", "/api/server", [1, 1, 1, 1, 1, 0, 0, 0, 0]),
];

fn body(method: &str, path: &str) -> Value {
    match (method, path) {
        ("POST", "/api/users") => json!({ "username": "x", "password": "x", "role": "viewer" }),
        ("POST", "/api/tokens") => json!({ "name": " " }),
        ("POST", path) if path.starts_with("/api/users/") => json!({ "password": "long enough" }),
        ("POST", "/api/backups/download") => json!({ "passphrase": "short" }),
        ("PUT", _) => json!({ "cron": "@daily", "to": "relative" }),
        ("PATCH", _) => json!({}),
        _ => Value::Null,
    }
}

#[tokio::test]
async fn every_route_and_caller_as_in_the_table() {
    let console = Console::new(TestDb::sqlite().await).await;
    let mut callers = vec![("admin", console.login("admin", ADMIN_PASSWORD).await.text("/access_token"))];
    for role in ["operator", "developer", "viewer"] {
        let user = json!({ "username": role, "password": "long enough", "role": role });
        assert_eq!(console.send("POST", "/api/users", "master-key", user).await.status, 201);
        callers.push((role, console.login(role, "long enough").await.text("/access_token")));
    }
    for key in ["master-key", "api-key", "metrics-key", "mcp-key", "proxy-key"] {
        callers.push((key, key.to_owned()));
    }
    let expired = console.login("viewer", "long enough").await.text("/access_token");
    for (method, path, allowed) in ROUTES {
        for bearer in ["", "nonsense", "rv_00000000_nonsense", &format!("{expired}x")] {
            assert_eq!(
                console.send(method, path, bearer, body(method, path)).await.status,
                401,
                "{method} {path} {bearer}"
            );
        }
        for ((caller, bearer), allowed) in callers.iter().zip(allowed) {
            let status = console.send(method, path, bearer, body(method, path)).await.status;
            assert_eq!(!matches!(status, 401 | 403), *allowed == 1, "{method} {path} as {caller}: {status}");
        }
    }
    console.clock.advance_ms(24 * 3600 * 1000);
    for (method, path, _) in ROUTES {
        assert_eq!(
            console.send(method, path, &expired, body(method, path)).await.status,
            401,
            "{method} {path} expired"
        );
    }
    let routes = 3 + ROUTES.len();
    let contract = reeve_http_kit::Contract::parse(reeve_surface_console::routes::CONTRACT).unwrap();
    assert_eq!(contract.operations().len(), routes, "a route is missing in the table");
}
