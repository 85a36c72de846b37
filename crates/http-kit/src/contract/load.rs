//! From the YAML document to the compiled model. Strict: a keyword that would not be enforced is an error, so that the
//! contract never promises what the server does not check.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;
use reeve_types::Permission;
use serde_json::{Map, Value};

use super::model::{Additional, Fields, Format, Kind, Operation, Param, Pattern, Schema, Text};

const METHODS: [(&str, Method); 5] = [
    ("get", Method::GET),
    ("post", Method::POST),
    ("put", Method::PUT),
    ("patch", Method::PATCH),
    ("delete", Method::DELETE),
];

/// Keywords that say something to readers and nothing to the validator.
const ANNOTATIONS: [&str; 8] =
    ["title", "description", "example", "default", "nullable", "deprecated", "x-reeve-addition", "x-reeve-list"];

pub(super) struct Loader<'d> {
    document: &'d Value,
    schemas: HashMap<String, Arc<Schema>>,
    /// References being resolved, to find cycles.
    open: Vec<String>,
}

impl<'d> Loader<'d> {
    pub(super) fn new(document: &'d Value) -> Self {
        Self { document, schemas: HashMap::new(), open: Vec::new() }
    }

    pub(super) fn operations(&mut self) -> Result<Vec<Operation>, String> {
        let document = self.document;
        let paths = document["paths"].as_object().ok_or("no `paths` in the document")?;
        let mut operations = Vec::new();
        for (path, item) in paths {
            let shared = parameters_of(item);
            for (word, method) in METHODS {
                let Some(node) = item.get(word) else { continue };
                let operation =
                    self.operation(path, method, &shared, node).map_err(|e| format!("{word} {path}: {e}"))?;
                operations.push(operation);
            }
        }
        Ok(operations)
    }

