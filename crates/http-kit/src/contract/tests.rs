//! The edge document is the fixture: its rules are the ones that have to hold.

use http::HeaderMap;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Checked, Contract, Refusal};

fn contract() -> Contract {
    Contract::parse(include_str!("../../../../compat/edge/openapi.yaml")).unwrap()
}

fn body(operation: &str, body: Value) -> Result<Value, Value> {
    let contract = contract();
    let operation = contract.operation(operation).unwrap();
    let raw = body.to_string();
    match operation.check(
        [("id", "01900000-0000-7000-8000-000000000001")].into_iter(),
        vec![],
        &HeaderMap::new(),
        raw.as_bytes(),
    ) {
        Ok(Checked { body, .. }) => Ok(body),
        Err(Refusal::Violations(violations)) => Err(json!(violations)),
        Err(Refusal::MalformedBody) => Err(json!("malformed")),
    }
}

fn query(operation: &str, query: &[(&str, &str)]) -> Result<Value, Value> {
    let contract = contract();
    let pairs = query.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    match contract.operation(operation).unwrap().check([].into_iter(), pairs, &HeaderMap::new(), b"") {
        Ok(checked) => Ok(Value::Object(checked.query)),
        Err(Refusal::Violations(violations)) => Err(json!(violations)),
        Err(Refusal::MalformedBody) => Err(json!("malformed")),
    }
}

#[test]
fn body_messages_have_the_original_forms() {
    assert_eq!(body("clusters.create", json!({})).unwrap_err(), json!({"name": ["Missing field: name"]}));
    assert_eq!(
        body("clusters.create", json!({"name": "No!", "node_limit": "many", "ipv4_range": "10.0.0.0"})).unwrap_err(),
        json!({
            "name": ["Invalid format. Expected ~r/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/"],
            "node_limit": ["Invalid integer. Got: string"],
            "ipv4_range": ["Invalid format. Expected ~r/^\\d{1,3}\\.\\d{1,3}\\.\\d{1,3}\\.\\d{1,3}\\/\\d{1,2}$/"],
        })
    );
    assert_eq!(
        body("clusters.create", json!({"name": "a".repeat(25), "node_limit": 0})).unwrap_err(),
        json!({"name": ["String length is larger than maxLength: 24"], "node_limit": ["0 is smaller than inclusive minimum 1"]})
    );
    assert_eq!(
        body("clusters.create", json!({"name": null})).unwrap_err(),
        json!({"name": ["null value where string expected"]})
    );
    assert_eq!(body("clusters.create", json!([1])).unwrap_err(), json!({"base": ["Invalid object. Got: array"]}));
    assert_eq!(
        body("clusters.create", json!({"name": "a\0b"})).unwrap_err(),
        json!({"name": ["String contains a NUL character"]})
    );
    assert_eq!(
        body("clusters.create", json!({"name": 5})).unwrap_err(),
        json!({"name": ["Invalid string. Got: integer"]})
    );
    assert_eq!(
        body("clusters.create", json!({"name": "a", "node_limit": 18446744073709551615u64})).unwrap_err(),
        json!({"node_limit": ["18446744073709552000 is larger than inclusive maximum 9223372036854775807"]})
    );
    assert_eq!(
        body("clusters.create", json!({"name": "a", "node_limit": 1.5})).unwrap_err(),
        json!({"node_limit": ["Invalid integer. Got: number"]})
    );
}

#[test]
fn nested_paths_and_closed_filters() {
    let targeting = json!({
        "type": "some", "node_ids": ["x"], "unknown": 1,
        "node_filters": {"color": "red", "status": "ill", "last_seen_at__gte": "noon"},
        "cluster_filters": {"node_limit": 1},
    });
    assert_eq!(
        body("commands.create", json!({"command_text": "", "targeting": targeting})).unwrap_err(),
        json!({
            "command_text": ["String length is smaller than minLength: 1"],
            "targeting/type": ["Invalid value for enum"],
            "targeting/node_ids/0": ["Invalid format. Expected :uuid"],
            "targeting/node_filters/color": ["Unexpected field: color"],
            "targeting/node_filters/status": ["Invalid value for enum"],
            "targeting/node_filters/last_seen_at__gte": ["Failed to cast value using any of: Schema(type: :string), Schema(type: :string)"],
            "targeting/cluster_filters/node_limit": ["Unexpected field: node_limit"],
        })
    );
}

