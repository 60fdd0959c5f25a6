use super::relay::Relay;
use crate::inbox::Stream;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_rtsp_server::prelude::*;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

const PORT: u16 = 8554;
const PADS: [(&str, Stream); 2] = [("video", Stream::Video), ("audio", Stream::Audio)];

static CAT: LazyLock<gst::DebugCategory> =
    LazyLock::new(|| gst::DebugCategory::new("seehearrtspsink", gst::DebugColorFlags::empty(), Some("RTSP server")));

/// Where viewers find it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// Address to listen at.
    host: String,
    /// 0: any that is free.
    port: u16,
    path: String,
    /// Name and password that viewers must give.
    login: Option<(String, String)>,
}

impl Place {
    fn of(location: &str) -> Result<Self, String> {
        let form = "rtsp://[NAME:PASSWORD@]ADDRESS[:PORT]/PATH";
        // Without the location itself, which may have a password in it.
        let url = url::Url::parse(location).map_err(|e| format!("the location of an RTSP server is {form}: {e}"))?;
        if url.scheme() != "rtsp" {
            return Err(format!("the location of an RTSP server is {form}, and not {}://…", url.scheme()));
        }
        let path = Some(url.path()).filter(|p| p.len() > 1).unwrap_or("/seehear").to_owned();
        let host = url.host_str().filter(|h| !h.is_empty()).unwrap_or("0.0.0.0");
        let plain = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login = match (url.username(), url.password()) {
            ("", None) => None,
            (name, Some(word)) if !name.is_empty() && !word.is_empty() => Some((plain(name), plain(word))),
            _ => return Err(format!("the location of an RTSP server is {form}: a name needs a password")),
        };
        // An IPv6 address stands in brackets in a URL, and nowhere else.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: url.port().unwrap_or(PORT), path, login })
    }
}

/// The server and the thread that its main loop runs in.
struct Serving {
    server: gst_rtsp_server::RTSPServer,
    source: glib::Source,
    main_loop: glib::MainLoop,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    location: String,
    serving: Option<Serving>,
}

#[derive(Default)]
pub struct SeehearRtspSink {
    state: Mutex<State>,
    relay: Arc<Relay>,
}

#[glib::object_subclass]
impl ObjectSubclass for SeehearRtspSink {
    const NAME: &'static str = "GstSeehearRtspSink";
    type Type = super::SeehearRtspSink;
    type ParentType = gst::Bin;
}

impl SeehearRtspSink {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens.
    fn begin(&self) -> Result<(), String> {
        let place = Place::of(&self.lock().location)?;
        let server = gst_rtsp_server::RTSPServer::new();
        server.set_address(&place.host);
        server.set_service(&place.port.to_string());
        let factory = self.factory();
        if let Some((name, word)) = &place.login {
            require(&server, &factory, name, word);
        }
        server.mount_points().ok_or("an RTSP server without mount points")?.add_factory(&place.path, factory);
        let context = glib::MainContext::new();
        let main_loop = glib::MainLoop::new(Some(&context), false);
        // As `attach`, which tells nobody why it could not.
        let source = server.create_source(gst_rtsp_server::gio::Cancellable::NONE).map_err(|e| {
            format!("cannot listen at {}:{}: {}; give another port", place.host, place.port, e.message())
        })?;
        source.attach(Some(&context));
        let run = main_loop.clone();
        let thread = std::thread::Builder::new()
            .name("rtsp-server".into())
            .spawn(move || {
                if context.with_thread_default(|| run.run()).is_err() {
                    gst::error!(CAT, "the main context of the RTSP server belongs to another thread");
                }
            })
            .map_err(|e| e.to_string())?;
        gst::info!(CAT, "listening at {}:{}{}", place.host, server.bound_port(), place.path);
        self.lock().serving = Some(Serving { server, source, main_loop, thread });
        Ok(())
    }

