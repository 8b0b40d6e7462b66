//! The fault plan: what goes wrong, when, as data. Read from TOML or written in Rust.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::devserver::exchange::Operation;
use crate::devserver::faults::values;
use crate::devserver::rate::Rate;

/// What goes wrong, and when. The default plan is that nothing does.
///
/// As TOML ([`FromStr`]); an unknown name is an error, not ignored:
///
/// ```
/// # use haul::devserver::FaultPlan;
/// let plan: FaultPlan = r#"
///     seed = 7
///
///     [[fault]]
///     operation = "part"
///     nth = [2, 5]
///     reset = { after_body_bytes = 100000 }
///
///     [[fault]]
///     operation = ["mkblk", "bput"]
///     key = "photos/*"
///     probability = 0.1
///     answer = { status = 503, headers = { Retry-After = "1" } }
///
///     [[host]]
///     host = 1
///     state = "dead"
/// "#.parse()?;
/// assert_eq!(plan.faults.len(), 2);
/// # Ok::<(), haul::devserver::FaultPlanError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultPlan {
    /// Makes [`Fault::probability`] repeatable: one seed, one sequence of decisions.
    pub seed: u64,
    /// All that apply to a request happen to it; where two set the same action, the earlier counts.
    #[serde(rename = "fault")]
    pub faults: Vec<Fault>,
    /// Whole hosts that misbehave; one not named here is [`HostState::Ok`].
    #[serde(rename = "host")]
    pub hosts: Vec<HostFault>,
}

/// One thing that goes wrong: which requests it is about, when it happens, and what.
///
/// Conditions left out hold for every request; all that are given must hold. "When" left out means
/// every time.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    // ----- which requests
    /// Any of these operations; empty: any at all.
    #[serde(deserialize_with = "values::one_or_many")]
    pub operation: Vec<Operation>,
    /// This object key, or with a trailing `*` any key that begins so. The key is taken from the
    /// path, from the form's fields within the first 64 KiB, or from the token's scope.
    pub key: Option<String>,
    /// This bucket: from the path or the token's scope.
    pub bucket: Option<String>,
    /// This part number of a v2 upload.
    pub part: Option<u32>,
    /// Requests to this listen address, counted from 0 in the order they were given.
    pub host: Option<usize>,
    /// Requests on this accepted connection, counted from 1: over the host if `host` is given, else
    /// over the whole server.
    pub connection: Option<u64>,
    /// With [`Fault::connection`]: every so-manieth one after it, too. 2 and 4 are the connections 2,
    /// 6, 10, …
    pub connection_every: Option<u64>,
    /// Requests whose body is longer than so many bytes, as their heads say (of a form: fields and all):
    /// what a proxy with a limit does not let through. A request that does not say matches not.
    pub longer_than: Option<u64>,

    // ----- when, of the requests that match, counted from 1: at most one of `nth`, `from` with
    // `times`, `probability`
    /// Only these.
    #[serde(deserialize_with = "values::one_or_many")]
    pub nth: Vec<u64>,
    /// From this one on.
    pub from: Option<u64>,
    /// So many from [`Fault::from`] on.
    pub times: Option<u64>,
    /// Each one with this probability, from 0 to 1; decided by the plan's seed, the fault's place in
    /// the plan and the count alone.
    pub probability: Option<f64>,

    // ----- before the service sees the request: at most one of `reset`, `close`, `hang`, `answer`
    /// Wait before anything else.
    #[serde(deserialize_with = "values::duration")]
    pub delay: Option<Duration>,
    /// Reset the connection (RST).
    pub reset: Option<Moment>,
    /// Close the connection (FIN).
    pub close: Option<Moment>,
    /// Never answer; the connection stays open.
    pub hang: Option<Moment>,
    /// Answer this instead of what the service would.
    pub answer: Option<CannedAnswer>,

    // ----- while the body arrives
    /// Read the body no faster than this.
    pub slow_read: Option<Rate>,
    /// Stop reading for a while.
    pub stop_reading: Option<StopReading>,
    /// Flip the lowest bit of the byte at this offset of the body (of a form: of its file), as if it
    /// had been damaged on the way. The answer's hashes then say so; a checksum sent along is refused.
    pub flip_byte: Option<u64>,

    // ----- what the service believes
    /// Count this as expired.
    pub expire: Option<Expire>,
    /// Refuse a ctx that a bput has used before (701).
    pub refuse_replayed_ctx: bool,

    // ----- after the service has done its work: at most one of `lose_answer`, `cut_answer`,
    // `answer_text`, `answer_html`
    /// Hold the answer under this name until it is released.
    pub hold: Option<String>,
    /// Take effect, then do this instead of answering.
    pub lose_answer: Option<Loss>,
    /// Send the head and so many bytes of the answer's body, then close.
    pub cut_answer: Option<u64>,
    /// Take effect, then answer 200 with this as `text/plain`.
    pub answer_text: Option<String>,
    /// Take effect, then answer 200 with this as `text/html`.
    pub answer_html: Option<String>,
    /// Alter this field of the JSON answer, plausibly.
    pub wrong: Option<AnswerField>,
    /// Leave `X-Reqid` and `X-Log` out.
    pub omit_reqid: bool,
}