    fn operation(
        &mut self,
        path: &str,
        method: Method,
        shared: &[&'d Value],
        node: &'d Value,
    ) -> Result<Operation, String> {
        let id = node["operationId"].as_str().ok_or("no operationId")?.to_owned();
        let ours = &node["x-reeve"];
        let permission = match ours["permission"].as_str() {
            None => None,
            Some(word) => Some(Permission::parse(word).ok_or_else(|| format!("unknown permission {word}"))?),
        };
        let public = node["security"].as_array().is_some_and(Vec::is_empty);
        if public == permission.is_some() {
            return Err("an operation is either public (`security: []`) or names a permission".to_owned());
        }
        let (mut path_params, mut query, mut headers) = (Vec::new(), Vec::new(), Vec::new());
        for raw in shared.iter().copied().chain(parameters_of(node)) {
            let raw = self.target(raw)?;
            let name = raw["name"].as_str().ok_or("a parameter without a name")?.to_owned();
            let schema = self.schema(&raw["schema"]).map_err(|e| format!("parameter {name}: {e}"))?;
            let required = raw["required"].as_bool().unwrap_or(false);
            let param = Param { name, required, schema };
            match raw["in"].as_str() {
                Some("path") => path_params.push(param),
                Some("query") => query.push(param),
                Some("header") => headers.push(param),
                other => return Err(format!("parameter {}: `in` is {other:?}", param.name)),
            }
        }
        for name in path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}')) {
            if !path_params.iter().any(|p| p.name == name) {
                return Err(format!("path parameter {name} is not described"));
            }
        }
        query.sort_by(|a, b| a.name.cmp(&b.name));
        let body = match node.get("requestBody") {
            None => None,
            Some(body) => Some(
                self.schema(&self.target(body)?["content"]["application/json"]["schema"])
                    .map_err(|e| format!("body: {e}"))?,
            ),
        };
        let mut responses = Vec::new();
        for (status, response) in node["responses"].as_object().ok_or("no responses")? {
            let code: u16 = status.parse().map_err(|_| format!("response {status}"))?;
            let schema = match self.target(response)?.pointer("/content/application~1json/schema") {
                None => None,
                Some(schema) => Some(self.schema(schema).map_err(|e| format!("response {status}: {e}"))?),
            };
            responses.push((code, schema));
        }
        Ok(Operation {
            id,
            method,
            path: path.to_owned(),
            permission,
            degraded_gate: ours["degraded_gate"].as_bool().unwrap_or(false),
            stream: ours["stream"].as_bool().unwrap_or(false),
            lenient_query: self.document["x-reeve"]["lenient_query"].as_bool().unwrap_or(false),
            addition: node["x-reeve-addition"].as_bool().unwrap_or(false),
            statuses: responses.iter().map(|(code, _)| *code).collect(),
            path_params,
            query,
            headers,
            body,
            responses,
        })
    }

    fn target(&self, node: &'d Value) -> Result<&'d Value, String> {
        match node["$ref"].as_str() {
            None => Ok(node),
            Some(reference) => {
                let pointer =
                    reference.strip_prefix('#').ok_or_else(|| format!("{reference} is not in this document"))?;
                self.document.pointer(pointer).ok_or_else(|| format!("{reference} does not exist"))
            }
        }
    }

    fn schema(&mut self, node: &'d Value) -> Result<Arc<Schema>, String> {
        let Some(reference) = node["$ref"].as_str() else {
            return self.compile(node).map(Arc::new);
        };
        if let Some(known) = self.schemas.get(reference) {
            return Ok(known.clone());
        }
        if self.open.iter().any(|r| r == reference) {
            return Err(format!("{reference} contains itself"));
        }
        self.open.push(reference.to_owned());
        let schema = Arc::new(self.compile(self.target(node)?).map_err(|e| format!("{reference}: {e}"))?);
        self.open.pop();
        self.schemas.insert(reference.to_owned(), schema.clone());
        Ok(schema)
    }

    fn compile(&mut self, node: &'d Value) -> Result<Schema, String> {
        let Some(keywords) = node.as_object() else { return Err("not a schema".to_owned()) };
        let mut schema = Schema {
            kind: Kind::Any,
            nullable: node["nullable"].as_bool().unwrap_or(false),
            list: node["x-reeve-list"].as_bool().unwrap_or(false),
            enumeration: node["enum"].as_array().cloned().unwrap_or_default(),
            default: node.get("default").cloned(),
        };
        if let Some(parts) = node["allOf"].as_array() {
            let [part] = parts.as_slice() else { return Err("allOf with several parts is not supported".to_owned()) };
            only(keywords, &["allOf"])?;
            let part = self.schema(part)?;
            // A wrapper whose only purpose is to make a reference nullable.
            schema.kind = Kind::AnyOf(vec![part]);
            return Ok(schema);
        }
        if let Some(choices) = node["anyOf"].as_array() {
            only(keywords, &["anyOf"])?;
            schema.kind = Kind::AnyOf(choices.iter().map(|c| self.schema(c)).collect::<Result<_, _>>()?);
            return Ok(schema);
        }
        schema.kind = match node["type"].as_str() {
            None => {
                only(keywords, &[])?;
                Kind::Any
            }
            Some("boolean") => {
                only(keywords, &["type"])?;
                Kind::Boolean
            }
            Some("integer") => {
                only(keywords, &["type", "enum", "minimum", "maximum"])?;
                Kind::Integer { minimum: node["minimum"].as_i64(), maximum: node["maximum"].as_i64() }
            }
            Some("number") => {
                only(keywords, &["type", "enum", "minimum", "maximum"])?;
                Kind::Number { minimum: node["minimum"].as_f64(), maximum: node["maximum"].as_f64() }
            }
            Some("string") => {
                only(keywords, &["type", "enum", "format", "pattern", "minLength", "maxLength"])?;
                Kind::String(text(node)?)
            }
            Some("array") => {
                only(keywords, &["type", "items", "minItems", "maxItems"])?;
                Kind::Array {
                    items: self.schema(&node["items"])?,
                    min_items: size(node, "minItems"),
                    max_items: size(node, "maxItems"),
                }
            }
            Some("object") => {
                only(
                    keywords,
                    &["type", "properties", "required", "additionalProperties", "minProperties", "maxProperties"],
                )?;
                Kind::Object(self.fields(node)?)
            }
            Some(other) => return Err(format!("type {other} is not supported")),
        };
        Ok(schema)
    }

    fn fields(&mut self, node: &'d Value) -> Result<Fields, String> {
        let mut properties = Vec::new();
        if let Some(listed) = node["properties"].as_object() {
            for (name, property) in listed {
                properties.push((name.clone(), self.schema(property).map_err(|e| format!("{name}: {e}"))?));
            }
        }
        properties.sort_by(|a, b| a.0.cmp(&b.0));
        let required: Vec<String> =
            node["required"].as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect();
        if let Some(name) = required.iter().find(|name| !properties.iter().any(|(n, _)| n == *name)) {
            return Err(format!("required property {name} is not listed"));
        }
        let additional = match &node["additionalProperties"] {
            Value::Bool(false) => Additional::Refused,
            Value::Bool(true) => Additional::Kept,
            Value::Null if properties.is_empty() => Additional::Kept,
            Value::Null => Additional::Ignored,
            schema => Additional::Checked(self.schema(schema)?),
        };
        let (min_properties, max_properties) = (size(node, "minProperties"), size(node, "maxProperties"));
        Ok(Fields { properties, required, additional, min_properties, max_properties })
    }
}

fn parameters_of(node: &Value) -> Vec<&Value> {
    node["parameters"].as_array().map(|list| list.iter().collect()).unwrap_or_default()
}

fn text(node: &Value) -> Result<Text, String> {
    let format = match node["format"].as_str() {
        None => None,
        Some("uuid") => Some(Format::Uuid),
        Some("date") => Some(Format::Date),
        Some("date-time") => Some(Format::DateTime),
        Some(other) => return Err(format!("format {other} is not supported")),
    };
    let pattern = match node["pattern"].as_str() {
        None => None,
        Some(source) => {
            // ASCII classes like the original's; patterns that need Unicode fall back to it.
            let regex = regex::RegexBuilder::new(source)
                .unicode(false)
                .build()
                .or_else(|_| regex::Regex::new(source))
                .map_err(|e| format!("pattern {source}: {e}"))?;
            Some(Pattern { regex, shown: format!("~r/{}/", source.replace("\\/", "/").replace('/', "\\/")) })
        }
    };
    Ok(Text { format, pattern, min_length: size(node, "minLength"), max_length: size(node, "maxLength") })
}

fn size(node: &Value, keyword: &str) -> Option<usize> {
    node[keyword].as_u64().and_then(|n| usize::try_from(n).ok())
}

fn only(keywords: &Map<String, Value>, enforced: &[&str]) -> Result<(), String> {
    match keywords.keys().find(|k| !enforced.contains(&k.as_str()) && !ANNOTATIONS.contains(&k.as_str())) {
        None => Ok(()),
        Some(keyword) => Err(format!("keyword {keyword} is not supported here")),
    }
}
