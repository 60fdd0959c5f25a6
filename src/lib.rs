//! The core of seehear: who in the picture is making the sound, from pictures and sound alone.
//!
//! Pure Rust with no unsafe code, no GStreamer and no inference library. The modules in the order a frame meets them:
//!
//! | module | stage | in → out |
//! |---|---|---|
//! | [`time`], [`geometry`] | – | the only arithmetic between samples, slots and time; between cells and pixels |
//! | [`frame`], [`audio`] | [`audio::AudioRing`] | pictures with time; sound laid on one sample grid |
//! | [`align`] | [`align::Aligner`] | frames of any rate, sound in any chunks → one [`align::AvWindow`] per 40 ms slot |
//! | [`reduce`], [`mel`] | [`reduce::Reducer`], [`mel::LogMel`] | luma → the network's picture; sound → log-mel |
//! | [`flow`], [`motion`] | [`flow::Flow`], [`motion::MotionEstimator`] | two grey pictures → where every pixel went; how the cells of a map moved, and cuts |
//! | [`net`] | – | the traits that backends implement; engine manifests |
//! | [`embed`] | [`embed::VideoEmbedder`], [`embed::AudioEmbedder`] | slots → a map of unit vectors; a unit vector |
//! | [`attention`] | [`attention::Attention`] | both → log-odds of agreement at every place, over ±600 ms of offset |
//! | [`av_offset`] | [`av_offset::OffsetEstimator`] | agreement over offsets → sound late by so much |
//! | [`correct`], [`audio_delay`] | [`correct::SyncCorrector`], [`audio_delay::AudioDelay`] | measured offsets → which stream to delay by how much, slewed; sound → the same, later (live output only) |
//! | [`peaks`] | [`peaks::PeakPicker`] | map → peaks, thinned by NMS |
//! | [`tracker`], [`av_object`] | [`tracker::Tracker`] | peaks → audio-visual objects with stable ids |
//! | [`voice`], [`asd`] | [`asd::SpeakingDecider`] | objects → who speaks; none, on-screen, off-screen, ambiguous |
//! | [`stft`], [`separation`] | [`separation::Separator`] | the mixture and who is there → each object's own voice |
//! | [`session`] | [`session::Session`] | the one loop that calls them all |
//! | [`events`], [`overlay`] | – | reports as JSON lines; as a picture |
//! | [`flash_beep`] | [`flash_beep::FlashBeepMeter`] | a recording of flashes and beeps → the A/V offset of a device |
//! | [`calibration`] | – | what was measured of a device or a room |
//!
//! A stage is a type with `push`, `pull`, `latency` and `reset` (and `flush` where it holds back input): push as it
//! comes, pull until `None`. Everything is causal and, after the first slots, free of allocation.
//!
//! ```
//! use seehear::align::Aligner;
//! use seehear::audio::AudioWindow;
//! use seehear::frame::Frame;
//! use seehear::time::{TimeDelta, Timestamp};
//!
//! // A 50 fps source: every other frame falls on a slot's middle.
//! let mut aligner = Aligner::new(None);
//! for k in 0..4 {
//!     let pts = Timestamp::from_ms(20 * k);
//!     aligner.push_frame(Frame { pts, duration: Some(TimeDelta::from_ms(20)), picture: k });
//! }
//! aligner.push_audio(AudioWindow { start: Timestamp::ZERO, samples: &[0.0; 1280], discont: false });
//! let mut shown = Vec::new();
//! while let Some(window) = aligner.pull() {
//!     shown.push((window.start, *window.picture));
//! }
//! assert_eq!(shown, [(Timestamp::ZERO, 1), (Timestamp::from_ms(40), 3)]);
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::integer_division,
        clippy::float_cmp,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "tests compute with small known numbers"
    )
)]

pub mod align;
pub mod asd;
pub mod assign;
pub mod attention;
pub mod audio;
pub mod audio_delay;
pub mod av_object;
pub mod av_offset;
pub mod calibration;
pub mod correct;
pub mod embed;
pub mod events;
pub mod flash_beep;
pub mod flow;
pub mod frame;
pub mod framing;
pub mod geometry;
pub mod mel;
pub mod motion;
pub mod motion_thread;
pub mod net;
pub mod overlay;
pub mod peaks;
pub mod reduce;
pub mod reliability;
pub mod separation;
pub mod session;
pub mod stft;
pub mod sync;
pub mod sync_meter;
pub mod time;
pub mod tracker;
pub mod voice;
