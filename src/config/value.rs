//! Which values a setting takes, and reading them.

use std::time::Duration;

use bytesize::ByteSize;

use crate::devserver::Rate;
use crate::model::Endpoint;
use crate::network::Proxies;

/// Longest wait that a setting may ask for: a day. More is a slip of the unit.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Most detail that `-v` brings.
pub(crate) const VERBOSE_MAX: u8 = 2;

/// The values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text that is not empty.
    Text,
    /// A path of this machine.
    Path,
    /// A host: `https://host[:port]`.
    Url,
    /// A proxy's URL, or `none`.
    Proxy,
    /// Bytes, with or without a unit, between two bounds.
    Size {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// Bytes, or `auto`.
    SizeOrAuto,
    /// Bytes a second, or `none`.
    RateOrNone,
    /// A whole number between two bounds.
    Number {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// The same, or `auto`.
    NumberOrAuto {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A time with its unit, at most a day.
    Duration {
        /// Shortest.
        min: Duration,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// How often a flag was given.
    Count,
}

impl Kind {
    /// Checks `text`; the error says what would be right.
    pub(crate) fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::Text | Self::Path if text.is_empty() => Err("it must not be empty".to_owned()),
            Self::Text | Self::Path => Ok(()),
            Self::Url => Endpoint::parse(text, true)
                .map(drop)
                .map_err(|error| error.to_string()),
            Self::Proxy => Proxies::new(Some(text), None, |_| None).map(drop),
            Self::Size { min, max } => {
                let len = size(text)?;
                if (min..=max).contains(&len) {
                    return Ok(());
                }
                Err(format!("it must be from {} to {}", iec(min), iec(max)))
            }
            Self::SizeOrAuto => size_or_auto(text).map(drop),
            Self::RateOrNone => rate_or_none(text).map(drop),
            Self::Number { min, max } => in_range(number(text)?, min, max),
            Self::NumberOrAuto { min, max } => match number_or_auto(text)? {
                Some(count) => in_range(count, min, max),
                None => Ok(()),
            },
            Self::Duration { min } if duration(text)? < min => {
                let min = humantime::format_duration(min);
                Err(format!("it must be at least {min} and at most 24h"))
            }
            Self::Duration { .. } => Ok(()),
            Self::Word(words) if words.contains(&text) => Ok(()),
            Self::Word(words) => Err(format!("it must be one of: {}", words.join(", "))),
            Self::Flag => flag(text).map(drop),
            Self::Count => count(text).map(drop),
        }
    }
}

/// A size in bytes: `4MiB` (1024), `100KB` (1000), or plain bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    const RIGHT: &str = "it is no size; right would be `4MiB` (1024 × 1024), `100KB` (1000) or a \
                         plain number of bytes";
    match text.parse::<ByteSize>() {
        Ok(ByteSize(u64::MAX)) | Err(_) => Err(RIGHT.to_owned()),
        Ok(ByteSize(len)) => Ok(len),
    }
}

/// A size, or `None` for `auto`.
pub(crate) fn size_or_auto(text: &str) -> Result<Option<u64>, String> {
    if text == "auto" {
        return Ok(None);
    }
    size(text)
        .map(Some)
        .map_err(|why| format!("{why}, or `auto`"))
}

/// Bytes a second: a size, with or without `/s`, or bits that are spelled out; `None` for `none`.
pub(crate) fn rate_or_none(text: &str) -> Result<Option<u64>, String> {
    const RIGHT: &str = "it is no rate; right would be `100KB/s` (1000 bytes each), `8KiB/s` (1024), \
                         `1mbit` (125 KB/s), a plain number of bytes a second, or `none`";
    if text == "none" {
        return Ok(None);
    }
    let unit = text.strip_suffix("/s").unwrap_or(text);
    // As `haul serve --rate` reads them; it knows no plain numbers.
    let bytes_per_s = match unit.to_ascii_lowercase().ends_with("bit") {
        true => unit.parse::<Rate>().ok().map(|rate| rate.bits_per_s() / 8),
        false => size(unit).ok(),
    };
    match bytes_per_s {
        Some(0) => {
            Err("0 would stop everything; for no limit leave it out, or write `none`".into())
        }
        Some(rate) => Ok(Some(rate)),
        None => Err(RIGHT.to_owned()),
    }
}

/// A rate as [`rate_or_none`] reads it: the shortest that is exact.
pub(crate) fn told_rate(bytes_per_s: u64) -> String {
    let units = [
        (1_000_000_000, "GB"),
        (1 << 30, "GiB"),
        (1_000_000, "MB"),
        (1 << 20, "MiB"),
        (1_000, "KB"),
        (1 << 10, "KiB"),
    ];
    let unit = units
        .iter()
        .find(|(len, _)| bytes_per_s > 0 && bytes_per_s.is_multiple_of(*len));
    match unit {
        Some((len, unit)) => format!("{} {unit}/s", bytes_per_s / len),
        None => format!("{bytes_per_s} B/s"),
    }
}

/// A whole number.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| "it is no whole number; right would be `4`".to_owned())
}

/// A whole number, or `None` for `auto`.
pub(crate) fn number_or_auto(text: &str) -> Result<Option<u64>, String> {
    if text == "auto" {
        return Ok(None);
    }
    number(text)
        .map(Some)
        .map_err(|why| format!("{why}, or `auto`"))
}

