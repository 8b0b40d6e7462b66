//! Where an upload goes: what is learned of a bucket's hosts, and hosts that are the wrong ones.
//!
//! Every server has two hosts, and each upload is made by an uploader of its own, as by a process of
//! its own: what they know of one another is in the state directory.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use haul::devserver::{DevServer, FaultPlan, Operation};
use haul::{Done, Error, ErrorKind, Event, Protocol, Stop, Uploader, UploaderBuilder};
use tempfile::TempDir;

use crate::world::{PATIENCE, content, write};

/// Two blocks or parts, the second one short.
const LEN: usize = (5 << 20) + 77;

/// How to begin: by the bucket query, or at host 0 by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    Asked,
    Named,
}

/// A server, a file and a state directory.
pub(crate) struct Place {
    pub(crate) server: DevServer,
    pub(crate) dir: TempDir,
    pub(crate) begin: Begin,
}

/// One upload, and what it told.
pub(crate) struct Ran {
    pub(crate) result: Result<Done, Error>,
    pub(crate) notices: Vec<String>,
    pub(crate) retries: usize,
    /// The hosts that were sent to, by index, in order and without repetitions.
    pub(crate) hosts: Vec<usize>,
}

impl Ran {
    /// Whether one of the notices holds all of `words`.
    #[track_caller]
    pub(crate) fn said(&self, words: &[&str]) -> &Self {
        let has_all = |notice: &String| words.iter().all(|word| notice.contains(word));
        assert!(
            self.notices.iter().any(has_all),
            "{words:?}: {:?}",
            self.notices
        );
        self
    }

    #[track_caller]
    pub(crate) fn done(&self, story: &str) -> &Done {
        let result = self.result.as_ref();
        result.unwrap_or_else(|error| panic!("{story}: {error}; {:?}", self.notices))
    }

    #[track_caller]
    pub(crate) fn failed(&self, story: &str) -> &Error {
        self.result.as_ref().expect_err(story)
    }
}

impl Place {
    pub(crate) async fn new(begin: Begin) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("file"), &content(LEN));
        Self {
            server: DevServer::builder().hosts(3).start().await.unwrap(),
            dir,
            begin,
        }
    }

    /// `host:port` of a host.
    pub(crate) fn name(&self, host: usize) -> &str {
        self.server.urls()[host].trim_start_matches("http://")
    }

    /// Follows this plan from now on; `HOST1` and the like become names.
    pub(crate) fn follow(&self, plan: &str) {
        let mut text = plan.to_owned();
        for host in 0..3 {
            text = text.replace(&format!("HOST{host}"), self.name(host));
        }
        let plan: FaultPlan = text.parse().unwrap_or_else(|why| panic!("{why}\n{text}"));
        self.server.faults().replace(plan).unwrap();
    }

    pub(crate) fn settings(&self) -> UploaderBuilder {
        let keys = self.server.credentials();
        let settings = Uploader::builder()
            .credentials(keys.access_key.as_str(), keys.secret_key.expose())
            .part_size(2 << 20)
            .state_dir(self.dir.path().join("state"));
        match self.begin {
            Begin::Asked => settings.uc_url(&self.server.urls()[2]),
            Begin::Named => settings.endpoint(&self.server.urls()[0]),
        }
    }

    pub(crate) async fn run(&self, set: impl FnOnce(UploaderBuilder) -> UploaderBuilder) -> Ran {
        self.run_until(set, &Stop::new()).await
    }

    async fn run_until(
        &self,
        set: impl FnOnce(UploaderBuilder) -> UploaderBuilder,
        stop: &Stop,
    ) -> Ran {
        let uploader = set(self.settings()).build().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hear = Arc::clone(&heard);
        let put = uploader
            .put_file("b", "k", self.dir.path().join("file"))
            .stop_on(stop)
            .on_event(move |event| hear.lock().unwrap().push(event.clone()));
        let ended = tokio::time::timeout(PATIENCE, put.into_future()).await;
        let heard = heard.lock().unwrap();
        let host = |event: &Event| match event {
            Event::Attempt(attempt) => {
                let name = attempt.trace.endpoint.to_string();
                self.server.urls().iter().position(|url| *url == name)
            }
            _ => None,
        };
        let mut hosts: Vec<usize> = heard.iter().filter_map(host).collect();
        hosts.dedup();
        let notice = |event: &Event| match event {
            Event::Notice(text) => Some(text.clone()),
            _ => None,
        };
        let is_retry = |event: &&Event| matches!(event, Event::Retrying { .. });
        Ran {
            result: ended.expect("the upload ends"),
            notices: heard.iter().filter_map(notice).collect(),
            retries: heard.iter().filter(is_retry).count(),
            hosts,
        }
    }

    /// How often the service was asked where the bucket lives.
    fn queries(&self) -> u64 {
        self.server.requests().of(Operation::Query).requests
    }

    /// The one file of what was learned.
    fn cache(&self) -> PathBuf {
        let dir = self.dir.path().join("state/regions");
        let mut files = std::fs::read_dir(dir).unwrap();
        files.next().unwrap().unwrap().path()
    }
}

