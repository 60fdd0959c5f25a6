use super::messages::{Latest, Poster, post};
use super::settings::{Settings, properties};
use crate::error::RunError;
use crate::inbox::Stream;
use crate::input::Input;
use crate::plan::Plan;
use crate::run::graph::{Drawing, Graph, GraphOptions, Shared};
use crate::run::{Analysed, Control, Job, analyse, summary};
use crate::sync::SyncMode;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use seehear::events::Event;
use seehear::net::Engine;
use seehear::time::TimeDelta;
use seehear_nets::notice::{Listener, Notice};
use seehear_nets::{AnyBackend, Choice, GpuOptions, OnnxRuntimeOptions, Options};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

static CAT: LazyLock<gst::DebugCategory> =
    LazyLock::new(|| gst::DebugCategory::new("seehear", gst::DebugColorFlags::empty(), Some("seehear")));

/// Sound that may wait at the way out: a muxer's or a sink's picture waits for the analysis, which waits for later sound.
const SOUND_AHEAD: gst::ClockTime = gst::ClockTime::from_seconds(20);
pub(super) const PADS: [&str; 4] = ["video_sink", "audio_sink", "video_src", "audio_src"];

fn index(stream: Stream) -> usize {
    usize::from(stream == Stream::Audio)
}

/// What READY needs: the networks.
#[derive(Clone)]
struct Loaded {
    engine: Arc<Engine>,
    backend: Arc<AnyBackend>,
}

/// What PAUSED needs: the graph in the bin, and the analysis.
struct Playing {
    graph: Graph,
    job: Arc<Job>,
    control: Arc<Control>,
    /// `None` while flushing.
    thread: Option<JoinHandle<()>>,
    /// The analysis is over.
    ended: bool,
    /// Ends of the streams that the analysis has still something to say of.
    held: Vec<gst::Message>,
    /// Between the beginning and the end of its flush: picture, sound.
    flushing: [bool; 2],
    /// Whether it was seen to, once a stream came, that the other is linked: picture, sound.
    looked: [bool; 2],
}

#[derive(Default)]
struct State {
    settings: Settings,
    /// Somebody else analyses: there is nothing to load, to begin or to clear.
    driven: bool,
    loaded: Option<Loaded>,
    playing: Option<Playing>,
}

#[derive(Default)]
pub struct Seehear {
    state: Mutex<State>,
    latest: Arc<Mutex<Latest>>,
}

#[glib::object_subclass]
impl ObjectSubclass for Seehear {
    const NAME: &'static str = "GstSeehear";
    type Type = super::Seehear;
    type ParentType = gst::Bin;
}

