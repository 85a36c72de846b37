//! What may be set on a taskserv, and the check of a value against it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::problem::{Problem, Problems, meant};
use crate::quote;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// true or false.
    Boolean,
    /// A whole number.
    Integer,
    /// One line of any characters.
    String,
    /// Several lines.
    Text,
    /// Letters, digits and `._:/@+=,~%-`: what needs quotes nowhere.
    Word,
    /// A name of letters, digits, `-` and `_`, beginning with a letter.
    Name,
    /// One of a list.
    Choice,
    /// A name as DNS knows it.
    Hostname,
    /// An IP address.
    Address,
    /// An IP network in CIDR form, or one address.
    Network,
    /// `host:port`, the host a name or an address (IPv6 in brackets).
    Endpoint,
    /// 1 to 65535.
    Port,
    /// An absolute path without `..`.
    Path,
    /// An http or https address.
    Url,
    /// 64 hexadecimal digits.
    Sha256,
    /// `500ms`, `10s`, `5m`, `24h`.
    Duration,
    /// Bytes with a unit, as `512mb`.
    Size,
    /// Several values of one type.
    List,
    /// Fields of their own.
    Object,
    /// Names with values of one type.
    Map,
    /// Anything JSON can say, for software with a schema of its own.
    Document,
}

/// One thing that may be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// What it does, in a sentence.
    #[serde(default)]
    pub about: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// What holds when it is not set. Without one, and not required, it is null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// It must be set.
    #[serde(default, skip_serializing_if = "is_false")]
    pub required: bool,
    /// It is never shown.
    #[serde(default, skip_serializing_if = "is_false")]
    pub secret: bool,
    /// Made up when it is not set: `a{16}` is 16 of a-z0-9, `h{64}` 64 hexadecimal digits, the rest stands for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<String>,
    /// Least number, or least length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    /// Greatest number, or greatest length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    /// What the whole text must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The words of a choice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<String>,
    /// The type of a list's or a map's values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Box<Parameter>>,
    /// The fields of an object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Parameter>,
}

fn is_false(value: &bool) -> bool {
    !value
}

const LONGEST_STRING: usize = 1024;
const LONGEST_TEXT: usize = 64 * 1024;
const LONGEST_LIST: usize = 256;
const DEEPEST_DOCUMENT: usize = 16;

impl Parameter {
    /// `value` with the defaults of its fields, or everything wrong with it.
    pub fn check(&self, field: &str, value: &Value) -> Result<Value, Problems> {
        match (self.kind, value) {
            (Kind::Boolean, Value::Bool(_)) => Ok(value.clone()),
            (Kind::Boolean, _) => Err(self.wrong(field, value, "true or false")),
            (Kind::Integer, _) => self.integer(field, value, self.min, self.max),
            (Kind::Port, _) => self.integer(field, value, Some(1), Some(65535)),
            (Kind::List, Value::Array(items)) => self.list(field, items),
            (Kind::List, _) => Err(self.wrong(field, value, "a list")),
            (Kind::Object, Value::Object(map)) => read_fields(&self.fields, field, map),
            (Kind::Object, _) => Err(self.wrong(field, value, "an object")),
            (Kind::Map, Value::Object(map)) => self.map(field, map),
            (Kind::Map, _) => Err(self.wrong(field, value, "an object of names and values")),
            (Kind::Document, _) => self.document(field, value),
            (_, Value::String(text)) => self.text(field, text).map(Value::String),
            (_, _) => Err(self.wrong(field, value, &self.right())),
        }
    }

