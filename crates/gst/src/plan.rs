//! Pipeline files: `pipelines/*.toml` parsed, checked and typed. `seehear check` and `seehear run` share this path.

use crate::error::RunError;
use seehear::correct::SyncConfig;
use seehear::session::SessionConfig;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// What happens to a new item when a queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DropPolicy {
    /// The source waits: nothing is lost, time is.
    Block,
    /// The oldest item goes, and is counted.
    DropOldest,
    /// The new item goes, and is counted.
    DropNewest,
}

/// A bounded queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueConfig {
    /// Items at most.
    pub max_items: usize,
    /// When it is full.
    pub policy: DropPolicy,
}

/// The queues before the analysis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queues {
    /// Frames.
    pub video: QueueConfig,
    /// Sound buffers.
    pub audio: QueueConfig,
}

/// Where picture and sound come from: one description with both, or one for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// A `gst-launch` description whose element named `source` shows decoded pads of both kinds, or in which both end in elements
    /// named `picture` and `sound`.
    pub launch: Option<String>,
    /// A `gst-launch` description of the picture alone, ending in raw or decodable video.
    pub video: Option<String>,
    /// A `gst-launch` description of the sound alone.
    pub audio: Option<String>,
    /// What is done when a live source is lost; without it, that is the end of the run.
    pub reconnect: Option<Reconnect>,
}

/// How a lost source is waited for: it is built again after a wait, which doubles from time to time and is by chance a
/// quarter shorter or longer. A source that was never there is an error at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reconnect {
    /// First wait, ms.
    pub first_wait_ms: u64,
    /// Longest wait, ms.
    pub longest_wait_ms: u64,
    /// Neither picture nor sound for so long: it is lost, whatever it says, ms.
    pub silent_after_ms: u64,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self { first_wait_ms: 500, longest_wait_ms: 30_000, silent_after_ms: 5_000 }
    }
}

/// How one kind of file is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// Muxer description; its element takes one video and one audio pad.
    pub muxer: String,
    /// Encoder description from raw I420 or NV12.
    pub video_encoder: String,
    /// Encoder description from raw sound.
    pub audio_encoder: String,
}

/// Where the highlighted picture goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outputs {
    /// By file name extension.
    pub files: BTreeMap<String, Container>,
    /// Sink description for `--display`'s picture.
    pub display_video: Option<String>,
    /// Sink description for `--display`'s sound.
    pub display_audio: Option<String>,
}

/// A pipeline file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Version of this format: 1.
    pub schema: u32,
    /// What it is for, in a sentence.
    pub description: String,
    /// What it takes beyond what `make setup` installs: hardware and its drivers, in words.
    #[serde(default)]
    pub needs: Option<String>,
    /// True if the source keeps its own time and can't wait.
    pub live: bool,
    /// Plays a file at the speed of the clock, as if it were a live source.
    #[serde(default)]
    pub pace_by_clock: bool,
    /// How far one stream of a live source may run ahead before the other counts as missing, ms.
    #[serde(default = "default_max_lead_ms")]
    pub max_lead_ms: i64,
    /// How long a live picture waits for its own result beyond the algorithmic latency, ms.
    #[serde(default = "default_margin_ms")]
    pub overlay_margin_ms: i64,
    /// Values for `{name}` in the descriptions that `--set name=value` can replace.
    #[serde(default)]
    pub defaults: BTreeMap<String, String>,
    /// Where picture and sound come from.
    pub source: Source,
    /// The queues before the analysis.
    pub queues: Queues,
    /// Where the highlighted picture goes.
    #[serde(default)]
    pub output: Outputs,
    /// Parameters of live correction.
    #[serde(default)]
    pub sync: SyncConfig,
    /// Parameters of the stages.
    #[serde(default)]
    pub stages: SessionConfig,
}

fn default_max_lead_ms() -> i64 {
    1_000
}

fn default_margin_ms() -> i64 {
    120
}

