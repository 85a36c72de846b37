//! Takes secrets out of what machines say, before anybody stores or shows it.

/// Shorter texts would blank out half of a log; the catalogue asks for longer secrets.
const SHORTEST: usize = 6;

/// Replaces known secrets in text.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that a secret inside another one leaves no tail of it.
    secrets: Vec<String>,
}

impl Redactor {
    /// Blanks each of `secrets`, and each long line of those with several lines, also in their quoted forms.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = Vec::new();
        for secret in secrets {
            for line in secret.lines() {
                let line = line.trim();
                if line.len() >= SHORTEST {
                    all.push(line.to_owned());
                    all.push(crate::quote::sh(line));
                    if let Ok(json) = serde_json::to_string(line) {
                        all.push(json[1..json.len() - 1].to_owned());
                    }
                }
            }
        }
        all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        all.dedup();
        Self { secrets: all }
    }

    /// `text` without the secrets.
    pub fn clean(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for secret in &self.secrets {
            if clean.contains(secret.as_str()) {
                clean = clean.replace(secret.as_str(), "***");
            }
        }
        clean
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} texts)", self.secrets.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_vanish_whole_and_line_by_line() {
        let redactor = Redactor::new(["hunter2hunter2", "-----BEGIN\nAAAABBBBCCCC\n", "it's \"quoted\""]);
        assert_eq!(redactor.clean("login hunter2hunter2 ok"), "login *** ok");
        assert_eq!(redactor.clean("key AAAABBBBCCCC end"), "key *** end");
        assert_eq!(redactor.clean(r#"x 'it'\''s "quoted"' y it's \"quoted\" z"#), "x *** y *** z");
        assert_eq!(format!("{redactor:?}"), "Redactor(9 texts)");
    }

    #[test]
    fn short_words_are_left_alone() {
        assert_eq!(Redactor::new(["abc"]).clean("abcabc"), "abcabc");
    }
}