impl Seehear {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self) -> Result<(), String> {
        let settings = self.lock().settings.clone();
        settings.mask()?;
        settings.framing()?;
        let path = self.find_engine(&settings.engine)?;
        let engine = Engine::load(&path).map_err(|e| e.to_string())?;
        let library = settings.onnxruntime.map(PathBuf::from).or_else(|| self.beside(LIBRARY.as_ref()));
        let choice: Choice = settings.backend.parse().map_err(|e| format!("backend: {e}"))?;
        if choice == Choice::All {
            return Err("backend=all is for `seehear bench`; name one, or auto".into());
        }
        // What was built for a GPU is kept beside the manifest.
        let cache = path.parent().unwrap_or(Path::new(".")).join("cache");
        let said = self.obj().downgrade();
        let listener = Listener::new(move |notice| {
            if let (Notice::Says(line), Some(this)) = (notice, said.upgrade()) {
                gst::info!(CAT, obj = this, "{line}");
            }
        });
        let options = Options {
            onnxruntime: OnnxRuntimeOptions { threads: usize::try_from(settings.threads).unwrap_or(1), library },
            gpu: GpuOptions { ordinal: 0, cache, listener },
            tensorrt: None,
        };
        let chosen = seehear_nets::open(choice, &options).map_err(|e| e.to_string())?;
        if let Some(line) = chosen.explain(choice) {
            gst::info!(CAT, imp = self, "{line}");
        }
        let backend = chosen.backend;
        self.lock().loaded = Some(Loaded { engine: Arc::new(engine), backend: Arc::new(backend) });
        Ok(())
    }

    fn find_engine(&self, name: &str) -> Result<PathBuf, String> {
        if name.contains(std::path::MAIN_SEPARATOR) || Path::new(name).extension().is_some_and(|e| e == "toml") {
            return Ok(name.into());
        }
        let file = Path::new("engines").join(format!("{name}.toml"));
        self.beside(&file).ok_or_else(|| {
            format!("no engine \"{name}\" in engines/ above the present folder or the plugin; set the property engine")
        })
    }

    /// A file of the checkout, by its path there: above the present folder, or above the plugin.
    fn beside(&self, relative: &Path) -> Option<PathBuf> {
        let plugin = self.obj().factory().and_then(|f| f.plugin()).and_then(|p| p.filename());
        let here = std::env::current_dir().ok();
        let program = std::env::current_exe().ok();
        let places = [here, plugin, program].into_iter().flatten();
        places.flat_map(|p| p.ancestors().map(|dir| dir.join(relative)).collect::<Vec<_>>()).find(|p| p.is_file())
    }

    /// Builds the graph and begins to analyse.
    fn begin(&self) -> Result<(), RunError> {
        let (settings, loaded) = {
            let state = self.lock();
            (state.settings.clone(), state.loaded.clone())
        };
        let setup = |why: String| RunError::Setup { why };
        let loaded = loaded.ok_or_else(|| setup("no engine is loaded".into()))?;
        let mut plan = Plan::built_in(if settings.live { "realtime" } else { "file" })?;
        // A live source comes by the clock as it is.
        plan.pace_by_clock = false;
        plan.stages.speaking.set_threshold(settings.threshold);
        plan.stages.peaks.mask = settings.mask().map_err(setup)?;
        let sync = SyncMode::from(settings.sync);
        if sync == SyncMode::Correct && !settings.live {
            return Err(setup(
                "sync=correct needs live=true: what can wait has one offset, which `seehear sync` finds".into(),
            ));
        }
        let framing = settings.framing().map_err(setup)?;
        let drawn = Drawing { marks: settings.overlay, heatmap: settings.heatmap, roi: settings.roi_meta, framing };
        let options = GraphOptions { plan: &plan, drawn: Some(drawn), corrected: sync == SyncMode::Correct, tap: None };
        let latency = seehear::session::declared_latency(&loaded.engine);
        let graph = self.fill(latency, &options, true)?;
        let name = self.obj().name().to_string();
        let job = Arc::new(Job { sync, ..Job::new(Input::Uri(name), plan) });
        self.lock().playing = Some(Playing {
            graph,
            job,
            control: Arc::default(),
            thread: None,
            ended: false,
            held: Vec::new(),
            flushing: [false; 2],
            looked: [false; 2],
        });
        self.analyse();
        Ok(())
    }

    /// Puts the graph between the pads. `queued`: whoever is behind the pads may block without holding up the analysis.
    pub(super) fn fill(&self, latency: TimeDelta, options: &GraphOptions<'_>, queued: bool) -> Result<Graph, RunError> {
        let fail = |e: glib::BoolError| RunError::Setup { why: e.to_string() };
        let bin = self.obj();
        let graph = Graph::build(bin.upcast_ref(), latency, options)?;
        let mut ends = [Some(graph.inputs.video.clone()), Some(graph.inputs.audio.clone()), None, None];
        if let Some(out) = &graph.out {
            let sizes = [(&out.picture, gst::ClockTime::ZERO, 4), (&out.sound, SOUND_AHEAD, 0)];
            for (end, (from, time, buffers)) in ends.iter_mut().skip(2).zip(sizes) {
                let last = if queued {
                    let queue = crate::output::queue(time, buffers)?;
                    bin.add(&queue).map_err(fail)?;
                    from.link(&queue).map_err(fail)?;
                    queue
                } else {
                    from.clone()
                };
                *end = last.static_pad("src").or_else(|| last.request_pad_simple("src_%u"));
            }
        }
        for (name, target) in PADS.into_iter().zip(&ends) {
            self.ghost(name)?.set_target(target.as_ref()).map_err(fail)?;
        }
        Ok(graph)
    }

    /// The graph stays as it is, and somebody else analyses: [`super::Seehear::driven`].
    pub(super) fn be_driven(&self) {
        self.lock().driven = true;
    }

    pub(super) fn ghost(&self, name: &str) -> Result<gst::GhostPad, RunError> {
        self.obj().static_pad(name).and_downcast().ok_or_else(|| RunError::Setup { why: format!("no pad {name}") })
    }

    /// The analysis thread; nothing where it runs already.
    fn analyse(&self) {
        let mut state = self.lock();
        let messages = state.settings.messages;
        let State { loaded: Some(loaded), playing: Some(playing), .. } = &mut *state else { return };
        if playing.thread.is_some() {
            return;
        }
        let element: gst::Element = self.obj().clone().upcast();
        let (loaded, shared, job) = (loaded.clone(), Arc::clone(&playing.graph.shared), Arc::clone(&playing.job));
        let (control, latest) = (Arc::clone(&playing.control), Arc::clone(&self.latest));
        let undrawn = playing.graph.out.as_ref().map(|o| o.overlay.clone());
        let weak = element.downgrade();
        let thread = std::thread::Builder::new().name("seehear".into()).spawn(move || {
            let began = Instant::now();
            let Some(element) = weak.upgrade() else { return };
            let mut poster = Poster::new(&element, latest, messages);
            // Held no longer: who drops the element must not wait for its thread to do so.
            drop(element);
            let asked = Analysed { job: &job, engine: &loaded.engine, backend: &**loaded.backend, shared: &shared };
            let result = analyse(&asked, &mut poster, &control);
            let Some(element) = weak.upgrade() else { return };
            gst::debug!(
                CAT,
                obj = element,
                "analysis over; header {}, flushing {}",
                poster.told_header(),
                shared.is_flushing()
            );
            match result {
                // Between the flushes of the one and the other stream there was nothing to sum up.
                Ok(_) if shared.is_flushing() && !poster.told_header() => {}
                Ok(outcome) => {
                    let undrawn = undrawn.map_or(0, |o| o.undrawn());
                    let s = summary(&asked, outcome, undrawn, began.elapsed(), false);
                    if let Err(e) = post(&element, &Event::Summary(s)) {
                        gst::warning!(CAT, obj = element, "{e}");
                    }
                }
                Err(e) => gst::element_error!(element, gst::StreamError::Failed, ["{e}"]),
            }
            if let Ok(this) = element.downcast::<super::Seehear>() {
                this.imp().all_said();
            }
        });
        match thread {
            Ok(thread) => {
                (playing.ended, playing.thread) = (false, Some(thread));
            }
            Err(e) => gst::element_imp_error!(self, gst::ResourceError::Failed, ["no thread for the analysis: {e}"]),
        }
    }

    /// The last report and the summary are posted: the end may be told.
    fn all_said(&self) {
        let held = match &mut self.lock().playing {
            Some(playing) => {
                playing.ended = true;
                std::mem::take(&mut playing.held)
            }
            None => Vec::new(),
        };
        for message in held {
            self.parent_handle_message(message);
        }
    }

    /// Ends the analysis: whoever waits for it, or for room in its inbox, goes on.
    fn halt(&self, end: impl FnOnce(&Shared)) {
        let (thread, shared) = {
            let mut state = self.lock();
            let Some(playing) = &mut state.playing else { return };
            (playing.thread.take(), Arc::clone(&playing.graph.shared))
        };
        end(&shared);
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            gst::element_imp_error!(
                self,
                gst::LibraryError::Failed,
                ["the analysis thread panicked; please report this"]
            );
        }
    }

    /// A flush (a seek, say) begins a new programme: the analysis forgets the old one.
    fn follow_flushes(&self, pad: &gst::GhostPad, stream: Stream) {
        let weak = self.obj().downgrade();
        let kinds = gst::PadProbeType::EVENT_FLUSH | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(kinds, move |_, info| {
            let (Some(this), Some(event)) = (weak.upgrade(), info.event()) else { return gst::PadProbeReturn::Ok };
            match event.type_() {
                gst::EventType::FlushStart => this.imp().flush(stream),
                gst::EventType::FlushStop => this.imp().begin_again(stream),
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn flush(&self, stream: Stream) {
        gst::debug!(CAT, imp = self, "{stream:?} begins to flush");
        if let Some(playing) = &mut self.lock().playing {
            playing.flushing[index(stream)] = true;
        }
        self.halt(Shared::flush);
    }

    fn begin_again(&self, flushed: Stream) {
        let (shared, all) = {
            let mut state = self.lock();
            let Some(playing) = &mut state.playing else { return };
            // An end without a beginning of the flush would find the analysis at work.
            if !std::mem::replace(&mut playing.flushing[index(flushed)], false) {
                return;
            }
            let ended = playing.graph.sinks.of(flushed);
            playing.held.retain(|m| m.src() != Some(ended.upcast_ref()));
            (Arc::clone(&playing.graph.shared), playing.flushing == [false; 2])
        };
        gst::debug!(CAT, imp = self, "{flushed:?} is flushed; all: {all}");
        shared.forget(flushed);
        if all {
            shared.reopen();
            self.analyse();
        }
    }

    /// Where one stream comes and nothing is linked to the other's pad, there is nothing to compare: it goes on as it is.
    fn look_for_the_other(&self, pad: &gst::GhostPad, stream: Stream) {
        let weak = self.obj().downgrade();
        pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, _| {
            if let Some(this) = weak.upgrade() {
                this.imp().pass_alone(stream);
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn pass_alone(&self, stream: Stream) {
        let (this, other) = (index(stream), 1 - index(stream));
        let (shared, missing) = {
            let mut state = self.lock();
            let Some(playing) = &mut state.playing else { return };
            if std::mem::replace(&mut playing.looked[this], true) {
                return;
            }
            let inputs = [&playing.graph.inputs.video, &playing.graph.inputs.audio];
            (Arc::clone(&playing.graph.shared), inputs[other].clone())
        };
        if self.obj().static_pad(PADS[other]).is_none_or(|p| p.is_linked()) {
            return;
        }
        shared.pass();
        // Nobody is to wait for its end.
        if !missing.send_event(gst::event::Eos::new()) {
            gst::debug!(CAT, imp = self, "{} had ended already", PADS[other]);
        }
        gst::element_imp_warning!(
            self,
            gst::StreamError::WrongType,
            ["nothing is linked to {}: nothing is analysed", PADS[other]]
        );
    }

    /// Takes the graph out again.
    fn clear(&self) {
        self.halt(Shared::close);
        for name in PADS {
            if let Ok(pad) = self.ghost(name)
                && let Err(e) = pad.set_target(gst::Pad::NONE)
            {
                gst::warning!(CAT, imp = self, "{e}");
            }
        }
        let bin = self.obj();
        for element in bin.children() {
            if let Err(e) = element.set_state(gst::State::Null) {
                gst::warning!(CAT, imp = self, "{}: {e}", element.name());
            }
            if let Err(e) = bin.remove(&element) {
                gst::warning!(CAT, imp = self, "{e}");
            }
        }
        // Not under the lock: what is taken down may have something to say.
        let playing = self.lock().playing.take();
        drop(playing);
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Latest::default();
    }

    fn told(&self, name: &str) -> glib::Value {
        let latest = *self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.lock();
        let playing = state.playing.as_ref();
        match name {
            "offset-ms" => latest.offset_ms.to_value(),
            "offset-confidence" => latest.offset_confidence.to_value(),
            "correction-ms" => latest.correction_ms.to_value(),
            "objects" => latest.objects.to_value(),
            "speaking" => latest.speaking.to_value(),
            "latency-ms" => {
                let latency = state.loaded.as_ref().map(|l| seehear::session::declared_latency(&l.engine));
                latency.map_or(0.0, |t| t.as_ms_f64()).to_value()
            }
            "dropped" => playing.map_or(0, |p| p.graph.shared.dropped()).to_value(),
            "undrawn" => {
                let out = playing.and_then(|p| p.graph.out.as_ref());
                out.map_or(0, |o| o.overlay.undrawn()).to_value()
            }
            other => unreachable!("GObject knows no property {other}"),
        }
    }
}

/// Where `make setup` puts ONNX Runtime in a checkout.
const LIBRARY: &str = ".deps/onnxruntime/libonnxruntime.so";

impl ObjectImpl for Seehear {
    fn properties() -> &'static [glib::ParamSpec] {
        properties()
    }

    fn set_property(&self, _: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let mut state = self.lock();
        if !state.settings.set(pspec.name(), value) {
            gst::warning!(CAT, imp = self, "{} can't be set", pspec.name());
        }
        let State { settings, playing: Some(playing), .. } = &*state else { return };
        match pspec.name() {
            "threshold" => playing.control.set_threshold(settings.threshold),
            "overlay" => playing.control.show_marks(settings.overlay),
            "heatmap" => playing.control.show_heatmap(settings.heatmap),
            _ => {}
        }
    }

    fn property(&self, _: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let set = self.lock().settings.get(pspec.name());
        set.unwrap_or_else(|| self.told(pspec.name()))
    }

    fn constructed(&self) {
        self.parent_constructed();
        for name in PADS {
            let template = self.obj().pad_template(name).expect("of the class");
            let pad = gst::GhostPad::from_template(&template);
            self.obj().add_pad(&pad).expect("a new pad of a new element");
            let stream = match name {
                "video_sink" => Stream::Video,
                "audio_sink" => Stream::Audio,
                _ => continue,
            };
            self.follow_flushes(&pad, stream);
            self.look_for_the_other(&pad, stream);
        }
    }
}

impl GstObjectImpl for Seehear {}

impl ElementImpl for Seehear {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "seehear",
                "Filter/Analyzer/Effect/Video/Audio",
                "Tells who in the picture is making the sound: messages, ROI metas, highlight; measures and corrects lip sync",
                "seehear",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = |kind: &str| gst::Caps::new_empty_simple(kind);
            let [video_in, audio_in, video_out, audio_out] = PADS;
            [
                (video_in, gst::PadDirection::Sink, caps("video/x-raw")),
                (audio_in, gst::PadDirection::Sink, caps("audio/x-raw")),
                (video_out, gst::PadDirection::Src, crate::picture::analysis_caps()),
                (audio_out, gst::PadDirection::Src, caps("audio/x-raw")),
            ]
            .into_iter()
            .filter_map(|(name, direction, caps)| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).ok()
            })
            .collect()
        });
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if self.lock().driven {
            return self.parent_change_state(transition);
        }
        let begun = match transition {
            gst::StateChange::NullToReady => self.load(),
            gst::StateChange::ReadyToPaused => self.begin().map_err(|e| e.to_string()),
            // Before the pads are deactivated: a streaming thread that waits for the analysis would hold them.
            gst::StateChange::PausedToReady => {
                self.halt(Shared::close);
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(why) = begun {
            gst::element_imp_error!(self, gst::ResourceError::Settings, ["{why}"]);
            self.clear();
            return Err(gst::StateChangeError);
        }
        let done = self.parent_change_state(transition);
        match transition {
            gst::StateChange::PausedToReady => self.clear(),
            gst::StateChange::ReadyToNull => self.lock().loaded = None,
            _ => {}
        }
        done
    }
}

impl BinImpl for Seehear {
    fn handle_message(&self, message: gst::Message) {
        if message.type_() == gst::MessageType::Eos
            && let Some(playing) = &mut self.lock().playing
            && !playing.ended
            && playing.graph.sinks.has(message.src())
        {
            playing.held.push(message);
            return;
        }
        self.parent_handle_message(message);
    }
}
