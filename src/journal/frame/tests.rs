use proptest::prelude::*;

use crate::engine::record::{Receipt, Record};
use crate::journal::frame::{Chain, LINE_LEN_MAX, MAGIC, Recovery, TooLong, extend, recover};
use crate::journal::tests::{begun, header, journal, lines, named, ours, segment, story};

/// The bytes of format 1 do not change, or every journal on every disk is lost. (The sums were
/// computed with another program.)
#[test]
fn golden() {
    let records = [begun(), segment(1, 0), Record::LaneReset { lane: 1 }];
    let text = String::from_utf8(journal(&header(), &records)).unwrap();
    let expected = concat!(
        r#"haul-journal 1 2f1fc9a1 {"target":{"service":"kodo","access_key":"AK-of-someone","#,
        r#""store":"https://uc.example.com","bucket":"my-bucket","key":"2026/报告 \"a\".pdf"},"#,
        r#""source":{"path":"/home/someone/报告.pdf","size":1073741824,"#,
        r#""mtime_ns":1763649999123456789,"ctime_ns":1763649999123456790,"device":2049,"#,
        r#""inode":131072},"created":1763650000}"#,
        "\n",
        r#"e27415e6 {"record":"begun","layout":{"protocol":"blocks","lane_len":4194304}}"#,
        "\n",
        r#"04d31065 {"record":"segment","lane":1,"offset":0,"len":524288,"#,
        r#""digest":"0101010101010101010101010101010101010101","#,
        r#""receipt":{"text":"ctx-1-0-\u0001\"\\","host":"http://up.example.com","#,
        r#""expires":1764254801}}"#,
        "\n",
        r#"898c0b73 {"record":"lane_reset","lane":1}"#,
        "\n",
    );
    assert_eq!(text, expected);
    assert_eq!(ours(text.as_bytes()).records, records);
}

/// Nor do those of format 2: a resume id, and what the caller said. Each version has its own fields: the
/// one in the other's place is no journal.
#[test]
fn golden_2() {
    let named = named();
    let text = String::from_utf8(journal(&named, &[])).unwrap();
    let expected = concat!(
        r#"{"target":{"service":"kodo","access_key":"AK-of-someone","#,
        r#""store":"https://uc.example.com","bucket":"my-bucket","key":"2026/报告 \"a\".pdf","#,
        r#""resume_id":"job 7"},"source":{"path":"/home/someone/报告.pdf","size":1073741824,"#,
        r#""mtime_ns":1763649999123456789,"ctime_ns":1763649999123456790,"device":2049,"#,
        r#""inode":131072},"created":1763650000,"says":{"mime_type":"text/plain","#,
        r#""vars":[["who","me"]],"insert_only":true,"keep_last_modified":true,"has_own_right":true}}"#,
        "\n",
    );
    assert!(text.starts_with("haul-journal 2 "), "{text}");
    assert_eq!(&text["haul-journal 2 00000000 ".len()..], expected);
    assert_eq!(ours(text.as_bytes()).header, named);
    for (header, version) in [(header(), 2), (named, 1)] {
        let line = journal(&header, &[]);
        let json = &line[b"haul-journal 1 00000000 ".len()..line.len() - 1];
        let words = format!("haul-journal {version} ");
        let sum = extend(crc32fast::hash(words.as_bytes()), json);
        let other = [
            words.as_bytes(),
            format!("{sum:08x} ").as_bytes(),
            json,
            b"\n",
        ]
        .concat();
        assert_eq!(recover(&other), Recovery::Damaged, "{version}");
    }
}

/// Whatever is written is read back, and appending goes on where reading ended.
#[test]
fn round_trip() {
    let records = story(40);
    let bytes = journal(&header(), &records);
    for cut in [0, 1, 7, 39] {
        let mut bytes = journal(&header(), &records[..cut]);
        let mut found = ours(&bytes);
        for record in &records[cut..] {
            found.chain.push(record, &mut bytes).unwrap();
        }
        assert_eq!(bytes, journal(&header(), &records), "continued after {cut}");
    }
    let found = ours(&bytes);
    assert_eq!((found.header, found.records), (header(), records));
    assert_eq!(found.valid_len, bytes.len());
}

