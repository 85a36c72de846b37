//! Ids from paths and fields. UUIDs mean the same in either case; stored ones are lower case.

use reeve_http_kit::Call;

/// The `{id}` of a path as the id of a noun.
pub fn of<T: From<String>>(call: &Call) -> T {
    named(call, "id")
}

/// The id in the path parameter `name`.
pub fn named<T: From<String>>(call: &Call, name: &str) -> T {
    T::from(call.param(name).to_ascii_lowercase())
}

/// A comma separated list of ids; never empty, so that a filter that was given does not vanish.
pub fn list<T: From<String>>(text: &str) -> Vec<T> {
    text.split(',').map(|id| T::from(id.trim().to_ascii_lowercase())).collect()
}

/// Ids of a body, each once, in the order given.
pub fn each_once<T: From<String> + PartialEq>(ids: &[String]) -> Vec<T> {
    let mut once: Vec<T> = Vec::with_capacity(ids.len());
    let mut seen = std::collections::HashSet::with_capacity(ids.len());
    for id in ids {
        let id = id.to_ascii_lowercase();
        if seen.insert(id.clone()) {
            once.push(T::from(id));
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeve_types::NodeId;

    #[test]
    fn ids_count_once_whatever_their_case() {
        let ids = ["AB".to_owned(), "ab".to_owned(), "c".to_owned()];
        assert_eq!(each_once::<NodeId>(&ids), [NodeId::from("ab"), NodeId::from("c")]);
    }

    #[test]
    fn an_empty_list_matches_nothing_rather_than_everything() {
        assert_eq!(list::<NodeId>(""), [NodeId::from("")]);
        assert_eq!(list::<NodeId>("A, b"), [NodeId::from("a"), NodeId::from("b")]);
    }
}
