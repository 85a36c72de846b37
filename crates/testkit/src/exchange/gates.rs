//! The exchanges that follow from the contract alone: for every operation what happens without a key, with the wrong
//! key, with parameters and bodies of the wrong shape, and in degraded mode.

use reeve_http_kit::Contract;
use reeve_http_kit::contract::Operation;
use reeve_types::Permission;
use serde_json::json;

use super::script::{RequestSpec, ResponseSpec, Script, Step};

const NOBODY: &str = "01900000-0000-7000-8000-00000000dead";

/// Path parameters that are ids.
const UUIDS: [&str; 3] = ["{id}", "{node_id}", "{ssh_username_id}"];

/// A key that can be read.
const PUBLIC_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDhVX/7vyodHPimN2fnuT1inLDnEkkMwov/ZqBn3Fzos ann@laptop";

/// A script of refusals of the edge surface, one operation after the other. Nothing in it changes anything.
pub fn gates(contract: &Contract) -> Script {
    script(contract, keys, "Forbidden")
}

/// The same for the console's own API, which only the master key opens among the static ones.
pub fn console_gates(contract: &Contract) -> Script {
    script(contract, |_| ("master", "metrics"), "<string>")
}

fn script(contract: &Contract, keys: fn(&Operation) -> (&'static str, &'static str), forbidden: &str) -> Script {
    let mut steps = Vec::new();
    for operation in contract.operations() {
        let public = operation.permission.is_none();
        let (key, wrong_key) = keys(operation);
        if !public {
            steps.push(step(operation, "without a key", sound(operation, "none"), 401, "unauthorized", false));
            let mut refused =
                step(operation, "with a key for something else", sound(operation, wrong_key), 403, "forbidden", false);
            let why = json!({"permission": ["~^`[a-z_.]+` is missing$"]});
            refused.response.error = Some(json!({"code": "forbidden", "message": forbidden, "+details": why}));
            steps.push(refused);
        }
        if UUIDS.iter().any(|parameter| operation.path.contains(parameter)) {
            let mut request = sound(operation, key);
            request.path = request.path.replace(NOBODY, "not-a-uuid");
            steps.push(step(operation, "with an id that is none", request, 400, "bad_request", false));
            steps.push(step(
                operation,
                "of something that does not exist",
                sound(operation, key),
                404,
                "not_found",
                false,
            ));
        }
        let mut request = sound(operation, key);
        request.path.push_str("?colour=red");
        steps.push(step(operation, "with an unknown query parameter", request, 400, "bad_request", false));
        if operation.has_body() {
            let mut request = sound(operation, key);
            (request.body, request.raw) = (None, Some("{\"name\":".to_owned()));
            steps.push(step(operation, "with a body that is not JSON", request.clone(), 400, "bad_request", false));
            request.headers.insert("content-type".to_owned(), "text/plain".to_owned());
            steps.push(step(
                operation,
                "with a body that is not declared as JSON",
                request.clone(),
                415,
                "unsupported_media_type",
                true,
            ));
        }
        if matches!(operation.method.as_str(), "POST" | "PATCH" | "PUT") {
            let mut request = sound(operation, key);
            (request.body, request.raw) = (None, Some(" ".repeat((1 << 20) + 1)));
            steps.push(step(operation, "with a body over the limit", request, 413, "payload_too_large", true));
        }
    }
    steps.push(Step { name: "degraded".to_owned(), given: Some(json!({"degraded": true})), ..Step::default() });
    for operation in contract.operations().iter().filter(|o| o.degraded_gate) {
        steps.push(step(
            operation,
            "in degraded mode",
            sound(operation, keys(operation).0),
            503,
            "degraded_mode",
            false,
        ));
    }
    steps.push(Step { name: "capacity again".to_owned(), given: Some(json!({"degraded": false})), ..Step::default() });
    Script { name: "gates".to_owned(), steps, ..Script::default() }
}

/// The static key that opens an operation, and one that does not.
fn keys(operation: &Operation) -> (&'static str, &'static str) {
    if operation.permission == Some(Permission::MetricsRead) { ("metrics", "api") } else { ("api", "metrics") }
}

/// A request that satisfies the contract and names things that do not exist.
pub(super) fn sound(operation: &Operation, key: &str) -> RequestSpec {
    let mut path = operation.path.replace("{name}", "nowhere").replace("{cluster_name}", "nowhere");
    for parameter in UUIDS {
        path = path.replace(parameter, NOBODY);
    }
    let body = match operation.id.as_str() {
        "clusters.create" => Some(json!({"name": "gate"})),
        "nodes.change_cluster" => Some(json!({"cluster_name": "nowhere"})),
        "nodes.label" => Some(json!({"labels": {}})),
        "commands.create" => {
            Some(json!({"command_text": "true", "targeting": {"type": "nodes", "node_ids": [NOBODY]}}))
        }
        "self_update_requests.create" => Some(json!({"targeting": {"type": "nodes", "node_ids": [NOBODY]}})),
        "aliases.create" => Some(json!({"name": "gate"})),
        "ssh_usernames.create" => Some(json!({"username": "gate"})),
        "ssh_usernames.verify" => Some(json!({"username": "gate", "password": "gate"})),
        "ssh_public_keys.create" => Some(json!({"key_name": "gate", "public_key": PUBLIC_KEY})),
        "webhooks.create" => Some(
            json!({"url": "https://192.0.2.1/", "secret": "s".repeat(32), "subscribed_events": ["edge.node.registered"]}),
        ),
        "backups.schedule.set" => Some(json!({"cron": "@daily", "to": "nowhere"})),
        "backups.download" => Some(json!({"passphrase": "short"})),
        "auth.login" => Some(json!({"username": "gate", "password": "gate"})),
        "auth.refresh" | "auth.logout" => Some(json!({"refresh_token": "gate"})),
        "users.create" => Some(json!({"username": "gate", "password": "a long password", "role": "viewer"})),
        "users.set_password" => Some(json!({"password": "a long password"})),
        "tokens.create" => Some(json!({"name": "gate"})),
        "webhooks.redeliver" => Some(json!({"since": "2026-01-01T00:00:00Z"})),
        _ if operation.has_body() => Some(json!({})),
        _ => None,
    };
    RequestSpec {
        method: operation.method.to_string(),
        path,
        key: Some(key.to_owned()),
        body,
        ..RequestSpec::default()
    }
}

fn step(operation: &Operation, case: &str, request: RequestSpec, status: u16, code: &str, addition: bool) -> Step {
    Step {
        name: format!("{} {case}", operation.id),
        request: Some(request),
        response: ResponseSpec { status, error: Some(json!({"code": code})), ..ResponseSpec::default() },
        addition: addition || operation.addition,
        ..Step::default()
    }
}
