//! What seehear tells others while it runs.
//!
//! The analysis posts to a [`Hub`]; everything else reads from it, and nothing that reads can hold the analysis up:
//!
//! ```text
//!                    ┌─ http    dashboard, SSE, WebSocket, MJPEG, metrics, health, settings
//! analysis ─▶ Hub ───┼─ mqtt    a broker
//!     ▲        │     ├─ record  a file that is rotated
//!     └changes─┘     └─ notify  the service manager
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`hub`] | takes header, slots, pictures, summary; hands out messages; keeps what newcomers need |
//! | [`message`] | the kinds of messages and the events derived from slots: who speaks, offset, vitals |
//! | [`vitals`] | speed, load and latency of the last ten seconds; what is wrong |
//! | [`settings`] | what may be changed while it runs, and the changes asked for |
//! | [`metrics`] | figures for Prometheus |
//! | [`http`] | the server |
//! | [`mqtt`] | the connection to a broker |
//! | [`rotate`], [`record`] | events to a file |
//! | [`notify`] | systemd: ready, watchdog, reloading, stopping |
//! | [`config`] | all of it in one file, and what a reload of that file changes |
//!
//! ```no_run
//! use seehear_serve::{Hub, Timing, http};
//! # fn frames() -> Vec<seehear::events::FrameEvent> { Vec::new() }
//!
//! let hub = Hub::new("studio-1");
//! let server = http::serve(&http::Options::new("127.0.0.1:8080".parse().expect("an address")), &hub)?;
//! for frame in frames() {
//!     hub.frame(&frame, Timing::default());
//!     for change in hub.take_changes() {
//!         // apply it, then tell what holds now:
//!         hub.update_settings(|s| s.take_over(change));
//!     }
//! }
//! server.stop();
//! # Ok::<(), http::Error>(())
//! ```
//!
//! | queue | bound | when full |
//! |---|---|---|
//! | messages, one ring for all readers | 1024 (40 s of slots) | `drop-oldest`, per reader, counted |
//! | … of a live client (SSE, WebSocket) | 50 behind | `drop-oldest`, counted |
//! | picture | 1, the newest | `drop-oldest`: a slow client sees fewer |
//! | changes asked for | 32 | the one who asks is refused (503) |

#![forbid(unsafe_code)]

pub mod config;
pub mod http;
pub mod hub;
pub mod message;
pub mod metrics;
pub mod mqtt;
pub mod notify;
pub mod record;
mod redact;
pub mod rotate;
pub mod settings;
pub mod vitals;

pub use hub::{Hub, Picture};
pub use settings::{Change, Settings, SyncMode};
pub use vitals::{Drops, Timing};
