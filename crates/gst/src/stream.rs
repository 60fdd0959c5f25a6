//! Streams out: the highlighted picture and its sound to a server, a playlist, a loopback device (`pipelines/streams/*.toml`).
//!
//! ```text
//! tee ─ errorignore ─ queue (2 s, drop-oldest) ─ encoder ─┐
//! tee ─ errorignore ─ queue (2 s, drop-oldest) ─ encoder ─┴ muxer ─ sink
//! ```
//!
//! A stream is nobody's brake: what its far end does not take in time is dropped, oldest first, and counted. One that fails is
//! built again after growing waits, as a source is; the run and its other outputs go on.

use crate::error::RunError;
use crate::inbox::Stream;
use crate::output::{chain, chain_constant, make, only_child, queue, take_no_part_in_prerolling, take_off_priming};
use crate::plan::{Reconnect, fill};
use crate::source::{parse, parse_with_pads};
use crate::waits::Waits;
use gst::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

/// What a stream's far end may be behind before something is dropped.
const ROOM: gst::ClockTime = gst::ClockTime::from_seconds(2);
/// A stream that has worked for so long begins with the first wait again.
const STEADY: Duration = Duration::from_secs(30);

/// A stream's description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamPlan {
    /// Version of this format: 1.
    pub schema: u32,
    /// What it is, in a sentence.
    pub description: String,
    /// Muxer, one element; none where the encoded picture goes to the sink as it is.
    pub muxer: Option<String>,
    /// The muxer's pad for the picture, where it is not found by its kind.
    pub video_pad: Option<String>,
    /// The same for the sound.
    pub audio_pad: Option<String>,
    /// Encoder description from raw I420 or NV12.
    pub video_encoder: String,
    /// Encoder description from raw sound; none: the picture alone.
    pub audio_encoder: Option<String>,
    /// Sink description; none where the muxer is one.
    pub sink: Option<String>,
}

/// The streams that the program knows: `pipelines/streams/` of the repository, by name.
pub const BUILT_IN: [(&str, &str); 5] = [
    ("rtmp", include_str!("../../../pipelines/streams/rtmp.toml")),
    ("srt", include_str!("../../../pipelines/streams/srt.toml")),
    ("rtsp", include_str!("../../../pipelines/streams/rtsp.toml")),
    ("hls", include_str!("../../../pipelines/streams/hls.toml")),
    ("v4l2", include_str!("../../../pipelines/streams/v4l2.toml")),
];

impl StreamPlan {
    /// The stream for a target: `rtmp://…`, `rtmps://…`, `srt://…`, `rtsp://…`, `….m3u8`, `/dev/video…`.
    ///
    /// # Errors
    /// Names what there is.
    pub fn of(target: &str) -> Result<Self, RunError> {
        let scheme = target.split_once("://").map(|(s, _)| s);
        let name = match scheme {
            Some("rtmp" | "rtmps") => "rtmp",
            Some("srt") => "srt",
            Some("rtsp") => "rtsp",
            None if target.ends_with(".m3u8") => "hls",
            None if target.starts_with("/dev/video") => "v4l2",
            _ => {
                let why = "no stream is known for it; there are rtmp://, rtmps://, srt://, rtsp://, FILE.m3u8 and /dev/videoN";
                return Err(RunError::Output { path: target.into(), why: why.into() });
            }
        };
        let (_, text) = BUILT_IN.iter().find(|(n, _)| *n == name).ok_or_else(|| setup("no such stream"))?;
        Self::parse(text).map_err(|why| RunError::Plan { path: format!("{name} (built in)"), why })
    }

    /// Parses and checks the text of a stream file.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let plan: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        if plan.schema != 1 {
            return Err(format!("schema = {} is not known; this program reads schema 1", plan.schema));
        }
        if plan.muxer.is_none() && plan.sink.is_none() {
            return Err("a stream needs a muxer, a sink or both".into());
        }
        if plan.muxer.is_none() && plan.audio_encoder.is_some() {
            return Err("picture and sound together need a muxer".into());
        }
        Ok(plan)
    }

    /// Every description of it, with the field it stands in.
    #[must_use]
    pub fn descriptions(&self) -> Vec<(String, &str)> {
        [
            ("muxer", self.muxer.as_deref()),
            ("video_encoder", Some(&*self.video_encoder)),
            ("audio_encoder", self.audio_encoder.as_deref()),
            ("sink", self.sink.as_deref()),
        ]
        .into_iter()
        .filter_map(|(field, text)| Some((field.to_owned(), text?)))
        .collect()
    }
}

/// Values for the descriptions: `{target}`, and `{segments}`, the pattern of a playlist's parts beside it.
#[must_use]
pub fn values(target: &str) -> BTreeMap<String, String> {
    let segments = Path::new(target).with_extension("%05d.ts").display().to_string();
    [("target", target.to_owned()), ("segments", segments)].map(|(k, v)| (k.to_owned(), v)).into()
}

