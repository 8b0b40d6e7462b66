//! Two processes: one upload belongs to one of them, and different uploads do not meet.

use haul::devserver::Operation;

use crate::rig::{Rig, SEGMENT_LEN_MAX, V1, V2, WINDOW, end, files_in, number, until};
use crate::world::{Server, World, content};

/// Three lanes: two are held, one is still to come.
const LEN: usize = (8 << 20) + 5;

/// Every segment's answer is held, from the third on.
const HOLD: &str = "[[fault]]\noperation = [\"mkblk\", \"bput\", \"part\"]\nfrom = 3\nhold = \"h\"";

/// The second process sends nothing and says who holds the upload; the first one ends as if nothing
/// had been. The same while the commit is under way.
#[test]
fn one_upload() {
    let rows = [
        (V1, "mkblk", Operation::Mkblk),
        (V1, "mkfile", Operation::Mkfile),
        (V2, "initiate", Operation::Initiate),
        (V2, "part", Operation::Part),
    ];
    for (flags, name, operation) in rows {
        let plan = format!("[[fault]]\noperation = \"{name}\"\nfrom = 1\nhold = \"h\"");
        let rig = Rig::new(flags, LEN, &plan);
        let first = rig.start_until_stuck(operation, "hold");
        let seen = rig.server.server.requests();
        let who = format!("held by process {}", first.child.id());
        let second = rig.run();
        second.expect(1, &[&who, "wait for it"]);
        assert_eq!(second.last_json()["kind"], "held", "{second:#?}");
        let after = rig.server.server.requests();
        let sent = after.of(operation).requests;
        assert!(sent <= seen.of(operation).requests + 1, "{name}: {after:?}");
        rig.heal();
        // What is held now, and what is on its way to be.
        let child = std::thread::spawn(move || first.end());
        until("the first one ends", || {
            rig.server.server.faults().release("h");
            child.is_finished()
        });
        child.join().unwrap().expect(0, &[]);
        assert!(files_in(&rig.world, "").is_empty(), "{name}");
    }
}

/// The same file at once to two keys, another bucket, and another server: four journals, and each
/// upload resumes its own.
#[test]
fn independent_uploads() {
    let (here, there) = (Server::with(HOLD), Server::with(HOLD));
    let world = World::beside(&here);
    let file = world.file("f.bin", &content(LEN));
    let keys = there.server.credentials();
    let elsewhere = [
        ("HAUL_ENDPOINT", there.server.url()),
        ("HAUL_ACCESS_KEY", keys.access_key.as_str()),
        ("HAUL_SECRET_KEY", keys.secret_key.expose()),
    ];
    let rows = [
        ("kodo://b/k", &[][..]),
        ("kodo://b/l", &[]),
        ("kodo://c/k", &[]),
        ("kodo://b/k", &elsewhere),
    ];
    let command = |destination: &str, variables: &[(&str, &str)]| {
        let line = [&["put", &file, destination, "--json"], V1].concat();
        let mut command = world.command(&line);
        command.envs(variables.iter().copied());
        command
    };
    let mut children = Vec::new();
    for (destination, variables) in rows {
        let quiet = std::process::Stdio::null;
        let mut command = command(destination, variables);
        children.push(command.stdout(quiet()).stderr(quiet()).spawn().unwrap());
    }
    // The counts are the server's, over all of its uploads: the first two answers went out. Who got
    // one has two lanes in flight, the others one.
    until("three uploads wait here", || {
        here.server.faults().held("h") >= 2 * WINDOW
    });
    until("one waits there", || {
        there.server.faults().held("h") >= WINDOW
    });
    assert_eq!(files_in(&world, "journal").len(), 4);
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for server in [&here, &there] {
        server.server.faults().replace(Default::default()).unwrap();
    }
    let mut resumed = 0;
    for (destination, variables) in rows {
        let mut command = command(destination, variables);
        let piped = std::process::Stdio::piped;
        let ran = end(command.stdout(piped()).stderr(piped()).spawn().unwrap());
        ran.expect(0, &[]);
        assert_eq!(
            number(&ran, "sent_bytes") + number(&ran, "resumed_bytes"),
            LEN as u64
        );
        resumed += number(&ran, "resumed_bytes");
    }
    assert!(resumed > 0, "nothing was acknowledged before the kill");
    let in_flight = WINDOW as u64 * SEGMENT_LEN_MAX;
    let most = 4 * (LEN as u64 + in_flight);
    assert!(here.body_bytes() + there.body_bytes() <= most);
    assert!(files_in(&world, "").is_empty());
}
