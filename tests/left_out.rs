//! Says at the end of `cargo test` what the run left out, and why.
//!
//! Not a test: a program (`harness = false`) whose name sorts behind every test binary's, so that
//! cargo runs it last, and whose output cargo does not hold back. Only the doc tests follow.

#![expect(clippy::print_stdout, reason = "to print is what it is for")]

// The same conditions as the tests themselves ask for.
#[path = "outside/support/needs.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod needs;

use std::process::ExitCode;

use needs::{CHROMIUM, CURL, MICROSOCKS, NODE_SDK, Need, PYTHON_SDK, TINYPROXY};

/// What tests may need, and which tests.
const NEEDS: [(&str, Need); 6] = [
    ("outside: peers::python_*", PYTHON_SDK),
    ("outside: peers::node_*", NODE_SDK),
    ("network: packaged::tinyproxy", TINYPROXY),
    ("network: packaged::microsocks", MICROSOCKS),
    ("backend: curl::*", CURL),
    ("backend: browser::*", CHROMIUM),
];

fn main() -> ExitCode {
    // A test runner may ask for the names of tests.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        if !arguments.iter().any(|argument| argument == "--ignored") {
            println!("left_out: test");
        }
        return ExitCode::SUCCESS;
    }
    // A filter runs some tests by name; then nobody asks what was left out.
    if arguments.iter().any(|argument| !argument.starts_with('-')) {
        return ExitCode::SUCCESS;
    }
    let missing: Vec<_> = NEEDS
        .iter()
        .filter(|(_, need)| need.find().is_none())
        .collect();
    if missing.is_empty() {
        println!("\nNothing was left out: this machine has all that the tests need.\n");
        return ExitCode::SUCCESS;
    }
    println!("\nLEFT OUT of this run, for want of what this machine does not have:");
    for (tests, need) in missing {
        println!("  {tests}");
        println!("      need {}; to get it: {}", need.what, need.how);
    }
    println!("With HAUL_REQUIRE_ALL=1 these are failures instead.\n");
    ExitCode::SUCCESS
}
