//! Instants as microseconds since the epoch, and the clock as a parameter.

use std::sync::atomic::{AtomicI64, Ordering};

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This instant plus `ms` milliseconds (negative goes back).
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1000)))
    }
    /// Milliseconds from `earlier` to this instant.
    pub fn ms_since(self, earlier: Self) -> i64 {
        (self.0 - earlier.0) / 1000
    }
    /// Whole seconds since the epoch.
    pub fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
    /// RFC 3339 in UTC with whole seconds, as rows are shown: `2026-01-31T08:00:00Z`.
    pub fn rfc3339_secs(self) -> String {
        match jiff::Timestamp::from_second(self.as_secs()) {
            Ok(at) => at.to_string(),
            Err(_) => civil(Self(self.as_secs() * 1_000_000)).map(|at| format!("{at}Z")).unwrap_or_default(),
        }
    }
    /// RFC 3339 in UTC with six decimals, as envelopes and events are shown.
    pub fn rfc3339_micros(self) -> String {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(at) => format!("{at:.6}"),
            Err(_) => civil(self).map(|at| format!("{at:.6}Z")).unwrap_or_default(),
        }
    }
    /// Reads RFC 3339 with any offset. None when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        match text.parse::<jiff::Timestamp>() {
            Ok(at) => Some(Self(at.as_microsecond())),
            Err(_) => last_days(text),
        }
    }
    /// The start of the second that this instant lies in, as rows are shown.
    pub fn start_of_second(self) -> Self {
        Self(self.0 - self.0.rem_euclid(1_000_000))
    }
    /// The last microsecond of the second that this instant lies in.
    pub fn end_of_second(self) -> Self {
        Self(self.start_of_second().0.saturating_add(999_999))
    }
    /// Reads RFC 3339, or a bare date taken as the start (or the end) of that day in UTC.
    pub fn parse_or_date(text: &str, end_of_day: bool) -> Option<Self> {
        Self::parse(text).or_else(|| {
            let date = text.parse::<jiff::civil::Date>().ok()?;
            let start = micros(date.to_datetime(jiff::civil::Time::midnight()));
            Some(Self(if end_of_day { start + 86_400_000_000 - 1 } else { start }))
        })
    }
}

/// The first instant there is: 1970-01-01T00:00:00.
const EPOCH: jiff::civil::DateTime = jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Microseconds from the epoch to a time of day in UTC.
fn micros(at: jiff::civil::DateTime) -> i64 {
    i64::try_from(at.duration_since(EPOCH).as_micros()).unwrap_or(i64::MAX)
}

/// As date and time of day in UTC. None beyond the year 9999.
fn civil(at: Timestamp) -> Option<jiff::civil::DateTime> {
    EPOCH.checked_add(jiff::SignedDuration::from_micros(at.0)).ok()
}

/// Reads the last days of the year 9999, which people write for "never" and which `jiff::Timestamp` leaves out so that every
/// instant can be shown with every offset.
fn last_days(text: &str) -> Option<Timestamp> {
    if !text.starts_with("9999-12-3") {
        return None;
    }
    let pieces = jiff::fmt::temporal::Pieces::parse(text).ok()?;
    let offset = pieces.to_numeric_offset()?;
    let at = micros(pieces.date().to_datetime(pieces.time()?)) - i64::from(offset.seconds()) * 1_000_000;
    civil(Timestamp(at)).map(|_| Timestamp(at))
}

/// An inclusive range of instants or numbers; a missing side is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Range<T> {
    /// Lowest value that matches.
    pub gte: Option<T>,
    /// Highest value that matches.
    pub lte: Option<T>,
}

impl<T> Default for Range<T> {
    fn default() -> Self {
        Self { gte: None, lte: None }
    }
}

impl<T> Range<T> {
    /// True when neither side is set.
    pub fn is_open(&self) -> bool {
        self.gte.is_none() && self.lte.is_none()
    }
}

/// Where "now" comes from.
pub trait Clock: Send + Sync + 'static {
    /// The current instant.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one place that reads the real clock
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_microsecond())
    }
}

/// The clock that the servers on one store share: the machine's, less how far that is ahead of the database's. Starts as
/// the machine's and is corrected by whoever measures the difference.
#[derive(Debug, Default)]
pub struct SharedClock {
    own: SystemClock,
    ahead_us: AtomicI64,
}

impl SharedClock {
    /// The machine's own clock.
    pub fn own(&self) -> Timestamp {
        self.own.now()
    }
    /// How far the machine's clock is taken to be ahead, in microseconds; negative is behind.
    pub fn ahead_us(&self) -> i64 {
        self.ahead_us.load(Ordering::Relaxed)
    }
    /// Corrects it.
    pub fn set_ahead_us(&self, ahead_us: i64) {
        self.ahead_us.store(ahead_us, Ordering::Relaxed);
    }
}

impl Clock for SharedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.own().0 - self.ahead_us())
    }
}

/// A clock that tests move by hand.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `at`.
    pub fn at(at: Timestamp) -> Self {
        Self(AtomicI64::new(at.0))
    }
    /// Moves the clock on by `ms` milliseconds.
    pub fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms * 1000, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_cover_the_whole_day() {
        let start = Timestamp::parse_or_date("2026-03-01", false).unwrap();
        let end = Timestamp::parse_or_date("2026-03-01", true).unwrap();
        assert_eq!(start.rfc3339_secs(), "2026-03-01T00:00:00Z");
        assert_eq!(end.rfc3339_micros(), "2026-03-01T23:59:59.999999Z");
        assert_eq!(Timestamp::parse_or_date("yesterday", false), None);
    }

    #[test]
    fn the_end_of_the_calendar_is_an_instant() {
        for (text, secs) in [
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
            ("9999-12-31T23:59:59.5Z", "9999-12-31T23:59:59Z"),
            ("9999-12-31T23:59:59+02:00", "9999-12-31T21:59:59Z"),
            ("9999-12-30T21:00:00Z", "9999-12-30T21:00:00Z"),
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().rfc3339_secs(), secs, "{text}");
        }
        let last = Timestamp::parse_or_date("9999-12-31", true).unwrap();
        assert_eq!(last.rfc3339_micros(), "9999-12-31T23:59:59.999999Z");
        assert!(last > Timestamp::parse("9999-12-30T21:00:00Z").unwrap());
        for none in ["9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59", "9999-12-32T00:00:00Z", "9999-12-31T25:00:00Z"]
        {
            assert_eq!(Timestamp::parse(none), None, "{none}");
        }
    }

    #[test]
    fn an_instant_lies_in_the_second_that_is_shown() {
        for (at, start) in [(1_999_999, 1_000_000), (1_000_000, 1_000_000), (-1, -1_000_000), (0, 0)] {
            assert_eq!(Timestamp(at).start_of_second(), Timestamp(start));
            assert_eq!(Timestamp(at).end_of_second(), Timestamp(start + 999_999));
            assert_eq!(Timestamp(at).rfc3339_secs(), Timestamp(start).rfc3339_secs());
        }
    }

    #[test]
    fn micros_always_have_six_digits() {
        assert_eq!(Timestamp(1_000_000).rfc3339_micros(), "1970-01-01T00:00:01.000000Z");
    }
}
