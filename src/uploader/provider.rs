//! Asking somebody else for upload tokens: with a deadline, and more than once.
//!
//! Who asks over a network meets the same weather as the upload does; a token server that restarts
//! must not end an upload of hours. A provider that goes on failing ends it soon, though: whether it
//! will ever sign this upload, nobody but it can know.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use crate::clock;
use crate::engine::Limits;
use crate::error::words::time;
use crate::error::{Error, ErrorKind};
use crate::events::Event;
use crate::kodo::UploadToken;
use crate::model::{Failure, FailureKind};

/// How often a provider is asked for one token. With the waits between: three seconds and a bit, what
/// a restart takes.
const ATTEMPTS_MAX: u32 = 5;

/// Wait after the first failure; it doubles. Source: the design's table of deadlines.
const WAIT_FIRST: Duration = Duration::from_millis(200);

/// What a provider of tokens answers: a token as text, or why there is none.
type Provided = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// Asks somebody else for upload tokens, so that the secret key can live on another machine.
#[derive(Clone)]
pub(crate) struct TokenProvider {
    ask: Arc<dyn Fn() -> Provided + Send + Sync>,
    /// Longest wait for one answer.
    response_timeout: Duration,
    /// Longest time for all attempts at one token.
    retry_budget: Duration,
}

impl TokenProvider {
    /// A provider that calls `ask` each time.
    pub(crate) fn new(ask: impl Fn() -> Provided + Send + Sync + 'static) -> Self {
        let usual = Limits::default();
        Self {
            ask: Arc::new(ask),
            response_timeout: usual.response_timeout,
            retry_budget: usual.retry_budget,
        }
    }

    /// The same within the limits of its uploads.
    pub(crate) fn within(self, limits: &Limits) -> Self {
        Self {
            response_timeout: limits.response_timeout,
            retry_budget: limits.retry_budget,
            ..self
        }
    }

    /// A token, fresh from the provider. `say` is told of each failure that another attempt follows.
    pub(crate) async fn token(&self, say: impl Fn(&Event)) -> Result<UploadToken, Error> {
        let began = clock::instant();
        let mut wait = WAIT_FIRST;
        for attempts in 1.. {
            let why = match self.answer().await {
                Ok(token) => return Ok(token),
                Err(why) => format!("the token provider gave no token: {why}"),
            };
            let spent = clock::instant().saturating_duration_since(began);
            if attempts >= ATTEMPTS_MAX || spent + wait >= self.retry_budget {
                let times = match attempts {
                    1 => String::new(),
                    _ => format!(" (asked {attempts} times)"),
                };
                return Err(Error::new(ErrorKind::Unauthorized, format!("{why}{times}")));
            }
            say(&Event::Retrying {
                failure: Failure::new(FailureKind::Unauthorized, why),
                wait,
                attempts,
            });
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        Err(Error::bug("a token provider was asked for ever"))
    }

    /// One answer, or why there is none. Its panic is its own: what it says of itself may be secret.
    async fn answer(&self) -> Result<UploadToken, String> {
        let asking = AssertUnwindSafe(async { (self.ask)().await }).catch_unwind();
        let answer = tokio::time::timeout(self.response_timeout, asking).await;
        let limit = time(self.response_timeout);
        let answer = answer.map_err(|_| format!("no answer within {limit} (response_timeout)"))?;
        let text = answer.map_err(|_| "it panicked".to_owned())??;
        UploadToken::parse(&text).map_err(|error| error.to_string())
    }
}

impl fmt::Debug for TokenProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenProvider")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::kodo::{AccessKey, Credentials, PutPolicy, Scope, SecretKey};
    use crate::model::Bucket;

    /// How a provider takes a question.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Takes {
        Answers,
        Fails,
        Hangs,
        Panics,
        Babbles,
    }

    async fn take(takes: Option<Takes>) -> Result<String, String> {
        match takes.unwrap_or(Takes::Fails) {
            Takes::Fails => Err("on holiday".to_owned()),
            Takes::Hangs => std::future::pending().await,
            Takes::Panics => panic!("as the test wants it"),
            Takes::Babbles => Ok("no token".to_owned()),
            Takes::Answers => {
                let keys =
                    Credentials::new(AccessKey::new("ak").unwrap(), SecretKey::new("sk").unwrap());
                let scope = Scope::Bucket(Bucket::new("b").unwrap());
                let token = UploadToken::sign(&keys, &PutPolicy::new(scope, 1));
                Ok(token.expose().to_owned())
            }
        }
    }

    /// What it answers one time after the other, the retry budget in seconds → its last words, none
    /// for a token; how many retries were said; after how many seconds.
    #[tokio::test(start_paused = true)]
    async fn asked_more_than_once() {
        use Takes::{Answers, Babbles, Fails, Hangs, Panics};
        type Row<'a> = (&'a [Takes], u64, Option<&'a str>, usize, u64);
        let rows: [Row<'_>; 8] = [
            (&[Answers], 900, None, 0, 0),
            (&[Fails, Answers], 900, None, 1, 0),
            (&[Hangs, Answers], 900, None, 1, 60),
            (&[Panics, Answers], 900, None, 1, 0),
            (&[Babbles, Answers], 900, None, 1, 0),
            (&[], 900, Some("on holiday (asked 5 times)"), 4, 3),
            (&[], 1, Some("on holiday (asked 3 times)"), 2, 0),
            (&[Hangs], 60, Some("within 1 min (response_timeout)"), 0, 60),
        ];
        for (answers, budget_s, expected, retries, seconds) in rows {
            let mut waiting = answers.to_vec();
            waiting.reverse();
            let waiting = Mutex::new(waiting);
            let provider = TokenProvider::new(move || {
                let next = waiting.lock().unwrap().pop();
                Box::pin(take(next))
            });
            let limits = Limits {
                retry_budget: Duration::from_secs(budget_s),
                ..Limits::default()
            };
            let (said, began) = (Mutex::new(0), clock::instant());
            let provider = provider.within(&limits);
            let answer = provider.token(|_| *said.lock().unwrap() += 1).await;
            let why = answer.err().map(|error| error.to_string());
            let story = format!("{answers:?} {budget_s}: {why:?}");
            assert_eq!(why.is_some(), expected.is_some(), "{story}");
            let expected = expected.unwrap_or_default();
            assert!(why.unwrap_or_default().ends_with(expected), "{story}");
            assert_eq!(*said.lock().unwrap(), retries, "{story}");
            let took = clock::instant().saturating_duration_since(began);
            assert_eq!(took.as_secs(), seconds, "{story}");
        }
    }
}
