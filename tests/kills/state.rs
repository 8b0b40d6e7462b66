//! The state directory cannot be written: that is said, and the upload is made without resume.

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use haul::{ErrorKind, Event, Uploader};

use crate::rig::{Rig, V1, V2, end};
use crate::world::{Server, World, content};

/// Three lanes.
const LEN: usize = (8 << 20) + 5;

/// Directories that nobody can make, not even root.
fn impossible(world: &World) -> [String; 3] {
    let file = world.file("in-the-way", b"");
    let dir = world.path("taken");
    std::fs::create_dir(&dir).unwrap();
    world.file("taken/uploads", b"");
    [
        format!("{file}/state"),
        dir.display().to_string(),
        "/proc/none/state".to_owned(),
    ]
}

#[test]
fn not_there() {
    for flags in [V1, V2] {
        let rig = Rig::new(flags, LEN, "");
        for dir in impossible(&rig.world) {
            let line = rig.line(&rig.file, "kodo://b/k");
            let ran = rig.world.run(&[&line[..], &["--state-dir", &dir]].concat());
            ran.expect(0, &["could not be resumed"]);
            rig.expect_stored(&dir);
        }
    }
}

/// No home, so no state directory: nothing to warn of at every upload.
#[test]
fn none_at_all() {
    let server = Server::new();
    let world = World::beside(&server).set("HOME", "");
    let file = world.file("f", &content(LEN));
    let ran = world.run(&["put", &file, "kodo://b/k"]);
    ran.expect(0, &[]);
}

/// The disk is full, at once or after some records: files may not grow beyond so many blocks
/// of 512 bytes.
#[test]
fn full() {
    for flags in [V1, V2] {
        for blocks in [0, 1, 2] {
            let story = format!("{flags:?}, {blocks} blocks");
            let rig = Rig::new(flags, LEN, "");
            let line = rig.line(&rig.file, "kodo://b/k");
            let program = rig.world.command(&line);
            // The signal that comes with the limit would kill; without it writing fails.
            let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
            let mut shell = std::process::Command::new("sh");
            shell
                .args(["-c", &limited])
                .arg(program.get_program())
                .args(program.get_args())
                .env_clear()
                .envs(
                    program
                        .get_envs()
                        .filter_map(|(name, value)| Some((name, value?))),
                )
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let ran = end(shell.spawn().unwrap());
            ran.expect(0, &["resumed"]);
            rig.expect_stored(&story);
        }
    }
}

/// The program says so too, and ends with 1.
#[test]
fn required_on_the_line() {
    let rig = Rig::new(V1, LEN, "");
    let line = rig.line(&rig.file, "kodo://b/k");
    for dir in impossible(&rig.world) {
        let flags = ["--require-resume", "--state-dir", &dir];
        let ran = rig.world.run(&[&line[..], &flags].concat());
        ran.expect(1, &["could not be resumed", "state directory"]);
        assert!(rig.server.server.requests().operations.is_empty(), "{dir}");
    }
    let ran = rig.world.run(&[&line[..], &["--require-resume"]].concat());
    ran.expect(0, &[]);
}

/// Who requires resume learns before anything is sent that there is none.
#[test]
fn required() {
    let server = Server::new();
    let world = World::new();
    let file = world.file("f", &content(LEN));
    let keys = server.server.credentials();
    let builder = || {
        Uploader::builder()
            .credentials(keys.access_key.as_str(), keys.secret_key.expose())
            .endpoint(server.server.url())
    };
    let impossible = impossible(&world);
    let rows = impossible.iter().map(|dir| (Some(dir), ErrorKind::Local));
    for (dir, kind) in rows.chain([(None, ErrorKind::Config)]) {
        let builder = dir
            .iter()
            .fold(builder(), |builder, dir| builder.state_dir(dir));
        let uploader = builder.require_resume().build().unwrap();
        let put = uploader.put_file("b", "k", &file);
        let error = server.runtime.block_on(put.into_future()).unwrap_err();
        assert_eq!(error.kind(), kind, "{dir:?}: {error}");
        assert!(error.next_step().is_some(), "{dir:?}: {error}");
        assert!(server.server.requests().operations.is_empty(), "{dir:?}");
    }
    let uploader = builder().state_dir(world.path("fine")).require_resume();
    let put = uploader.build().unwrap().put_file("b", "k", &file);
    let notices = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&notices);
    let put = put.on_event(move |event| {
        if let Event::Notice(what) = event {
            heard.lock().unwrap().push(what.clone());
        }
    });
    server.runtime.block_on(put.into_future()).unwrap();
    assert_eq!(*notices.lock().unwrap(), Vec::<String>::new());
}
