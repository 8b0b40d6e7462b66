//! Lives a world: server, line, source and one stubborn user who runs the same line again.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;
use tokio::time::{sleep, sleep_until, timeout};

use crate::api::{Api, Call, Calling};
use crate::blocking::at_once::AtOnce;
use crate::client::tests::simulation::chance::Chance;
use crate::client::tests::simulation::line::Line;
use crate::client::tests::simulation::network::{Absence, Network, PipeDial};
use crate::client::tests::simulation::weather::CARRIERS;
use crate::client::tests::simulation::world::{Change, Happening, Wish, World};
use crate::client::{Done, Uploader, UploaderBuilder};
use crate::clock;
use crate::clock::virtual_wall::VirtualWall;
use crate::devserver::within::{self, Seen};
use crate::devserver::{DevServer, DevServerBuilder, FaultPlan};
use crate::error::Error;
use crate::events::Event;
use crate::kodo::{AccessKey, Credentials, PutPolicy, Scope, SecretKey, UploadToken};
use crate::model::{Bucket, Endpoint, Failure, FailureKind, ObjectKey, Request};
use crate::transport::{Flight, Reuse, Transport};
use crate::uploader::Protocol;

/// What the wall clock shows when a world begins: later than any file's real times, so that those
/// never seem to be of this moment.
pub(super) const WALL_START: Duration = Duration::from_secs(4_000_000_000);

/// Runs that a user tries after failures of his own world's making.
const RERUNS_MAX: usize = 3;

/// Longest time for a call of the management plane, as over sockets.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// How long that user waits before.
const RERUN_PAUSE: Duration = Duration::from_secs(60);

/// How long a world is watched after the last run.
const AFTERMATH: Duration = Duration::from_secs(600);

/// How one run ended.
#[derive(Debug)]
pub(super) enum End {
    Done(Box<Done>),
    Failed(Error),
    Crashed,
    /// It went on for longer than anything explains.
    Overdue,
}

/// One run of the uploader.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) end: End,
    pub(super) events: Vec<(Instant, Event)>,
    /// What was stored when it ended.
    pub(super) stored: Option<Vec<u8>>,
    /// How many states of the source there had been when it began, and when it ended.
    pub(super) versions: (usize, usize),
}

/// All that came of a world.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) began: Instant,
    pub(super) runs: Vec<Run>,
    pub(super) log: Vec<Seen>,
    /// Body bytes that reached servers with the object in them.
    pub(super) carried: u64,
    /// Every state of the source, in order.
    pub(super) versions: Vec<Vec<u8>>,
    /// Connections that the client held when nothing ran any more.
    pub(super) left_open: usize,
}

/// The management plane over the upload plane's connections.
#[derive(Debug)]
pub(super) struct ApiOver(pub(super) Transport);

impl Call for ApiOver {
    fn call<'a>(&'a self, endpoint: &'a Endpoint, request: Request) -> Calling<'a> {
        Box::pin(async move {
            let flight = Flight::new();
            let send = self.0.send(endpoint, request, None, Reuse::Any, &flight);
            match timeout(CALL_TIMEOUT, send).await {
                Ok(answer) => answer.map_err(|unanswered| unanswered.failure),
                Err(_) => Err(Failure::new(FailureKind::TimedOut, "no answer")),
            }
        })
    }
}

/// What runs share.
struct Live {
    world: World,
    began: Instant,
    network: Arc<Network>,
    credentials: Credentials,
    hosts: Vec<String>,
    dir: TempDir,
    versions: Mutex<Vec<Vec<u8>>>,
    /// Of servers that are gone.
    past: Mutex<(Vec<Seen>, u64)>,
}

/// Lives `world` from its beginning to its end.
pub(super) fn run(world: &World) -> Ran {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let _at_once = AtOnce::begin();
    runtime.block_on(async {
        let _wall = VirtualWall::begin(SystemTime::UNIX_EPOCH + WALL_START);
        live(world.clone()).await
    })
}

async fn live(world: World) -> Ran {
    let began = clock::instant();
    let live = Arc::new(Live::new(world, began));
    let server = live.server(live.world.plan.clone());
    let server = server.start().await.unwrap();
    live.network.serve(Some(server));
    for (at, happening) in live.world.happenings.clone() {
        let live = Arc::clone(&live);
        tokio::spawn(async move {
            sleep_until((began + at).into()).await;
            live.happen(happening).await;
        });
    }
    let runs = live.runs(began).await;
    let left_open = live.network.open_connections();
    sleep(AFTERMATH).await;
    // A server that is still away comes back, if only to be read.
    while live.network.with_server(|_| ()).is_none() {
        sleep(Duration::from_secs(1)).await;
    }
    live.bury(live.network.serve(None));
    let (log, carried) = std::mem::take(&mut *locked(&live.past));
    Ran {
        began,
        runs,
        log,
        carried,
        versions: locked(&live.versions).clone(),
        left_open,
    }
}

