//! The bandwidth limit in whole uploads: its pace, its changes, and that it is never the cause of
//! anything.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tokio::time::{sleep, timeout};

use crate::api::Api;
use crate::blocking::at_once::AtOnce;
use crate::client::tests::simulation::line::Line;
use crate::client::tests::simulation::network::{Hole, Kernels, Network, PipeDial};
use crate::client::tests::simulation::run::{ApiOver, WALL_START, locked};
use crate::client::{Put, Uploader, UploaderBuilder};
use crate::clock;
use crate::clock::virtual_wall::VirtualWall;
use crate::devserver::{DevServer, within};
use crate::events::Event;
use crate::kodo::Credentials;
use crate::model::FailureKind;
use crate::transport::Transport;
use crate::uploader::Protocol;

const FAST: u64 = 100_000_000;
const MIB: u64 = 1 << 20;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Runs `test` in virtual time.
pub(super) fn virtually<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let _at_once = AtOnce::begin();
    runtime.block_on(async {
        let _wall = VirtualWall::begin(SystemTime::UNIX_EPOCH + WALL_START);
        test.await
    })
}

/// An uploader, the network that it uses, and what it told.
pub(super) struct Limits {
    pub(super) network: Arc<Network>,
    pub(super) uploader: Uploader,
    pub(super) heard: Arc<Mutex<Vec<(Instant, Event)>>>,
}

impl Limits {
    /// Over a line of `rate` bits a second.
    pub(super) async fn new(
        rate: u64,
        holes: &[Hole],
        set: impl FnOnce(UploaderBuilder) -> UploaderBuilder,
    ) -> Self {
        let keys = Credentials::from_texts("mine", "hush").unwrap();
        Self::with_keys(rate, holes, &keys, set).await
    }

    /// The same, of an account with these keys.
    pub(super) async fn with_keys(
        rate: u64,
        holes: &[Hole],
        keys: &Credentials,
        set: impl FnOnce(UploaderBuilder) -> UploaderBuilder,
    ) -> Self {
        let kernels = Kernels {
            send_buffer: 128 * 1024,
            receive_buffer: 64 * 1024,
            reset_drops_unread: false,
        };
        let hosts = vec!["up0.sim:80".to_owned()];
        let line = Line::new(rate, Duration::from_millis(50));
        let network = Arc::new(Network::new(line, kernels, hosts.clone(), holes));
        let server = DevServer::builder().credentials(keys.clone());
        let server = server.within(&hosts).start().await.unwrap();
        network.serve(Some(server));
        let transport = Transport::new(Arc::new(PipeDial(Arc::clone(&network))));
        let api = Api::over(Arc::new(ApiOver(transport.clone())));
        let mut builder = Uploader::builder()
            .credentials(keys.access_key.as_str(), keys.secret_key.expose())
            .endpoint("http://up0.sim:80");
        builder.seed = Some(1);
        Self {
            network,
            uploader: set(builder).over(transport, api).unwrap(),
            heard: Arc::default(),
        }
    }

    /// An upload of `len` bytes that is told of.
    pub(super) fn put(&self, key: &str, len: u64) -> Put {
        let heard = Arc::clone(&self.heard);
        let put = self.uploader.put_data("b", key, content(len));
        put.on_event(move |event| locked(&heard).push((clock::instant(), event.clone())))
    }

    /// Bytes that were acknowledged from one moment to another, by what was told of one upload.
    fn acknowledged(&self, from: Instant, until: Instant) -> u64 {
        let at = |moment: Instant| {
            let heard = locked(&self.heard);
            let before = heard.iter().filter(|(at, _)| *at <= moment);
            let told = before.filter_map(|(_, event)| match event {
                Event::Progress {
                    acknowledged_bytes, ..
                } => Some(*acknowledged_bytes),
                _ => None,
            });
            told.max().unwrap_or(0)
        };
        at(until) - at(from)
    }

    /// Failures that were told.
    pub(super) fn failures(&self) -> Vec<(Instant, FailureKind)> {
        let heard = locked(&self.heard);
        let failures = heard.iter().filter_map(|(at, event)| match event {
            Event::Retrying { failure, .. } => Some((*at, failure.kind.clone())),
            _ => None,
        });
        failures.collect()
    }
}

fn content(len: u64) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

/// `bytes` in `time` are `rate` bytes a second, within 3 %.
fn assert_pace(story: &str, bytes: u64, time: Duration, rate: u64) {
    let due = rate * time.as_secs();
    let off = bytes.abs_diff(due) * 1000 / due;
    assert!(off <= 30, "{story}: {bytes} bytes in {time:?}, not {due}");
}

