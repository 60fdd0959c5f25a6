//! `seehear separate`: two passes over a file. The first finds who is where ([`record`]); the second takes the sound apart, with
//! what the first saw of everybody's mouth, and writes the tracks ([`tracks`]).

use crate::bar::Bar;
use crate::engine::Use;
use crate::run::parse_seconds;
use crate::{EngineArgs, engine, say};
use anyhow::{Context, bail};
use gstseehear::input::Input;
use gstseehear::output::PendingFile;
use gstseehear::plan::Plan;
use gstseehear::run::{Control, Job, Progress};
use record::{Life, Player, Recorder, Stretch, union};
use seehear::geometry::PxRect;
use seehear::net::Backend;
use seehear::separation::{Present, Separator, SeparatorConfig, SeparatorEngine};
use seehear::stft::StftFormat;
use seehear::time::{SampleRate, TimeDelta, Timestamp};
use seehear_sync::voices::{Beside, Decoder, Source, TrackFormat, mux};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tracks::{Tracks, Whose};

mod record;
mod tracks;

const EXAMPLES: &str = "\
Examples:
  seehear separate talk.mp4 -o voices/                        voices/speaker-1.wav, …, voices/objects.json
  seehear separate talk.mp4 -o voices/ --rate source --format flac
                                                              at the sound's own rate, in its own channels
  seehear separate talk.mp4 -o voices/ --replace talk.voices.mkv
                                                              the video with a sound track for every speaker
  seehear separate talk.mp4 -o voices/ --solo --replace clean.mkv
                                                              what is heard is whoever is highlighted, and nobody else
  seehear separate talk.mp4 -o voices/ --solo 2               the voice of speaker 2, whenever

There is a track for everybody in the picture who speaks at least once, each as long as the file. objects.json says who is \
where and speaks when. How it works and how good it is: docs/separation.md.

Ctrl-C while voices are written: they are whole up to there. Before that, nothing is written.

Exit codes: 0 done, 1 failed, 2 usage.";

/// The separator where nobody names one.
const SEPARATOR: &str = "sep-small";
/// Hops that the network is given at once: 0.4 s. A tenth of the time that one at a time takes.
const BLOCK: usize = 25;
/// Objects at once: as many as the tracker keeps, and those who have just gone.
const OBJECTS: usize = 24;
/// [`TrackerConfig::proven_ms`](seehear::tracker::TrackerConfig) here: one slot.
const PROVEN_MS: i64 = 40;
/// Sample frames that are read at once.
const CHUNK: usize = 4_096;
/// Rate of the separation for a source whose own does not fit ([`StftFormat`]).
const FITTING: u32 = 48_000;

/// Write the voice of every visible speaker of a file, each on a track of its own.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A file
    input: PathBuf,

    /// Folder for the tracks and objects.json; it is made if it is not there
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Sample rate of the tracks. "16000": in one channel. "source": that of the file, in its channels (more than two: as stereo);
    /// above 8 kHz a voice is estimated from what lies below
    #[arg(long, value_enum, value_name = "16000|source", default_value = "16000", hide_possible_values = true)]
    rate: Rate,

    /// "wav" (16 bit), "flac" or "opus"
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "wav", hide_possible_values = true)]
    format: Format,

    /// Also write the video with all tracks beside its own sound; .mkv, .mp4, .mov, .webm; the picture is not encoded again
    #[arg(long, value_name = "FILE")]
    replace: Option<PathBuf>,

    /// Also write DIR/solo: the voice of this object, or, without ID, of whoever is highlighted; with --replace, it is what is heard
    #[arg(long, value_name = "ID", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "not given; given; given with an id")]
    solo: Option<Option<u32>>,

    /// The separator: a manifest file, or the name of one in engines/
    #[arg(long, value_name = "NAME|FILE", default_value = SEPARATOR)]
    separator: String,

    /// Print objects.json on standard output too, as one line, and nothing else
    #[arg(long)]
    json: bool,

    /// No progress bar and no words
    #[arg(short, long)]
    quiet: bool,

    /// Which of the input's sound tracks is taken apart, from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    audio_track: u16,

    /// Height of the picture that the network sees, pixels (the engine's own by default); larger finds smaller faces
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u16).range(32..=2160))]
    net_height: Option<u16>,

    /// Take what can be read of a truncated or corrupt file, instead of refusing it
    #[arg(long)]
    salvage: bool,

    /// Only this much from the beginning, seconds
    #[arg(long, value_name = "S", value_parser = parse_seconds)]
    duration: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Rate {
    #[value(name = "16000")]
    Analysis,
    Source,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Wav,
    Flac,
    Opus,
}