fn setup(why: &str) -> RunError {
    RunError::Setup { why: why.to_owned() }
}

/// What there is to tell of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamNews {
    /// It failed; another try comes in `wait`.
    Failed {
        /// Where it goes to.
        target: String,
        /// What it said.
        why: String,
        /// Until the next try.
        wait: Duration,
    },
}

impl fmt::Display for StreamNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Failed { target, why, wait } = self;
        write!(f, "{target}: {why}; another try in {:.1} s", wait.as_secs_f64())
    }
}

/// A stream out of a run.
pub(crate) struct StreamOut {
    name: String,
    plan: StreamPlan,
    values: BTreeMap<String, String>,
    pipeline: gst::Pipeline,
    /// Picture, sound.
    tees: [gst::Element; 2],
    bin: Option<gst::Bin>,
    pads: Vec<(gst::Element, gst::Pad)>,
    since: Instant,
    again: Option<Instant>,
    waits: Waits,
    dropped: Arc<AtomicU64>,
}

impl StreamOut {
    /// Builds the stream to `target` behind two tees, picture and sound. `name`: the target as it may be told.
    ///
    /// # Errors
    /// When an element is missing or does not fit.
    pub(crate) fn new(
        target: &str,
        name: String,
        pipeline: &gst::Pipeline,
        (video, audio): (&gst::Element, &gst::Element),
        dropped: &Arc<AtomicU64>,
    ) -> Result<Self, RunError> {
        let mut this = Self {
            name,
            plan: StreamPlan::of(target)?,
            values: values(target),
            pipeline: pipeline.clone(),
            tees: [video.clone(), audio.clone()],
            bin: None,
            pads: Vec::new(),
            since: Instant::now(),
            again: None,
            waits: Waits::new(Reconnect::default()),
            dropped: Arc::clone(dropped),
        };
        this.build()?;
        Ok(this)
    }

    fn build(&mut self) -> Result<(), RunError> {
        let fail = |e: gst::glib::BoolError| setup(&e.to_string());
        let bin = gst::Bin::new();
        let sink = match &self.plan.sink {
            Some(text) => Some(parse_with_pads(text, &self.values, "sink")?),
            None => None,
        };
        let muxer = match &self.plan.muxer {
            Some(text) => Some(only_child(&parse(text, &self.values, "muxer")?, "muxer")?),
            None => None,
        };
        for element in [muxer.as_ref(), sink.as_ref().map(|s| s.upcast_ref())].into_iter().flatten() {
            bin.add(element).map_err(fail)?;
        }
        if let (Some(muxer), Some(sink)) = (&muxer, &sink) {
            muxer.link(sink).map_err(fail)?;
        }
        let end = muxer.clone().or_else(|| sink.clone().map(|s| s.upcast())).ok_or_else(|| setup("no sink"))?;
        let branches = [
            (&self.tees[0], Some(&self.plan.video_encoder), &self.plan.video_pad, "video_encoder"),
            (&self.tees[1], self.plan.audio_encoder.as_ref(), &self.plan.audio_pad, "audio_encoder"),
        ];
        let mut entrances = Vec::new();
        for (tee, encoder, pad, field) in branches {
            let Some(encoder) = encoder else { continue };
            let encoder = parse_with_pads(encoder, &self.values, field)?;
            if field == "audio_encoder" {
                take_off_priming(&encoder)?;
            }
            let shield = make("errorignore")?;
            shield.set_property_from_str("convert-to", "ok");
            shield.set_property("ignore-notlinked", true);
            shield.set_property("ignore-eos", true);
            let before = queue(ROOM, 0)?;
            before.set_property_from_str("leaky", "downstream");
            self.count_drops(&before);
            chain(&bin, &[&shield, &before])?;
            let kind = if field == "audio_encoder" { Stream::Audio } else { Stream::Video };
            chain_constant(&bin, &before, kind, encoder.upcast_ref())?;
            encoder.link_pads(Some("src"), &end, pad.as_deref()).map_err(fail)?;
            entrances.push((tee.clone(), shield));
        }
        take_no_part_in_prerolling(&bin);
        self.pipeline.add(&bin).map_err(fail)?;
        for (name, (tee, shield)) in ["video", "audio"].into_iter().zip(entrances) {
            let target = shield.static_pad("sink").ok_or_else(|| setup("errorignore without a sink pad"))?;
            let into = gst::GhostPad::builder_with_target(&target).map_err(fail)?.name(name).build();
            bin.add_pad(&into).map_err(fail)?;
            // Before it is linked: to whom it is not yet open a tee can't give anything, and would stop the source.
            bin.sync_state_with_parent().map_err(fail)?;
            let from = tee.request_pad_simple("src_%u").ok_or_else(|| setup("a tee without pads"))?;
            from.link(&into).map_err(|e| setup(&e.to_string()))?;
            self.pads.push((tee, from));
        }
        (self.bin, self.since) = (Some(bin), Instant::now());
        Ok(())
    }

