//! What happens to one request: the faults that hit it, joined.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::devserver::exchange::Overrides;
use crate::devserver::faults::plan::{
    AnswerField, CannedAnswer, Expire, Fault, FaultPlan, Loss, Moment, StopReading,
};
use crate::devserver::rate::Rate;

/// What a gateway says when the service behind it is gone. The text is nginx's.
const GATEWAY_PAGE: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
    <center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";

/// Everything that goes wrong with one request. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Effects {
    /// Wait before anything else.
    pub(crate) delay: Option<Duration>,
    /// The service never sees the request.
    pub(crate) interruption: Option<Interruption>,
    /// How the body is read.
    pub(crate) reading: Reading,
    /// What the service is told to believe.
    pub(crate) overrides: Overrides,
    /// Keep the answer back until this name is released.
    pub(crate) hold: Option<String>,
    /// What becomes of the answer.
    pub(crate) fate: Option<Fate>,
    /// A field to alter.
    pub(crate) wrong: Option<AnswerField>,
    /// No `X-Reqid` and no `X-Log`.
    pub(crate) omit_reqid: bool,
}

/// Something that happens instead of the service's work.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Interruption {
    /// When.
    pub(crate) at: Moment,
    /// What.
    pub(crate) with: Instead,
}

/// What happens instead.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Instead {
    /// The connection ends, or nothing ever comes.
    Loss(Loss),
    /// Another answer.
    Answer(CannedAnswer),
}

/// How a body is read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Reading {
    /// No faster.
    pub(crate) rate: Option<Rate>,
    /// A pause.
    pub(crate) pause: Option<StopReading>,
    /// A byte to damage, counted from the first of the object's bytes.
    pub(crate) flip_byte: Option<u64>,
}

/// What becomes of an answer after the service gave it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fate {
    /// It is never sent.
    Lost(Loss),
    /// So many bytes of its body are sent.
    Cut(u64),
    /// A page is sent with 200 instead.
    Page {
        /// Its type.
        content_type: &'static str,
        /// Its text.
        text: String,
    },
}

impl Effects {
    /// What happens to every request at a gateway with nothing behind it. It is no Kodo, so it has no
    /// request id to give.
    pub(crate) fn gateway() -> Self {
        let answer = CannedAnswer {
            headers: BTreeMap::from([("server".to_owned(), "nginx".to_owned())]),
            body: Some(GATEWAY_PAGE.to_owned()),
            content_type: Some("text/html".to_owned()),
            ..CannedAnswer::status(502)
        };
        Self {
            interruption: Some(Interruption {
                at: Moment::BeforeBody,
                with: Instead::Answer(answer),
            }),
            omit_reqid: true,
            ..Self::default()
        }
    }

    /// Adds what `fault` does; what an earlier one set stays.
    pub(crate) fn add(&mut self, fault: &Fault) {
        fill(&mut self.delay, || fault.delay);
        fill(&mut self.interruption, || Interruption::of(fault));
        fill(&mut self.reading.rate, || fault.slow_read);
        fill(&mut self.reading.pause, || fault.stop_reading);
        fill(&mut self.reading.flip_byte, || fault.flip_byte);
        fill(&mut self.hold, || fault.hold.clone());
        fill(&mut self.fate, || Fate::of(fault));
        fill(&mut self.wrong, || fault.wrong);
        self.omit_reqid |= fault.omit_reqid;
        self.overrides.token_expired |= fault.expire == Some(Expire::Token);
        self.overrides.context_expired |= fault.expire == Some(Expire::Ctx);
        self.overrides.part_expired |= fault.expire == Some(Expire::Part);
        self.overrides.upload_expired |= fault.expire == Some(Expire::UploadId);
        self.overrides.replayed_context_refused |= fault.refuse_replayed_ctx;
    }

    /// Whether the client is to feel how the body is read: then little may wait unread in buffers.
    pub(crate) fn holds_the_body_up(&self) -> bool {
        let stops = |interruption: &Interruption| {
            interruption.at != Moment::AfterBody && interruption.with == Instead::Loss(Loss::Hang)
        };
        self.reading.rate.is_some()
            || self.reading.pause.is_some()
            || self.interruption.as_ref().is_some_and(stops)
    }
}

/// Whether some client of this plan is to feel how its body is read.
pub(crate) fn holds_bodies_up(plan: &FaultPlan) -> bool {
    plan.faults.iter().any(|fault| {
        let mut effects = Effects::default();
        effects.add(fault);
        effects.holds_the_body_up()
    })
}

impl Interruption {
    fn of(fault: &Fault) -> Option<Self> {
        let loss = |at: Option<Moment>, loss| at.map(|at| (at, Instead::Loss(loss)));
        let answer = fault.answer.as_ref().map(|answer| {
            let at = answer.at.unwrap_or(Moment::AfterBody);
            (at, Instead::Answer(answer.clone()))
        });
        loss(fault.reset, Loss::Reset)
            .or(loss(fault.close, Loss::Close))
            .or(loss(fault.hang, Loss::Hang))
            .or(answer)
            .map(|(at, with)| Self { at, with })
    }
}

impl Fate {
    fn of(fault: &Fault) -> Option<Self> {
        let page = |text: &Option<String>, content_type| {
            text.clone().map(|text| Self::Page { content_type, text })
        };
        fault
            .lose_answer
            .map(Self::Lost)
            .or(fault.cut_answer.map(Self::Cut))
            .or_else(|| page(&fault.answer_text, "text/plain; charset=utf-8"))
            .or_else(|| page(&fault.answer_html, "text/html; charset=utf-8"))
    }
}

/// Sets what is not set yet.
fn fill<T>(slot: &mut Option<T>, value: impl FnOnce() -> Option<T>) {
    if slot.is_none() {
        *slot = value();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two faults that hit one request both happen; of the same action the earlier counts.
    #[test]
    fn faults_join() {
        let mut effects = Effects::default();
        effects.add(&Fault {
            delay: Some(Duration::from_secs(1)),
            reset: Some(Moment::BeforeBody),
            ..Fault::default()
        });
        effects.add(&Fault {
            delay: Some(Duration::from_secs(2)),
            hang: Some(Moment::AfterBody),
            omit_reqid: true,
            ..Fault::default()
        });
        assert_eq!(effects.delay, Some(Duration::from_secs(1)));
        let interruption = Interruption {
            at: Moment::BeforeBody,
            with: Instead::Loss(Loss::Reset),
        };
        assert_eq!(effects.interruption, Some(interruption));
        assert!(effects.omit_reqid);
    }
}
