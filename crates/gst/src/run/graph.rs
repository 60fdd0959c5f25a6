//! What stands between a source and its outputs: the way to the analysis, and the way on, highlighted and in sync.
//!
//! The picture of it is in [`crate::run`]. The element `seehear` puts it into itself, and a run the element into its pipeline.

use super::tap::{self, Tap};
use super::{intake, setup};
use crate::board::Board;
use crate::error::RunError;
use crate::framer::{FrameSize, SeehearFramer};
use crate::inbox::{Inbox, Stream};
use crate::output::{chain, make, queue};
use crate::overlay::{EARLY, SeehearOverlay};
use crate::plan::Plan;
use crate::run::intake::{AudioItem, VideoItem};
use crate::source::Targets;
use crate::sync::{SyncCurve, delay_picture, delay_sound, sound_caps};
use crate::time::clock_time;
use gst::prelude::*;
use seehear::session::SessionCounters;
use seehear::time::{TimeDelta, Timestamp};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What the threads share.
pub(crate) struct Shared {
    pub(super) inbox: Inbox<VideoItem, AudioItem>,
    pub(super) board: Option<Arc<Board>>,
    /// What the analysis decided, where the offset is corrected.
    pub(super) curve: Option<Arc<SyncCurve>>,
    /// As in [`Drops::stepped_over_frames`](seehear::events::Drops).
    pub(super) stepped_over: Arc<AtomicU64>,
    /// Start of the last slot told, ns.
    pub(super) at: AtomicI64,
    pub(super) slots: AtomicU64,
    /// The analysis ended before its streams did: it failed, or its reader went away.
    pub(super) gave_up: AtomicBool,
    /// Pictures that the decoder says are corrupt, once a whole one had come.
    pub(super) corrupt: AtomicU64,
    /// Running time of the first of them, ns.
    pub(super) corrupt_at: AtomicI64,
    /// Where the last picture or sound ended by its own time stamp, ns: what a declared length speaks of.
    pub(super) reached: AtomicI64,
    /// Buffers without a time stamp, or that could not be mapped.
    pub(super) unusable: AtomicU64,
    /// The analysis's own account.
    pub(super) counters: Mutex<SessionCounters>,
    /// As in [`Progress`](super::Progress).
    pub(super) averaged_channels: AtomicU32,
    /// Nothing is analysed: one of the streams is not there.
    pub(super) passing: AtomicBool,
    /// A stream is flushed: what still comes of either is of no programme, and no reason to end.
    pub(super) flushing: AtomicBool,
    /// The run is being stopped: what is still under way is not waited for.
    pub(super) stopping: AtomicBool,
}

impl Shared {
    /// Nobody may wait for anybody now.
    pub(crate) fn close(&self) {
        self.inbox.close();
        if let Some(board) = &self.board {
            board.finish();
        }
    }

    /// Everything goes on unjudged from here on.
    pub(crate) fn pass(&self) {
        self.passing.store(true, Ordering::Release);
        self.close();
    }

    /// Nobody may wait for anybody until [`Shared::reopen`], and the streams go on.
    pub(crate) fn flush(&self) {
        self.flushing.store(true, Ordering::Release);
        self.close();
    }

    /// What is there of a stream that was flushed is of no programme.
    pub(crate) fn forget(&self, flushed: Stream) {
        self.inbox.forget(flushed);
        if let Some(board) = &self.board
            && flushed == Stream::Video
        {
            board.forget_given_up();
        }
    }

    /// A picture that no analysis will see: one of a flushed analysis, or come between the one and the next. Whoever shows
    /// it must not wait for its report, since what it holds up may be the first picture of the next analysis.
    pub(super) fn give_up_to(&self, pts: Timestamp) {
        if let Some(board) = &self.board {
            board.give_up_to(pts);
        }
    }

    /// For a new programme.
    pub(crate) fn reopen(&self) {
        if let Some(board) = &self.board {
            board.restart();
        }
        if let Some(curve) = &self.curve {
            curve.restart();
        }
        self.inbox.reopen();
        self.flushing.store(false, Ordering::Release);
    }

    /// Between [`Shared::flush`] and [`Shared::reopen`].
    pub(crate) fn is_flushing(&self) -> bool {
        self.flushing.load(Ordering::Acquire)
    }

    /// Pictures and sound buffers dropped for want of time.
    pub(crate) fn dropped(&self) -> u64 {
        let (video, audio) = self.inbox.dropped();
        video + audio
    }
}

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drawing {
    /// Who speaks.
    pub(crate) marks: bool,
    /// Nothing drawn, but attached to the picture ([`crate::roi`]).
    pub(crate) roi: bool,
    /// The heat map too.
    pub(crate) heatmap: bool,
    /// Who speaks is framed, in this size.
    pub(crate) framing: Option<FrameSize>,
}

