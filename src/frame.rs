//! Pictures: a [`Frame`] is a time stamp around any picture that can show its luma plane.

use crate::time::{TimeDelta, Timestamp};

/// A borrowed 8-bit luma plane, `[height, stride]`, of which the first `width` bytes of each row are picture.
#[derive(Clone, Copy, Debug)]
pub struct LumaPlane<'a> {
    /// At least `stride · (height − 1) + width` bytes.
    pub data: &'a [u8],
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next.
    pub stride_bytes: usize,
    /// True where black is 0 and white 255; false for the video range 16…235.
    pub full_range: bool,
}

/// A picture that can show its luma. Implemented by whoever owns the pixels (a GStreamer buffer, a test's vector), so
/// that the core never copies a picture that it will not look at.
pub trait Luma {
    /// The plane, at the source's size.
    fn luma(&self) -> LumaPlane<'_>;
}

/// An owned grey picture, full range, rows packed: for tests and small tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GreyImage {
    /// `width · height` bytes, row by row.
    pub data: Vec<u8>,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Luma for GreyImage {
    fn luma(&self) -> LumaPlane<'_> {
        LumaPlane {
            data: &self.data,
            width: self.width,
            height: self.height,
            stride_bytes: self.width as usize,
            full_range: true,
        }
    }
}

impl<T: Luma> Luma for std::sync::Arc<T> {
    fn luma(&self) -> LumaPlane<'_> {
        (**self).luma()
    }
}

/// A picture with its time.
#[derive(Clone, Debug)]
pub struct Frame<P> {
    /// When the picture appears, running time.
    pub pts: Timestamp,
    /// How long it stays, where the source says so.
    pub duration: Option<TimeDelta>,
    /// The pixels.
    pub picture: P,
}
