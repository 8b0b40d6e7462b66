//! The two signatures of management calls, made and checked.
//!
//! Both cover the target exactly as sent. `QBox` leaves out method and host; `Qiniu` covers them and
//! is what we send. Source: protocol reference, sections 1.3 and 1.4.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use crate::kodo::credentials::Credentials;

/// The type of bodies that both schemes sign.
pub const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
/// The type of bodies that neither scheme signs.
const OCTETS: &str = "application/octet-stream";

/// Prefix of the headers that `Qiniu` covers; a name must be longer than it.
const SIGNED_PREFIX: &str = "x-qiniu-";

/// What of a request is signed. No `Debug`: its headers may hold somebody's signature.
#[derive(Clone, Copy)]
pub struct Signable<'a> {
    /// `GET`, `POST`, …
    pub method: &'a str,
    /// Path and query exactly as sent.
    pub target: &'a str,
    /// Value of the `Host` header, with its port if it has one.
    pub host: &'a str,
    /// Value of the `Content-Type` header.
    pub content_type: Option<&'a str>,
    /// Headers of the request; only `X-Qiniu-…` count.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a [u8],
}

/// The `Authorization` value of the older scheme: `QBox AK:sign`.
pub fn qbox(credentials: &Credentials, request: &Signable<'_>) -> String {
    authorization("QBox", credentials, &qbox_text(request))
}

/// The `Authorization` value of the newer scheme: `Qiniu AK:sign`.
pub fn qiniu(credentials: &Credentials, request: &Signable<'_>) -> String {
    let text = qiniu_text(request, is_body_signed_by_all(request));
    authorization("Qiniu", credentials, &text)
}

/// Whether `authorization` is the signature of `request` by these keys, in either scheme.
///
/// The SDKs disagree on signing bodies of rare types (`text/plain`, say) in the `Qiniu` scheme;
/// either reading is accepted.
pub fn verify(credentials: &Credentials, authorization: &str, request: &Signable<'_>) -> bool {
    let Some((scheme, rest)) = authorization.split_once(' ') else {
        return false;
    };
    let Some((access_key, sign)) = rest.split_once(':') else {
        return false;
    };
    if access_key != credentials.access_key.as_str() {
        return false;
    }
    match scheme {
        "QBox" => credentials.verify(&qbox_text(request), sign),
        "Qiniu" => {
            let strict = is_body_signed_by_all(request);
            let wide = request.content_type.is_some_and(|it| !is(it, OCTETS));
            credentials.verify(&qiniu_text(request, strict), sign)
                || (wide != strict && credentials.verify(&qiniu_text(request, wide), sign))
        }
        _ => false,
    }
}

/// A time as `X-Qiniu-Date` has it: `YYYYMMDDTHHMMSSZ`, UTC. Times no calendar has become the nearest
/// that one has.
pub fn date(at: SystemTime) -> String {
    /// 9999-12-31T23:59:59Z.
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    let at = SystemTime::UNIX_EPOCH + since.unwrap_or_default().min(LAST);
    // `Sun, 06 Nov 1994 08:49:37 GMT`: the calendar is httpdate's, the order of the pieces ours.
    let text = httpdate::fmt_http_date(at);
    let pieces: Vec<&str> = text.split([' ', ':']).collect();
    let [_, day, month, year, hour, minute, second, _] = pieces[..] else {
        return String::new();
    };
    let month = MONTHS.iter().position(|name| *name == month);
    let month = month.map_or(0, |index| index + 1);
    format!("{year}{month:02}{day}T{hour}{minute}{second}Z")
}

/// Names of months in HTTP dates, in order.
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The time in an `X-Qiniu-Date` header; `None` for text that is none.
pub fn parse_date(text: &str) -> Option<SystemTime> {
    let has_form = text.len() == 16 && text.is_ascii();
    if !has_form || !text.ends_with('Z') || &text[8..9] != "T" {
        return None;
    }
    let number = |digits: &str| -> Option<u64> {
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        all.then(|| digits.parse().ok()).flatten()
    };
    let (year, month, day) = (
        number(&text[..4])?,
        number(&text[4..6])?,
        number(&text[6..8])?,
    );
    // Days before this year and month, counted from 1970 with the leap days in between.
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let is_leap = leap_days(year) > leap_days(year.checked_sub(1)?);
    let lens = [
        31,
        28 + u64::from(is_leap),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let month = usize::try_from(month.checked_sub(1)?).ok()?;
    let days_of_month = lens.get(month)?;
    let (hour, minute, second) = (
        number(&text[9..11])?,
        number(&text[11..13])?,
        number(&text[13..15])?,
    );
    let is_fine = (1..=*days_of_month).contains(&day) && hour < 24 && minute < 60 && second < 60;
    if year < 1970 || !is_fine {
        return None;
    }
    let years = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    let days = years + lens[..month].iter().sum::<u64>() + day - 1;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn authorization(scheme: &str, credentials: &Credentials, text: &[u8]) -> String {
    let sign = credentials.sign(text);
    format!("{scheme} {}:{sign}", credentials.access_key)
}

fn qbox_text(request: &Signable<'_>) -> Vec<u8> {
    let mut text = format!("{}\n", request.target).into_bytes();
    if request.content_type.is_some_and(|it| is(it, FORM)) {
        text.extend_from_slice(request.body);
    }
    text
}

fn qiniu_text(request: &Signable<'_>, with_body: bool) -> Vec<u8> {
    let mut text = format!(
        "{} {}\nHost: {}\n",
        request.method, request.target, request.host
    )
    .into_bytes();
    if let Some(content_type) = request.content_type {
        text.extend_from_slice(format!("Content-Type: {content_type}\n").as_bytes());
    }
    for (name, value) in signed_headers(request.headers) {
        text.extend_from_slice(format!("{name}: ").as_bytes());
        text.extend_from_slice(value);
        text.push(b'\n');
    }
    text.push(b'\n');
    if with_body {
        text.extend_from_slice(request.body);
    }
    text
}

/// The `X-Qiniu-…` headers in canonical spelling, sorted by it. Of a repeated one the first counts.
fn signed_headers(headers: &HeaderMap) -> Vec<(String, &[u8])> {
    let mut signed: Vec<(String, &[u8])> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(SIGNED_PREFIX))
        .filter(|name| name.as_str().len() > SIGNED_PREFIX.len())
        .filter_map(|name| Some((canonical(name.as_str()), headers.get(name)?.as_bytes())))
        .collect();
    signed.sort();
    signed
}

/// `x-qiniu-date` as `X-Qiniu-Date`.
fn canonical(name: &str) -> String {
    let mut starts_word = true;
    name.chars()
        .map(|char| {
            let char = if starts_word {
                char.to_ascii_uppercase()
            } else {
                char.to_ascii_lowercase()
            };
            starts_word = char == '-';
            char
        })
        .collect()
}

/// Whether all SDKs sign this request's body: for the two types that the strictest (Go) names.
fn is_body_signed_by_all(request: &Signable<'_>) -> bool {
    request
        .content_type
        .is_some_and(|it| is(it, FORM) || is(it, JSON))
}

/// Compares media types as the SDKs do: whole, so that one with parameters is another one.
fn is(content_type: &str, media_type: &str) -> bool {
    content_type.eq_ignore_ascii_case(media_type)
}

#[cfg(test)]
mod tests;
