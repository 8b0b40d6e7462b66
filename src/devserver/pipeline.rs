//! One request, from its head to its answer: what it asks for, what the plan does to it, what the
//! service says, and what of that is sent.
//!
//! An answer that comes before its request's body was read to the end (a refusal, mostly) is sent at
//! once. The rest of the body is then read and dropped if that is little, so that the connection can
//! serve the next request; a long rest ends the connection, and the answer says so.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, DATE, EXPECT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::clock;
use crate::devserver::arriving::{Arriving, stream_of};
use crate::devserver::connection::{Connection, End, LEFTOVER_LEN_MAX};
use crate::devserver::exchange::{BodyError, Operation, Reply};
use crate::devserver::faults::answer::{canned, with_wrong_field};
use crate::devserver::faults::effects::{Effects, Fate, Instead};
use crate::devserver::faults::{HostState, Loss, Moment};
use crate::devserver::outgoing::Outgoing;
use crate::devserver::route::{self, Call};
use crate::devserver::server::Shared;
use crate::devserver::{control, names};

const X_REQID: HeaderName = HeaderName::from_static("x-reqid");
const X_LOG: HeaderName = HeaderName::from_static("x-log");

/// What becomes of a request.
enum Outcome {
    /// It is answered.
    Answer(Reply),
    /// It is not.
    Lost(Loss),
}

/// Answers one request, or ends its connection.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Outgoing>, Infallible> {
    let started = clock::instant();
    let (head, incoming) = request.into_parts();
    let target = head
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let call = route::parse(&head.method, target);
    if let Call::Control { rest } = &call {
        let reply = control::answer(&shared, connection.peer, &head.method, rest, incoming).await;
        return Ok(response(reply, Some(shared.request_id(Operation::Manage))));
    }
    let operation = call.operation();
    #[cfg(test)]
    shared.log.begun(connection.arrival, operation, target);
    let mut body = Arriving::new(incoming, shared.counters.request(operation));
    let effects = effects(&shared, &connection, &call, &head, &mut body).await;
    if effects.holds_the_body_up() {
        connection.keep_little_unread();
    }
    let body = Arc::new(Mutex::new(body));
    let outcome = carry_out(&shared, &connection, call, &head, &body, &effects).await;
    let entry = Entry {
        head: &head,
        operation,
        received: body.lock().await.given(),
        started,
    };
    let reply = match outcome {
        Outcome::Answer(reply) => reply,
        Outcome::Lost(loss) => {
            let outcome = format!("{loss:?}").to_lowercase();
            entry.log(&outcome, 0);
            #[cfg(test)]
            shared.log.ended(connection.arrival, &entry, &outcome);
            lose(&shared, &connection, loss).await
        }
    };
    let request_id = (!effects.omit_reqid).then(|| shared.request_id(operation));
    let mut response = response(reply, request_id);
    if let Some(Fate::Cut(len)) = effects.fate {
        response = response.map(|body| body.cut_after(len, &connection));
    }
    settle(&connection, &head.headers, body, response.headers_mut()).await;
    entry.log(response.status().as_str(), response.body().len());
    #[cfg(test)]
    shared
        .log
        .ended(connection.arrival, &entry, response.status().as_str());
    Ok(response)
}

/// What the plan does to this request. Looks into its token and body only if the plan asks.
async fn effects(
    shared: &Shared,
    connection: &Connection,
    call: &Call,
    head: &Parts,
    body: &mut Arriving,
) -> Effects {
    let (operation, arrival) = (call.operation(), connection.arrival);
    if shared.faults.host_state(arrival.host) == HostState::BadGateway {
        return Effects::gateway();
    }
    let mut subject = call.subject();
    // Before any of it is read ahead.
    subject.body_len = body.remaining();
    if shared.faults.asks_for_names(operation, arrival) {
        names::complete(&mut subject, operation, &head.headers, body).await;
    }
    let effects = shared.faults.decide(operation, &subject, arrival);
    if effects.reading.flip_byte.is_some() && *call == Call::Form {
        let offset = names::file_offset(body).await.unwrap_or(0);
        body.object_begins_at(offset);
    }
    body.read_like(effects.reading);
    effects
}

/// Lets the service answer, or what the plan puts in its place.
async fn carry_out(
    shared: &Shared,
    connection: &Connection,
    call: Call,
    head: &Parts,
    body: &Arc<Mutex<Arriving>>,
    effects: &Effects,
) -> Outcome {
    if let Some(delay) = effects.delay {
        sleep(delay).await;
    }
    if let Some(interruption) = &effects.interruption {
        if read_until(body, interruption.at).await.is_err() {
            return Outcome::Lost(Loss::Close);
        }
        return match &interruption.with {
            Instead::Loss(loss) => Outcome::Lost(*loss),
            Instead::Answer(answer) => Outcome::Answer(canned(answer)),
        };
    }
    let mut reply = shared
        .service
        .answer(call, head, stream_of(body), effects.overrides)
        .await;
    if let Some(name) = &effects.hold {
        tokio::select! {
            biased;
            () = shared.faults.hold(name) => {}
            () = connection.gone() => return Outcome::Lost(Loss::Close),
            () = shared.until_stopping() => return Outcome::Lost(Loss::Close),
        }
    }
    if let Some(field) = effects.wrong {
        reply = with_wrong_field(reply, field);
    }
    match &effects.fate {
        Some(Fate::Lost(loss)) => Outcome::Lost(*loss),
        Some(Fate::Page { content_type, text }) => {
            Outcome::Answer(Reply::bytes(200, content_type, text.clone()))
        }
        Some(Fate::Cut(_)) | None => Outcome::Answer(reply),
    }
}