/// The pipelines that the program carries: `pipelines/` of the repository, by name.
pub const BUILT_IN: [(&str, &str); 11] = [
    ("file", include_str!("../../../pipelines/file.toml")),
    ("camera", include_str!("../../../pipelines/camera.toml")),
    ("rtsp", include_str!("../../../pipelines/rtsp.toml")),
    ("srt", include_str!("../../../pipelines/srt.toml")),
    ("test", include_str!("../../../pipelines/test.toml")),
    ("realtime", include_str!("../../../pipelines/realtime.toml")),
    ("jetson-csi", include_str!("../../../pipelines/jetson-csi.toml")),
    ("jetson-file", include_str!("../../../pipelines/jetson-file.toml")),
    ("jetson-rtsp", include_str!("../../../pipelines/jetson-rtsp.toml")),
    ("nvdec-file", include_str!("../../../pipelines/nvdec-file.toml")),
    ("nvdec-rtsp", include_str!("../../../pipelines/nvdec-rtsp.toml")),
];

impl Plan {
    /// A pipeline that the program carries.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn built_in(name: &str) -> Result<Self, RunError> {
        let (_, text) = BUILT_IN.iter().find(|(n, _)| *n == name).ok_or_else(|| RunError::Plan {
            path: name.to_owned(),
            why: format!("no such built-in pipeline; there are {}", BUILT_IN.map(|(n, _)| n).join(", ")),
        })?;
        Self::parse(text).map_err(|why| RunError::Plan { path: format!("{name} (built in)"), why })
    }

    /// Reads and checks a pipeline file.
    ///
    /// # Errors
    /// Names the file and what is wrong in it.
    pub fn load(path: &Path) -> Result<Self, RunError> {
        let name = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|e| RunError::Plan { path: name.clone(), why: e.to_string() })?;
        Self::parse(&text).map_err(|why| RunError::Plan { path: name, why })
    }

    /// Parses and checks the text of a pipeline file.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let plan: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        plan.validate()?;
        Ok(plan)
    }

    fn validate(&self) -> Result<(), String> {
        if self.schema != 1 {
            return Err(format!("schema = {} is not known; this program reads schema 1", self.schema));
        }
        match (&self.source.launch, &self.source.video, &self.source.audio) {
            (Some(launch), None, None) => {
                let ends = ["name=picture", "name=sound"].iter().all(|end| launch.contains(end));
                if !ends && !launch.contains("name=source") {
                    return Err(
                        "source.launch must name one of its elements \"source\" (name=source), or the ends of both \
                                streams \"picture\" and \"sound\""
                            .into(),
                    );
                }
            }
            (None, Some(_), Some(_)) => {}
            _ => return Err("source takes either launch alone, or video and audio together".into()),
        }
        if let Some(r) = &self.source.reconnect {
            if !self.live {
                return Err("source.reconnect is for live sources: a file that ends has ended".into());
            }
            for (name, ms, range) in [
                ("first_wait_ms", r.first_wait_ms, 10..=600_000),
                ("longest_wait_ms", r.longest_wait_ms, r.first_wait_ms..=3_600_000),
                ("silent_after_ms", r.silent_after_ms, 1_000..=600_000),
            ] {
                if !range.contains(&ms) {
                    let (from, to) = range.into_inner();
                    return Err(format!("source.reconnect.{name} = {ms} is out of range ({from} to {to})"));
                }
            }
        }
        for (name, q) in [("video", &self.queues.video), ("audio", &self.queues.audio)] {
            if !(1..=10_000).contains(&q.max_items) {
                return Err(format!("queues.{name}.max_items = {} is out of range (1 to 10000)", q.max_items));
            }
            if self.live && q.policy == DropPolicy::Block {
                return Err(format!(
                    "queues.{name}.policy = \"block\" would stall a live source; drop-oldest or drop-newest"
                ));
            }
        }
        for (name, ms, range) in
            [("max_lead_ms", self.max_lead_ms, 100..=60_000), ("overlay_margin_ms", self.overlay_margin_ms, 0..=4_000)]
        {
            if !range.contains(&ms) {
                return Err(format!("{name} = {ms} is out of range ({} to {})", range.start(), range.end()));
            }
        }
        self.sync.validate().map_err(|e| format!("sync.{e}"))?;
        self.stages.validate().map_err(|e| format!("stages.{e}"))
    }

    /// Every `gst-launch` description of the plan, with the field it stands in.
    #[must_use]
    pub fn descriptions(&self) -> Vec<(String, &str)> {
        let mut all = Vec::new();
        for (name, text) in [
            ("source.launch", &self.source.launch),
            ("source.video", &self.source.video),
            ("source.audio", &self.source.audio),
        ] {
            all.extend(text.as_deref().map(|t| (name.to_owned(), t)));
        }
        for (extension, c) in &self.output.files {
            for (part, text) in
                [("muxer", &c.muxer), ("video_encoder", &c.video_encoder), ("audio_encoder", &c.audio_encoder)]
            {
                all.push((format!("output.files.{extension}.{part}"), text));
            }
        }
        for (name, text) in
            [("output.display_video", &self.output.display_video), ("output.display_audio", &self.output.display_audio)]
        {
            all.extend(text.as_deref().map(|t| (name.to_owned(), t)));
        }
        all
    }
}