/// When in a request something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Before the first byte of the body is read. (A key that must be read from a form is.)
    BeforeBody,
    /// After so many bytes of the body, or at its end if it is shorter.
    AfterBodyBytes(u64),
    /// After the whole body, before the service sees any of it: nothing takes effect.
    AfterBody,
}

/// An answer that does not come from the service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CannedAnswer {
    /// 200 to 999.
    pub status: u16,
    /// Beside those that every answer has; the same name replaces.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// `{"error":"fault plan"}` if left out.
    pub body: Option<String>,
    /// `application/json` if left out.
    pub content_type: Option<String>,
    /// [`Moment::AfterBody`] if left out.
    pub at: Option<Moment>,
}

impl CannedAnswer {
    /// A JSON error of this status, after the whole body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: BTreeMap::new(),
            body: None,
            content_type: None,
            at: None,
        }
    }
}

/// A pause in reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopReading {
    /// How much of the body is read before.
    #[serde(default)]
    pub after_bytes: u64,
    /// How long nothing is read; `for` in TOML.
    #[serde(rename = "for", deserialize_with = "values::duration_itself")]
    pub pause: Duration,
}

/// What happens instead of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// RST.
    Reset,
    /// FIN.
    Close,
    /// Nothing, for ever.
    Hang,
}

/// What counts as expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expire {
    /// The ctx in the request, for good: 701.
    Ctx,
    /// The upload id in the request, for good: 612.
    UploadId,
    /// The first part of the upload in the request, for good: lists go without it, and complete is 400.
    Part,
    /// The token of this request: 401.
    Token,
}

/// A field of a JSON answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the field's own name on the wire")]
pub enum AnswerField {
    Crc32,
    Md5,
    Etag,
    Hash,
    Checksum,
    Key,
}

/// How one listen address behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFault {
    /// Which listen address, counted from 0 in the order they were given.
    pub host: usize,
    /// What it does.
    pub state: HostState,
}

/// What a listen address does with those who come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum HostState {
    /// Serves.
    #[default]
    #[serde(rename = "ok")]
    Ok,
    /// Refuses connections; those it had are gone.
    #[serde(rename = "dead")]
    Dead,
    /// Accepts connections, never reads, never answers. Those it had go on.
    #[serde(rename = "silent")]
    Silent,
    /// Answers every request with the 502 page of a gateway that is no Kodo.
    #[serde(rename = "502")]
    BadGateway,
}

impl FromStr for FaultPlan {
    type Err = FaultPlanError;

    fn from_str(text: &str) -> Result<Self, FaultPlanError> {
        let plan: Self = toml::from_str(text).map_err(|error| FaultPlanError {
            text: error.to_string().trim_end().to_owned(),
        })?;
        plan.check()?;
        Ok(plan)
    }
}

impl FaultPlan {
    /// Refuses what contradicts itself or can never happen.
    ///
    /// Whoever takes a plan calls it; a caller need not.
    pub fn check(&self) -> Result<(), FaultPlanError> {
        for (index, fault) in self.faults.iter().enumerate() {
            fault.check().map_err(|why| FaultPlanError {
                text: format!("fault {}: {why}", index + 1),
            })?;
        }
        for (index, entry) in self.hosts.iter().enumerate() {
            let named = |other: &HostFault| other.host == entry.host;
            if self.hosts[..index].iter().any(named) {
                return Err(FaultPlanError {
                    text: format!("host {} is named twice", entry.host),
                });
            }
        }
        Ok(())
    }

    /// Refuses what is about a host beyond those that there are.
    pub(crate) fn check_hosts(&self, count: usize) -> Result<(), FaultPlanError> {
        let beyond = |place: String, host: usize| FaultPlanError {
            text: format!(
                "{place}names host {host}, counted from 0; there are {count} listen addresses"
            ),
        };
        for (index, fault) in self.faults.iter().enumerate() {
            if let Some(host) = fault.host.filter(|host| *host >= count) {
                return Err(beyond(format!("fault {}: ", index + 1), host));
            }
        }
        match self.hosts.iter().find(|entry| entry.host >= count) {
            Some(entry) => Err(beyond("it ".to_owned(), entry.host)),
            None => Ok(()),
        }
    }

