//! Contract-first HTTP: one OpenAPI document says which operations there are and what a request may look like.
//!
//! The document is compiled once at start. Requests are checked against it before a handler runs, so that handlers only
//! see values of the documented shape. It must not know what the operations do.

mod load;
mod model;
mod publish;
mod validate;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Map, Value};

pub use model::Operation;
pub use validate::Violations;
use validate::{Check, Mode};

/// A compiled OpenAPI document.
#[derive(Debug)]
pub struct Contract {
    operations: Vec<Arc<Operation>>,
    by_id: HashMap<String, usize>,
    document: Value,
}

/// The checked parts of a request.
#[derive(Debug, Default, PartialEq)]
pub struct Checked {
    /// Path parameters by name.
    pub path: Map<String, Value>,
    /// Query parameters by name, cast to their types, defaults filled in.
    pub query: Map<String, Value>,
    /// The body; null where the operation has none.
    pub body: Value,
}

/// Why a request does not fit its operation.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// The body is not JSON at all.
    MalformedBody,
    /// Parameters or fields that do not fit.
    Violations(Violations),
}

impl Contract {
    /// Compiles an OpenAPI 3.0 document in YAML (or JSON).
    ///
    /// # Errors
    /// A line that says what is wrong with the document, including keywords that would not be enforced.
    pub fn parse(yaml: &str) -> Result<Self, String> {
        let document: Value = serde_saphyr::from_str(yaml).map_err(|e| e.to_string())?;
        if !document.is_object() {
            return Err("the document is not an object".to_owned());
        }
        let operations: Vec<Arc<Operation>> =
            load::Loader::new(&document).operations()?.into_iter().map(Arc::new).collect();
        let mut by_id = HashMap::new();
        for (index, operation) in operations.iter().enumerate() {
            if by_id.insert(operation.id.clone(), index).is_some() {
                return Err(format!("operationId {} is used twice", operation.id));
            }
        }
        Ok(Self { operations, by_id, document })
    }

    /// All operations in document order.
    pub fn operations(&self) -> &[Arc<Operation>] {
        &self.operations
    }

    /// The operation with this id.
    pub fn operation(&self, id: &str) -> Option<&Arc<Operation>> {
        self.by_id.get(id).map(|index| &self.operations[*index])
    }

    /// The document for clients as JSON, without what only the server needs. `prefix` is where the surface's root is.
    pub fn published(&self, prefix: &str) -> bytes::Bytes {
        publish::render(&self.document, prefix)
    }

    /// The document itself.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// What in an answer does not fit the documented schema: wrong types, missing or unknown fields, undocumented status.
    /// For tests: the server does not check its own answers.
    pub fn answer_problems(&self, operation: &str, status: u16, body: Option<&Value>) -> Vec<String> {
        let Some(operation) = self.operation(operation) else { return vec![format!("no operation {operation}")] };
        let Some((_, schema)) = operation.responses.iter().find(|(code, _)| *code == status) else {
            return vec![format!("status {status} is not documented for {}", operation.id)];
        };
        match (schema, body) {
            (Some(schema), Some(body)) => {
                let mut check = Check::new(Mode::Output);
                check.cast(schema, body.clone());
                check.finish().into_iter().map(|(path, problems)| format!("{path}: {}", problems.join(", "))).collect()
            }
            (None, _) => Vec::new(),
            (Some(_), None) => vec![format!("status {status} of {} is documented with a body", operation.id)],
        }
    }
}

impl Operation {
    /// Checks and casts everything in a request that the document describes.
    ///
    /// # Errors
    /// As [`Refusal`] says. The body is only looked at when the parameters are sound.
    pub fn check<'a>(
        &self,
        path: impl Iterator<Item = (&'a str, &'a str)>,
        query: Vec<(String, String)>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Checked, Refusal> {
        let mut checked = Checked::default();
        let mut check = Check::new(Mode::Input);
        for (name, value) in path {
            if let Some(param) = self.path_params.iter().find(|p| p.name == name) {
                let value = check.cast_at(name, &param.schema, Value::from(value));
                checked.path.insert(name.to_owned(), value);
            }
        }
        for (name, value) in query {
            match self.query.binary_search_by(|p| p.name.as_str().cmp(&name)) {
                Err(_) if self.lenient_query => {}
                Err(_) => check.unexpected(&name),
                Ok(at) => {
                    let value = check.cast_at(&name, &self.query[at].schema, Value::String(value));
                    checked.query.insert(name, value);
                }
            }
        }
        for param in self.query.iter() {
            if checked.query.contains_key(&param.name) {
                continue;
            }
            if let Some(default) = &param.schema.default {
                checked.query.insert(param.name.clone(), default.clone());
            } else if param.required {
                check.report_at(&param.name, format!("Missing field: {}", param.name));
            }
        }
        for param in &self.headers {
            match headers.get(param.name.as_str()).map(|v| v.to_str()) {
                None if param.required => check.report_at(&param.name, format!("Missing header: {}", param.name)),
                None => {}
                Some(Err(_)) => check.report_at(&param.name, format!("Invalid value for header: {}", param.name)),
                Some(Ok(value)) => {
                    check.cast_at(&param.name, &param.schema, Value::from(value));
                }
            }
        }
        settled(check)?;
        if let Some(schema) = &self.body {
            let value = if body.iter().all(u8::is_ascii_whitespace) {
                Value::Object(Map::new())
            } else {
                serde_json::from_slice(body).map_err(|_| Refusal::MalformedBody)?
            };
            let mut check = Check::new(Mode::Input);
            checked.body = check.cast(schema, value);
            settled(check)?;
        }
        Ok(checked)
    }
}

fn settled(check: Check) -> Result<(), Refusal> {
    let violations = check.finish();
    if violations.is_empty() { Ok(()) } else { Err(Refusal::Violations(violations)) }
}
