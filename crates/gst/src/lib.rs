//! seehear's GStreamer side.
//!
//! | module | what |
//! |---|---|
//! | [`plan`] | `pipelines/*.toml`: source, queues and drop policy, outputs, stage parameters; parsed, checked, typed |
//! | [`input`] | what the user named (file, URI, device, test) and which pipeline serves it |
//! | [`source`] | the plan's source, decoded and brought to one video and one audio pad |
//! | [`inbox`] | the bounded queue between GStreamer's threads and the analysis |
//! | [`run`] | the pipeline and the analysis thread: [`run::run`]; without an engine: [`run::listen`] |
//! | [`board`] | results by time, from the analysis to the overlay |
//! | [`overlay`] | the element `seehearoverlay` |
//! | [`output`] | file (written beside, renamed) and display |
//! | [`pattern`] | the flash-and-beep pattern, to a file or on the screen |
//! | [`sync`] | live lip-sync correction: picture and sound delayed on their way out |
//! | [`element`] | the element `seehear`: the run's graph for anybody's pipeline |
//! | [`error`] | what can go wrong, with the remedy |

#![forbid(unsafe_code)]

#[cfg(feature = "analytics")]
mod analytics;
pub mod board;
pub mod element;
pub mod error;
mod fill;
pub mod framer;
pub mod inbox;
pub mod input;
pub mod output;
pub mod overlay;
pub mod pattern;
pub mod picture;
pub mod plan;
mod roi;
pub mod rtsp_sink;
pub mod run;
pub mod source;
pub mod stream;
mod supply;
pub mod sync;
mod time;
mod waits;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), gst::glib::BoolError> {
    overlay::register(Some(plugin))?;
    element::register(Some(plugin))?;
    rtsp_sink::register(Some(plugin))
}

pub use plugin::*;

mod plugin {
    #![allow(missing_docs, reason = "the macro's exported symbols, which GStreamer alone calls")]
    use super::plugin_init;

    gst::plugin_define!(
        seehear,
        env!("CARGO_PKG_DESCRIPTION"),
        plugin_init,
        env!("CARGO_PKG_VERSION"),
        // GStreamer's list of licence words has none for "MIT OR Apache-2.0".
        "MIT/X11",
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_NAME"),
        "seehear"
    );
}

/// Starts GStreamer and registers our elements; safe to call again.
///
/// # Errors
/// When GStreamer itself can't start.
pub fn init() -> Result<(), error::RunError> {
    use std::sync::OnceLock;
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    DONE.get_or_init(|| {
        gst::init().map_err(|e| e.to_string())?;
        overlay::register(None)
            .and_then(|()| element::register(None))
            .and_then(|()| rtsp_sink::register(None))
            .map_err(|e| e.to_string())
    })
    .clone()
    .map_err(|why| error::RunError::Setup { why })
}
