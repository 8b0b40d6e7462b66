//! How uploads travel: what an uploader is set to, and what one call says over it.

use std::time::Duration;

use crate::client::times::{STALL_TIMEOUT_MIN, TIME_LIMIT_MIN, check};
use crate::engine::Limits;
use crate::error::{Error, ErrorKind};
use crate::kodo::BLOCK_LEN;
use crate::uploader::Protocol;

/// Windows that may be set. Source: the design's table of deadlines.
const WINDOWS: std::ops::RangeInclusive<usize> = 1..=16;

/// Sizes of a v2 part. Source: protocol reference, section 5.7.
const PART_LENS: std::ops::RangeInclusive<u64> = (1 << 20)..=(1 << 30);

/// What was said; the rest is as the engine has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) protocol: Option<Protocol>,
    pub(super) threshold: Option<u64>,
    pub(super) part_len: Option<u64>,
    pub(super) window: Option<usize>,
    pub(super) stall_timeout: Option<Duration>,
    pub(super) min_rate: Option<u64>,
    pub(super) response_timeout: Option<Duration>,
    pub(super) commit_timeout: Option<Duration>,
    pub(super) part_attempts: Option<u32>,
    pub(super) part_timeout: Option<Duration>,
    pub(super) retry_budget: Option<Duration>,
    pub(super) wait_online: Option<bool>,
}

impl Settings {
    /// These, and where they say nothing what `base` says.
    pub(super) fn over(&self, base: &Self) -> Self {
        Self {
            protocol: self.protocol.or(base.protocol),
            threshold: self.threshold.or(base.threshold),
            part_len: self.part_len.or(base.part_len),
            window: self.window.or(base.window),
            stall_timeout: self.stall_timeout.or(base.stall_timeout),
            min_rate: self.min_rate.or(base.min_rate),
            response_timeout: self.response_timeout.or(base.response_timeout),
            commit_timeout: self.commit_timeout.or(base.commit_timeout),
            part_attempts: self.part_attempts.or(base.part_attempts),
            part_timeout: self.part_timeout.or(base.part_timeout),
            retry_budget: self.retry_budget.or(base.retry_budget),
            wait_online: self.wait_online.or(base.wait_online),
        }
    }

    /// Refuses values with which nothing can ever be done.
    pub(super) fn check(&self) -> Result<(), Error> {
        check([
            ("stall_timeout", self.stall_timeout, STALL_TIMEOUT_MIN),
            ("response_timeout", self.response_timeout, TIME_LIMIT_MIN),
            ("commit_timeout", self.commit_timeout, TIME_LIMIT_MIN),
            ("part_timeout", self.part_timeout, TIME_LIMIT_MIN),
            ("retry_budget", self.retry_budget, TIME_LIMIT_MIN),
        ])?;
        let part_len = self.part_len();
        if !PART_LENS.contains(&part_len) {
            let what = format!("a part of {part_len} bytes is not from 1 MiB to 1 GiB");
            return Err(Error::new(ErrorKind::Config, what));
        }
        match self.window {
            Some(window) if !WINDOWS.contains(&window) => {
                let what = format!("a window of {window} lanes is not from 1 to 16");
                Err(Error::new(ErrorKind::Config, what))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol.unwrap_or_default()
    }

    pub(super) fn part_len(&self) -> u64 {
        self.part_len.unwrap_or(BLOCK_LEN)
    }

    /// The engine's patience.
    pub(super) fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            window: self.window.unwrap_or(usual.window),
            is_window_fixed: self.window.is_some(),
            part_attempts: self.part_attempts.unwrap_or(usual.part_attempts),
            retry_budget: self.retry_budget.unwrap_or(usual.retry_budget),
            stall_timeout: self.stall_timeout.unwrap_or(usual.stall_timeout),
            response_timeout: self.response_timeout.unwrap_or(usual.response_timeout),
            commit_timeout: self.commit_timeout.unwrap_or(usual.commit_timeout),
            min_rate_bytes_per_s: self.min_rate.unwrap_or(usual.min_rate_bytes_per_s),
            part_timeout: self.part_timeout,
            wait_online: self.wait_online.unwrap_or(usual.wait_online),
        }
    }
}
