//! Which documented answers were seen.

use std::collections::BTreeSet;

use reeve_http_kit::Contract;
use reeve_http_kit::contract::Operation;

/// Operations and statuses that were played.
#[derive(Clone, Debug, Default)]
pub struct Coverage(BTreeSet<(String, u16)>);

impl Coverage {
    /// Notes an answer.
    pub fn saw(&mut self, operation: &str, status: u16) {
        self.0.insert((operation.to_owned(), status));
    }

    /// Adds what another run saw.
    pub fn merge(&mut self, other: &Coverage) {
        self.0.extend(other.0.iter().cloned());
    }

    /// Documented answers that were not seen, as `clusters.get 404`, without the statuses in `except`.
    pub fn missing(&self, contract: &Contract, except: &[u16]) -> Vec<String> {
        let mut missing = Vec::new();
        for operation in contract.operations() {
            for status in operation.statuses.iter().filter(|status| !except.contains(status)) {
                if !self.0.contains(&(operation.id.clone(), *status)) {
                    missing.push(format!("{} {status}", operation.id));
                }
            }
        }
        missing
    }
}

/// The operation that answers a request; literal segments win over parameters.
pub(super) fn operation_of<'c>(contract: &'c Contract, method: &str, path: &str) -> Option<&'c Operation> {
    let path = path.split('?').next().unwrap_or_default();
    let segments: Vec<&str> = path.split('/').collect();
    contract
        .operations()
        .iter()
        .map(AsRef::as_ref)
        .filter(|operation: &&Operation| operation.method.as_str() == method)
        .filter(|operation| {
            let template: Vec<&str> = operation.path.split('/').collect();
            template.len() == segments.len()
                && template.iter().zip(&segments).all(|(t, s)| t.starts_with('{') || t == s)
        })
        .min_by_key(|operation| operation.path.matches('{').count())
}
