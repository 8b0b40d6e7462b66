//! Lives a world: server, line, sources and one stubborn user who runs the same line again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join_all;
use tokio::time::{sleep, sleep_until, timeout};

use crate::api::{Api, Call, Calling};
use crate::blocking::at_once::AtOnce;
use crate::client::tests::simulation::line::Line;
use crate::client::tests::simulation::network::{Absence, Network, PipeDial};
use crate::client::tests::simulation::source::Sources;
use crate::client::tests::simulation::weather::CARRIERS;
use crate::client::tests::simulation::world::{Happening, Unwell, Wish, World};
use crate::client::{Done, Put, Uploader, UploaderBuilder};
use crate::clock;
use crate::clock::virtual_wall::VirtualWall;
use crate::devserver::within::{self, Seen};
use crate::devserver::{CannedAnswer, DevServer, DevServerBuilder, Fault, FaultPlan, Moment};
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

/// One run of one upload.
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

/// One upload, run until it was done.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) runs: Vec<Run>,
    /// Every state of the source, in order.
    pub(super) versions: Vec<Vec<u8>>,
}

/// All that came of a world.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) began: Instant,
    /// In the order of [`World::sizes`].
    pub(super) stories: Vec<Story>,
    pub(super) log: Vec<Seen>,
    /// Body bytes that reached servers with the objects in them.
    pub(super) carried: u64,
    /// Connections that the client made.
    pub(super) connections: u64,
    /// Connections that the client held when nothing ran any more.
    pub(super) left_open: usize,
}

