//! The short version of `cargo bench --bench backend`.

use crate::load::{self, FAULTS, Tally};
use crate::process::{Backend, until};
use crate::support::content;
use crate::support::server::Server;

/// Uploads at the same time.
const COUNT: u64 = 40;

/// Descriptors that may stay open: connections to the storage, kept for the next upload.
const DESCRIPTORS_KEPT: usize = 40;

/// Forty uploads at the same time behind which everything that passes goes wrong: all are stored right,
/// twice over; then no descriptor is left but for kept connections, and the second round needs no more
/// memory than the first did.
#[test]
fn forty() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = folder.path().join("faults.toml");
    content::write(&plan, FAULTS);
    let place = vec!["--discard".into(), "--faults".into(), plan.into()];
    let server = Server::start_at(place, "127.0.0.1:0");
    let backend = Backend::start(&server, &[]);
    for seed in 0..2 {
        let tally = load::round(&backend, &server, COUNT, seed);
        let all = Tally {
            stored: COUNT,
            failed: 0,
        };
        assert_eq!(tally, all, "{:?}", backend.logged());
        assert_eq!(backend.number("haul_uploads_running"), 0);
        if cfg!(target_os = "linux") {
            until("descriptors are given back", || {
                backend.weight().1 <= DESCRIPTORS_KEPT
            });
        }
    }
}
