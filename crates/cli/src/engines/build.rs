//! `seehear engines build`.

use super::{Size, audio_specs, named, video_specs};
use crate::{EngineArgs, engine, say};
use anyhow::{Context, anyhow, bail};
use gstseehear::output::PendingFile;
use seehear::net::{Engine, TensorSpec};
use seehear_nets::driver::Version;
use seehear_nets::onnx::{Ranges, quantise, to_half};
use seehear_nets::plan::Precision;
use seehear_nets::{Choice, Kind};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::Instant;

const EXAMPLES: &str = "\
Examples:
  seehear engines build --backend tensorrt               for the GPU of this machine, before the first run needs it
  seehear engines build --for 8.6,8.9                    for other machines' GPUs; needs neither GPU nor driver here
  seehear engines build --for 8.6 --precision fp16       in 16-bit floats, as an engine of its own
  seehear engines build --for 8.6 --size 1920x800 --batch 4
                                                         for pictures of another shape, four cameras at once

Plans go into cache/ beside the manifest and are found there by --backend tensorrt; one that no longer fits (another \
model, TensorRT or shape) is built again, and that is told. With --precision a manifest and networks in these numbers are \
written there too: run them with --engine engines/cache/NAME-fp16.toml. What has run on a GPU so far is in docs/hardware.md.

Exit codes: 0 built, 1 failed, 2 usage.";

/// Build an engine for a GPU ahead of time, in FP32, FP16 or INT8.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Compute capabilities to build for, as in 8.6 or 8.6,8.9 (nvidia-smi --query-gpu=compute_cap --format=csv tells a
    /// GPU's own); the GPU of this machine where none is given
    #[arg(long = "for", value_name = "X.Y", value_delimiter = ',')]
    targets: Vec<Version>,

    /// fp32 (the engine as it is), fp16 or int8
    #[arg(long, default_value = "fp32", value_name = "NAME")]
    precision: Precision,

    /// What the picture network's activations reach on footage, for int8; calibration/NAME.ranges.json by default
    #[arg(long, value_name = "FILE")]
    ranges: Option<PathBuf>,

    /// Size of the source's picture, pixels
    #[arg(long, default_value = "1280x720", value_name = "WxH")]
    size: Size,

    /// Cameras in one run
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    batch: u16,
}

/// A network to build: file and tensors.
type Job = (PathBuf, TensorSpec, TensorSpec);

pub(crate) fn main(args: &Args, engine_args: &EngineArgs) -> anyhow::Result<()> {
    let (mut path, mut engine) = named(engine_args)?;
    if args.precision != Precision::Fp32 {
        path = convert(args, &path, &engine)?;
        engine = Engine::load(&path)?;
        say::result(&format!("{}: {} in {}", path.display(), engine.manifest.name, args.precision.name()))?;
    }
    let video = video_specs(&engine, args.size, usize::from(args.batch));
    let audio = audio_specs(&engine);
    let jobs = [(engine.video_file(), video.0, video.1), (engine.audio_file(), audio.0, audio.1)];
    if args.targets.is_empty() { here(engine_args, &path, &jobs) } else { ahead(args, engine_args, &path, &jobs) }
}

/// For this machine's GPU: opening a network builds it.
fn here(engine_args: &EngineArgs, path: &Path, jobs: &[Job]) -> anyhow::Result<()> {
    if matches!(engine_args.backend, Choice::One(Kind::OnnxRuntimeCpu | Kind::OnnxRuntimeCuda) | Choice::All) {
        bail!(
            "the backend {} builds nothing; name one that does (--backend tensorrt or onnxruntime-tensorrt), or GPUs to \
             build for (--for 8.6)",
            engine_args.backend
        );
    }
    let chosen = seehear_nets::open(engine_args.backend, &engine::options(engine_args, path, false))?;
    if let Some(line) = chosen.explain(engine_args.backend) {
        say::note(&line);
    }
    for (file, input, output) in jobs {
        let began = Instant::now();
        chosen.backend.load(file, std::slice::from_ref(input), std::slice::from_ref(output))?;
        let seconds = began.elapsed().as_secs_f64();
        say::result(&format!("{}: ready on {} after {seconds:.1} s", file.display(), chosen.kind))?;
    }
    Ok(())
}

#[cfg(not(feature = "tensorrt"))]
fn ahead(_: &Args, _: &EngineArgs, _: &Path, _: &[Job]) -> anyhow::Result<()> {
    bail!("this program was built without TensorRT; build it with --features tensorrt (docs/hardware.md)")
}

