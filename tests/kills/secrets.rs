//! Nothing secret is printed, logged, stored or formatted, whatever happens.

use std::path::Path;
use std::sync::{Arc, Mutex};

use haul::Uploader;
use haul::kodo::Credentials;

use crate::rig::{FORM, Rig, V1, V2, WINDOW, end, files_in};

/// Three lanes.
const LEN: usize = (8 << 20) + 5;

/// What may stand nowhere: the key, and whatever begins a token or a signature.
fn secrets(keys: &Credentials, token: &str) -> Vec<String> {
    let access_key = keys.access_key.as_str();
    let mut secrets = vec![
        keys.secret_key.expose().to_owned(),
        "WRONG-SECRET".to_owned(),
        "PROXY-PASSWORD".to_owned(),
        // Every token and every signature: the access key alone is a name.
        format!("{access_key}:"),
        // Every put policy: base64 of `{"scope":` and `{"deadline":`.
        "eyJzY29wZSI6".to_owned(),
        "eyJkZWFkbGluZSI6".to_owned(),
    ];
    secrets.extend(["UpToken ", "QBox ", "Qiniu "].map(str::to_owned));
    secrets.extend(token.split(':').skip(1).map(str::to_owned));
    secrets
}

#[track_caller]
fn expect_none(secrets: &[String], bytes: &[u8], wher: &str) {
    for secret in secrets {
        let found = bytes
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(
            !found,
            "{wher} holds {secret}: {}",
            String::from_utf8_lossy(bytes)
        );
    }
}

/// Looks into every file below `dir`, and at its name; says how many journals there were.
fn look_into(dir: &Path, secrets: &[String]) -> usize {
    let mut journals = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display().to_string();
        expect_none(secrets, name.as_bytes(), "a file's name");
        if path.is_dir() {
            journals += look_into(&path, secrets);
        } else {
            expect_none(secrets, &std::fs::read(&path).unwrap(), &name);
            journals += usize::from(name.ends_with(".journal"));
        }
    }
    journals
}

/// Waits until answers are held and a segment is in the journal: only what is recorded is asked for by
/// the next run.
fn until_held_and_recorded(rig: &Rig) {
    let held = || rig.server.server.faults().held("h") >= WINDOW - 1;
    crate::rig::until("answers are held", held);
    let journal = || files_in(&rig.world, "journal").pop();
    let text = || journal().and_then(|path| std::fs::read_to_string(path).ok());
    let recorded = || text().is_some_and(|text| text.contains("\"digest\""));
    crate::rig::until("a segment is recorded", recorded);
}

/// A run is killed, the next one is refused, one meets trouble, one is done: all at the highest
/// verbosity, with keys and with a ready token.
#[test]
fn in_what_the_program_leaves() {
    let faults = "[[fault]]\noperation = [\"mkblk\", \"part\", \"form\"]\nfrom = 2\nhold = \"h\"";
    // The first answer repeats the token, as a careless proxy might.
    let trouble = "[[fault]]\nnth = 1\nanswer = { status = 503, body = 'no: TOKEN' }\n\
        [[fault]]\nnth = 2\nexpire = \"token\"\n[[fault]]\nnth = 3\nreset = \"after_body\"";
    for flags in [V1, V2, FORM] {
        for by_token in [false, true] {
            let rig = Rig::new(flags, LEN, faults);
            let token = rig.server.token("k", |_| {});
            let expired = rig.server.token("k", |policy| policy.deadline = 1);
            let mut secrets = secrets(rig.server.server.credentials(), &token);
            secrets.extend(expired.split(':').skip(1).map(str::to_owned));
            let state = rig.world.path(".local");
            let line = [&rig.line(&rig.file, "kodo://b/k")[..], &["-vvv"]].concat();
            let command = |name: &str, value: &str| {
                let mut command = rig.world.command(&line);
                if by_token {
                    command.env("HAUL_UPLOAD_TOKEN", &token);
                }
                command
                    .env(name, value)
                    .stdout(std::process::Stdio::piped())
                    .stderr(std::process::Stdio::piped());
                command.spawn().unwrap()
            };
            let mut killed = command("NONE", "");
            if flags == FORM {
                let seen = || !rig.server.server.requests().operations.is_empty();
                crate::rig::until("it sends", seen);
            } else {
                until_held_and_recorded(&rig);
            }
            killed.kill().unwrap();
            let said = killed.wait_with_output().unwrap();
            expect_none(
                &secrets,
                &[said.stdout, said.stderr].concat(),
                "a killed run",
            );
            assert_eq!(look_into(&state, &secrets), 1, "{flags:?}");

            rig.server
                .server
                .faults()
                .replace(trouble.replace("TOKEN", &token).parse().unwrap())
                .unwrap();
            let (refused, wrong) = match by_token {
                true => ("HAUL_UPLOAD_TOKEN", expired.as_str()),
                false => ("HAUL_SECRET_KEY", "WRONG-SECRET"),
            };
            // The killed form may be stored, and who has no right may not look.
            let refusal = if flags == FORM && !by_token { 1 } else { 4 };
            // In v2 it is the list that meets the refusal, and the upload does without.
            let in_trouble = if by_token && flags != V2 { 4 } else { 0 };
            for (story, name, value, code) in [
                ("a refused run", refused, wrong, refusal),
                ("a run in trouble", "NONE", "", in_trouble),
                ("a run after it", "NONE", "", 0),
            ] {
                let ran = end(command(name, value));
                let said = format!("{}{}", ran.out, ran.err);
                expect_none(&secrets, said.as_bytes(), story);
                look_into(&state, &secrets);
                let story = format!("{flags:?}, by token: {by_token}, {story}");
                assert_eq!(ran.code, Some(code), "{story}: {ran:#?}");
            }
        }
    }
}

/// Everything public that knows a secret can be formatted.
#[test]
fn in_what_the_library_formats() {
    let faults =
        "[[fault]]\nnth = 1\nanswer = { status = 503 }\n[[fault]]\nnth = 2\nexpire = \"token\"";
    let rig = Rig::new(V1, LEN, faults);
    let keys = rig.server.server.credentials();
    let token = rig.server.token("k", |_| {});
    let secrets = secrets(keys, &token);
    for secret in [keys.secret_key.expose(), "WRONG-SECRET"] {
        for token in [None, Some(&token)] {
            let mut builder = Uploader::builder()
                .credentials(keys.access_key.as_str(), secret)
                .endpoint(rig.server.server.url())
                .proxy("http://me:PROXY-PASSWORD@127.0.0.1:1")
                .no_proxy("127.0.0.1");
            if let Some(token) = token {
                builder = builder.upload_token(token);
            }
            let mut text = format!("{builder:#?}");
            let uploader = builder.build().unwrap();
            let heard = Arc::new(Mutex::new(Vec::new()));
            let hear = Arc::clone(&heard);
            let put = uploader
                .put_file("b", "k", &rig.file)
                .on_event(move |event| hear.lock().unwrap().push(format!("{event:#?}")));
            text += &format!("{uploader:#?} {put:#?}");
            let ended = rig.server.runtime.block_on(put.into_future());
            text += &format!("{ended:#?}");
            if let Err(error) = &ended {
                text += &format!("{error} {:?}", error.next_step());
            }
            text += &heard.lock().unwrap().join("\n");
            expect_none(&secrets, text.as_bytes(), "the library");
        }
    }
    expect_none(&secrets, format!("{keys:#?}").as_bytes(), "credentials");
}
