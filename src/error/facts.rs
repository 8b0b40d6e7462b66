//! What is known of an error beyond its message, in rows for people.

use crate::error::words::{size, time};
use crate::error::{Error, ErrorKind, Run};
use crate::model::{Stage, Trace};

/// One row: a word, and what there is to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fact {
    /// What it is about: `phase`, `host`, `proxy`, `attempts`, `safe`.
    pub name: &'static str,
    /// For people, on one line.
    pub text: String,
}

impl Error {
    /// Where it happened, how far it had come, how often it was tried, and what is safe: as far as
    /// that is known, for people.
    pub fn facts(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        if let Some(trace) = self.trace() {
            facts.push(fact("phase", phase(trace)));
            facts.push(fact("host", host(trace)));
            facts.extend(trace.proxy.clone().map(|proxy| fact("proxy", proxy)));
        }
        if let Some(run) = &self.run {
            if self.kind != ErrorKind::Interrupted {
                facts.extend(attempts(run));
            }
            // What was stopped says how much is safe. A callback fails behind a whole object, and of
            // a source that changed nobody knows yet.
            let is_said = matches!(
                self.kind,
                ErrorKind::Interrupted
                    | ErrorKind::CallbackFailed
                    | ErrorKind::Source
                    | ErrorKind::SourceChanged
            );
            if !is_said {
                facts.push(fact("safe", safe(self.safe_bytes, run.size)));
            }
        }
        facts
    }
}

fn fact(name: &'static str, text: String) -> Fact {
    Fact { name, text }
}

/// How far the last attempt had come.
fn phase(trace: &Trace) -> String {
    let (connecting, sending) = (time(trace.connecting), time(trace.sending));
    let (acknowledged, len) = (size(trace.acknowledged_bytes), size(trace.body_len));
    match trace.stage {
        Stage::Waiting => "waiting for its turn".to_owned(),
        Stage::Connecting => format!("connecting, for {connecting}"),
        Stage::Reading | Stage::Sending => {
            format!("sending, for {sending}; {acknowledged} of {len} acknowledged")
        }
        Stage::Answering => format!(
            "waiting for the answer, for {}; all {len} acknowledged",
            time(trace.answering)
        ),
    }
}

fn host(trace: &Trace) -> String {
    let endpoint = &trace.endpoint;
    let Some(address) = &trace.address else {
        return endpoint.to_string();
    };
    let connection = if trace.is_reused { "reused" } else { "fresh" };
    format!("{endpoint} at {address}, {connection} connection")
}

fn attempts(run: &Run) -> Option<Fact> {
    let elapsed = time(run.elapsed);
    let text = match run.attempts {
        0 => return None,
        1 => format!("1; the upload ran for {elapsed}"),
        count => format!("{count} in a row failed; the upload ran for {elapsed}"),
    };
    Some(fact("attempts", text))
}

fn safe(safe_bytes: u64, all: u64) -> String {
    match safe_bytes {
        0 => format!("nothing of {}", size(all)),
        _ => format!("{} of {} ({safe_bytes} bytes)", size(safe_bytes), size(all)),
    }
}