    /// A leaky queue does not tell what it leaks: it says that it is full just before.
    fn count_drops(&self, queue: &gst::Element) {
        let dropped = Arc::clone(&self.dropped);
        queue.connect("overrun", false, move |_| {
            dropped.fetch_add(1, Ordering::Relaxed);
            None
        });
    }

    /// Whether `object` is of the stream: it alone has failed then.
    pub(crate) fn has(&self, object: &gst::Object) -> bool {
        self.bin.as_ref().is_some_and(|bin| object.has_as_ancestor(bin))
    }

    /// It has failed: the run goes on without it until it is built again.
    pub(crate) fn failed(&mut self, why: &str, now: Instant) -> StreamNews {
        if now.saturating_duration_since(self.since) >= STEADY {
            self.waits.reset();
        }
        let wait = self.waits.next();
        self.take_down();
        self.again = Some(now + wait);
        StreamNews::Failed { target: self.name.clone(), why: why.to_owned(), wait }
    }

    fn take_down(&mut self) {
        for (tee, pad) in self.pads.drain(..) {
            let (done, wait) = sync_channel(1);
            pad.add_probe(gst::PadProbeType::IDLE, move |pad, _| {
                if let Some(peer) = pad.peer()
                    && let Err(e) = pad.unlink(&peer)
                {
                    gst::warning!(gst::CAT_DEFAULT, "{}: {e}", pad.name());
                }
                if done.try_send(()).is_err() {
                    gst::debug!(gst::CAT_DEFAULT, "{}: nobody waits any more", pad.name());
                }
                gst::PadProbeReturn::Remove
            });
            if wait.recv_timeout(Duration::from_secs(2)).is_err() {
                gst::warning!(gst::CAT_DEFAULT, "{} was never idle", pad.name());
            }
            tee.release_request_pad(&pad);
        }
        let Some(bin) = self.bin.take() else { return };
        if let Err(e) = bin.set_state(gst::State::Null) {
            gst::warning!(gst::CAT_DEFAULT, "{}: {e}", bin.name());
        }
        if let Err(e) = self.pipeline.remove(&bin) {
            gst::warning!(gst::CAT_DEFAULT, "{}: {e}", bin.name());
        }
        // Where the pipeline was still on its way, the others have been left on theirs.
        if let Err(e) = self.pipeline.set_state(gst::State::Playing) {
            gst::warning!(gst::CAT_DEFAULT, "{}: {e}", self.pipeline.name());
        }
    }

    /// Looks after it; often.
    pub(crate) fn tend(&mut self, now: Instant) -> Option<StreamNews> {
        if self.again.is_none_or(|at| now < at) {
            return None;
        }
        self.again = None;
        self.build().err().map(|e| self.failed(&e.to_string(), now))
    }
}

/// Whether the descriptions of a stream can be filled and parsed.
///
/// # Errors
/// Names the field.
pub fn check(plan: &StreamPlan) -> Result<(), RunError> {
    let values = values("x.m3u8");
    for (field, text) in plan.descriptions() {
        fill(text, &values).map_err(|e| setup(&format!("{field}: {e}")))?;
        parse(text, &values, &field)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_stream_is_whole_and_found_by_its_target() {
        gst::init().unwrap();
        for (name, text) in BUILT_IN {
            let plan = StreamPlan::parse(text).unwrap_or_else(|e| panic!("{name}: {e}"));
            check(&plan).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        for (target, says) in [
            ("rtmps://a/b", "RTMP"),
            ("srt://:9000", "SRT"),
            ("rtsp://0.0.0.0:8554/a", "RTSP"),
            ("/srv/a.m3u8", "HLS"),
            ("/dev/video9", "v4l2"),
        ] {
            assert!(StreamPlan::of(target).unwrap().description.contains(says), "{target}");
        }
        let error = StreamPlan::of("gopher://x").unwrap_err().to_string();
        assert!(error.contains("gopher://x") && error.contains("rtmp://"), "{error}");
    }

    #[test]
    fn what_is_missing_is_said() {
        let of = |text: &str| StreamPlan::parse(&format!("schema = 1\ndescription = ''\n{text}")).unwrap_err();
        assert!(of("video_encoder = 'x'").contains("a muxer, a sink or both"));
        assert!(of("video_encoder = 'x'\naudio_encoder = 'y'\nsink = 'z'").contains("need a muxer"));
        assert!(of("video_encoder = 'x'\nbitrate = 3").contains("bitrate"));
    }
}