/// A journal of 256 records torn at every byte. Within the first line and around each line's end by
/// recovering all of it; within a line by reading just that line, as recovery would, having read
/// the lines before it.
#[test]
fn every_torn_tail() {
    let records = story(256);
    let lines = lines(&header(), &records);
    let bytes = lines.concat();
    for len in 0..lines[0].len() {
        assert_eq!(recover(&bytes[..len]), Recovery::Damaged, "torn at {len}");
    }
    let mut at = lines[0].len();
    let mut chain = ours(&lines[0]).chain;
    for (index, line) in lines[1..].iter().enumerate() {
        for len in 0..line.len() {
            assert_eq!(
                chain.read(&bytes[at..at + len]),
                None,
                "torn at {}",
                at + len
            );
        }
        if index % 8 == 0 {
            for len in [at, at + 1, at + line.len() - 1] {
                let found = ours(&bytes[..len]);
                assert_eq!(found.valid_len, at);
                assert_eq!(found.records, records[..index]);
                assert_eq!(found.chain, chain);
            }
        }
        let (record, next, len) = chain.read(&bytes[at..]).unwrap();
        assert_eq!((&record, len), (&records[index], line.len()));
        (at, chain) = (at + len, next);
    }
    assert_eq!(ours(&bytes).records, records);
}

/// A journal of 16 records with every single bit flipped: the valid prefix ends before the flipped
/// line. In the first line, all is lost, and it is never read as another version or header. Of
/// other lines, most flips are read as recovery would, having read the lines before.
#[test]
fn every_flipped_bit() {
    let records = story(16);
    let lines = lines(&header(), &records);
    let mut bytes = lines.concat();
    for bit in 0..lines[0].len() * 8 {
        let at = bit / 8;
        bytes[at] ^= 1 << (bit % 8);
        let expected = if at < MAGIC.len() {
            Recovery::Foreign
        } else {
            Recovery::Damaged
        };
        assert_eq!(recover(&bytes), expected, "bit {bit}");
        bytes[at] ^= 1 << (bit % 8);
    }
    let mut start = lines[0].len();
    let mut chain = ours(&lines[0]).chain;
    for (index, line) in lines[1..].iter().enumerate() {
        for bit in 0..line.len() * 8 {
            let at = start + bit / 8;
            bytes[at] ^= 1 << (bit % 8);
            assert_eq!(
                chain.read(&bytes[start..]),
                None,
                "bit {bit} of line {index}"
            );
            if bit % 19 == 0 {
                let found = ours(&bytes);
                assert_eq!((found.valid_len, found.chain), (start, chain));
                assert_eq!(found.records, records[..index]);
            }
            bytes[at] ^= 1 << (bit % 8);
        }
        chain = chain.read(line).unwrap().1;
        start += line.len();
    }
    assert_eq!(ours(&bytes).records, records);
}

/// One flipped bit in each word, number and mark of the long journal's lines.
#[test]
fn a_flip_in_every_field() {
    let records = story(256);
    let lines = lines(&header(), &records);
    let mut chain = ours(&lines[0]).chain;
    for line in &lines[1..] {
        let mut line = line.clone();
        let mut before = b' ';
        for at in 0..line.len() {
            let byte = line[at];
            if byte.is_ascii_alphanumeric() != before.is_ascii_alphanumeric() {
                line[at] ^= 1 << (at % 8);
                assert_eq!(
                    chain.read(&line),
                    None,
                    "{}",
                    String::from_utf8_lossy(&line)
                );
                line[at] = byte;
            }
            before = byte;
        }
        chain = chain.read(&line).unwrap().1;
    }
}

