//! Words to the dev server itself, for tests that run it as a process: `/.haul/control/…`.
//!
//! | call | does |
//! | --- | --- |
//! | `GET held/<name>?wait=10s` | 200 `{"held":n}` once an answer is held under the name; 408 if none is within the wait (default: none) |
//! | `POST release/<name>` | sends what is held under the name: 200 `{"released":n}` |
//! | `GET requests` | [`Requests`] as JSON |
//! | `PUT faults` | follows the fault plan in the body (TOML) from now on; 400 says what is wrong with it |
//!
//! Only peers on this machine are heard. No fault applies to these calls, and they are not among the
//! requests counted; their connections are.
//!
//! [`Requests`]: crate::devserver::Requests

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::time::timeout;

use crate::devserver::exchange::Reply;
use crate::devserver::faults::FaultPlan;
use crate::devserver::server::Shared;

/// Longest fault plan, in bytes: a thousand faults.
const PLAN_LEN_MAX: usize = 256 * 1024;

/// Answers a control call. `rest` is its target after `control/`.
pub(crate) async fn answer(
    shared: &Shared,
    peer: SocketAddr,
    method: &Method,
    rest: &str,
    body: Incoming,
) -> Reply {
    if !peer.ip().to_canonical().is_loopback() {
        return Reply::error(403, "control calls are for this machine only");
    }
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (verb, name) = path.split_once('/').unwrap_or((path, ""));
    let name = percent_decode_str(name).decode_utf8_lossy();
    match (method.as_str(), verb) {
        ("GET", "held") => held(shared, &name, query).await,
        ("POST", "release") => {
            Reply::json(200, &json!({ "released": shared.faults.release(&name) }))
        }
        ("GET", "requests") => match serde_json::to_value(shared.counters.seen()) {
            Ok(seen) => Reply::json(200, &seen),
            Err(error) => Reply::error(500, &error.to_string()),
        },
        ("PUT", "faults") => replace_plan(shared, body).await,
        (_, "held" | "release" | "requests" | "faults") => Reply::error(405, "method not allowed"),
        _ => Reply::error(404, "no such control call"),
    }
}

async fn held(shared: &Shared, name: &str, query: &str) -> Reply {
    let wait = match query.strip_prefix("wait=").map(humantime::parse_duration) {
        None => Duration::ZERO,
        Some(Ok(wait)) => wait,
        Some(Err(why)) => return Reply::error(400, &format!("`{query}`: {why}")),
    };
    // The condition is looked at before the clock, so a wait of nothing is a question.
    tokio::select! {
        waited = timeout(wait, shared.faults.until_held(name)) => match waited {
            Ok(()) => Reply::json(200, &json!({ "held": shared.faults.held(name) })),
            Err(_) => Reply::error(408, "nothing is held under this name"),
        },
        () = shared.until_stopping() => Reply::error(503, "the server is stopping"),
    }
}

async fn replace_plan(shared: &Shared, body: Incoming) -> Reply {
    let bytes = match Limited::new(body, PLAN_LEN_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Reply::error(413, "the fault plan is too long"),
    };
    let plan = std::str::from_utf8(&bytes)
        .map_err(|why| why.to_string())
        .and_then(|text| text.parse::<FaultPlan>().map_err(|why| why.to_string()))
        .and_then(|plan| shared.faults.replace(plan).map_err(|why| why.to_string()));
    match plan {
        Ok(()) => Reply::json(200, &json!({})),
        Err(why) => Reply::error(400, &why),
    }
}
