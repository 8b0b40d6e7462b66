//! The upload token, as far as the engine knows it: how often it was renewed, and whether it works.

use crate::engine::event::{Effect, Moment};
use crate::engine::{Engine, Work};
use crate::model::{Failure, FailureKind};

/// What is known of the token in use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Token {
    /// How many were renewed.
    pub(crate) generation: u32,
    /// Whether the service took this generation at least once.
    pub(crate) proven: bool,
    /// A fresh one was asked for.
    pub(crate) renewing: bool,
    /// What the service said when it refused the last one: the end may need its words.
    refusal: Option<Failure>,
}

impl Engine {
    /// A token was refused: a fresh one, or, when a fresh one was refused, the end.
    pub(crate) fn token_refused(&mut self, now: Moment, work: &Work, failure: Failure) {
        if work.token < self.token.generation || self.token.renewing {
            return;
        }
        if self.token.generation > 0 && !self.token.proven {
            self.give_up(now, failure, false);
            return;
        }
        self.token.renewing = true;
        self.token.refusal = Some(failure);
        self.effects.push_back(Effect::RenewToken);
    }

    /// A fresh token is there.
    pub(crate) fn token_renewed(&mut self) {
        self.token = Token {
            generation: self.token.generation + 1,
            ..Token::default()
        };
    }

    /// There is no other token: what the service said about this one stands.
    pub(crate) fn token_unavailable(&mut self, now: Moment) {
        let refusal = self.token.refusal.take();
        let refusal = refusal.unwrap_or_else(|| {
            let what = "the token is refused, and there is no other";
            Failure::new(FailureKind::Unauthorized, what)
        });
        self.token.renewing = false;
        if !self.list_may_not(now, &refusal) {
            self.give_up(now, refusal, false);
        }
    }
}
