//! The source: a plan's description as one bin with a decoded `video` and a decoded `audio` pad.
//!
//! Decoders show their pads as they find the streams; the first video pad and the audio pad asked for (the first) are taken, the others go
//! to a sink that forgets them. What the file does not have is known when the source says that there are no more pads.

use crate::error::RunError;
use crate::plan::{Plan, fill};
use gst::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Where the decoded streams are to go: the sink pads of the first elements behind the source.
#[derive(Clone, Debug)]
pub struct Targets {
    /// Takes raw video.
    pub video: gst::Pad,
    /// Takes raw audio.
    pub audio: gst::Pad,
}

/// What the source turned out to have.
#[derive(Debug, Default)]
pub struct Found {
    /// A video stream was linked.
    pub video: AtomicBool,
    /// An audio stream was linked.
    pub audio: AtomicBool,
    /// Sound tracks seen so far.
    pub audio_tracks: AtomicUsize,
    /// All streams are known.
    pub complete: AtomicBool,
    /// Why a stream could not be linked.
    pub trouble: Mutex<Option<String>>,
}

impl Found {
    /// No stream at all has been seen yet.
    #[must_use]
    pub fn nothing(&self) -> bool {
        let seen = [&self.video, &self.audio, &self.complete];
        !seen.into_iter().any(|s| s.load(Ordering::Acquire))
    }

    /// The first stream that is missing now that all are known.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        if !self.complete.load(Ordering::Acquire) {
            return None;
        }
        if !self.video.load(Ordering::Acquire) {
            Some("video")
        } else if !self.audio.load(Ordering::Acquire) {
            Some("audio")
        } else {
            None
        }
    }
}

/// Builds the plan's source into `pipeline`, as the bins returned, and links what it finds to `targets`; of several sound tracks that of number
/// `audio_track`, from 0, in the order in which the source shows them.
///
/// # Errors
/// When a description can't be parsed or an element is missing.
pub fn build(
    plan: &Plan,
    values: &BTreeMap<String, String>,
    pipeline: &gst::Pipeline,
    targets: &Targets,
    audio_track: usize,
) -> Result<(Arc<Found>, Vec<gst::Bin>), RunError> {
    let found = Arc::new(Found::default());
    if let Some(launch) = &plan.source.launch {
        let bin = parse(launch, values, "source.launch")?;
        if let (Some(picture), Some(sound)) = (bin.by_name("picture"), bin.by_name("sound")) {
            add(pipeline, bin.upcast_ref())?;
            for (end, target, flag) in [(picture, &targets.video, &found.video), (sound, &targets.audio, &found.audio)]
            {
                let pad = end
                    .static_pad("src")
                    .ok_or_else(|| setup(format!("source.launch: {} has no source pad", end.name())))?;
                link(&pad, target).map_err(|why| setup(format!("source.launch: {}: {why}", end.name())))?;
                flag.store(true, Ordering::Release);
            }
            found.complete.store(true, Ordering::Release);
            return Ok((found, vec![bin]));
        }
        let source = find(&bin)?;
        add(pipeline, bin.upcast_ref())?;
        watch(&source, &bin, targets, &found, audio_track);
        let known = Arc::clone(&found);
        source.connect_no_more_pads(move |_| known.complete.store(true, Ordering::Release));
        return Ok((found, vec![bin]));
    }
    let mut bins = Vec::new();
    for (name, text, target, flag) in [
        ("source.video", &plan.source.video, &targets.video, &found.video),
        ("source.audio", &plan.source.audio, &targets.audio, &found.audio),
    ] {
        let Some(text) = text else { continue };
        let bin = parse(text, values, name)?;
        let pad = open_end(&bin).map_err(|why| setup(format!("{name}: {why}")))?;
        add(pipeline, bin.upcast_ref())?;
        pad.link(target).map_err(|e| setup(format!("{name}: does not end in what seehear takes: {e}")))?;
        flag.store(true, Ordering::Release);
        bins.push(bin);
    }
    found.complete.store(true, Ordering::Release);
    Ok((found, bins))
}

/// The end of a description, as the bin's own pad. Not [`parse_with_pads`]: that takes the sink pad behind a decodebin, which
/// is linked only once the decoder knows its stream, for an open end too, and then nothing can be linked to it.
fn open_end(bin: &gst::Bin) -> Result<gst::Pad, String> {
    let end = bin.find_unlinked_pad(gst::PadDirection::Src).ok_or("the description has no open end to take from")?;
    let ghost = gst::GhostPad::with_target(&end).map_err(|e| e.to_string())?;
    bin.add_pad(&ghost).map_err(|e| e.to_string())?;
    Ok(ghost.upcast())
}

