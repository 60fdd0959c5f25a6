//! `seehear engines bench`, and `seehear bench --backend all`: what a network run costs, on each backend and batch.

use super::{Size, named, video_specs};
use crate::{EngineArgs, engine, say};
use anyhow::{Context, bail};
use seehear::net::Network;
use seehear_nets::driver::Driver;
use seehear_nets::{Choice, Kind, onnx};
use serde::{Deserialize, Serialize};
use std::process::Command;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Examples:
  seehear engines bench                                 on the CPU, batches of 1 to 64 pictures
  seehear engines bench --backend all                   on every backend that this machine can run
  seehear engines bench --backend tensorrt --batch 1,8  on one
  seehear engines bench --peak 12000,360                with the least time that hardware of 12 000 GFLOP/s and 360 GB/s takes

Columns: a \"frame\" is one picture of one camera; \"cameras\" is how many of 25 pictures a second it keeps up with (the \
picture's network alone, which is nearly all of it); \"floor\" is the roofline: multiply-adds and bytes counted from the \
network, over the hardware's peak.

Exit codes: 0 done, 1 failed, 2 usage.";

/// Measure what a run of the picture's network costs: time, throughput, latency, memory.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Pictures in one run
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,2,4,8,16,32,64",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    batch: Vec<u16>,

    /// Size of the source's picture, pixels
    #[arg(long, default_value = "1280x720", value_name = "WxH")]
    size: Size,

    /// Length of each measurement, seconds
    #[arg(long, default_value_t = 2.0, value_name = "S", value_parser = crate::run::parse_seconds)]
    seconds: f64,

    /// The hardware's peak, GFLOP/s and GB/s; a GPU's own as its driver tells it by default
    #[arg(long, value_name = "GFLOPS,GBS", value_parser = peak)]
    peak: Option<(f64, f64)>,

    /// Print the table as one line of JSON
    #[arg(long)]
    json: bool,
}

/// One batch on one backend.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    backend: String,
    batch: usize,
    ms_per_frame: f64,
    frames_per_s: f64,
    cameras: u32,
    latency_p50_ms: f64,
    latency_p99_ms: f64,
    /// What the GPU's free memory fell by, MiB.
    gpu_mib: Option<u64>,
    floor_ms_per_frame: Option<f64>,
}

fn peak(text: &str) -> Result<(f64, f64), String> {
    let number = |t: &str| t.trim().parse::<f64>().ok().filter(|n| *n > 0.0 && n.is_finite());
    text.split_once(',')
        .and_then(|(a, b)| Some((number(a)?, number(b)?)))
        .ok_or_else(|| "expected GFLOP/s and GB/s, as in 12000,360".to_owned())
}

pub(crate) fn main(args: &Args, engine_args: &EngineArgs) -> anyhow::Result<()> {
    let rows = match engine_args.backend {
        Choice::All => every_backend(engine_args, &own_options(args))?,
        _ => one_backend(args, engine_args)?,
    };
    if args.json {
        say::result(&serde_json::to_string(&rows)?)?;
        return Ok(());
    }
    table(&rows, engine_args)
}

/// `seehear bench --backend all`.
pub(crate) fn all(engine_args: &EngineArgs, json: bool) -> anyhow::Result<()> {
    let rows = every_backend(engine_args, &[])?;
    if json {
        say::result(&serde_json::to_string(&rows)?)?;
        return Ok(());
    }
    table(&rows, engine_args)
}