    /// What a host's state is under this plan.
    pub(crate) fn host_state(&self, host: usize) -> HostState {
        self.hosts
            .iter()
            .find(|entry| entry.host == host)
            .map_or(HostState::Ok, |entry| entry.state)
    }
}

impl Fault {
    fn check(&self) -> Result<(), String> {
        if self.nth.contains(&0) || self.from == Some(0) || self.connection == Some(0) {
            return Err("`nth`, `from` and `connection` count from 1".to_owned());
        }
        if self.connection_every == Some(0)
            || self.connection_every.is_some() && self.connection.is_none()
        {
            return Err("`connection_every` counts on from `connection`, from 1".to_owned());
        }
        if self.times == Some(0) {
            return Err("with `times = 0` it would never happen".to_owned());
        }
        let chance = 0.0..=1.0;
        if self
            .probability
            .is_some_and(|value| !chance.contains(&value))
        {
            return Err("`probability` must be from 0 to 1".to_owned());
        }
        one_of(&[
            ("nth", !self.nth.is_empty()),
            ("from", self.from.is_some()),
            ("probability", self.probability.is_some()),
        ])?;
        one_of(&[
            ("nth", !self.nth.is_empty()),
            ("times", self.times.is_some()),
            ("probability", self.probability.is_some()),
        ])?;
        one_of(&[
            ("reset", self.reset.is_some()),
            ("close", self.close.is_some()),
            ("hang", self.hang.is_some()),
            ("answer", self.answer.is_some()),
        ])?;
        one_of(&[
            ("lose_answer", self.lose_answer.is_some()),
            ("cut_answer", self.cut_answer.is_some()),
            ("answer_text", self.answer_text.is_some()),
            ("answer_html", self.answer_html.is_some()),
        ])?;
        if let Some(answer) = &self.answer {
            values::check_answer(answer)?;
        }
        self.check_all_can_happen()?;
        if *self == self.without_actions() {
            return Err("it names no action, so nothing would go wrong".to_owned());
        }
        Ok(())
    }

    /// Refuses what would never happen since the same fault keeps the request from the service, or
    /// its answer from existing.
    fn check_all_can_happen(&self) -> Result<(), String> {
        let ends = [
            ("reset", self.reset.is_some()),
            ("close", self.close.is_some()),
            ("hang", self.hang.is_some()),
        ];
        let canned = ("answer", self.answer.is_some());
        let of_the_service = [
            ("flip_byte", self.flip_byte.is_some()),
            ("expire", self.expire.is_some()),
            ("refuse_replayed_ctx", self.refuse_replayed_ctx),
            ("hold", self.hold.is_some()),
            ("lose_answer", self.lose_answer.is_some()),
            ("answer_text", self.answer_text.is_some()),
            ("answer_html", self.answer_html.is_some()),
            ("wrong", self.wrong.is_some()),
        ];
        let of_any_answer = [
            ("cut_answer", self.cut_answer.is_some()),
            ("omit_reqid", self.omit_reqid),
        ];
        for first in ends.into_iter().chain([canned]) {
            for second in of_the_service {
                one_of(&[first, second])?;
            }
        }
        for first in ends {
            for second in of_any_answer {
                one_of(&[first, second])?;
            }
        }
        Ok(())
    }

    /// The same conditions, nothing happening.
    fn without_actions(&self) -> Self {
        Self {
            operation: self.operation.clone(),
            key: self.key.clone(),
            bucket: self.bucket.clone(),
            part: self.part,
            host: self.host,
            connection: self.connection,
            connection_every: self.connection_every,
            longer_than: self.longer_than,
            nth: self.nth.clone(),
            from: self.from,
            times: self.times,
            probability: self.probability,
            ..Self::default()
        }
    }
}

/// Refuses more than one of several things that exclude each other.
fn one_of(choices: &[(&str, bool)]) -> Result<(), String> {
    let mut chosen = choices.iter().filter(|(_, set)| *set);
    match (chosen.next(), chosen.next()) {
        (Some((first, _)), Some((second, _))) => {
            Err(format!("`{first}` and `{second}` exclude each other"))
        }
        _ => Ok(()),
    }
}

/// A fault plan that cannot be carried out; says where and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the fault plan is not valid: {text}")]
pub struct FaultPlanError {
    text: String,
}
