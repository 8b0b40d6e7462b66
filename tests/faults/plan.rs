//! Plans as text: what is read, and what is refused with which words.

use std::time::Duration;

use haul::devserver::{
    AnswerField, CannedAnswer, DevServer, Expire, Fault, FaultPlan, HostFault, HostState, Loss,
    Moment, Operation, StopReading,
};

/// Every name of a plan, once.
const EVERYTHING: &str = r#"
    seed = 7

    [[fault]]
    operation = ["part", "bput"]
    key = "photos/*"
    bucket = "b"
    part = 3
    host = 1
    connection = 2
    connection_every = 4
    longer_than = 100000
    nth = [1, 4]
    delay = "200ms"
    slow_read = "10kb"
    stop_reading = { after_bytes = 100, for = "40s" }
    flip_byte = 9
    expire = "upload_id"
    refuse_replayed_ctx = true
    hold = "gate"
    lose_answer = "hang"
    wrong = "md5"
    omit_reqid = true

    [[fault]]
    reset = "before_body"

    [[fault]]
    operation = "form"
    nth = 2
    close = { after_body_bytes = 5 }

    [[fault]]
    from = 2
    times = 3
    hang = "after_body"

    [[fault]]
    probability = 0.25
    answer = { status = 579, headers = { A = "b" }, body = "x", content_type = "text/plain", at = "before_body" }

    [[fault]]
    cut_answer = 5

    [[fault]]
    answer_html = "<html>"

    [[host]]
    host = 0
    state = "silent"

    [[host]]
    host = 1
    state = "502"
"#;

/// The first fault of [`EVERYTHING`], written in Rust.
fn first() -> Fault {
    Fault {
        operation: vec![Operation::Part, Operation::Bput],
        key: Some("photos/*".into()),
        bucket: Some("b".into()),
        part: Some(3),
        host: Some(1),
        connection: Some(2),
        connection_every: Some(4),
        longer_than: Some(100_000),
        nth: vec![1, 4],
        delay: Some(Duration::from_millis(200)),
        slow_read: Some("80kbit".parse().expect("a rate")),
        stop_reading: Some(StopReading {
            after_bytes: 100,
            pause: Duration::from_secs(40),
        }),
        flip_byte: Some(9),
        expire: Some(Expire::UploadId),
        refuse_replayed_ctx: true,
        hold: Some("gate".into()),
        lose_answer: Some(Loss::Hang),
        wrong: Some(AnswerField::Md5),
        omit_reqid: true,
        ..Fault::default()
    }
}

/// The other faults of [`EVERYTHING`], written in Rust.
fn others() -> [Fault; 6] {
    let answer = CannedAnswer {
        headers: [("A".to_owned(), "b".to_owned())].into(),
        body: Some("x".into()),
        content_type: Some("text/plain".into()),
        at: Some(Moment::BeforeBody),
        ..CannedAnswer::status(579)
    };
    let [
        mut reset,
        mut closed,
        mut hung,
        mut answered,
        mut cut,
        mut paged,
    ] = std::array::from_fn(|_| Fault::default());
    reset.reset = Some(Moment::BeforeBody);
    (closed.operation, closed.nth) = (vec![Operation::Form], vec![2]);
    closed.close = Some(Moment::AfterBodyBytes(5));
    (hung.from, hung.times, hung.hang) = (Some(2), Some(3), Some(Moment::AfterBody));
    (answered.probability, answered.answer) = (Some(0.25), Some(answer));
    cut.cut_answer = Some(5);
    paged.answer_html = Some("<html>".into());
    [reset, closed, hung, answered, cut, paged]
}

/// A plan with every name in it is read as it would be written in Rust; an empty one is no fault.
#[test]
fn every_name_is_read() {
    let plan: FaultPlan = EVERYTHING.parse().expect("a valid plan");
    let host = |host, state| HostFault { host, state };
    let expected = FaultPlan {
        seed: 7,
        faults: [first()].into_iter().chain(others()).collect(),
        hosts: vec![host(0, HostState::Silent), host(1, HostState::BadGateway)],
    };
    assert_eq!(plan, expected);
    let empty = "".parse::<FaultPlan>().expect("an empty plan");
    assert_eq!(empty, FaultPlan::default());
}

