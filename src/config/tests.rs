//! The table from outside: precedence, files, secrets, and the example file.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::config::{Config, Environment, Origin, SETTINGS, Settings, table};
use crate::error::{Error, ErrorKind};

/// One test's world: flags, variables, and a config file of its own.
struct World {
    dir: tempfile::TempDir,
    flags: Vec<(&'static str, String)>,
    variables: Vec<(String, String)>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().display().to_string();
        Self {
            variables: vec![("XDG_CONFIG_HOME".to_owned(), home)],
            flags: Vec::new(),
            dir,
        }
    }

    fn file(self, text: &str) -> Self {
        self.file_with_mode(text, 0o600)
    }

    fn file_with_mode(self, text: &str, mode: u32) -> Self {
        let path = self.config_path();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.set_permissions(std::fs::Permissions::from_mode(mode))
                .unwrap();
        }
        self
    }

    fn config_path(&self) -> PathBuf {
        self.dir.path().join("haul/config.toml")
    }

    fn flag(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.flags.push((name, value.into()));
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn environment(&self) -> Environment {
        let pairs = self.variables.iter();
        Environment::new(pairs.map(|(name, value)| (OsString::from(name), OsString::from(value))))
    }

    fn settings(&self) -> Result<Settings, Error> {
        let values = |setting: &table::Setting| {
            let given = self.flags.iter().filter(|(name, _)| *name == setting.name);
            given.map(|(_, value)| value.clone()).collect()
        };
        Settings::resolve(values, &self.environment())
    }

    fn config(&self) -> Result<Config, Error> {
        Config::new(&self.settings()?, &self.environment())
    }

    fn error(&self) -> Error {
        let error = self.config().expect_err("this cannot be right");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        error
    }
}

/// A flag goes before a variable, a variable before the file, the file before the default; and the
/// origin is remembered.
#[test]
fn precedence() {
    let world = || World::new().file("part_size = \"2MiB\"");
    let shown = |world: &World| {
        let settings = world.settings().unwrap();
        let row = settings.row("part_size").unwrap();
        (row.shown().join(","), row.origin.clone())
    };
    assert_eq!(shown(&World::new()), ("4MiB".to_owned(), Origin::Default));
    let in_file = world();
    assert_eq!(
        shown(&in_file),
        ("2MiB".to_owned(), Origin::File(in_file.config_path()))
    );
    let in_variable = world().variable("HAUL_PART_SIZE", "3MiB");
    assert_eq!(
        shown(&in_variable),
        (
            "3MiB".to_owned(),
            Origin::Environment("HAUL_PART_SIZE".to_owned())
        )
    );
    let by_flag = world()
        .variable("HAUL_PART_SIZE", "3MiB")
        .flag("part_size", "5MiB");
    assert_eq!(shown(&by_flag), ("5MiB".to_owned(), Origin::Flag));
    let empty = world().variable("HAUL_PART_SIZE", "");
    assert_eq!(shown(&empty).0, "2MiB", "an empty variable is not set");
}

/// The vendor's variables count, after our own.
#[test]
fn vendor_variables() {
    let world = World::new()
        .variable("QINIU_ACCESS_KEY", "theirs")
        .variable("QINIU_SECRET_KEY", "secret");
    let keys = world.config().unwrap().credentials.unwrap();
    assert_eq!(keys.access_key.as_str(), "theirs");
    let both = world.variable("HAUL_ACCESS_KEY", "ours");
    let keys = both.config().unwrap().credentials.unwrap();
    assert_eq!(keys.access_key.as_str(), "ours");
}

/// Every mistake in a config file or a value names the place, the key, and what would be right.
#[test]
fn mistakes_are_explained() {
    let rows: [(&str, &[&str]); 10] = [
        ("part_sise = 1", &["`part_sise`", "config.toml"]),
        (
            "part_size = 3",
            &["`part_size`", "`3`", "1.0 MiB", "config.toml"],
        ),
        ("part_size = 1.5", &["`part_size`", "float"]),
        ("part_size = [1]", &["`part_size`", "array"]),
        ("protocol = \"v3\"", &["`protocol`", "auto, v1, v2"]),
        (
            "endpoint = \"ftp://x\"",
            &["`endpoint`", "http://host:port"],
        ),
        ("connect_timeout = 10", &["`connect_timeout`", "`10s`"]),
        (
            "stall_timeout = \"999ms\"",
            &["`stall_timeout`", "at least 1s"],
        ),
        ("config = \"x\"", &["`config`"]),
        ("json = true\n[table]\nx = 1", &["`table`"]),
    ];
    for (text, expected) in rows {
        let message = World::new().file(text).error().to_string();
        for words in expected {
            assert!(message.contains(words), "{text}: {message}");
        }
    }
    let flag = World::new().flag("part_size", "x").error().to_string();
    assert!(flag.contains("--part-size cannot be `x`"), "{flag}");
    let variable = World::new().variable("HAUL_PROTOCOL", "x").error();
    assert!(variable.to_string().contains("HAUL_PROTOCOL"), "{variable}");
    let missing = World::new().flag("config", "/nowhere/x.toml").error();
    assert!(missing.to_string().contains("/nowhere/x.toml"), "{missing}");
}

