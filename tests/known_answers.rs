//! The Kodo dialect against every known answer of the protocol, through the public interface.
//!
//! The answers are in `fixtures/kodo/`, and none of them was made by haul.

use haul::kodo::{AccessKey, BLOCK_LEN, Credentials, Etag, EtagHasher, SecretKey};
use haul::kodo::{PutPolicy, UploadToken, encode, signature};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

fn fixture(text: &str) -> Value {
    serde_json::from_str(text).expect("a fixture is JSON")
}

fn rows<'a>(fixture: &'a Value, name: &str) -> &'a [Value] {
    let rows = fixture[name].as_array().expect("a fixture has rows");
    assert!(!rows.is_empty(), "{name}");
    rows
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name]
        .as_str()
        .unwrap_or_else(|| panic!("{row} has no {name}"))
}

fn credentials(fixture: &Value) -> Credentials {
    Credentials::new(
        AccessKey::new(text(fixture, "access_key")).expect("a fine key"),
        SecretKey::new(text(fixture, "secret_key")).expect("a fine key"),
    )
}

/// The one base64 variant, both ways.
#[test]
fn base64() {
    let fixture = fixture(include_str!("../fixtures/kodo/b64u.json"));
    for row in rows(&fixture, "rows") {
        let (plain, encoded) = (text(row, "text"), text(row, "b64u"));
        assert_eq!(encode::b64u(plain), encoded);
        assert_eq!(
            encode::b64u_decode(encoded),
            Some(plain.as_bytes().to_vec())
        );
    }
}

/// Signing the given JSON gives the given token; the token can be read and verified again. Where
/// our own writer has the same field order, it gives the same bytes.
#[test]
fn tokens() {
    let fixture = fixture(include_str!("../fixtures/kodo/tokens.json"));
    let keys = credentials(&fixture);
    let mut same_bytes = 0;
    for row in rows(&fixture, "rows") {
        let json = text(row, "policy");
        let token = UploadToken::sign_json(&keys, json).expect("a fine policy");
        match row["token"].as_str() {
            Some(expected) => assert_eq!(token.expose(), expected, "{row}"),
            None => assert_eq!(token.expose().split(':').nth(1), row["sign"].as_str()),
        }
        let read = UploadToken::parse(token.expose()).expect("our own token");
        assert!(read.is_signed_by(&keys));
        assert_eq!(read.policy(), token.policy());
        assert_eq!(read.access_key(), "MY_ACCESS_KEY");
        assert_eq!(read.policy().check(), Ok(()));
        let policy = PutPolicy::new(read.policy().scope.clone(), read.policy().deadline);
        if policy.to_json() == json {
            same_bytes += 1;
            assert_eq!(UploadToken::sign(&keys, &policy).expose(), token.expose());
        }
    }
    assert_eq!(
        same_bytes, 2,
        "the first two vectors are scope and deadline only"
    );
}

/// Both management schemes, made and verified; a changed request does not verify.
#[test]
fn signatures() {
    let fixture = fixture(include_str!("../fixtures/kodo/signatures.json"));
    let keys = credentials(&fixture);
    for row in rows(&fixture, "rows") {
        let mut headers = HeaderMap::new();
        for (name, value) in row["headers"].as_object().expect("an object") {
            headers.insert(
                HeaderName::try_from(name).expect("a name"),
                HeaderValue::from_str(value.as_str().expect("a text")).expect("a value"),
            );
        }
        let request = signature::Signable {
            method: text(row, "method"),
            target: text(row, "target"),
            host: text(row, "host"),
            content_type: row["content_type"].as_str(),
            headers: &headers,
            body: text(row, "body").as_bytes(),
        };
        let made = match text(row, "scheme") {
            "QBox" => signature::qbox(&keys, &request),
            _ => signature::qiniu(&keys, &request),
        };
        let expected = format!(
            "{} MY_ACCESS_KEY:{}",
            text(row, "scheme"),
            text(row, "sign")
        );
        assert_eq!(made, expected, "{row}");
        assert_eq!(
            keys.sign(text(row, "signed_text").as_bytes()),
            text(row, "sign")
        );
        assert!(signature::verify(&keys, &made, &request), "{row}");
        let other = signature::Signable {
            target: "/other",
            ..request
        };
        assert!(!signature::verify(&keys, &made, &other), "{row}");
    }
}