/// Reads the body up to the moment at which something happens.
async fn read_until(body: &Mutex<Arriving>, moment: Moment) -> Result<(), BodyError> {
    let mut body = body.lock().await;
    match moment {
        Moment::BeforeBody => Ok(()),
        Moment::AfterBodyBytes(len) => body.discard_to(len).await,
        Moment::AfterBody => body.discard_to(u64::MAX).await,
    }
}

/// Ends the connection instead of answering; never returns.
async fn lose(shared: &Shared, connection: &Connection, loss: Loss) -> ! {
    match loss {
        Loss::Reset => {
            shared.counters.reset();
            connection.end(End::Reset);
        }
        Loss::Close => connection.end(End::Close),
        Loss::Hang => {
            tokio::select! {
                biased;
                () = connection.gone() => {}
                () = shared.until_stopping() => {}
            }
            connection.end(End::Close);
        }
    }
    // The connection drops this request as it ends.
    std::future::pending().await
}

/// Sees to it that the connection can serve another request after this one, or says that it will not.
async fn settle(
    connection: &Connection,
    request: &HeaderMap,
    body: Arc<Mutex<Arriving>>,
    answer: &mut HeaderMap,
) {
    let (over, remaining) = {
        let body = body.lock().await;
        (body.is_over(), body.remaining())
    };
    if over {
        return;
    }
    // A client that waits for "100 Continue" will not send the body now.
    let expects = request.contains_key(EXPECT);
    if expects || remaining.is_some_and(|len| len > LEFTOVER_LEN_MAX) {
        answer.insert(CONNECTION, HeaderValue::from_static("close"));
    } else {
        connection.leave(body);
    }
}

/// A reply with what every answer has. Headers that the reply brought itself stay.
fn response(reply: Reply, request_id: Option<RequestId>) -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::new(reply.body));
    // Codes of three digits are all valid; anything else would be the service's bug.
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = reply.headers;
    let headers = response.headers_mut();
    let mut fill = |name: HeaderName, value: Option<HeaderValue>| {
        if let Some(value) = value {
            headers.entry(name).or_insert(value);
        }
    };
    fill(
        CONTENT_TYPE,
        Some(HeaderValue::from_static("application/json")),
    );
    fill(CACHE_CONTROL, Some(HeaderValue::from_static("no-store")));
    fill(
        DATE,
        HeaderValue::from_str(&httpdate::fmt_http_date(clock::wall())).ok(),
    );
    if let Some(request_id) = request_id {
        fill(X_REQID, HeaderValue::from_str(&request_id.id).ok());
        fill(X_LOG, HeaderValue::from_str(&request_id.log).ok());
    }
    response
}

/// What identifies a request to those who operate the service.
pub(crate) struct RequestId {
    /// `X-Reqid`.
    pub(crate) id: String,
    /// `X-Log`.
    pub(crate) log: String,
}

/// A line of the request log.
pub(crate) struct Entry<'a> {
    pub(crate) head: &'a Parts,
    pub(crate) operation: Operation,
    pub(crate) received: u64,
    started: Instant,
}

impl Entry<'_> {
    fn log(&self, outcome: &str, sent: u64) {
        tracing::info!(
            method = %self.head.method,
            operation = ?self.operation,
            target = %shown(&self.head.uri),
            outcome,
            received = self.received,
            sent,
            ms = u64::try_from((clock::instant() - self.started).as_millis()).unwrap_or(u64::MAX),
            "request"
        );
    }
}

/// A target without the values of its query that are signatures: those of private download links.
fn shown(uri: &http::Uri) -> String {
    let Some(query) = uri.query() else {
        return uri.path().to_owned();
    };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name @ ("token" | "sign" | "Signature"), _)) => format!("{name}=…"),
        _ => pair.to_owned(),
    });
    format!("{}?{}", uri.path(), pairs.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request log shows whole targets, but for signatures.
    #[test]
    fn signatures_are_not_shown() {
        let rows = [
            ("/mkblk/5", "/mkblk/5"),
            ("/v4/query?ak=a&bucket=b", "/v4/query?ak=a&bucket=b"),
            ("/k?e=1&token=AK:sign&x", "/k?e=1&token=…&x"),
        ];
        for (target, expected) in rows {
            assert_eq!(shown(&target.parse().expect("a target")), expected);
        }
    }
}
