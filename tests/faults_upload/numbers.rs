//! What operators are told: the counters of the `metrics` facade, as they are for one upload.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use haul::Uploader;
use haul::devserver::DevServer;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::world::Ended;

/// An upload that nobody awaits any more is counted, too.
#[tokio::test]
async fn the_dropped_are_counted() {
    let server = DevServer::builder().start().await.unwrap();
    let keys = server.credentials();
    let uploader = Uploader::builder()
        .credentials(keys.access_key.as_str(), keys.secret_key.expose())
        .endpoint(server.url())
        .build()
        .unwrap();
    let numbers = Numbers::default();
    let mut put = uploader.put_data("b", "k", "x").into_future();
    metrics::with_local_recorder(&numbers, || {
        assert!((&mut put).now_or_never().is_none());
        assert_eq!(numbers.level("haul_uploads_running"), 1.0);
        drop(put);
    });
    assert_eq!(numbers.level("haul_uploads_running"), 0.0);
    assert_eq!(numbers.sum("haul_uploads_total"), 1);
    assert_eq!(numbers.sum("haul_uploads_total outcome=dropped"), 1);
}

/// Keeps every counter and gauge, by name and labels.
#[derive(Clone, Default)]
pub(crate) struct Numbers {
    kept: Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>,
}

impl Numbers {
    /// What `work` comes to, its numbers counted here; those of tasks beside it are not.
    pub(crate) async fn of<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|context| {
            metrics::with_local_recorder(self, || work.as_mut().poll(context))
        })
        .await
    }

    /// The sum over all labels of what begins with `name`.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        let kept = self.kept.lock().unwrap();
        let named = kept.iter().filter(|(known, _)| known.starts_with(name));
        named.map(|(_, value)| value.load(Ordering::Relaxed)).sum()
    }

    /// The same as a number that may have gone up and down.
    fn level(&self, name: &str) -> f64 {
        f64::from_bits(self.sum(name))
    }

    fn value(&self, key: &Key) -> Arc<AtomicU64> {
        let labels = key
            .labels()
            .map(|label| format!(" {}={}", label.key(), label.value()));
        let name = labels.fold(key.name().to_owned(), |name, label| name + &label);
        Arc::clone(self.kept.lock().unwrap().entry(name).or_default())
    }

    /// They add up for an upload that resumed nothing, whatever happened to it.
    #[track_caller]
    pub(crate) fn check(&self, ended: &Ended, story: &str) {
        let acknowledged = self.sum("haul_bytes_acknowledged_total");
        let uploads = self.sum("haul_uploads_total");
        assert_eq!(uploads, 1, "{story}");
        assert_eq!(self.level("haul_uploads_running"), 0.0, "{story}");
        let Ok(done) = &ended.result else {
            assert_eq!(self.sum("haul_bytes_stored_total"), 0, "{story}");
            return;
        };
        let resent = self.sum("haul_bytes_resent_total");
        assert_eq!(acknowledged, done.size + resent, "{story}");
        assert_eq!(resent, done.resent_bytes, "{story}");
        assert_eq!(self.sum("haul_bytes_stored_total"), done.size, "{story}");
        assert_eq!(self.sum("haul_uploads_total outcome=done"), 1, "{story}");
        assert!(self.sum("haul_attempts_total") > 0, "{story}");
    }
}

impl Recorder for Numbers {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.value(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.value(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
