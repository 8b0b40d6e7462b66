//! Requests to upload hosts: sent, sent again where the connection was over already, and told of.

use crate::clock;
use crate::engine::event::{Effect, HostIndex};
use crate::engine::plan::Protocol;
use crate::events::{Attempt, Event};
use crate::kodo::failure;
use crate::model::{Answer, Failure, Request};
use crate::telemetry::{self, Ended};
use crate::transport::{Flight, Reuse, SourceStream, Stale, Unanswered};
use crate::uploader::effects::{Executor, bug};
use crate::uploader::line::Seat;

/// One request of an attempt.
pub(super) struct Call<'a> {
    pub(super) host: HostIndex,
    pub(super) request: Request,
    pub(super) repeat: Repeat,
    pub(super) flying: &'a Flying,
}

/// An attempt as its watchers see it.
#[derive(Clone, Debug)]
pub(super) struct Flying {
    /// What its request is for.
    pub(super) operation: &'static str,
    pub(super) flight: Flight,
    /// Its turn on the line, if it needs one and has it.
    pub(super) seat: Seat,
}

/// Whether a request may go out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It may: it has the same effect twice.
    Freely,
    /// The same, for one that goes beside another: kept connections may be what is wrong with that.
    FreelyAfresh,
    /// Only if nothing of it was sent: what a commit did, the engine must find out.
    Unsent,
    /// It is not worth it.
    Never,
}

impl Repeat {
    fn allows(self, stale: Stale) -> bool {
        match self {
            Self::Freely | Self::FreelyAfresh => stale != Stale::No,
            Self::Unsent => stale == Stale::Unsent,
            Self::Never => false,
        }
    }

    /// Which connections it may take at first.
    fn reuse(self) -> Reuse {
        match self {
            Self::Freely | Self::Never => Reuse::Any,
            Self::Unsent | Self::FreelyAfresh => Reuse::JustNow,
        }
    }
}

impl Flying {
    /// The attempt that `effect` asks for, before it has begun.
    pub(super) fn of(effect: &Effect) -> Self {
        Self {
            operation: operation(effect),
            flight: match effect {
                Effect::Stat { .. } => Flight::elsewhere(),
                _ => Flight::new(),
            },
            seat: Seat::default(),
        }
    }

    /// A request beside the engine's own.
    pub(super) fn beside(operation: &'static str) -> Self {
        Self {
            operation,
            flight: Flight::new(),
            seat: Seat::default(),
        }
    }
}

impl Executor {
    /// Sends `call`'s request. One that met a connection that was over already goes out again at
    /// once on a new one, as far as it may: that is no failed attempt.
    pub(super) async fn call(
        &self,
        call: Call<'_>,
        source: impl Fn() -> Option<SourceStream>,
    ) -> Result<Answer, Failure> {
        let endpoint = self
            .hosts
            .get(call.host)
            .ok_or_else(|| bug("no such host"))?;
        let send = async |request, reuse| {
            let flight = &call.flying.flight;
            let sent = self
                .transport
                .send(endpoint, request, source(), reuse, flight);
            let answer = sent.await;
            // Only the first may go out again.
            let is_repeated = reuse != Reuse::Never
                && answer
                    .as_ref()
                    .is_err_and(|unanswered| call.repeat.allows(unanswered.stale));
            self.over(call.flying, &answer, is_repeated);
            answer
        };
        let answer = match send(call.request.clone(), call.repeat.reuse()).await {
            Err(first) if call.repeat.allows(first.stale) => {
                self.transport.forget_idle(endpoint);
                let again = send(call.request, Reuse::Never).await;
                again.map_err(|unanswered| after(first.failure, unanswered.failure))?
            }
            answer => answer.map_err(|unanswered| unanswered.failure)?,
        };
        self.permit
            .hear_clock(failure::server_time(&answer), clock::wall());
        Ok(answer)
    }

    /// A request has ended: its bytes are counted, and whoever listens is told.
    fn over(&self, flying: &Flying, answer: &Result<Answer, Unanswered>, is_repeated: bool) {
        let (status, request_id, failure) = match answer {
            Ok(answer) => {
                let id = failure::request_id(answer);
                (Some(answer.status.as_u16()), id, None)
            }
            Err(unanswered) => (None, None, Some(unanswered.failure.clone())),
        };
        self.tell_attempt(flying, status, request_id, failure, is_repeated);
    }

    /// An attempt was broken off for `why`: the same. Its way so far is added to the failure.
    pub(super) fn broken_off(&self, flying: &Flying, mut why: Failure) -> Failure {
        why.trace = flying.flight.trace().map(Box::new);
        self.tell_attempt(flying, None, None, Some(why.clone()), false);
        why
    }

    fn tell_attempt(
        &self,
        flying: &Flying,
        status: Option<u16>,
        request_id: Option<String>,
        failure: Option<Failure>,
        is_repeated: bool,
    ) {
        self.meter.sent(flying.flight.sample().source_bytes);
        let Some(trace) = flying.flight.trace() else {
            return;
        };
        telemetry::attempt(&Ended {
            operation: flying.operation,
            status,
            failure: failure.as_ref().map(|failure| &failure.kind),
            took: trace.connecting + trace.sending + trace.answering,
        });
        self.meter.tell(&Event::Attempt(Attempt {
            operation: flying.operation,
            trace,
            status,
            request_id,
            failure,
            is_repeated,
        }));
    }
}

/// `failure` of a request that went out again after `first`.
fn after(first: Failure, mut failure: Failure) -> Failure {
    if let Some(trace) = &mut failure.trace {
        trace.before = first.trace;
    }
    failure
}

/// The service's word for what `effect` asks of it.
fn operation(effect: &Effect) -> &'static str {
    match effect {
        Effect::Initiate { .. } => "initiate",
        Effect::Send {
            upload_id: Some(_), ..
        } => "part",
        Effect::Send { after: None, .. } => "mkblk",
        Effect::Send { .. } => "bput",
        Effect::Commit { protocol, .. } => match protocol {
            Protocol::Form => "form",
            Protocol::Blocks => "mkfile",
            Protocol::Parts => "complete",
        },
        Effect::Abandon { .. } => "abort",
        Effect::Stat { .. } => "stat",
        Effect::List { .. } => "list",
        Effect::Probe { .. } => "probe",
        _ => "request",
    }
}