impl From<Format> for TrackFormat {
    fn from(f: Format) -> Self {
        match f {
            Format::Wav => Self::Wav,
            Format::Flac => Self::Flac,
            Format::Opus => Self::Opus,
        }
    }
}

pub(crate) fn main(args: &Args, engine_args: &EngineArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    let input = Input::File(args.input.clone());
    input.check()?;
    let manifest = engine::manifest(&args.separator).map_err(|_| {
        anyhow::anyhow!(
            "there is no separator \"{}\" in engines/: none that has been trained so far is good enough to be in the repository; \
             train one (training/README.md) and name it with --separator FILE.toml",
            args.separator
        )
    })?;
    let separator = SeparatorEngine::load(&manifest)?;
    let (engine, backend) = engine::load(
        engine_args,
        &separator.manifest.engine,
        Use { quiet: args.quiet || args.json, ..Use::default() },
    )?;
    fits(&separator, &engine)?;
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("{}: can't be made; name a folder that you may write to", args.output.display()))?;
    let (control, stop) = (Arc::new(Control::default()), Arc::new(AtomicBool::new(false)));
    let asked = (Arc::clone(&control), Arc::clone(&stop));
    ctrlc::set_handler(move || {
        asked.0.stop();
        asked.1.store(true, Ordering::Release);
    })
    .context("Ctrl-C can't be caught")?;
    let source = Source::look(&args.input, usize::from(args.audio_track) - 1, &stop)?;

    let notes = PendingFile::create(&args.output.join("objects.slots"))?; // never gets its name
    let mut recorder = Recorder::create(notes.path(), engine.manifest.dim, args.duration, Arc::clone(&control))?;
    let mut plan = Plan::built_in("file")?;
    plan.stages.net_height = args.net_height.map(usize::from);
    // Where several speak at once nobody agrees with the sound for long: who was confirmed stays while they are to be seen.
    plan.stages.tracker.proven_ms = PROVEN_MS;
    let job = Job { salvage: args.salvage, audio_track: usize::from(args.audio_track) - 1, ..Job::new(input, plan) };
    let bar = Bar::new(!args.quiet && !args.json);
    gstseehear::run::run(&job, &engine, &*backend, &mut recorder, &mut |p: Progress| bar.update(&p), &control)?;
    bar.finish();
    if stop.load(Ordering::Acquire) {
        bail!("stopped before the first voice: nothing was written");
    }
    recorder.finish().with_context(|| notes.target().display().to_string())?;

    let speakers = speakers(&recorder);
    if let Some(Some(id)) = args.solo
        && !speakers.contains_key(&id)
    {
        let ids: Vec<_> = speakers.keys().collect();
        bail!("--solo {id}: nobody of that id speaks; there are {ids:?}");
    }
    let first = recorder.first.unwrap_or_default();
    let second =
        Second { args, source: &source, speakers: &speakers, first, backend: &*backend, separator: &separator };
    let bar = Bar::new(!args.quiet && !args.json);
    let separated = second.run(notes.path(), &stop, &bar)?;
    bar.finish();
    drop(notes);

    let told = Told {
        schema: 1,
        source: args.input.display().to_string(),
        engine: &engine.manifest.name,
        separator: &separator.manifest.name,
        width: recorder.size.0,
        height: recorder.size.1,
        duration_ms: ms(separated.length),
        sample_rate: separated.rate,
        channels: separated.channels,
        interrupted: separated.interrupted,
        wall_s: started.elapsed().as_secs_f64(),
        solo: separated.files.get(&Whose::Solo).map(|p| name(p)),
        objects: objects(&speakers, &recorder.lives, &separated.files, second.shift()),
    };
    let listing = PendingFile::create(&args.output.join("objects.json"))?;
    std::fs::write(listing.path(), serde_json::to_string(&told)? + "\n").context("objects.json")?;
    listing.commit()?;
    if let Some(output) = &args.replace {
        if separated.interrupted {
            bail!("{}: not written: stopped", output.display());
        }
        let bar = Bar::new(!args.quiet && !args.json);
        let beside: Vec<_> = separated
            .files
            .iter()
            .map(|(whose, path)| Beside { path, title: whose.name().1, programme: *whose == Whose::Solo })
            .collect();
        mux(&args.input, &source, &beside, output, &mut |part| bar.share(part, "writing"), &stop)?;
        bar.finish();
    }
    if args.json {
        say::result(&serde_json::to_string(&told)?)?;
    } else if !args.quiet {
        words(args, &told).iter().for_each(|line| say::note(line));
    }
    Ok(())
}

