//! Casting and checking of values against compiled schemas, with the message forms clients of the original know.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::model::{Additional, Fields, Format, Kind, Schema, Text};

/// Field path -> what is wrong with it.
pub type Violations = BTreeMap<String, Vec<String>>;

/// More than this many paths are not reported: the answer to a hostile body stays small.
const MAX_PATHS: usize = 100;

/// How forgiving a pass over a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Requests: `"5"` is an integer, unknown fields vanish, defaults are filled in.
    Input,
    /// Our own answers: exact types, unknown fields are violations.
    Output,
}

pub(super) struct Check {
    mode: Mode,
    path: Vec<Segment>,
    violations: Violations,
}

enum Segment {
    Name(String),
    Index(usize),
}

impl Check {
    pub(super) fn new(mode: Mode) -> Self {
        Self { mode, path: Vec::new(), violations: Violations::new() }
    }

    pub(super) fn finish(self) -> Violations {
        self.violations
    }

    pub(super) fn report_at(&mut self, name: &str, message: String) {
        self.path.push(Segment::Name(name.to_owned()));
        self.report(message);
        self.path.pop();
    }

    pub(super) fn cast_at(&mut self, name: &str, schema: &Schema, value: Value) -> Value {
        self.path.push(Segment::Name(name.to_owned()));
        let value = self.cast(schema, value);
        self.path.pop();
        value
    }

    /// The value in the type the schema wants. After a violation the result is of no use.
    pub(super) fn cast(&mut self, schema: &Schema, value: Value) -> Value {
        if value.is_null() && !matches!(schema.kind, Kind::Any) {
            if !schema.nullable {
                let problem = match schema.type_word() {
                    None => "null value".to_owned(),
                    Some(word) => format!("null value where {word} expected"),
                };
                self.report(problem);
            }
            return value;
        }
        let before = self.violations.len();
        let value = match &schema.kind {
            Kind::Any => value,
            Kind::Boolean => self.boolean(value),
            Kind::Integer { minimum, maximum } => self.integer(value, *minimum, *maximum),
            Kind::Number { minimum, maximum } => self.number(value, *minimum, *maximum),
            Kind::String(text) => self.string(schema, text, value),
            Kind::Array { items, min_items, max_items } => self.array(items, *min_items, *max_items, value),
            Kind::Object(fields) => self.object(fields, value),
            Kind::AnyOf(choices) => self.any_of(choices, value),
        };
        let sound = self.violations.len() == before;
        if sound && !schema.enumeration.is_empty() && !schema.list && !schema.enumeration.contains(&value) {
            self.report("Invalid value for enum".to_owned());
        }
        value
    }

    fn boolean(&mut self, value: Value) -> Value {
        match &value {
            Value::Bool(_) => value,
            Value::String(text) if self.mode == Mode::Input && text == "true" => Value::Bool(true),
            Value::String(text) if self.mode == Mode::Input && text == "false" => Value::Bool(false),
            _ => self.wrong_type("boolean", value),
        }
    }

    fn integer(&mut self, value: Value, minimum: Option<i64>, maximum: Option<i64>) -> Value {
        let number = match &value {
            Value::Number(n) => whole(n.as_i64(), n.as_f64()),
            Value::String(text) if self.mode == Mode::Input => whole(text.parse().ok(), text.parse().ok()),
            _ => None,
        };
        let number = match number {
            None => return self.wrong_type("integer", value),
            Some(Err(too_large)) => {
                let (word, size, limit) =
                    if too_large > 0.0 { ("larger", "maximum", i64::MAX) } else { ("smaller", "minimum", i64::MIN) };
                self.report(format!("{too_large} is {word} than inclusive {size} {limit}"));
                return value;
            }
            Some(Ok(number)) => number,
        };
        if let Some(minimum) = minimum.filter(|m| number < *m) {
            self.report(format!("{number} is smaller than inclusive minimum {minimum}"));
        }
        if let Some(maximum) = maximum.filter(|m| number > *m) {
            self.report(format!("{number} is larger than inclusive maximum {maximum}"));
        }
        Value::from(number)
    }

    fn number(&mut self, value: Value, minimum: Option<f64>, maximum: Option<f64>) -> Value {
        let number = match &value {
            Value::Number(n) => n.as_f64(),
            Value::String(text) if self.mode == Mode::Input => text.parse::<f64>().ok().filter(|n| n.is_finite()),
            _ => None,
        };
        let Some(number) = number else { return self.wrong_type("number", value) };
        if let Some(minimum) = minimum.filter(|m| number < *m) {
            self.report(format!("{number} is smaller than inclusive minimum {minimum}"));
        }
        if let Some(maximum) = maximum.filter(|m| number > *m) {
            self.report(format!("{number} is larger than inclusive maximum {maximum}"));
        }
        Value::from(number)
    }

    fn string(&mut self, schema: &Schema, text: &Text, value: Value) -> Value {
        let Value::String(content) = &value else { return self.wrong_type("string", value) };
        let problem = if content.contains('\0') {
            // No store and no shell takes it, so no field does.
            Some("String contains a NUL character".to_owned())
        } else if schema.list && self.mode == Mode::Input && content.contains(',') {
            let items = || content.split(',').map(str::trim).filter(|item| !item.is_empty());
            // Commas alone are no list: a filter that was given does not vanish.
            match items().next() {
                None => item_problem(schema, text, ""),
                Some(_) => items().find_map(|item| item_problem(schema, text, item)),
            }
        } else {
            item_problem(schema, text, content)
        };
        if let Some(problem) = problem {
            self.report(problem);
        }
        value
    }

