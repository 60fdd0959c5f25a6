//! What a run tells others while it goes on: `--http`, `--serve-config` ([`seehear_serve`], docs/service.md).

use crate::say;
use anyhow::Context;
use gstseehear::run::{Control, Job, News, Progress, SlotTiming, Tap};
use gstseehear::sync::SyncMode;
use seehear::events::{FrameEvent, Header, Summary};
use seehear::session::Report;
use seehear::time::{SLOT, Timestamp};
use seehear_serve::config::{self, Config};
use seehear_serve::http::{self, Server};
use seehear_serve::mqtt::{self, Publisher};
use seehear_serve::notify::{self, Notifier};
use seehear_serve::record::{self, Recorder};
use seehear_serve::vitals::Severity;
use seehear_serve::{Change, Hub, Settings, Timing};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The options of `run` for it.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Telling others (docs/service.md)")]
pub(crate) struct ServeArgs {
    /// Serve the dashboard, events, metrics and health: PORT (this machine only) or IP:PORT, which needs a token
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,

    /// The file with the token that clients of --http must show (make one with `openssl rand -hex 16`)
    #[arg(long, value_name = "FILE", requires = "http")]
    http_token_file: Option<PathBuf>,

    /// Server, MQTT broker, rotated event file and settings in one file, which SIGHUP reads anew
    #[arg(long, value_name = "FILE")]
    serve_config: Option<PathBuf>,
}

impl ServeArgs {
    /// The configuration, if anybody is told anything.
    fn config(&self) -> anyhow::Result<Option<Config>> {
        let mut config = match &self.serve_config {
            Some(path) => Config::load(path).with_context(|| path.display().to_string())?,
            None if self.http.is_some() => Config::default(),
            None => return Ok(None),
        };
        if let Some(listen) = &self.http {
            config.http = Some(config::Http::new(listen, self.http_token_file.clone())?);
        }
        Ok(Some(config))
    }

    /// Whether SIGHUP is a wish to read the configuration anew.
    pub(crate) fn reloads(&self) -> bool {
        self.serve_config.is_some()
    }
}

/// All that tells others, until it is dropped.
pub(crate) struct Service {
    hub: Hub,
    config: Config,
    file: Option<PathBuf>,
    drops_at: Option<Instant>,
    // In the order in which they end: the service manager last.
    server: Option<Server>,
    publisher: Option<Publisher>,
    recorder: Option<Recorder>,
    notifier: Option<Notifier>,
}

impl Service {
    /// Starts what `args` ask for, and lets the job's pictures be looked at.
    ///
    /// # Errors
    /// A configuration that is wrong, an address that is taken, a file that can't be written.
    pub(crate) fn start(args: &ServeArgs, job: &mut Job, quiet: bool) -> anyhow::Result<Option<Self>> {
        let Some(config) = args.config()? else { return Ok(None) };
        let hub = Hub::new(&config.name);
        hub.set_slot_timeout(Duration::from_secs(config.slot_timeout_s.into()));
        let shown = job.shown();
        hub.update_settings(|s| {
            *s = Settings {
                threshold: Some(job.plan.stages.speaking.on_probability),
                overlay: shown.then_some(true),
                heatmap: shown.then_some(job.heatmap),
                sync: Some(mode(job.sync)),
                sync_modes: vec![mode(job.sync)],
                step_sync: job.sync == SyncMode::Correct,
            }
        });
        if let Some(settings) = &config.settings {
            hub.ask(settings).context("[settings]")?;
        }
        let server = match config.http_options()? {
            Some(options) => {
                if let Some(http) = &config.http {
                    hub.set_pictures_per_s(http.pictures_per_s);
                }
                let server = http::serve(&options, &hub)?;
                job.tap = Some(Arc::new(Pictures(hub.clone())));
                if !quiet {
                    say::note(&format!("dashboard: http://{}/", server.addr()));
                }
                Some(server)
            }
            None => None,
        };
        let publisher = config.mqtt_address()?.map(|address| mqtt::publish(&address, &hub)).transpose()?;
        let recorder = match &config.record {
            Some(r) => Some(record::record(&hub, &r.path, r.limits()).with_context(|| r.path.display().to_string())?),
            None => None,
        };
        let notifier = notify::start(&hub).context("the service manager")?;
        let file = args.serve_config.clone();
        Ok(Some(Self { hub, config, file, drops_at: None, server, publisher, recorder, notifier }))
    }