/// What a parser complains about may be the line with the secret: it is never quoted.
#[test]
fn secrets_stay_out_of_messages() {
    for text in [
        "secret_key = \"HUSH",
        "secret_key = HUSH",
        "secret_key = [\"HUSH\"]",
        "secret_key = \"HUSH HUSH\"\naccess_key = \"a\"",
        "upload_token = \"HUSH\"",
        "secret_key = \"HUSH\"",
    ] {
        let error = World::new().file(text).error();
        let said = format!("{error} {error:?} {:?}", error.next_step());
        assert!(!said.contains("HUSH"), "{text}: {said}");
    }
    let world = World::new()
        .variable("HAUL_SECRET_KEY", "HUSH")
        .variable("HAUL_ACCESS_KEY", "a");
    let said = format!("{:?} {:?}", world.settings(), world.config());
    assert!(!said.contains("HUSH"), "{said}");
}

/// A config file with a secret that others can read is refused, with the cure; without a secret its
/// mode does not matter.
#[cfg(unix)]
#[test]
fn open_files_with_secrets_are_refused() {
    let secret = "access_key = \"a\"\nsecret_key = \"s\"";
    for (text, mode, refused) in [
        (secret, 0o600, false),
        (secret, 0o400, false),
        (secret, 0o640, true),
        (secret, 0o604, true),
        ("upload_token = \"t\"", 0o644, true),
        ("json = true", 0o644, false),
    ] {
        let world = World::new().file_with_mode(text, mode);
        match world.settings() {
            Ok(_) => assert!(!refused, "{text} {mode:o}"),
            Err(error) => {
                assert!(refused, "{text} {mode:o}: {error}");
                let cure = format!("chmod 600 {}", world.config_path().display());
                assert_eq!(error.next_step(), Some(cure.as_str()));
            }
        }
    }
}

/// A secret comes from one place: the one of higher precedence; two equal ones are a mistake.
#[test]
fn secrets_from_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let write = |text: &str| {
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    write("from-file\n");
    let path_text = path.display().to_string();
    let by_flag = World::new()
        .variable("HAUL_ACCESS_KEY", "a")
        .variable("HAUL_SECRET_KEY", "from-env")
        .flag("secret_key_file", path_text.as_str());
    let keys = by_flag.config().unwrap().credentials.unwrap();
    assert_eq!(keys.secret_key.expose(), "from-file");
    let twice = World::new()
        .variable("HAUL_ACCESS_KEY", "a")
        .variable("HAUL_SECRET_KEY", "from-env")
        .variable("HAUL_SECRET_KEY_FILE", &path_text);
    assert!(twice.error().to_string().contains("both"));
    for wrong in ["", "\n", "two\nlines\n"] {
        write(wrong);
        assert!(by_flag.error().to_string().contains("exactly one line"));
    }
}

/// One key without the other is half a pair, and the message says which half is missing.
#[test]
fn half_a_key_pair() {
    let access = World::new().variable("HAUL_ACCESS_KEY", "a").error();
    assert!(access.to_string().contains("no secret key"), "{access}");
    let secret = World::new().variable("HAUL_SECRET_KEY", "s").error();
    assert!(secret.to_string().contains("no access key"), "{secret}");
    assert!(World::new().config().unwrap().credentials.is_none());
}

