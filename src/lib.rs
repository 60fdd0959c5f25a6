//! draft
#![forbid(unsafe_code)]
pub mod align;
pub mod asd;
pub mod attention;
pub mod audio;
pub mod av_object;
pub mod av_offset;
pub mod embed;
pub mod events;
pub mod frame;
pub mod geometry;
pub mod mel;
pub mod net;
pub mod overlay;
pub mod peaks;
pub mod reduce;
pub mod session;
pub mod time;
pub mod tracker;
pub mod voice;
