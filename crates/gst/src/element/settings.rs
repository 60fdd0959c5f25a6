//! The element's settings, as properties.

use crate::framer::FrameSize;
use crate::sync::SyncMode;
use gst::glib;
use gst::prelude::*;
use std::sync::LazyLock;

/// What is done about the offset between picture and sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstSeehearSync")]
#[repr(i32)]
pub(super) enum Sync {
    /// Not told.
    #[enum_value(name = "The offset is not told", nick = "off")]
    Off,
    /// Told.
    #[default]
    #[enum_value(name = "The offset is told", nick = "measure")]
    Measure,
    /// Taken out.
    #[enum_value(name = "The offset is told, and taken out of what goes on (live only)", nick = "correct")]
    Correct,
}

impl From<Sync> for SyncMode {
    fn from(sync: Sync) -> Self {
        match sync {
            Sync::Off => Self::Off,
            Sync::Measure => Self::Measure,
            Sync::Correct => Self::Correct,
        }
    }
}

/// What a user sets.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) engine: String,
    pub(super) backend: String,
    pub(super) onnxruntime: Option<String>,
    pub(super) threads: u32,
    pub(super) live: bool,
    pub(super) threshold: f32,
    pub(super) sync: Sync,
    pub(super) mask: String,
    pub(super) frame_speaker: String,
    pub(super) overlay: bool,
    pub(super) heatmap: bool,
    pub(super) roi_meta: bool,
    pub(super) messages: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            engine: "av-small".to_owned(),
            backend: seehear_nets::Choice::default().to_string(),
            onnxruntime: None,
            threads: 1,
            live: false,
            threshold: seehear::asd::SpeakingConfig::default().on_probability,
            sync: Sync::default(),
            mask: String::new(),
            frame_speaker: String::new(),
            overlay: true,
            heatmap: false,
            roi_meta: true,
            messages: true,
        }
    }
}

impl Settings {
    /// Sets one; false where there is none of that name.
    pub(super) fn set(&mut self, name: &str, value: &glib::Value) -> bool {
        const TYPED: &str = "GObject has checked the type";
        match name {
            "engine" => self.engine = value.get::<Option<String>>().expect(TYPED).unwrap_or_default(),
            "backend" => self.backend = value.get::<Option<String>>().expect(TYPED).unwrap_or_default(),
            "onnxruntime" => self.onnxruntime = value.get().expect(TYPED),
            "threads" => self.threads = value.get().expect(TYPED),
            "live" => self.live = value.get().expect(TYPED),
            "threshold" => self.threshold = value.get().expect(TYPED),
            "sync" => self.sync = value.get().expect(TYPED),
            "mask" => self.mask = value.get::<Option<String>>().expect(TYPED).unwrap_or_default(),
            "frame-speaker" => {
                self.frame_speaker = value.get::<Option<String>>().expect(TYPED).unwrap_or_default();
            }
            "overlay" => self.overlay = value.get().expect(TYPED),
            "heatmap" => self.heatmap = value.get().expect(TYPED),
            "roi-meta" => self.roi_meta = value.get().expect(TYPED),
            "messages" => self.messages = value.get().expect(TYPED),
            _ => return false,
        }
        true
    }

    /// The value of one.
    pub(super) fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "engine" => self.engine.to_value(),
            "backend" => self.backend.to_value(),
            "onnxruntime" => self.onnxruntime.to_value(),
            "threads" => self.threads.to_value(),
            "live" => self.live.to_value(),
            "threshold" => self.threshold.to_value(),
            "sync" => self.sync.to_value(),
            "mask" => self.mask.to_value(),
            "frame-speaker" => self.frame_speaker.to_value(),
            "overlay" => self.overlay.to_value(),
            "heatmap" => self.heatmap.to_value(),
            "roi-meta" => self.roi_meta.to_value(),
            "messages" => self.messages.to_value(),
            _ => return None,
        })
    }

    /// The size of what is framed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn framing(&self) -> Result<Option<FrameSize>, String> {
        if self.frame_speaker.is_empty() {
            return Ok(None);
        }
        self.frame_speaker.parse().map(Some).map_err(|e| format!("frame-speaker: {e}"))
    }

    /// The mask's rectangles, source pixels.
    ///
    /// # Errors
    /// What is wrong with it, and the form it should have.
    pub(super) fn mask(&self) -> Result<Vec<[f32; 4]>, String> {
        self.mask
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| {
                let numbers: Vec<f32> = part.split(',').filter_map(|n| n.trim().parse().ok()).collect();
                <[f32; 4]>::try_from(numbers)
                    .map_err(|_| format!("mask: \"{part}\" is no x,y,width,height, as in 0,0,640,100;1200,0,80,720"))
            })
            .collect()
    }
}