/// For GPUs of other machines.
#[cfg(feature = "tensorrt")]
fn ahead(args: &Args, engine_args: &EngineArgs, path: &Path, jobs: &[Job]) -> anyhow::Result<()> {
    use seehear_nets::plan::{Found, Plans, Recipe};
    use seehear_nets::{BuildOptions, Library};
    let library = Library::load(engine_args.tensorrt.as_deref())?;
    let plans = Plans::new(&engine::cache(path));
    for (file, input, output) in jobs {
        let bytes = std::fs::read(file).with_context(|| format!("{}", file.display()))?;
        for &compute in &args.targets {
            let specs = (std::slice::from_ref(input), std::slice::from_ref(output));
            let precision = Precision::of_name(file);
            let recipe = Recipe::new(file, &bytes, library.version(), compute, precision, specs);
            let place = plans.path(&recipe);
            match plans.find(&recipe)? {
                Found::Plan(_) => {
                    say::result(&format!("{}: was there and fits", place.display()))?;
                    continue;
                }
                Found::Nothing => {}
                Found::Unfit(why) => say::note(&format!("{} is {why}: building it again", place.display())),
            }
            let began = Instant::now();
            let (bar, listener) = progress();
            let plan = library.build(file, &bytes, specs.0, specs.1, &BuildOptions { compute, listener })?;
            bar.finish_and_clear();
            plans.keep(&recipe, &plan)?;
            let (kib, seconds) = (plan.len() >> 10, began.elapsed().as_secs_f64());
            say::result(&format!("{}: {kib} KiB in {seconds:.1} s, TensorRT {}", place.display(), library.version()))?;
        }
    }
    Ok(())
}

/// A line that tells what TensorRT is at; nothing where standard error is no terminal.
#[cfg(feature = "tensorrt")]
fn progress() -> (indicatif::ProgressBar, seehear_nets::notice::Listener) {
    use indicatif::{ProgressBar, ProgressStyle};
    use seehear_nets::notice::{Listener, Notice};
    let bar = ProgressBar::new(1);
    let style = ProgressStyle::with_template("{wide_bar:.green} {pos}/{len}  {msg}  {elapsed}");
    bar.set_style(style.expect("our own template"));
    let shown = bar.clone();
    let hear = move |notice: &Notice| {
        if let Notice::Building { phase, done, of } = notice {
            shown.set_length(u64::try_from(*of).unwrap_or(1).max(1));
            shown.set_position(u64::try_from(*done).unwrap_or(0));
            shown.set_message(phase.clone());
        }
    };
    (bar, Listener::new(hear))
}

/// Writes the engine in other numbers into the cache: networks and manifest. INT8 is for the picture's network; the
/// sound's costs a hundredth and stays as it is.
fn convert(args: &Args, path: &Path, engine: &Engine) -> anyhow::Result<PathBuf> {
    let m = &engine.manifest;
    if Precision::of_name(Path::new(&m.video.file)) != Precision::Fp32 {
        bail!("engine {}: its network is in {} already; name the FP32 engine", m.name, m.video.file);
    }
    // "NAME-int8" is the one for processors.
    let suffix = if args.precision == Precision::Int8 { "int8-gpu" } else { args.precision.name() };
    let name = format!("{}-{suffix}", m.name);
    let dir = engine::cache(path);
    std::fs::create_dir_all(&dir).with_context(|| format!("{}", dir.display()))?;
    let read = |file: &Path| std::fs::read(file).with_context(|| format!("{}", file.display()));
    let wrong = |file: &Path, why: String| anyhow!("engine file {} {why}", file.display());
    let (video_file, audio_file) = (engine.video_file(), engine.audio_file());
    let (video, audio) = (read(&video_file)?, read(&audio_file)?);
    let (video, audio, tolerance) = if args.precision == Precision::Fp16 {
        let half = |bytes: &[u8], file: &Path| to_half(bytes).map_err(|why| wrong(file, why));
        (half(&video, &video_file)?, half(&audio, &audio_file)?, "5e-3")
    } else {
        let table = ranges(args.ranges.as_deref(), &m.name)?;
        (quantise(&video, &table).map_err(|why| wrong(&video_file, why))?, audio, "5e-2")
    };
    let mut text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let mut replace = |from: &str, to: &str| text = text.replacen(from, to, 1);
    replace(&format!("name = \"{}\"", m.name), &format!("name = \"{name}\""));
    for (bytes, kind, spec) in
        [(&video, "video", (&m.video.file, &m.video.sha256)), (&audio, "audio", (&m.audio.file, &m.audio.sha256))]
    {
        let file = format!("{name}.{kind}.onnx");
        write(&dir.join(&file), bytes)?;
        replace(&format!("\"{}\"", spec.0), &format!("\"{file}\""));
        let sha256 = Sha256::digest(bytes).iter().fold(String::new(), |hex, b| hex + &format!("{b:02x}"));
        replace(spec.1, &sha256);
    }
    let lines: Vec<String> = text
        .lines()
        .map(|line| if line.starts_with("tolerance") { format!("tolerance = {tolerance}") } else { line.to_owned() })
        .collect();
    let manifest = dir.join(format!("{name}.toml"));
    write(&manifest, (lines.join("\n") + "\n").as_bytes())?;
    Ok(manifest)
}

fn ranges(given: Option<&Path>, engine: &str) -> anyhow::Result<Ranges> {
    let file = match given {
        Some(path) => path.to_owned(),
        None => crate::find::find(&Path::new("calibration").join(format!("{engine}.ranges.json")))
            .context("int8 needs a table of ranges (--ranges FILE); training/ranges.py makes one")?,
    };
    let text = std::fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}: is no table of ranges", file.display()))
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let file = PendingFile::create(path)?;
    std::fs::write(file.path(), bytes).with_context(|| format!("{}", path.display()))?;
    Ok(file.commit()?)
}