fn setup(why: String) -> RunError {
    RunError::Setup { why }
}

/// Parses a description, names the missing elements.
///
/// # Errors
/// What GStreamer says, with the package to install.
pub fn parse(text: &str, values: &BTreeMap<String, String>, field: &str) -> Result<gst::Bin, RunError> {
    parse_bin(text, values, field, false)
}

/// As [`parse`], with the open ends of the description as the bin's own pads.
///
/// # Errors
/// As [`parse`].
pub fn parse_with_pads(text: &str, values: &BTreeMap<String, String>, field: &str) -> Result<gst::Bin, RunError> {
    parse_bin(text, values, field, true)
}

fn parse_bin(text: &str, values: &BTreeMap<String, String>, field: &str, pads: bool) -> Result<gst::Bin, RunError> {
    let filled = fill(text, values).map_err(|e| setup(format!("{field}: {e}")))?;
    let mut context = gst::ParseContext::new();
    gst::parse::bin_from_description_full(&filled, pads, Some(&mut context), gst::ParseFlags::FATAL_ERRORS)
        .map_err(|e| {
            let missing = context.missing_elements();
            if missing.is_empty() {
                setup(format!("{field}: {e}"))
            } else {
                setup(format!("{field}: GStreamer has no element {}; {INSTALL}", missing.join(", ")))
            }
        })
        .and_then(|element| {
            element.downcast::<gst::Bin>().map_err(|_| setup(format!("{field}: is not a pipeline description")))
        })
}

/// The remedy for a missing element.
pub const INSTALL: &str =
    "install gstreamer1.0-plugins-base, -good, -bad, -ugly and gstreamer1.0-libav (make setup does)";

fn find(bin: &gst::Bin) -> Result<gst::Element, RunError> {
    bin.by_name("source").ok_or_else(|| {
        setup("source.launch names neither an element \"source\" nor two, \"picture\" and \"sound\"".into())
    })
}

fn add(pipeline: &gst::Pipeline, element: &gst::Element) -> Result<(), RunError> {
    pipeline.add(element).map_err(|e| setup(e.to_string()))
}

fn watch(source: &gst::Element, bin: &gst::Bin, targets: &Targets, found: &Arc<Found>, audio_track: usize) {
    let targets = targets.clone();
    let found = Arc::clone(found);
    let bin = bin.downgrade();
    source.connect_pad_added(move |_, pad| {
        let Some(bin) = bin.upgrade() else { return };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let kind = caps.structure(0).map_or("", |s| s.name().as_str());
        let result = if kind.starts_with("video/") && !found.video.swap(true, Ordering::AcqRel) {
            link(pad, &targets.video)
        } else if kind.starts_with("audio/") && found.audio_tracks.fetch_add(1, Ordering::AcqRel) == audio_track {
            found.audio.store(true, Ordering::Release);
            link(pad, &targets.audio)
        } else {
            forget(&bin, pad)
        };
        if let Err(why) = result {
            *found.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{kind}: {why}"));
        }
    });
}

/// Links a pad that lies inside a bin to one outside, through a ghost pad.
fn link(pad: &gst::Pad, target: &gst::Pad) -> Result<(), String> {
    let outer = match pad.parent_element().and_then(|e| e.parent()).and_downcast::<gst::Bin>() {
        Some(bin) if !bin.is::<gst::Pipeline>() => {
            // Two elements' pads may have one name.
            let name =
                pad.parent_element().map_or_else(|| pad.name(), |e| format!("{}_{}", e.name(), pad.name()).into());
            let ghost = gst::GhostPad::builder_with_target(pad).map_err(|e| e.to_string())?.name(name).build();
            ghost.set_active(true).map_err(|e| e.to_string())?;
            bin.add_pad(&ghost).map_err(|e| e.to_string())?;
            ghost.upcast()
        }
        _ => pad.clone(),
    };
    outer.link(target).map(|_| ()).map_err(|e| e.to_string())
}

fn forget(bin: &gst::Bin, pad: &gst::Pad) -> Result<(), String> {
    let sink = gst::ElementFactory::make("fakesink")
        .property("async", false)
        .property("sync", false)
        .build()
        .map_err(|e| e.to_string())?;
    bin.add(&sink).map_err(|e| e.to_string())?;
    sink.sync_state_with_parent().map_err(|e| e.to_string())?;
    let target = sink.static_pad("sink").ok_or("a sink without a pad")?;
    pad.link(&target).map(|_| ()).map_err(|e| e.to_string())
}
