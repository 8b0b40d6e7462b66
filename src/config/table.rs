//! The one table of settings. Flags, variables, config keys, defaults, help and `config show` all
//! come from it.

use crate::client::{STALL_TIMEOUT_MIN, TIME_LIMIT_MIN};
use crate::config::value::Kind;
use crate::kodo::multipart::{PART_LEN_MAX, PART_LEN_MIN};

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Key in the config file; `--name` with hyphens; `HAUL_NAME` in capitals.
    pub(crate) name: &'static str,
    /// One line for people.
    pub(crate) help: &'static str,
    /// What a value is called in help.
    pub(crate) value_name: &'static str,
    /// Which values are right.
    pub(crate) kind: Kind,
    /// What holds when nobody says anything; more than one only where `repeats`.
    pub(crate) default: &'static [&'static str],
    /// Where it may be set.
    pub(crate) places: Places,
    /// Another variable that is read after `HAUL_NAME`: those of the vendor's own tools.
    pub(crate) other_variable: Option<&'static str>,
    /// Never shown, never a flag, and a file that holds it must be private.
    pub(crate) secret: bool,
    /// Whether it takes several values.
    pub(crate) repeats: bool,
}

/// Where a setting may be set. The environment always counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Places {
    /// Flag, environment and file.
    All,
    /// Environment and file: secrets would be seen in the process list.
    NoFlag,
    /// Flag and environment: the config file cannot name itself.
    NoFile,
}

impl Setting {
    /// `--name`.
    pub(crate) fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// `HAUL_NAME`.
    pub(crate) fn variable(&self) -> String {
        format!("HAUL_{}", self.name.to_uppercase())
    }

    /// Whether there is a flag for it.
    pub(crate) fn has_flag(&self) -> bool {
        self.places != Places::NoFlag
    }

    /// Whether `value` must not be shown: a secret, or a proxy's URL with a password.
    pub(crate) fn hides(&self, value: &str) -> bool {
        self.secret || self.kind == Kind::Proxy && value.contains('@')
    }

    /// Whether the config file may hold it.
    pub(crate) fn in_file(&self) -> bool {
        self.places != Places::NoFile
    }
}

/// What a setting is unless its row says otherwise.
const PLAIN: Setting = Setting {
    name: "",
    help: "",
    value_name: "VALUE",
    kind: Kind::Text,
    default: &[],
    places: Places::All,
    other_variable: None,
    secret: false,
    repeats: false,
};

/// A limit of time; the stall limit alone has another minimum.
const TIME: Kind = Kind::Duration {
    min: TIME_LIMIT_MIN,
};

/// Highest rate floor, in bytes a second: more is a slip of the unit.
const MIN_RATE_MAX: u64 = 1 << 30;

