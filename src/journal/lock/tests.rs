use std::sync::atomic::{AtomicBool, Ordering};

use crate::journal::lock::{DATE_MAX, Lock, LockError, Owner};

/// The file of a lock is removed by whoever is done, as the last thing he does; still there is never more than one who
/// holds it. Four threads take and remove it as fast as they can.
#[cfg(unix)]
#[test]
fn one_at_a_time_while_files_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.lock");
    let taken = AtomicBool::new(false);
    let race = || {
        let mut got = 0;
        while got < 300 {
            match Lock::take(&path, &Owner::this_process(1)) {
                Ok(lock) => {
                    assert!(!taken.swap(true, Ordering::SeqCst), "held twice");
                    got += 1;
                    std::thread::yield_now();
                    taken.store(false, Ordering::SeqCst);
                    lock.remove_file();
                }
                Err(LockError::Held(_)) => std::thread::yield_now(),
                Err(LockError::Io(error)) => panic!("{error}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(race);
        }
    });
}

/// The owner record is replaced whole, and says who it is, also when its time is nonsense.
#[test]
fn owners() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.lock");
    let long = Owner {
        pid: u32::MAX,
        since: u64::MAX,
        host: Some("a-machine-with-a-long-name.example.com".to_owned()),
    };
    assert_eq!(
        long.to_string(),
        "process 4294967295 on a-machine-with-a-long-name.example.com"
    );
    drop(Lock::take(&path, &long).unwrap());
    assert_eq!(Lock::holder(&path), None);
    let short = Owner {
        pid: 1,
        since: DATE_MAX - 1,
        host: None,
    };
    assert!(
        short.to_string().ends_with("31 Dec 9999 23:59:59 GMT"),
        "{short}"
    );
    let beyond = Owner {
        since: DATE_MAX,
        ..short.clone()
    };
    assert_eq!(beyond.to_string(), "process 1", "no calendar has that day");
    let _lock = Lock::take(&path, &short).unwrap();
    assert_eq!(Lock::holder(&path), Some(Some(short)));
}

/// A process is known by its number and its machine, both: state directories may be shared.
#[test]
fn who_is_this_process() {
    let this = Owner::this_process(1);
    let rows = [
        ("this one", this.clone(), true),
        (
            "later",
            Owner {
                since: 2,
                ..this.clone()
            },
            true,
        ),
        (
            "its neighbour",
            Owner {
                pid: this.pid ^ 1,
                ..this.clone()
            },
            false,
        ),
        (
            "elsewhere",
            Owner {
                host: Some("else.where".to_owned()),
                ..this.clone()
            },
            false,
        ),
    ];
    for (story, owner, expected) in rows {
        assert_eq!(owner.is_this_process(), expected, "{story}");
    }
    if cfg!(target_os = "linux") {
        let uname = std::process::Command::new("uname")
            .arg("-n")
            .output()
            .unwrap();
        let name = String::from_utf8(uname.stdout).unwrap();
        assert_eq!(this.host.as_deref(), Some(name.trim()));
    }
}
