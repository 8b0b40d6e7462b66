//! The command line. Commands and their own flags are declared here; the flags of settings come
//! from the table of settings.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cli::policy_args::PolicyArgs;
use crate::cli::terminal::printable;
use crate::config::value::Kind;
use crate::config::{SETTINGS, Setting};

/// Uploads files into object storage over lines that are slow, flaky or both.
#[derive(Debug, Parser)]
#[command(name = "haul", version, max_term_width = 100, after_long_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What no flag can say.
const AFTER_HELP: &str = "\
Every setting is also a variable (HAUL_NAME) and a key of the config file (name): a flag goes \
before a variable, a variable before the file. Secrets are never flags: HAUL_SECRET_KEY, \
`secret_key` in a config file that only you can read, --secret-key-file, or a ready token in \
HAUL_UPLOAD_TOKEN or --token-file.

Exit codes: 0 done · 1 not finished, run the same line again · 2 usage or configuration · 4 refused \
by the service · 5 source missing, unreadable or changed · 6 no network path, or no Kodo answers · \
7 stored, but the service's callback failed · 130 interrupted";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Upload a file
    Put(PutArgs),
    /// Unfinished uploads of this machine: list them (the default), show one, give one up
    Uploads {
        #[command(subcommand)]
        command: Option<UploadsCommand>,
    },
    /// Show in half a minute what haul does: a slow line, a cut, a kill, and the same object
    ///
    /// No account, no set-up: a server in this process behind a slow line. The line is cut once, the
    /// uploading process killed once, the upload resumed and compared. Nothing is left behind.
    Demo(DemoArgs),
    /// Show an object's hash, size, type and time
    Stat(ObjectArgs),
    /// List objects
    Ls(ListArgs),
    /// Remove an object
    Rm(ObjectArgs),
    /// Compute the hash (etag) that the service gives a file
    Etag(EtagArgs),
    /// Make an upload token and print it
    Token(Box<PolicyArgs>),
    /// Settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Run the dev server: a Kodo for developers and tests
    Serve(ServeArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// The file to upload; `-` is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// kodo://BUCKET/KEY or local://BUCKET/KEY; a trailing `/` keeps the file's name
    #[arg(value_name = "DEST")]
    pub(crate) destination: String,
    /// The object's key, in place of the destination's; may be ''
    #[arg(long, value_name = "KEY", conflicts_with = "no_key")]
    pub(crate) key: Option<String>,
    /// Let the service name the object
    #[arg(long)]
    pub(crate) no_key: bool,
    /// The object's type; else the service decides
    #[arg(long, value_name = "TYPE")]
    pub(crate) mime_type: Option<String>,
    /// Original name told to the service, in place of the file's own
    #[arg(long, value_name = "NAME")]
    pub(crate) file_name: Option<String>,
    /// Metadata kept with the object; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) meta: Vec<(String, String)>,
    /// Custom variable for returnBody and callbacks; may be given several times
    #[arg(long, value_name = "x:NAME=VALUE", value_parser = pair)]
    pub(crate) var: Vec<(String, String)>,
    /// Never replace an object that has other content
    #[arg(long)]
    pub(crate) insert_only: bool,
    /// Length of standard input, in bytes: shorter or longer makes no object
    #[arg(long, value_name = "BYTES")]
    pub(crate) size: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UploadsCommand {
    /// One line each: id, destination, how much is stored, age, expiry, who is at it
    List,
    /// All that is known of one
    Show {
        /// Its id, or the first digits of it
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Forget one, so that the next run begins anew; v2 parts are dropped at the service, too
    Abort {
        /// Its id, or the first digits of it
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Give back to the service what could not be given back before; remove what crashes left
    Clean,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The file to upload; default: 8 MiB made for it
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ObjectArgs {
    /// kodo://BUCKET/KEY or local://BUCKET/KEY
    #[arg(value_name = "OBJECT")]
    pub(crate) object: String,
    /// The object's key, in place of the URL's; may be ''
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// kodo://BUCKET/PREFIX or local://BUCKET/PREFIX
    #[arg(value_name = "PREFIX")]
    pub(crate) prefix: String,
    /// Stop after this many objects
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct EtagArgs {
    /// The files
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show every setting's effective value and where it comes from; secrets are masked
    Show,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on; port 0 takes a free one; several stand for several hosts
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: Vec<std::net::SocketAddr>,
    /// Keep objects in this directory; default: the store of local://
    #[arg(long, value_name = "DIR", group = "place")]
    pub(crate) root: Option<PathBuf>,
    /// Keep objects in memory
    #[arg(long, group = "place")]
    pub(crate) memory: bool,
    /// Count and hash the bytes, then drop them: for benchmarks
    #[arg(long, group = "place")]
    pub(crate) discard: bool,
    /// Only these buckets exist; default: any
    #[arg(long, value_name = "NAME")]
    pub(crate) bucket: Vec<String>,
    /// Speed of the line, such as 1mbit or 64kbit
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<String>,
    /// Delay of the line, such as 50ms
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) latency: Option<std::time::Duration>,
    /// Fault plan (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,
}

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) cli: Cli,
    /// All of it, as a shell takes it: for the advice to run it again.
    pub(crate) line: String,
    matches: ArgMatches,
}

impl Parsed {
    /// Reads `arguments`; the first is the program's name.
    pub(crate) fn new(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let words = arguments.iter().map(|word| quoted(word));
        let line = words.collect::<Vec<_>>().join(" ");
        let matches = command().try_get_matches_from(arguments)?;
        let cli = Cli::from_arg_matches(&matches)?;
        Ok(Self { cli, line, matches })
    }

    /// The values that the flag of `setting` was given; none if it was not given.
    pub(crate) fn values(&self, setting: &Setting) -> Vec<String> {
        let mut matches = &self.matches;
        // A flag of a setting may stand anywhere: the innermost command knows them all.
        while let Some((_, inner)) = matches.subcommand() {
            matches = inner;
        }
        match setting.kind {
            Kind::Flag if matches.get_flag(setting.name) => vec!["true".to_owned()],
            Kind::Flag => Vec::new(),
            Kind::Count => match matches.get_count(setting.name) {
                0 => Vec::new(),
                count => vec![count.min(crate::config::value::VERBOSE_MAX).to_string()],
            },
            _ => matches
                .get_many::<String>(setting.name)
                .map(|values| values.cloned().collect())
                .unwrap_or_default(),
        }
    }
}

/// The whole command line: the commands, and one flag for every setting that has one.
pub(crate) fn command() -> clap::Command {
    let settings = SETTINGS.iter().filter(|setting| setting.has_flag());
    Cli::command().args(settings.map(flag))
}

/// The flag of a setting. Not shown by `-h`, which is for the command's own.
fn flag(setting: &'static Setting) -> Arg {
    let mut help = setting.help.to_owned();
    if setting.kind != Kind::Flag && setting.kind != Kind::Count && !setting.default.is_empty() {
        help = format!("{help} [default: {}]", setting.default.join(", "));
    }
    let arg = Arg::new(setting.name)
        .long(setting.flag())
        .help(help)
        .help_heading("Settings")
        .global(true)
        .hide_short_help(!matches!(setting.name, "json" | "verbose"));
    match setting.kind {
        Kind::Flag => arg.action(ArgAction::SetTrue),
        Kind::Count => arg.short('v').action(ArgAction::Count),
        _ if setting.repeats => arg.value_name(setting.value_name).action(ArgAction::Append),
        _ => arg.value_name(setting.value_name).action(ArgAction::Set),
    }
}

/// `word` as a POSIX shell takes it.
fn quoted(word: &OsStr) -> String {
    let word = printable(&word.to_string_lossy());
    let plain = |char: char| char.is_alphanumeric() || "-_./:=@%+,".contains(char);
    if !word.is_empty() && word.chars().all(plain) {
        return word;
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// `NAME=VALUE`; the value may hold further `=`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}