/// Every setting, in the order in which people read them.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        name: "access_key",
        help: "Access key of the account",
        value_name: "KEY",
        other_variable: Some("QINIU_ACCESS_KEY"),
        ..PLAIN
    },
    Setting {
        name: "secret_key",
        help: "Secret key of the account",
        places: Places::NoFlag,
        other_variable: Some("QINIU_SECRET_KEY"),
        secret: true,
        ..PLAIN
    },
    Setting {
        name: "secret_key_file",
        help: "File whose only line is the secret key",
        value_name: "FILE",
        kind: Kind::Path,
        ..PLAIN
    },
    Setting {
        name: "upload_token",
        help: "A ready upload token, in place of the keys",
        places: Places::NoFlag,
        secret: true,
        ..PLAIN
    },
    Setting {
        name: "token_file",
        help: "File whose only line is a ready upload token",
        value_name: "FILE",
        kind: Kind::Path,
        ..PLAIN
    },
    Setting {
        name: "endpoint",
        help: "Upload host, in place of the bucket's own; may be given several times",
        value_name: "URL",
        kind: Kind::Url,
        repeats: true,
        ..PLAIN
    },
    Setting {
        name: "rs_url",
        help: "Management host (stat, ls, rm), in place of the bucket's own",
        value_name: "URL",
        kind: Kind::Url,
        ..PLAIN
    },
    Setting {
        name: "uc_url",
        help: "Hosts that say where a bucket lives, asked in this order; bare host names they \
               answer with inherit the scheme of the first",
        value_name: "URL",
        kind: Kind::Url,
        default: &[
            "https://uc.qiniuapi.com",
            "https://kodo-config.qiniuapi.com",
            "https://uc.qbox.me",
        ],
        repeats: true,
        ..PLAIN
    },
    Setting {
        name: "state_dir",
        help: "Where haul keeps its state; default $XDG_STATE_HOME/haul",
        value_name: "DIR",
        kind: Kind::Path,
        ..PLAIN
    },
    Setting {
        name: "spool_dir",
        help: "Where standard input is written before it is sent, so that the same input can go on after \
               a crash; without it, it goes from memory and begins anew",
        value_name: "DIR",
        kind: Kind::Path,
        ..PLAIN
    },
    Setting {
        name: "protocol",
        help: "How large files travel: v1 (blocks), v2 (parts), or what is right for the upload",
        kind: Kind::Word(&["auto", "v1", "v2"]),
        value_name: "WORD",
        default: &["auto"],
        ..PLAIN
    },
    Setting {
        name: "threshold",
        help: "Largest file that goes in one request: a size, or auto (1 MiB, on a known line what it \
               carries in 10 s, at most 8 MiB)",
        value_name: "SIZE",
        kind: Kind::SizeOrAuto,
        default: &["auto"],
        ..PLAIN
    },
    Setting {
        name: "part_size",
        help: "Size of the parts of a v2 upload; raised when 10000 of them would not suffice",
        value_name: "SIZE",
        kind: Kind::Size {
            min: PART_LEN_MIN,
            max: PART_LEN_MAX,
        },
        default: &["4MiB"],
        ..PLAIN
    },
    Setting {
        name: "window",
        help: "Lanes (blocks or parts) in flight at once, 1 to 16, or auto: what the line is worth",
        value_name: "COUNT",
        kind: Kind::NumberOrAuto { min: 1, max: 16 },
        default: &["auto"],
        ..PLAIN
    },
    Setting {
        name: "limit_rate",
        help: "Most bytes that uploads send in a second, all lanes together: 100KB/s, 8KiB/s, 1mbit, \
               or none",
        value_name: "RATE",
        kind: Kind::RateOrNone,
        default: &["none"],
        ..PLAIN
    },
    Setting {
        name: "proxy",
        help: "Proxy for every host: http://, https://, socks5:// or socks5h://[user:password@]\
               host:port, or none; without it those of the environment (https_proxy and the like)",
        value_name: "URL",
        kind: Kind::Proxy,
        ..PLAIN
    },
    Setting {
        name: "no_proxy",
        help: "Hosts reached without the proxy, separated by commas; without it $no_proxy",
        value_name: "HOSTS",
        ..PLAIN
    },
    Setting {
        name: "ca_file",
        help: "PEM file of certificate authorities to trust beside the system's",
        value_name: "FILE",
        kind: Kind::Path,
        ..PLAIN
    },
    Setting {
        name: "tls_min_version",
        help: "Oldest version of TLS to speak: 1.2 or 1.3",
        value_name: "VERSION",
        kind: Kind::Word(&["1.2", "1.3"]),
        default: &["1.2"],
        ..PLAIN
    },
    Setting {
        name: "congestion_control",
        help: "TCP congestion control of uploads (Linux): bbr, system (what the system is set to), or auto: \
               bbr in place of cubic or reno where a round trip takes 10 ms or more, and the kernel lets \
               haul have it",
        kind: Kind::Word(&["auto", "bbr", "system"]),
        value_name: "WORD",
        default: &["auto"],
        ..PLAIN
    },
    Setting {
        name: "connect_timeout",
        help: "How long a host may take to accept a connection, and again for TLS",
        value_name: "TIME",
        kind: TIME,
        default: &["10s"],
        ..PLAIN
    },
    Setting {
        name: "stall_timeout",
        help: "How long nothing may be acknowledged while bytes are on their way, at least 1s",
        value_name: "TIME",
        kind: Kind::Duration {
            min: STALL_TIMEOUT_MIN,
        },
        default: &["30s"],
        ..PLAIN
    },
    Setting {
        name: "min_rate",
        help: "Slowest pace of a connection, in bytes a second over a minute; 0 for none",
        value_name: "SIZE",
        kind: Kind::Size {
            min: 0,
            max: MIN_RATE_MAX,
        },
        default: &["256"],
        ..PLAIN
    },
    Setting {
        name: "response_timeout",
        help: "How long an answer may take once its request is acknowledged whole, of any call",
        value_name: "TIME",
        kind: TIME,
        default: &["60s"],
        ..PLAIN
    },
    Setting {
        name: "commit_timeout",
        help: "The same for the last request of an upload, when the service joins what it has",
        value_name: "TIME",
        kind: TIME,
        default: &["5m"],
        ..PLAIN
    },
    Setting {
        name: "part_timeout",
        help: "Hard limit for one attempt at one segment; without it eight times what the line's \
               pace explains",
        value_name: "TIME",
        kind: TIME,
        ..PLAIN
    },
    Setting {
        name: "part_attempts",
        help: "Failed attempts in a row that one segment may have; 0 counts none",
        value_name: "COUNT",
        kind: Kind::Number {
            min: 0,
            max: u32::MAX as u64,
        },
        default: &["0"],
        ..PLAIN
    },
    Setting {
        name: "retry_budget",
        help: "How long to go on trying while nothing is acknowledged",
        value_name: "TIME",
        kind: TIME,
        default: &["15m"],
        ..PLAIN
    },
    Setting {
        name: "wait_online",
        help: "Wait out outages of any length: while nobody can be reached, nothing ends an upload",
        kind: Kind::Flag,
        default: &["false"],
        ..PLAIN
    },
    Setting {
        name: "require_resume",
        help: "Stop before anything is sent when the upload could not be resumed later",
        kind: Kind::Flag,
        default: &["false"],
        ..PLAIN
    },
    Setting {
        name: "config",
        help: "Config file; default $XDG_CONFIG_HOME/haul/config.toml",
        value_name: "FILE",
        kind: Kind::Path,
        places: Places::NoFile,
        ..PLAIN
    },
    Setting {
        name: "json",
        help: "One JSON object per line on stdout, for programs",
        kind: Kind::Flag,
        default: &["false"],
        ..PLAIN
    },
    Setting {
        name: "verbose",
        help: "Say more on stderr: every retry and choice; twice: every request",
        value_name: "0..2",
        kind: Kind::Count,
        default: &["0"],
        ..PLAIN
    },
];

/// The row called `name`, if there is one.
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}