fn table(rows: &[Row], engine_args: &EngineArgs) -> anyhow::Result<()> {
    say::result(
        "| backend | batch | ms a frame | floor, ms | frames/s | cameras | latency p50 / p99, ms | GPU, MiB |",
    )?;
    say::result("|---|---|---|---|---|---|---|---|")?;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    for r in rows {
        let (floor, gpu) = (r.floor_ms_per_frame.map(|ms| format!("{ms:.4}")), r.gpu_mib.map(|n| n.to_string()));
        say::result(&format!(
            "| {} | {} | {:.3} | {} | {:.0} | {} | {:.2} / {:.2} | {} |",
            r.backend,
            r.batch,
            r.ms_per_frame,
            or_dash(floor),
            r.frames_per_s,
            r.cameras,
            r.latency_p50_ms,
            r.latency_p99_ms,
            or_dash(gpu)
        ))?;
    }
    let (_, engine) = named(engine_args)?;
    say::result(&format!("engine {}; {}", engine.manifest.name, crate::bench::machine()?))?;
    Ok(())
}

/// The options that a child of [`every_backend`] is given again.
fn own_options(args: &Args) -> Vec<String> {
    let batches: Vec<String> = args.batch.iter().map(ToString::to_string).collect();
    let mut options = vec![
        format!("--batch={}", batches.join(",")),
        format!("--size={}x{}", args.size.width, args.size.height),
        format!("--seconds={}", args.seconds),
    ];
    options.extend(args.peak.map(|(flops, bytes)| format!("--peak={flops},{bytes}")));
    options
}

/// Each in a process of its own: one process has one ONNX Runtime, and memory is counted from nothing.
fn every_backend(engine_args: &EngineArgs, options: &[String]) -> anyhow::Result<Vec<Row>> {
    let program = std::env::current_exe().context("where is this program?")?;
    let mut rows = Vec::new();
    for kind in Kind::ALL.into_iter().rev() {
        say::note(&format!("{kind} …"));
        let mut child = Command::new(&program);
        child.args(["engines", "bench", "--json", "--backend", kind.name()]).args(options);
        child.arg("--gpu").arg(engine_args.gpu.to_string());
        for (option, value) in [
            ("--engine", engine_args.engine.as_deref().map(std::ffi::OsStr::new)),
            ("--onnxruntime", engine_args.onnxruntime.as_deref().map(std::path::Path::as_os_str)),
            ("--tensorrt", engine_args.tensorrt.as_deref().map(std::path::Path::as_os_str)),
        ] {
            if let Some(value) = value {
                child.arg(option).arg(value);
            }
        }
        if let Some(threads) = engine_args.threads {
            child.arg("--threads").arg(threads.to_string());
        }
        let done = child.output().with_context(|| format!("{}", program.display()))?;
        if done.status.success() {
            rows.extend(serde_json::from_slice::<Vec<Row>>(&done.stdout).context("the measurement's own JSON")?);
            continue;
        }
        let said = String::from_utf8_lossy(&done.stderr);
        let why = said.lines().last().unwrap_or("ended without a word").trim_start_matches("seehear: ");
        // The CPU runs everywhere: that it does not is no skip.
        if !kind.on_gpu() {
            bail!("{why}");
        }
        let own = format!("{kind}: ");
        say::note(&format!("skipped {kind}: {}", why.strip_prefix(&own).unwrap_or(why)));
    }
    Ok(rows)
}

fn one_backend(args: &Args, engine_args: &EngineArgs) -> anyhow::Result<Vec<Row>> {
    let (path, engine) = named(engine_args)?;
    let chosen = seehear_nets::open(engine_args.backend, &engine::options(engine_args, &path, false))?;
    if let Some(line) = chosen.explain(engine_args.backend) {
        say::note(&line);
    }
    let file = engine.video_file();
    let bytes = std::fs::read(&file).with_context(|| format!("{}", file.display()))?;
    let gpu = if chosen.kind.on_gpu() { Some(Driver::start()?) } else { None };
    let device = gpu.as_ref().and_then(|driver| driver.devices().get(usize::from(engine_args.gpu)));
    let free = || gpu.as_ref().zip(device).and_then(|(driver, device)| driver.free_bytes(device).ok());
    let peak = args.peak.or_else(|| device.and_then(|d| d.peak()).map(|p| (p.fp32_gflops, p.gbytes_per_s)));
    let mut rows = Vec::new();
    for &batch in &args.batch {
        let batch = usize::from(batch);
        let (input, output) = video_specs(&engine, args.size, batch);
        let cost =
            onnx::count(&bytes, &input).map_err(|why| anyhow::anyhow!("engine file {} {why}", file.display()))?;
        let before = free();
        let mut net = chosen.backend.load(&file, std::slice::from_ref(&input), std::slice::from_ref(&output))?;
        let times = measure(&mut *net, Duration::from_secs_f64(args.seconds))?;
        let gpu_mib = before.zip(free()).map(|(before, now)| before.saturating_sub(now) >> 20);
        rows.push(row(chosen.kind, batch, &times, gpu_mib, peak.map(|peak| floor_ms(cost, peak))));
    }
    Ok(rows)
}

