//! GStreamer's messages as errors in the user's words.

use crate::error::RunError;
use crate::output::DisplayError;
use crate::source::INSTALL;
use crate::time::timestamp;
use gst::prelude::*;
use seehear::time::Timestamp;
use std::path::PathBuf;

/// What went wrong so far; the cause is often told before or after the error itself.
pub(super) struct Trouble {
    input: String,
    output: Option<PathBuf>,
    /// Descriptions of decoders that are not installed.
    missing: Vec<String>,
    /// The last warning.
    warning: Option<String>,
    /// Why there is no display.
    no_screen: Option<String>,
}

impl Trouble {
    pub(super) fn new(input: String, output: Option<PathBuf>) -> Self {
        Self { input, output, missing: Vec::new(), warning: None, no_screen: None }
    }

    /// Remembers what a message says.
    pub(super) fn note(&mut self, message: &gst::MessageRef) {
        match message.view() {
            gst::MessageView::Element(e) => {
                if let Some(s) = e.structure().filter(|s| s.name() == "missing-plugin") {
                    let name = s.get::<String>("name").or_else(|_| s.get::<String>("detail"));
                    self.missing.push(name.unwrap_or_else(|_| "a decoder".to_owned()));
                }
            }
            gst::MessageView::Warning(w) => {
                let error = w.error().to_string();
                // These two found no sink that works here, and go on without.
                match w.src().map_or("", |s| s.type_().name()) {
                    "GstAutoVideoSink" => self.no_screen = Some(error),
                    "GstAutoAudioSink" => gst::warning!(gst::CAT_DEFAULT, "shown without sound: {error}"),
                    _ => self.warning = Some(error),
                }
            }
            _ => {}
        }
    }

    /// The error where a display is wanted and none is there.
    pub(super) fn no_screen(&self) -> Option<RunError> {
        self.no_screen.as_deref().map(no_screen)
    }

    /// The error for a stream that the input does not have.
    pub(super) fn missing(&self, stream: &'static str) -> RunError {
        if self.missing.is_empty() {
            let hint = match stream {
                "audio" => ": record or mux the sound in, or check that the right file was chosen",
                _ => "; is it a sound file?",
            };
            RunError::NoStream { input: self.input.clone(), stream, hint: hint.to_owned() }
        } else {
            self.no_decoder()
        }
    }

    /// The error for a file from which nothing comes any more.
    pub(super) fn stalled(&self, at: Option<Timestamp>) -> RunError {
        let why = self.warning.clone().unwrap_or_else(|| "nothing has come for 30 s".to_owned());
        let why = format!("{why}: the streams can't be brought together; see GST_DEBUG=3, or convert the file");
        RunError::Broken { input: self.input.clone(), at: at.unwrap_or_default(), why }
    }

    fn no_decoder(&self) -> RunError {
        let why = format!("this machine has no {}; {INSTALL}, or convert the file", self.missing.join(" and no "));
        RunError::Input { input: self.input.clone(), why }
    }

    /// The error for GStreamer's own.
    pub(super) fn error(&self, message: Option<&gst::message::Error>, at: Option<Timestamp>) -> RunError {
        let input = self.input.clone();
        if let Some(error) = self.no_screen() {
            return error;
        }
        if !self.missing.is_empty() {
            return self.no_decoder();
        }
        let Some(message) = message else {
            let why = self.warning.clone().unwrap_or_else(|| "the pipeline did not start".to_owned());
            return RunError::Input { input, why };
        };
        let error = message.error();
        if DisplayError::of(message).is_some() {
            return no_screen(&error.to_string());
        }
        let debug = message.debug().map(|d| d.to_string()).unwrap_or_default();
        let from_sink = message.src().is_some_and(|s| s.type_().name() == "GstFileSink");
        if from_sink && let Some(path) = &self.output {
            let full = error.matches(gst::ResourceError::NoSpaceLeft) || debug.contains("No space left");
            let why = if full {
                "the disk is full: free some space or choose another disk".to_owned()
            } else {
                format!("can't be written: {error}")
            };
            return RunError::Output { path: path.clone(), why };
        }
        let why = explain(&error, &debug);
        // Decoders run ahead of the analysis: where they are is nearer to the damage.
        let decoder = message.src().and_then(|s| s.downcast_ref::<gst::Element>());
        let position = decoder.and_then(|e| e.query_position::<gst::ClockTime>());
        match position.map(timestamp).filter(|t| *t > Timestamp::ZERO).or(at) {
            Some(at) => RunError::Broken { input, at, why },
            None => RunError::Input { input, why },
        }
    }
}

fn no_screen(error: &str) -> RunError {
    RunError::Setup { why: format!("the picture can't be shown ({error}): --display needs a screen (X11 or Wayland)") }
}

fn explain(error: &gst::glib::Error, debug: &str) -> String {
    let remedy = if error.matches(gst::StreamError::TypeNotFound) || error.matches(gst::StreamError::WrongType) {
        "this is no picture-and-sound file that GStreamer knows; check it with a player"
    } else if error.matches(gst::StreamError::Demux) || error.matches(gst::StreamError::Format) {
        "the file is truncated or corrupt; copy or record it again"
    } else if error.matches(gst::StreamError::Decode) {
        "the data is corrupt near here; copy or record the file again, or take what can be read with --salvage"
    } else if error.matches(gst::ResourceError::NotFound)
        || error.matches(gst::ResourceError::OpenRead)
        || error.matches(gst::ResourceError::OpenReadWrite)
    {
        "it can't be opened; check the name, the network and the permissions"
    } else if error.matches(gst::ResourceError::Read) {
        "the source went away or can't be read any more; check its device, disk or network, and start again"
    } else if error.matches(gst::ResourceError::Busy) {
        "the device is in use by another program; close that one"
    } else {
        "see GST_DEBUG=3 for what GStreamer says"
    };
    // The last line of the debug text is the element's own reason, where it gives one.
    let detail = debug.lines().last().map(str::trim).filter(|l| !l.is_empty() && !l.contains("():"));
    match detail {
        Some(detail) => format!("{} ({detail}): {remedy}", error.message().trim_end_matches('.')),
        None => format!("{}: {remedy}", error.message().trim_end_matches('.')),
    }
}
