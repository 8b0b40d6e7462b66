//! Faults: what the server does wrong on purpose, as a plan says.
//!
//! [`plan`] is the data, [`matching`] decides which faults hit a request, [`effects`] is what they
//! add up to; the pipeline carries it out. [`answer`] alters answers, [`holds`] keeps them back.

pub(crate) mod answer;
pub(crate) mod effects;
mod holds;
pub(crate) mod matching;
mod plan;
mod values;

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::devserver::exchange::{Operation, Subject};
use crate::devserver::faults::effects::Effects;
use crate::devserver::faults::holds::Holds;
use crate::devserver::faults::matching::{Armed, Arrival};

pub use plan::{
    AnswerField, CannedAnswer, Expire, Fault, FaultPlan, FaultPlanError, HostFault, HostState,
    Loss, Moment, StopReading,
};

/// The plan a server follows, and the answers it holds because of it.
#[derive(Debug)]
pub struct Faults {
    armed: Mutex<Armed>,
    /// How many listen addresses there are.
    host_count: usize,
    holds: Holds,
    /// Counts plans, so that those who follow a host's state look again.
    changes: watch::Sender<u64>,
}

impl Faults {
    /// Follows `plan`, which has been checked, from the start.
    pub(crate) fn new(plan: FaultPlan, host_count: usize) -> Self {
        Self {
            armed: Mutex::new(Armed::new(plan)),
            host_count,
            holds: Holds::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// Follows another plan from the next request on; all counts begin anew.
    ///
    /// What happens to requests under way goes on; held answers stay held. Hosts whose state changes
    /// follow a moment later: [`HostState::Dead`] closes their connections.
    pub fn replace(&self, plan: FaultPlan) -> Result<(), FaultPlanError> {
        plan.check()?;
        plan.check_hosts(self.host_count)?;
        *self.armed() = Armed::new(plan);
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Waits until an answer is held under `name` ([`Fault::hold`]).
    pub async fn until_held(&self, name: &str) {
        self.holds.until_held(name).await;
    }

    /// How many answers are held under `name` now.
    pub fn held(&self, name: &str) -> usize {
        self.holds.held(name)
    }

    /// Sends the answers held under `name`; says how many there were.
    ///
    /// Answers that come later are held again.
    pub fn release(&self, name: &str) -> usize {
        self.holds.release(name)
    }

    /// Waits for its release.
    pub(crate) async fn hold(&self, name: &str) {
        self.holds.hold(name).await;
    }

    /// See [`Armed::asks_for_names`].
    pub(crate) fn asks_for_names(&self, operation: Operation, arrival: Arrival) -> bool {
        self.armed().asks_for_names(operation, arrival)
    }

    /// Counts a request and says what goes wrong with it.
    pub(crate) fn decide(
        &self,
        operation: Operation,
        subject: &Subject,
        arrival: Arrival,
    ) -> Effects {
        self.armed().decide(operation, subject, arrival)
    }

    /// The state of a host under the plan of this moment.
    pub(crate) fn host_state(&self, host: usize) -> HostState {
        self.armed().plan().host_state(host)
    }

    /// Told of every new plan.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Has `fault` happen from now on, beside the plan, whose counts go on.
    #[cfg(test)]
    pub(crate) fn begin(&self, fault: Fault) {
        self.armed().add(fault);
    }

    /// Has that end.
    #[cfg(test)]
    pub(crate) fn end(&self, fault: &Fault) {
        self.armed().remove(fault);
    }

    /// The lock guards counts and is held for no longer than a decision; a panic in between leaves
    /// nothing half done.
    fn armed(&self) -> MutexGuard<'_, Armed> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