/// No wishes.
pub(crate) fn plain(settings: UploaderBuilder) -> UploaderBuilder {
    settings
}

type Set = fn(UploaderBuilder) -> UploaderBuilder;

/// Each way to bring the object.
const WAYS: [(&str, Set); 3] = [
    ("v1", |settings| settings.protocol(Protocol::V1)),
    ("v2", |settings| settings.protocol(Protocol::V2)),
    ("form", |settings| settings.threshold(u64::MAX)),
];

/// Host 0 says that the bucket lives behind host 1.
const WRONG: &str = "[[fault]]\nhost = 0\n\
    operation = ['form', 'mkblk', 'bput', 'mkfile', 'initiate', 'part', 'complete']\n\
    answer = { status = 400, body = '{\"error\":\"incorrect region, please use HOST1\"}' }\n";

/// The bucket query answers so, and its answer is too old at once.
const AGED: &str = "[[fault]]\noperation = 'query'\nanswer = { status = 200, body = \
    '{\"hosts\":[{\"region\":\"z0\",\"ttl\":0,\"up\":{\"domains\":[\"HOST1\"]}}]}' }\n";

/// The first upload asks, the second knows; a file that was spoilt is passed over and asked for anew.
#[tokio::test]
async fn the_first_learns_and_the_second_knows() {
    let place = Place::new(Begin::Asked).await;
    for (story, queries) in [("learns", 1), ("knows", 1)] {
        place.run(plain).await.done(story);
        assert_eq!(place.queries(), queries, "{story}");
    }
    for damage in ["", "{}", "garbage"] {
        let before = place.queries();
        write(&place.cache(), damage.as_bytes());
        let ran = place.run(plain).await;
        ran.done("damaged");
        assert_eq!(ran.notices, [""; 0], "{damage:?}");
        assert_eq!(place.queries(), before + 1, "{damage:?}");
    }
    let bytes = std::fs::read(place.cache()).unwrap();
    let secret = place.server.credentials().secret_key.expose();
    assert!(!String::from_utf8(bytes).unwrap().contains(secret));
}

/// An answer that is too old is used while nobody gives a newer one, and that is said. What the
/// service itself refuses is no such case.
#[tokio::test]
async fn old_answers_are_used_while_nobody_answers() {
    let rows = [
        ("a server that fails", "answer = { status = 503 }"),
        (
            "a portal",
            "omit_reqid = true\nanswer = { status = 200, body = '<html>' }",
        ),
        ("broken connections", "reset = 'before_body'"),
        ("silence", "hang = 'before_body'"),
    ];
    for (story, fault) in rows {
        let place = Place::new(Begin::Asked).await;
        place.follow(AGED);
        place.run(plain).await.done(story);
        place.follow(&format!("[[fault]]\noperation = 'query'\n{fault}"));
        let ran = place.run(plain).await;
        ran.done(story);
        ran.said(&["nobody says where `b` lives", "what was said before"]);
        assert_eq!(ran.hosts, [1], "{story}");
        place.follow("[[fault]]\noperation = 'query'\nanswer = { status = 631 }");
        let refused = place.run(plain).await;
        assert_eq!(refused.failed(story).kind(), ErrorKind::NoSuchBucket);
    }
}

