//! Values that cannot be.

use super::*;
use crate::client::times::STALL_TIMEOUT_MIN;

/// Values that would end every upload, or none, are refused before anything is sent.
#[test]
fn values_that_cannot_be() {
    type Set = fn(UploaderBuilder) -> UploaderBuilder;
    let rows: [(Set, &str); 13] = [
        (|it| it.stall_timeout(Duration::from_millis(999)), "999ms"),
        (
            |it| it.connect_timeout(Duration::from_nanos(1)),
            "connect_timeout of 1ns is too short: it must be at least 10ms",
        ),
        (
            |it| it.response_timeout(Duration::ZERO),
            "response_timeout of 0ns",
        ),
        (
            |it| it.commit_timeout(Duration::from_micros(9_999)),
            "commit_timeout of 9.999ms",
        ),
        (|it| it.part_timeout(Duration::ZERO), "part_timeout of 0ns"),
        (|it| it.retry_budget(Duration::ZERO), "retry_budget of 0ns"),
        (
            |it| it.proxy("http://p:1").no_proxy("a.example, *.b.example"),
            "no_proxy is wrong: `*.b.example` can match nothing",
        ),
        (|it| it.no_proxy("10.0.0.0/33"), "`10.0.0.0/33`"),
        (|it| it.window(0), "0 lanes"),
        (|it| it.window(17), "17 lanes"),
        (|it| it.part_size(1), "a part of 1 bytes"),
        (|it| it.limit_rate(0), "0 bytes a second"),
        (|it| it.upload_token("none"), "token"),
    ];
    for (set, expected) in rows {
        let refused = set(Uploader::builder()).build().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config, "{refused}");
        assert!(refused.to_string().contains(expected), "{refused}");
    }
    let least = Uploader::builder().stall_timeout(STALL_TIMEOUT_MIN);
    assert!(least.min_rate(0).build().is_ok());
}
