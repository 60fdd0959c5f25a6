//! Calibration files: what was measured of one device or room, `calibration/*.toml`.
//!
//! ```toml
//! by = "seehear calibrate av-offset /dev/video0"
//! at = "2026-11-23T11:20:00Z"
//!
//! [offset]
//! ms = 42.3
//! spread_ms = 1.8
//! error_ms = 0.3
//! events = 57
//! ```
//!
//! Both tables are optional, and each is written by a command of its own, which leaves the other as it was.

use crate::reliability::Sigmoid;
use crate::time::TimeDelta;
use serde::{Deserialize, Serialize};
use std::path::Path;
use toml::value::Datetime;

/// No device is further off: the flash-and-beep pattern tells offsets up to here.
pub const MOST_MS: f64 = 2_000.0;

/// A calibration file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The command that wrote the file last.
    pub by: String,
    /// When it did: date and time with time zone, RFC 3339.
    pub at: String,
    /// The device's A/V offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<OffsetCalibration>,
    /// The probability of speaking, fitted to the device's room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaking: Option<SpeakingCalibration>,
}

/// How far sound and picture of a device are apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffsetCalibration {
    /// The offset, ms; > 0: the device's sound is late. ±[`MOST_MS`].
    pub ms: f64,
    /// Standard deviation of the single events, ms.
    pub spread_ms: f64,
    /// Standard error of `ms`, ms.
    pub error_ms: f64,
    /// Events (flashes with their beeps, or stretches of speech) that it comes of.
    pub events: u32,
}

/// The probability of speaking of an attention logit: 1 / (1 + exp(−(`slope` · logit + `bias`))).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeakingCalibration {
    /// Name of the engine whose logits these are.
    pub engine: String,
    /// Steepness, > 0.
    pub slope: f64,
    /// Logit of speaking at an attention logit of 0.
    pub bias: f64,
}

impl OffsetCalibration {
    /// By how much the picture is to be held back for both to fit; where < 0, the sound.
    #[must_use]
    pub fn delay(&self) -> TimeDelta {
        #[expect(clippy::cast_possible_truncation, reason = "validated to be some seconds")]
        TimeDelta::from_ns((self.ms * 1e6).round() as i64)
    }
}

impl SpeakingCalibration {
    /// As the decision takes it.
    #[must_use]
    pub fn sigmoid(&self) -> Sigmoid {
        #[expect(clippy::cast_possible_truncation, reason = "two parameters, of some units")]
        Sigmoid { slope: self.slope as f32, bias: self.bias as f32 }
    }
}

/// What is wrong with a calibration file.
#[derive(Debug, thiserror::Error)]
#[error("calibration {path}: {why}")]
pub struct CalibrationError {
    /// The file.
    pub path: String,
    /// What is wrong, and what to do.
    pub why: String,
}

impl Calibration {
    /// One without any table.
    #[must_use]
    pub fn new(by: String, at: String) -> Self {
        Self { by, at, offset: None, speaking: None }
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// Names the file and what is wrong in it.
    pub fn load(path: &Path) -> Result<Self, CalibrationError> {
        let fail = |why: String| CalibrationError { path: path.display().to_string(), why };
        let text = std::fs::read_to_string(path).map_err(|e| fail(format!("can't be read: {e}")))?;
        Self::parse(&text).map_err(fail)
    }

    /// Parses and checks the text of a file.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let it: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        it.validate()?;
        Ok(it)
    }