/// A separator understands the embeddings of the engine that it was trained with, and no others.
fn fits(separator: &SeparatorEngine, engine: &seehear::net::Engine) -> anyhow::Result<()> {
    let (m, e) = (&separator.manifest, &engine.manifest);
    if m.engine != e.name || m.dim != e.dim {
        bail!(
            "the separator {} takes the embeddings of {} ({} dimensions), not of {} ({}): leave --engine out",
            m.name,
            m.engine,
            m.dim,
            e.name,
            e.dim
        );
    }
    Ok(())
}

/// Who gets a track, and under which ids they are known, the track's own first.
fn speakers(recorder: &Recorder) -> BTreeMap<u32, Vec<u32>> {
    let mut ids: Vec<_> = recorder.lives.iter().filter(|(_, l)| l.speaks()).map(|(id, l)| (*id, l.spoken())).collect();
    ids.sort_by_key(|(id, spoken)| (std::cmp::Reverse(*spoken), *id));
    let mut people: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (id, _) in ids {
        match people.iter_mut().find(|(main, _)| recorder.one_person(**main, id)) {
            Some((_, known_as)) => known_as.push(id),
            None => drop(people.insert(id, vec![id])),
        }
    }
    people
}

/// The second pass.
struct Second<'a> {
    args: &'a Args,
    source: &'a Source,
    speakers: &'a BTreeMap<u32, Vec<u32>>,
    /// Running time of the first slot, which begins with the first picture.
    first: Timestamp,
    backend: &'a dyn Backend,
    separator: &'a SeparatorEngine,
}

struct Separated {
    files: BTreeMap<Whose, PathBuf>,
    length: TimeDelta,
    rate: u32,
    channels: usize,
    interrupted: bool,
}

impl Second<'_> {
    /// From the file's time to the running time of the first pass.
    #[expect(clippy::cast_possible_truncation, reason = "seconds of a file")]
    fn shift(&self) -> TimeDelta {
        self.first - Timestamp::from_ns((self.source.picture_s * 1e9).round() as i64)
    }

    fn run(&self, notes: &Path, stop: &AtomicBool, bar: &Bar) -> anyhow::Result<Separated> {
        let (args, own) = (self.args, self.args.rate == Rate::Source);
        let stereo = own && self.source.channels > 1;
        let channels = if stereo { 2 } else { 1 };
        let fitting = |hz: u32| hz >= 16_000 && SampleRate::new(hz).and_then(StftFormat::new).is_some();
        let written = if own { self.source.rate } else { SampleRate::ANALYSIS.hz() };
        let hz = if fitting(written) { written } else { FITTING };
        let rate = SampleRate::new(hz).context("a rate of 0 Hz")?;
        let dim = self.separator.manifest.dim;
        let config = SeparatorConfig { rate, channels, objects: OBJECTS, block: BLOCK };
        let mut separator = Separator::new(self.separator, self.backend, config)?;
        let mut player = Player::open(notes, dim)?;
        let mut whose: Vec<Whose> = self.speakers.keys().map(|id| Whose::Speaker(*id)).collect();
        whose.extend(args.solo.map(|_| Whose::Solo));
        let mut tracks = Tracks::create(&args.output, args.format.into(), (hz, written), channels, &whose)?;
        let mut solo = args.solo.map(|id| Solo::new(id, channels, rate));

        let mut decoder = Decoder::start(&args.input, self.source, hz, stereo)?;
        let mut chunk = vec![0.0; CHUNK * channels];
        let most = args.duration.map(|s| rate.index_at(seconds(s))).and_then(|n| u64::try_from(n).ok());
        let (mut frames, mut whole) = (0_u64, true);
        loop {
            let n = if stop.load(Ordering::Acquire) { 0 } else { decoder.read(&mut chunk)? };
            let left = most.map_or(u64::MAX, |m| m.saturating_sub(frames));
            let n = n.min(usize::try_from(left).unwrap_or(usize::MAX).saturating_mul(channels));
            frames += n.div_euclid(channels) as u64;
            whole &= left > 0;
            if n == 0 {
                separator.end();
            }
            let mut samples = &chunk[..n];
            loop {
                samples = &samples[separator.push(samples)..];
                let Some(at) = separator.due() else { break };
                self.hop(&mut separator, &mut player, &mut solo, at)?;
                while let Some(voice) = separator.pull() {
                    tracks.write(Whose::Speaker(voice.id), voice.start, voice.samples)?;
                    if let Some(solo) = &mut solo {
                        solo.add(voice.id, voice.start, voice.samples);
                    }
                }
                if let Some((start, samples)) = solo.as_mut().and_then(Solo::take) {
                    tracks.write(Whose::Solo, start, samples)?;
                }
            }
            if let Some(length) = self.source.duration_s {
                bar.share(
                    rate.time_of(i64::try_from(frames)?).as_s_f64() / args.duration.unwrap_or(length),
                    "separating",
                );
            }
            if n == 0 {
                break;
            }
        }
        let interrupted = stop.load(Ordering::Acquire);
        if !interrupted && whole && !args.salvage {
            decoder.finish(&args.input)?;
        }
        // What is there is brought to its end also after Ctrl-C.
        let files = tracks.finish(frames, &AtomicBool::new(false), &mut |part| bar.share(part, "writing"))?;
        Ok(Separated { files, length: rate.time_of(i64::try_from(frames)?), rate: written, channels, interrupted })
    }

    /// Says to the separator who is there at this hop.
    fn hop(
        &self,
        separator: &mut Separator,
        player: &mut Player,
        solo: &mut Option<Solo>,
        at: TimeDelta,
    ) -> anyhow::Result<()> {
        let dim = self.separator.manifest.dim;
        let slot = player.seek(Timestamp::ZERO + at + self.shift())?;
        let mut present = Vec::with_capacity(OBJECTS);
        if let Some(slot) = slot {
            let there = |id: &u32| slot.objects.iter().position(|(other, _)| other == id);
            for (id, known_as) in self.speakers {
                if let Some(i) = known_as.iter().find_map(there) {
                    present.push(Present { id: *id, embedding: &slot.embeddings[i * dim..][..dim] });
                }
            }
        }
        let step = separator.step(&present);
        drop(present);
        if let Some(solo) = solo {
            let lit = |known_as: &[u32]| known_as.iter().any(|id| player.highlighted(*id));
            let heard =
                self.speakers.iter().filter(|(id, known_as)| solo.id.map_or_else(|| lit(known_as), |s| s == **id));
            let heard = heard.map(|(id, _)| *id).collect();
            solo.push(heard);
        }
        Ok(step?)
    }
}

