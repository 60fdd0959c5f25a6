use super::FrameSize;
use crate::board::Board;
use crate::time::timestamp;
use fast_image_resize as fr;
use gst::glib;
use gst::subclass::prelude::*;
use gst_base::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::subclass::prelude::*;
use gst_video::{VideoFormat, VideoFrameRef};
use seehear::framing::{Framing, FramingConfig, Pose, Subject};
use seehear::geometry::{PxPoint, PxRect};
use seehear::time::Timestamp;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// The gap between two people side by side, share of the output's width.
const DIVIDER: f32 = 0.004;

static CAT: LazyLock<gst::DebugCategory> =
    LazyLock::new(|| gst::DebugCategory::new("seehearframer", gst::DebugColorFlags::empty(), Some("speaker framing")));

#[derive(Default)]
struct State {
    board: Option<Arc<Board>>,
    size: FrameSize,
    framing: Option<Framing>,
    /// Start of the last slot that was taken from the board.
    last: Option<Timestamp>,
    resizer: fr::Resizer,
}

/// The element's insides.
#[derive(Default)]
pub struct SeehearFramer {
    state: Mutex<State>,
}

impl SeehearFramer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_board(&self, board: Arc<Board>, size: FrameSize) {
        let mut state = self.lock();
        (state.board, state.size) = (Some(board), size);
    }

    /// What is shown of the picture of running time `t`.
    fn pose(state: &mut State, t: Timestamp) -> Option<Pose> {
        let State { board, framing, last, .. } = state;
        let framing = framing.as_mut()?;
        board.as_ref()?.each_between(*last, t, |slide| {
            let subjects = slide.drawn.iter().map(|d| Subject {
                id: d.mark.id,
                at: PxPoint { x: middle(d.x, d.mark.width), y: middle(d.y, d.mark.height) },
                extent: extent(d.mark.height),
                speaking: d.mark.speaking,
            });
            framing.observe(slide.start, slide.cut, subjects);
            *last = Some(slide.start);
        });
        Some(framing.pose(t))
    }
}

#[expect(clippy::cast_precision_loss, reason = "pixels")]
fn middle(from: i32, extent: u32) -> f32 {
    from as f32 + extent as f32 / 2.0
}

#[expect(clippy::cast_precision_loss, reason = "pixels")]
fn extent(pixels: u32) -> f32 {
    pixels as f32
}

/// A part of a picture's plane: where it begins and its size, in the plane's pixels.
#[derive(Clone, Copy)]
struct Part {
    x: u32,
    w: u32,
    h: u32,
}