    fn array(&mut self, items: &Schema, min: Option<usize>, max: Option<usize>, value: Value) -> Value {
        let Value::Array(list) = value else { return self.wrong_type("array", value) };
        if let Some(min) = min.filter(|m| list.len() < *m) {
            self.report(format!("Array length {} is smaller than minItems: {min}", list.len()));
        }
        if let Some(max) = max.filter(|m| list.len() > *m) {
            self.report(format!("Array length {} is larger than maxItems: {max}", list.len()));
        }
        let mut cast = Vec::with_capacity(list.len());
        for (index, item) in list.into_iter().enumerate() {
            self.path.push(Segment::Index(index));
            cast.push(self.cast(items, item));
            self.path.pop();
        }
        Value::Array(cast)
    }

    fn object(&mut self, fields: &Fields, value: Value) -> Value {
        let Value::Object(input) = value else { return self.wrong_type("object", value) };
        if let Some(max) = fields.max_properties.filter(|m| input.len() > *m) {
            self.report(format!("Object property count {} is greater than maxProperties: {max}", input.len()));
            return Value::Null;
        }
        if let Some(min) = fields.min_properties.filter(|m| input.len() < *m) {
            self.report(format!("Object property count {} is less than minProperties: {min}", input.len()));
        }
        for name in fields.required.iter().filter(|name| !input.contains_key(*name)) {
            self.report_at(name, format!("Missing field: {name}"));
        }
        let mut output = Map::new();
        for (name, item) in input {
            if let Some(schema) = fields.property(&name) {
                let item = self.cast_at(&name, schema, item);
                output.insert(name, item);
                continue;
            }
            match &fields.additional {
                Additional::Ignored if self.mode == Mode::Input => {}
                Additional::Ignored | Additional::Refused => self.unexpected(&name),
                Additional::Kept => {
                    output.insert(name, item);
                }
                Additional::Checked(schema) => {
                    if name.contains('\0') {
                        self.report("String contains a NUL character".to_owned());
                        continue;
                    }
                    let item = self.cast_at(&name, schema, item);
                    output.insert(name, item);
                }
            }
        }
        if self.mode == Mode::Input {
            for (name, schema) in &fields.properties {
                if let (Some(default), false) = (&schema.default, output.contains_key(name)) {
                    output.insert(name.clone(), default.clone());
                }
            }
        }
        Value::Object(output)
    }

    fn any_of(&mut self, choices: &[std::sync::Arc<Schema>], value: Value) -> Value {
        if let [only] = choices {
            return self.cast(only, value);
        }
        let mut failed = Vec::new();
        for choice in choices {
            let mut attempt = Check::new(self.mode);
            let cast = attempt.cast(choice, value.clone());
            if attempt.violations.is_empty() {
                return cast;
            }
            failed.push(choice.type_word().unwrap_or("any"));
        }
        let shown: Vec<String> = failed.iter().rev().map(|word| format!("Schema(type: :{word})")).collect();
        self.report(format!("Failed to cast value using any of: {}", shown.join(", ")));
        value
    }

    pub(super) fn unexpected(&mut self, name: &str) {
        let shown: String = name.chars().take(40).collect();
        self.report_at(&shown, format!("Unexpected field: {shown}"));
    }

    fn wrong_type(&mut self, wanted: &str, value: Value) -> Value {
        self.report(format!("Invalid {wanted}. Got: {}", type_of(&value)));
        value
    }

    fn report(&mut self, message: String) {
        if self.violations.len() >= MAX_PATHS {
            return;
        }
        let mut path = String::new();
        for segment in &self.path {
            if !path.is_empty() {
                path.push('/');
            }
            match segment {
                Segment::Name(name) => path.push_str(name),
                Segment::Index(index) => path.push_str(&index.to_string()),
            }
        }
        if path.is_empty() {
            path.push_str("base");
        }
        self.violations.entry(path).or_default().push(message);
    }
}

fn item_problem(schema: &Schema, text: &Text, content: &str) -> Option<String> {
    if let Some(format) = text.format.filter(|f| !format_holds(*f, content)) {
        return Some(format!("Invalid format. Expected {}", format.shown()));
    }
    if let Some(pattern) = text.pattern.as_ref().filter(|p| !p.regex.is_match(content)) {
        return Some(format!("Invalid format. Expected {}", pattern.shown));
    }
    if text.min_length.is_some() || text.max_length.is_some() {
        let length = content.chars().count();
        if let Some(min) = text.min_length.filter(|m| length < *m) {
            return Some(format!("String length is smaller than minLength: {min}"));
        }
        if let Some(max) = text.max_length.filter(|m| length > *m) {
            return Some(format!("String length is larger than maxLength: {max}"));
        }
    }
    let listed = !schema.list || schema.enumeration.is_empty() || schema.enumeration.iter().any(|v| v == content);
    (!listed).then(|| "Invalid value for enum".to_owned())
}

fn format_holds(format: Format, content: &str) -> bool {
    match format {
        Format::Uuid => reeve_types::id::is_uuid(content),
        Format::Date => content.len() == 10 && content.parse::<jiff::civil::Date>().is_ok(),
        Format::DateTime => reeve_types::Timestamp::parse(content).is_some(),
    }
}

/// A whole number; `Err` holds one that does not fit. None for fractions and other text.
fn whole(exact: Option<i64>, float: Option<f64>) -> Option<Result<i64, f64>> {
    if let Some(exact) = exact {
        return Some(Ok(exact));
    }
    let float = float.filter(|f| f.is_finite() && f.fract() == 0.0)?;
    const EXACT: f64 = 9_007_199_254_740_992.0;
    Some(if float.abs() <= EXACT { Ok(float as i64) } else { Err(float) })
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
