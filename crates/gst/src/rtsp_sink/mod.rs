//! `seehearrtspsink`: encoded picture and sound in, an RTSP server out.
//!
//! ```text
//! video ─ appsink ─┐                ┌ appsrc ─ payloader ─┐
//!                  ├ relay, by hand ┤                     ├ RTP to every viewer (UDP or TCP)
//! audio ─ appsink ─┘                └ appsrc ─ payloader ─┘
//! ```
//!
//! What is behind the relay is one media for all viewers, on this pipeline's clock: time stamps are moved from one base time
//! to the other and otherwise left as they are, so that picture and sound stay as they were to each other. Without a viewer
//! nothing is done. The first viewer asks the encoder for a key picture, and begins with it.

mod imp;
mod relay;

use gst::glib;
use gst::prelude::*;

glib::wrapper! {
    /// The element.
    pub struct SeehearRtspSink(ObjectSubclass<imp::SeehearRtspSink>) @extends gst::Bin, gst::Element, gst::Object;
}

/// Registers the element.
///
/// # Errors
/// When GStreamer refuses it.
pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    gst::Element::register(plugin, "seehearrtspsink", gst::Rank::NONE, SeehearRtspSink::static_type())
}