/// The properties: what is set, then what is told.
pub(super) fn properties() -> &'static [glib::ParamSpec] {
    static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let d = Settings::default();
        vec![
            glib::ParamSpecString::builder("engine").nick("Engine")
                .blurb("The networks: a manifest file, or the name of one in engines/ above the present folder or the plugin")
                .default_value(Some(&*d.engine)).mutable_ready().build(),
            glib::ParamSpecString::builder("backend").nick("Backend")
                .blurb("What computes the networks: onnxruntime-cpu, onnxruntime-cuda, onnxruntime-tensorrt, tensorrt (where built \
                        in), or auto: the first of them from the back that this machine can run")
                .default_value(Some(&*d.backend)).mutable_ready().build(),
            glib::ParamSpecString::builder("onnxruntime").nick("ONNX Runtime")
                .blurb("ONNX Runtime's shared library; by default .deps/onnxruntime above the present folder or the plugin")
                .mutable_ready().build(),
            glib::ParamSpecUInt::builder("threads").nick("Threads").minimum(1).maximum(256).default_value(d.threads)
                .blurb("Threads that one run of a network may use").mutable_ready().build(),
            glib::ParamSpecBoolean::builder("live").nick("Live").default_value(d.live)
                .blurb("The source can't wait: what the analysis has no time for is dropped and counted, and a picture \
                        waits for its result no longer than the latency says. Otherwise the source is held back")
                .mutable_ready().build(),
            glib::ParamSpecFloat::builder("threshold").nick("Threshold").minimum(0.0).maximum(1.0)
                .default_value(d.threshold).blurb("Probability from which somebody is said to speak").mutable_playing().build(),
            glib::ParamSpecEnum::builder::<Sync>("sync").nick("Sync").default_value(d.sync)
                .blurb("What is done about the offset between picture and sound").mutable_ready().build(),
            glib::ParamSpecString::builder("mask").nick("Mask")
                .blurb("Places where nobody is looked for: x,y,width,height of the source's pixels, several by semicolons")
                .mutable_ready().build(),
            glib::ParamSpecString::builder("frame-speaker").nick("Frame the speaker")
                .blurb("Crop the picture to who speaks: \"source\", in the size of the source, or WIDTHxHEIGHT; empty: the whole picture")
                .mutable_ready().build(),
            glib::ParamSpecBoolean::builder("overlay").nick("Overlay").default_value(d.overlay)
                .blurb("Draw who speaks on the picture").mutable_playing().build(),
            glib::ParamSpecBoolean::builder("heatmap").nick("Heat map").default_value(d.heatmap)
                .blurb("Draw how strongly each place agrees with the sound").mutable_playing().build(),
            glib::ParamSpecBoolean::builder("roi-meta").nick("ROI metas").default_value(d.roi_meta)
                .blurb("Attach a GstVideoRegionOfInterestMeta for every object to the picture").mutable_ready().build(),
            glib::ParamSpecBoolean::builder("messages").nick("Messages").default_value(d.messages)
                .blurb("Post a message seehear-frame for every slot of 40 ms (header and summary come in any case)")
                .mutable_ready().build(),
            glib::ParamSpecDouble::builder("offset-ms").nick("Offset")
                .blurb("The offset between picture and sound, ms; > 0: the sound is late").read_only().build(),
            glib::ParamSpecFloat::builder("offset-confidence").nick("Confidence of the offset")
                .blurb("0: nothing is known; 1: sure").read_only().build(),
            glib::ParamSpecDouble::builder("correction-ms").nick("Correction")
                .blurb("By how much the picture is delayed; < 0: the sound").read_only().build(),
            glib::ParamSpecUInt::builder("objects").nick("Objects").blurb("Objects in the picture").read_only().build(),
            glib::ParamSpecUInt::builder("speaking").nick("Speaking").blurb("Objects that speak").read_only().build(),
            glib::ParamSpecDouble::builder("latency-ms").nick("Algorithmic latency")
                .blurb("From the beginning of a slot to the moment at which all that its answer needs is there")
                .read_only().build(),
            glib::ParamSpecUInt64::builder("dropped").nick("Dropped")
                .blurb("Pictures and sound buffers dropped before the analysis because it was behind").read_only().build(),
            glib::ParamSpecUInt64::builder("undrawn").nick("Undrawn")
                .blurb("Pictures that went on without the result of their own slot").read_only().build(),
        ]
    });
    &PROPERTIES
}
