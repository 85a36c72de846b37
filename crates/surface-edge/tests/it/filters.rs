//! What filters may hold.

use reeve_http_kit::Contract;
use serde_json::Value;

/// SQLite takes patterns of up to 50,000 bytes, and a pattern can be twice as long as its text. Of a request's URL 65,534
/// bytes are read at all, and a character can be twelve of them.
const LONGEST: u64 = 4_096;

#[test]
fn every_filter_with_wildcards_has_a_longest_text() {
    let contract = Contract::parse(reeve_surface_edge::routes::CONTRACT).unwrap();
    let mut filters = Vec::new();
    collect(contract.document(), &mut filters);
    assert!(filters.len() > 20, "{filters:?}");
    for (what, longest) in filters {
        assert!(longest.is_some_and(|most| most <= LONGEST), "{what} has no maxLength up to {LONGEST}");
    }
}

/// Descriptions that speak of the wildcard, with the longest text of what they describe.
fn collect(value: &Value, filters: &mut Vec<(String, Option<u64>)>) {
    match value {
        Value::Object(fields) => {
            if let Some(text) = value["description"].as_str().filter(|text| text.contains("`*`")) {
                let schema = value.get("schema").unwrap_or(value);
                filters.push((text.to_owned(), schema["maxLength"].as_u64()));
            }
            fields.values().for_each(|inner| collect(inner, filters));
        }
        Value::Array(items) => items.iter().for_each(|inner| collect(inner, filters)),
        _ => {}
    }
}
