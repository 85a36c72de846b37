//! The compiled form of a contract: everything a request needs is resolved once, at start.

use std::sync::Arc;

use http::Method;
use reeve_types::Permission;
use regex::Regex;
use serde_json::Value;

/// One operation of the document.
#[derive(Debug)]
pub struct Operation {
    /// `operationId`, as in `clusters.create`.
    pub id: String,
    /// HTTP method.
    pub method: Method,
    /// Path template as documented, as in `/api/v1/clusters/{name}`.
    pub path: String,
    /// What the caller needs; None for public operations.
    pub permission: Option<Permission>,
    /// Refused with `degraded_mode` while there are more nodes than capacity.
    pub degraded_gate: bool,
    /// Answers as long as the client listens: no handler timeout.
    pub stream: bool,
    /// Not in the published reference.
    pub addition: bool,
    /// Query parameters that are not documented are ignored, not refused.
    pub lenient_query: bool,
    /// Documented statuses.
    pub statuses: Vec<u16>,
    pub(crate) path_params: Vec<Param>,
    pub(crate) query: Vec<Param>,
    pub(crate) headers: Vec<Param>,
    pub(crate) body: Option<Arc<Schema>>,
    pub(crate) responses: Vec<(u16, Option<Arc<Schema>>)>,
}

impl Operation {
    /// Whether the operation reads a JSON body.
    pub fn has_body(&self) -> bool {
        self.body.is_some()
    }
}

/// A path, query or header parameter.
#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) name: String,
    pub(crate) required: bool,
    pub(crate) schema: Arc<Schema>,
}

/// A schema with its references resolved and its patterns compiled.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) kind: Kind,
    pub(crate) nullable: bool,
    /// A string parameter may be a comma separated list of such values.
    pub(crate) list: bool,
    pub(crate) enumeration: Vec<Value>,
    pub(crate) default: Option<Value>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Any,
    Boolean,
    Integer { minimum: Option<i64>, maximum: Option<i64> },
    Number { minimum: Option<f64>, maximum: Option<f64> },
    String(Text),
    Array { items: Arc<Schema>, min_items: Option<usize>, max_items: Option<usize> },
    Object(Fields),
    AnyOf(Vec<Arc<Schema>>),
}

#[derive(Debug, Default)]
pub(crate) struct Text {
    pub(crate) format: Option<Format>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) min_length: Option<usize>,
    pub(crate) max_length: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Uuid,
    Date,
    DateTime,
}

impl Format {
    /// As the original's validator prints it.
    pub(crate) fn shown(self) -> &'static str {
        match self {
            Format::Uuid => ":uuid",
            Format::Date => ":date",
            Format::DateTime => ":\"date-time\"",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) regex: Regex,
    /// `~r/.../`, as the original's validator prints it.
    pub(crate) shown: String,
}

#[derive(Debug)]
pub(crate) struct Fields {
    /// Sorted by name.
    pub(crate) properties: Vec<(String, Arc<Schema>)>,
    pub(crate) required: Vec<String>,
    pub(crate) additional: Additional,
    pub(crate) min_properties: Option<usize>,
    pub(crate) max_properties: Option<usize>,
}

impl Fields {
    pub(crate) fn property(&self, name: &str) -> Option<&Schema> {
        let at = self.properties.binary_search_by(|(n, _)| n.as_str().cmp(name)).ok()?;
        Some(&self.properties[at].1)
    }
}

/// What happens to properties that are not listed.
#[derive(Debug)]
pub(crate) enum Additional {
    /// Left out without a word.
    Ignored,
    /// A violation each.
    Refused,
    /// Taken as they are.
    Kept,
    /// Taken when they satisfy this.
    Checked(Arc<Schema>),
}

impl Schema {
    /// The type's word in messages; None where several types are possible.
    pub(crate) fn type_word(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Any | Kind::AnyOf(_) => None,
            Kind::Boolean => Some("boolean"),
            Kind::Integer { .. } => Some("integer"),
            Kind::Number { .. } => Some("number"),
            Kind::String(_) => Some("string"),
            Kind::Array { .. } => Some("array"),
            Kind::Object(_) => Some("object"),
        }
    }
}