/// What a graph is built for.
#[derive(Clone, Debug)]
pub(crate) struct GraphOptions<'a> {
    /// Queues, drop policy, live or not.
    pub(crate) plan: &'a Plan,
    /// What is drawn on the picture that goes on; `None`: none goes on.
    pub(crate) drawn: Option<Drawing>,
    /// The offset is taken out of what goes on.
    pub(crate) corrected: bool,
    /// Who looks at single pictures.
    pub(crate) tap: Option<Arc<dyn Tap>>,
}

/// What goes on.
#[derive(Debug)]
pub(crate) struct Out {
    /// Draws.
    pub(crate) overlay: SeehearOverlay,
    /// Where the picture goes on: it has one source pad.
    pub(crate) picture: gst::Element,
    /// A tee of the sound.
    pub(crate) sound: gst::Element,
    /// How far the picture's time stamps may run ahead of the sound's.
    pub(crate) ahead: TimeDelta,
}

/// The graph.
pub(crate) struct Graph {
    pub(crate) shared: Arc<Shared>,
    /// Where raw picture and sound go in.
    pub(crate) inputs: Targets,
    /// Where the end of the stream is put in when a run is stopped.
    pub(crate) gates: [gst::Pad; 2],
    /// Where the analysis takes from.
    pub(crate) sinks: Sinks,
    pub(crate) out: Option<Out>,
}

/// The two sinks that the analysis takes from. They play from the beginning, whatever the state around them: on its way to
/// PLAYING a sink holds its first buffer back under a lock, and where that buffer waits for room in the inbox, which is made
/// once the other sink plays, nothing ever moves.
#[derive(Debug)]
pub(crate) struct Sinks([gst::Element; 2]);

impl Sinks {
    fn playing(sinks: [gst::Element; 2]) -> Result<Self, RunError> {
        let these = Self(sinks);
        for sink in &these.0 {
            sink.set_locked_state(true);
            sink.set_state(gst::State::Playing).map_err(|e| setup(&format!("{}: {e}", sink.name())))?;
        }
        Ok(these)
    }

    pub(crate) fn of(&self, stream: Stream) -> &gst::Element {
        let [video, audio] = &self.0;
        match stream {
            Stream::Video => video,
            Stream::Audio => audio,
        }
    }

    /// Whether an object is one of them.
    pub(crate) fn has(&self, object: Option<&gst::Object>) -> bool {
        self.0.iter().any(|s| object == Some(s.upcast_ref()))
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        for sink in &self.0 {
            if let Err(e) = sink.set_state(gst::State::Null) {
                gst::warning!(gst::CAT_DEFAULT, "{}: {e}", sink.name());
            }
        }
    }
}

