//! Raw: one plain socket that sends the same bytes, the physical limit of a line.
//!
//! The other end reads all of them and says so with one byte. With `hash` both ends also compute
//! the SHA-1 of what passes, and the sender compares: the least that a check of hashes costs.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;

use sha1::{Digest, Sha1};

use crate::Failure;

/// Bytes per call: as many as make system calls cheap.
const PIECE_LEN: usize = 256 * 1024;

/// Takes one connection at `address`; says where it listens first.
pub(crate) fn sink(address: &str, is_hashing: bool) -> Result<(), Failure> {
    let listener = TcpListener::bind(address)?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", listener.local_addr()?)?;
    stdout.flush()?;
    let (mut stream, _) = listener.accept()?;
    let digest = pass(&mut stream, &mut io::sink(), is_hashing)?;
    stream.write_all(&digest)?;
    Ok(())
}

/// Sends the file, and returns when the peer has read all of it.
pub(crate) fn send(path: &Path, address: &str, is_hashing: bool) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let digest = pass(&mut File::open(path)?, &mut stream, is_hashing)?;
    stream.shutdown(Shutdown::Write)?;
    let mut theirs = Vec::new();
    stream.read_to_end(&mut theirs)?;
    match theirs == digest {
        true => Ok(()),
        false => Err("the peer has not got all of it".into()),
    }
}

/// Copies all bytes; their hash, or a single byte in its place.
fn pass(from: &mut impl Read, to: &mut impl Write, is_hashing: bool) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; PIECE_LEN];
    let mut sha1 = Sha1::new();
    loop {
        let len = from.read(&mut buffer)?;
        if len == 0 {
            break;
        }
        if is_hashing {
            sha1.update(&buffer[..len]);
        }
        to.write_all(&buffer[..len])?;
    }
    Ok(match is_hashing {
        true => sha1.finalize().to_vec(),
        false => vec![1],
    })
}
