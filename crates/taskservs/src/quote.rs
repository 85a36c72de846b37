//! Makes a value safe in the format it is written into. A value that a format cannot carry is refused, never bent.

use serde_json::Value;

/// Why a format cannot carry a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unquotable {
    /// The format's name.
    pub format: &'static str,
    /// What the value holds that the format cannot.
    pub because: &'static str,
}

impl std::fmt::Display for Unquotable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} cannot carry {}", self.format, self.because)
    }
}

impl std::error::Error for Unquotable {}

type Quoted = Result<String, Unquotable>;

/// A format of files, known by the ending of a template's name (`redis.conf.redis` is Redis's own format).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// POSIX shell words.
    Sh,
    /// YAML, by the JSON it contains.
    Yaml,
    /// JSON.
    Json,
    /// TOML.
    Toml,
    /// INI as Go programs read it.
    Ini,
    /// HAProxy's configuration.
    Haproxy,
    /// Redis's configuration.
    Redis,
    /// PostgreSQL's configuration.
    Pg,
    /// SQL text literals.
    Sql,
    /// Values of systemd unit files.
    Systemd,
    /// A file that is one value or made of values whose parameters leave no room: printed as they are.
    Verbatim,
    /// Formats without quotes (hosts, resolv.conf, exports, Corefile): only plain words pass.
    Words,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Sh,
        Self::Yaml,
        Self::Json,
        Self::Toml,
        Self::Ini,
        Self::Haproxy,
        Self::Redis,
        Self::Pg,
        Self::Sql,
        Self::Systemd,
        Self::Verbatim,
        Self::Words,
    ];

    /// The format of a template by the last ending of its name.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name.rsplit_once('.')?.1 {
            "sh" => Self::Sh,
            "yaml" => Self::Yaml,
            "json" => Self::Json,
            "toml" => Self::Toml,
            "ini" => Self::Ini,
            "haproxy" => Self::Haproxy,
            "redis" => Self::Redis,
            "pg" => Self::Pg,
            "sql" => Self::Sql,
            "systemd" => Self::Systemd,
            "words" => Self::Words,
            "verbatim" => Self::Verbatim,
            _ => return None,
        })
    }

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sh => "sh",
            Self::Yaml => "yaml",
            Self::Json => "json",
            Self::Toml => "toml",
            Self::Ini => "ini",
            Self::Haproxy => "haproxy",
            Self::Redis => "redis",
            Self::Pg => "pg",
            Self::Sql => "sql",
            Self::Systemd => "systemd",
            Self::Words => "words",
            Self::Verbatim => "verbatim",
        }
    }

    /// `value` as it may stand in this format.
    pub fn quote(self, value: &Value) -> Quoted {
        match (self, value) {
            (Self::Yaml | Self::Json, value) => Ok(json(value)),
            (Self::Toml, value) => toml(value),
            (_, Value::Bool(_) | Value::Number(_)) => Ok(value.to_string()),
            (_, Value::String(text)) => self.quote_text(text),
            (_, Value::Null) => Err(Unquotable { format: self.word(), because: "nothing (null)" }),
            (_, Value::Array(_) | Value::Object(_)) => {
                Err(Unquotable { format: self.word(), because: "a list or an object" })
            }
        }
    }

    fn quote_text(self, text: &str) -> Quoted {
        match self {
            Self::Sh if text.contains('\0') => Err(Unquotable { format: "sh", because: "a NUL" }),
            Self::Sh => Ok(sh(text)),
            Self::Yaml | Self::Json => Ok(json_text(text)),
            Self::Toml => Ok(toml_text(text)),
            Self::Ini => ini(text),
            Self::Haproxy => haproxy(text),
            Self::Redis => Ok(redis(text)),
            Self::Pg => pg(text),
            Self::Sql => sql(text),
            Self::Systemd => systemd(text),
            Self::Words => word(text),
            Self::Verbatim if text.contains('\0') => Err(Unquotable { format: "verbatim", because: "a NUL" }),
            Self::Verbatim => Ok(text.to_owned()),
        }
    }
}

