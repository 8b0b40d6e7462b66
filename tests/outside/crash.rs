//! A server killed with SIGKILL at any moment never serves a torn object and forgets nothing that
//! it has acknowledged.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use crate::support::content::{self, BLOCK, MIB};
use crate::support::http::{self, Answer, Request};
use crate::support::server::{Listening, Server};
use crate::support::sign;
use crate::support::upload::{WAYS, Way, upload};

/// The bucket of these tests.
const BUCKET: &str = "crash-bucket";

/// The key that all clients of the random test overwrite.
const CONTENDED: &str = "contended";

/// How often the random test kills the server.
const KILLS: usize = 24;

/// Bytes that leave between two kills: somewhere up to two uploads of the clients together, so that
/// kills fall into bodies, between requests and into commits.
const BYTES_BETWEEN_KILLS_MAX: u64 = 24 << 20;

/// Clients of the random test.
const CLIENTS: u64 = 4;

/// How long the clients may take to send [`BYTES_BETWEEN_KILLS_MAX`] on a loaded machine.
const STANDSTILL_MAX: Duration = Duration::from_secs(120);

/// Sends of one request after which the test gives up: far above [`KILLS`], and minutes of a server that
/// dies slowly, since its disk is busy.
const SENDS_MAX: usize = 100_000;

/// The server is killed before every single request of an upload, and after the last: every ctx, part
/// and upload id goes on, and the object is whole.
#[test]
fn killed_between_any_two_requests() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(&folder.path().join("root"));
    let bytes = content::bytes(1, BLOCK + BLOCK / 2);
    for way in WAYS {
        let key = format!("between/{way:?}");
        let listening = server.listening.clone();
        let mut send = |request: Request| {
            server.crash();
            let answer = http::call(listening.address, &request).expect("an answer");
            assert_eq!(answer.status, 200, "{} {answer:?}", request.target);
            answer
        };
        let answer = upload(way, &listening, BUCKET, &key, &bytes, &mut send);
        server.crash();
        assert_eq!(answer.json()["hash"], way.hash(&bytes));
        let object = server.object(BUCKET, &key).expect("it is there");
        assert!(object.body == bytes, "{way:?}");
    }
}

/// The server is killed when half of a body has arrived: what was under the key stays, whole, and
/// the same upload succeeds afterwards.
#[test]
fn killed_in_the_middle_of_a_body() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Mutex::new(Server::start(&folder.path().join("root")));
    let lock = || server.lock().unwrap_or_else(PoisonError::into_inner);
    let listening = lock().listening.clone();
    let before = content::bytes(1, MIB);
    let after = content::bytes(2, 2 * BLOCK);
    for way in WAYS {
        let mut plain = |request: Request| http::call(listening.address, &request).expect("sent");
        upload(way, &listening, BUCKET, "k", &before, &mut plain);
        let mut killing = |request: Request| {
            let half = request.body.len() as u64 / 2;
            let sent = AtomicU64::new(0);
            let killed = AtomicBool::new(false);
            let on_sent = |count: usize| {
                let sent = sent.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
                if sent >= half && half > 0 && !killed.swap(true, Ordering::Relaxed) {
                    lock().kill();
                }
            };
            let answer = http::call_counted(listening.address, &request, &on_sent);
            if !killed.load(Ordering::Relaxed) {
                return answer.expect("an answer");
            }
            assert!(answer.is_err(), "a dead server answers nothing");
            lock().restart();
            let object = lock().object(BUCKET, "k").expect("the old object");
            assert!(object.body == before, "the old object is whole");
            http::call(listening.address, &request).expect("an answer")
        };
        let answer = upload(way, &listening, BUCKET, "k", &after, &mut killing);
        assert_eq!(answer.json()["hash"], way.hash(&after), "{answer:?}");
        let object = lock().object(BUCKET, "k").expect("the new object");
        assert!(object.body == after, "{way:?}");
    }
}

/// What the clients upload: which bytes, and the hash they have by each way.
struct Source {
    bytes: Vec<u8>,
    hashes: [String; 3],
}

/// What may be under a key: sources by index, each with the way it came.
type Allowed = Vec<(usize, Way)>;

/// What the clients and the killer share.
struct Field {
    sources: Vec<Source>,
    /// Held for reading while a request is under way, for writing while the server is away.
    gate: RwLock<()>,
    /// What may be, and unless it was never acknowledged must be, under each key.
    keys: Mutex<BTreeMap<String, (Allowed, bool)>>,
    /// Body bytes that have left, and who waits for them.
    sent: Mutex<u64>,
    moved: Condvar,
    uploads: AtomicU64,
    over: AtomicBool,
}

