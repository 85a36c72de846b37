//! Label selectors, in the syntax of Kubernetes: `env=prod,tier!=db,zone in (a,b),gpu,!old`.

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Requirement {
    /// The key is there with one of the values.
    In(String, Vec<String>),
    /// The key is absent or has none of the values.
    NotIn(String, Vec<String>),
    /// The key is there.
    Exists(String),
    /// The key is absent.
    Absent(String),
}

/// Requirements that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Selector(pub Vec<Requirement>);

/// Most requirements in one selector.
pub const MAX_REQUIREMENTS: usize = 32;
/// Most values in one requirement.
pub const MAX_VALUES: usize = 256;

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// A sentence that names the part that cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = split_outside_parentheses(text)?;
        if parts.len() > MAX_REQUIREMENTS {
            return Err(format!("has more than {MAX_REQUIREMENTS} requirements"));
        }
        parts.into_iter().map(requirement).collect::<Result<_, _>>().map(Self)
    }

    /// Whether `labels` satisfy every requirement.
    pub fn matches(&self, labels: &std::collections::BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
        })
    }
}

/// Whether `key` can be a label key: 1..=63 of `A-Za-z0-9._-/`, an alphanumeric at both ends.
pub fn is_label_key(key: &str) -> bool {
    is_label_text(key, 63, true) && !key.is_empty()
}

/// Whether `value` can be a label value: 0..=63 of `A-Za-z0-9._-`, an alphanumeric at both ends.
pub fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_label_text(value, 63, false)
}

fn is_label_text(text: &str, max: usize, slash: bool) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') || (slash && c == '/');
    text.len() <= max
        && text.chars().all(inner)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

fn split_outside_parentheses(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0usize, 0usize);
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).ok_or("has a ')' without '('")?,
            ',' if depth == 0 => {
                parts.push(text[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    if depth > 0 {
        return Err("has a '(' without ')'".to_owned());
    }
    parts.push(text[start..].trim());
    Ok(parts)
}

fn requirement(part: &str) -> Result<Requirement, String> {
    if part.is_empty() {
        return Err("has an empty requirement; write it as in `env=prod,!old`".to_owned());
    }
    if let Some(rest) = part.strip_suffix(')') {
        let (head, list) = rest.split_once('(').ok_or_else(|| cannot_read(part))?;
        let mut words = head.split_whitespace();
        let key = key(words.next().unwrap_or_default())?;
        let values = list.split(',').map(|v| value(v.trim())).collect::<Result<Vec<_>, _>>()?;
        if values.len() > MAX_VALUES {
            return Err(format!("has more than {MAX_VALUES} values for `{key}`"));
        }
        return match (words.next(), words.next()) {
            (Some("in"), None) => Ok(Requirement::In(key, values)),
            (Some("notin"), None) => Ok(Requirement::NotIn(key, values)),
            _ => Err(cannot_read(part)),
        };
    }
    if let Some((k, v)) = part.split_once("!=") {
        return Ok(Requirement::NotIn(key(k.trim())?, vec![value(v.trim())?]));
    }
    if let Some((k, v)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok(Requirement::In(key(k.trim())?, vec![value(v.trim())?]));
    }
    match part.strip_prefix('!') {
        Some(k) => Ok(Requirement::Absent(key(k.trim())?)),
        None => Ok(Requirement::Exists(key(part)?)),
    }
}

fn key(text: &str) -> Result<String, String> {
    if is_label_key(text) { Ok(text.to_owned()) } else { Err(format!("has `{text}`, which cannot be a label key")) }
}

fn value(text: &str) -> Result<String, String> {
    if is_label_value(text) { Ok(text.to_owned()) } else { Err(format!("has `{text}`, which cannot be a label value")) }
}

fn cannot_read(part: &str) -> String {
    format!(
        "has `{part}`, which is none of `key=value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`, `key`, `!key`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form() {
        let selector = Selector::parse("env=prod, tier!=db,zone in (a, b),gpu,!old,x notin (1)").unwrap();
        assert_eq!(selector.0.len(), 6);
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        assert!(selector.matches(&labels(&[("env", "prod"), ("zone", "b"), ("gpu", "")])));
        assert!(!selector.matches(&labels(&[("env", "prod"), ("zone", "b"), ("gpu", ""), ("old", "1")])));
    }

    #[test]
    fn says_what_it_cannot_read() {
        assert_eq!(Selector::parse("a in (b").unwrap_err(), "has a '(' without ')'");
        assert!(Selector::parse("a,,b").unwrap_err().contains("empty requirement"));
        assert!(Selector::parse("-a=b").unwrap_err().contains("`-a`"));
        assert!(Selector::parse("a of (b)").unwrap_err().contains("none of"));
    }
}
