//! The kernels of `prepare.cu`, without a GPU: compiled by NVRTC for every kind of GPU, and the same source compiled for the
//! CPU gives what the core gives, to the bit. With a GPU, what it gives too.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::indexing_slicing, reason = "a test")]

mod common;

use common::{engine_file, root};
use libloading::Library;
use seehear::embed::VideoEmbedder;
use seehear::frame::{Luma, LumaPlane};
use seehear::net::{Backend, Engine, NetError, Network, TensorSpec};
use seehear::reduce::Reducer;
use seehear_nets::driver::Driver;
use seehear_nets::nvrtc::Nvrtc;
use seehear_nets::prepare::{OPTIONS, Preparer, Run, SOURCE, runs};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// What CUDA C++ has and C++ has not, and loops in place of a grid.
const AROUND: [&str; 2] = [
    "struct Index { unsigned x, y, z; };\n\
     static Index blockIdx, threadIdx, blockDim = {1, 1, 1}, gridDim = {1, 1, 1};\n\
     #define __global__\n#define __device__\n\
     static void atomicAdd(unsigned long long *to, unsigned long long n) { *to += n; }\n",
    "extern \"C\" void all_reduce(const unsigned char *p, unsigned stride, const Run *c, const Run *r, unsigned w, unsigned h,\n\
     unsigned char *o) {\n\
       for (blockIdx.y = 0; blockIdx.y < h; ++blockIdx.y)\n\
         for (blockIdx.x = 0; blockIdx.x < w; ++blockIdx.x) reduce(p, stride, c, r, w, h, o);\n\
       blockIdx.x = blockIdx.y = 0;\n\
     }\n\
     extern \"C\" void all_stack(const unsigned char *ring, unsigned slots, unsigned next, unsigned plane, float gain, float *o) {\n\
       unsigned long long sum = 0;\n\
       total(ring, slots * plane, &sum);\n\
       stack(ring, slots, next, plane, &sum, gain, o);\n\
     }\n",
];

/// The kernels on the CPU.
struct Emulation {
    library: Library,
    _dir: tempfile::TempDir,
}

impl Emulation {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (source, output) = (dir.path().join("prepare.cpp"), dir.path().join("prepare.so"));
        std::fs::write(&source, format!("{}{SOURCE}{}", AROUND[0], AROUND[1])).unwrap();
        let mut c = Command::new("c++");
        c.args(["-shared", "-fPIC", "-O1", "-ffp-contract=off", "-o"]).args([&output, &source]);
        assert!(c.status().expect("c++ is installed by make setup").success());
        // SAFETY: Built just now from the source above; it has no initialisers.
        Self { library: unsafe { Library::new(output) }.unwrap(), _dir: dir }
    }

    fn reduce(&self, plane: &[u8], (w, h): (u32, u32), stride: u32, (tw, th): (u32, u32)) -> Vec<u8> {
        type Reduce = unsafe extern "C" fn(*const u8, u32, *const Run, *const Run, u32, u32, *mut u8);
        let (columns, rows) = (runs(w, tw), runs(h, th));
        let mut out = vec![0; (tw * th) as usize];
        // SAFETY: The signature is that of the source; plane, runs and output have the sizes that are told.
        unsafe {
            let f = self.library.get::<Reduce>(b"all_reduce").unwrap();
            f(plane.as_ptr(), stride, columns.as_ptr(), rows.as_ptr(), tw, th, out.as_mut_ptr());
        }
        out
    }

    fn stack(&self, ring: &[u8], slots: u32, next: u32, gain: f32) -> Vec<f32> {
        type Stack = unsafe extern "C" fn(*const u8, u32, u32, u32, f32, *mut f32);
        let mut out = vec![0.0; ring.len()];
        let plane = (ring.len() as u32).div_euclid(slots);
        // SAFETY: As above.
        unsafe {
            let f = self.library.get::<Stack>(b"all_stack").unwrap();
            f(ring.as_ptr(), slots, next, plane, gain, out.as_mut_ptr());
        }
        out
    }
}

fn picture(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 2_654_435_761 + seed * 977) >> 7) as u8).collect()
}

#[test]
fn reducing_gives_the_core_s_bits() {
    let emulation = Emulation::new();
    for (k, (source, stride, target)) in [
        ((1280, 720), 1280, (336, 192)),
        ((1920, 1080), 2048, (336, 192)),
        ((640, 480), 640, (256, 192)),
        ((97, 61), 101, (40, 33)),
        ((20, 10), 20, (48, 32)),
        ((336, 192), 336, (336, 192)),
        ((1, 1), 1, (16, 16)),
    ]
    .into_iter()
    .enumerate()
    {
        let (w, h): (u32, u32) = source;
        let data = picture((stride * h) as usize, k);
        let plane = LumaPlane { data: &data, width: w, height: h, stride_bytes: stride as usize, full_range: true };
        let mut want = vec![0; (target.0 * target.1) as usize];
        Reducer::new(target.0 as usize, target.1 as usize).reduce(plane, &mut want);
        let got = emulation.reduce(&data, source, stride, target);
        assert!(
            got == want,
            "{source:?} to {target:?}: {} differ",
            got.iter().zip(&want).filter(|(a, b)| a != b).count()
        );
    }
}

/// A backend that keeps what its networks are given.
struct Keeper(Arc<Mutex<Vec<Vec<f32>>>>);

struct Kept(Arc<Mutex<Vec<Vec<f32>>>>, [TensorSpec; 1], [TensorSpec; 1]);

