//! Which faults of the plan hit a request. Pure: counts and a seed decide, no clock, no randomness.

use crate::devserver::exchange::{Operation, Subject};
use crate::devserver::faults::effects::Effects;
use crate::devserver::faults::plan::{Fault, FaultPlan};

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Index of the listen address.
    pub(crate) host: usize,
    /// The connection's number among all of the server, from 1.
    pub(crate) connection: u64,
    /// The connection's number among those of its host, from 1.
    pub(crate) connection_of_host: u64,
}

/// A plan and how often each of its faults has matched.
#[derive(Debug, Default)]
pub(crate) struct Armed {
    plan: FaultPlan,
    /// Per fault, in the plan's order.
    matches: Vec<u64>,
}

impl Armed {
    /// Arms a plan: every count begins at 0.
    pub(crate) fn new(plan: FaultPlan) -> Self {
        Self {
            matches: vec![0; plan.faults.len()],
            plan,
        }
    }

    /// The plan.
    pub(crate) fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    /// One more fault, beside what has been counted so far.
    #[cfg(test)]
    pub(crate) fn add(&mut self, fault: Fault) {
        self.plan.faults.push(fault);
        self.matches.push(0);
    }

    /// A fault is over. The others count on.
    #[cfg(test)]
    pub(crate) fn remove(&mut self, fault: &Fault) {
        if let Some(at) = self.plan.faults.iter().position(|it| it == fault) {
            self.plan.faults.remove(at);
            self.matches.remove(at);
        }
    }

    /// Whether the decision about such a request may depend on its bucket or key: then they must be
    /// looked for, even in a body.
    pub(crate) fn asks_for_names(&self, operation: Operation, arrival: Arrival) -> bool {
        self.plan.faults.iter().any(|fault| {
            (fault.key.is_some() || fault.bucket.is_some()) && fault.reaches(operation, arrival)
        })
    }

    /// Counts a request and says what goes wrong with it.
    ///
    /// Every fault counts on its own, whatever the others do.
    pub(crate) fn decide(
        &mut self,
        operation: Operation,
        subject: &Subject,
        arrival: Arrival,
    ) -> Effects {
        let mut effects = Effects::default();
        for (index, fault) in self.plan.faults.iter().enumerate() {
            if !fault.reaches(operation, arrival) || !fault.is_about(subject) {
                continue;
            }
            self.matches[index] += 1;
            if fault.happens(self.plan.seed, index as u64, self.matches[index]) {
                effects.add(fault);
            }
        }
        effects
    }
}

impl Fault {
    /// Conditions on where the request came in and what it asks for.
    fn reaches(&self, operation: Operation, arrival: Arrival) -> bool {
        let connection = match self.host {
            Some(_) => arrival.connection_of_host,
            None => arrival.connection,
        };
        (self.operation.is_empty() || self.operation.contains(&operation))
            && self.host.is_none_or(|host| host == arrival.host)
            && self.connection.is_none_or(|first| {
                // Without a step only the first itself.
                let after = connection.checked_sub(first);
                after.is_some_and(|after| match self.connection_every {
                    Some(step) => after.is_multiple_of(step),
                    None => after == 0,
                })
            })
    }

    /// Conditions on what the request is about. Something not known matches no condition.
    fn is_about(&self, subject: &Subject) -> bool {
        let key = subject.key.as_deref();
        self.part
            .is_none_or(|part| subject.part_number == Some(part))
            && self
                .longer_than
                .is_none_or(|limit| subject.body_len.is_some_and(|len| len > limit))
            && (self.bucket.is_none() || self.bucket == subject.bucket)
            && self.key.as_deref().is_none_or(|pattern| {
                key.is_some_and(|key| match pattern.strip_suffix('*') {
                    Some(start) => key.starts_with(start),
                    None => key == pattern,
                })
            })
    }

    /// Whether it happens to its `count`-th match.
    fn happens(&self, seed: u64, index: u64, count: u64) -> bool {
        if let Some(probability) = self.probability {
            return chance(seed, index, count) < probability;
        }
        if !self.nth.is_empty() {
            return self.nth.contains(&count);
        }
        let from = self.from.unwrap_or(1);
        count >= from && self.times.is_none_or(|times| count - from < times)
    }
}

/// A number in [0, 1) that depends on its three arguments only, evenly spread.
fn chance(seed: u64, index: u64, count: u64) -> f64 {
    // 53 bits are what an f64 holds exactly.
    let bits = mix(mix(mix(seed) ^ index) ^ count) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

/// SplitMix64's step and finaliser: every bit of the input moves half of the output's.
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Arrival = Arrival {
        host: 1,
        connection: 5,
        connection_of_host: 2,
    };

    /// Which of twelve matching requests a fault with these conditions happens to.
    fn happenings(conditions: &str) -> Vec<u64> {
        let text = format!("seed = 42\n[[fault]]\ndelay = '0s'\n{conditions}");
        let mut armed = Armed::new(text.parse().expect("a valid plan"));
        let subject = Subject {
            bucket: Some("b".to_owned()),
            key: Some("photos/1".to_owned()),
            part_number: Some(3),
            body_len: Some(1_000),
        };
        let mut hit = || {
            armed
                .decide(Operation::Part, &subject, HERE)
                .delay
                .is_some()
        };
        (1..=12).filter(|_| hit()).collect()
    }

    /// Each condition lets the right requests through, and each "when" picks the right ones of them.
    #[test]
    fn conditions_and_counts() {
        let all: Vec<u64> = (1..=12).collect();
        let rows: [(&str, &[u64]); 28] = [
            ("", &all),
            ("operation = ['mkblk', 'part']", &all),
            ("operation = 'mkblk'", &[]),
            ("key = 'photos/1'", &all),
            ("key = 'photos/*'", &all),
            ("key = 'photos/'", &[]),
            ("bucket = 'b'", &all),
            ("bucket = 'c'", &[]),
            ("part = 3", &all),
            ("part = 4", &[]),
            ("host = 1", &all),
            ("host = 0", &[]),
            ("connection = 5", &all),
            ("connection = 2", &[]),
            ("host = 1\nconnection = 2", &all),
            ("connection = 1\nconnection_every = 4", &all),
            ("connection = 2\nconnection_every = 4", &[]),
            ("connection = 5\nconnection_every = 4", &all),
            ("connection = 9\nconnection_every = 4", &[]),
            ("host = 1\nconnection = 1\nconnection_every = 1", &all),
            ("longer_than = 999", &all),
            ("longer_than = 1000", &[]),
            ("nth = [2, 4]", &[2, 4]),
            ("from = 11", &[11, 12]),
            ("times = 2", &[1, 2]),
            ("from = 3\ntimes = 2", &[3, 4]),
            ("probability = 0.0", &[]),
            ("probability = 1.0", &all),
        ];
        for (conditions, expected) in rows {
            assert_eq!(happenings(conditions), expected, "{conditions}");
        }
    }

    /// One seed, one sequence of decisions; another fault or seed, another one; and the share is right.
    #[test]
    fn probability_is_seeded() {
        let decisions = |seed, index| -> Vec<bool> {
            (1..=10_000)
                .map(|count| chance(seed, index, count) < 0.1)
                .collect()
        };
        assert_eq!(decisions(7, 0), decisions(7, 0));
        assert_ne!(decisions(7, 0), decisions(8, 0));
        assert_ne!(decisions(7, 0), decisions(7, 1));
        let share = decisions(7, 0).iter().filter(|hit| **hit).count();
        assert!((900..1100).contains(&share), "{share} of 10000");
    }
}