/// Puts values into `{name}` places of a description. Values are quoted for the `gst-launch` syntax, so that a file
/// name can hold anything.
///
/// # Errors
/// Names the place that has no value.
pub fn fill(description: &str, values: &BTreeMap<String, String>) -> Result<String, String> {
    let mut out = String::with_capacity(description.len());
    let mut rest = description;
    while let Some(open) = rest.find('{') {
        let close = rest[open..].find('}').map(|i| open + i).ok_or("a { has no }")?;
        let name = &rest[open + 1..close];
        let value = values.get(name).ok_or_else(|| format!("{{{name}}} has no value; pass --set {name}=…"))?;
        out.push_str(&rest[..open]);
        out.push('"');
        for c in value.chars() {
            if c == '"' || c == '\\' {
                out.push('\\');
            }
            out.push(c);
        }
        out.push('"');
        rest = &rest[close + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_pipeline_is_whole() {
        for (name, _) in BUILT_IN {
            let plan = Plan::built_in(name).unwrap_or_else(|e| panic!("{e}"));
            assert!(!plan.description.is_empty(), "{name}");
        }
    }

    #[test]
    fn errors_name_the_field() {
        let good = include_str!("../../../pipelines/camera.toml");
        for (from, to, want) in [
            ("schema = 1", "schema = 2", "schema = 2"),
            ("live = true", "live = true\nlife = 3", "life"),
            ("policy = \"drop-oldest\"", "policy = \"block\"", "would stall"),
            ("policy = \"drop-oldest\"", "policy = \"drop\"", "drop-newest"),
            (
                "[stages]",
                "[sync]\nmax_delay_ms = 9000\n[stages]",
                "sync.max_delay_ms = 9000 is out of range (0 to 5000)",
            ),
            ("[stages]", "[sync]\nspeed = 1\n[stages]", "speed"),
            ("[stages]", "[stages.peaks]\nradius_share = 3.0\n[stages]", "stages.peaks.radius_share = 3"),
        ] {
            assert!(good.contains(from), "{from}");
            let error = Plan::parse(&good.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
    }

    #[test]
    fn values_are_quoted() {
        let values = BTreeMap::from([("uri".to_owned(), "a \"b\" ! fakesink \\".to_owned())]);
        assert_eq!(fill("x uri={uri} y", &values).unwrap(), r#"x uri="a \"b\" ! fakesink \\" y"#);
        assert!(fill("{device}", &values).unwrap_err().contains("device"));
    }
}
