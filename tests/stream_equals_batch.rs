//! Streaming in any chunks gives what the whole clip gives, to the bit; the future changes nothing that was told; the
//! latency declared is the latency measured.

#![allow(
    clippy::unwrap_used,
    clippy::integer_division,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "a test"
)]

mod common;

use common::{Clip, Told, assert_told_when_due, drain, session};
use proptest::prelude::*;
use seehear::asd::Voice;
use seehear::audio::AudioWindow;
use seehear::time::{SLOT, SampleRate, TimeDelta, Timestamp};

const RATES: [(i64, i64); 8] = [(24_000, 1001), (24, 1), (25, 1), (30_000, 1001), (30, 1), (50, 1), (60, 1), (15, 1)];

/// Pushes in the order that `choices` says, each stream in its own order, sound in chunks of random length.
fn in_chunks(clip: &Clip, choices: &[(bool, usize)]) -> Vec<Told> {
    let mut s = session(None);
    let mut told = Vec::new();
    let (mut frame, mut at) = (0, 0);
    let mut turn = choices.iter().cycle();
    while frame < clip.frames.len() || at < clip.sound.len() {
        let &(video, n) = turn.next().unwrap();
        if video {
            // Not further ahead than a muxer's interleaving would be.
            let end = (frame + n % 7).min(clip.frames.len());
            for f in &clip.frames[frame..end] {
                s.push_frame(f.clone());
            }
            frame = end;
        } else {
            let end = (at + 1 + n % 3000).min(clip.sound.len());
            let start = Timestamp::from_ns(SampleRate::ANALYSIS.time_of(at as i64).ns());
            s.push_audio(AudioWindow { start, samples: &clip.sound[at..end], discont: false });
            at = end;
        }
        // A stream that has come to its end must not starve the other.
        drain(&mut s, &mut told);
    }
    s.end_video();
    s.end_audio();
    drain(&mut s, &mut told);
    told
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_chunking_is_the_whole(
        seed in 0u64..1000,
        rate in 0usize..RATES.len(),
        choices in prop::collection::vec((any::<bool>(), 0usize..4000), 20..200),
    ) {
        prop_assume!(choices.iter().any(|c| c.0 && c.1 % 7 > 0) && choices.iter().any(|c| !c.0));
        let clip = Clip::new(seed, 3, RATES[rate]);
        let (whole, parts) = (clip.whole(), in_chunks(&clip, &choices));
        prop_assert_eq!(whole.len(), 75);
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn the_future_changes_nothing_told(seed in 0u64..1000, cut_slots in 20i64..60) {
        let clip = Clip::new(seed, 3, (25, 1));
        let mut other = Clip::new(seed + 1, 3, (25, 1));
        let cut = Timestamp::ZERO + SLOT * cut_slots;
        // The same up to the cut, another world after it.
        for (o, c) in other.frames.iter_mut().zip(&clip.frames).filter(|(_, c)| c.pts < cut) {
            o.picture = c.picture.clone();
        }
        let samples = (cut_slots * 640) as usize;
        other.sound[..samples].copy_from_slice(&clip.sound[..samples]);
        let (a, b) = (clip.whole(), other.whole());
        let latency = session(None).latency();
        let told_by_then = a.iter().filter(|t| t.start + latency <= cut).count();
        prop_assert!(told_by_then > 10);
        prop_assert_eq!(&a[..told_by_then], &b[..told_by_then]);
        prop_assert_ne!(a, b);
    }
}

#[test]
fn the_latency_declared_is_the_latency_measured() {
    let mut s = session(None);
    assert_told_when_due(&mut s, &Clip::new(3, 2, (25, 1)));
    assert_eq!(s.latency(), TimeDelta::from_ms(240));
}

#[test]
fn the_session_hears_and_sees_something_in_the_test_clip() {
    // Otherwise the tests above would compare nothing with nothing.
    let told = Clip::new(5, 6, (25, 1)).whole();
    assert!(told.iter().any(|t| !t.objects.is_empty()));
    assert!(told.iter().any(|t| t.voice != Voice::None));
    assert!(told.iter().any(|t| t.offset_ns.is_some()));
    assert_ne!(told[30].logits, told[60].logits);
}