/// 8 KB/s for a minute, on fast lines and on one that carries just that, however the object travels;
/// evenly, and without a retry.
#[test]
fn keeps_its_pace() {
    type Set = fn(UploaderBuilder) -> UploaderBuilder;
    let rows: [(&str, u64, Set); 6] = [
        ("form", FAST, |it| it.threshold(u64::MAX)),
        ("blocks", FAST, |it| it.protocol(Protocol::V1)),
        ("parts in 4 lanes", FAST, |it| {
            it.protocol(Protocol::V2).window(4).part_size(MIB)
        }),
        ("16 lanes", FAST, |it| it.protocol(Protocol::V1).window(16)),
        ("64 kbit/s, form", 64_000, |it| it.threshold(u64::MAX)),
        ("64 kbit/s, 16 lanes", 64_000, |it| it.window(16)),
    ];
    for (story, rate, set) in rows {
        virtually(async {
            let limits = Limits::new(rate, &[], |it| set(it.limit_rate(8_000))).await;
            let began = clock::instant();
            let ended = timeout(seconds(80), limits.put("k", 64 * MIB)).await;
            assert!(ended.is_err(), "{story}: it ended early");
            let minute = limits.acknowledged(began + seconds(15), began + seconds(75));
            assert_pace(story, minute, seconds(60), 8_000);
            for second in 15..75 {
                let from = began + seconds(second);
                let moved = limits.acknowledged(from, from + seconds(1));
                assert!(
                    (4_000..12_000).contains(&moved),
                    "{story}: {moved} in a second"
                );
            }
            assert_eq!(limits.failures(), [], "{story}");
        });
    }
}

/// 100 B/s is below the floor, and no segment gets done within any limit: for half an hour nothing is
/// given up, and then the limit goes and the upload ends.
#[test]
fn causes_no_timeout() {
    for lanes in [1, 16] {
        virtually(async {
            let limits = Limits::new(FAST, &[], |it| {
                it.limit_rate(100)
                    .window(lanes)
                    .protocol(Protocol::V1)
                    .stall_timeout(seconds(5))
                    .response_timeout(seconds(5))
                    .part_timeout(seconds(5))
                    .retry_budget(seconds(5))
            })
            .await;
            let began = clock::instant();
            let mut put = Box::pin(limits.put("k", 64 * MIB).into_future());
            assert!(timeout(seconds(1_800), put.as_mut()).await.is_err());
            let from = began + seconds(300);
            let moved = limits.acknowledged(from, from + seconds(1_500));
            assert_pace("100 B/s", moved, seconds(1_500), 100);
            limits.uploader.set_limit_rate(None).unwrap();
            let done = timeout(seconds(60), put).await.expect("an end").unwrap();
            assert_eq!((done.sent_bytes, done.resent_bytes), (64 * MIB, 0));
            assert_eq!(limits.failures(), [], "{lanes} lanes");
            let store = limits.network.with_server(DevServer::keepings).unwrap();
            let stored = within::object(&store, "b", "k").await;
            assert!(stored == Some(content(64 * MIB)), "another object");
        });
    }
}

/// A clone changes the limit of an upload that is under way, up and down.
#[test]
fn changes_while_it_runs() {
    virtually(async {
        let limits = Limits::new(FAST, &[], |it| it.limit_rate(8_000)).await;
        let clone = limits.uploader.clone();
        let mut put = Box::pin(limits.put("k", 64 * MIB).into_future());
        for rate in [8_000, 80_000, 1_000, 333_000] {
            clone.set_limit_rate(Some(rate)).unwrap();
            assert_eq!(limits.uploader.limit_rate(), Some(rate));
            assert!(timeout(seconds(65), put.as_mut()).await.is_err());
            let now = clock::instant();
            let moved = limits.acknowledged(now - seconds(60), now);
            assert_pace("changed", moved, seconds(60), rate);
        }
        assert!(clone.set_limit_rate(Some(0)).is_err());
        assert_eq!(limits.uploader.limit_rate(), Some(333_000));
        assert_eq!(limits.failures(), []);
    });
}

/// Two uploads of one uploader share its limit evenly.
#[test]
fn uploads_share_it() {
    virtually(async {
        let limits = Limits::new(FAST, &[], |it| it.limit_rate(20_000).threshold(u64::MAX)).await;
        let [one, other] = [("one", MIB), ("other", MIB)].map(|(key, len)| limits.put(key, len));
        let began = clock::instant();
        let (one, other) = tokio::join!(async { (one.await.unwrap(), clock::instant()) }, async {
            (other.await.unwrap(), clock::instant())
        },);
        for (_, ended) in [one, other] {
            let took = (ended - began).as_millis() as u64;
            let due = 2 * MIB * 1_000 / 20_000;
            assert!(took.abs_diff(due) * 100 / due <= 3, "{took} ms, not {due}");
        }
    });
}

/// A connection that dies is found as soon as without a limit, however little the limit lets out.
#[test]
fn hides_no_dead_connection() {
    for rate in [100, 1_000, 8_000] {
        virtually(async {
            let hole = Hole {
                connection: 1,
                after_bytes: rate * 20,
                up: true,
                down: true,
            };
            let limits = Limits::new(FAST, &[hole], |it| it.limit_rate(rate).window(1)).await;
            let began = clock::instant();
            assert!(
                timeout(seconds(120), limits.put("k", 8 * MIB))
                    .await
                    .is_err()
            );
            let failures = limits.failures();
            let [(at, FailureKind::Stalled)] = failures.as_slice() else {
                panic!("{rate} B/s: {failures:?}");
            };
            let after = *at - began;
            assert!(
                after >= seconds(45) && after <= seconds(56),
                "{rate} B/s: {after:?}"
            );
            // It goes on at once.
            sleep(seconds(1)).await;
            assert!(limits.acknowledged(*at, *at + seconds(40)) < rate * 41);
        });
    }
}