/// The sum of the voices that are to be heard, faded from hop to hop.
struct Solo {
    /// Always this one.
    id: Option<u32>,
    channels: usize,
    hop: usize,
    /// Who is heard in the middle of the windows from `first` on.
    targets: VecDeque<Vec<u32>>,
    first: u64,
    start: u64,
    sum: Vec<f32>,
    /// The sum has been taken, or nothing was added yet.
    taken: bool,
}

impl Solo {
    fn new(id: Option<u32>, channels: usize, rate: SampleRate) -> Self {
        let hop = StftFormat::new(rate).map_or(1, |f| f.hop);
        Self { id, channels, hop, targets: VecDeque::new(), first: 0, start: 0, sum: Vec::new(), taken: true }
    }

    /// Who is to be heard at the next hop.
    fn push(&mut self, heard: Vec<u32>) {
        self.targets.push_back(heard);
        // A block, and the hop before it.
        if self.targets.len() > BLOCK + 2 {
            self.targets.pop_front();
            self.first += 1;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "samples of a hop")]
    fn add(&mut self, id: u32, start: u64, samples: &[f32]) {
        self.start = start;
        if std::mem::take(&mut self.taken) {
            self.sum.clear();
        }
        self.sum.resize(samples.len(), 0.0);
        let hop = self.hop * self.channels;
        // Voices begin with a hop: that of index k is between the middles of the windows k and k + 1.
        let k = start.div_euclid(self.hop as u64).saturating_sub(self.first);
        let heard = |k: usize| self.targets.get(k).or(self.targets.back()).is_some_and(|t| t.contains(&id));
        let gain = |k: usize| f32::from(u8::from(heard(k)));
        let k = usize::try_from(k).unwrap_or(usize::MAX);
        for (i, (sum, samples)) in self.sum.chunks_mut(hop).zip(samples.chunks(hop)).enumerate() {
            let (from, to) = (gain(k + i), gain(k + i + 1));
            for (j, (sum, s)) in sum.iter_mut().zip(samples).enumerate() {
                *sum += s * (from + (to - from) * j as f32 / hop as f32);
            }
        }
    }

