//! Amounts as the edge API rounds them.

const MIB: f64 = 1_048_576.0;
const GIB: f64 = 1_073_741_824.0;

/// Binary gigabytes with one decimal.
pub fn gb(bytes: u64) -> f64 {
    rounded(whole(bytes) / GIB, 10.0)
}

/// Binary megabytes with two decimals.
pub fn mb(bytes: u64) -> f64 {
    rounded(whole(bytes) / MIB, 100.0)
}

/// `part` of `total` in percent with one decimal; None of nothing.
pub fn percent(part: u64, total: u64) -> Option<f64> {
    (total > 0).then(|| rounded(whole(part) / whole(total) * 100.0, 10.0))
}

/// `2d 5h 30m`, `5h 15m`, `30m`.
pub fn human(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m"),
        (0, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h {minutes}m"),
    }
}

fn rounded(value: f64, to: f64) -> f64 {
    (value * to).round() / to
}

// Exact up to 2^52, which no amount here reaches.
#[allow(clippy::cast_precision_loss)]
fn whole(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_rounded_as_in_the_reference() {
        assert_eq!((gb(107_374_182_400), gb(58_249_036_800)), (100.0, 54.2));
        assert_eq!((mb(1_223_807), mb(30_935_279)), (1.17, 29.5));
        assert_eq!((percent(49_125_145_600, 107_374_182_400), percent(1, 0)), (Some(45.8), None));
        let times = [90_061, 172_800, 1_404, 18_900, 59].map(human);
        assert_eq!(times, ["1d 1h 1m", "2d 0h 0m", "23m", "5h 15m", "0m"]);
    }
}