impl Graph {
    /// Builds it into `bin`. `latency`: how long the analysis waits for what its answer needs.
    ///
    /// # Errors
    /// When an element is missing.
    pub(crate) fn build(bin: &gst::Bin, latency: TimeDelta, o: &GraphOptions<'_>) -> Result<Self, RunError> {
        let wait = latency + TimeDelta::from_ms(o.plan.overlay_margin_ms);
        let shared = Arc::new(Shared {
            inbox: Inbox::new(&o.plan.queues),
            board: o.drawn.map(|d| Arc::new(Board::new(d.heatmap))),
            curve: o.corrected.then(|| Arc::new(SyncCurve::new(&o.plan.sync, wait))),
            stepped_over: Arc::new(AtomicU64::new(0)),
            at: AtomicI64::new(i64::MIN),
            slots: AtomicU64::new(0),
            gave_up: AtomicBool::new(false),
            corrupt: AtomicU64::new(0),
            corrupt_at: AtomicI64::new(0),
            reached: AtomicI64::new(0),
            unusable: AtomicU64::new(0),
            counters: Mutex::default(),
            averaged_channels: AtomicU32::new(0),
            passing: AtomicBool::new(false),
            flushing: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        });

        let video_in = queue(gst::ClockTime::ZERO, 4)?;
        let convert = make("videoconvert")?;
        let filter = make("capsfilter")?;
        filter.set_property("caps", crate::picture::analysis_caps());
        let flip = make("videoflip")?;
        // As the camera was held: phones write it as a tag.
        flip.set_property_from_str("video-direction", "auto");
        let video_tee = make("tee")?;
        let audio_in = queue(gst::ClockTime::from_seconds(5), 0)?;
        let audio_convert = make("audioconvert")?;
        intake::average_unpositioned(&audio_in, &audio_convert, &shared)?;
        intake::answer_no_allocation(&audio_in)?;
        let audio_tee = make("tee")?;
        if o.plan.pace_by_clock {
            chain(bin, &[&video_in, &make("clocksync")?, &convert, &filter, &flip, &video_tee])?;
            chain(bin, &[&audio_in, &make("clocksync")?, &audio_convert, &audio_tee])?;
        } else {
            chain(bin, &[&video_in, &convert, &filter, &flip, &video_tee])?;
            chain(bin, &[&audio_in, &audio_convert, &audio_tee])?;
        }

        let video_sink = intake::video_sink(&shared);
        chain(bin, &[video_sink.upcast_ref()])?;
        link(&video_tee, video_sink.upcast_ref())?;
        let audio_sink = intake::audio_sink(&shared);
        let mono = make("audioconvert")?;
        chain(bin, &[&mono, &make("audioresample")?, audio_sink.upcast_ref()])?;
        link(&audio_tee, &mono)?;

        if let Some(tap) = &o.tap {
            tap::attach(bin, &video_tee, tap)?;
        }
        let mut out = None;
        if let Some(board) = &shared.board {
            let overlay = SeehearOverlay::with_board(Arc::clone(board), o.plan.live.then_some(wait));
            // Room for the pictures that wait for their result, also where they come before their time, and some for the
            // encoder's hiccups.
            let before = queue(clock_time(wait + EARLY + TimeDelta::from_ms(160)), 0)?;
            chain(bin, &[&before, overlay.upcast_ref()])?;
            let mut picture: gst::Element = overlay.clone().upcast();
            // The objects are looked up by the pictures' own times, which live correction moves.
            if let Some(drawn) = o.drawn {
                board.show_marks(drawn.marks);
                if drawn.roi {
                    crate::roi::attach(&source_pad(overlay.upcast_ref())?, board);
                }
            }
            if let Some(size) = o.drawn.and_then(|d| d.framing) {
                let framer: gst::Element = SeehearFramer::with_board(Arc::clone(board), size).upcast();
                let planes = make("videoconvert")?;
                chain(bin, &[&planes, &framer])?;
                link(&picture, &planes)?;
                picture = framer;
            }
            link(&video_tee, &before)?;
            let (mut sound, mut ahead) = (audio_tee.clone(), TimeDelta::ZERO);
            if let Some(curve) = &shared.curve {
                ahead = TimeDelta::from_ms(o.plan.sync.max_delay_ms);
                delay_picture(&source_pad(&picture)?, curve, &shared.stepped_over);
                sound = delayed_sound(bin, &audio_tee, curve, ahead)?;
            }
            out = Some(Out { overlay, picture, sound, ahead });
        }
        let inputs = Targets { video: sink_pad(&video_in)?, audio: sink_pad(&audio_in)? };
        let gates = [sink_pad(&video_tee)?, sink_pad(&audio_tee)?];
        for gate in &gates {
            shut_when(gate, &shared);
        }
        let sinks = Sinks::playing([video_sink.upcast(), audio_sink.upcast()])?;
        Ok(Self { shared, inputs, gates, sinks, out })
    }
}

pub(super) fn link(from: &gst::Element, to: &gst::Element) -> Result<(), RunError> {
    from.link(to).map_err(|e| setup(&e.to_string()))
}

pub(super) fn sink_pad(element: &gst::Element) -> Result<gst::Pad, RunError> {
    element.static_pad("sink").ok_or_else(|| setup("an element without a sink pad"))
}

fn source_pad(element: &gst::Element) -> Result<gst::Pad, RunError> {
    element.static_pad("src").ok_or_else(|| setup("an element without a source pad"))
}

/// A tee of the sound that leaves, delayed as the curve says.
fn delayed_sound(
    bin: &gst::Bin,
    from: &gst::Element,
    curve: &Arc<SyncCurve>,
    max_delay: TimeDelta,
) -> Result<gst::Element, RunError> {
    let (convert, filter, tee) = (make("audioconvert")?, make("capsfilter")?, make("tee")?);
    filter.set_property("caps", sound_caps());
    chain(bin, &[&convert, &filter, &tee])?;
    delay_sound(&sink_pad(&tee)?, curve, max_delay);
    link(from, &convert)?;
    Ok(tee)
}

/// Once `stopping` is set, the first buffer at `pad` is replaced by the end of the stream, and all after it go.
fn shut_when(pad: &gst::Pad, shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    let sent = AtomicBool::new(false);
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |pad, info| {
        if !shared.stopping.load(Ordering::Acquire) {
            return gst::PadProbeReturn::Ok;
        }
        if !sent.swap(true, Ordering::AcqRel) && !pad.send_event(gst::event::Eos::new()) {
            gst::debug!(gst::CAT_DEFAULT, "{} had ended already", pad.name());
        }
        // Taken out here: with Drop the bindings and GStreamer would both let go of the buffer.
        info.data = None;
        gst::PadProbeReturn::Handled
    });
}
