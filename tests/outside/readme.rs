//! What the README says is true: its commands run, its examples are read, its library example is the
//! one in `examples/`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::content;
use crate::support::server::{Server, haul};

/// The page itself.
const README: &str = include_str!("../../README.md");

/// The fenced blocks of one language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    let mut found = Vec::new();
    for piece in README.split(opening.as_str()).skip(1) {
        let (block, _) = piece.split_once("```").expect("a block is closed");
        found.push(block);
    }
    found
}

/// The program in the package's folder, with a state directory and a home of its own.
fn haul_in(state: &Path) -> Command {
    let mut command = haul();
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("HOME", state)
        .env("XDG_STATE_HOME", state.join("state"))
        .env("XDG_CONFIG_HOME", state.join("config"));
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {told}");
    output
}

/// The commands that open the page: the demo, an upload, stat, and the tests that CI runs too.
#[test]
fn first_commands() {
    let state = tempfile::tempdir().expect("a folder");
    let lines: Vec<_> = blocks("sh")[0].lines().collect();
    let [demo, put, stat, test] = lines[..] else {
        panic!("four commands open the page: {lines:?}");
    };
    // It takes half a minute, so only with a small file: a test of the program's does that.
    assert_eq!(demo, "cargo run --release -- demo");
    let hash = content::etag(README.as_bytes());
    for (line, expected) in [
        (put, format!("README.md\t{hash}\t{}\n", README.len())),
        (stat, hash.clone()),
    ] {
        let words = line.strip_prefix("cargo run --release -- ");
        let words = words.unwrap_or_else(|| panic!("from a fresh clone: {line}"));
        let output = run(haul_in(state.path()).args(words.split(' ')));
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(stdout.contains(&expected), "{line}: {stdout}");
    }
    let ci = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/run"));
    // A package from a registry comes without its CI.
    if let Ok(ci) = ci {
        assert!(ci.lines().any(|line| line == test), "CI runs {test:?}");
    }
}

/// Every other command of the page is one that the program knows, flags included.
#[test]
fn commands_exist() {
    let state = tempfile::tempdir().expect("a folder");
    let shown = blocks("sh").into_iter().flat_map(str::lines);
    let inline = README.split('`').skip(1).step_by(2);
    let mut checked = 0;
    for line in shown.chain(inline) {
        let Some(rest) = line.trim().strip_prefix("haul ") else {
            continue;
        };
        let words: Vec<_> = rest.split_whitespace().collect();
        let names = words.iter().take_while(|word| {
            word.starts_with(|char: char| char.is_ascii_lowercase()) && !word.contains(['.', ':'])
        });
        let mut help = haul_in(state.path());
        help.args(names).arg("--help");
        let help = String::from_utf8_lossy(&run(&mut help).stdout).into_owned();
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(*flag), "{line}: no {flag} in\n{help}");
        }
        checked += 1;
    }
    assert!(checked >= 10, "{checked} commands are on the page");
}

/// The examples of files: a config file and a fault plan.
#[test]
fn files_are_read() {
    let state = tempfile::tempdir().expect("a folder");
    for block in blocks("toml") {
        let name = block
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# "));
        let path = state
            .path()
            .join(name.expect("a block begins with its file's name"));
        content::write(&path, block);
        match name {
            Some("config.toml") => {
                // The key file that the example names is not here.
                let text = block.replace("secret_key_file", "# secret_key_file");
                content::write(&path, text);
                let mut show = haul_in(state.path());
                let output = run(show.args(["config", "show", "--config"]).arg(&path));
                let stdout = String::from_utf8_lossy(&output.stdout);
                assert!(stdout.contains("my-access-key"), "{stdout}");
            }
            Some("faults.toml") => {
                // It says that it listens, so it has read the plan.
                let flags = vec!["--memory".into(), "--faults".into(), path.into()];
                drop(Server::start_at(flags, "127.0.0.1:0"));
            }
            other => panic!("what is {other:?}?"),
        }
    }
}

/// The library example is the one that `cargo test` compiles.
#[test]
fn library_example_compiles() {
    let example = include_str!("../../examples/put.rs");
    // Lines are broken differently on the page.
    let squeeze = |text: &str| text.split_whitespace().collect::<String>();
    let shown = blocks("rust");
    assert!(!shown.is_empty());
    for block in shown {
        assert!(squeeze(example).contains(&squeeze(block)), "{block}");
    }
}

/// The exit codes of the page's table are those of the program's own help.
#[test]
fn exit_codes_are_those_of_the_help() {
    let state = tempfile::tempdir().expect("a folder");
    let help = run(haul_in(state.path()).arg("--help"));
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    // Lines break anywhere.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, told) = help.split_once("Exit codes: ").expect("the list");
    let told: Vec<_> = told
        .split(" · ")
        .map(|code| code.split(' ').next())
        .collect();
    let (_, table) = README.split_once("## Exit codes").expect("the table");
    let (table, _) = table.split_once("\n## ").expect("its end");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| "));
    let codes = rows.map(|row| row.split(' ').next());
    // No command takes several files yet, so nothing ends with 3.
    let numbers = |code: &Option<&str>| code.is_some_and(|code| code.parse::<u8>().is_ok());
    let codes: Vec<_> = codes
        .filter(numbers)
        .filter(|code| *code != Some("3"))
        .collect();
    assert_eq!(codes, told);
}
