//! Times and sizes as people read them.

use std::time::Duration;

/// `time` in at most two units: `120 ms`, `4.2 s`, `42 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub(crate) fn time(time: Duration) -> String {
    let (seconds, tenths) = (time.as_secs(), time.subsec_millis() / 100);
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..10 if tenths > 0 => format!("{seconds}.{tenths} s"),
        _ => seconds_in_words(seconds),
    }
}

/// The same of whole seconds: what counts down, or is no more than an estimate.
pub(crate) fn seconds_in_words(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: u64, unit: &str, small: u64, part: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {part}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => two(minutes, "min", seconds % 60, "s"),
        3600..86_400 => two(hours, "h", minutes % 60, "min"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

/// `len` bytes, with one decimal: `0 B`, `120.0 KiB`, `4.0 MiB`.
pub(crate) fn size(len: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if len < 1024 {
        return format!("{len} B");
    }
    let mut scaled = len as f64 / 1024.0;
    let mut unit = 0;
    // What would be rounded up to 1024.0 is one of the next unit.
    while scaled >= 1023.95 {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

/// `text` with its control characters escaped, so that a key cannot write on the terminal or break
/// a line of output in two. JSON output has the exact text.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two units at most, and no more digits than mean something.
    #[test]
    fn times() {
        let rows = [
            (0, "0 ms"),
            (999, "999 ms"),
            (1000, "1 s"),
            (4250, "4.2 s"),
            (10_900, "10 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (200_000, "3 min 20 s"),
            (3_600_000, "1 h"),
            (7_530_000, "2 h 5 min"),
            (273_600_000, "3 d 4 h"),
        ];
        for (ms, expected) in rows {
            assert_eq!(time(Duration::from_millis(ms)), expected, "{ms}");
        }
    }

    /// Never four digits before the point.
    #[test]
    fn sizes() {
        let rows = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (122_880, "120.0 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (6_606_028, "6.3 MiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (len, expected) in rows {
            assert_eq!(size(len), expected, "{len}");
        }
    }
}
