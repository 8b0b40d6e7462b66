//! Where a bucket lives: the bucket query of version 4.
//!
//! Source: protocol reference, section 2.1.

use std::time::{Duration, SystemTime};

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::kodo::credentials::AccessKey;
use crate::kodo::failure::{not_kodo, read_json};
use crate::model::{Answer, Bucket, Endpoint, Failure, FailureKind, Request};

/// Hosts that answer the bucket query, in the order to ask them.
pub const QUERY_HOSTS: [&str; 3] = ["uc.qiniuapi.com", "kodo-config.qiniuapi.com", "uc.qbox.me"];

/// How long an answer holds that does not say it: one day, as the SDKs take it.
const TTL: Duration = Duration::from_secs(86_400);

/// Longest life believed: 30 days. More is a mistake, and would overflow somebody's clock.
const TTL_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Most regions taken from an answer. Two are known; nine exist.
const REGIONS_MAX: usize = 16;

/// Most hosts of one kind taken from an answer. Two to four are known.
const HOSTS_MAX: usize = 16;

/// What stands in a query as it is. Source: RFC 3986, section 2.3.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// `GET /v4/query?ak=…&bucket=…`, without a signature.
pub fn query(access_key: &AccessKey, bucket: &Bucket) -> Request {
    let access_key = query_value(access_key.as_str());
    let bucket = query_value(bucket.as_str());
    Request::new(
        Method::GET,
        format!("/v4/query?ak={access_key}&bucket={bucket}"),
    )
}

/// `text` as the value of a query's parameter.
pub(crate) fn query_value(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string()
}

/// The hosts of one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// `z0`, `cn-east-2`, …
    pub id: String,
    /// How long to believe this.
    pub ttl: Duration,
    /// Upload hosts, best first. Never empty.
    pub up: Vec<Endpoint>,
    /// Upload hosts under their former names.
    pub up_old: Vec<Endpoint>,
    /// Upload hosts of transfer acceleration, where the bucket has it.
    pub up_accelerated: Vec<Endpoint>,
    /// Hosts of stat and delete.
    pub rs: Vec<Endpoint>,
    /// Hosts of list.
    pub rsf: Vec<Endpoint>,
}

impl Region {
    /// Every upload host, best first: those of today, then those under their former names.
    pub fn all_up(&self) -> Vec<Endpoint> {
        self.up.iter().chain(&self.up_old).cloned().collect()
    }
}

/// The regions of a bucket: its home first, then those that may stand in for it. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regions(Vec<Region>);

impl Regions {
    /// Reads the answer to the bucket query. Hosts without a scheme, which is all of them, are
    /// called by https when `https` is set.
    ///
    /// Only id, ttl and upload hosts are needed; a region without any is left out.
    pub fn read(answer: &Answer, https: bool, now: SystemTime) -> Result<Self, Failure> {
        let wire: RegionsWire = read_json(answer, now).map_err(on_bucket)?;
        let regions: Vec<Region> = wire
            .hosts
            .into_iter()
            .map(|region| region.read(https))
            .filter(|region| !region.up.is_empty())
            .take(REGIONS_MAX)
            .collect();
        if regions.is_empty() {
            return Err(not_kodo(answer, now, "a bucket query without upload hosts"));
        }
        Ok(Self(regions))
    }

    /// These regions, home first; none without any, or where one has no upload host.
    pub fn of(regions: Vec<Region>) -> Option<Self> {
        let is_some = !regions.is_empty() && regions.iter().all(|region| !region.up.is_empty());
        is_some.then_some(Self(regions))
    }

    /// The bucket's own region.
    pub fn home(&self) -> &Region {
        &self.0[0]
    }

    /// How long to believe this: as long as the part of it that ages fastest.
    pub fn ttl(&self) -> Duration {
        let ttls = self.0.iter().map(|region| region.ttl);
        ttls.min().unwrap_or_default()
    }

    /// All of them, home first.
    pub fn all(&self) -> &[Region] {
        &self.0
    }
}

/// The query names a bucket and no object: a 612, as older text has it, is about the bucket.
fn on_bucket(mut failure: Failure) -> Failure {
    if failure.kind == FailureKind::NoSuchObject {
        failure.kind = FailureKind::NoSuchBucket;
    }
    failure
}

#[derive(Deserialize)]
struct RegionsWire {
    hosts: Vec<RegionWire>,
}

