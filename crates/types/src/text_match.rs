//! How a list filter on text matches.

/// A filter on a text column, as list queries and targeting filters write it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum TextMatch {
    /// Exactly this text.
    Exact(String),
    /// Any of these texts.
    AnyOf(Vec<String>),
    /// Case-insensitive, `*` stands for any run of characters; everything else is literal.
    Wildcard(String),
}

impl TextMatch {
    /// `*` anywhere makes a wildcard, else a comma makes a list, else it is exact.
    pub fn parse(text: &str) -> Self {
        if text.contains('*') {
            Self::Wildcard(text.to_owned())
        } else if text.contains(',') {
            Self::AnyOf(text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect())
        } else {
            Self::Exact(text.to_owned())
        }
    }

    /// For columns whose values hold commas by nature (command text, output): no lists.
    pub fn parse_prose(text: &str) -> Self {
        if text.contains('*') { Self::Wildcard(text.to_owned()) } else { Self::Exact(text.to_owned()) }
    }

    /// The pattern for `lower(column) LIKE lower($n) ESCAPE '\'`, None unless a wildcard. Lower case is the database's
    /// business: SQLite knows that of ASCII only, and letters lowered here would no longer match theirs.
    pub fn like_pattern(&self) -> Option<String> {
        let Self::Wildcard(text) = self else { return None };
        let mut pattern = String::with_capacity(text.len() + 4);
        for c in text.chars() {
            match c {
                '*' => pattern.push('%'),
                '%' | '_' | '\\' => {
                    pattern.push('\\');
                    pattern.push(c);
                }
                _ => pattern.push(c),
            }
        }
        Some(pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_three_forms() {
        assert_eq!(TextMatch::parse("prod"), TextMatch::Exact("prod".into()));
        assert_eq!(TextMatch::parse("a, b"), TextMatch::AnyOf(vec!["a".into(), "b".into()]));
        assert_eq!(TextMatch::parse("A_b*").like_pattern().unwrap(), "A\\_b%");
    }
}
