//! Metrics as text that Prometheus reads: format 0.0.4, which OpenMetrics parsers take too once `# EOF` is added.

use std::fmt::Write;

use reeve_http_kit::Reply;

/// What a family's numbers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grow.
    Counter,
    /// Go up and down.
    Gauge,
}

/// A growing text.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// A family with one number; left out when it is not known.
    pub fn one(&mut self, name: &str, kind: Kind, help: &str, value: Option<impl Into<Number>>) {
        if let Some(value) = value {
            self.family(name, kind, help, [(Labels::default(), value)]);
        }
    }

    /// A gauge.
    pub fn gauge(&mut self, name: &str, help: &str, value: Option<impl Into<Number>>) {
        self.one(name, Kind::Gauge, help, value);
    }

    /// A counter.
    pub fn counter(&mut self, name: &str, help: &str, value: impl Into<Number>) {
        self.one(name, Kind::Counter, help, Some(value));
    }

    /// A family with labels; left out when it has no numbers.
    pub fn family<N: Into<Number>>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, N)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let word = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {word}\n"));
        for (labels, value) in samples {
            match value.into() {
                Number::Whole(n) => self.push(format_args!("{name}{} {n}\n", labels.0)),
                Number::Fraction(n) => self.push(format_args!("{name}{} {n}\n", labels.0)),
            }
        }
    }

    /// As an answer.
    pub fn reply(self) -> Reply {
        Reply::raw("text/plain; version=0.0.4; charset=utf-8", self.0.into())
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a `String` cannot fail.
        self.0.write_fmt(text).unwrap_or_default();
    }
}

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Exact.
    Whole(u64),
    /// Anything finite.
    Fraction(f64),
}

impl From<u64> for Number {
    fn from(n: u64) -> Self {
        Self::Whole(n)
    }
}
impl From<f64> for Number {
    fn from(n: f64) -> Self {
        Self::Fraction(n)
    }
}

/// Labels as they stand behind a name; empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(String);

impl Labels {
    /// These, in this order.
    pub fn of(labels: &[(&str, &str)]) -> Self {
        let mut text = String::new();
        for (name, value) in labels {
            text.push(if text.is_empty() { '{' } else { ',' });
            text.push_str(name);
            text.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    c => text.push(c),
                }
            }
            text.push('"');
        }
        if !text.is_empty() {
            text.push('}');
        }
        Self(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_their_heads_and_labels_are_escaped() {
        let mut text = Exposition::default();
        text.gauge("a", "A thing", Some(1.5));
        text.gauge("missing", "Not known", None::<u64>);
        let labels = Labels::of(&[("x", "1"), ("y", "a\"b\\c\nd")]);
        text.family("b_total", Kind::Counter, "Things", [(labels, u64::MAX)]);
        text.family("empty", Kind::Gauge, "None", Vec::<(Labels, u64)>::new());
        let expected = "# HELP a A thing\n# TYPE a gauge\na 1.5\n# HELP b_total Things\n# TYPE b_total counter\n\
            b_total{x=\"1\",y=\"a\\\"b\\\\c\\nd\"} 18446744073709551615\n";
        assert_eq!(text.0, expected);
        assert_eq!(Labels::of(&[]), Labels::default());
    }
}
