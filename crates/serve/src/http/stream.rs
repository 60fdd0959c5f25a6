//! Streams: events over SSE and WebSocket, pictures as Motion JPEG.
//!
//! Each client has its own place in the ring of messages. One that falls more than [`BEHIND`] messages behind is
//! brought to the newest: what is live should not come late.

use super::{Shared, api};
use crate::hub::Picture;
use crate::message::{Kind, Message as Told};
use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};
use tokio::time::Instant;

/// Messages: two seconds.
const BEHIND: usize = 50;
/// Something is said at least so often, so that a dead connection is noticed.
const QUIET: Duration = Duration::from_secs(15);
/// A WebSocket that has not answered for so long is dead.
const DEAD: Duration = Duration::from_secs(45);
/// Of what a client may send over WebSocket: it has nothing to say.
const MAX_INCOMING: usize = 4096;
const BOUNDARY: &str = "seehear-picture";

/// A client's place: counted while it lives.
struct Client {
    shared: Shared,
    kind: &'static str,
    _place: OwnedSemaphorePermit,
}

impl Client {
    fn new(shared: Shared, kind: &'static str) -> Result<Self, Box<Response>> {
        let Ok(place) = shared.streams.clone().try_acquire_owned() else {
            let full = problem_full();
            return Err(Box::new(full));
        };
        shared.hub.metrics().client(kind, 1);
        Ok(Self { shared, kind, _place: place })
    }
}

fn problem_full() -> Response {
    let mut full = api::problem(StatusCode::SERVICE_UNAVAILABLE, "too many clients; close one, or raise max_clients");
    full.headers_mut().insert(RETRY_AFTER, axum::http::HeaderValue::from_static("10"));
    full
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.hub.metrics().client(self.kind, -1);
    }
}

/// The messages for one client.
struct Messages {
    client: Client,
    first: std::vec::IntoIter<Told>,
    rest: broadcast::Receiver<Told>,
    only: Option<Vec<Kind>>,
    stop: watch::Receiver<bool>,
}

impl Messages {
    fn new(client: Client, only: Option<Vec<Kind>>) -> Self {
        let (first, rest) = client.shared.hub.subscribe();
        let stop = client.shared.stop.clone();
        Self { client, first: first.into_iter(), rest, only, stop }
    }

    /// The next message; `None` when the server stops. Nothing is lost if the wait is given up.
    async fn next(&mut self) -> Option<Told> {
        loop {
            let message = match self.first.next() {
                Some(m) => m,
                None => self.live().await?,
            };
            if self.only.as_ref().is_none_or(|only| only.contains(&message.kind)) {
                return Some(message);
            }
        }
    }