    /// What was added.
    fn take(&mut self) -> Option<(u64, &[f32])> {
        let fresh = !std::mem::replace(&mut self.taken, true);
        fresh.then_some((self.start, &self.sum[..]))
    }
}

#[derive(Serialize)]
struct Told<'a> {
    schema: u32,
    source: String,
    engine: &'a str,
    separator: &'a str,
    width: u32,
    height: u32,
    duration_ms: f64,
    sample_rate: u32,
    channels: usize,
    interrupted: bool,
    wall_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    solo: Option<String>,
    objects: Vec<Object>,
}

#[derive(Serialize)]
struct Object {
    id: u32,
    /// Further ids of the same person.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also: Vec<u32>,
    file: String,
    /// Where it was when it last spoke: the middle and the size of its box, pixels.
    x: f64,
    y: f64,
    w: f64,
    h: f64,
    speaking_s: f64,
    /// From … to, ms of the file.
    visible: Vec<[f64; 2]>,
    speaking: Vec<[f64; 2]>,
    /// When it had moved: ms, x, y, w, h.
    trajectory: Vec<[f64; 5]>,
}

/// Who speaks longest comes first.
fn objects(
    speakers: &BTreeMap<u32, Vec<u32>>,
    lives: &BTreeMap<u32, Life>,
    files: &BTreeMap<Whose, PathBuf>,
    shift: TimeDelta,
) -> Vec<Object> {
    let one = |(id, known_as): (&u32, &Vec<u32>)| {
        let all: Vec<&Life> = known_as.iter().filter_map(|id| lives.get(id)).collect();
        Some(object(*id, known_as, &all, files.get(&Whose::Speaker(*id))?, shift))
    };
    let mut objects: Vec<Object> = speakers.iter().filter_map(one).collect();
    objects.sort_by(|a, b| b.speaking_s.total_cmp(&a.speaking_s));
    objects
}

fn object(id: u32, known_as: &[u32], lives: &[&Life], file: &Path, shift: TimeDelta) -> Object {
    let at = |t: Timestamp| ms(t - Timestamp::ZERO - shift);
    let together = |of: fn(&Life) -> &[Stretch]| lives.iter().fold(Vec::new(), |all, l| union(&all, of(l)));
    let told = |all: &[Stretch]| all.iter().map(|(from, to)| [at(*from), at(*to)]).collect();
    let speaking = together(|l| &l.speaking);
    let place = lives.first().map_or_else(Default::default, |l| l.place);
    let px = |v: f32| (f64::from(v) * 10.0).round() / 10.0;
    let point = |(t, r): &(Timestamp, PxRect)| [at(*t), px(r.centre.x), px(r.centre.y), px(r.w), px(r.h)];
    Object {
        id,
        also: known_as.iter().copied().filter(|other| *other != id).collect(),
        file: name(file),
        x: px(place.centre.x),
        y: px(place.centre.y),
        w: px(place.w),
        h: px(place.h),
        speaking_s: speaking.iter().fold(TimeDelta::ZERO, |sum, (from, to)| sum + (*to - *from)).as_s_f64(),
        visible: told(&together(|l| &l.visible)),
        speaking: told(&speaking),
        trajectory: lives.first().map_or_else(Vec::new, |l| l.trajectory.iter().map(point).collect()),
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn ms(t: TimeDelta) -> f64 {
    (t.as_ms_f64() * 10.0).round() / 10.0
}

#[expect(clippy::cast_possible_truncation, reason = "seconds of a file")]
fn seconds(s: f64) -> TimeDelta {
    TimeDelta::from_ns((s * 1e9) as i64)
}

fn words(args: &Args, told: &Told<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for o in &told.objects {
        let from = o.visible.first().map_or(0.0, |v| v[0] / 1e3);
        lines.push(format!(
            "speaker {}: speaks {:.1} s, first seen at {from:.1} s → {}",
            o.id,
            o.speaking_s,
            args.output.join(&o.file).display()
        ));
    }
    if told.objects.is_empty() {
        lines.push("nobody in the picture was found speaking: no tracks".to_owned());
    }
    if let Some(solo) = &told.solo {
        lines.push(format!("wrote {}", args.output.join(solo).display()));
    }
    let end = if told.interrupted { ", interrupted" } else { "" };
    let length = told.duration_ms / 1e3;
    lines.push(format!(
        "{length:.1} s in {:.1} s ({:.1}× real time{end})",
        told.wall_s,
        length / told.wall_s.max(1e-3)
    ));
    lines.extend(args.replace.iter().map(|p| format!("wrote {}", p.display())));
    lines
}
