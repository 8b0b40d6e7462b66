//! `kodo://BUCKET/KEY` and `local://BUCKET/KEY`.

use std::path::Path;

use crate::error::{Error, ErrorKind};
use crate::model::{Bucket, ObjectKey};

/// Which service a URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// `kodo://`: Qiniu Kodo, or whatever `endpoint` points to.
    Kodo,
    /// `local://`: the dev server in this process.
    Local,
}

/// A URL of the command line, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) service: Service,
    pub(crate) bucket: Bucket,
    /// Everything after the bucket's slash, literally: no percent-decoding, `?` and `#` are
    /// ordinary characters.
    pub(crate) path: String,
}

/// The key options of `put`, `stat` and `rm`.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyChoice {
    /// `--key`; may be empty.
    pub(crate) key: Option<String>,
    /// `--no-key`.
    pub(crate) no_key: bool,
}

impl Destination {
    /// Reads `text`.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let (service, rest) = match text.split_once("://") {
            Some(("kodo", rest)) => (Service::Kodo, rest),
            Some(("local", rest)) => (Service::Local, rest),
            _ => {
                return Err(usage(format!("`{text}` is no destination"))
                    .next("write kodo://BUCKET/KEY or local://BUCKET/KEY"));
            }
        };
        let Some((bucket, path)) = rest.split_once('/') else {
            return Err(
                usage(format!("`{text}` has no slash after the bucket")).next(format!(
                    "write {text}/KEY, or {text}/ for the file's own name"
                )),
            );
        };
        Ok(Self {
            service,
            bucket: Bucket::new(bucket)?,
            path: path.to_owned(),
        })
    }

    /// The key under which `file` is put; None lets the service name the object.
    pub(crate) fn key_for(
        &self,
        file: &Path,
        choice: &KeyChoice,
    ) -> Result<Option<ObjectKey>, Error> {
        if choice.no_key {
            return Ok(None);
        }
        if let Some(key) = &choice.key {
            return Ok(Some(ObjectKey::new(key)?));
        }
        if !(self.path.is_empty() || self.path.ends_with('/')) {
            return Ok(Some(ObjectKey::new(self.path.as_str())?));
        }
        if file.as_os_str() == "-" {
            return Err(usage(format!(
                "`{self}` names no object, and standard input has no name"
            ))
            .next("give the whole key: kodo://BUCKET/KEY"));
        }
        let Some(name) = file.file_name() else {
            return Err(usage(format!("`{}` has no file name", file.display()))
                .next("give the whole key: kodo://BUCKET/KEY"));
        };
        let Some(name) = name.to_str() else {
            return Err(usage(format!(
                "the name of `{}` is no UTF-8, and a key must be",
                file.display()
            ))
            .next("choose the object's name with --key"));
        };
        Ok(Some(ObjectKey::new(format!("{}{name}", self.path))?))
    }

    /// The key of an object that is there, for `stat` and `rm`.
    pub(crate) fn key_of_object(&self, key: Option<&str>) -> Result<ObjectKey, Error> {
        match key {
            Some(key) => Ok(ObjectKey::new(key)?),
            None if self.path.is_empty() => {
                Err(usage(format!("`{self}` names a bucket, but no object"))
                    .next("add the key; the object with the empty key is --key ''"))
            }
            None => Ok(ObjectKey::new(self.path.as_str())?),
        }
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = match self.service {
            Service::Kodo => "kodo",
            Service::Local => "local",
        };
        write!(f, "{scheme}://{}/{}", self.bucket, self.path)
    }
}

/// A usage error.
fn usage(message: String) -> Error {
    Error::new(ErrorKind::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What follows the bucket's slash is the key, to the letter.
    #[test]
    fn keys_are_literal() {
        let rows = [
            ("kodo://b/a.txt", "b", "a.txt"),
            ("local://b/", "b", ""),
            ("kodo://b//x", "b", "/x"),
            ("kodo://my-bucket/a%20b?c#d e", "my-bucket", "a%20b?c#d e"),
            ("kodo://b/目录/é", "b", "目录/é"),
            ("kodo://b/kodo://c/d", "b", "kodo://c/d"),
        ];
        for (text, bucket, path) in rows {
            let read = Destination::parse(text).unwrap();
            assert_eq!((read.bucket.as_str(), read.path.as_str()), (bucket, path));
            assert_eq!(read.to_string(), text);
        }
        for bad in [
            "",
            "b/key",
            "http://b/k",
            "kodo://b",
            "kodo:///k",
            "kodo://",
            "Kodo://b/k",
        ] {
            let error = Destination::parse(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{bad}");
        }
    }

    /// A prefix keeps the file's name; `--key` and `--no-key` go before what the URL says.
    #[test]
    fn the_key_of_a_put() {
        type Row<'a> = (&'a str, &'a str, Option<&'a str>, bool, Option<&'a str>);
        let rows: [Row; 7] = [
            ("kodo://b/k", "/tmp/f.txt", None, false, Some("k")),
            ("kodo://b/", "/tmp/f.txt", None, false, Some("f.txt")),
            ("kodo://b/p/", "f.txt", None, false, Some("p/f.txt")),
            ("kodo://b/p/", "f.txt", Some("x/"), false, Some("x/")),
            ("kodo://b/", "f.txt", Some(""), false, Some("")),
            ("kodo://b/k", "f.txt", None, true, None),
            ("kodo://b//", "f.txt", None, false, Some("/f.txt")),
        ];
        for (url, file, key, no_key, expected) in rows {
            let choice = KeyChoice {
                key: key.map(str::to_owned),
                no_key,
            };
            let destination = Destination::parse(url).unwrap();
            let read = destination.key_for(Path::new(file), &choice).unwrap();
            assert_eq!(
                read.as_ref().map(ObjectKey::as_str),
                expected,
                "{url} {file}"
            );
        }
    }

    /// A name that is no UTF-8 is no trouble once the key is known.
    #[cfg(unix)]
    #[test]
    fn names_that_are_no_utf8() {
        use std::os::unix::ffi::OsStrExt;
        let file = Path::new(std::ffi::OsStr::from_bytes(b"/tmp/\xff.bin"));
        let prefix = Destination::parse("kodo://b/").unwrap();
        let error = prefix.key_for(file, &KeyChoice::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.next_step().unwrap().contains("--key"));
        let whole = Destination::parse("kodo://b/k").unwrap();
        assert!(whole.key_for(file, &KeyChoice::default()).is_ok());
    }
}
