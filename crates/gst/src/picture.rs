//! A decoded GStreamer buffer as the core's picture: mapped, never copied.

use gst_video::prelude::*;
use seehear::frame::{Luma, LumaPlane};

/// The formats whose first plane is 8-bit luma, one byte a pixel: what the analysis takes as it is.
pub const FORMATS: [gst_video::VideoFormat; 9] = [
    gst_video::VideoFormat::I420,
    gst_video::VideoFormat::Nv12,
    gst_video::VideoFormat::Yv12,
    gst_video::VideoFormat::Nv21,
    gst_video::VideoFormat::Y42b,
    gst_video::VideoFormat::Nv16,
    gst_video::VideoFormat::Y41b,
    gst_video::VideoFormat::Y444,
    gst_video::VideoFormat::Gray8,
];

/// A readable video frame of one of [`FORMATS`].
#[derive(Debug)]
pub struct GstPicture(gst_video::VideoFrame<gst_video::video_frame::Readable>);

impl GstPicture {
    /// Maps a buffer; `None` if it can't be mapped as `info` says.
    #[must_use]
    pub fn map(buffer: gst::Buffer, info: &gst_video::VideoInfo) -> Option<Self> {
        gst_video::VideoFrame::from_buffer_readable(buffer, info).ok().map(Self)
    }
}

impl Luma for GstPicture {
    fn luma(&self) -> LumaPlane<'_> {
        let info = self.0.info();
        LumaPlane {
            data: self.0.plane_data(0).unwrap_or(&[]),
            width: info.width(),
            height: info.height(),
            stride_bytes: usize::try_from(self.0.plane_stride()[0]).unwrap_or(0),
            full_range: info.colorimetry().range() == gst_video::VideoColorRange::Range0_255,
        }
    }
}

/// The caps of what the analysis takes.
#[must_use]
pub fn analysis_caps() -> gst::Caps {
    gst_video::VideoCapsBuilder::new().format_list(FORMATS).build()
}
