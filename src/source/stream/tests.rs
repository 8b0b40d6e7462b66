use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream;
use tokio::io::ReadBuf;

use super::*;

const BLOCK: u64 = 8;

fn pieces(pieces: &[&'static str]) -> Supply {
    let pieces: Vec<Result<Bytes, StreamError>> = pieces
        .iter()
        .map(|piece| match *piece {
            "!" => Err("the client went away".into()),
            piece => Ok(Bytes::from(piece)),
        })
        .collect();
    Supply::Stream(stream::iter(pieces).boxed())
}

fn source(supply: Supply, expected: Option<u64>) -> StreamSource {
    StreamSource::new(supply, expected, Budget::new(4 * BLOCK))
}

/// All that `source` gives from now on, block by block, let go when it was read; or why not.
async fn drain(source: &StreamSource) -> Result<String, Failure> {
    let mut all = Vec::new();
    loop {
        let begins = source.len();
        let Fetched { len, is_last } = source.fetch(BLOCK).await?;
        let span = ByteSpan::new(begins, len);
        if len > 0 {
            all.extend_from_slice(&source.read(span)?);
        }
        source.let_go(span);
        if is_last {
            return Ok(String::from_utf8(all).unwrap());
        }
    }
}

/// Pieces of any length come out as blocks, with the length that was said or none; what does not fit
/// what was said, or breaks, is a clear failure.
#[tokio::test]
async fn streams() {
    type Row = (
        &'static str,
        &'static [&'static str],
        Option<u64>,
        Result<&'static str, &'static str>,
    );
    let rows: [Row; 9] = [
        ("nothing", &[], None, Ok("")),
        ("less than a block", &["abc"], None, Ok("abc")),
        ("exactly a block", &["abcdefgh"], None, Ok("abcdefgh")),
        (
            "pieces across blocks",
            &["abcde", "", "fghijklmnopqrstu", "v"],
            None,
            Ok("abcdefghijklmnopqrstuv"),
        ),
        ("as said", &["abcdefgh", "i"], Some(9), Ok("abcdefghi")),
        (
            "as said, whole blocks",
            &["abcdefgh"],
            Some(8),
            Ok("abcdefgh"),
        ),
        (
            "too short",
            &["abcdefgh", "i"],
            Some(10),
            Err("ended after 9 bytes, and was said to have 10"),
        ),
        (
            "too long",
            &["abcdefgh", "ij"],
            Some(9),
            Err("longer than the 9 bytes"),
        ),
        (
            "broken",
            &["abcdefgh", "i", "!"],
            None,
            Err("failed after 9 bytes: the client went away"),
        ),
    ];
    for (story, given, expected, wanted) in rows {
        let source = source(pieces(given), expected);
        let drained = drain(&source).await;
        match (drained, wanted) {
            (Ok(all), Ok(wanted)) => assert_eq!(all, wanted, "{story}"),
            (Err(failure), Err(wanted)) => {
                assert!(failure.message.contains(wanted), "{story}: {failure}");
            }
            (drained, _) => panic!("{story}: {drained:?}"),
        }
        assert_eq!(source.budget.free.available_permits(), 32, "{story}");
    }
}

/// Reads a byte at a time, and panics at the end.
struct Bad(u8);

impl AsyncRead for Bad {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        assert!(self.0 > 0, "a mistake of the user's");
        self.0 -= 1;
        buffer.put_slice(b"x");
        Poll::Ready(Ok(()))
    }
}

/// A panic of somebody else's reader is a failure, and no panic of ours.
#[tokio::test]
async fn a_reader_that_panics() {
    let source = source(Supply::Reader(Box::pin(Bad(10))), None);
    let failure = drain(&source).await.unwrap_err();
    let wanted = "failed after 10 bytes: it panicked";
    assert!(failure.message.contains(wanted), "{failure}");
}

/// Pieces of nothing, as many as one likes, do not keep others from their turn.
#[tokio::test]
async fn empty_pieces() {
    let nothing = stream::repeat_with(|| Ok(Bytes::new())).take(1_000_000);
    let source = source(Supply::Stream(nothing.boxed()), None);
    tokio::select! {
        biased;
        fetched = source.fetch(BLOCK) => panic!("nobody else had a turn: {fetched:?}"),
        () = tokio::task::yield_now() => {}
    }
}

/// A fetch that is given up loses nothing: the next one goes on with its block.
#[tokio::test]
async fn given_up() {
    let (mut writer, reader) = tokio::io::duplex(64);
    let source = source(Supply::Reader(Box::pin(reader)), None);
    tokio::io::AsyncWriteExt::write_all(&mut writer, b"abcd")
        .await
        .unwrap();
    for _ in 0..2 {
        let fetch = source.fetch(BLOCK);
        assert!(fetch.now_or_never().is_none(), "there is no whole block");
    }
    tokio::io::AsyncWriteExt::write_all(&mut writer, b"efghij")
        .await
        .unwrap();
    drop(writer);
    assert_eq!(drain(&source).await.unwrap(), "abcdefghij");
}

/// Memory is granted block by block, to those who came first; it comes back when the last who holds a
/// block's bytes is gone, and what an end leaves empty at once.
#[tokio::test]
async fn memory() {
    const LONG: u64 = 2 * PIECE_LEN;
    let budget = Budget::new(2 * LONG);
    let stream = |len: u64| {
        let bytes = vec![7; usize::try_from(len).unwrap()];
        let supply = Supply::Reader(Box::pin(io::Cursor::new(bytes)));
        StreamSource::new(supply, None, budget.clone())
    };
    let [first, second] = [stream(5 * LONG), stream(5 * LONG)];
    let free = || budget.free.available_permits() as u64;
    first.fetch(LONG).await.unwrap();
    first.fetch(LONG).await.unwrap();
    assert_eq!(free(), 0);
    let mut waits = Box::pin(second.fetch(LONG));
    assert!((&mut waits).now_or_never().is_none());
    let bytes = first.read(ByteSpan::new(0, 3)).unwrap();
    first.let_go(ByteSpan::new(0, 4));
    first.let_go(ByteSpan::new(4, LONG - 4));
    assert!(
        (&mut waits).now_or_never().is_none(),
        "somebody holds its bytes"
    );
    drop(bytes);
    waits.await.unwrap();
    assert_eq!(first.read(ByteSpan::new(LONG, 2)).unwrap(), [7, 7][..]);
    let failure = first.read(ByteSpan::new(0, 8)).unwrap_err();
    assert!(
        failure.message.contains("cannot give it again"),
        "{failure}"
    );
    drop((first, second));
    let short = stream(PIECE_LEN + 1);
    short.fetch(2 * LONG).await.unwrap();
    assert_eq!(
        (free(), short.has_ended()),
        (2 * LONG - 2 * PIECE_LEN, true)
    );
    assert_eq!(short.read(ByteSpan::new(PIECE_LEN, 9)).unwrap(), [7][..]);
}