/// A line that is down at the beginning is waited for, for a while or for ever; a refusal is not; and
/// who stops does not wait.
#[tokio::test]
async fn the_query_is_asked_again() {
    let down = |times| {
        format!("[[fault]]\noperation = 'query'\ntimes = {times}\nanswer = {{ status = 503 }}")
    };
    let short: Set = |settings| settings.retry_budget(Duration::from_millis(10));
    let place = Place::new(Begin::Asked).await;
    place.follow(&down(3));
    let ran = place.run(plain).await;
    ran.done("waited for");
    assert_eq!(ran.retries, 3);

    let place = Place::new(Begin::Asked).await;
    place.follow(&down(3));
    let error = place.run(short).await;
    let error = error.failed("too long");
    assert_eq!(error.kind(), ErrorKind::Unfinished);
    assert!(error.to_string().contains(place.name(2)), "{error}");
    let ran = place.run(|settings| short(settings).wait_online()).await;
    ran.done("for ever");
    ran.said(&["waiting for the line (wait_online)"]);

    let place = Place::new(Begin::Asked).await;
    place.follow("[[fault]]\noperation = 'query'\nanswer = { status = 631 }");
    let ran = place.run(|settings| settings.wait_online()).await;
    assert_eq!(ran.failed("no bucket").kind(), ErrorKind::NoSuchBucket);
    assert_eq!((ran.retries, place.queries()), (0, 1));

    place.follow("[[fault]]\noperation = 'query'\nhold = 'h'");
    let stop = Stop::new();
    let held = async {
        place.server.faults().until_held("h").await;
        stop.stop();
    };
    let (ran, ()) = tokio::join!(place.run_until(|it| it.wait_online(), &stop), held);
    assert_eq!(ran.failed("stopped").kind(), ErrorKind::Interrupted);
}

/// An upload that waits for the line and knows where its bucket lived goes where it lives now, before
/// anything was sent and in the middle.
#[tokio::test]
async fn a_wait_does_not_outlast_the_hosts() {
    let gone = "[[host]]\nhost = 1\nstate = 'dead'\n";
    let cut = "[[fault]]\noperation = ['bput', 'part']\nfrom = 2\nanswer = { status = 403 }\n";
    let long = |up| {
        format!(
            "{}\n",
            AGED.replace("\"ttl\":0", "\"ttl\":9000")
                .replace("HOST1", up)
        )
    };
    for (way, set) in WAYS {
        for is_begun in [false, true] {
            let story = format!("{way}, begun before: {is_begun}");
            let place = Place::new(Begin::Asked).await;
            place.follow(&format!(
                "{}{}",
                long("HOST1"),
                if is_begun { cut } else { "" }
            ));
            let first = place.run(set).await;
            assert_eq!(first.hosts, [1], "{story}: learns");
            place.follow(&format!("{}{gone}", long("HOST0")));
            let waits = |it| {
                set(it)
                    .wait_online()
                    .retry_budget(Duration::from_millis(300))
            };
            let ran = place.run(waits).await;
            ran.done(&story);
            ran.said(&["do not serve", "going to those that the service names now"]);
            assert_eq!(ran.hosts.last(), Some(&0), "{story}");
        }
    }
}

/// "incorrect region, please use …" is followed, said, and remembered: the next upload starts right.
#[tokio::test]
async fn a_wrong_region_is_followed_and_remembered() {
    for begin in [Begin::Asked, Begin::Named] {
        for (way, set) in WAYS {
            let place = Place::new(begin).await;
            let story = format!("{way}, {begin:?}");
            place.follow(WRONG);
            let ran = place.run(set).await;
            let done = ran.done(&story);
            assert_eq!(done.size, LEN as u64, "{story}");
            assert_eq!(ran.hosts, [0, 1], "{story}");
            ran.said(&["does not serve `b`", place.name(0), place.name(1)]);
            let ran = place.run(set).await;
            ran.done(&story);
            assert_eq!(ran.hosts, [1], "{story}: the second starts right");
            match begin {
                Begin::Asked => assert_eq!(ran.notices, [""; 0], "{story}"),
                Begin::Named => _ = ran.said(&["set `endpoint` to that"]),
            }
        }
    }
}

