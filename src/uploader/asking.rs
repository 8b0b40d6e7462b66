//! Small calls that any of several hosts can answer: the next host is asked when one fails, and beside
//! one that is silent.
//!
//! Who asks: the bucket query and the management calls in `client`, and looks at an object (`proof`).

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::model::{Endpoint, Failure, FailureKind};

/// How long a host may be silent before the next one is asked beside it. Source: the design's table
/// of deadlines, "the next host after 2 s without an answer".
const NEXT_AFTER: Duration = Duration::from_secs(2);

/// When the next host's turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// After a failure, and beside a host that is silent: what is asked changes nothing.
    Beside,
    /// After a failure only. A call that was given up may still take effect, long after another host
    /// has answered: what changes something is asked of one host at a time.
    After,
}

/// The first good answer of `hosts`, which are asked in their order; `ask` asks one of them.
///
/// A refusal by the service ends it at once: another host would say the same. When all hosts failed,
/// the failure is the one that tells most. Every failure names its host.
pub(crate) async fn ask<'a, T, Asked>(
    hosts: &'a [Endpoint],
    turn: Turn,
    ask: impl Fn(&'a Endpoint) -> Asked,
) -> Result<T, Failure>
where
    Asked: Future<Output = Result<T, Failure>>,
{
    let mut next = hosts.iter();
    let mut under_way = FuturesUnordered::new();
    let mut told: Option<Failure> = None;
    let begin = |host: &'a Endpoint| {
        let asked = ask(host);
        async move { asked.await.map_err(|failure| at(host, failure)) }
    };
    under_way.extend(next.next().map(begin));
    loop {
        let has_next = next.len() > 0;
        let silence = async {
            match turn {
                Turn::Beside if has_next => tokio::time::sleep(NEXT_AFTER).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = under_way.next() => match answer {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(failure)) if !is_of_the_host(&failure) => return Err(failure),
                Some(Err(failure)) => {
                    told = Some(more_telling(told, failure));
                    under_way.extend(next.next().map(begin));
                }
                None => {
                    let nobody = || Failure::new(FailureKind::Connect, "no host is known");
                    return Err(told.unwrap_or_else(nobody));
                }
            },
            () = silence => under_way.extend(next.next().map(begin)),
        }
    }
}

/// Whether another host may answer better: this one was not reached, failed, or is something else.
pub(crate) fn is_of_the_host(failure: &Failure) -> bool {
    use FailureKind as K;
    matches!(
        failure.kind,
        K::Connect
            | K::Tls
            | K::Broken
            | K::Stalled
            | K::NotReading
            | K::Trickle
            | K::TimedOut
            | K::NotKodo
            | K::Server
            | K::Throttled
            | K::NotFound
            | K::MethodNotAllowed
    )
}

/// The later of two failures, unless the earlier one holds more of an answer.
fn more_telling(earlier: Option<Failure>, later: Failure) -> Failure {
    let weight = |failure: &Failure| {
        u8::from(failure.status.is_some()) + u8::from(failure.request_id.is_some())
    };
    match earlier {
        Some(earlier) if weight(&earlier) > weight(&later) => earlier,
        _ => later,
    }
}

/// `failure` with the host it is about.
fn at(host: &Endpoint, mut failure: Failure) -> Failure {
    if !failure.message.contains(host.authority()) {
        failure.message =
            Failure::new(failure.kind.clone(), format!("{host}: {}", failure.message)).message;
    }
    failure
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::{Instant, sleep};

    use super::*;

    /// What a host does, and after how many seconds.
    #[derive(Clone, Copy)]
    enum Does {
        Answers(u64),
        Fails(u64, FailureClass),
        IsSilent,
    }

    #[derive(Clone, Copy)]
    enum FailureClass {
        Gateway,
        Unreached,
        Refusal,
    }

    use Does::{Answers, Fails, IsSilent};
    use FailureClass::{Gateway, Refusal, Unreached};

    async fn does(what: Does, host: usize) -> Result<usize, Failure> {
        match what {
            Answers(after) => {
                sleep(Duration::from_secs(after)).await;
                Ok(host)
            }
            Fails(after, class) => {
                sleep(Duration::from_secs(after)).await;
                let mut failure = match class {
                    Gateway => Failure::new(FailureKind::Server, "bad gateway"),
                    Unreached => return Err(Failure::new(FailureKind::Connect, "unreached")),
                    Refusal => Failure::new(FailureKind::NoSuchBucket, "no such bucket"),
                };
                failure.status = Some(502);
                Err(failure)
            }
            IsSilent => std::future::pending().await,
        }
    }

    /// What three hosts do; who answers or what is told; after how long; who was asked.
    type Row = (
        &'static str,
        Turn,
        [Does; 3],
        Result<usize, &'static str>,
        u64,
        &'static [usize],
    );

    const ROWS: &[Row] = &[
        (
            "the first is well",
            Turn::Beside,
            [Answers(1), IsSilent, IsSilent],
            Ok(0),
            1,
            &[0],
        ),
        (
            "a gateway fails",
            Turn::Beside,
            [Fails(1, Gateway), Answers(1), IsSilent],
            Ok(1),
            2,
            &[0, 1],
        ),
        (
            "the first is silent",
            Turn::Beside,
            [IsSilent, Answers(1), IsSilent],
            Ok(1),
            3,
            &[0, 1],
        ),
        (
            "two are silent",
            Turn::Beside,
            [IsSilent, IsSilent, Answers(0)],
            Ok(2),
            4,
            &[0, 1, 2],
        ),
        (
            "the first is slow and wins",
            Turn::Beside,
            [Answers(3), IsSilent, IsSilent],
            Ok(0),
            3,
            &[0, 1],
        ),
        (
            "a refusal ends it",
            Turn::Beside,
            [Fails(0, Refusal), Answers(0), Answers(0)],
            Err("http://h0: no such bucket"),
            0,
            &[0],
        ),
        (
            "one at a time",
            Turn::After,
            [Fails(9, Gateway), Answers(1), IsSilent],
            Ok(1),
            10,
            &[0, 1],
        ),
        (
            "what tells most is told",
            Turn::Beside,
            [Fails(1, Gateway), Fails(1, Unreached), Fails(9, Unreached)],
            Err("http://h0: bad gateway"),
            11,
            &[0, 1, 2],
        ),
        (
            "else the last",
            Turn::After,
            [Fails(0, Unreached); 3],
            Err("http://h2: unreached"),
            0,
            &[0, 1, 2],
        ),
    ];

    /// Whom a call reaches, and how long it takes, with one to three hosts in trouble.
    #[tokio::test(start_paused = true)]
    async fn hosts_in_trouble() {
        let hosts: Vec<Endpoint> = (0..3)
            .map(|host| Endpoint::parse(&format!("http://h{host}"), true).unwrap())
            .collect();
        for (story, turn, what, expected, seconds, asked) in ROWS {
            let began = Instant::now();
            let seen = Mutex::new(Vec::new());
            let answer = ask(&hosts, *turn, |endpoint| {
                let host = hosts.iter().position(|host| host == endpoint).unwrap();
                seen.lock().unwrap().push(host);
                does(what[host], host)
            })
            .await;
            let answer = answer.map_err(|failure| failure.message);
            assert_eq!(answer, expected.map_err(str::to_owned), "{story}");
            assert_eq!(began.elapsed().as_secs(), *seconds, "{story}");
            assert_eq!(seen.into_inner().unwrap(), *asked, "{story}");
        }
        let nobody = ask(&[], Turn::After, |_| async { Ok(()) }).await;
        assert_eq!(nobody.unwrap_err().message, "no host is known");
    }
}
