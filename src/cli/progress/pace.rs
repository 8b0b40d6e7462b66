//! How fast bytes are acknowledged, smoothed so that it can be read.

use std::time::Duration;

/// How long the average remembers: what lies so far back counts a third. A line of 64 kbit/s is
/// honestly silent for 8 to 18 s at a time, and a pace that forgets faster would be zero or nonsense.
const MEMORY: Duration = Duration::from_secs(12);

/// Shortest stretch that is looked at by itself: acknowledgements come in bursts.
const STEP: Duration = Duration::from_millis(200);

/// Before this, an average would be a guess.
const FIRST: Duration = Duration::from_secs(1);

/// Silence after which the line has no pace any more, and begins a new one when it wakes. Longer
/// than the honest silences above; as long as `stall_timeout` is by default.
const SILENCE: Duration = Duration::from_secs(30);

/// A mean in which the past fades. Times count from any fixed moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Bytes a second, weighted; divided by `weight` it is the mean.
    sum: f64,
    /// How much of the memory is filled, from 0 to 1.
    weight: f64,
    /// Up to here everything is in `sum`.
    folded: Duration,
    /// What came since.
    rest: u64,
    began: Duration,
    moved: Duration,
}

impl Pace {
    /// Nothing is known before `now`.
    pub(super) fn new(now: Duration) -> Self {
        Self {
            sum: 0.0,
            weight: 0.0,
            folded: now,
            rest: 0,
            began: now,
            moved: now,
        }
    }

    /// So many bytes more were acknowledged.
    pub(super) fn add(&mut self, now: Duration, bytes: u64) {
        if now.saturating_sub(self.moved) >= SILENCE {
            *self = Self::new(now);
        }
        self.rest += bytes;
        self.moved = now;
        if now.saturating_sub(self.folded) >= STEP {
            self.fold(now);
        }
    }

    /// Bytes a second; none while too little was seen, 0 after a long silence.
    pub(super) fn bytes_per_s(&self, now: Duration) -> Option<u64> {
        if now.saturating_sub(self.moved) >= SILENCE {
            return Some(0);
        }
        if now.saturating_sub(self.began) < FIRST {
            return None;
        }
        let mut until_now = *self;
        until_now.fold(now);
        let mean = until_now.sum / until_now.weight;
        // A mean of nothing at all over no time is none.
        mean.is_finite().then_some(mean.round() as u64)
    }

    fn fold(&mut self, now: Duration) {
        let stretch = now.saturating_sub(self.folded).as_secs_f64();
        if stretch <= 0.0 {
            return;
        }
        let keep = (-stretch / MEMORY.as_secs_f64()).exp();
        self.sum = self.sum * keep + self.rest as f64 / stretch * (1.0 - keep);
        self.weight = self.weight * keep + (1.0 - keep);
        self.folded = now;
        self.rest = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Feeds `bytes` every `every` for `long`; the pace at the end.
    fn fed(pace: &mut Pace, from: Duration, long: Duration, every: Duration, bytes: u64) -> u64 {
        let mut now = from;
        while now < from + long {
            now += every;
            pace.add(now, bytes);
        }
        pace.bytes_per_s(now).expect("enough was seen")
    }

    /// A steady line has its rate from the first second on, however its bytes are cut.
    #[test]
    fn steady() {
        for (every_ms, bytes) in [(50, 500), (250, 2_500), (1000, 10_000)] {
            let every = Duration::from_millis(every_ms);
            let mut pace = Pace::new(SECOND);
            let early = fed(&mut pace, SECOND, 2 * SECOND, every, bytes);
            assert!((9_900..=10_100).contains(&early), "{every_ms}: {early}");
            let late = fed(&mut pace, 3 * SECOND, 60 * SECOND, every, bytes);
            assert!((9_900..=10_100).contains(&late), "{every_ms}: {late}");
        }
    }

    /// A line of 64 kbit/s that is silent for 8 s at a time never seems dead, nor ten times as fast.
    #[test]
    fn in_jumps() {
        let mut pace = Pace::new(Duration::ZERO);
        fed(&mut pace, Duration::ZERO, 80 * SECOND, 8 * SECOND, 64_000);
        for second in 80..88 {
            let seen = pace.bytes_per_s(second * SECOND).expect("seen");
            assert!((4_000..17_000).contains(&seen), "{second}: {seen}");
        }
    }

    /// A change of the line shows within seconds, without a jump.
    #[test]
    fn changes() {
        let mut pace = Pace::new(Duration::ZERO);
        let every = Duration::from_millis(250);
        fed(&mut pace, Duration::ZERO, 60 * SECOND, every, 25_000);
        let soon = fed(&mut pace, 60 * SECOND, 2 * SECOND, every, 2_500);
        assert!((80_000..95_000).contains(&soon), "{soon}");
        let later = fed(&mut pace, 62 * SECOND, 38 * SECOND, every, 2_500);
        assert!((10_000..15_000).contains(&later), "{later}");
    }

    /// Nothing for long is a pace of 0; what wakes up begins anew.
    #[test]
    fn silence() {
        let mut pace = Pace::new(Duration::ZERO);
        assert_eq!(pace.bytes_per_s(SECOND / 2), None);
        let every = Duration::from_millis(250);
        fed(&mut pace, Duration::ZERO, 60 * SECOND, every, 25_000);
        let fading = pace.bytes_per_s(75 * SECOND).expect("seen");
        assert!((10_000..40_000).contains(&fading), "{fading}");
        assert_eq!(pace.bytes_per_s(91 * SECOND), Some(0));
        let awake = fed(&mut pace, 200 * SECOND, 5 * SECOND, every, 25_000);
        assert!((95_000..130_000).contains(&awake), "{awake}");
    }
}