/// What was learned does not outlive the host that it names: when that is dead, the upload goes where it
/// would have gone, and is sent from there as before.
#[tokio::test]
async fn what_was_learned_may_be_over() {
    let place = Place::new(Begin::Named).await;
    place.follow(WRONG);
    place.run(plain).await.done("learns");
    place.follow("[[host]]\nhost = 1\nstate = 'dead'");
    let short: Set = |settings| settings.retry_budget(Duration::from_millis(300));
    let ran = place.run(short).await;
    ran.done("goes back");
    ran.said(&["do not serve", "going back"]);
    assert_eq!(ran.hosts, [1, 0]);
    assert_eq!(place.run(plain).await.hosts, [0]);
}

/// What is believed may be wrong: hosts that are gone are asked for again before an upload fails.
#[tokio::test]
async fn hosts_that_are_gone_are_asked_for_again() {
    let place = Place::new(Begin::Asked).await;
    let short: Set = |settings| settings.retry_budget(Duration::from_millis(300));
    place.follow(&AGED.replace("HOST1", "127.0.0.1:1").replace(":0,", ":900,"));
    let ran = place.run(short).await;
    assert_eq!(ran.failed("gone").kind(), ErrorKind::NoConnection);
    place.follow("");
    let ran = place.run(short).await;
    ran.done("asks again");
    ran.said(&["do not serve", "those that the service names now"]);
    let ran = place.run(plain).await;
    ran.done("knows");
    assert_eq!((ran.notices.len(), place.queries()), (0, 2));
}

/// Two hosts that send uploads to one another: the second refusal is the end, and it says what to do.
#[tokio::test]
async fn a_wrong_region_is_followed_once() {
    let there_and_back = format!("{WRONG}{}", WRONG.replace("host = 0", "host = 1"));
    let there_and_back = there_and_back.replacen("HOST1", "HOST9", 1);
    let there_and_back = there_and_back
        .replace("HOST1", "HOST0")
        .replace("HOST9", "HOST1");
    for begin in [Begin::Asked, Begin::Named] {
        for (way, set) in WAYS {
            let place = Place::new(begin).await;
            place.follow(&there_and_back);
            let ran = place.run(set).await;
            let error = ran.failed(way);
            assert_eq!(error.kind(), ErrorKind::Refused, "{way}: {error}");
            let next = error.next_step().unwrap_or_default();
            assert!(next.contains("which refuses it too"), "{way}: {next}");
            assert_eq!(ran.hosts, [0, 1], "{way}");
        }
    }
    let place = Place::new(Begin::Named).await;
    place.follow(&WRONG.replace(", please use HOST1", ""));
    let ran = place.run(plain).await;
    let next = ran.failed("no host is named").next_step();
    assert!(
        next.unwrap_or_default().contains("set no endpoint"),
        "{next:?}"
    );
}

/// What was acknowledged survives all of it: a run that was sent elsewhere and broken off is resumed
/// there, and one whose bucket moves goes on behind it.
#[tokio::test]
async fn nothing_acknowledged_is_lost_on_the_way() {
    let refused = "[[fault]]\noperation = ['bput', 'part']\nfrom = 2\nanswer = { status = 403 }\n";
    let moves = "[[fault]]\noperation = ['bput', 'part']\nfrom = 2\n\
        answer = { status = 400, body = '{\"error\":\"incorrect region, please use HOST1\"}' }\n";
    for (way, set) in &WAYS[..2] {
        let place = Place::new(Begin::Named).await;
        place.follow(&format!("{WRONG}{refused}"));
        let ran = place.run(set).await;
        let safe = ran.failed(way).safe_bytes();
        assert!(safe > 0, "{way}: {:?}", ran.result);
        place.follow(WRONG);
        let ran = place.run(set).await;
        assert_eq!(ran.done(way).resumed_bytes, safe, "{way}");
        assert_eq!(ran.done(way).resent_bytes, 0, "{way}");

        let place = Place::new(Begin::Asked).await;
        place.follow(moves);
        let ran = place.run(set).await;
        let error = ran.failed(way);
        assert!(error.safe_bytes() > 0, "{way}: {error}");
        let next = error.next_step().unwrap_or_default();
        assert!(next.contains("run the same line again"), "{way}: {next}");
        let safe = error.safe_bytes();
        place.follow(WRONG);
        let ran = place.run(set).await;
        assert_eq!(ran.done(way).resumed_bytes, safe, "{way}");
        ran.said(&["what an earlier run had stored is sent again if it is not there"]);
    }
}