    /// What a value of this type looks like.
    pub fn right(&self) -> String {
        match self.kind {
            Kind::Boolean => "true or false".into(),
            Kind::Integer => match (self.min, self.max) {
                (Some(min), Some(max)) => format!("a whole number from {min} to {max}"),
                (Some(min), None) => format!("a whole number of at least {min}"),
                (None, Some(max)) => format!("a whole number of at most {max}"),
                (None, None) => "a whole number".into(),
            },
            Kind::String => format!("a text of one line, {}", self.lengths(LONGEST_STRING)),
            Kind::Text => format!("a text, {}", self.lengths(LONGEST_TEXT)),
            Kind::Word => "a word of letters, digits and ._:/@+=,~%- that does not begin with -".into(),
            Kind::Name => "a name of letters, digits, - and _ that begins with a letter, at most 63 long".into(),
            Kind::Choice => format!("one of {}", self.of.join(", ")),
            Kind::Hostname => "a host name: labels of letters, digits and -, at most 63 long, 253 in all".into(),
            Kind::Address => "an IP address, as 10.0.0.1 or fd00::1".into(),
            Kind::Network => "a network, as 10.0.0.0/24 or fd00::/64".into(),
            Kind::Endpoint => "host:port, as 10.0.0.1:8080, db.internal:5432 or [fd00::1]:80".into(),
            Kind::Port => "a port from 1 to 65535".into(),
            Kind::Path => "an absolute path without .. and without blanks or quotes".into(),
            Kind::Url => "an address that begins with https:// or http://, without a user name in it".into(),
            Kind::Sha256 => "64 hexadecimal digits".into(),
            Kind::Duration => "a number with ms, s, m or h, as 500ms or 24h".into(),
            Kind::Size => "a number with b, kb, mb or gb, as 512mb".into(),
            Kind::List => "a list".into(),
            Kind::Object => format!("an object with {}", names(&self.fields)),
            Kind::Map => "an object of names and values".into(),
            Kind::Document => format!("any JSON of at most {LONGEST_TEXT} bytes, {DEEPEST_DOCUMENT} deep"),
        }
    }

    fn lengths(&self, longest: usize) -> String {
        match (self.min, self.max) {
            (Some(min), max) => format!("{min} to {} characters", max.unwrap_or(longest as i64)),
            (None, max) => format!("at most {} characters", max.unwrap_or(longest as i64)),
        }
    }

    fn wrong(&self, field: &str, value: &Value, right: &str) -> Problems {
        vec![Problem::invalid(field, format!("{} is not what it takes", self.told(value)), format!("give {right}"))]
    }

    /// The value as a message may hold it: short, and not at all when it is secret.
    fn told(&self, value: &Value) -> String {
        if self.secret {
            return "the value".into();
        }
        match value {
            Value::Array(_) => "a list".into(),
            Value::Object(_) => "an object".into(),
            Value::String(text) => {
                let mut short: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
                if short.len() < text.len() {
                    short.push('…');
                }
                format!("`{short}`")
            }
            other => other.to_string(),
        }
    }

    fn integer(&self, field: &str, value: &Value, min: Option<i64>, max: Option<i64>) -> Result<Value, Problems> {
        let fits = value.as_i64().is_some_and(|n| min.is_none_or(|min| n >= min) && max.is_none_or(|max| n <= max));
        if fits { Ok(value.clone()) } else { Err(self.wrong(field, value, &self.right())) }
    }

    fn list(&self, field: &str, items: &[Value]) -> Result<Value, Problems> {
        let least = self.min.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let most = self.max.and_then(|n| usize::try_from(n).ok()).unwrap_or(LONGEST_LIST);
        if items.len() < least || items.len() > most {
            let right = format!("give {least} to {most}");
            return Err(vec![Problem::invalid(field, format!("{} entries", items.len()), right)]);
        }
        let Some(item) = &self.item else { return Ok(Value::Array(items.to_vec())) };
        let checked = items.iter().enumerate().map(|(index, value)| item.check(&format!("{field}[{index}]"), value));
        gather(checked).map(Value::Array)
    }

    fn map(&self, field: &str, map: &serde_json::Map<String, Value>) -> Result<Value, Problems> {
        if map.len() > LONGEST_LIST {
            let problem = format!("{} entries", map.len());
            return Err(vec![Problem::invalid(field, problem, format!("give at most {LONGEST_LIST}"))]);
        }
        let checked = map.iter().map(|(name, value)| {
            if quote::word(name).is_err() || name.len() > 255 {
                let right = "use letters, digits and ._:/@+=,~%-";
                return Err(vec![Problem::invalid(field, "a name holds characters that it may not", right)]);
            }
            let at = format!("{field}.{name}");
            let value = self.item.as_ref().map_or_else(|| Ok(value.clone()), |item| item.check(&at, value))?;
            Ok((name.clone(), value))
        });
        gather(checked).map(|pairs| Value::Object(pairs.into_iter().collect()))
    }

    fn document(&self, field: &str, value: &Value) -> Result<Value, Problems> {
        if depth(value) > DEEPEST_DOCUMENT || value.to_string().len() > LONGEST_TEXT {
            let right = format!("give {}", self.right());
            return Err(vec![Problem::invalid(field, "it is too large or too deep", right)]);
        }
        Ok(value.clone())
    }

