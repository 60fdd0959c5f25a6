use super::EARLY;
use crate::board::{Board, Drawn, Found, Slide};
use crate::time::{clock_time, delta, timestamp};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::subclass::prelude::*;
use gst_video::{VideoFormat, VideoFrameRef, VideoOverlayFormatFlags};
use seehear::overlay::{Mark, Sprite, draw_mark, line_width};
use seehear::time::TimeDelta;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

static CAT: LazyLock<gst::DebugCategory> =
    LazyLock::new(|| gst::DebugCategory::new("seehearoverlay", gst::DebugColorFlags::empty(), Some("seehear overlay")));

/// A file's picture waits this long before it goes on undrawn: the analysis has stalled, the file must still end.
const STALLED: Duration = Duration::from_secs(20);
/// Sprites kept drawn: objects times the sizes that they lately had.
const SPRITES: usize = 32;

struct Link {
    board: Arc<Board>,
    patience: Option<TimeDelta>,
}

#[derive(Default)]
struct State {
    link: Option<Link>,
    slide: Slide,
    /// Lately used sprites as GStreamer rectangles' pixels, newest last.
    sprites: Vec<(Mark, gst::Buffer)>,
}

#[derive(Default)]
pub struct SeehearOverlay {
    state: Mutex<State>,
    undrawn: AtomicU64,
    /// What the elements before this one add to a picture's age, ns: a jitter buffer, a decoder.
    upstream_ns: AtomicU64,
}

impl SeehearOverlay {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_board(&self, board: Arc<Board>, patience: Option<TimeDelta>) {
        self.lock().link = Some(Link { board, patience });
    }

    /// How much longer this picture may wait.
    fn patience(&self, pts: gst::ClockTime, live: Option<TimeDelta>) -> Duration {
        let Some(patience) = live else { return STALLED };
        let Some(now) = self.obj().current_running_time() else { return STALLED };
        let age = timestamp(now) - timestamp(pts);
        let upstream = delta(gst::ClockTime::from_nseconds(self.upstream_ns.load(Ordering::Relaxed)));
        clock_time(patience + upstream - age).into()
    }

    fn draw(&self, frame: &mut VideoFrameRef<&mut gst::BufferRef>) -> Result<(), gst::FlowError> {
        let segment = self.obj().segment();
        let running =
            frame.buffer().pts().zip(segment.downcast_ref::<gst::ClockTime>()).and_then(|(t, s)| s.to_running_time(t));
        let Some(running) = running else { return Ok(()) };
        let mut state = self.lock();
        let Some(link) = &state.link else { return Ok(()) };
        let patience = self.patience(running, link.patience);
        let analysis = link.patience.map_or(STALLED, |t| clock_time(t + EARLY).into());
        let board = Arc::clone(&link.board);
        let mut slide = std::mem::take(&mut state.slide);
        drop(state);
        let found = board.read(timestamp(running), patience, analysis, &mut slide);
        let mut state = self.lock();
        if found != Found::Own {
            self.undrawn.fetch_add(1, Ordering::Relaxed);
        }
        if !board.marks_shown() {
            slide.drawn.clear();
        }
        let result = if found == Found::Nothing { Ok(()) } else { blend(&mut state, &slide, frame) };
        state.slide = slide;
        result.map_err(|e| {
            gst::error!(CAT, imp = self, "{e}");
            gst::FlowError::Error
        })
    }
}

