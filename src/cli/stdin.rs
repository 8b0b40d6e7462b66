//! Standard input as a stream of bytes.

use std::io::{self, Read};

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;

/// Bytes of one read: as much as a pipe holds.
const PIECE_LEN: usize = 64 * 1024;

/// Reads that wait for whoever uploads them.
const PIECES_AHEAD: usize = 4;

/// What comes on standard input, until it ends.
///
/// Read on a thread of its own, which ends with the process: one that waits for a terminal or a pipe
/// cannot be called back, and the runtime would wait for it.
pub(crate) fn stdin() -> impl Stream<Item = io::Result<Bytes>> {
    let (send, mut receive) = mpsc::channel(PIECES_AHEAD);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let piece = read_piece(&mut stdin);
            let goes_on = matches!(&piece, Ok(bytes) if !bytes.is_empty());
            let is_end = matches!(&piece, Ok(bytes) if bytes.is_empty());
            if is_end || send.blocking_send(piece).is_err() || !goes_on {
                return;
            }
        }
    });
    futures_util::stream::poll_fn(move |context| receive.poll_recv(context))
}

/// What can be had at once; empty at the end.
fn read_piece(from: &mut impl Read) -> io::Result<Bytes> {
    let mut piece = vec![0; PIECE_LEN];
    loop {
        match from.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => {
                piece.truncate(read?);
                return Ok(piece.into());
            }
        }
    }
}
