//! A rate, and the pace of bytes at that rate. Pure arithmetic: time is an argument.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Units a rate may be written in, with the bits per second of one of them.
///
/// Bits as lines are sold, bytes as files are counted. Units are case-insensitive: nobody means
/// "milli" or tells `Mb` from `MB` reliably, so bits are spelled out.
const UNITS: [(&str, u64); 10] = [
    ("bit", 1),
    ("kbit", 1_000),
    ("mbit", 1_000_000),
    ("gbit", 1_000_000_000),
    ("b", 8),
    ("kb", 8_000),
    ("mb", 8_000_000),
    ("gb", 8_000_000_000),
    ("kib", 8 * 1024),
    ("mib", 8 * 1024 * 1024),
];

/// How long an idle line may save up what it did not carry.
///
/// Timers wake about a millisecond late and tasks later still on a busy machine; without credit each
/// late wake-up would be capacity lost for good. 20 ms covers that and is far below what a user of
/// the line can see.
const CREDIT: Duration = Duration::from_millis(20);

/// How fast bytes pass: a line's rate, or that of a slow reader.
///
/// Written as `64kbit`, `1mbit`, `1.5mbit` (bits per second; k = 1000) or `10kb`, `2MiB` (bytes per
/// second; KB = 1000, KiB = 1024).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(NonZeroU64);

impl Rate {
    /// `bits` per second; `None` for 0, which is no rate.
    pub fn from_bits_per_s(bits: u64) -> Option<Self> {
        NonZeroU64::new(bits).map(Self)
    }

    /// Bits per second.
    pub fn bits_per_s(self) -> u64 {
        self.0.get()
    }

    /// How long `len` bytes take, rounded up: a line is never faster than its rate.
    pub(crate) fn duration_of(self, len: u64) -> Duration {
        let nanos = (u128::from(len) * 8 * 1_000_000_000).div_ceil(u128::from(self.0.get()));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many whole bytes pass within `time`.
    pub(crate) fn bytes_in(self, time: Duration) -> u64 {
        let bytes = u128::from(self.0.get()) * time.as_nanos() / (8 * 1_000_000_000);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Rate {
    /// In the largest unit of bits that needs no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0.get();
        let (unit, size) = UNITS[..4]
            .iter()
            .rev()
            .find(|(_, size)| bits.is_multiple_of(*size))
            .copied()
            .unwrap_or(UNITS[0]);
        write!(f, "{}{unit}", bits / size)
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let refuse = |why| RateError {
            text: text.to_owned(),
            why,
        };
        let trimmed = text.trim();
        let digits = trimmed
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let unit = unit.trim().to_ascii_lowercase();
        let unit = unit.strip_suffix("/s").unwrap_or(&unit);
        if number.is_empty() {
            return Err(refuse("it must begin with a number"));
        }
        if unit.is_empty() {
            return Err(refuse("it has no unit"));
        }
        let size = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, size)| *size)
            .ok_or_else(|| refuse("the unit is not known"))?;
        let bits = scaled(number, size).ok_or_else(|| refuse("the number is not a valid one"))?;
        Self::from_bits_per_s(bits).ok_or_else(|| refuse("it must be more than nothing"))
    }
}

impl<'de> serde::Deserialize<'de> for Rate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// `number` × `size` in whole numbers, the fraction cut off; `None` if it is no number or too large.
fn scaled(number: &str, size: u64) -> Option<u64> {
    /// More digits than that cannot matter: the largest unit has ten.
    const FRACTION_DIGITS_MAX: usize = 9;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.is_empty() || fraction.len() > FRACTION_DIGITS_MAX {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let numerator: u64 = fraction.parse().ok()?;
    let denominator = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u128::from(numerator) * u128::from(size) / denominator;
    whole
        .checked_mul(size)?
        .checked_add(u64::try_from(part).ok()?)
}

/// Text that is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no rate: {why}; right would be `64kbit`, `1.5mbit` (bits per second) or `10kb` (bytes per second)"
)]
pub struct RateError {
    text: String,
    why: &'static str,
}

/// When bytes have passed a line that carries them one after the other.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When the line has carried everything handed to it so far.
    free_at: Option<Instant>,
}

impl Pace {
    /// Takes `len` bytes at `now`; says when the last of them has passed.
    pub(crate) fn pass(&mut self, rate: Rate, now: Instant, len: u64) -> Instant {
        let earliest = now.checked_sub(CREDIT).unwrap_or(now);
        // A line that was never used has saved up nothing.
        let start = self.free_at.map_or(now, |free_at| free_at.max(earliest));
        let passed = start + rate.duration_of(len);
        self.free_at = Some(passed);
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a person may write for a rate, and how it is shown again.
    #[test]
    fn reads_rates() {
        let rows = [
            ("1mbit", Some("1mbit")),
            ("64kbit", Some("64kbit")),
            ("8 Mbit/s", Some("8mbit")),
            ("1.5mbit", Some("1500kbit")),
            ("10kb", Some("80kbit")),
            ("2MiB", Some("16777216bit")),
            ("1gbit", Some("1gbit")),
            ("0.5bit", None),
            ("0mbit", None),
            ("1", None),
            ("mbit", None),
            ("", None),
            ("-1mbit", None),
            ("1.mbit", None),
            ("1.2.3mbit", None),
            ("1parsec", None),
            ("99999999999999999999bit", None),
            ("9999999999999gbit", None),
        ];
        for (text, expected) in rows {
            let shown = text.parse::<Rate>().map(|rate| rate.to_string());
            assert_eq!(shown.ok().as_deref(), expected, "{text}");
        }
        let why = "1".parse::<Rate>().map_err(|error| error.to_string());
        assert!(why.is_err_and(|text| text.contains("no unit") && text.contains("64kbit")));
    }

    /// However bytes are cut and whenever they come, the line never carries more than its rate and
    /// its credit; a busy line carries exactly its rate.
    #[test]
    fn pace_keeps_the_rate() {
        let rate = Rate::from_bits_per_s(1_000_000).expect("a rate");
        let start = crate::clock::instant();
        for piece in [1, 100, 1_250, 12_500] {
            let mut pace = Pace::default();
            let mut now = start;
            let mut sent = 0;
            while sent < 125_000 {
                // Woken 1 ms late after every piece, as timers do.
                now = pace.pass(rate, now, piece) + Duration::from_millis(1);
                sent += piece;
            }
            let took = now - start;
            assert!(took >= Duration::from_secs(1), "{piece}: {took:?}");
            let lost = took - Duration::from_secs(1);
            assert!(lost < 2 * CREDIT, "pieces of {piece} lost {lost:?}");
        }
    }

    /// An idle hour saves up no more than the credit.
    #[test]
    fn idle_time_is_not_saved_up() {
        let rate = Rate::from_bits_per_s(8_000).expect("a rate");
        let start = crate::clock::instant();
        let mut pace = Pace::default();
        assert_eq!(pace.pass(rate, start, 1000), start + Duration::from_secs(1));
        let later = start + Duration::from_secs(3600);
        let passed = pace.pass(rate, later, 1000);
        assert_eq!(passed, later - CREDIT + Duration::from_secs(1));
    }
}