    async fn live(&mut self) -> Option<Told> {
        let lost = |n| self.client.shared.hub.metrics().lost(self.client.kind, n);
        loop {
            if self.rest.len() > BEHIND {
                let mut skipped = 0;
                while self.rest.len() > 1 {
                    skipped += match self.rest.try_recv() {
                        Err(broadcast::error::TryRecvError::Lagged(n)) => n,
                        _ => 1,
                    };
                }
                lost(skipped);
            }
            let received = tokio::select! {
                biased;
                _ = self.stop.wait_for(|s| *s) => return None,
                r = self.rest.recv() => r,
            };
            match received {
                Ok(m) => return Some(m),
                Err(RecvError::Lagged(n)) => lost(n),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    only: Option<String>,
    picture: Option<u8>,
    #[serde(rename = "token")]
    _token: Option<String>,
}

impl Wish {
    fn kinds(&self) -> Result<Option<Vec<Kind>>, Box<Response>> {
        let Some(only) = &self.only else { return Ok(None) };
        let kinds: Option<Vec<Kind>> = only.split(',').map(Kind::named).collect();
        let names = Kind::ALL.map(Kind::name).join(", ");
        let why = || Box::new(api::problem(StatusCode::BAD_REQUEST, &format!("only: some of {names}")));
        kinds.map(Some).ok_or_else(why)
    }
}

pub(super) async fn sse(State(shared): State<Shared>, Query(wish): Query<Wish>) -> Response {
    let messages = wish.kinds().and_then(|only| Ok(Messages::new(Client::new(shared, "sse")?, only)));
    let messages = match messages {
        Ok(m) => m,
        Err(response) => return *response,
    };
    let events = stream::unfold(messages, |mut messages| async {
        let m = messages.next().await?;
        let event = Event::default().event(m.kind.name()).data(m.json.as_str());
        Some((Ok::<_, Infallible>(event), messages))
    });
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(QUIET));
    // For proxies that would collect.
    ([(CACHE_CONTROL, "no-store"), (axum::http::HeaderName::from_static("x-accel-buffering"), "no")], sse)
        .into_response()
}

pub(super) async fn ws(
    State(shared): State<Shared>,
    Query(wish): Query<Wish>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(u) => u,
        Err(_) => return api::problem(StatusCode::UPGRADE_REQUIRED, "/ws is for WebSocket; /events is for the rest"),
    };
    let only = match wish.kinds() {
        Ok(only) => only,
        Err(response) => return *response,
    };
    let client = match Client::new(shared, "ws") {
        Ok(c) => c,
        Err(response) => return *response,
    };
    let pictures = (wish.picture == Some(1)).then(|| client.shared.hub.pictures());
    // Before the client is told that it is in: from then on it misses nothing.
    let messages = Messages::new(client, only);
    upgrade
        .max_message_size(MAX_INCOMING)
        .max_frame_size(MAX_INCOMING)
        .on_upgrade(move |socket| talk(socket, messages, pictures))
}

async fn talk(mut socket: WebSocket, mut messages: Messages, mut pictures: Option<watch::Receiver<Option<Picture>>>) {
    let mut heard = Instant::now();
    let mut ping = tokio::time::interval(QUIET);
    loop {
        let message = tokio::select! {
            m = messages.next() => match m {
                Some(m) => Message::Text(m.json),
                None => Message::Close(None),
            },
            p = next_picture(&mut pictures) => Message::Binary(binary(&p)),
            _ = ping.tick() => {
                if heard.elapsed() > DEAD {
                    return;
                }
                Message::Ping(Bytes::new())
            }
            incoming = socket.recv() => match incoming {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {
                    heard = Instant::now();
                    continue;
                }
            },
        };
        let last = matches!(message, Message::Close(_));
        // Fails when the client is gone, or has not read for as long as it may.
        if socket.send(message).await.is_err() || last {
            return;
        }
    }
}

/// The time, ms, as a little-endian double, then the JPEG.
fn binary(p: &Picture) -> Bytes {
    [p.t_ms.to_le_bytes().as_slice(), &p.jpeg].concat().into()
}

/// The next picture; never, if there are none.
async fn next_picture(pictures: &mut Option<watch::Receiver<Option<Picture>>>) -> Picture {
    if let Some(rx) = pictures {
        // An error means that the hub is gone, and with it all pictures.
        while rx.changed().await.is_ok() {
            if let Some(p) = rx.borrow_and_update().clone() {
                return p;
            }
        }
    }
    std::future::pending().await
}

pub(super) async fn mjpeg(State(shared): State<Shared>) -> Response {
    let client = match Client::new(shared, "picture") {
        Ok(c) => c,
        Err(response) => return *response,
    };
    let stop = client.shared.stop.clone();
    let pictures = Some(client.shared.hub.pictures());
    let parts = stream::unfold((client, pictures, stop), |(client, mut pictures, mut stop)| async {
        let picture = tokio::select! {
            _ = stop.wait_for(|s| *s) => return None,
            p = next_picture(&mut pictures) => p,
        };
        let head = format!(
            "--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\nX-T-Ms: {}\r\n\r\n",
            picture.jpeg.len(),
            picture.t_ms
        );
        let part = [head.as_bytes(), &picture.jpeg, b"\r\n"].concat();
        Some((Ok::<_, Infallible>(part), (client, pictures, stop)))
    });
    let kind = format!("multipart/x-mixed-replace; boundary={BOUNDARY}");
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store".to_owned())], Body::from_stream(parts)).into_response()
}