/// Lines that are whole but not where they were written end the valid prefix there.
#[test]
fn lines_out_of_place() {
    let records = story(12);
    let lines = lines(&header(), &records);
    let mut other = header();
    other.created += 1;
    let others = crate::journal::tests::lines(&other, &records);
    for at in 1..lines.len() - 1 {
        let mut swapped = lines.clone();
        swapped.swap(at, at + 1);
        let mut doubled = lines.clone();
        doubled.insert(at, lines[at].clone());
        let mut left_out = lines.clone();
        left_out.remove(at);
        let mut of_another = lines.clone();
        of_another[at].clone_from(&others[at]);
        let block = [&lines[..=at], &lines[1..]].concat();
        // (story, lines, how many records of them count)
        let rows = [
            ("swapped", swapped, at - 1),
            ("doubled", doubled, at),
            ("left out", left_out, at - 1),
            ("another journal's", of_another, at - 1),
            ("the start repeated", block, at),
        ];
        for (story, lines, count) in rows {
            let found = ours(&lines.concat());
            assert_eq!(found.records, records[..count], "{story} at line {at}");
        }
    }
}

/// What is not ours is told from what is ours and spoilt, and from what is too new.
#[test]
fn other_files() {
    let good = journal(&header(), &story(3));
    let newer = {
        let json = br#"{"what":"a later haul may say"}"#;
        let sum = crc32fast::hash(&[b"haul-journal 3 ", json.as_slice()].concat());
        let text = String::from_utf8_lossy(json);
        format!("haul-journal 3 {sum:08x} {text}\nand its records\n").into_bytes()
    };
    let older = {
        let json = &lines(&header(), &[])[0][b"haul-journal 1 00000000 ".len()..];
        let json = String::from_utf8_lossy(json.trim_ascii_end());
        let sum = crc32fast::hash(format!("haul-journal 0 {json}").as_bytes());
        format!("haul-journal 0 {sum:08x} {json}\n").into_bytes()
    };
    let mut newer_torn = newer.clone();
    newer_torn.truncate(40);
    let mut headless = good.clone();
    headless.drain(..5);
    let rows: &[(&str, &[u8], Recovery)] = &[
        ("empty", b"", Recovery::Damaged),
        ("zeros", &[0; 4096], Recovery::Damaged),
        ("the first words only", b"haul-jour", Recovery::Damaged),
        ("no line's end", &[b'h'; 1], Recovery::Damaged),
        ("no version", b"haul-journal  0\n", Recovery::Damaged),
        ("version 0", &older, Recovery::Damaged),
        (
            "version 01",
            b"haul-journal 01 00000000 {}\n",
            Recovery::Damaged,
        ),
        (
            "huge version",
            b"haul-journal 99999999999 00000000 {}\n",
            Recovery::Damaged,
        ),
        ("a later version", &newer, Recovery::Newer { version: 3 }),
        ("a later version, torn", &newer_torn, Recovery::Damaged),
        (
            "a later version, wrong sum",
            b"haul-journal 3 00000000 {}\n",
            Recovery::Damaged,
        ),
        ("not from its beginning", &headless, Recovery::Foreign),
        ("text", b"Dear diary,\n", Recovery::Foreign),
        ("a program", b"\x7fELF\x02\x01\x01\0\0\0", Recovery::Foreign),
        ("another haul", b"haul-journey 1\n", Recovery::Foreign),
    ];
    for (story, bytes, expected) in rows {
        assert_eq!(recover(bytes), *expected, "{story}");
    }
    assert_eq!(ours(&journal(&header(), &[])).records, []);
}

/// JSON that means the same but is written otherwise does not count, even with a right sum.
#[test]
fn one_encoding() {
    let right = r#"{"record":"lane_reset","lane":1}"#;
    let wrong = [
        r#"{"lane":1,"record":"lane_reset"}"#,
        r#"{"record":"lane_reset","lane":1 }"#,
        r#"{"record":"lane_reset","lane":1.0}"#,
        r#"{"record":"lane_reset","lane":01}"#,
        r#"{"record":"lane\u005freset","lane":1}"#,
        r#"{"record":"lane_reset","lane":1,"more":2}"#,
        r#"{"record":"lane_reset","lane":1,"lane":1}"#,
        r#"{"record":"lane_reset","lane":-1}"#,
        r#"{"record":"lane_lost","lane":1}"#,
        "1",
        "",
    ];
    let mut out = Vec::new();
    let chain = Chain::begin(&header(), &mut out).unwrap();
    let with_sum = |json: &str| {
        let mut hasher = crc32fast::Hasher::new_with_initial(chain.sum);
        hasher.update(json.as_bytes());
        format!("{:08x} {json}\n", hasher.finalize())
    };
    assert!(chain.read(with_sum(right).as_bytes()).is_some());
    let capitals = with_sum(right)[..8].to_uppercase() + &with_sum(right)[8..];
    assert_ne!(capitals, with_sum(right));
    assert_eq!(chain.read(capitals.as_bytes()), None);
    for json in wrong {
        assert_eq!(chain.read(with_sum(json).as_bytes()), None, "{json}");
    }
}

