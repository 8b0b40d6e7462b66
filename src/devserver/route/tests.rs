//! What each path means: a row per shape, and garbage.

use http::Method;
use proptest::prelude::*;

use crate::devserver::exchange::Operation;
use crate::devserver::route::{Call, form_pairs, parse, parse_batched};

/// What a target is about, in one line: operation, bucket, key (`-` for no key), the rest as Debug.
fn summary(method: &str, target: &str) -> String {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    match parse(&method, target) {
        Call::Malformed { operation, message } => format!("{operation:?} 400 {message}"),
        Call::WrongMethod { operation } => format!("{operation:?} 405"),
        Call::Preflight => "pages".to_owned(),
        Call::Unknown => "404".to_owned(),
        call => {
            let subject = call.subject();
            let key = subject.key.map_or("-".to_owned(), |key| format!("{key:?}"));
            let bucket = subject.bucket.unwrap_or_default();
            format!("{:?} {bucket} {key}", call.operation())
        }
    }
}

/// Every kind of path, with the spellings that routers like to spoil.
const PATHS: &[(&str, &str, &str)] = &[
    ("POST", "/", "Form  -"),
    ("GET", "/", "Form 405"),
    ("OPTIONS", "/", "pages"),
    ("OPTIONS", "/mkblk/4194304", "pages"),
    ("OPTIONS", "/buckets/b/objects//uploads/id/1", "pages"),
    ("OPTIONS", "/v4/query?ak=a&bucket=b", "pages"),
    ("OPTIONS", "/stat/YjpmZw==", "Stat 405"),
    ("OPTIONS", "/batch", "Batch 405"),
    ("OPTIONS", "/.haul/objects/b/k", "Get 405"),
    ("OPTIONS", "*", "404"),
    ("POST", "/mkblk/4194304", "Mkblk  -"),
    ("POST", "/mkblk/-1", "Mkblk 400 invalid block size"),
    ("POST", "/mkblk/+1", "Mkblk 400 invalid block size"),
    ("POST", "/mkblk/", "Mkblk 400 invalid block size"),
    ("POST", "/mkblk", "404"),
    ("POST", "/mkblk/1/2", "404"),
    ("POST", "/bput/ctx/0", "Bput  -"),
    ("POST", "/bput/ctx/x", "Bput 400 invalid offset"),
    ("POST", "/mkfile/5", "Mkfile  -"),
    ("POST", "/mkfile/5/", "Mkfile  -"),
    ("POST", "/mkfile/5/key/", "Mkfile  \"\""),
    ("POST", "/mkfile/5/key/ay50eHQ=", "Mkfile  \"k.txt\""),
    ("POST", "/mkfile/5/key/ay50eHQ%3D", "Mkfile  \"k.txt\""),
    ("POST", "/mkfile/5/key/ay50eHQ%3d", "Mkfile  \"k.txt\""),
    ("POST", "/mkfile/5/x:a//key/aw==", "Mkfile  \"k\""),
    ("POST", "/mkfile/5/key", "Mkfile 400 invalid argument"),
    ("POST", "/mkfile/5/key/k", "Mkfile 400 invalid object name"),
    ("POST", "/mkfile/x", "Mkfile 400 invalid file size"),
    ("POST", "/putb64/-1/key/aw==", "Form  \"k\""),
    (
        "POST",
        "/buckets/b/objects/aw==/uploads",
        "Initiate b \"k\"",
    ),
    (
        "POST",
        "/buckets/b/objects/aw%3D%3D/uploads",
        "Initiate b \"k\"",
    ),
    ("POST", "/buckets/b/objects/~/uploads", "Initiate b -"),
    (
        "POST",
        "/buckets/b/objects/fg==/uploads",
        "Initiate b \"~\"",
    ),
    ("POST", "/buckets/b/objects//uploads", "Initiate b \"\""),
    (
        "POST",
        "/buckets/b/objects/k/uploads",
        "Initiate 400 invalid object name",
    ),
    (
        "POST",
        "/buckets//objects/~/uploads",
        "Initiate 400 invalid bucket name",
    ),
    ("PUT", "/buckets/b/objects//uploads/u/7", "Part b \"\""),
    (
        "PUT",
        "/buckets/b/objects/~/uploads/u/x",
        "Part 400 invalid part number",
    ),
    ("POST", "/buckets/b/objects/~/uploads/u/1", "Part 405"),
    ("POST", "/buckets/b/objects/~/uploads/u", "Complete b -"),
    ("GET", "/buckets/b/objects/~/uploads/u", "ListParts b -"),
    ("DELETE", "/buckets/b/objects/~/uploads/u", "Abort b -"),
    ("PATCH", "/buckets/b/objects/~/uploads/u", "Complete 405"),
    ("POST", "/buckets/b/objects/uploads", "404"),
    ("GET", "/stat/Yjpr", "Stat b \"k\""),
    ("POST", "/stat/Yjo=?needparts=true", "Stat b \"\""),
    ("GET", "/stat/Yg==", "Stat b -"),
    ("GET", "/stat/Y", "Stat 400 invalid entry"),
    ("POST", "/delete/Yjpr", "Delete b \"k\""),
    ("GET", "/delete/Yjpr", "Delete 405"),
    ("POST", "/move/Yjpr/Yjo=", "Manage b \"k\""),
    ("POST", "/move/Yjpr/Yjo=/force/true", "Manage b \"k\""),
    (
        "POST",
        "/copy/Yjpr/Yjo=/force/2",
        "Manage 400 invalid argument",
    ),
    (
        "POST",
        "/chgm/Yjpr/mime/YQ==/x-qn-meta-A/",
        "Manage b \"k\"",
    ),
    ("POST", "/chtype/Yjpr/type/1", "Manage b \"k\""),
    ("POST", "/chstatus/Yjpr/status/1", "Manage b \"k\""),
    ("POST", "/deleteAfterDays/Yjpr/3", "Manage b \"k\""),
    ("POST", "/lifecycle/Yjpr/toIAAfterDays/-1", "Manage b \"k\""),
    ("POST", "/batch", "Batch  -"),
    ("GET", "/list?bucket=b&limit=10&prefix=a%2F", "List b -"),
    ("POST", "/v2/list?bucket=b", "List b -"),
    ("GET", "/list?limit=0", "List 400 invalid list limit"),
    ("GET", "/v4/query?ak=a&bucket=b", "Query b -"),
    ("GET", "/v5/query?ak=a&bucket=b", "404"),
    ("GET", "/buckets", "Manage  -"),
    ("GET", "/regions", "Manage  -"),
    ("GET", "/.haul/objects/b/a/%E7%9B%AE?x", "Get b \"a/目\""),
    ("GET", "/.haul/objects/b/", "Get b \"\""),
    (
        "GET",
        "/.haul/objects/../x",
        "Get 400 invalid bucket or key",
    ),
    ("POST", "/.haul/control/release?n=1", "Unknown  -"),
    ("GET", "/favicon.ico", "404"),
    ("POST", "", "404"),
    ("POST", "//", "404"),
    ("POST", "/%ff", "Unknown 400 the path is not UTF-8"),
];
#[test]
fn paths() {
    for (method, target, expected) in PATHS {
        assert_eq!(summary(method, target), *expected, "{method} {target}");
    }
}

