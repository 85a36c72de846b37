//! Durations, ages and instants as people write and read them. Pure functions; the present is always an argument.

use std::time::Duration;

use jiff::Timestamp;

/// Parses `30s`, `5m`, `1h30m`, `500ms`, `2d`, `1w`; a bare number counts seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("'{text}' is not a duration; write for example 30s, 5m, 1h30m or 2d");
    let text_trimmed = text.trim();
    if let Ok(seconds) = text_trimmed.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut rest = text_trimmed;
    let mut total_ms: u64 = 0;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let unit_ms: u64 = match unit.trim() {
            "ms" => 1,
            "s" | "sec" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(bad()),
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        total_ms = number.checked_mul(unit_ms).and_then(|ms| total_ms.checked_add(ms)).ok_or_else(bad)?;
        rest = tail;
    }
    Ok(Duration::from_millis(total_ms))
}

/// Parses an instant: RFC 3339, a date (start of the day, UTC), or a duration that is taken as that long ago.
pub fn parse_since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Ok(at) = format!("{text}T00:00:00Z").parse::<Timestamp>() {
        return Ok(at);
    }
    let ago = parse_duration(text).map_err(|_| {
        format!("'{text}' is neither a time nor a duration; write for example 2026-01-31, 2026-01-31T08:00:00Z or 2h")
    })?;
    shift(now, ago, -1)
}

/// `now + duration`, or a message when that is outside the calendar.
pub fn after(now: Timestamp, duration: Duration) -> Result<Timestamp, String> {
    shift(now, duration, 1)
}

fn shift(now: Timestamp, by: Duration, sign: i64) -> Result<Timestamp, String> {
    let outside = || "the duration is too long".to_owned();
    let ms = i64::try_from(by.as_millis()).map_err(|_| outside())?;
    let at = now.as_millisecond().checked_add(sign * ms).ok_or_else(outside)?;
    Timestamp::from_millisecond(at).map_err(|_| outside())
}

/// A duration in at most two units: `350ms`, `2.4s`, `1m30s`, `5h12m`, `3d4h`.
pub fn duration(length: Duration) -> String {
    let ms = length.as_millis();
    if ms < 1_000 {
        return format!("{ms}ms");
    }
    if ms < 10_000 {
        return format!("{:.1}s", length.as_secs_f64()).replace(".0s", "s");
    }
    let s = length.as_secs();
    let two = |big: u64, big_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit}{small}{small_unit}"),
    };
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => two(s / 60, "m", s % 60, "s"),
        3_600..86_400 => two(s / 3_600, "h", s % 3_600 / 60, "m"),
        _ => two(s / 86_400, "d", s % 86_400 / 3_600, "h"),
    }
}

/// How long ago `at` was, in one unit (`12s`, `5m`, `3h`, `9d`); `in 5m` when it lies ahead.
pub fn age(at: Timestamp, now: Timestamp) -> String {
    let s = now.as_second() - at.as_second();
    let size = s.unsigned_abs();
    let text = match size {
        0..120 => format!("{size}s"),
        120..7_200 => format!("{}m", size / 60),
        7_200..172_800 => format!("{}h", size / 3_600),
        _ => format!("{}d", size / 86_400),
    };
    if s < 0 { format!("in {text}") } else { text }
}

/// The age of an RFC 3339 text, `-` for an absent one, the text itself when it is no instant.
pub fn age_of(text: Option<&str>, now: Timestamp) -> String {
    match text {
        None => "-".to_owned(),
        Some(text) => text.parse().map_or_else(|_| text.to_owned(), |at| age(at, now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, ms) in
            [("30s", 30_000), ("5m", 300_000), ("1h30m", 5_400_000), ("500ms", 500), ("2d", 172_800_000), ("7", 7_000)]
        {
            assert_eq!(parse_duration(text).unwrap().as_millis(), ms, "{text}");
        }
        for text in ["", "s", "5x", "-3s", "1h30", "99999999999999999999s", "18446744073709551615w"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_written() {
        for (ms, text) in [
            (0, "0ms"),
            (350, "350ms"),
            (2_400, "2.4s"),
            (3_000, "3s"),
            (12_900, "12s"),
            (90_000, "1m30s"),
            (120_000, "2m"),
            (18_720_000, "5h12m"),
            (273_600_000, "3d4h"),
        ] {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn ages_use_one_unit() {
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        for (at, text) in [
            ("2026-01-09T23:59:48Z", "12s"),
            ("2026-01-09T23:55:00Z", "5m"),
            ("2026-01-09T21:00:00Z", "3h"),
            ("2026-01-01T00:00:00Z", "9d"),
            ("2026-01-10T00:05:00Z", "in 5m"),
        ] {
            assert_eq!(age(at.parse().unwrap(), now), text);
        }
        assert_eq!(age_of(None, now), "-");
        assert_eq!(age_of(Some("soon"), now), "soon");
    }

    #[test]
    fn since_takes_instants_dates_and_ages() {
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        assert_eq!(parse_since("2h", now).unwrap().to_string(), "2026-01-09T22:00:00Z");
        assert_eq!(parse_since("2026-01-02", now).unwrap().to_string(), "2026-01-02T00:00:00Z");
        assert_eq!(parse_since("2026-01-02T08:00:00Z", now).unwrap().to_string(), "2026-01-02T08:00:00Z");
        assert!(parse_since("yesterday", now).is_err());
        assert!(after(now, Duration::from_secs(u64::MAX / 1000)).is_err());
    }
}
