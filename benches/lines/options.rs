//! What the bench is asked to do.

use std::path::PathBuf;

use crate::contestant::Contestant;

/// How to ask.
pub(crate) const USAGE: &str = "\
cargo bench --bench lines [-- OPTIONS] [ROW]...

Rows: of that name, else those whose name holds the word; all without a word.

  --list          what rows there are
  --quick         an eighth of the bytes, haul and raw only
  --rounds N      every row so often; the table has the median (1)
  --seeds N       so many seeds in the rows where chance decides
  --only A,B      these contestants: raw, raw-hashed, haul, library, curl, python, node
  --jobs N        so many rows at once (1), but for those that need the processor
  --check         fails when something that must hold does not
  --json          one JSON object per run on stdout, and no table
  --haul PATH     this haul, in place of the one built with the bench
  --server PATH   the same for the haul whose `serve` is the server
  --haul-flag F   a further flag for `haul put`; may be given several times";

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) rows: Vec<String>,
    pub(crate) is_list: bool,
    pub(crate) is_quick: bool,
    pub(crate) is_json: bool,
    pub(crate) is_check: bool,
    pub(crate) rounds: u32,
    pub(crate) seeds: Option<u64>,
    pub(crate) jobs: usize,
    pub(crate) only: Vec<Contestant>,
    pub(crate) haul: PathBuf,
    pub(crate) server: PathBuf,
    pub(crate) haul_flags: Vec<String>,
}

impl Options {
    /// Reads the arguments behind the program's name; an error says what is wrong with them.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            rows: Vec::new(),
            is_list: false,
            is_quick: false,
            is_json: false,
            is_check: false,
            rounds: 1,
            seeds: None,
            jobs: 1,
            only: Vec::new(),
            haul: env!("CARGO_BIN_EXE_haul").into(),
            server: env!("CARGO_BIN_EXE_haul").into(),
            haul_flags: Vec::new(),
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
            match argument.as_str() {
                // What cargo itself adds.
                "--bench" => {}
                "--list" => options.is_list = true,
                "--quick" => options.is_quick = true,
                "--json" => options.is_json = true,
                "--check" => options.is_check = true,
                "--rounds" => options.rounds = count(&value()?)?,
                "--seeds" => options.seeds = Some(count(&value()?)?),
                "--jobs" => options.jobs = count(&value()?)?,
                "--only" => options.only = contestants(&value()?)?,
                "--haul" => options.haul = value()?.into(),
                "--server" => options.server = value()?.into(),
                "--haul-flag" => options.haul_flags.push(value()?),
                flag if flag.starts_with('-') => return Err(format!("no such option: {flag}")),
                row => options.rows.push(row.to_owned()),
            }
        }
        Ok(options)
    }

    /// Whether the row of this name, one of `all`, is asked for: a word that is a row's whole name
    /// stands for that one only.
    pub(crate) fn wants(&self, row: &str, all: &[&str]) -> bool {
        let is_meant = |word: &String| match all.contains(&word.as_str()) {
            true => row == word,
            false => row.contains(word.as_str()),
        };
        self.rows.is_empty() || self.rows.iter().any(is_meant)
    }

    /// Whether a contestant is asked for. Raw always is: it is the measure of the others.
    pub(crate) fn has(&self, contestant: Contestant) -> bool {
        let is_chosen = match self.is_quick && self.only.is_empty() {
            true => matches!(contestant, Contestant::Haul | Contestant::Library),
            false => self.only.is_empty() || self.only.contains(&contestant),
        };
        contestant == Contestant::Raw || is_chosen
    }
}

/// A number of at least 1.
fn count<T: std::str::FromStr + PartialOrd + From<u8>>(text: &str) -> Result<T, String> {
    let count = text.parse().ok().filter(|count| *count >= T::from(1));
    count.ok_or(format!("`{text}` is no number from 1 on"))
}

fn contestants(names: &str) -> Result<Vec<Contestant>, String> {
    let one = |name: &str| {
        let found = Contestant::ALL
            .into_iter()
            .find(|contestant| contestant.name() == name);
        found.ok_or(format!("no such contestant: {name}"))
    };
    names.split(',').map(one).collect()
}