/// Clients upload by all ways, to keys of their own and to one that all overwrite, while the server is
/// killed at random moments. After each restart every object is one of those that were uploaded,
/// whole, with its hash; what was acknowledged is there; and every upload goes on where it was.
#[test]
fn killed_at_random_under_load() {
    let seed = RandomState::new().build_hasher().finish();
    println!("seed {seed}: moments and contents follow from it, the order of requests does not");
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(&folder.path().join("root"));
    let sizes = [1, 100_000, MIB, 2 * MIB + 7, BLOCK, BLOCK + 1];
    let field = Field {
        sources: (sizes.into_iter().enumerate())
            .map(|(index, len)| source(seed.wrapping_add(index as u64), len))
            .collect(),
        gate: RwLock::new(()),
        keys: Mutex::default(),
        sent: Mutex::new(0),
        moved: Condvar::new(),
        uploads: AtomicU64::new(0),
        over: AtomicBool::new(false),
    };
    let listening = server.listening.clone();
    thread::scope(|scope| {
        let client = |client| {
            let (field, listening) = (&field, &listening);
            scope.spawn(move || field.client(listening, client, seed))
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        // Ends the clients whatever becomes of the checks.
        let _over = Over(&field);
        let mut random = Random(seed);
        for _ in 0..KILLS {
            field.wait_for_bytes(random.below(BYTES_BETWEEN_KILLS_MAX));
            server.kill();
            let _gate = field.gate.write().expect("no client has panicked");
            server.restart();
            field.check(&server);
            assert!(clients.iter().all(|client| !client.is_finished()));
        }
    });
    field.check(&server);
    let uploads = field.uploads.load(Ordering::Relaxed);
    assert!(uploads > CLIENTS, "only {uploads} uploads were finished");
}

fn source(seed: u64, len: usize) -> Source {
    let bytes = content::bytes(seed, len);
    let hashes = WAYS.map(|way| way.hash(&bytes));
    Source { bytes, hashes }
}

impl Field {
    /// One upload after the other until it is over.
    fn client(&self, server: &Listening, client: u64, seed: u64) {
        let mut random = Random(seed ^ (client + 1));
        while !self.over.load(Ordering::Relaxed) {
            let chosen = random.below(self.sources.len() as u64) as usize;
            let way = WAYS[random.below(3) as usize];
            let own = format!("own/{client}/{}", random.below(3));
            let key = if random.below(2) == 0 {
                CONTENDED
            } else {
                &own
            };
            let bytes = &self.sources[chosen].bytes;
            self.may_be(key, (chosen, way));
            let mut sends = 0;
            let answer = upload(way, server, BUCKET, key, bytes, &mut |request| {
                let (answer, attempts) = self.send(server, &request);
                sends = attempts;
                answer
            });
            // A complete whose answer was lost has used up its upload id.
            let repeated = way == Way::V2 && sends > 1 && answer.status == 612;
            assert!(
                answer.status == 200 || repeated,
                "{way:?} {key}: {answer:?}"
            );
            self.must_be(key, (chosen, way));
            self.uploads.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends a request until it is answered; says how often that took.
    fn send(&self, server: &Listening, request: &Request) -> (Answer, usize) {
        for attempt in 1..SENDS_MAX {
            let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
            let on_sent = |count: usize| {
                *self.sent.lock().unwrap_or_else(PoisonError::into_inner) += count as u64;
                self.moved.notify_all();
            };
            if let Ok(answer) = http::call_counted(server.address, request, &on_sent) {
                return (answer, attempt);
            }
            pause();
        }
        panic!("no answer to {} {}", request.method, request.target);
    }

    /// Waits until the clients have sent this many bytes more.
    fn wait_for_bytes(&self, count: u64) {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let until = *sent + count;
        let waiting = |sent: &mut u64| *sent < until;
        let result = self.moved.wait_timeout_while(sent, STANDSTILL_MAX, waiting);
        let (_sent, waited) = result.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "the clients have stopped sending");
    }

    /// An upload begins: its object may appear under the key.
    fn may_be(&self, key: &str, object: (usize, Way)) {
        let mut keys = self.keys.lock().expect("no client has panicked");
        keys.entry(key.to_owned()).or_default().0.push(object);
    }

    /// An upload was acknowledged: a key of one's own now holds it and nothing else, and the contended
    /// key holds something.
    fn must_be(&self, key: &str, object: (usize, Way)) {
        let mut keys = self.keys.lock().expect("no client has panicked");
        let (allowed, must) = keys.entry(key.to_owned()).or_default();
        if key != CONTENDED {
            *allowed = vec![object];
        }
        *must = true;
    }

    /// Looks at every key.
    fn check(&self, server: &Server) {
        for (key, (allowed, must)) in &*self.keys.lock().expect("no client has panicked") {
            let object = match server.object(BUCKET, key) {
                Ok(object) => object,
                Err(status) => {
                    assert!(
                        !must,
                        "{key} was acknowledged, and is answered with {status}"
                    );
                    continue;
                }
            };
            let hash = stat_hash(server, key);
            let fits = |(chosen, way): &(usize, Way)| {
                let source = &self.sources[*chosen];
                source.bytes == object.body && source.hashes[*way as usize] == hash
            };
            assert!(
                allowed.iter().any(fits),
                "{key} is none of its uploads: {} bytes, hash {hash}",
                object.body.len()
            );
        }
    }
}

/// Between two sends, so that the processor is left to those who are waited for.
#[expect(
    clippy::disallowed_methods,
    reason = "nobody tells when a server is back"
)]
fn pause() {
    thread::sleep(Duration::from_millis(1));
}

/// The hash that stat gives.
fn stat_hash(server: &Server, key: &str) -> String {
    let target = format!("/stat/{}", content::b64u(format!("{BUCKET}:{key}")));
    let sign = sign::qbox_header(&server.listening, &target);
    let request = Request {
        method: "GET",
        target,
        headers: vec![("Authorization", sign)],
        ..Request::default()
    };
    let answer = http::call(server.listening.address, &request).expect("an answer");
    assert_eq!(answer.status, 200, "stat {key}: {answer:?}");
    let hash = answer.json()["hash"].clone();
    hash.as_str().expect("a hash").to_owned()
}

/// Tells the clients that it is over, also when a check has failed.
struct Over<'a>(&'a Field);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// A small source of numbers that only the seed decides.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        let bytes = content::bytes(self.0, 8);
        self.0 = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        self.0 % limit
    }
}