    fn text(&self, field: &str, text: &str) -> Result<String, Problems> {
        let longest = if self.kind == Kind::Text { LONGEST_TEXT } else { LONGEST_STRING };
        let max = self.max.and_then(|n| usize::try_from(n).ok()).unwrap_or(longest);
        let min = self.min.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let length = text.chars().count();
        let lines = self.kind == Kind::Text;
        let clean = text.chars().all(|c| (!c.is_control() || (lines && matches!(c, '\n' | '\t'))) && !bidirectional(c));
        let fits = clean
            && (min..=max).contains(&length)
            && self.pattern.as_ref().is_none_or(|pattern| whole(pattern, text))
            && self.shape(text);
        if fits {
            return Ok(text.to_owned());
        }
        let right = match &self.pattern {
            Some(pattern) => format!("{} that matches {pattern}", self.right()),
            None => self.right(),
        };
        Err(self.wrong(field, &Value::String(text.to_owned()), &right))
    }

    fn shape(&self, text: &str) -> bool {
        match self.kind {
            Kind::Word => quote::word(text).is_ok(),
            Kind::Name => whole("[A-Za-z][A-Za-z0-9_-]{0,62}", text),
            Kind::Choice => self.of.iter().any(|word| word == text),
            Kind::Hostname => is_hostname(text),
            Kind::Address => text.parse::<IpAddr>().is_ok(),
            Kind::Network => is_network(text),
            Kind::Endpoint => is_endpoint(text),
            Kind::Path => is_path(text),
            Kind::Url => is_url(text),
            Kind::Sha256 => text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()),
            Kind::Duration => whole("[1-9][0-9]{0,8}(ms|s|m|h)", text),
            Kind::Size => whole("(?i)[1-9][0-9]{0,8}(b|kb|mb|gb)", text),
            _ => true,
        }
    }
}

/// The fields of an object, each checked, with defaults for those that are absent.
pub(crate) fn read_fields(
    fields: &BTreeMap<String, Parameter>,
    field: &str,
    map: &serde_json::Map<String, Value>,
) -> Result<Value, Problems> {
    let mut problems = Problems::new();
    for name in map.keys().filter(|name| !fields.contains_key(*name)) {
        let right = match meant(name, fields.keys().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it takes {}", names(fields)),
        };
        let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
        problems.push(Problem::invalid(format!("{field}.{shown}"), "there is no such field", right));
    }
    let mut read = serde_json::Map::new();
    for (name, parameter) in fields {
        let at = format!("{field}.{name}");
        let given = map.get(name).filter(|value| !value.is_null());
        match given.or(parameter.default.as_ref()) {
            Some(value) => match parameter.check(&at, value) {
                Ok(value) => _ = read.insert(name.clone(), value),
                Err(found) => problems.extend(found),
            },
            None if parameter.required => {
                problems.push(Problem::invalid(at, "it is missing", format!("give {}", parameter.right())));
            }
            None => _ = read.insert(name.clone(), Value::Null),
        }
    }
    if problems.is_empty() { Ok(Value::Object(read)) } else { Err(problems) }
}

fn names(fields: &BTreeMap<String, Parameter>) -> String {
    fields.keys().cloned().collect::<Vec<_>>().join(", ")
}

fn gather<T>(checked: impl Iterator<Item = Result<T, Problems>>) -> Result<Vec<T>, Problems> {
    let (mut good, mut problems) = (Vec::new(), Problems::new());
    for result in checked {
        match result {
            Ok(value) => good.push(value),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(good) } else { Err(problems) }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// True when the whole `text` matches. A pattern that is none matches nothing; a test reads all of the catalogue's.
pub(crate) fn whole(pattern: &str, text: &str) -> bool {
    regex::Regex::new(&format!(r"\A(?:{pattern})\z")).is_ok_and(|regex| regex.is_match(text))
}

/// Characters that make a line look other than it is.
fn bidirectional(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

pub(crate) fn is_hostname(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| whole("[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", label))
}

fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return text.parse::<IpAddr>().is_ok() };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    whole("[0-9]{1,3}", bits) && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

fn is_endpoint(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let named = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_hostname(host),
    };
    named && whole("[1-9][0-9]{0,4}", port) && port.parse::<u16>().is_ok()
}

pub(crate) fn is_path(text: &str) -> bool {
    text.len() > 1
        && text.starts_with('/')
        && text.split('/').skip(1).all(|part| !part.is_empty() && part != "." && part != "..")
        && quote::word(text).is_ok()
        && !text.contains(['*', '[', ']'])
}

fn is_url(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    }) && text.chars().all(|c| c.is_ascii_graphic() && !"'\"\\`<>{}|^".contains(c))
}
