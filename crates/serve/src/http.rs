//! The server: dashboard, streams, metrics, health, settings.
//!
//! | path | what |
//! |---|---|
//! | `GET /` | the dashboard, one page that needs nothing from elsewhere; `/?view=overlay`: the frames alone, transparent |
//! | `GET /events` | Server-Sent Events; `?only=speaking,offset` for some [`crate::message::Kind`]s |
//! | `GET /ws` | the same over WebSocket; `?picture=1`: pictures too, as binary messages |
//! | `GET /picture` | Motion JPEG |
//! | `GET /metrics` | Prometheus |
//! | `GET /health` | 200, or 503 with the reasons |
//! | `GET`, `PATCH /settings` | [`crate::Settings`]; JSON of [`crate::settings::Request`] |
//!
//! It runs on one thread of its own. A client that does not read is cut off after [`Options::stall`]; what it missed
//! until then is counted.

mod api;
mod guard;
mod page;
mod stream;

use crate::Hub;
use axum::Router;
use axum::routing::get;
use guard::Guard;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;

/// Shortest token: 16 characters of a random hexadecimal string are 64 bits.
pub const MIN_TOKEN: usize = 16;
/// Within this a request's head must have come, and an idle connection must ask again.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stop waits for clients to be told.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// Connections beside those of streams.
const SHORT_CONNECTIONS: usize = 32;

/// How to serve.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 takes any free one.
    pub addr: SocketAddr,
    /// What clients must show. Needed for any address that is not loopback.
    pub token: Option<String>,
    /// Names under which clients reach it, beside IP addresses, `localhost` and this machine's own name: those of a
    /// proxy in front.
    pub hosts: Vec<String>,
    /// Streams at a time.
    pub max_clients: usize,
    /// After so long without reading anything a client is cut off.
    pub stall: Duration,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the token.
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("Options").field("addr", &self.addr).field("token", &token).finish_non_exhaustive()
    }
}

impl Options {
    /// At `addr`, for 32 streams.
    #[must_use]
    pub fn new(addr: SocketAddr) -> Self {
        Self { addr, token: None, hosts: Vec::new(), max_clients: 32, stall: Duration::from_secs(10) }
    }

    fn validate(&self) -> Result<(), Error> {
        match &self.token {
            None if !self.addr.ip().is_loopback() => return Err(Error::TokenMissing(self.addr)),
            Some(t) if t.len() < MIN_TOKEN || !t.bytes().all(|b| b.is_ascii_graphic()) => {
                return Err(Error::TokenUnfit);
            }
            _ => {}
        }
        if self.max_clients == 0 {
            return Err(Error::NoClients);
        }
        Ok(())
    }
}

/// Reads an address: `PORT`, `:PORT` (loopback) or `IP:PORT`.
///
/// # Errors
/// Says what is allowed.
pub fn parse_addr(text: &str) -> Result<SocketAddr, Error> {
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    let text = text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse().map_err(|_| Error::Address(text))
}

/// Why it can't be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No address.
    #[error("http: \"{0}\" is no address; say PORT (this machine only) or IP:PORT, as in 0.0.0.0:8080")]
    Address(String),
    /// Others could reach it.
    #[error("http: {0} can be reached by other machines; set a token for it, or listen on 127.0.0.1")]
    TokenMissing(SocketAddr),
    /// Could be guessed, or not be sent.
    #[error("http: the token must be {MIN_TOKEN} or more visible ASCII characters; try: openssl rand -hex 16")]
    TokenUnfit,
    /// Nobody could see anything.
    #[error("http: max_clients is 0; it must be 1 or more")]
    NoClients,
    /// In use, or not of this machine, or not allowed.
    #[error("http: can't listen on {0}: {1}; take another port, or stop what listens there")]
    Listen(SocketAddr, io::Error),
    /// No thread or no runtime.
    #[error("http: can't start: {0}")]
    Start(io::Error),
}

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    hub: Hub,
    guard: Arc<Guard>,
    streams: Arc<Semaphore>,
    /// Turns true when the server stops: streams end.
    stop: watch::Receiver<bool>,
}

