//! A separator without an inference library, whose masks are known.

use seehear::net::{Backend, NetError, Network, TensorSpec};
use seehear::separation::{BINS, SeparatorEngine};
use sha2::{Digest, Sha256};
use std::path::Path;

pub const DIM: usize = 3;
const STATE: usize = 4;

pub fn manifest(sha256: &str) -> String {
    format!(
        r#"
schema = 1
name = "sep-test"
kind = "separation"
engine = "test"
dim = {DIM}
rate = 16000
window = 512
hop = 256
state = {STATE}
[network]
file = "n"
sha256 = "{sha256}"
mixture = "mixture"
embedding = "embedding"
state_in = "state"
mask = "mask"
state_out = "state_out"
[provenance]
trained = "not at all"
licence = "MIT"
scores = "none"
"#
    )
}

pub fn engine() -> SeparatorEngine {
    let dir = tempfile::tempdir().unwrap();
    let hash = Sha256::digest(b"net").iter().map(|b| format!("{b:02x}")).collect::<String>();
    std::fs::write(dir.path().join("n"), "net").unwrap();
    std::fs::write(dir.path().join("s.toml"), manifest(&hash)).unwrap();
    SeparatorEngine::load(&dir.path().join("s.toml")).unwrap()
}

/// What the network answers.
#[derive(Clone, Copy, Debug)]
pub enum Mask {
    One,
    Zero,
    /// 1 below 4 kHz, ¼ above.
    Halves,
    /// Something that depends on the mixture, the embedding, and all that was before.
    Memory,
}

pub struct Masks(pub Mask);

impl Backend for Masks {
    fn name(&self) -> &'static str {
        "masks"
    }

    fn load(&self, _: &Path, inputs: &[TensorSpec], outputs: &[TensorSpec]) -> Result<Box<dyn Network>, NetError> {
        assert_eq!(inputs.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["mixture", "embedding", "state"]);
        assert_eq!(outputs.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["mask", "state_out"]);
        let block = inputs[0].shape[1];
        assert_eq!(inputs[0].shape, [1, block, 2, BINS]);
        assert_eq!((&inputs[1].shape[..], &inputs[2].shape[..]), (&[1, block, DIM][..], &[1, STATE][..]));
        Ok(Box::new(Net(self.0, inputs.to_vec(), outputs.to_vec())))
    }
}

struct Net(Mask, Vec<TensorSpec>, Vec<TensorSpec>);

impl Network for Net {
    fn inputs(&self) -> &[TensorSpec] {
        &self.1
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.2
    }

    fn run(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), NetError> {
        let [mixture, embedding, state] = inputs else { panic!("three inputs") };
        let [mask, state_out] = outputs else { panic!("two outputs") };
        state_out.copy_from_slice(state);
        let hops = mixture.chunks_exact(2 * BINS).zip(embedding.chunks_exact(DIM));
        for ((mixture, embedding), mask) in hops.zip(mask.chunks_exact_mut(2 * BINS)) {
            let loud = mixture.iter().map(|x| x.abs()).sum::<f32>().min(1e3) / 1e3;
            state_out[0] = 0.9 * state_out[0] + 0.1 * loud;
            state_out[1] = 0.9 * state_out[1] + 0.1 * embedding.iter().sum::<f32>();
            let (re, im) = mask.split_at_mut(BINS);
            for (k, (re, im)) in re.iter_mut().zip(im).enumerate() {
                (*re, *im) = match self.0 {
                    Mask::One => (1.0, 0.0),
                    Mask::Zero => (0.0, 0.0),
                    Mask::Halves => (if k < 128 { 1.0 } else { 0.25 }, 0.0),
                    Mask::Memory => (state_out[1] + 0.001 * k as f32, state_out[0]),
                };
            }
        }
        Ok(())
    }
}