/// Pattern S of the reference.
fn pattern_s(len: u64) -> Vec<u8> {
    (0..len).map(|at| (at % 256) as u8).collect()
}

fn number(row: &Value, name: &str) -> u64 {
    row[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{row} has no {name}"))
}

/// The hash over blocks, of content in memory and of content that streams, with crc32 and md5.
#[test]
fn etags_of_blocks() {
    let fixture = fixture(include_str!("../fixtures/kodo/etags.json"));
    let longest = pattern_s(4 * BLOCK_LEN);
    for row in rows(&fixture, "pattern_s") {
        let content = &longest[..number(row, "bytes") as usize];
        assert_eq!(Etag::of(content).to_string(), text(row, "etag"), "{row}");
        let mut hasher = EtagHasher::new();
        content
            .chunks(1_000_003)
            .for_each(|piece| hasher.update(piece));
        assert_eq!(hasher.finish().to_string(), text(row, "etag"), "{row}");
        assert_eq!(
            u64::from(crc32fast::hash(content)),
            number(row, "crc32"),
            "{row}"
        );
        assert_eq!(md5_hex(content), text(row, "md5"), "{row}");
    }
    for row in rows(&fixture, "texts") {
        assert_eq!(
            Etag::of(text(row, "text").as_bytes()).to_string(),
            text(row, "etag")
        );
    }
    for row in rows(&fixture, "zeros") {
        let content = vec![0; number(row, "bytes") as usize];
        assert_eq!(Etag::of(&content).to_string(), text(row, "etag"), "{row}");
    }
    for row in rows(&fixture, "vendor_unit") {
        let content = vendor_units(number(row, "bytes"));
        assert_eq!(Etag::of(&content).to_string(), text(row, "etag"), "{row}");
    }
}

fn md5_hex(content: &[u8]) -> String {
    use md5::Digest as _;
    let digest = md5::Md5::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The vendor's unit of 4096 bytes, repeated.
fn vendor_units(len: u64) -> Vec<u8> {
    let unit = format!("A{}\r\n", "b".repeat(4093)).into_bytes();
    unit.iter().copied().cycle().take(len as usize).collect()
}

/// The hash over parts, from the parts' own hashes only.
#[test]
fn etags_of_parts() {
    let fixture = fixture(include_str!("../fixtures/kodo/etags.json"));
    let lens = |row: &Value| -> Vec<u64> {
        let parts = row["parts"].as_array().expect("parts");
        parts
            .iter()
            .map(|len| len.as_u64().expect("a length"))
            .collect()
    };
    let of_lens = |content: &[u8], lens: &[u64]| {
        let mut rest = content;
        let parts: Vec<(u64, Etag)> = lens
            .iter()
            .map(|len| {
                let (part, later) = rest.split_at(*len as usize);
                rest = later;
                (*len, Etag::of(part))
            })
            .collect();
        Etag::of_parts(&parts).to_string()
    };
    let longest = pattern_s(20 * 1024 * 1024);
    for row in rows(&fixture, "pattern_s_parts") {
        assert_eq!(of_lens(&longest, &lens(row)), text(row, "etag"), "{row}");
    }
    let longest = vendor_units(9 * 1024 * 1024);
    for row in rows(&fixture, "vendor_unit_parts") {
        assert_eq!(of_lens(&longest, &lens(row)), text(row, "etag"), "{row}");
    }
    for row in rows(&fixture, "text_parts") {
        let parts = row["parts"].as_array().expect("parts");
        let words: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
        let lens: Vec<u64> = words.iter().map(|word| word.len() as u64).collect();
        assert_eq!(
            of_lens(words.concat().as_bytes(), &lens),
            text(row, "etag"),
            "{row}"
        );
    }
}

/// Entries keep "no key" and "the empty key" apart.
#[test]
fn entries() {
    let bucket = haul::model::Bucket::new("my-bucket").expect("a fine name");
    let key = |text: &str| haul::model::ObjectKey::new(text).expect("a short key");
    for (key, expected) in [
        (None, "bXktYnVja2V0"),
        (Some(key("")), "bXktYnVja2V0Og=="),
        (Some(key("a.txt")), "bXktYnVja2V0OmEudHh0"),
    ] {
        assert_eq!(encode::entry(&bucket, key.as_ref()), expected);
    }
}
