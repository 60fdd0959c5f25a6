use super::*;
use seehear::asd::Voice;
use seehear::av_object::TrackState;
use seehear::events::ObjectEvent;

fn frame(t_ms: f64, speaker: Option<u32>) -> FrameEvent {
    let object = |id| ObjectEvent {
        id,
        x: 1.0,
        y: 2.0,
        w: 3.0,
        h: 4.0,
        score: 0.5,
        speaking: true,
        state: TrackState::Confirmed,
    };
    FrameEvent {
        t_ms,
        objects: speaker.map(object).into_iter().collect(),
        voice: if speaker.is_some() { Voice::OnScreen } else { Voice::None },
        offset_ms: Some(10.0),
        offset_confidence: 1.0,
        sync: None,
    }
}

fn drain(rx: &mut broadcast::Receiver<Message>) -> Vec<(Kind, serde_json::Value)> {
    std::iter::from_fn(|| rx.try_recv().ok())
        .map(|m| (m.kind, serde_json::from_str(m.json.as_str()).unwrap()))
        .collect()
}

#[test]
fn derived_events_come_when_something_changes() {
    let hub = Hub::new("a");
    let (_, mut rx) = hub.subscribe();
    let began = Instant::now();
    for i in 0..100_u32 {
        let speaker = (25..75).contains(&i).then_some(1);
        hub.frame_at(&frame(f64::from(i) * 40.0, speaker), Timing::default(), began + Duration::from_millis(40) * i);
    }
    let told = drain(&mut rx);
    let of = |k| told.iter().filter(move |(kind, _)| *kind == k).map(|(_, v)| v);
    assert_eq!(of(Kind::Frame).count(), 100);
    let speaking: Vec<_> = of(Kind::Speaking).map(|v| (v["t_ms"].as_f64(), v["ids"].to_string())).collect();
    assert_eq!(
        speaking,
        [(Some(0.0), "[]".to_owned()), (Some(1000.0), "[1]".to_owned()), (Some(3000.0), "[]".to_owned())]
    );
    assert_eq!(of(Kind::Offset).count(), 4);
    assert_eq!(of(Kind::Vitals).count(), 3);
    assert!(of(Kind::Vitals).all(|v| v["type"] == "vitals" && v["health"]["ok"] == true));
}

