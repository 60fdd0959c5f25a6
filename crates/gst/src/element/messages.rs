//! What the analysis says, as element messages and properties.

use crate::run::{Observer, SlotTiming};
use gst::glib;
use gst::prelude::*;
use seehear::asd::Speaker;
use seehear::events::{Event, FrameEvent, Header};
use seehear::session::Report;
use serde_json::Value;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// The state that properties tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latest {
    pub(super) offset_ms: f64,
    pub(super) offset_confidence: f32,
    pub(super) correction_ms: f64,
    pub(super) objects: u32,
    pub(super) speaking: u32,
}

/// Takes the reports on the analysis thread.
pub(super) struct Poster {
    element: glib::WeakRef<gst::Element>,
    latest: Arc<Mutex<Latest>>,
    /// Whether every slot is posted as a message.
    messages: bool,
    told_header: bool,
}

impl Poster {
    pub(super) fn new(element: &gst::Element, latest: Arc<Mutex<Latest>>, messages: bool) -> Self {
        Self { element: element.downgrade(), latest, messages, told_header: false }
    }

    pub(super) fn told_header(&self) -> bool {
        self.told_header
    }

    fn post(&self, event: &Event) -> io::Result<()> {
        let Some(element) = self.element.upgrade() else { return Ok(()) };
        post(&element, event)
    }
}

/// Posts an event as the element message `seehear-header`, `-frame` or `-summary`, with the fields of docs/events.md.
pub(super) fn post(element: &gst::Element, event: &Event) -> io::Result<()> {
    let value = serde_json::to_value(event)?;
    let name = value.get("type").and_then(Value::as_str).unwrap_or("event");
    let structure = structure(&format!("seehear-{name}"), &value);
    // Without a bus, in no pipeline, there is nobody to tell.
    if element.post_message(gst::message::Element::builder(structure).src(element).build()).is_err() {
        gst::debug!(gst::CAT_DEFAULT, obj = element, "no bus");
    }
    Ok(())
}

impl Observer for Poster {
    fn header(&mut self, header: &Header) -> io::Result<()> {
        self.told_header = true;
        self.post(&Event::Header(header.clone()))
    }

    fn report(&mut self, report: &Report<'_>, _: SlotTiming) -> io::Result<()> {
        let speaks = |s: &&Speaker| s.speaking;
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Latest {
            offset_ms: report.offset.map_or(0.0, |o| o.offset.as_ms_f64()),
            offset_confidence: report.offset.map_or(0.0, |o| o.confidence),
            correction_ms: report.correction.map_or(0.0, |c| c.applied.as_ms_f64()),
            objects: count(report.speakers.len()),
            speaking: count(report.speakers.iter().filter(speaks).count()),
        };
        if self.messages { self.post(&Event::Frame(FrameEvent::from(report))) } else { Ok(()) }
    }
}

/// A JSON object as a structure: numbers as doubles or 64-bit integers, lists as arrays, `null` left out.
pub(super) fn structure(name: &str, value: &Value) -> gst::Structure {
    let mut s = gst::Structure::new_empty(name);
    for (key, value) in value.as_object().into_iter().flatten().filter(|(key, _)| *key != "type") {
        if let Some(value) = convert(key, value) {
            s.set_value(key.replace('_', "-"), value);
        }
    }
    s
}

fn convert(key: &str, value: &Value) -> Option<glib::SendValue> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(b) => b.to_send_value(),
        Value::Number(n) => match n.as_i64() {
            Some(whole) => whole.to_send_value(),
            None => n.as_f64()?.to_send_value(),
        },
        Value::String(text) => text.to_send_value(),
        Value::Array(all) => gst::Array::from_values(all.iter().filter_map(|v| convert(key, v))).to_send_value(),
        Value::Object(_) => structure(key, value).to_send_value(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_structure_with_its_fields() {
        gst::init().unwrap();
        let value = serde_json::json!({
            "type": "frame", "t_ms": 40.0, "offset_ms": null, "slots": 3, "voice": "on-screen",
            "objects": [{"id": 1, "score": 0.5, "speaking": true}]
        });
        let s = structure("seehear-frame", &value);
        assert_eq!(s.name(), "seehear-frame");
        assert_eq!((s.get::<f64>("t-ms"), s.get::<i64>("slots")), (Ok(40.0), Ok(3)));
        assert_eq!(s.get::<&str>("voice"), Ok("on-screen"));
        assert!(!s.has_field("offset-ms") && !s.has_field("type"));
        let objects = s.get::<gst::Array>("objects").unwrap();
        let object = objects[0].get::<gst::Structure>().unwrap();
        assert_eq!((object.name().as_str(), object.get::<bool>("speaking")), ("objects", Ok(true)));
    }
}