/// One word of POSIX shell. NUL cannot be part of one: whoever may have it checks before.
pub fn sh(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// JSON in which every character is printable, so that it is YAML too.
pub fn json(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pairs: Vec<_> = map.iter().map(|(k, v)| format!("{}: {}", json_text(k), json(v))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::String(text) => json_text(text),
        other => other.to_string(),
    }
}

fn json_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if unprintable(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Below U+10000 all of them, so that four digits do.
fn unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn toml(value: &Value) -> Quoted {
    Ok(match value {
        Value::Null => return Err(Unquotable { format: "toml", because: "nothing (null)" }),
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Result<Vec<_>, _>>()?.join(", ")),
        Value::Object(map) => {
            let pair = |(k, v): (&String, &Value)| toml(v).map(|v| format!("{} = {v}", toml_text(k)));
            format!("{{ {} }}", map.iter().map(pair).collect::<Result<Vec<_>, _>>()?.join(", "))
        }
        Value::String(text) => toml_text(text),
        other => other.to_string(),
    })
}

/// A basic string of TOML: the escapes that JSON and TOML share.
fn toml_text(text: &str) -> String {
    json_text(text)
}

fn has_control(text: &str) -> bool {
    text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
}

fn ini(text: &str) -> Quoted {
    if word(text).is_ok() && !text.contains('%') {
        return Ok(text.to_owned());
    }
    let refused = |because| Err(Unquotable { format: "ini", because });
    if has_control(text) {
        return refused("line breaks or control characters");
    }
    if text.contains('`') {
        return refused("a back quote");
    }
    if text.contains("%(") {
        return refused("%(, which it would expand");
    }
    Ok(format!("`{text}`"))
}

fn haproxy(text: &str) -> Quoted {
    if has_control(text) {
        return Err(Unquotable { format: "haproxy", because: "line breaks or control characters" });
    }
    Ok(format!("\"{}\"", escape(text, &['\\', '"', '$'])))
}

fn escape(text: &str, special: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if special.contains(&c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn redis(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("\\x{other:02x}")),
        }
    }
    out.push('"');
    out
}

fn pg(text: &str) -> Quoted {
    if has_control(text) {
        return Err(Unquotable { format: "postgresql.conf", because: "line breaks or control characters" });
    }
    Ok(format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''")))
}

fn sql(text: &str) -> Quoted {
    if text.contains('\0') {
        return Err(Unquotable { format: "sql", because: "a NUL" });
    }
    if text.contains('\\') {
        // E'' reads the same whatever standard_conforming_strings says.
        return Ok(format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''")));
    }
    Ok(format!("'{}'", text.replace('\'', "''")))
}

/// An identifier of SQL, in quotes.
pub fn sql_name(text: &str) -> Quoted {
    if text.is_empty() || text.contains('\0') {
        return Err(Unquotable { format: "sql", because: "an empty name or a NUL" });
    }
    Ok(format!("\"{}\"", text.replace('"', "\"\"")))
}

/// One argument of `ExecStart=` or value of a setting: no specifier and no variable is expanded in it.
pub fn systemd(text: &str) -> Quoted {
    if has_control(text) {
        return Err(Unquotable { format: "systemd", because: "line breaks or control characters" });
    }
    let doubled = text.replace('%', "%%").replace('$', "$$");
    Ok(format!("\"{}\"", escape(&doubled, &['\\', '"'])))
}

/// One `NAME=value` of `Environment=`, where `$` is an ordinary character.
pub fn systemd_environment(text: &str) -> Quoted {
    Ok(systemd(text)?.replace("$$", "$"))
}

/// A word that means itself in every format without quotes.
pub fn word(text: &str) -> Quoted {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:/@+=,~%-[]*".contains(c);
    if text.is_empty() {
        return Err(Unquotable { format: "words", because: "an empty text" });
    }
    if text.starts_with('-') || !text.chars().all(plain) {
        return Err(Unquotable { format: "words", because: "anything but letters, digits and ._:/@+=,~%-[]*" });
    }
    Ok(text.to_owned())
}
