//! `seehear`: tells live, without a face detector, who in the picture is making the sound.

mod bar;
mod bench;
mod calibrate;
mod check;
mod engine;
mod engines;
mod find;
mod run;
mod say;
mod separate;
mod serve;
mod signals;
mod sync;

use clap::{Parser, Subcommand};
use seehear_nets::Choice;
use std::path::PathBuf;
use std::process::ExitCode;

/// Tells live, without any face detector, who in the picture is making the sound.
#[derive(Debug, Parser)]
#[command(name = "seehear", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,

    #[command(flatten)]
    engine: EngineArgs,
}

const EXAMPLES: &str = "\
Examples:
  seehear run talk.mp4                           who speaks when, in words
  seehear run talk.mp4 --output out.mp4          the picture, active speaker highlighted
  seehear run talk.mp4 --events events.jsonl     25 JSON lines a second, for machines
  seehear run /dev/video0 --display              camera and microphone, in a window
  seehear run rtsp://camera/1 -e - | jq .voice   an IP camera
  seehear sync talk.mp4 --fix out.mp4            lip sync measured, and a corrected copy
  seehear separate talk.mp4 -o voices/           every visible speaker's own voice, one file each
  seehear calibrate av-offset /dev/video0 -o calibration/desk.toml
                                                 how late is this camera's sound?
  seehear calibrate speaking room/ -o calibration/room.toml
                                                 what a probability is worth, in this room
  seehear check                                  is everything installed?
  seehear bench                                  how fast is this machine?

`seehear run --help` has more of them, and all options.

Exit codes: 0 done, 1 failed, 2 usage.";

/// Which engine runs, on what.
#[derive(Clone, Debug, clap::Args)]
struct EngineArgs {
    /// The engine (networks and their manifest): a manifest file, or the name of one in engines/; by default "av-small", and
    /// for `sync` its 8-bit variant "av-small-int8", which is as right there and takes two thirds of the time
    #[arg(long, global = true, value_name = "NAME|FILE")]
    engine: Option<String>,

    /// What computes the networks: onnxruntime-cpu, onnxruntime-cuda, onnxruntime-tensorrt, tensorrt, or "auto" for the best
    /// that this machine can run, which is then told with the reasons against the others ("all" is for bench)
    #[arg(long, global = true, value_name = "NAME", default_value = "onnxruntime-cpu")]
    backend: Choice,

    /// Which GPU, counted from 0 as nvidia-smi does with CUDA_DEVICE_ORDER=PCI_BUS_ID; for the GPU backends
    #[arg(long, global = true, value_name = "N", default_value_t = 0)]
    gpu: u16,

    /// ONNX Runtime's shared library; by default the one that `make setup` put into .deps/onnxruntime
    #[arg(long, global = true, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,

    /// Folder of TensorRT for RTX, for the backend tensorrt; by default the one that `make setup-tensorrt` put into .deps/tensorrt
    #[arg(long, global = true, value_name = "DIR")]
    tensorrt: Option<PathBuf>,

    /// Threads that one network run may use; by default up to four for a file, one for a live source
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Args),
    Sync(sync::Args),
    Separate(separate::Args),
    /// Measure what is particular to a room or a device, for --calibration
    #[command(subcommand)]
    Calibrate(calibrate::What),
    /// List and verify engines, build them for GPUs, measure them
    #[command(subcommand)]
    Engines(engines::What),
    Check(check::Args),
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.verb {
        Verb::Run(args) => run::main(args, &cli.engine),
        Verb::Sync(args) => sync::main(args, &cli.engine),
        Verb::Separate(args) => separate::main(args, &cli.engine),
        Verb::Calibrate(what) => calibrate::main(what, &cli.engine),
        Verb::Engines(what) => engines::main(what, &cli.engine),
        Verb::Check(args) => check::main(args),
        Verb::Bench(args) => bench::main(args, &cli.engine),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::error(&error);
            ExitCode::FAILURE
        }
    }
}
