//! Records ↔ checksummed lines. Pure: bytes in, bytes out.
//!
//! ```text
//! haul-journal 1 9a3b01cc {"target":{…},"source":{…},"created":1763650000}
//! 5f0cc41e {"record":"begun","layout":{"protocol":"blocks","lane_len":4194304}}
//! 0d5e77a1 {"record":"segment","lane":0,"offset":0,"len":524288,"digest":"…","receipt":{…}}
//! ```
//!
//! The eight digits are the CRC-32 of all JSON so far, this line's included (and of the first
//! line's words). A CRC maps each earlier sum to another later one, so a line is right only after
//! the line it was written after: lines that were moved, doubled, left out, or taken from another
//! journal end the valid prefix just as a flipped bit does.
//!
//! One record has exactly one encoding: what is read is encoded again and compared.
//!
//! Every version of the format, past and to come, keeps the first line's form and its sum, so that
//! an older haul can tell a newer journal from a damaged one.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::record::Record;
use crate::journal::header::Header;

/// The newest format that this haul reads. It writes the oldest that can say what is to be said: 2
/// has a resume id, or what the caller said of the object, and 1 neither.
pub(crate) const VERSION: u32 = 2;

/// Longest line, its newline included. A source's path takes at most 4 KiB (×6 when escaped), a key
/// 750 bytes, a receipt a few hundred; the bound keeps a foreign file from being read as one line.
pub(crate) const LINE_LEN_MAX: usize = 64 * 1024;

/// How every journal begins.
const MAGIC: &[u8] = b"haul-journal ";

/// Hexadecimal digits of a sum.
const SUM_LEN: usize = 8;

/// A line would be longer than [`LINE_LEN_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// The end of a journal: what the next line's sum goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    sum: u32,
}

/// What a file turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// A journal of this format, as far as it is whole.
    Ours(Box<Recovered>),
    /// A journal that lost its first line (or never had one: an empty file, or one of zeros as some
    /// file systems leave after a power cut). It may be overwritten.
    Damaged,
    /// A journal of a later format. Not to be touched.
    Newer {
        /// Its version.
        version: u32,
    },
    /// Something else. Not to be touched.
    Foreign,
}

/// The longest valid prefix of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Its header.
    pub(crate) header: Header,
    /// Its records, in order.
    pub(crate) records: Vec<Record>,
    /// Length of the prefix in bytes; what follows is void.
    pub(crate) valid_len: usize,
    /// Where appending goes on.
    pub(crate) chain: Chain,
}

/// Reads whatever `bytes` are. Total: never fails, never panics.
pub(crate) fn recover(bytes: &[u8]) -> Recovery {
    let zeros = bytes.iter().all(|byte| *byte == 0);
    if !bytes.starts_with(MAGIC) && !MAGIC.starts_with(bytes) && !zeros {
        return Recovery::Foreign;
    }
    let Some((version, mut chain, json, mut valid_len)) = first_line(bytes) else {
        return Recovery::Damaged;
    };
    if version > VERSION {
        return Recovery::Newer { version };
    }
    let header = exact::<Header>(json).filter(|header| header.version() == version);
    let Some(header) = header else {
        return Recovery::Damaged;
    };
    let mut records = Vec::new();
    while let Some((record, next, len)) = chain.read(&bytes[valid_len..]) {
        records.push(record);
        chain = next;
        valid_len += len;
    }
    Recovery::Ours(Box::new(Recovered {
        header,
        records,
        valid_len,
        chain,
    }))
}

impl Chain {
    /// Begins a journal: adds the first line to `out`. On [`TooLong`] nothing is added.
    pub(crate) fn begin(header: &Header, out: &mut Vec<u8>) -> Result<Self, TooLong> {
        let json = encode(header)?;
        let words = magic_words(header.version());
        let sum = extend(crc32fast::hash(&words), &json);
        push_line(out, &words, sum, &json)?;
        Ok(Self { sum })
    }

    /// Adds the line of `record` to `out`. On [`TooLong`] nothing is added.
    pub(crate) fn push(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let json = encode(record)?;
        let sum = extend(self.sum, &json);
        push_line(out, b"", sum, &json)?;
        self.sum = sum;
        Ok(())
    }

    /// Reads the record at the head of `bytes`: with it come the chain after it and the length of
    /// its line. None where the valid prefix ends.
    pub(crate) fn read(self, bytes: &[u8]) -> Option<(Record, Self, usize)> {
        let line = line(bytes)?;
        let (sum, json) = split_sum(line)?;
        if sum != extend(self.sum, json) {
            return None;
        }
        let record = exact(json)?;
        Some((record, Self { sum }, line.len() + 1))
    }
}

/// Version, chain, JSON and length of the first line, if it is whole.
fn first_line(bytes: &[u8]) -> Option<(u32, Chain, &[u8], usize)> {
    let line = line(bytes)?;
    let rest = line.strip_prefix(MAGIC)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let version: u32 = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let words = magic_words(version);
    let (sum, json) = split_sum(line.strip_prefix(words.as_slice())?)?;
    let right = version > 0 && sum == extend(crc32fast::hash(&words), json);
    right.then_some((version, Chain { sum }, json, line.len() + 1))
}

/// The first line up to its sum.
fn magic_words(version: u32) -> Vec<u8> {
    [MAGIC, version.to_string().as_bytes(), b" "].concat()
}

/// The line at the head of `bytes`, without its newline.
fn line(bytes: &[u8]) -> Option<&[u8]> {
    let within = &bytes[..bytes.len().min(LINE_LEN_MAX)];
    let end = within.iter().position(|byte| *byte == b'\n')?;
    Some(&bytes[..end])
}

/// Splits `<8 digits> <rest>`. Capitals are no digits here: one sum has one spelling.
fn split_sum(line: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = line.split_at_checked(SUM_LEN)?;
    let mut sum = 0;
    for byte in digits {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        sum = sum << 4 | u32::from(digit);
    }
    Some((sum, rest.strip_prefix(b" ")?))
}

/// Reads JSON that is the one encoding of a `T`.
fn exact<T: Serialize + DeserializeOwned>(json: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(json).ok()?;
    let same = serde_json::to_vec(&value).is_ok_and(|again| again == json);
    same.then_some(value)
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, TooLong> {
    // Encoding plain structs fails only for want of memory for the line.
    serde_json::to_vec(value).map_err(|_| TooLong)
}

fn extend(sum: u32, json: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(sum);
    hasher.update(json);
    hasher.finalize()
}

fn push_line(out: &mut Vec<u8>, words: &[u8], sum: u32, json: &[u8]) -> Result<(), TooLong> {
    if words.len() + SUM_LEN + 1 + json.len() + 1 > LINE_LEN_MAX {
        return Err(TooLong);
    }
    out.extend_from_slice(words);
    out.extend_from_slice(format!("{sum:08x} ").as_bytes());
    out.extend_from_slice(json);
    out.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests;