/// Resamples `crop` (of the whole picture, pixels) of each plane of `from` into the columns `part` of each plane of `to`.
fn resample(
    resizer: &mut fr::Resizer,
    from: &VideoFrameRef<&gst::BufferRef>,
    to: &mut VideoFrameRef<&mut gst::BufferRef>,
    crop: PxRect,
    part: Part,
) -> Result<(), String> {
    let (x0, y0, ..) = crop.edges();
    for plane in 0..3_u32 {
        let half = u32::from(plane > 0);
        let scale = if plane > 0 { 0.5 } else { 1.0 };
        let stride = |strides: &[i32]| u32::try_from(strides[usize::try_from(plane).unwrap_or(0)]).unwrap_or(0);
        let (from_stride, to_stride) = (stride(from.plane_stride()), stride(to.plane_stride()));
        let (w, h) = (from.info().width().div_ceil(1 << half), from.info().height().div_ceil(1 << half));
        let pixels = from.plane_data(plane).map_err(|e| e.to_string())?;
        let len = usize::try_from(from_stride * h).unwrap_or(0).min(pixels.len());
        let source =
            fr::images::ImageRef::new(from_stride, h, &pixels[..len], fr::PixelType::U8).map_err(|e| e.to_string())?;
        let (dx, dw, dh) = (part.x >> half, part.w.div_ceil(1 << half), part.h.div_ceil(1 << half));
        let out = to.plane_data_mut(plane).map_err(|e| e.to_string())?;
        let len = usize::try_from(to_stride * dh).unwrap_or(0).min(out.len());
        let mut whole = fr::images::Image::from_slice_u8(to_stride, dh, &mut out[..len], fr::PixelType::U8)
            .map_err(|e| e.to_string())?;
        let mut target = fr::images::CroppedImageMut::new(&mut whole, dx, 0, dw, dh).map_err(|e| e.to_string())?;
        let at = |p: f32| f64::from(p * scale).max(0.0);
        let (left, top) = (at(x0), at(y0));
        let width = at(crop.w).min(f64::from(w) - left);
        let height = at(crop.h).min(f64::from(h) - top);
        let options = fr::ResizeOptions::new()
            .crop(left, top, width, height)
            .resize_alg(fr::ResizeAlg::Convolution(fr::FilterType::Bilinear));
        resizer.resize(&source, &mut target, &options).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Black.
fn clear(to: &mut VideoFrameRef<&mut gst::BufferRef>) -> Result<(), String> {
    for (plane, value) in [(0, 16), (1, 128), (2, 128)] {
        to.plane_data_mut(plane).map_err(|e| e.to_string())?.fill(value);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "pixels")]
fn divider(width: u32) -> u32 {
    ((width as f32 * DIVIDER) as u32).next_multiple_of(2)
}

#[glib::object_subclass]
impl ObjectSubclass for SeehearFramer {
    const NAME: &'static str = "GstSeehearFramer";
    type Type = super::SeehearFramer;
    type ParentType = gst_video::VideoFilter;
}

impl ObjectImpl for SeehearFramer {}
impl GstObjectImpl for SeehearFramer {}

impl ElementImpl for SeehearFramer {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "seehear framer",
                "Filter/Effect/Video",
                "Crops the picture to the active speaker with the results of a seehear session",
                "seehear",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst_video::VideoCapsBuilder::new().format(VideoFormat::I420).build();
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

impl BaseTransformImpl for SeehearFramer {
    const MODE: gst_base::subclass::BaseTransformMode = gst_base::subclass::BaseTransformMode::NeverInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        let FrameSize::Pixels(w, h) = self.lock().size else {
            let same = caps.clone();
            return Some(
                filter.map_or_else(|| same.clone(), |f| f.intersect_with_mode(&same, gst::CapsIntersectMode::First)),
            );
        };
        let mut other = caps.clone();
        for s in other.make_mut().iter_mut() {
            if direction == gst::PadDirection::Sink {
                s.set("width", i32::try_from(w).unwrap_or(i32::MAX));
                s.set("height", i32::try_from(h).unwrap_or(i32::MAX));
                s.set("pixel-aspect-ratio", gst::Fraction::new(1, 1));
            } else {
                s.remove_fields(["width", "height", "pixel-aspect-ratio"]);
            }
        }
        Some(filter.map_or_else(|| other.clone(), |f| f.intersect_with_mode(&other, gst::CapsIntersectMode::First)))
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        if let gst::EventView::FlushStop(_) = event.view() {
            self.lock().last = None;
        }
        self.parent_sink_event(event)
    }
}

impl VideoFilterImpl for SeehearFramer {
    fn set_info(
        &self,
        incaps: &gst::Caps,
        in_info: &gst_video::VideoInfo,
        outcaps: &gst::Caps,
        out_info: &gst_video::VideoInfo,
    ) -> Result<(), gst::LoggableError> {
        self.parent_set_info(incaps, in_info, outcaps, out_info)?;
        let shape = |i: &gst_video::VideoInfo| {
            f64::from(i.width()) * f64::from(i.par().numer()) / f64::from(i.par().denom()) / f64::from(i.height())
        };
        // In the source's pixels, which may be narrow.
        let pixel = f64::from(in_info.par().numer()) / f64::from(in_info.par().denom());
        #[expect(clippy::cast_possible_truncation, reason = "a ratio")]
        let aspect = (shape(out_info) / pixel) as f32;
        let mut state = self.lock();
        state.framing = Some(Framing::new(FramingConfig::default(), in_info.width(), in_info.height(), aspect));
        Ok(())
    }

    fn transform_frame(
        &self,
        from: &VideoFrameRef<&gst::BufferRef>,
        to: &mut VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let segment = self.obj().segment();
        let running =
            from.buffer().pts().zip(segment.downcast_ref::<gst::ClockTime>()).and_then(|(t, s)| s.to_running_time(t));
        let mut state = self.lock();
        let pose = running.and_then(|t| Self::pose(&mut state, timestamp(t)));
        let (w, h) = (to.info().width(), to.info().height());
        let done = match pose {
            Some(Pose::One(crop)) => resample(&mut state.resizer, from, to, crop, Part { x: 0, w, h }),
            Some(Pose::Two([left, right])) => {
                let gap = divider(w);
                let half = (w - gap).div_euclid(4) * 2;
                // What the gap takes of each crop's width goes at its sides.
                let narrow = |mut crop: PxRect| {
                    #[expect(clippy::cast_precision_loss, reason = "pixels")]
                    let share = 2.0 * half as f32 / w as f32;
                    crop.w *= share;
                    crop
                };
                clear(to)
                    .and_then(|()| resample(&mut state.resizer, from, to, narrow(left), Part { x: 0, w: half, h }))
                    .and_then(|()| {
                        resample(&mut state.resizer, from, to, narrow(right), Part { x: w - half, w: half, h })
                    })
            }
            // A picture without a time: what was shown last is not known to fit it.
            None => {
                #[expect(clippy::cast_precision_loss, reason = "pixels")]
                let whole = PxRect::from_edges(0.0, 0.0, from.info().width() as f32, from.info().height() as f32);
                resample(&mut state.resizer, from, to, whole, Part { x: 0, w, h })
            }
        };
        done.map_err(|e| {
            gst::error!(CAT, imp = self, "{e}");
            gst::FlowError::Error
        })?;
        Ok(gst::FlowSuccess::Ok)
    }
}