impl Live {
    fn new(world: World, began: Instant) -> Self {
        let hosts: Vec<String> = (0..world.hosts)
            .map(|host| format!("up{host}.sim:80"))
            .collect();
        let mut line = Line::new(world.rate, world.latency);
        line.outages = world.outages(began);
        let network = Network::new(line, world.kernels, hosts.clone(), &world.holes);
        let dir = place();
        let this = Self {
            began,
            network: Arc::new(network),
            credentials: Credentials::new(
                AccessKey::new("ak").unwrap(),
                SecretKey::new("sk").unwrap(),
            ),
            hosts,
            dir,
            versions: Mutex::default(),
            past: Mutex::default(),
            world,
        };
        let content = Chance::new(this.world.seed ^ 0xc0de).bytes(this.world.size);
        this.write(&content, false);
        locked(&this.versions).push(content);
        this
    }

    fn server(&self, plan: FaultPlan) -> DevServerBuilder {
        DevServer::builder()
            .within(&self.hosts)
            .credentials(self.credentials.clone())
            .faults(plan)
    }

    /// Remembers what a server was asked, and lets it go.
    fn bury(&self, server: Option<DevServer>) {
        let Some(server) = server else { return };
        let mut past = locked(&self.past);
        // Every server counts its connections from 1.
        let before = past.0.iter().map(|seen| seen.arrival.connection).max();
        let numbered = server.log().into_iter().map(|mut seen| {
            seen.arrival.connection += before.unwrap_or(0);
            seen
        });
        past.0.extend(numbered.collect::<Vec<_>>());
        let seen = server.requests();
        let carried = CARRIERS
            .iter()
            .map(|operation| seen.of(*operation).body_bytes);
        past.1 += carried.sum::<u64>();
    }

    /// Runs the same line until it is done.
    async fn runs(&self, began: Instant) -> Vec<Run> {
        let deadline = began + self.world.patience();
        let mut crashes: Vec<_> = self.world.crashes().collect();
        let mut runs = Vec::new();
        let mut reruns = 0;
        loop {
            crashes.retain(|(at, ..)| began + *at >= clock::instant());
            let crash = crashes.first().copied();
            let run = self
                .run_once(crash.map(|(at, ..)| began + at), deadline)
                .await;
            let goes_on = match &run.end {
                End::Done(_) | End::Overdue => false,
                End::Failed(error) => {
                    reruns += 1;
                    sleep(RERUN_PAUSE).await;
                    reruns <= RERUNS_MAX && self.world.may_fail(error.kind())
                }
                End::Crashed => true,
            };
            let crashed = matches!(run.end, End::Crashed);
            runs.push(run);
            if !goes_on {
                return runs;
            }
            if let (true, Some((_, pause, change))) = (crashed, crash) {
                if let Some(change) = change {
                    self.change(change);
                }
                sleep(pause).await;
            }
        }
    }

