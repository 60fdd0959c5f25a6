//! NVRTC, NVIDIA's compiler as a library: CUDA C++ to PTX. It needs no GPU.
//!
//! Loaded here and not through `cudarc`, which knows neither folders nor CUDA 13's name of the library.

use crate::locate::innermost;
use libloading::Library;
use std::ffi::{CString, c_char, c_int};
use std::path::Path;

const REMEDY: &str = "install CUDA's NVRTC (package nvidia-cuda-nvrtc of PyPI)";

/// The compiler, loaded.
#[derive(Debug)]
pub struct Nvrtc {
    library: Library,
}

type Program = *mut ();

impl Nvrtc {
    /// From this file, or else from the system's loader: the newest major version that is there.
    ///
    /// # Errors
    /// What was tried, and the remedy.
    pub fn load(file: Option<&Path>) -> Result<Self, String> {
        let names = match file {
            Some(file) => vec![file],
            None => ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"].map(Path::new).to_vec(),
        };
        let mut why = String::new();
        for name in names {
            // SAFETY: Loading runs the library's initialisers; it is NVIDIA's, by name, or the caller's choice.
            match unsafe { Library::new(name) } {
                Ok(library) => return Ok(Self { library }),
                Err(e) => why = innermost(&e),
            }
        }
        Err(format!("no NVRTC ({why}); {REMEDY}"))
    }

    /// Compiles CUDA C++ for a virtual architecture, `compute_75`: PTX, which every GPU from that one on takes.
    ///
    /// # Errors
    /// What the compiler says.
    pub fn compile(&self, source: &str, name: &str, architecture: &str, options: &[&str]) -> Result<String, String> {
        /// A function of nvrtc.h.
        macro_rules! function {
            ($name:literal, fn($($arg:ty),*)) => {{
                // SAFETY: The signature is nvrtc.h's, the same since CUDA 7.
                let found = unsafe { self.library.get::<unsafe extern "C" fn($($arg),*) -> c_int>($name) };
                *found.map_err(|_| format!("is not NVRTC: it has no {}; {REMEDY}", String::from_utf8_lossy($name)))?
            }};
        }
        type Texts = *const *const c_char;
        let create =
            function!(b"nvrtcCreateProgram", fn(*mut Program, *const c_char, *const c_char, c_int, Texts, Texts));
        let compile = function!(b"nvrtcCompileProgram", fn(Program, c_int, Texts));
        let log_size = function!(b"nvrtcGetProgramLogSize", fn(Program, *mut usize));
        let log = function!(b"nvrtcGetProgramLog", fn(Program, *mut c_char));
        let ptx_size = function!(b"nvrtcGetPTXSize", fn(Program, *mut usize));
        let ptx = function!(b"nvrtcGetPTX", fn(Program, *mut c_char));
        let destroy = function!(b"nvrtcDestroyProgram", fn(*mut Program));

        let text = |t: &str| CString::new(t).map_err(|_| "a zero byte in a text for NVRTC".to_owned());
        let (source, name) = (text(source)?, text(name)?);
        let mut all = vec![text(&format!("--gpu-architecture={architecture}"))?];
        for option in options {
            all.push(text(option)?);
        }
        let all: Vec<*const c_char> = all.iter().map(|o| o.as_ptr()).collect();
        let mut program: Program = std::ptr::null_mut();
        // SAFETY: Both texts end with zero and outlive the call; no headers are given.
        let made =
            unsafe { create(&raw mut program, source.as_ptr(), name.as_ptr(), 0, std::ptr::null(), std::ptr::null()) };
        if made != 0 {
            return Err(format!("NVRTC makes no program (error {made})"));
        }
        let count = c_int::try_from(all.len()).expect("a handful of options");
        // SAFETY: The program is whole until it is destroyed below; the options are `count` texts that outlive the call.
        let compiled = unsafe { compile(program, count, all.as_ptr()) };
        let read = |size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
                    get: unsafe extern "C" fn(Program, *mut c_char) -> c_int| {
            let mut length = 0;
            // SAFETY: Writes one number.
            let sized = unsafe { size(program, &raw mut length) } == 0;
            let mut bytes = vec![0_u8; length];
            // SAFETY: Writes `length` bytes, its ending zero included.
            let got = sized && unsafe { get(program, bytes.as_mut_ptr().cast()) } == 0;
            bytes.truncate(length.saturating_sub(1));
            got.then(|| String::from_utf8_lossy(&bytes).into_owned())
        };
        let result = if compiled == 0 {
            read(ptx_size, ptx).ok_or_else(|| "NVRTC gives no PTX".to_owned())
        } else {
            let said = read(log_size, log).unwrap_or_default();
            let first = said.lines().find(|l| !l.trim().is_empty()).unwrap_or("no reason given").trim();
            Err(format!("NVRTC does not compile for {architecture} (error {compiled}): {first}"))
        };
        // SAFETY: Made above, destroyed once.
        unsafe { destroy(&raw mut program) };
        result
    }
}