    /// A handle for the analysis thread.
    pub(crate) fn teller(&self) -> Teller {
        Teller(self.hub.clone())
    }

    /// The run goes on.
    pub(crate) fn progress(&mut self, progress: &Progress) {
        match &progress.news {
            Some(news @ News::Lost { .. }) => self.hub.trouble("source", Some((Severity::Failing, news.to_string()))),
            Some(News::Back { .. }) => self.hub.trouble("source", None),
            None => {}
        }
        if self.drops_at.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
            self.drops_at = Some(Instant::now());
            self.hub.drops(&progress.drops);
        }
    }

    /// Reads the configuration anew; what is wrong with it is said, and nothing is changed then.
    pub(crate) fn reload(&mut self) {
        let Some(file) = self.file.clone() else { return };
        // Outside a service manager there is nobody to be told.
        drop(notify::reloading());
        let told = match self.read_again(&file) {
            Ok(told) => told,
            Err(e) => format!("{}: not reloaded: {e:#}", file.display()),
        };
        say::note(&told);
        drop(notify::reloaded(&told));
    }

    fn read_again(&mut self, file: &Path) -> anyhow::Result<String> {
        let new = Config::load(file)?;
        let reload = self.config.reload(&new, &self.hub.settings())?;
        self.hub.ask_changes(&reload.changes)?;
        // Settings have been taken over; the parts that need a restart are still the old ones.
        self.config.settings = new.settings;
        let waits = if reload.restart.is_empty() {
            String::new()
        } else {
            format!("; at the next start only: {}", reload.restart.join(", "))
        };
        Ok(format!("{} reloaded: {} change(s){waits}", file.display(), reload.changes.len()))
    }

    /// The run is over: everybody is told, and what was told is handed on.
    pub(crate) fn end(self, summary: Option<&Summary>) {
        if let Some(summary) = summary {
            self.hub.summary(summary);
        }
        drop((self.server, self.publisher, self.recorder));
        drop(self.notifier);
    }
}

fn mode(sync: SyncMode) -> seehear_serve::SyncMode {
    match sync {
        SyncMode::Off => seehear_serve::SyncMode::Off,
        SyncMode::Measure => seehear_serve::SyncMode::Measure,
        SyncMode::Correct => seehear_serve::SyncMode::Correct,
    }
}

/// Tells the hub, and takes the changes that are asked for there.
pub(crate) struct Teller(Hub);

impl Teller {
    pub(crate) fn header(&self, header: &Header) {
        self.0.header(header);
    }

    pub(crate) fn report(&self, report: &Report<'_>, timing: SlotTiming, control: &Control) {
        self.0.frame(&FrameEvent::from(report), Timing { busy: timing.busy, latency: timing.latency });
        for change in self.0.take_changes() {
            match change {
                Change::Threshold(probability) => control.set_threshold(probability),
                Change::Overlay(show) => control.show_marks(show),
                Change::Heatmap(show) => control.show_heatmap(show),
                Change::StepSync => control.step_sync(),
                // The modes offered are the one that holds.
                Change::Sync(_) => {}
            }
            self.0.update_settings(|s| s.take_over(change));
        }
    }
}

#[derive(Debug)]
struct Pictures(Hub);

impl Tap for Pictures {
    fn wanted(&self) -> bool {
        self.0.picture_wanted()
    }

    fn take(&self, at: Timestamp, jpeg: &[u8]) {
        let slot = SLOT * (at - Timestamp::ZERO).ns().div_euclid(SLOT.ns());
        // One that came too early after another, or that nobody wants any more.
        drop(self.0.picture(slot.as_ms_f64(), jpeg.to_vec()));
    }
}