impl Ran {
    /// Every run of every upload.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.stories.iter().flat_map(|story| &story.runs)
    }
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
    sources: Sources,
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
    let server = live.server(&live.world.plan.faults);
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
    let story = |(upload, runs)| Story {
        runs,
        versions: live.sources.versions(upload),
    };
    Ran {
        began,
        stories: runs.into_iter().enumerate().map(story).collect(),
        log,
        carried,
        connections: live.network.connections(),
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
        line.changes = world.rates(began);
        let network = Network::new(line, world.kernels, hosts.clone(), &world.holes);
        Self {
            began,
            network: Arc::new(network),
            credentials: Credentials::new(
                AccessKey::new("ak").unwrap(),
                SecretKey::new("sk").unwrap(),
            ),
            hosts,
            sources: Sources::new(&world),
            past: Mutex::default(),
            world,
        }
    }

    /// A server with these faults, behind what is on the way.
    fn server(&self, faults: &[Fault]) -> DevServerBuilder {
        let faults = [faults, &self.world.way].concat();
        let plan = FaultPlan {
            faults,
            ..self.world.plan.clone()
        };
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

    /// Runs the same line until everything is done: the runs of each upload.
    async fn runs(&self, began: Instant) -> Vec<Vec<Run>> {
        let deadline = began + self.world.patience();
        let mut crashes: Vec<_> = self.world.crashes().collect();
        let count = self.world.sizes().count();
        let mut runs: Vec<Vec<Run>> = (0..count).map(|_| Vec::new()).collect();
        let mut undone: Vec<usize> = (0..count).collect();
        let mut reruns = vec![0; count];
        while !undone.is_empty() {
            crashes.retain(|(at, ..)| began + *at >= clock::instant());
            let crash = crashes.first().copied();
            let at_once = if self.world.in_turn { 1 } else { count };
            let due = &undone[..at_once.min(undone.len())];
            let ended = self
                .process(due, crash.map(|(at, ..)| began + at), deadline)
                .await;
            let (mut has_crashed, mut has_failed) = (false, false);
            for (upload, run) in ended {
                let goes_on = match &run.end {
                    End::Done(_) | End::Overdue => false,
                    End::Failed(error) => {
                        reruns[upload] += 1;
                        has_failed = true;
                        reruns[upload] <= RERUNS_MAX && self.world.may_fail(error.kind())
                    }
                    End::Crashed => {
                        has_crashed = true;
                        true
                    }
                };
                if !goes_on {
                    undone.retain(|it| *it != upload);
                }
                runs[upload].push(run);
            }
            if has_failed {
                sleep(RERUN_PAUSE).await;
            }
            if let (true, Some((_, pause, change))) = (has_crashed, crash) {
                if let Some(change) = change {
                    self.sources.change(change);
                }
                sleep(pause).await;
            }
        }
        runs
    }

    /// One process with these uploads, until each has ended or it dies.
    async fn process(
        &self,
        uploads: &[usize],
        crash: Option<Instant>,
        deadline: Instant,
    ) -> Vec<(usize, Run)> {
        let uploader = self.uploader(clock::instant());
        let runs = uploads.iter().map(|upload| {
            let run = self.run_once(&uploader, *upload, crash, deadline);
            async { (*upload, run.await) }
        });
        let runs = join_all(runs).await;
        drop(uploader);
        // Its connections' tasks end in their next turn.
        sleep(Duration::from_millis(1)).await;
        runs
    }

    async fn run_once(
        &self,
        uploader: &Uploader,
        upload: usize,
        crash: Option<Instant>,
        deadline: Instant,
    ) -> Run {
        let began = clock::instant();
        let versions = self.sources.count(upload);
        let events: Arc<Mutex<Vec<(Instant, Event)>>> = Arc::default();
        let heard = Arc::clone(&events);
        let mut put = self.put(uploader, upload);
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
        // Tasks that were told to end do so in their next turn.
        sleep(Duration::from_millis(1)).await;
        let ended = clock::instant();
        let versions = (versions, self.sources.count(upload));
        let stored = self.stored(upload).await;
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

    fn put(&self, uploader: &Uploader, upload: usize) -> Put {
        let key = key(upload);
        let Some(streaming) = self.world.streams() else {
            return uploader.put_file("b", key, self.sources.path(upload));
        };
        let bytes = self.sources.versions(upload).pop().unwrap();
        let size = bytes.len() as u64;
        // Who may change nothing sees the calm line used as by a file.
        let pause_max = match self.world.is_calm() {
            true => Duration::ZERO,
            false => streaming.pause_max,
        };
        let pieces = self.sources.stream(bytes, pause_max);
        let put = uploader.put_stream("b", key, pieces);
        if streaming.is_known {
            put.size(size)
        } else {
            put
        }
    }

    fn uploader(&self, now: Instant) -> Uploader {
        let world = &self.world;
        let mut builder = Uploader::builder()
            .state_dir(self.sources.state_dir())
            .part_size(world.part_len);
        if let Some(lanes) = world.window {
            builder = builder.window(lanes);
        }
        if world.wait_online {
            builder = builder.wait_online();
        }
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
        let scope = Scope::Key(Bucket::new("b").unwrap(), ObjectKey::new(key(0)).unwrap());
        let deadline = clock::unix_seconds(clock::wall()) + 24 * 60 * 60;
        let mut policy = PutPolicy::new(scope, deadline);
        policy.insert_only = self.world.insert_only;
        let token = UploadToken::sign(keys, &policy);
        builder.upload_token(token.expose())
    }

    /// What is under an upload's key now.
    async fn stored(&self, upload: usize) -> Option<Vec<u8>> {
        loop {
            match self.network.with_server(DevServer::keepings) {
                Some(store) => return within::object(&store, "b", &key(upload)).await,
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
                let server = self.server(&[]).store(store).start().await.unwrap();
                self.network.serve(Some(server));
            }
            Happening::SourceChanges(change) => self.sources.change(change),
            Happening::Unwell(host, how, lasting) => {
                let fault = unwell(host, how);
                self.network
                    .with_server(|server| server.faults().begin(fault.clone()));
                sleep(lasting).await;
                self.network
                    .with_server(|server| server.faults().end(&fault));
            }
            Happening::Suspended(time) => tokio::time::advance(time).await,
            // Part of the line, and of the runs.
            Happening::Outage(_)
            | Happening::Flaps { .. }
            | Happening::Rate(..)
            | Happening::Crash(_)
            | Happening::CrashAndChange(..) => {}
        }
    }
}

/// The key of an upload.
fn key(upload: usize) -> String {
    format!("k{upload}")
}

/// What a server does that is not well.
fn unwell(host: Option<usize>, how: Unwell) -> Fault {
    Fault {
        host,
        probability: how.one_in_three.then_some(0.34),
        answer: Some(CannedAnswer {
            at: how.at_once.then_some(Moment::BeforeBody),
            ..CannedAnswer::status(how.status)
        }),
        ..Fault::default()
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