    fn factory(&self) -> gst_rtsp_server::RTSPMediaFactory {
        let factory = gst_rtsp_server::RTSPMediaFactory::new();
        let audio = self.obj().static_pad("audio").is_some();
        // The encoders are ours to choose, and the pipelines' streams/rtsp.toml says H.264 and AAC.
        let video =
            "appsrc name=video ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 aggregate-mode=zero-latency";
        let sound = if audio { "appsrc name=audio ! aacparse ! rtpmp4gpay name=pay1 pt=97" } else { "" };
        factory.set_launch(&format!("( {video} {sound} )"));
        factory.set_shared(true);
        factory.set_eos_shutdown(true);
        let (relay, clock_of) = (Arc::clone(&self.relay), self.obj().downgrade());
        factory.connect_media_configure(move |_, media| {
            if let Some(clock) = clock_of.upgrade().and_then(|this| this.clock()) {
                media.set_clock(Some(&clock));
            }
            let Ok(bin) = media.element().downcast::<gst::Bin>() else { return };
            let source = |name: &str| bin.by_name(name).and_then(|e| e.downcast::<gst_app::AppSrc>().ok());
            let Some(video) = source("video") else { return };
            relay.feed(video, source("audio"));
            let relay = Arc::clone(&relay);
            media.connect_unprepared(move |_| relay.rest());
        });
        factory
    }

    fn end(&self) {
        let Some(serving) = self.lock().serving.take() else { return };
        self.relay.rest();
        serving.source.destroy();
        // Who still looks is sent away, or the media would go on.
        serving.server.client_filter(Some(&mut |_, _| gst_rtsp_server::RTSPFilterResult::Remove));
        serving.main_loop.quit();
        if serving.thread.join().is_err() {
            gst::error!(CAT, "the thread of the RTSP server has panicked");
        }
    }

    fn entrance(&self, stream: Stream) -> Result<gst_app::AppSink, glib::BoolError> {
        let caps = match stream {
            Stream::Video => gst::Caps::builder("video/x-h264")
                .field("stream-format", "byte-stream")
                .field("alignment", "au")
                .build(),
            Stream::Audio => gst::Caps::builder("audio/mpeg")
                .field("mpegversion", 4i32)
                .field("stream-format", "raw")
                .field("framed", true)
                .build(),
        };
        let sink = gst_app::AppSink::builder().caps(&caps).sync(false).async_(false).max_buffers(8).drop(false).build();
        let (relay, weak) = (Arc::clone(&self.relay), self.obj().downgrade());
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    let Some(this) = weak.upgrade() else { return Err(gst::FlowError::Flushing) };
                    if relay.push(stream, &sample, this.upcast_ref())
                        && let Some(pad) = sink.static_pad("sink")
                    {
                        let wish = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
                        if !pad.push_event(wish) {
                            gst::debug!(CAT, imp = this.imp(), "the encoder does not make key pictures on request");
                        }
                    }
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
        Ok(sink)
    }
}

/// Viewers must give name and password.
fn require(server: &gst_rtsp_server::RTSPServer, factory: &gst_rtsp_server::RTSPMediaFactory, name: &str, word: &str) {
    let token = gst_rtsp_server::RTSPToken::builder().field("media.factory.role", "viewer").build();
    let auth = gst_rtsp_server::RTSPAuth::new();
    // Not basic authentication, which sends the password as it is.
    auth.set_supported_methods(gst_rtsp_server::gst_rtsp::RTSPAuthMethod::Digest);
    auth.add_digest(name, word, &token);
    server.set_auth(Some(&auth));
    factory.add_role_from_structure(
        &gst::Structure::builder("viewer")
            .field("media.factory.access", true)
            .field("media.factory.construct", true)
            .build(),
    );
}