#[derive(Deserialize)]
struct RegionWire {
    #[serde(default)]
    region: String,
    ttl: Option<u64>,
    #[serde(default)]
    up: HostsWire,
    #[serde(default)]
    rs: HostsWire,
    #[serde(default)]
    rsf: HostsWire,
}

#[derive(Default, Deserialize)]
struct HostsWire {
    domains: Option<Vec<String>>,
    old: Option<Vec<String>>,
    acc_domains: Option<Vec<String>>,
}

impl RegionWire {
    fn read(self, https: bool) -> Region {
        let endpoints = |hosts: Option<Vec<String>>| -> Vec<Endpoint> {
            // A host that is none is passed over: the others may do.
            let hosts = hosts.unwrap_or_default();
            let read = |host: String| Endpoint::parse(&host, https).ok();
            hosts.into_iter().filter_map(read).take(HOSTS_MAX).collect()
        };
        Region {
            id: self.region,
            ttl: self.ttl.map_or(TTL, Duration::from_secs).min(TTL_MAX),
            up: endpoints(self.up.domains),
            up_old: endpoints(self.up.old),
            up_accelerated: endpoints(self.up.acc_domains),
            rs: endpoints(self.rs.domains),
            rsf: endpoints(self.rsf.domains),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, StatusCode};
    use proptest::prelude::*;

    fn read(status: u16, body: &str) -> Result<Regions, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert("x-reqid", HeaderValue::from_static("r"));
        let answer = Answer {
            status: StatusCode::from_u16(status).expect("three digits"),
            headers,
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        Regions::read(&answer, true, SystemTime::UNIX_EPOCH)
    }

    fn names(endpoints: &[Endpoint]) -> Vec<String> {
        endpoints.iter().map(Endpoint::to_string).collect()
    }

    /// Exactly the query that the SDKs send, with text that needs it escaped.
    #[test]
    fn queries() {
        let bucket = Bucket::new("my-bucket").expect("a fine name");
        for (key, expected) in [
            (
                "MY_ACCESS_KEY",
                "/v4/query?ak=MY_ACCESS_KEY&bucket=my-bucket",
            ),
            ("a&b=c+d", "/v4/query?ak=a%26b%3Dc%2Bd&bucket=my-bucket"),
        ] {
            let key = AccessKey::new(key).expect("a fine key");
            assert_eq!(query(&key, &bucket).target, expected);
        }
    }

    /// The least that is needed is enough, and what is not usable is passed over.
    #[test]
    fn answers() {
        let least = r#"{"hosts":[{"region":"z0","up":{"domains":["a.b:81","not a host"]}}]}"#;
        let regions = read(200, least).expect("enough");
        assert_eq!(names(&regions.home().up), ["https://a.b:81"]);
        assert_eq!(regions.home().ttl, TTL);
        assert!(regions.home().rs.is_empty());
        let second = r#"{"hosts":[{"region":"x","ttl":18446744073709551615},
            {"region":"z1","ttl":18446744073709551615,"up":{"domains":["c.d"],"acc_domains":null}}]}"#;
        let regions = read(200, second).expect("one region is usable");
        assert_eq!((regions.home().id.as_str(), regions.all().len()), ("z1", 1));
        assert_eq!(
            regions.home().ttl,
            Duration::from_secs(2_592_000),
            "30 days"
        );
        for (status, body, kind) in [
            (200, r#"{"hosts":[]}"#, FailureKind::NotKodo),
            (200, r#"{"up":{}}"#, FailureKind::NotKodo),
            (200, "<html>", FailureKind::NotKodo),
            (
                631,
                r#"{"error":"no such bucket"}"#,
                FailureKind::NoSuchBucket,
            ),
            (
                612,
                r#"{"error":"no such entry"}"#,
                FailureKind::NoSuchBucket,
            ),
        ] {
            assert_eq!(read(status, body).expect_err(body).kind, kind);
        }
    }

    proptest! {
        /// Answers of any bytes are read or refused.
        #[test]
        fn reading_never_panics(body: String, hosts: Vec<String>, ttl: i64) {
            let json = serde_json::json!(
                {"hosts": [{"region": body, "ttl": ttl, "up": {"domains": hosts}}]}
            );
            let _ = read(200, &body);
            let _ = read(200, &json.to_string());
        }
    }
}