    async fn run_once(&self, crash: Option<Instant>, deadline: Instant) -> Run {
        let began = clock::instant();
        let versions = locked(&self.versions).len();
        let events: Arc<Mutex<Vec<(Instant, Event)>>> = Arc::default();
        let heard = Arc::clone(&events);
        let uploader = self.uploader(began);
        let mut put = uploader.put_file("b", "k", self.path());
        if self.world.insert_only {
            put = put.insert_only();
        }
        let put = put
            .on_event(move |event| locked(&heard).push((clock::instant(), event.clone())))
            .into_future();
        let crashed = async {
            match crash {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let end = tokio::select! {
            biased;
            ended = put => match ended {
                Ok(done) => End::Done(Box::new(done)),
                Err(error) => End::Failed(error),
            },
            () = crashed => End::Crashed,
            () = sleep_until(deadline.into()) => End::Overdue,
        };
        drop(uploader);
        // Tasks that were told to end do so in their next turn.
        sleep(Duration::from_millis(1)).await;
        let ended = clock::instant();
        let versions = (versions, locked(&self.versions).len());
        let stored = self.stored().await;
        let events = std::mem::take(&mut *locked(&events));
        Run {
            began,
            ended,
            end,
            events,
            stored,
            versions,
        }
    }

    fn uploader(&self, now: Instant) -> Uploader {
        let world = &self.world;
        let mut builder = Uploader::builder()
            .state_dir(self.dir.path().join("state"))
            .part_size(world.part_len)
            .window(world.window);
        builder = match world.wish {
            Wish::Auto => builder,
            Wish::V1 => builder.protocol(Protocol::V1),
            Wish::V2 => builder.protocol(Protocol::V2),
            Wish::Form => builder.threshold(u64::MAX),
        };
        if let Some(rate) = world.limit_rate {
            builder = builder.limit_rate(rate);
        }
        for host in &self.hosts {
            builder = builder.endpoint(format!("http://{host}"));
        }
        let dial = Arc::new(PipeDial(Arc::clone(&self.network)));
        // Another jitter in every run, the same in every life of this world.
        let seed = world.seed ^ u64::try_from((now - self.began).as_nanos()).unwrap_or(0);
        let transport = Transport::new(dial);
        let api = Api::over(Arc::new(ApiOver(transport.clone())));
        let mut builder = self.authorized(builder);
        builder.seed = Some(seed);
        builder.over(transport, api).unwrap()
    }

    fn authorized(&self, builder: UploaderBuilder) -> UploaderBuilder {
        let keys = &self.credentials;
        if !self.world.ready_token {
            return builder.credentials(keys.access_key.as_str(), keys.secret_key.expose());
        }
        let scope = Scope::Key(Bucket::new("b").unwrap(), ObjectKey::new("k").unwrap());
        let deadline = clock::unix_seconds(clock::wall()) + 24 * 60 * 60;
        let mut policy = PutPolicy::new(scope, deadline);
        policy.insert_only = self.world.insert_only;
        let token = UploadToken::sign(keys, &policy);
        builder.upload_token(token.expose())
    }

    /// What is under the key now.
    async fn stored(&self) -> Option<Vec<u8>> {
        loop {
            match self.network.with_server(DevServer::keepings) {
                Some(store) => return within::object(&store, "b", "k").await,
                // The server is away; its store is not.
                None => sleep(Duration::from_secs(1)).await,
            }
        }
    }

    async fn happen(&self, happening: Happening) {
        match happening {
            Happening::Absent(host, how, lasting) => {
                let now = clock::instant();
                self.network.absent(host, how, now, now + lasting);
                if how == Absence::Refuses {
                    self.network.cut(|of| of == host, true);
                }
            }
            Happening::Cut { reset } => self.network.cut(|_| true, reset),
            Happening::Restart(pause) => {
                let Some(server) = self.network.serve(None) else {
                    return;
                };
                let store = server.keepings();
                self.bury(Some(server));
                sleep(pause).await;
                let plan = FaultPlan {
                    faults: Vec::new(),
                    ..self.world.plan.clone()
                };
                let server = self.server(plan).store(store).start().await.unwrap();
                self.network.serve(Some(server));
            }
            Happening::SourceChanges(change) => self.change(change),
            Happening::Suspended(time) => tokio::time::advance(time).await,
            // Part of the line, and of the runs.
            Happening::Outage(_) | Happening::Crash(_) | Happening::CrashAndChange(..) => {}
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    /// Makes the source another one.
    fn change(&self, change: Change) {
        let mut versions = locked(&self.versions);
        let mut chance = Chance::new(self.world.seed ^ versions.len() as u64);
        let mut content = versions.last().cloned().unwrap_or_default();
        let len = content.len() as u64;
        let at = |chance: &mut Chance| usize::try_from(chance.within(0..=len - 1)).unwrap();
        match change {
            Change::Rewritten | Change::Replaced => content = chance.bytes(len),
            Change::OneByte if len > 0 => {
                let at = at(&mut chance);
                content[at] ^= 1;
            }
            Change::Truncated if len > 0 => {
                let at = at(&mut chance);
                content.truncate(at);
            }
            Change::Grown => {
                let more = chance.within(1..=1 << 20);
                content.extend(chance.bytes(more));
            }
            Change::OneByte | Change::Truncated | Change::Touched => {}
        }
        self.write(&content, change == Change::Replaced);
        versions.push(content);
    }

    /// Writes the source, in place or as another file. Real clocks are too coarse for virtual time,
    /// so the file's time is set.
    fn write(&self, content: &[u8], as_another: bool) {
        let path = self.path();
        let draft = self.dir.path().join("draft");
        let target: &Path = if as_another { &draft } else { &path };
        let mut options = File::options();
        let opened = options
            .write(true)
            .create(true)
            .truncate(false)
            .open(target);
        let mut file = opened.unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(content).unwrap();
        file.set_len(content.len() as u64).unwrap();
        file.set_modified(clock::wall()).unwrap();
        if as_another {
            fs::rename(&draft, &path).unwrap();
        }
    }
}

/// A directory of this world's own; in memory where the system has such a place, since every record
/// of a journal is synced.
fn place() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir()
        && let Ok(dir) = TempDir::new_in(memory)
    {
        return dir;
    }
    TempDir::new().unwrap()
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
