//! `seehearframer`: crops the picture to who speaks, as [`seehear::framing`] says, and scales the crop to the output's size.
//!
//! Behind the overlay, so that a picture's own results are on the board when it comes. 4:2:0 in planes only; what is before it
//! converts. Crops are of fractions of a pixel, and resampled in one step from the source: nothing trembles.

mod imp;

use crate::board::Board;
use gst::glib;
use gst::subclass::prelude::ObjectSubclassExt;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Size of what is framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FrameSize {
    /// The source's.
    #[default]
    Source,
    /// Width and height, pixels, both even.
    Pixels(u32, u32),
}

impl FromStr for FrameSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "source" {
            return Ok(Self::Source);
        }
        let wrong = || {
            format!("\"{text}\" is no size; WIDTHxHEIGHT in even pixels from 64 to 7680, as in 1280x720, or \"source\"")
        };
        let (w, h) = text.split_once('x').ok_or_else(wrong)?;
        let (Ok(w), Ok(h)) = (w.parse::<u32>(), h.parse::<u32>()) else { return Err(wrong()) };
        let fits = |n: u32| (64..=7680).contains(&n) && n.is_multiple_of(2);
        if fits(w) && fits(h) { Ok(Self::Pixels(w, h)) } else { Err(wrong()) }
    }
}

impl fmt::Display for FrameSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source => write!(f, "source"),
            Self::Pixels(w, h) => write!(f, "{w}x{h}"),
        }
    }
}

glib::wrapper! {
    /// The element.
    pub struct SeehearFramer(ObjectSubclass<imp::SeehearFramer>)
        @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

impl SeehearFramer {
    /// A framer that follows who speaks on `board`.
    #[must_use]
    pub fn with_board(board: Arc<Board>, size: FrameSize) -> Self {
        let this: Self = glib::Object::new();
        imp::SeehearFramer::from_obj(&this).set_board(board, size);
        this
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for text in ["source", "1280x720", "64x7680"] {
            assert_eq!(text.parse::<FrameSize>().unwrap().to_string(), text);
        }
        for text in ["", "720p", "1280x721", "0x0", "1280x", "x720", "99999x2", "-2x64"] {
            assert!(text.parse::<FrameSize>().unwrap_err().contains("1280x720"), "{text}");
        }
    }
}