#[test]
fn unknown_body_keys_vanish_and_values_are_cast() {
    assert_eq!(
        body("clusters.create", json!({"name": "a", "node_limit": "5", "ipv4_range": null, "color": 1})).unwrap(),
        json!({"name": "a", "node_limit": 5, "ipv4_range": null})
    );
    assert_eq!(
        body(
            "commands.create",
            json!({"command_text": "id", "targeting": {"type": "all", "x": 1}, "rollout": {"batch_size": "10%"}})
        )
        .unwrap(),
        json!({"command_text": "id", "targeting": {"type": "all"}, "rollout": {"batch_size": "10%", "canary": 0, "max_failures": 0}})
    );
    assert_eq!(
        body("commands.create", json!({"command_text": "id", "targeting": {"type": "all"}, "rollout": null})).unwrap()
            ["rollout"],
        Value::Null
    );
    assert_eq!(
        body("nodes.label", json!({"labels": {"a": "1", "b": null}})).unwrap(),
        json!({"labels": {"a": "1", "b": null}})
    );
    assert_eq!(
        body("nodes.label", json!({"labels": {"a": 1}})).unwrap_err(),
        json!({"labels/a": ["Invalid string. Got: integer"]})
    );
}

#[test]
fn queries_are_typed_and_closed() {
    assert_eq!(
        query(
            "clusters.list",
            &[("page", "2"), ("has_node_limit", "true"), ("inserted_at__gte", "2026-01-31"), ("name", "prod*")]
        )
        .unwrap(),
        json!({"page": 2, "page_size": 20, "has_node_limit": true, "inserted_at__gte": "2026-01-31", "name": "prod*"})
    );
    assert_eq!(
        query(
            "clusters.list",
            &[("page", "0"), ("page_size", "101"), ("colour", "red"), ("has_node_limit", "yes"), ("node_limit", "")]
        )
        .unwrap_err(),
        json!({
            "page": ["0 is smaller than inclusive minimum 1"],
            "page_size": ["101 is larger than inclusive maximum 100"],
            "colour": ["Unexpected field: colour"],
            "has_node_limit": ["Invalid boolean. Got: string"],
            "node_limit": ["Invalid integer. Got: string"],
        })
    );
    assert_eq!(query("nodes.list", &[("status", "healthy,unhealthy")]).unwrap()["status"], "healthy,unhealthy");
    assert_eq!(
        query("nodes.list", &[("status", "healthy,ill")]).unwrap_err(),
        json!({"status": ["Invalid value for enum"]})
    );
}

#[test]
fn a_body_that_is_not_json_is_told_apart() {
    let contract = contract();
    let operation = contract.operation("clusters.create").unwrap();
    assert_eq!(operation.check([].into_iter(), vec![], &HeaderMap::new(), b"{nope"), Err(Refusal::MalformedBody));
    assert!(matches!(operation.check([].into_iter(), vec![], &HeaderMap::new(), b"  "), Err(Refusal::Violations(_))));
}

#[test]
fn header_parameters_are_checked() {
    let contract = contract();
    let operation = contract.operation("commands.cancel").unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("idempotency-key", "k".repeat(256).parse().unwrap());
    let Err(Refusal::Violations(violations)) = operation.check([].into_iter(), vec![], &headers, b"") else {
        panic!("accepted")
    };
    assert_eq!(json!(violations), json!({"Idempotency-Key": ["String length is larger than maxLength: 255"]}));
}