/// Plans that are wrong, and words that their errors hold.
const WRONG_PLANS: &[(&str, &[&str])] = &[
    ("sed = 7", &["line 1", "sed"]),
    (
        "[[fault]]\nomit_reqid = true\nkeys = 'a'",
        &["line 3", "keys"],
    ),
    (
        "[[fault]]\noperation = 'parts'",
        &["line 2", "parts", "`part`"],
    ),
    ("[[fault]]\noperation = ['part', 5]", &["line 2"]),
    ("[[fault]]\nnth = 'first'", &["line 2", "first"]),
    ("[[fault]]\nnth = -1", &["line 2"]),
    (
        "[[fault]]\nreset = 'later'",
        &["line 2", "later", "before_body"],
    ),
    ("[[fault]]\ndelay = '200'", &["line 2", "200", "200ms"]),
    ("[[fault]]\nslow_read = 'slow'", &["line 2", "slow", "10kb"]),
    (
        "[[fault]]\nstop_reading = { after_bytes = 1 }",
        &["line 2", "for"],
    ),
    (
        "[[host]]\nhost = 0\nstate = 'ill'",
        &["line 3", "ill", "silent"],
    ),
    ("[[fault]]\nkey = 'a'", &["fault 1", "no action"]),
    (
        "[[fault]]\nnth = 0\nomit_reqid = true",
        &["fault 1", "count from 1"],
    ),
    (
        "[[fault]]\nconnection_every = 2\nomit_reqid = true",
        &["fault 1", "connection_every"],
    ),
    (
        "[[fault]]\nconnection = 1\nconnection_every = 0\nomit_reqid = true",
        &["fault 1", "connection_every"],
    ),
    (
        "[[fault]]\ntimes = 0\nomit_reqid = true",
        &["fault 1", "never"],
    ),
    (
        "[[fault]]\nnth = 1\nprobability = 0.5\nomit_reqid = true",
        &["fault 1", "nth", "probability"],
    ),
    (
        "[[fault]]\nprobability = 1.5\nomit_reqid = true",
        &["fault 1", "0 to 1"],
    ),
    (
        "[[fault]]\nomit_reqid = true\n[[fault]]\nreset = 'after_body'\nhang = 'after_body'",
        &["fault 2", "reset", "hang"],
    ),
    (
        "[[fault]]\ncut_answer = 1\nanswer_text = 'x'",
        &["fault 1", "cut_answer", "answer_text"],
    ),
    ("[[fault]]\nanswer = { status = 100 }", &["fault 1", "100"]),
    (
        "[[fault]]\nanswer = { status = 500, headers = { 'a b' = 'c' } }",
        &["fault 1", "a b"],
    ),
];

/// Whatever is wrong with a plan, the error says where and what: a line for what cannot be read, the
/// fault's number for what contradicts itself.
#[test]
fn errors_name_the_place() {
    for (text, words) in WRONG_PLANS {
        let error = text.parse::<FaultPlan>().expect_err(text).to_string();
        for word in *words {
            assert!(
                error.contains(word),
                "{text:?} gave {error:?} without {word:?}"
            );
        }
    }
}

/// What would never happen is refused, not taken and forgotten.
#[test]
fn nothing_is_taken_that_cannot_happen() {
    let rows: [(&str, &[&str]); 9] = [
        ("reset = 'before_body'\nhold = 'a'", &["reset", "hold"]),
        ("close = 'after_body'\nwrong = 'md5'", &["close", "wrong"]),
        (
            "hang = 'after_body'\nomit_reqid = true",
            &["hang", "omit_reqid"],
        ),
        (
            "answer = { status = 500 }\nlose_answer = 'close'",
            &["answer", "lose_answer"],
        ),
        (
            "answer = { status = 500 }\nexpire = 'token'",
            &["answer", "expire"],
        ),
        (
            "answer = { status = 500, headers = { Content-Length = '9' } }",
            &["Content-Length", "cut_answer"],
        ),
        (
            "connection_every = 2\nomit_reqid = true",
            &["connection_every"],
        ),
        (
            "connection = 1\nconnection_every = 0\nomit_reqid = true",
            &["connection_every"],
        ),
        (
            "answer = { status = 500, headers = { transfer-encoding = 'chunked' } }",
            &["transfer-encoding"],
        ),
    ];
    for (text, words) in rows {
        let text = format!("[[fault]]\n{text}");
        let error = text.parse::<FaultPlan>().expect_err(&text).to_string();
        let all = words.iter().all(|word| error.contains(word));
        assert!(all && error.contains("fault 1"), "{text:?} gave {error:?}");
    }
    let both = "[[fault]]\nanswer = { status = 500 }\nomit_reqid = true\ncut_answer = 2";
    assert!(both.parse::<FaultPlan>().is_ok());
}

/// A plan about a host that is not there is refused, at the start and later.
#[tokio::test]
async fn hosts_beyond_the_last_are_refused() {
    let rows = [
        "[[fault]]\nhost = 1\nomit_reqid = true",
        "[[host]]\nhost = 1\nstate = 'dead'",
    ];
    let server = DevServer::builder().start().await.expect("a dev server");
    for text in rows {
        let plan: FaultPlan = text.parse().expect("a valid plan");
        let later = server.faults().replace(plan.clone()).expect_err(text);
        let builder = DevServer::builder().faults(plan.clone());
        let error = builder.start().await.err().expect("no server");
        for error in [later.to_string(), error.to_string()] {
            assert!(
                error.contains("host 1") && error.contains("1 listen"),
                "{error}"
            );
        }
        let two = DevServer::builder().hosts(2).faults(plan).start().await;
        assert!(two.is_ok(), "{text}");
    }
}