/// A proxy's password is shown nowhere, is no flag, and makes its file a private one; the
/// environment's proxy is shown where no setting names one.
#[test]
fn proxies_and_their_passwords() {
    let url = "http://me:HUSH@p:3128";
    let shown = |world: &World, name: &str| {
        let settings = world.settings().unwrap();
        assert!(!format!("{settings:?}").contains("HUSH"));
        assert!(!format!("{:?}", world.config().unwrap()).contains("HUSH"));
        let row = settings.row(name).unwrap();
        format!("{} [{}]", row.shown().join(","), row.origin)
    };
    let set = World::new().variable("HAUL_PROXY", url);
    let masked = "http://me:********@p:3128";
    assert_eq!(
        shown(&set, "proxy"),
        format!("{masked} [environment HAUL_PROXY]")
    );
    let theirs = World::new()
        .variable("https_proxy", url)
        .variable("NO_PROXY", "a, b");
    assert_eq!(
        shown(&theirs, "proxy"),
        format!("{masked} [environment https_proxy]")
    );
    assert_eq!(shown(&theirs, "no_proxy"), "a, b [environment NO_PROXY]");
    let none = World::new()
        .variable("https_proxy", url)
        .flag("proxy", "none");
    assert_eq!(shown(&none, "proxy"), "none [flag]");

    let line = format!("proxy = \"{url}\"");
    for (story, world, expected) in [
        (
            "a flag",
            World::new().flag("proxy", url),
            "must not hold a password",
        ),
        (
            "a wrong one",
            World::new().variable("HAUL_PROXY", "ftp://me:HUSH@p"),
            "`ftp` is no kind",
        ),
        (
            "others read it",
            World::new().file_with_mode(&line, 0o644),
            "other users can read it",
        ),
    ] {
        if cfg!(windows) && story == "others read it" {
            continue;
        }
        let error = format!("{:?}", world.error());
        assert!(
            error.contains(expected) && !error.contains("HUSH"),
            "{story}: {error}"
        );
    }
    // What the environment says wrong matters to those who use the network only.
    let broken = World::new().variable("ALL_PROXY", "socks4://me:HUSH@p");
    let error = broken.config().unwrap().uploader().unwrap_err();
    let error = format!("{error:?} {error}");
    assert!(
        error.contains("ALL_PROXY") && !error.contains("HUSH"),
        "{error}"
    );
}

/// Names that make a flag, a variable and a key; no secret is a flag; every default is a value that
/// the setting takes.
#[test]
fn the_table_is_sound() {
    for setting in SETTINGS {
        let fine = |char: char| char.is_ascii_lowercase() || char == '_';
        assert!(setting.name.chars().all(fine), "{}", setting.name);
        assert!(!(setting.secret && setting.has_flag()), "{}", setting.name);
        for default in setting.default {
            assert_eq!(setting.kind.check(default), Ok(()), "{}", setting.name);
        }
    }
}

/// `config.example.toml` parses, documents every setting, and shows the true defaults.
#[test]
fn the_example_file_is_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let named = path.display().to_string();
    let example = World::new().flag("config", named).settings().unwrap();
    let default = World::new().settings().unwrap();
    for setting in SETTINGS.iter().filter(|setting| setting.in_file()) {
        let name = setting.name;
        let shown = example.row(name).unwrap();
        if name != "state_dir" {
            assert_eq!(shown.values, default.row(name).unwrap().values, "{name}");
        }
        let stands = |line: &str| line.starts_with(&format!("{name} = "));
        if setting.default.is_empty() {
            let commented = |line: &str| line.strip_prefix('#').is_some_and(stands);
            assert!(text.lines().any(commented), "`#{name} = …` is missing");
        } else {
            assert!(text.lines().any(stands), "`{name} = …` is missing");
        }
    }
    let uncommented: Vec<String> = text
        .lines()
        .map(|line| line.strip_prefix('#').unwrap_or(line))
        .filter(|line| line.contains(" = ") && !line.starts_with(' '))
        .map(|line| format!("{line}\n"))
        .collect();
    let all: toml::Table = toml::from_str(&uncommented.concat()).unwrap();
    for name in all.keys() {
        assert!(table::find(name).is_some(), "`{name}` is no setting");
    }
}

/// State and config follow the XDG rules; a relative base directory does not count.
#[test]
fn directories() {
    let state = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter();
        let environment = Environment::new(pairs.map(|(name, value)| (name.into(), value.into())));
        environment.state_dir()
    };
    let home = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
    if cfg!(unix) {
        assert_eq!(
            state(&[("XDG_STATE_HOME", "/s"), (home, "/h")]),
            Some("/s/haul".into())
        );
        assert_eq!(
            state(&[("XDG_STATE_HOME", "s"), (home, "/h")]),
            Some("/h/.local/state/haul".into())
        );
    }
    assert_eq!(state(&[]), None);
    let error = World::new()
        .config()
        .unwrap()
        .state_dir()
        .unwrap_err()
        .to_string();
    assert!(error.contains("XDG_STATE_HOME"), "{error}");
}