impl Backend for Keeper {
    fn name(&self) -> &'static str {
        "keeper"
    }

    fn load(&self, _: &Path, inputs: &[TensorSpec], outputs: &[TensorSpec]) -> Result<Box<dyn Network>, NetError> {
        Ok(Box::new(Kept(Arc::clone(&self.0), [inputs[0].clone()], [outputs[0].clone()])))
    }
}

impl Network for Kept {
    fn inputs(&self) -> &[TensorSpec] {
        &self.1
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.2
    }

    fn run(&mut self, inputs: &[&[f32]], _: &mut [&mut [f32]]) -> Result<(), NetError> {
        self.0.lock().unwrap().push(inputs[0].to_vec());
        Ok(())
    }
}

/// Of [`SOURCE_SIZE`], in video range.
struct Picture<'a>(&'a [u8]);

impl Luma for Picture<'_> {
    fn luma(&self) -> LumaPlane<'_> {
        let (width, height) = SOURCE_SIZE;
        LumaPlane { data: self.0, width, height, stride_bytes: width as usize, full_range: false }
    }
}

const SOURCE_SIZE: (u32, u32) = (640, 360);
const SLOTS: u32 = 5;

/// Pictures, what the core gives its network once its stack is half full, and the network's width and height.
type Prepared = (Vec<Vec<u8>>, Vec<Vec<f32>>, (u32, u32));

/// Seven pictures.
fn by_the_core() -> Prepared {
    let (w, h) = SOURCE_SIZE;
    let kept = Arc::new(Mutex::new(Vec::new()));
    let engine = Engine::load(&engine_file("av-small.toml")).unwrap();
    let mut embedder = VideoEmbedder::new(&engine, &Keeper(Arc::clone(&kept)), SOURCE_SIZE, 1.0, Some(96)).unwrap();
    let pictures: Vec<Vec<u8>> = (0..7).map(|k| picture((w * h) as usize, k)).collect();
    for data in &pictures {
        embedder.push(&Picture(data));
        embedder.run().unwrap();
    }
    let (tw, th) = embedder.net_size();
    let stacks = kept.lock().unwrap().clone();
    (pictures, stacks, (tw as u32, th as u32))
}

#[test]
fn stacking_gives_the_core_s_bits() {
    let emulation = Emulation::new();
    let (pictures, stacks, target) = by_the_core();
    let pixels = (target.0 * target.1) as usize;
    let mut ring = vec![0; pixels * SLOTS as usize];
    let mut got = Vec::new();
    for (k, data) in pictures.iter().enumerate() {
        let small = emulation.reduce(data, SOURCE_SIZE, SOURCE_SIZE.0, target);
        let places = if k == 0 { 0..SLOTS as usize } else { k % SLOTS as usize..k % SLOTS as usize + 1 };
        for place in places {
            ring[place * pixels..(place + 1) * pixels].copy_from_slice(&small);
        }
        got.push(emulation.stack(&ring, SLOTS, (k as u32 + 1) % SLOTS, 1.0 / 219.0));
    }
    // The core begins when the stack is half full.
    assert!(stacks.len() >= 4 && got[got.len() - stacks.len()..] == stacks, "the stacks differ");
}

/// NVRTC where `make test-tensorrt` puts it; the reason for a skip otherwise.
fn nvrtc() -> Result<Nvrtc, String> {
    let file = root().join(".deps/nvrtc/libnvrtc.so.13");
    Nvrtc::load(Some(file.as_path()).filter(|f| f.is_file()))
}

fn skipped(what: &str, why: &str) {
    // Straight to stderr: the harness keeps the output of tests that pass, and a skip must be seen.
    writeln!(std::io::stderr(), "prepare: skipped {what}: {why}").expect("stderr is open");
}

#[test]
fn the_kernels_compile_for_every_kind_of_gpu() {
    let nvrtc = match nvrtc() {
        Ok(nvrtc) => nvrtc,
        Err(why) => return skipped("compiling the kernels", &why),
    };
    for number in [75, 80, 86, 87, 89, 90, 100, 120] {
        let ptx = nvrtc.compile(SOURCE, "prepare.cu", &format!("compute_{number}"), &OPTIONS).unwrap();
        assert!(ptx.contains(&format!(".target sm_{number}")), "{ptx}");
        for kernel in ["reduce", "total", "stack"] {
            assert!(ptx.contains(&format!(".visible .entry {kernel}(")), "{number}: no {kernel}");
        }
        assert!(!ptx.contains("fma.rn.f32"), "{number}: fused, which the CPU does not do");
    }
    let why = nvrtc.compile(SOURCE, "prepare.cu", "compute_20", &OPTIONS).unwrap_err();
    assert!(why.contains("compute_20") && !why.contains('\n'), "{why}");
    let why = nvrtc.compile("int x = ;", "bad.cu", "compute_75", &[]).unwrap_err();
    assert!(why.contains("bad.cu(1)"), "{why}");
}

#[test]
fn a_gpu_gives_the_core_s_bits() {
    let (Ok(_), Ok(nvrtc)) = (Driver::start(), nvrtc()) else {
        return skipped("the kernels on a GPU", "no driver, no GPU or no NVRTC");
    };
    let (pictures, stacks, target) = by_the_core();
    let mut preparer = Preparer::new(&nvrtc, 0, SOURCE_SIZE, target, SLOTS).unwrap();
    let mut got = Vec::new();
    for data in &pictures {
        preparer.push(data).unwrap();
        got.push(preparer.stack(1.0 / 219.0).unwrap());
    }
    assert!(got[got.len() - stacks.len()..] == stacks, "the stacks differ");
}
