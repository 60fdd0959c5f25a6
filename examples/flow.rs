//! Dense flow of pairs of raw grey pictures, for `benches/flow_peer.py`:
//!
//! `flow WIDTH HEIGHT PAIRS OUT [CONFIG] [REPEATS]` reads pictures of `[height, width]` bytes, two after two, from the
//! file PAIRS, writes f32 `[2, height, width]` (little-endian) per pair to OUT and prints the milliseconds of CPU time
//! of one push, the mean of REPEATS pushes per pair. CONFIG is a [`FlowConfig`] as JSON.

#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::integer_division,
    reason = "a program to measure with"
)]

use seehear::flow::{Flow, FlowConfig};
use std::error::Error;
use std::io::{BufWriter, Write};

/// CPU time of this thread so far, ns; Linux alone tells. It advances in steps of a scheduler tick (1…10 ms).
fn cpu_ns() -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().ok_or("schedstat is empty")?.parse()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, width, height, pairs, out, rest @ ..] = &arguments[..] else {
        return Err("usage: flow WIDTH HEIGHT PAIRS OUT [CONFIG] [REPEATS]".into());
    };
    let (width, height): (usize, usize) = (width.parse()?, height.parse()?);
    let config: FlowConfig = rest.first().map_or_else(|| Ok(FlowConfig::default()), |c| serde_json::from_str(c))?;
    let repeats: usize = rest.get(1).map_or(Ok(10), |r| r.parse())?;
    let (pairs, mut out) = (std::fs::read(pairs)?, BufWriter::new(std::fs::File::create(out)?));
    let mut flow = Flow::new(width, height, &config);
    let pairs = || pairs.chunks_exact(2 * width * height).map(|pair| pair.split_at(width * height));
    for (first, second) in pairs() {
        flow.reset();
        flow.push(first)?;
        flow.push(second)?;
        let field = flow.field().ok_or("two pictures give a field")?;
        for value in field.dx.iter().chain(field.dy) {
            out.write_all(&value.to_le_bytes())?;
        }
    }
    out.flush()?;
    let (mut pushes, begin) = (0, cpu_ns()?);
    for (first, second) in pairs() {
        // As in a stream, every picture is pushed once: forth and back between the two.
        for k in 0..repeats {
            flow.push(if k % 2 == 0 { first } else { second })?;
            pushes += 1;
        }
    }
    println!("{:.4}", (cpu_ns()? - begin) as f64 / 1e6 / f64::from(pushes));
    Ok(())
}
