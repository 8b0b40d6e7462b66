//! The hosts of a bucket's region: this very server, by each of its names.
//!
//! Source: protocol reference, section 2.1.

use serde_json::{Value, json};

use crate::devserver::exchange::Reply;

/// The region's id: a real one, since some SDKs know only those.
const REGION: &str = "z0";

/// How long an SDK may keep the answer, in seconds: Kodo's own value.
const TTL_SECS: u64 = 86_400;

/// Services other than uploading that an SDK may look for, all of them here.
const SERVICES: [&str; 7] = ["io", "io_src", "rs", "rsf", "api", "uc", "s3"];

/// Answers `/v2/query`, `/v3/query` or `/v4/query`. `hosts` are `host:port` names in order of
/// preference, `is_known` whether the access key and the bucket are.
pub(crate) fn query(version: u8, hosts: &[String], key_known: bool, bucket_known: bool) -> Reply {
    // The status for an unknown access key is not certain; 612 is what older texts name.
    if !key_known {
        return Reply::error(612, "no such access key");
    }
    if !bucket_known {
        return Reply::error(631, "no such bucket");
    }
    let region = match version {
        4 => region(
            json!({ "domains": hosts, "old": [] }),
            hosts,
            |hosts| json!({ "domains": hosts }),
        ),
        _ => region(
            older(hosts),
            hosts,
            |hosts| json!({ "acc": { "main": hosts }, "src": { "main": hosts } }),
        ),
    };
    match version {
        2 => Reply::json(200, &region),
        _ => Reply::json(200, &json!({ "hosts": [region] })),
    }
}

/// Answers `/regions`.
pub(crate) fn regions() -> Reply {
    let region = json!({ "id": REGION, "description": "haul dev server" });
    Reply::json(200, &json!({ "regions": [region] }))
}

fn region(up: Value, hosts: &[String], service: impl Fn(&[String]) -> Value) -> Value {
    let mut region = json!({ "region": REGION, "ttl": TTL_SECS, "up": up });
    for name in SERVICES {
        region[name] = service(hosts);
    }
    region["s3"]["region_alias"] = json!("cn-east-1");
    region
}

/// `up` of the versions 2 and 3: the first host, and the others as its backup.
fn older(hosts: &[String]) -> Value {
    let (main, backup) = hosts.split_at(hosts.len().min(1));
    let group = json!({ "main": main, "backup": backup });
    json!({
        "acc": group,
        "src": group,
        "old_acc": { "main": [], "info": "" },
        "old_src": { "main": [], "info": "" },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devserver::exchange::ReplyBody;

    fn body(reply: &Reply) -> Value {
        match &reply.body {
            ReplyBody::Bytes(bytes) => serde_json::from_slice(bytes).unwrap(),
            ReplyBody::Stream { .. } => panic!("JSON was due"),
        }
    }

    /// Every version names all hosts for uploading, in order, where its readers look for them.
    #[test]
    fn every_shape_names_this_server() {
        let hosts = ["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()];
        let rows = [
            (2, "/up/acc/main/0", "/up/acc/backup/0", "/rs/acc/main/0"),
            (2, "/up/src/main/0", "/up/src/backup/0", "/io/src/main/0"),
            (
                3,
                "/hosts/0/up/acc/main/0",
                "/hosts/0/up/src/backup/0",
                "/hosts/0/api/acc/main/0",
            ),
            (
                4,
                "/hosts/0/up/domains/0",
                "/hosts/0/up/domains/1",
                "/hosts/0/rsf/domains/0",
            ),
            (
                4,
                "/hosts/0/uc/domains/0",
                "/hosts/0/s3/domains/1",
                "/hosts/0/io_src/domains/0",
            ),
        ];
        for (version, first, second, service) in rows {
            let reply = query(version, &hosts, true, true);
            let body = body(&reply);
            assert_eq!(reply.status, 200);
            let found = [first, second, service].map(|at| body.pointer(at).and_then(Value::as_str));
            let expected = [&hosts[0], &hosts[1], &hosts[0]].map(|host| Some(host.as_str()));
            assert_eq!(found, expected, "version {version}");
        }
        assert_eq!(query(4, &hosts, true, false).status, 631);
        assert_eq!(query(4, &hosts, false, true).status, 612);
    }
}