#[test]
fn a_newcomer_learns_what_went_before_it() {
    let hub = Hub::new("a");
    let header = Header {
        schema: 1,
        source: "rtsp://me:secret@cam/1".to_owned(),
        width: 640,
        height: 360,
        engine: "e".to_owned(),
        backend: "b".to_owned(),
        latency_ms: 200.0,
    };
    hub.header(&header);
    hub.frame(&frame(0.0, None), Timing::default());
    hub.frame(&frame(40.0, Some(3)), Timing::default());
    let (first, _) = hub.subscribe();
    let kinds: Vec<Kind> = first.iter().map(|m| m.kind).collect();
    assert_eq!(kinds, [Kind::Header, Kind::Settings, Kind::History, Kind::Offset, Kind::Vitals]);
    assert!(!first[0].json.contains("secret"), "{}", first[0].json);
    assert!(first[2].json.ends_with(r#"{"t_ms":40.0,"voice":"on-screen","ids":[3]}]}"#), "{}", first[2].json);
}

#[test]
fn a_jump_back_forgets_what_can_no_longer_be_drawn() {
    let hub = Hub::new("a");
    for (t, id) in [(5000.0, 1), (9000.0, 2), (1000.0, 2)] {
        hub.frame(&frame(t, Some(id)), Timing::default());
    }
    let state = hub.state();
    assert_eq!(state.speaking.iter().map(|s| s.t_ms).collect::<Vec<_>>(), [1000.0]);
}

#[test]
fn history_is_bounded() {
    let hub = Hub::new("a");
    for i in 0..30_000_u32 {
        hub.frame(&frame(f64::from(i) * 40.0, Some(i % 2)), Timing::default());
    }
    assert_eq!(hub.state().speaking.len(), MAX_HISTORY);
    hub.frame(&frame(9e6, Some(7)), Timing::default());
    assert_eq!(hub.state().speaking.len(), 1, "older than ten minutes");
}

#[test]
fn a_reader_that_sleeps_loses_the_oldest_and_holds_nobody_up() {
    let hub = Hub::new("a");
    let (_, mut rx) = hub.subscribe();
    for i in 0..5000_u32 {
        hub.frame(&frame(f64::from(i) * 40.0, None), Timing::default());
    }
    assert!(matches!(rx.try_recv(), Err(broadcast::error::TryRecvError::Lagged(n)) if n > 3900));
    assert!(drain(&mut rx).len() <= RING);
}

#[test]
fn pictures_are_taken_when_somebody_looks_and_not_too_often() {
    let hub = Hub::new("a");
    let jpeg = || vec![0xFF, 0xD8, 0xFF];
    assert!(!hub.picture_wanted());
    assert_eq!(hub.picture(0.0, jpeg()), Err(NotTaken::NotWanted));
    let mut rx = hub.pictures();
    assert!(hub.picture_wanted());
    assert_eq!(hub.picture(0.0, b"GIF89a".to_vec()), Err(NotTaken::Unfit));
    assert_eq!(hub.picture(40.0, jpeg()), Ok(()));
    assert_eq!(hub.picture(80.0, jpeg()), Err(NotTaken::NotWanted));
    assert!(rx.borrow_and_update().as_ref().is_some_and(|p| (p.t_ms - 40.0).abs() < 1e-9));
}

#[test]
fn changes_wait_until_they_are_taken_and_only_so_many() {
    let hub = Hub::new("a");
    hub.update_settings(|s| s.overlay = Some(true));
    let request = Request::parse(br#"{"overlay":false}"#).unwrap();
    for _ in 0..MAX_ASKED {
        hub.ask(&request).unwrap();
    }
    assert_eq!(hub.ask(&request), Err(Refused::Busy));
    assert_eq!(hub.take_changes(), vec![Change::Overlay(false); MAX_ASKED]);
    assert!(hub.take_changes().is_empty());
    hub.ask(&request).unwrap();
    assert_eq!(hub.take_changes().len(), 1);
}

#[test]
fn health_tells_the_reason() {
    let hub = Hub::new("a");
    assert!(hub.health().ok, "it has only just begun");
    let later = |s| hub.health_at(&hub.state(), Instant::now() + Duration::from_secs(s));
    assert_eq!(later(7).reasons, ["no slot for 7 s"]);
    hub.frame(&frame(0.0, None), Timing::default());
    assert!(later(4).ok);
    hub.trouble("source", Some((Severity::Failing, "lost".to_owned())));
    assert_eq!(hub.health().reasons, ["source: lost"]);
    hub.trouble("source", None);
    hub.summary(&Summary::default());
    assert_eq!(hub.health().reasons, ["the run has ended"]);
}

#[test]
fn metrics_say_what_happened() {
    let hub = Hub::new("a");
    assert!(hub.metrics_text().contains("seehear_offset_seconds NaN"));
    let timing = Timing { busy: Duration::from_millis(10), latency: Some(Duration::from_millis(215)) };
    hub.frame(&frame(0.0, Some(1)), timing);
    hub.drops(&Drops { audio_gaps: 3, ..Drops::default() });
    hub.metrics().lost("mqtt", 2);
    let text = hub.metrics_text();
    for line in [
        "seehear_slots_total 1",
        "seehear_busy_seconds_total 0.01",
        "seehear_latency_seconds_bucket{le=\"0.21\"} 0",
        "seehear_latency_seconds_bucket{le=\"0.22\"} 1",
        "seehear_drops_total{cause=\"audio_gaps\"} 3",
        "seehear_drops_total{cause=\"late_frames\"} 0",
        "seehear_objects{state=\"confirmed\"} 1",
        "seehear_speaking_objects 1",
        "seehear_voice{voice=\"on-screen\"} 1",
        "seehear_voice{voice=\"none\"} 0",
        "seehear_offset_seconds 0.01",
        "seehear_up 1",
        "seehear_messages_lost_total{reader=\"mqtt\"} 2",
        "# EOF",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
}
