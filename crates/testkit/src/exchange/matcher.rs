//! Matching of answers against patterns.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

/// What patterns are read with.
pub(super) struct Matcher<'s> {
    pub(super) shapes: &'s BTreeMap<String, Value>,
    /// The original is played: additions must be absent.
    pub(super) original: bool,
}

impl Matcher<'_> {
    /// What does not fit, as `path: problem` lines.
    pub(super) fn problems(&self, pattern: &Value, actual: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        self.compare("", pattern, actual, &mut problems);
        problems
    }

    fn compare(&self, path: &str, pattern: &Value, actual: &Value, problems: &mut Vec<String>) {
        match pattern {
            Value::String(text) => {
                if let Some(problem) = text_problem(text, actual) {
                    problems.push(format!("{path}: {problem}"));
                }
            }
            Value::Array(items) => self.compare_list(path, items, actual, problems),
            Value::Object(fields) => match self.expand(fields) {
                Ok(fields) => self.compare_object(path, &fields, actual, problems),
                Err(problem) => problems.push(format!("{path}: {problem}")),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) if pattern == actual => {}
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                problems.push(format!("{path}: {actual} is not {pattern}"))
            }
        }
    }

    fn compare_list(&self, path: &str, items: &[Value], actual: &Value, problems: &mut Vec<String>) {
        let Some(list) = actual.as_array() else {
            problems.push(format!("{path}: {actual} is not a list"));
            return;
        };
        match items {
            [Value::String(word), each] if word == "<each>" => {
                for (index, item) in list.iter().enumerate() {
                    self.compare(&format!("{path}/{index}"), each, item, problems);
                }
            }
            [Value::String(word), one] if word == "<contains>" => {
                if !list.iter().any(|item| self.problems(one, item).is_empty()) {
                    problems.push(format!("{path}: no item of {actual} fits {one}"));
                }
            }
            _ if items.len() != list.len() => {
                problems.push(format!("{path}: {} items, not {}: {actual}", list.len(), items.len()))
            }
            _ => {
                for (index, (pattern, item)) in items.iter().zip(list).enumerate() {
                    self.compare(&format!("{path}/{index}"), pattern, item, problems);
                }
            }
        }
    }

    fn compare_object(&self, path: &str, fields: &Map<String, Value>, actual: &Value, problems: &mut Vec<String>) {
        let Some(object) = actual.as_object() else {
            problems.push(format!("{path}: {actual} is not an object"));
            return;
        };
        for (name, pattern) in fields {
            let (name, addition) = match name.strip_prefix('+') {
                Some(name) => (name, true),
                None => (name.as_str(), false),
            };
            match object.get(name) {
                _ if name == "<more>" || (addition && self.original) => {}
                None => problems.push(format!("{path}/{name}: missing")),
                Some(value) => self.compare(&format!("{path}/{name}"), pattern, value, problems),
            }
        }
        if !fields.contains_key("<more>") {
            for name in
                object.keys().filter(|name| !fields.contains_key(*name) && !fields.contains_key(&format!("+{name}")))
            {
                problems.push(format!("{path}/{name}: not expected"));
            }
        }
    }

    /// Replaces `"<shape>": name` by the shape, other fields win.
    fn expand(&self, fields: &Map<String, Value>) -> Result<Map<String, Value>, String> {
        let Some(name) = fields.get("<shape>") else { return Ok(fields.clone()) };
        let name = name.as_str().ok_or("a shape's name is text")?;
        let shape = self.shapes.get(name).and_then(Value::as_object).ok_or_else(|| format!("no shape {name}"))?;
        let mut expanded = self.expand(shape)?;
        for (field, pattern) in fields.iter().filter(|(field, _)| *field != "<shape>") {
            let addition = format!("+{field}");
            let field = if expanded.contains_key(&addition) { addition } else { field.clone() };
            expanded.insert(field, pattern.clone());
        }
        Ok(expanded)
    }
}

/// None when `actual` fits the text pattern.
pub(super) fn text_problem(pattern: &str, actual: &Value) -> Option<String> {
    if let Some(source) = pattern.strip_prefix('~') {
        let regex = match Regex::new(source) {
            Ok(regex) => regex,
            Err(error) => return Some(error.to_string()),
        };
        return match actual.as_str() {
            Some(text) if regex.is_match(text) => None,
            _ => Some(format!("{actual} does not match {source}")),
        };
    }
    let Some(word) = pattern.strip_prefix('<').and_then(|p| p.strip_suffix('>')) else {
        return (actual.as_str() != Some(pattern)).then(|| format!("{actual} is not {pattern:?}"));
    };
    let (word, nullable) = match word.strip_suffix('?') {
        Some(word) => (word, true),
        None => (word, false),
    };
    if nullable && actual.is_null() {
        return None;
    }
    let text = actual.as_str().unwrap_or_default();
    let instant = reeve_types::Timestamp::parse(text).is_some() && text.ends_with('Z');
    let fits = match word {
        "any" => true,
        "string" => actual.is_string(),
        "int" => actual.is_i64() || actual.is_u64(),
        "number" => actual.is_number(),
        "bool" => actual.is_boolean(),
        "object" => actual.is_object(),
        "uuid" => text.len() == 36 && text.split('-').map(str::len).eq([8, 4, 4, 4, 12]),
        // Rows have whole seconds, envelopes have microseconds.
        "timestamp" => instant && !text.contains('.'),
        "micros" => instant && text.split_once('.').is_some_and(|(_, fraction)| fraction.len() == 7),
        _ => return Some(format!("<{word}> is not a pattern")),
    };
    (!fits).then(|| format!("{actual} is not {pattern}"))
}
