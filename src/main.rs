//! The `haul` program. Reads the environment and the arguments once; the rest is [`haul::cli`].

use std::io::IsTerminal;
use std::process::ExitCode;

use haul::cli::{self, Environment, Streams};

fn main() -> ExitCode {
    let environment = Environment::new(std::env::vars_os());
    let streams = Streams {
        out: Box::new(std::io::stdout()),
        err: Box::new(std::io::stderr()),
        err_is_terminal: std::io::stderr().is_terminal(),
    };
    cli::run(std::env::args_os(), &environment, streams)
}
