//! Cron patterns, in UTC: `minute hour day month weekday`, with an optional second in front, names and nicknames.

use std::str::FromStr;

use jiff::tz::TimeZone;
use reeve_types::{Error, Result, Timestamp};

/// A parsed pattern.
#[derive(Clone, Debug)]
pub struct Cron(croner::Cron);

impl Cron {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Invalid for `field`, saying what is wrong with the pattern; also when it never comes true.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        let wrong =
            |what: String| Error::invalid(field, format!("`{text}` is not a cron pattern such as `0 0 * * *`: {what}"));
        let cron = Self(croner::Cron::from_str(text).map_err(|error| wrong(error.to_string()))?);
        match cron.after(Timestamp(0)) {
            Some(_) => Ok(cron),
            None => Err(wrong("it never comes true".to_owned())),
        }
    }

    /// The first instant after `at`. None when there is none.
    pub fn after(&self, at: Timestamp) -> Option<Timestamp> {
        let at = jiff::Timestamp::from_microsecond(at.0).ok()?.to_zoned(TimeZone::UTC);
        let next = self.0.find_next_occurrence(&at, false).ok()?;
        Some(Timestamp(next.timestamp().as_microsecond()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_come_true_in_utc() {
        let at = |text| Timestamp::parse(text).unwrap();
        for (pattern, after, next) in [
            ("0 0 * * *", "2026-01-31T08:00:00Z", "2026-02-01T00:00:00Z"),
            ("0 0 * * *", "2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z"),
            ("*/15 * * * *", "2026-01-31T23:59:59.5Z", "2026-02-01T00:00:00Z"),
            ("30 2 * * MON", "2026-01-31T08:00:00Z", "2026-02-02T02:30:00Z"),
            ("0 0 29 2 *", "2026-01-31T08:00:00Z", "2028-02-29T00:00:00Z"),
            ("@daily", "2026-01-31T08:00:00Z", "2026-02-01T00:00:00Z"),
        ] {
            assert_eq!(Cron::parse("x", pattern).unwrap().after(at(after)), Some(at(next)), "{pattern} after {after}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_by_name() {
        for wrong in ["", "daily", "0 0 * *", "61 0 * * *", "0 0 31 2 *", "* * * * * * * *"] {
            let error = Cron::parse("execution_pruning_schedule", wrong).unwrap_err();
            assert!(error.details.contains_key("execution_pruning_schedule"), "{wrong}");
        }
    }
}