/// Least time of a run of this cost, ms: two operations a multiply-add, four bytes a number.
#[expect(clippy::cast_precision_loss, reason = "billions")]
fn floor_ms(cost: onnx::Cost, (gflops, gbytes): (f64, f64)) -> f64 {
    let arithmetic = 2.0 * cost.multiply_adds as f64 / (gflops * 1e6);
    arithmetic.max(cost.bytes(4) as f64 / (gbytes * 1e6))
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of pictures and a rank below the number of times"
)]
fn row(kind: Kind, batch: usize, times: &[f64], gpu_mib: Option<u64>, floor_ms: Option<f64>) -> Row {
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    let rank = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    let frames_per_s = 1e3 * batch as f64 / mean;
    Row {
        backend: kind.name().to_owned(),
        batch,
        ms_per_frame: mean / batch as f64,
        frames_per_s,
        cameras: (frames_per_s / 25.0) as u32,
        latency_p50_ms: rank(0.5),
        latency_p99_ms: rank(0.99),
        gpu_mib,
        floor_ms_per_frame: floor_ms.map(|ms| ms / batch as f64),
    }
}

/// Times of single runs, ms, sorted; copies to and from the device are part of a run.
fn measure(net: &mut dyn Network, length: Duration) -> anyhow::Result<Vec<f64>> {
    let input = vec![0.1_f32; net.inputs()[0].len()];
    let mut output = vec![0.0_f32; net.outputs()[0].len()];
    // The first runs are slower: caches, clocks.
    for _ in 0..3 {
        net.run(&[&input], &mut [&mut output])?;
    }
    let began = Instant::now();
    let mut times = Vec::new();
    while times.len() < 5 || began.elapsed() < length {
        let run = Instant::now();
        net.run(&[&input], &mut [&mut output])?;
        times.push(run.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_the_larger_of_arithmetic_and_memory() {
        let cost = onnx::Cost { multiply_adds: 500_000_000, weights: 1_000_000, activations: 4_000_000 };
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        // 1 GFLOP and 20 MB.
        assert!(near(floor_ms(cost, (1000.0, 1000.0)), 1.0));
        assert!(near(floor_ms(cost, (1e6, 100.0)), 0.2));
    }

    #[test]
    fn a_row_s_figures() {
        let times: Vec<f64> = (1..=100).map(f64::from).collect();
        let r = row(Kind::OnnxRuntimeCpu, 4, &times, None, Some(2.0));
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(r.ms_per_frame, 50.5 / 4.0) && near(r.frames_per_s, 4000.0 / 50.5));
        assert_eq!(r.cameras, 3);
        assert!(near(r.latency_p50_ms, 51.0) && near(r.latency_p99_ms, 99.0));
        assert!(near(r.floor_ms_per_frame.unwrap(), 0.5));
    }

    #[test]
    fn peaks() {
        assert_eq!(peak("12000, 360"), Ok((12_000.0, 360.0)));
        for bad in ["", "12000", "12000,", "-1,2", "a,b"] {
            assert!(peak(bad).is_err(), "{bad}");
        }
    }
}