/// A server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends all streams and stops listening.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Listens and serves what the hub has, on a thread of its own.
///
/// # Errors
/// An address that can't be listened on, or that is open to others without a token.
pub fn serve(options: &Options, hub: &Hub) -> Result<Server, Error> {
    options.validate()?;
    let failed = |e| Error::Listen(options.addr, e);
    let listener = TcpListener::bind(options.addr).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let (stop, stopped) = watch::channel(false);
    let shared = Shared {
        hub: hub.clone(),
        guard: Arc::new(Guard::new(options, addr)),
        streams: Arc::new(Semaphore::new(options.max_clients)),
        stop: stopped.clone(),
    };
    let limits = Limits { streams: options.max_clients, stall: options.stall };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
    let listener = {
        // A listener of tokio's must be made within its runtime.
        let _within = runtime.enter();
        tokio::net::TcpListener::from_std(listener).map_err(Error::Start)?
    };
    let work = move || runtime.block_on(accept(listener, shared, limits, stopped));
    let thread = std::thread::Builder::new().name("http".to_owned()).spawn(work).map_err(Error::Start)?;
    Ok(Server { addr, stop, thread: Some(thread) })
}

fn router(shared: Shared) -> Router {
    let check = axum::middleware::from_fn_with_state(shared.clone(), guard::check);
    Router::new()
        .route("/", get(page::page))
        .route("/events", get(stream::sse))
        .route("/ws", get(stream::ws))
        .route("/picture", get(stream::mjpeg))
        .route("/metrics", get(api::metrics))
        .route("/health", get(api::health))
        .route("/settings", get(api::settings).patch(api::change))
        .fallback(api::not_found)
        .method_not_allowed_fallback(api::not_allowed)
        .layer(check)
        .with_state(shared)
}

/// What clients may take.
#[derive(Clone, Copy)]
struct Limits {
    streams: usize,
    stall: Duration,
}

async fn accept(listener: tokio::net::TcpListener, shared: Shared, limits: Limits, mut stop: watch::Receiver<bool>) {
    let connections = limits.streams + SHORT_CONNECTIONS;
    let places = Arc::new(Semaphore::new(connections));
    let streams = Arc::clone(&shared.streams);
    let router = router(shared);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            // An error means that the server itself is gone.
            _ = stop.wait_for(|s| *s) => break,
            next = next => next,
        };
        let Ok((socket, _)) = accepted else {
            // Out of file descriptors, most likely: others must close theirs first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let router = router.clone();
        tokio::spawn(async move {
            connection(socket, router, limits.stall).await;
            drop(place);
        });
    }
    // Streams have seen the stop too: give their last words a moment to leave.
    let all = u32::try_from(limits.streams).unwrap_or(u32::MAX);
    drop(tokio::time::timeout(LAST_WORDS, streams.acquire_many(all)).await);
}

async fn connection(socket: TcpStream, router: Router, stall: Duration) {
    // Slots are small messages that should not wait for one another.
    drop(socket.set_nodelay(true));
    let mut stream = TimeoutStream::new(socket);
    stream.set_write_timeout(Some(stall));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router))
        .with_upgrades();
    // Errors are the client's: gone, stalled, or not speaking HTTP.
    drop(served.await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, addr) in [
            ("8080", "127.0.0.1:8080"),
            (":8080", "127.0.0.1:8080"),
            ("localhost:1", "127.0.0.1:1"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(parse_addr(text).unwrap(), addr.parse().unwrap());
        }
        for bad in ["", "99999", "example.com:80", "127.0.0.1", "::1", "localhost:x"] {
            let told = parse_addr(bad).unwrap_err().to_string();
            assert!(told.contains("is no address; say PORT"), "{told}");
        }
    }

    #[test]
    fn nothing_is_open_to_others_without_a_token() {
        let told = |addr: &str, token: Option<&str>| {
            let options = Options { token: token.map(str::to_owned), ..Options::new(addr.parse().unwrap()) };
            options.validate().err().map(|e| e.to_string())
        };
        for addr in ["0.0.0.0:0", "192.168.1.5:80", "[::]:80", "[fe80::1]:80", "[::ffff:10.0.0.1]:80"] {
            let e = told(addr, None).unwrap();
            assert!(e.contains("can be reached by other machines; set a token"), "{e}");
            assert_eq!(told(addr, Some("0123456789abcdef")), None);
        }
        assert_eq!(told("127.0.0.1:80", None), None);
        assert_eq!(told("[::1]:80", None), None);
        for bad in ["", "short", "0123456789abcde f", "0123456789abcdéf", "0123456789abcdef\n"] {
            assert!(told("127.0.0.1:80", Some(bad)).unwrap().contains("16 or more visible"), "{bad:?}");
        }
    }

    #[test]
    fn the_token_is_not_in_debug_output() {
        let o = Options { token: Some("0123456789abcdef".to_owned()), ..Options::new(([127, 0, 0, 1], 0).into()) };
        assert!(!format!("{o:?}").contains("0123"));
    }
}
