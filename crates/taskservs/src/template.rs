//! Templates and expressions of the catalogue: strict about what is undefined, and bounded in what they may cost.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};

use crate::quote::{self, Format};

/// Steps of the template engine: the largest template of the catalogue takes a few thousand.
const FUEL: u64 = 2_000_000;
const LARGEST: usize = 1024 * 1024;

/// What templates see.
pub(crate) type Context = serde_json::Value;

/// An engine in which every printed value is quoted by the format that the template's name ends in. Templates without such
/// an ending (paths, arguments, variables) print values as they are: who calls quotes the whole.
fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    environment.set_syntax(syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(64);
    environment.set_auto_escape_callback(|name| match Format::of(name) {
        Some(format) => AutoEscape::Custom(format.word().into()),
        None => AutoEscape::None,
    });
    environment.set_formatter(print);
    environment.add_filter("sql_name", |text: &str| safe(quote::sql_name(text)));
    environment.add_filter("word", |text: &str| safe(quote::word(text)));
    environment.add_filter("quoted", quoted);
    environment.add_filter("each", each);
    environment.add_filter("pairs", |items: Vec<Vec<String>>, by: &str| {
        items.iter().map(|pair| pair.join(by)).collect::<Vec<String>>()
    });
    environment.add_filter("host_of", |endpoint: &str| host_of(endpoint).to_owned());
    environment.add_filter("port_of", |endpoint: &str| port_of(endpoint).to_owned());
    environment.add_filter("bracketed", |address: &str| bracketed(address));
    Ok(environment)
}

fn print(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    let write = |out: &mut Output, text: &str| {
        out.write_str(text).map_err(|_| Error::new(ErrorKind::WriteFailure, "the output could not be written"))
    };
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    let format = match state.auto_escape() {
        AutoEscape::Custom(name) => Format::of(&format!(".{name}")),
        _ => None,
    };
    let Some(format) = format else {
        if value.is_none() {
            return Err(Error::new(ErrorKind::InvalidOperation, "a value that is not set would be printed"));
        }
        return write(out, &value.to_string());
    };
    if value.is_safe() {
        return write(out, value.as_str().unwrap_or_default());
    }
    let json = serde_json::to_value(value).map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))?;
    let text = format.quote(&json).map_err(|e| Error::new(ErrorKind::InvalidOperation, e.to_string()))?;
    write(out, &text)
}

fn safe(quoted: Result<String, quote::Unquotable>) -> Result<Value, Error> {
    quoted.map(Value::from_safe_string).map_err(|e| Error::new(ErrorKind::InvalidOperation, e.to_string()))
}

fn quoted(text: &str, format: &str) -> Result<Value, Error> {
    let format = Format::of(&format!(".{format}"))
        .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "there is no such format"))?;
    safe(format.quote(&serde_json::Value::String(text.to_owned())))
}

/// `pattern` for each of a list's objects, `{field}` standing for a field; an address as it stands in front of a port.
fn each(items: Vec<Value>, pattern: &str) -> Result<Vec<String>, Error> {
    let fill = |item: &Value| {
        let mut out = String::new();
        let mut rest = pattern;
        while let Some((before, tail)) = rest.split_once('{') {
            let (field, after) =
                tail.split_once('}').ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "a brace is not closed"))?;
            let value = item.get_attr(field)?;
            if value.is_undefined() {
                return Err(Error::new(ErrorKind::UndefinedError, format!("there is no {field}")));
            }
            let text = value.to_string();
            out.push_str(before);
            out.push_str(&if field == "address" && after.starts_with(':') { bracketed(&text) } else { text });
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    };
    items.iter().map(fill).collect()
}

fn host_of(endpoint: &str) -> &str {
    endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host)
}

fn port_of(endpoint: &str) -> &str {
    endpoint.rsplit_once(':').map_or("", |(_, port)| port)
}

/// An address as it stands in front of a port.
fn bracketed(address: &str) -> String {
    if address.contains(':') && !address.starts_with('[') { format!("[{address}]") } else { address.to_owned() }
}

/// What went wrong, without the values.
fn told(error: &Error) -> String {
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
    format!("{line}{}{detail}", error.kind())
}