impl ObjectImpl for SeehearRtspSink {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            vec![
                glib::ParamSpecString::builder("location")
                    .nick("Location")
                    .blurb("rtsp://[NAME:PASSWORD@]ADDRESS[:PORT]/PATH to listen at; port 8554 unless given, 0 for any")
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt64::builder("dropped")
                    .nick("Dropped")
                    .blurb("Buffers that could not be given to viewers")
                    .read_only()
                    .build(),
                glib::ParamSpecInt::builder("port")
                    .nick("Port")
                    .blurb("Where it listens; 0: nowhere")
                    .read_only()
                    .build(),
            ]
        });
        PROPERTIES.as_ref()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        if pspec.name() == "location"
            && let Ok(location) = value.get::<Option<String>>()
        {
            self.lock().location = location.unwrap_or_default();
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "location" => self.lock().location.to_value(),
            "dropped" => self.relay.dropped().to_value(),
            _ => self.lock().serving.as_ref().map_or(0, |s| s.server.bound_port()).to_value(),
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        self.obj().set_suppressed_flags(gst::ElementFlags::SOURCE | gst::ElementFlags::SINK);
        self.obj().set_element_flags(gst::ElementFlags::SINK);
    }
}

impl GstObjectImpl for SeehearRtspSink {}

impl ElementImpl for SeehearRtspSink {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "RTSP server",
                "Sink/Network",
                "Serves H.264 and AAC to any number of RTSP viewers",
                "seehear",
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let h264 = gst::Caps::builder("video/x-h264").build();
            let aac = gst::Caps::builder("audio/mpeg").field("mpegversion", 4i32).build();
            [("video", h264), ("audio", aac)]
                .into_iter()
                .filter_map(|(name, caps)| {
                    gst::PadTemplate::new(name, gst::PadDirection::Sink, gst::PadPresence::Request, &caps).ok()
                })
                .collect()
        });
        TEMPLATES.as_ref()
    }

    fn request_new_pad(
        &self,
        template: &gst::PadTemplate,
        _name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        let (name, stream) = PADS.into_iter().find(|(name, _)| *name == template.name_template())?;
        if self.obj().static_pad(name).is_some() {
            return None;
        }
        let sink = self.entrance(stream).ok()?;
        self.obj().add(&sink).ok()?;
        let pad = gst::GhostPad::builder_from_template_with_target(template, &sink.static_pad("sink")?)
            .ok()?
            .name(name)
            .build();
        self.obj().add_pad(&pad).ok()?;
        sink.sync_state_with_parent().ok()?;
        Some(pad.upcast())
    }

    fn release_pad(&self, pad: &gst::Pad) {
        let sink = pad.downcast_ref::<gst::GhostPad>().and_then(gst::GhostPad::target).and_then(|p| p.parent_element());
        if let Err(e) = self.obj().remove_pad(pad) {
            gst::warning!(CAT, imp = self, "{e}");
        }
        if let Some(sink) = sink {
            if let Err(e) = sink.set_state(gst::State::Null) {
                gst::warning!(CAT, imp = self, "{e}");
            }
            if let Err(e) = self.obj().remove(&sink) {
                gst::warning!(CAT, imp = self, "{e}");
            }
        }
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused
            && let Err(why) = self.begin()
        {
            gst::element_imp_error!(self, gst::ResourceError::OpenReadWrite, ["{why}"]);
            return Err(gst::StateChangeError);
        }
        let done = self.parent_change_state(transition);
        if transition == gst::StateChange::PausedToReady
            || (done.is_err() && transition == gst::StateChange::ReadyToPaused)
        {
            self.end();
        }
        done
    }
}

impl BinImpl for SeehearRtspSink {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_says_where() {
        gst::init().unwrap();
        let of = |s: &str| Place::of(s);
        let place = of("rtsp://127.0.0.1:8600/room/one").unwrap();
        assert_eq!((&*place.host, place.port, &*place.path, place.login), ("127.0.0.1", 8600, "/room/one", None));
        let place = of("rtsp://ann:s3%40cret@0.0.0.0").unwrap();
        assert_eq!((place.port, &*place.path), (PORT, "/seehear"));
        assert_eq!(place.login, Some(("ann".into(), "s3@cret".into())));
        for wrong in ["http://a/b", "nothing", "rtsp://ann@0.0.0.0/x", "rtsp://a:99999/x"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