/// A line has a longest length, the same for writing and for reading, in every haul.
#[test]
fn longest_line() {
    let record = |len: usize| {
        let mut record = segment(0, 0);
        if let Record::Segment { receipt, .. } = &mut record {
            *receipt = Receipt {
                text: "x".repeat(len),
                host: None,
                expires: None,
            };
        }
        record
    };
    let mut bytes = journal(&header(), &[begun()]);
    let empty = lines(&header(), &[begun(), record(0)])[2].len();
    let mut chain = ours(&bytes).chain;
    let (before, len_before) = (chain, bytes.len());
    let longest = 65_536 - empty;
    assert_eq!(chain.push(&record(longest + 1), &mut bytes), Err(TooLong));
    assert_eq!((chain, bytes.len()), (before, len_before));
    assert_eq!(chain.push(&record(longest), &mut bytes), Ok(()));
    assert_eq!(ours(&bytes).records, [begun(), record(longest)]);
    let json = serde_json::to_vec(&record(longest + 1)).unwrap();
    let sum = extend(chain.sum, &json);
    let too_long = [format!("{sum:08x} ").as_bytes(), &json, b"\n"].concat();
    assert_eq!(too_long.len(), LINE_LEN_MAX + 1);
    assert_eq!(chain.read(&too_long), None);
}

/// An edit of a journal's bytes: a stretch replaced by other bytes, or by another stretch.
#[derive(Clone, Debug)]
enum Edit {
    Put(prop::sample::Index, usize, Vec<u8>),
    Copy(prop::sample::Index, prop::sample::Index, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (
            index(),
            0..300_usize,
            prop::collection::vec(any::<u8>(), 0..40)
        )
            .prop_map(|(at, len, bytes)| Edit::Put(at, len, bytes)),
        (index(), index(), 0..600_usize).prop_map(|(at, from, len)| Edit::Copy(at, from, len)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Arbitrary bytes, alone and after a good beginning, are survived; so is reading them again
    /// after cutting them to what is valid.
    #[test]
    fn garbage(bytes in prop::collection::vec(any::<u8>(), 0..300), good in 0..4_usize) {
        recover(&bytes);
        let start = [b"haul-journal 1 ".as_slice(), &bytes].concat();
        prop_assert_eq!(recover(&start), Recovery::Damaged);
        let whole = journal(&header(), &story(good));
        let found = ours(&[whole.clone(), bytes].concat());
        prop_assert_eq!(found.valid_len, whole.len());
        prop_assert_eq!(found.records, story(good));
    }

    /// Whatever is cut, copied and scribbled: what is recovered is a prefix of what was written.
    #[test]
    fn edits(edits in prop::collection::vec(edit(), 1..4)) {
        let records = story(12);
        let mut bytes = journal(&header(), &records);
        for edit in edits {
            let (at, len, new) = match edit {
                Edit::Put(at, len, new) => (at.index(bytes.len() + 1), len, new),
                Edit::Copy(at, from, len) => {
                    let from = from.index(bytes.len() + 1);
                    let end = bytes.len().min(from + len);
                    (at.index(bytes.len() + 1), 0, bytes[from..end].to_vec())
                }
            };
            let end = bytes.len().min(at + len);
            bytes.splice(at..end, new);
        }
        if let Recovery::Ours(found) = recover(&bytes) {
            prop_assert_eq!(&found.header, &header());
            prop_assert!(records.starts_with(&found.records));
            prop_assert_eq!(recover(&bytes[..found.valid_len]), Recovery::Ours(found));
        }
    }
}