/// Renders `source`; `name` decides how values are quoted.
pub(crate) fn render(name: &str, source: &str, context: &Context) -> Result<String, String> {
    let environment = environment().map_err(|error| told(&error))?;
    let value = Value::from(Serde(context));
    let text = environment.render_named_str(name, source, value).map_err(|error| told(&error))?;
    if text.len() > LARGEST { Err(format!("more than {LARGEST} bytes")) } else { Ok(text) }
}

/// Renders a short template into text that the caller quotes. An empty answer is one.
pub(crate) fn plain(source: &str, context: &Context) -> Result<String, String> {
    if !source.contains("{{") && !source.contains("{%") {
        return Ok(source.to_owned());
    }
    render("plain", source, context)
}

/// Whether a template reads.
pub(crate) fn reads(name: &str, source: &str) -> Result<(), String> {
    let environment = environment().map_err(|error| told(&error))?;
    environment.template_from_named_str(name, source).map(|_| ()).map_err(|error| told(&error))
}

/// Whether an expression reads.
pub(crate) fn is_expression(source: &str) -> Result<(), String> {
    let environment = environment().map_err(|error| told(&error))?;
    environment.compile_expression(source).map(|_| ()).map_err(|error| told(&error))
}

/// Evaluates an expression.
pub(crate) fn evaluate(expression: &str, context: &Context) -> Result<serde_json::Value, String> {
    let environment = environment().map_err(|error| told(&error))?;
    let compiled = environment.compile_expression(expression).map_err(|error| told(&error))?;
    let value = compiled.eval(Value::from(Serde(context))).map_err(|error| told(&error))?;
    if value.is_undefined() {
        return Err("undefined value".into());
    }
    serde_json::to_value(&value).map_err(|error| error.to_string())
}

/// Evaluates a condition; none holds.
pub(crate) fn holds(condition: Option<&str>, context: &Context) -> Result<bool, String> {
    let Some(condition) = condition else { return Ok(true) };
    match evaluate(condition, context)? {
        serde_json::Value::Bool(holds) => Ok(holds),
        other => Ok(!(other.is_null() || other == "" || other == 0 || other == serde_json::json!([]))),
    }
}

/// Renders each value of a map.
pub(crate) fn plain_map(
    map: &BTreeMap<String, String>,
    context: &Context,
) -> Result<BTreeMap<String, String>, (String, String)> {
    map.iter()
        .map(|(name, source)| match plain(source, context) {
            Ok(text) => Ok((name.clone(), text)),
            Err(why) => Err((name.clone(), why)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_quoted_by_the_ending_of_the_name() {
        let context = json!({"x": "a'b\"c", "n": 5, "list": ["p", "q r"]});
        assert_eq!(render("a.sh", "{{ x }} {{ n }}", &context).unwrap(), r#"'a'\''b"c' 5"#);
        assert_eq!(
            render("a.yaml", "k: {{ x }}\nl: {{ list }}", &context).unwrap(),
            "k: \"a'b\\\"c\"\nl: [\"p\", \"q r\"]"
        );
        assert_eq!(render("a.toml", "k = {{ list }}", &context).unwrap(), r#"k = ["p", "q r"]"#);
        assert_eq!(render("a.haproxy", "log {{ x ~ '$HOME' }}", &context).unwrap(), r#"log "a'b\"c\$HOME""#);
        assert_eq!(render("a.sql", "SELECT {{ x }}", &context).unwrap(), r#"SELECT 'a''b"c'"#);
        assert!(render("a.words", "{{ x }}", &context).unwrap_err().contains("cannot carry"));
    }

    #[test]
    fn what_is_undefined_or_not_set_is_an_error() {
        let context = json!({"params": {"a": null}});
        assert!(render("a.yaml", "{{ params.b }}", &context).unwrap_err().contains("undefined"));
        assert!(render("a.words", "{{ params.a }}", &context).is_err());
        assert!(plain("{{ params.a }}", &context).is_err());
        assert!(evaluate("params.b.c", &context).is_err());
        assert!(!holds(Some("params.a"), &context).unwrap());
    }

    #[test]
    fn an_endless_template_is_stopped() {
        let source = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert!(render("a.yaml", source, &json!({})).unwrap_err().contains("fuel"));
    }
}