fn blend(
    state: &mut State,
    slide: &Slide,
    frame: &mut VideoFrameRef<&mut gst::BufferRef>,
) -> Result<(), glib::BoolError> {
    let (width, height) = (frame.info().width(), frame.info().height());
    let line = line_width(height);
    let mut rectangles = Vec::with_capacity(slide.drawn.len() + 1);
    if !slide.heat.bgra.is_empty() {
        let flags = VideoOverlayFormatFlags::PREMULTIPLIED_ALPHA;
        let pixels = to_buffer(&slide.heat)?;
        rectangles.push(gst_video::VideoOverlayRectangle::new_raw(&pixels, 0, 0, width, height, flags));
    }
    for Drawn { mark, x, y, .. } in &slide.drawn {
        let Some(pixels) = sprite(state, *mark, line)? else { continue };
        let flags = VideoOverlayFormatFlags::PREMULTIPLIED_ALPHA;
        rectangles.push(gst_video::VideoOverlayRectangle::new_raw(&pixels, *x, *y, mark.width, mark.height, flags));
    }
    if rectangles.is_empty() {
        return Ok(());
    }
    gst_video::VideoOverlayComposition::new(&rectangles)?.blend(frame)
}

fn sprite(state: &mut State, mark: Mark, line: f32) -> Result<Option<gst::Buffer>, glib::BoolError> {
    if let Some(i) = state.sprites.iter().position(|(m, _)| *m == mark) {
        let hit = state.sprites.remove(i);
        let pixels = hit.1.clone();
        state.sprites.push(hit);
        return Ok(Some(pixels));
    }
    let Some(drawn) = draw_mark(mark, line) else { return Ok(None) };
    let pixels = to_buffer(&drawn)?;
    if state.sprites.len() >= SPRITES {
        state.sprites.remove(0);
    }
    state.sprites.push((mark, pixels.clone()));
    Ok(Some(pixels))
}

fn to_buffer(sprite: &Sprite) -> Result<gst::Buffer, glib::BoolError> {
    let mut buffer = gst::Buffer::from_slice(sprite.bgra.clone());
    let writable = buffer.get_mut().ok_or_else(|| glib::bool_error!("a new buffer is shared"))?;
    gst_video::VideoMeta::add(
        writable,
        gst_video::VideoFrameFlags::empty(),
        VideoFormat::Bgra,
        sprite.width,
        sprite.height,
    )?;
    Ok(buffer)
}

#[glib::object_subclass]
impl ObjectSubclass for SeehearOverlay {
    const NAME: &'static str = "GstSeehearOverlay";
    type Type = super::SeehearOverlay;
    type ParentType = gst_video::VideoFilter;
}

impl ObjectImpl for SeehearOverlay {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            vec![
                glib::ParamSpecUInt64::builder("undrawn")
                    .nick("Undrawn")
                    .blurb("Pictures that went out without the result of their own 40 ms slot")
                    .read_only()
                    .build(),
            ]
        });
        &PROPERTIES
    }

    fn property(&self, _id: usize, _pspec: &glib::ParamSpec) -> glib::Value {
        // There is one property.
        self.undrawn.load(Ordering::Relaxed).to_value()
    }
}

impl GstObjectImpl for SeehearOverlay {}

impl ElementImpl for SeehearOverlay {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "seehear overlay",
                "Filter/Effect/Video",
                "Highlights the active speaker with the results of a seehear session",
                "seehear",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = crate::picture::analysis_caps();
            [("sink", gst::PadDirection::Sink), ("src", gst::PadDirection::Src)]
                .into_iter()
                .filter_map(|(name, direction)| {
                    gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).ok()
                })
                .collect()
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for SeehearOverlay {
    const MODE: gst_base::subclass::BaseTransformMode = gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        if !BaseTransformImplExt::parent_query(self, direction, query) {
            return false;
        }
        if let gst::QueryViewMut::Latency(q) = query.view_mut() {
            let (live, min, max) = q.result();
            self.upstream_ns.store(min.nseconds(), Ordering::Relaxed);
            let wait = self.lock().link.as_ref().and_then(|l| l.patience);
            if let Some(wait) = wait.map(clock_time)
                && live
            {
                q.set(live, min + wait, max.map(|m| m + wait));
            }
        }
        true
    }
}

impl VideoFilterImpl for SeehearOverlay {
    fn transform_frame_ip(
        &self,
        frame: &mut VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.draw(frame)?;
        Ok(gst::FlowSuccess::Ok)
    }
}