    /// The text of a file.
    ///
    /// # Errors
    /// What a reader would find wrong with it.
    pub fn to_toml(&self) -> Result<String, String> {
        self.validate()?;
        toml::to_string(self).map_err(|e| e.to_string())
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// Names the field, its value and the range.
    pub fn validate(&self) -> Result<(), String> {
        let whole = |d: &Datetime| d.date.is_some() && d.time.is_some() && d.offset.is_some();
        if !self.at.parse::<Datetime>().is_ok_and(|d| whole(&d)) {
            return Err(format!("at = \"{}\" is no time as in 2026-11-23T11:20:00Z", self.at));
        }
        if let Some(o) = &self.offset {
            for (name, value, least) in
                [("ms", o.ms, -MOST_MS), ("spread_ms", o.spread_ms, 0.0), ("error_ms", o.error_ms, 0.0)]
            {
                if !(least..=MOST_MS).contains(&value) {
                    return Err(format!("offset.{name} = {value} is out of range ({least} to {MOST_MS})"));
                }
            }
            if o.events == 0 {
                return Err("offset.events = 0: it comes of nothing".to_owned());
            }
        }
        if let Some(s) = &self.speaking {
            if s.engine.trim().is_empty() {
                return Err("speaking.engine is empty; it takes the name of an engine".to_owned());
            }
            if !(s.slope.is_finite() && s.slope > 0.0) {
                return Err(format!("speaking.slope = {} is out of range (above 0)", s.slope));
            }
            if !s.bias.is_finite() {
                return Err(format!("speaking.bias = {} is no number", s.bias));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "by = \"seehear calibrate av-offset /dev/video0\"\nat = \"2026-11-23T11:20:00Z\"\n\n\
        [offset]\nms = 42.3\nspread_ms = 1.8\nerror_ms = 0.3\nevents = 57\n\n\
        [speaking]\nengine = \"av-small\"\nslope = 1.0\nbias = 0.0\n";

    #[test]
    fn a_file_reads_as_it_was_written() {
        let it = Calibration::parse(WHOLE).unwrap();
        assert_eq!(it.offset, Some(OffsetCalibration { ms: 42.3, spread_ms: 1.8, error_ms: 0.3, events: 57 }));
        assert_eq!(it.speaking.as_ref().map(|s| (s.engine.as_str(), s.slope, s.bias)), Some(("av-small", 1.0, 0.0)));
        assert_eq!(it.to_toml().unwrap(), WHOLE);
        let none = Calibration::new("me".into(), "2026-11-23T11:20:00+01:00".into());
        assert_eq!(Calibration::parse(&none.to_toml().unwrap()).unwrap(), none);
    }

    #[test]
    fn errors_name_the_field() {
        for (from, to, want) in [
            ("ms = 42.3", "ms = 2000.5", "offset.ms = 2000.5 is out of range (-2000 to 2000)"),
            ("ms = 42.3", "ms = nan", "offset.ms = NaN"),
            ("spread_ms = 1.8", "spread_ms = -1.0", "offset.spread_ms = -1"),
            ("error_ms = 0.3", "error_ms = inf", "offset.error_ms = inf"),
            ("events = 57", "events = 0", "offset.events = 0"),
            ("events = 57", "event = 57", "event"),
            ("slope = 1.0", "slope = 0.0", "speaking.slope = 0"),
            ("bias = 0.0", "bias = nan", "speaking.bias = NaN"),
            ("\"av-small\"", "\" \"", "speaking.engine"),
            ("2026-11-23T11:20:00Z", "2026-11-23", "at = \"2026-11-23\""),
            ("2026-11-23T11:20:00Z", "yesterday", "at = \"yesterday\""),
            ("[offset]", "[drift]\n[offset]", "drift"),
        ] {
            assert!(WHOLE.contains(from), "{from}");
            let error = Calibration::parse(&WHOLE.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
    }

    #[test]
    fn what_would_not_be_read_is_not_written() {
        let mut it = Calibration::parse(WHOLE).unwrap();
        it.at = "now".into();
        assert!(it.to_toml().unwrap_err().contains("at = \"now\""));
        let error = Calibration::load(Path::new("/nowhere/c.toml")).unwrap_err().to_string();
        assert!(error.starts_with("calibration /nowhere/c.toml: can't be read"), "{error}");
    }
}
