//! Every route with every kind of caller: who gets past authorization, and what the others hear.

use std::collections::BTreeMap;

use anyhow::Result;
use reeve_http_kit::Contract;
use reeve_types::Permission;
use serde_json::Value;

use super::gates::sound;

/// Somebody who asks.
pub struct Caller {
    /// For the messages.
    pub name: String,
    /// What it sends as `Authorization: Bearer`; None sends no header.
    pub bearer: Option<String>,
    /// What it may do; None when it is not to be recognised at all.
    pub may: Option<Box<dyn Fn(Permission) -> bool + Send + Sync>>,
}

/// Asks every operation of `contract` at `base` as every caller, and says what was not as it should be. `table` is the
/// permission of each operation as written down in the test, None for a public one: the contract is held to it too.
///
/// # Errors
/// When the server does not answer.
pub async fn hold_to_rights(
    base: &str,
    contract: &Contract,
    table: &[(&str, Option<Permission>)],
    callers: &[Caller],
) -> Result<Vec<String>> {
    let table: BTreeMap<&str, Option<Permission>> = table.iter().copied().collect();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut problems = Vec::new();
    for operation in contract.operations() {
        let Some(needed) = table.get(operation.id.as_str()) else {
            problems.push(format!("{}: add it to the table of rights", operation.id));
            continue;
        };
        for caller in callers {
            let request = sound(operation, "none");
            let method: reqwest::Method = request.method.parse()?;
            let mut asked = client.request(method, format!("{base}{}", request.path));
            if let Some(bearer) = &caller.bearer {
                asked = asked.bearer_auth(bearer);
            }
            if let Some(body) = &request.body {
                asked = asked.header("content-type", "application/json").body(body.to_string());
            }
            let response = asked.send().await?;
            let status = response.status().as_u16();
            let body: Value = if matches!(status, 401 | 403) { response.json().await? } else { Value::Null };
            let case = format!("{} as {}: {status}", operation.id, caller.name);
            // A 403 may have another reason, as a feature that is switched off.
            let refused = |p: &Permission| status == 403 && body.to_string().contains(p.word());
            let as_it_should = match (needed, &caller.may) {
                (None, _) => status != 401,
                (Some(_), None) => status == 401,
                (Some(permission), Some(may)) if may(*permission) => status != 401 && !refused(permission),
                (Some(permission), Some(_)) => refused(permission),
            };
            if !as_it_should {
                problems.push(format!("{case}, needs {:?}: {body}", needed.map(Permission::word)));
            }
        }
    }
    let known: Vec<&str> = contract.operations().iter().map(|o| o.id.as_str()).collect();
    problems.extend(table.keys().filter(|id| !known.contains(id)).map(|id| format!("{id}: no such operation")));
    Ok(problems)
}
