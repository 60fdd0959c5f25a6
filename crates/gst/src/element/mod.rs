//! `seehear`: the whole of it as one element, for anybody's pipeline.
//!
//! ```text
//!             ┌─────────────────────── seehear ───────────────────────┐
//! video_sink ─┤ convert ─ tee ─┬─ analysis ─▶ messages, properties    │
//!             │                └─ queue ─ overlay ─ ROI metas ─(later)├─ video_src
//! audio_sink ─┤ convert ─ tee ─┬─ 16 kHz mono ─ analysis              │
//!             │                └─ queue ─(later)──────────────────────├─ audio_src
//!             └────────────────────────────────────────────────────────┘
//! ```
//!
//! It is the graph of a [run](crate::run), in a bin. What it is told and tells: `gst-inspect-1.0 seehear`, docs/gstreamer.md.

mod imp;
mod messages;
mod settings;

use gst::glib;
use gst::prelude::*;

glib::wrapper! {
    /// The element.
    pub struct Seehear(ObjectSubclass<imp::Seehear>) @extends gst::Bin, gst::Element, gst::Object;
}

/// Registers the element.
///
/// # Errors
/// When GStreamer refuses it.
pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    gst::Element::register(plugin, "seehear", gst::Rank::NONE, Seehear::static_type())
}