#[test]
fn the_published_document_keeps_server_matters_to_itself() {
    let text = String::from_utf8(contract().published("/edge").to_vec()).unwrap();
    assert!(text.contains("x-reeve-addition") && !text.contains("\"x-reeve\"") && !text.contains("x-reeve-list"));
    assert!(text.contains("\"operationId\":\"clusters.create\"") && text.contains("\"servers\":[{\"url\":\"/edge\"}]"));
}

#[test]
fn documents_that_cannot_be_enforced_are_refused() {
    let with = |schema: &str, extra: &str| {
        Contract::parse(&format!(
            "paths: {{/a: {{post: {{operationId: a, {extra} requestBody: {{content: {{application/json: {{schema: {schema}}}}}}}, responses: {{}}}}}}}}"
        ))
    };
    assert!(with("{type: object}", "security: [],").is_ok());
    assert!(with("{type: object}", "").unwrap_err().contains("either public"));
    assert!(with("{type: string, multipleOf: 3}", "security: [],").unwrap_err().contains("multipleOf"));
    assert!(with("{type: string, format: ipv4}", "security: [],").unwrap_err().contains("ipv4"));
    assert!(with("{type: object}", "x-reeve: {permission: fly},").unwrap_err().contains("unknown permission"));
}

#[test]
fn answers_are_held_to_the_document() {
    let contract = contract();
    let meta = json!({"request_id": "r", "timestamp": "2026-01-01T00:00:00.000000Z"});
    let good = json!({"data": {"result": "execution cancelled"}, "meta": meta});
    assert_eq!(contract.answer_problems("command_executions.cancel", 200, Some(&good)), Vec::<String>::new());
    let bad = json!({"data": {"result": 1, "more": 1}, "meta": meta});
    assert_eq!(
        contract.answer_problems("command_executions.cancel", 200, Some(&bad)),
        ["data/more: Unexpected field: more", "data/result: Invalid string. Got: integer"]
    );
    assert_eq!(contract.answer_problems("clusters.get", 299, None).len(), 1);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop_oneof![
            Just("all"),
            Just("10%"),
            Just("2026-01-31"),
            Just("healthy"),
            Just("01900000-0000-7000-8000-000000000001")
        ]
        .prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("name".to_owned()),
        Just("node_limit".to_owned()),
        Just("command_text".to_owned()),
        Just("targeting".to_owned()),
        Just("type".to_owned()),
        Just("node_ids".to_owned()),
        Just("node_filters".to_owned()),
        Just("rollout".to_owned()),
        Just("labels".to_owned()),
        Just("batch_size".to_owned()),
        ".{0,6}",
    ];
    leaf.prop_recursive(4, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..6).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes in, the check answers; what it accepts it accepts again unchanged.
    #[test]
    fn any_json_is_answered_and_casting_is_stable(value in any_json()) {
        let contract = contract_once();
        for operation in contract.operations() {
            let raw = value.to_string();
            if let Ok(first) = operation.check([].into_iter(), vec![], &HeaderMap::new(), raw.as_bytes()) {
                let again = operation.check([].into_iter(), vec![], &HeaderMap::new(), first.body.to_string().as_bytes()).unwrap();
                prop_assert_eq!(first.body, again.body);
            }
        }
    }

    #[test]
    fn any_bytes_and_any_query_are_answered(raw in prop::collection::vec(any::<u8>(), 0..64), name in ".{0,8}", value in ".{0,24}") {
        let contract = contract_once();
        for operation in contract.operations() {
            for name in [name.as_str(), "page", "status", "inserted_at__gte"] {
                let query = vec![(name.to_owned(), value.clone())];
                let answered = operation.check([("id", value.as_str())].into_iter(), query, &HeaderMap::new(), &raw);
                prop_assert!(answered.is_ok() || answered.is_err());
            }
        }
    }
}

fn contract_once() -> &'static Contract {
    static ONCE: std::sync::OnceLock<Contract> = std::sync::OnceLock::new();
    ONCE.get_or_init(contract)
}