fn in_range(count: u64, min: u64, max: u64) -> Result<(), String> {
    if (min..=max).contains(&count) {
        return Ok(());
    }
    Err(format!("it must be from {min} to {max}"))
}

/// A time such as `10s` or `1m 30s`; more than nothing, at most a day.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let read = humantime::parse_duration(text)
        .map_err(|_| "it is no time; right would be `10s` or `500ms`".to_owned())?;
    if read.is_zero() || read > DURATION_MAX {
        return Err("it must be more than 0 and at most 24h".to_owned());
    }
    Ok(read)
}

/// `true` or `false`; `1` and `0` mean the same.
pub(crate) fn flag(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("it must be true or false".to_owned()),
    }
}

/// How much to say: 0, 1 or 2.
pub(crate) fn count(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(count) if count <= VERBOSE_MAX => Ok(count),
        _ => Err(format!("it must be from 0 to {VERBOSE_MAX}")),
    }
}

/// `len` as people read it: `4.0 MiB`.
pub(crate) fn iec(len: u64) -> String {
    ByteSize(len).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes as people write them: KB is 1000, KiB is 1024, and nonsense is refused.
    #[test]
    fn sizes() {
        let rows = [
            ("0", Some(0)),
            ("4194304", Some(4 << 20)),
            ("4MiB", Some(4 << 20)),
            ("4 MiB", Some(4 << 20)),
            ("100KB", Some(100_000)),
            ("100KiB", Some(102_400)),
            ("1.5GiB", Some(1_610_612_736)),
            ("", None),
            ("-1", None),
            ("many", None),
            ("4 parsecs", None),
            ("99999999999999999999999", None),
        ];
        for (text, expected) in rows {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
    }

    /// Rates: bytes a second, with or without saying so; told in the shortest way that is exact.
    #[test]
    fn rates() {
        let rows = [
            ("none", None, ""),
            ("100KB/s", Some(100_000), "100 KB/s"),
            ("100 KB/s", Some(100_000), "100 KB/s"),
            ("100KB", Some(100_000), "100 KB/s"),
            ("100kb/s", Some(100_000), "100 KB/s"),
            ("8KiB/s", Some(8192), "8 KiB/s"),
            ("1.5MB/s", Some(1_500_000), "1500 KB/s"),
            ("1GB/s", Some(1_000_000_000), "1 GB/s"),
            ("1mbit", Some(125_000), "125 KB/s"),
            ("64 Kbit/s", Some(8_000), "8 KB/s"),
            ("333", Some(333), "333 B/s"),
            ("1B/s", Some(1), "1 B/s"),
        ];
        for (text, expected, told) in rows {
            assert_eq!(rate_or_none(text), Ok(expected), "{text}");
            let again = expected.map(told_rate).unwrap_or_default();
            assert_eq!(again, told, "{text}");
        }
    }

    /// Every kind says what would be right when a value is wrong.
    #[test]
    fn wrong_values() {
        let part = Kind::Size {
            min: 1 << 20,
            max: 1 << 30,
        };
        let time = Kind::Duration {
            min: Duration::from_millis(10),
        };
        let rows = [
            (Kind::Text, "", "empty"),
            (Kind::Url, "ftp://x", "https://host"),
            (Kind::Proxy, "socks4://p", "`socks5://…`"),
            (part, "3", "from 1.0 MiB to 1.0 GiB"),
            (Kind::SizeOrAuto, "some", "`auto`"),
            (Kind::RateOrNone, "0", "`none`"),
            (Kind::RateOrNone, "0KB/s", "`none`"),
            (Kind::RateOrNone, "fast", "`100KB/s`"),
            (Kind::RateOrNone, "-1", "`100KB/s`"),
            (Kind::RateOrNone, "", "`100KB/s`"),
            (Kind::RateOrNone, "/s", "`100KB/s`"),
            (Kind::RateOrNone, "100KB/min", "`100KB/s`"),
            (Kind::RateOrNone, "1mbps", "`1mbit`"),
            (Kind::RateOrNone, "7bit", "`none`"),
            (Kind::RateOrNone, "bit", "`1mbit`"),
            (Kind::Number { min: 0, max: 9 }, "-1", "whole number"),
            (Kind::Number { min: 0, max: 9 }, "10", "from 0 to 9"),
            (Kind::NumberOrAuto { min: 1, max: 16 }, "0", "from 1 to 16"),
            (Kind::NumberOrAuto { min: 1, max: 16 }, "17", "from 1 to 16"),
            (Kind::NumberOrAuto { min: 1, max: 16 }, "two", "`auto`"),
            (time, "10", "`10s`"),
            (time, "0s", "more than 0"),
            (time, "1ns", "at least 10ms"),
            (time, "9ms", "at least 10ms"),
            (time, "9999h", "at most 24h"),
            (Kind::Word(&["v1", "v2"]), "v3", "v1, v2"),
            (Kind::Flag, "maybe", "true or false"),
            (Kind::Count, "7", "from 0 to 2"),
        ];
        for (kind, text, expected) in rows {
            let why = kind.check(text).err().unwrap_or_default();
            assert!(why.contains(expected), "{kind:?} {text:?}: {why}");
        }
    }
}
