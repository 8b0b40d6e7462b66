//! One request that is over, on one line: who, where, how far, how long, and what came of it.

use std::time::Duration;

use crate::cli::event::{AttemptEvent, Way};
use crate::error::words::{size, time};
use crate::events::Attempt;
use crate::model::{Stage, Trace};

/// The line of `-vv`.
pub(crate) fn line(attempt: &Attempt) -> String {
    let Attempt {
        operation,
        trace,
        status,
        request_id,
        failure,
        is_repeated,
    } = attempt;
    let mut line = format!(
        "{operation} {} ({}) {} of {}; {}: ",
        trace.endpoint,
        connection(trace),
        size(trace.acknowledged_bytes),
        size(trace.body_len),
        phases(trace),
    );
    match failure {
        // Its text has the status and the request id.
        Some(failure) => line.push_str(&failure.to_string()),
        None => {
            let status = status.map_or("no status".to_owned(), |status| status.to_string());
            line.push_str(&status);
            if let Some(id) = request_id {
                line.push_str(&format!(", request id {id}"));
            }
        }
    }
    if *is_repeated {
        line.push_str("; repeated at once on a new connection");
    }
    line
}

/// The same for programs.
pub(crate) fn event(attempt: &Attempt) -> AttemptEvent<'_> {
    AttemptEvent {
        operation: attempt.operation,
        way: Way::new(&attempt.trace),
        status: attempt.status,
        request_id: attempt.request_id.as_deref(),
        message: attempt.failure.as_ref().map(ToString::to_string),
        repeated: attempt.is_repeated,
    }
}

/// Where an attempt was when it failed, for a line that has said what it met.
pub(crate) fn way(trace: &Trace) -> String {
    let (endpoint, connection) = (&trace.endpoint, connection(trace));
    let (acknowledged, len) = (size(trace.acknowledged_bytes), size(trace.body_len));
    format!("{endpoint} ({connection}) had {acknowledged} of {len}")
}

fn connection(trace: &Trace) -> String {
    let mut words = vec![match &trace.address {
        Some(address) => address.as_str(),
        None => "no connection",
    }];
    if trace.address.is_some() {
        words.push(if trace.is_reused { "reused" } else { "fresh" });
        words.extend(trace.uses_bbr.then_some("bbr"));
    }
    let proxy = trace.proxy.as_ref().map(|proxy| format!("proxy {proxy}"));
    words.extend(proxy.as_deref());
    words.join(", ")
}

/// How long each phase took, as far as the attempt came.
fn phases(trace: &Trace) -> String {
    let rows: [(Stage, &str, Duration); 3] = [
        (Stage::Connecting, "connect", trace.connecting),
        (Stage::Sending, "send", trace.sending),
        (Stage::Answering, "answer", trace.answering),
    ];
    let reached = rows.iter().filter(|(stage, ..)| *stage <= trace.stage);
    let words: Vec<String> = reached
        .map(|(_, word, taken)| format!("{word} {}", time(*taken)))
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, Failure, FailureKind};

    fn attempt() -> Attempt {
        let ms = Duration::from_millis;
        Attempt {
            operation: "bput",
            trace: Trace {
                endpoint: Endpoint::parse("http://up.example.com", true).unwrap(),
                address: Some("192.0.2.7:80".to_owned()),
                proxy: None,
                is_reused: true,
                uses_bbr: false,
                stage: Stage::Answering,
                acknowledged_bytes: 512 << 10,
                body_len: 512 << 10,
                connecting: ms(0),
                sending: ms(4_210),
                answering: ms(81),
                before: None,
            },
            status: Some(200),
            request_id: Some("aB3x".to_owned()),
            failure: None,
            is_repeated: false,
        }
    }

    /// One that was answered, one that broke, one that never had a connection.
    #[test]
    fn lines() {
        let mut broken = attempt();
        broken.trace.stage = Stage::Sending;
        broken.trace.uses_bbr = true;
        broken.trace.acknowledged_bytes = 1 << 10;
        broken.status = None;
        broken.failure = Some(Failure::new(FailureKind::Broken, "it broke"));
        broken.is_repeated = true;
        let mut unconnected = broken.clone();
        unconnected.is_repeated = false;
        unconnected.trace.proxy = Some("http://proxy:3128".to_owned());
        unconnected.trace.address = None;
        unconnected.trace.stage = Stage::Connecting;
        unconnected.trace.connecting = Duration::from_secs(10);
        let rows = [
            (
                attempt(),
                "bput http://up.example.com (192.0.2.7:80, reused) 512.0 KiB of 512.0 KiB; connect \
                 0 ms, send 4.2 s, answer 81 ms: 200, request id aB3x",
            ),
            (
                broken,
                "bput http://up.example.com (192.0.2.7:80, reused, bbr) 1.0 KiB of 512.0 KiB; \
                 connect 0 ms, send 4.2 s: it broke; repeated at once on a new connection",
            ),
            (
                unconnected,
                "bput http://up.example.com (no connection, proxy http://proxy:3128) 1.0 KiB of \
                 512.0 KiB; connect 10 s: it broke",
            ),
        ];
        for (attempt, expected) in rows {
            assert_eq!(line(&attempt), expected);
        }
    }
}