/// mkfile's pairs come in any order; names are literal, values decoded, empty values allowed.
#[test]
fn mkfile_fields() {
    let target = "/mkfile/4194305/mimeType/dGV4dC9wbGFpbg==/key/ay50eHQ=/fname/YmlnLmJpbg==\
                  /x:foo/YmFy/x-qn-meta-color/cmVk/X-Qn-Meta-!Last-Modified//x:e/";
    let Call::Mkfile(mkfile) = parse(&Method::POST, target) else {
        panic!("no mkfile");
    };
    let fields = mkfile.fields;
    assert_eq!(mkfile.object_len, 4_194_305);
    assert_eq!(fields.key.unwrap().as_str(), "k.txt");
    assert_eq!(fields.mime_type.as_deref(), Some("text/plain"));
    assert_eq!(fields.file_name.as_deref(), Some("big.bin"));
    let pair = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(pair).collect::<Vec<_>>();
    assert_eq!(fields.vars, pairs(&[("x:foo", "bar"), ("x:e", "")]));
    assert_eq!(
        fields.metadata,
        pairs(&[("color", "red"), ("!last-modified", "")])
    );
}

/// Both spellings of the marker are read, and pages are bounded.
#[test]
fn part_list_pages() {
    let rows = [
        ("", Some((1000, 0))),
        ("?max-parts=2&part-number-marker=7", Some((2, 7))),
        ("?part-number_marker=7", Some((1000, 7))),
        ("?max-parts=1001", None),
        ("?max-parts=0", None),
        ("?part-number-marker=x", None),
    ];
    for (query, expected) in rows {
        let target = format!("/buckets/b/objects/~/uploads/u{query}");
        let read = match parse(&Method::GET, &target) {
            Call::ListParts {
                max_parts, marker, ..
            } => Some((max_parts, marker)),
            _ => None,
        };
        assert_eq!(read, expected, "{query}");
    }
}

/// A batch holds calls about objects and nothing else.
#[test]
fn batched_operations() {
    assert_eq!(parse_batched("/stat/Yjpr").operation(), Operation::Stat);
    assert_eq!(parse_batched("delete/Yjpr").operation(), Operation::Delete);
    for other in ["/batch", "/mkblk/1", "", "/", "stat"] {
        assert_eq!(parse_batched(other), Call::Unknown, "{other}");
    }
}

/// Form pairs are decoded, blanks too, in their order.
#[test]
fn form_decoding() {
    let pairs = form_pairs("op=/stat/Yjpr&op=%2Fx+y&&z");
    let values: Vec<&str> = pairs.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values, ["/stat/Yjpr", "/x y", ""]);
}

proptest! {
    /// No text makes the parser panic, and what matches by chance is called what its front says.
    #[test]
    fn garbage(method in "[A-Z]{1,8}", target in ".{0,80}") {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let call = parse(&method, &target);
        if !target.starts_with('/') {
            prop_assert_eq!(call, Call::Unknown);
        } else {
            call.subject();
        }
    }

    /// The same with targets made of the words that matter.
    #[test]
    fn near_misses(words in proptest::collection::vec("mkblk|bput|mkfile|buckets|objects|uploads|~|stat|key|Yjpr|x:a|[0-9=%?&-]{0,6}", 0..9)) {
        let target = format!("/{}", words.join("/"));
        for method in [Method::POST, Method::PUT, Method::GET, Method::DELETE] {
            let call = parse(&method, &target);
            call.subject();
            if call.operation() == Operation::Part && !matches!(call, Call::WrongMethod { .. }) {
                prop_assert!(target.starts_with("/buckets/") && target.contains("/uploads/"));
            }
        }
    }
}
