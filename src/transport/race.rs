//! Trying a host's addresses side by side (RFC 8305), whatever trying one means.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// Head start of an address over the next one: what RFC 8305 recommends. An address that swallows
/// everything costs this and no more.
const HEAD_START: Duration = Duration::from_millis(250);

/// The first of `addresses` for which `attempt` succeeds, and what it gave; else every address with
/// its error, in the order in which they failed.
///
/// The next address has its turn after [`HEAD_START`], or at once when one fails. Those that are
/// still trying when one has succeeded are dropped.
pub(crate) async fn race<A, T, E, F>(
    addresses: Vec<A>,
    attempt: impl Fn(A) -> F,
) -> Result<(A, T), Vec<(A, E)>>
where
    A: Copy,
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = addresses.into_iter();
    let mut running = FuturesUnordered::new();
    let mut failed = Vec::new();
    loop {
        match waiting.next() {
            Some(address) => {
                let trying = attempt(address);
                running.push(async move { (address, trying.await) });
            }
            None if running.is_empty() => return Err(failed),
            None => {}
        }
        tokio::select! {
            Some((address, result)) = running.next() => match result {
                Ok(made) => return Ok((address, made)),
                Err(error) => failed.push((address, error)),
            },
            () = tokio::time::sleep(HEAD_START), if waiting.len() > 0 => {}
        }
    }
}

/// The same addresses with the two families taking turns, the first one's first: a family that is
/// dead on this line then holds up one turn only.
pub(crate) fn interleave(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses = addresses.into_iter().peekable();
    let six_first = addresses.peek().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.partition(|address| address.is_ipv6() == six_first);
    let mut second = second.into_iter();
    let mut turns = Vec::new();
    for address in first {
        turns.push(address);
        turns.extend(second.next());
    }
    turns.extend(second);
    turns
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    /// What an address does when it is tried.
    #[derive(Clone, Copy, Debug)]
    enum Does {
        Swallows,
        Refuses,
        RefusesAfter(u64),
        Accepts,
        AcceptsAfter(u64),
    }
    use Does::{Accepts, AcceptsAfter, Refuses, RefusesAfter, Swallows};

    /// Longest time for one address in these tests.
    const LIMIT: Duration = Duration::from_secs(10);

    async fn attempt(does: Does) -> Result<DuplexStream, &'static str> {
        let milliseconds = |count| tokio::time::sleep(Duration::from_millis(count));
        let trying = async {
            match does {
                Swallows => std::future::pending::<()>().await,
                Refuses => return Err("refused"),
                RefusesAfter(wait) => {
                    milliseconds(wait).await;
                    return Err("refused");
                }
                Accepts => {}
                AcceptsAfter(wait) => milliseconds(wait).await,
            }
            let (stream, mut peer) = duplex(64);
            tokio::spawn(async move { peer.write_all(b"hello").await });
            Ok(stream)
        };
        let in_time = tokio::time::timeout(LIMIT, trying).await;
        in_time.unwrap_or(Err("no answer"))
    }

    /// Addresses as they are found, which one wins, and after how many milliseconds.
    #[tokio::test(start_paused = true)]
    async fn the_first_that_answers_wins() {
        let rows: [(&str, &[Does], usize, u64); 9] = [
            ("the first is good", &[Accepts, Swallows], 0, 0),
            ("a v6 address that swallows", &[Swallows, Accepts], 1, 250),
            ("a failure advances at once", &[Refuses, Accepts], 1, 0),
            ("several do", &[Refuses, Refuses, Refuses, Accepts], 3, 0),
            ("a late failure too", &[RefusesAfter(100), Accepts], 1, 100),
            (
                "a slow one keeps its chance",
                &[AcceptsAfter(300), AcceptsAfter(900)],
                0,
                300,
            ),
            (
                "the faster one wins",
                &[AcceptsAfter(900), AcceptsAfter(100)],
                1,
                350,
            ),
            ("slow is not dead", &[AcceptsAfter(9_999)], 0, 9_999),
            ("two swallow", &[Swallows, Swallows, Accepts], 2, 500),
        ];
        for (story, addresses, expected, milliseconds) in rows {
            let begin = Instant::now();
            let numbers = (0..addresses.len()).collect();
            let won = race(numbers, |number: usize| attempt(addresses[number])).await;
            let (winner, mut stream) = won.unwrap();
            assert_eq!(winner, expected, "{story}");
            // The paused clock's timers have a grain of one millisecond.
            let late = begin
                .elapsed()
                .abs_diff(Duration::from_millis(milliseconds));
            assert!(
                late <= Duration::from_millis(2),
                "{story}: {:?}",
                begin.elapsed()
            );
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "hello", "{story}");
        }
    }

    /// All fail: each is named, with its own reason.
    #[tokio::test(start_paused = true)]
    async fn every_failure_is_told() {
        let addresses = [Refuses, Swallows, RefusesAfter(50)];
        let lost = race(vec![0, 1, 2], |number: usize| attempt(addresses[number])).await;
        let expected = vec![(0, "refused"), (2, "refused"), (1, "no answer")];
        assert_eq!(lost.map(drop).unwrap_err(), expected);
        let none = race(Vec::new(), |number: usize| attempt(addresses[number])).await;
        assert!(none.unwrap_err().is_empty());
    }

    /// The families take turns, and nothing is lost.
    #[test]
    fn families_take_turns() {
        let four = |last: u8| SocketAddr::from(([192, 0, 2, last], 1));
        let six = |last: u16| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], 1));
        let found = [six(1), six(2), six(3), four(1)];
        assert_eq!(interleave(found), [six(1), four(1), six(2), six(3)]);
        let found = [four(1), four(2), six(1), six(2), six(3)];
        assert_eq!(
            interleave(found),
            [four(1), six(1), four(2), six(2), six(3)]
        );
        assert_eq!(interleave([]), []);
    }
}
