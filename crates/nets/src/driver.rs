//! NVIDIA's driver: is it there, new enough, and does it have a device that will do?
//!
//! Asked before anything of CUDA or TensorRT is touched. Without a driver TensorRT 10 and 11 hand out pointers that are
//! none (`createInferRuntime`), and `cudarc` panics; here every such case is an error in one line. Only the driver's C
//! functions are used, which have not changed since CUDA 4, so that any driver can be asked.

use libloading::Library;
use std::ffi::{CStr, c_char, c_int, c_uint};
use std::fmt;
use std::path::{Path, PathBuf};

/// The driver's library as the system's loader knows it.
const FILE: &str = "libcuda.so.1";

/// A version of CUDA, or a compute capability: major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 13 of 13.0.
    pub major: u32,
    /// 0 of 13.0.
    pub minor: u32,
}

impl Version {
    /// `major.minor`.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl std::str::FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('.').and_then(|(a, b)| Some(Self::new(a.parse().ok()?, b.parse().ok()?)));
        parts.ok_or_else(|| format!("{text:?} is no version; expected two numbers, as in 8.6"))
    }
}

/// One GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Counted from 0, as the driver does.
    pub ordinal: usize,
    /// As the driver calls it.
    pub name: String,
    /// Compute capability, 8.6 for instance.
    pub compute: Version,
    /// All of its memory, bytes.
    pub memory_bytes: u64,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Their clock, kHz; 0 where the driver does not tell.
    pub clock_khz: u32,
    /// The memory's clock, kHz; 0 where the driver does not tell.
    pub memory_clock_khz: u32,
    /// Width of the memory's bus, bits.
    pub bus_bits: u32,
}

/// What a GPU can do at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// FP32 arithmetic, GFLOP/s, without tensor cores.
    pub fp32_gflops: f64,
    /// Memory, GB/s.
    pub gbytes_per_s: f64,
}

impl Device {
    /// The peak, from units and clocks: two operations a clock of each FP32 unit, two transfers a clock of the memory.
    /// `None` where the driver does not tell the clocks, or the kind of GPU is not known here.
    #[must_use]
    pub fn peak(&self) -> Option<Peak> {
        // CUDA C++ Programming Guide, "Compute Capabilities": FP32 units of a multiprocessor.
        let units = match (self.compute.major, self.compute.minor) {
            (7, 5) | (8, 0) => 64.0,
            (8, _) | (9..=12, _) => 128.0,
            _ => return None,
        };
        let [sm, clock, memory_clock, bus] =
            [self.multiprocessors, self.clock_khz, self.memory_clock_khz, self.bus_bits].map(f64::from);
        let peak =
            Peak { fp32_gflops: 2.0 * units * sm * clock / 1e6, gbytes_per_s: 2.0 * memory_clock * bus / 8.0 / 1e6 };
        (peak.fp32_gflops > 0.0 && peak.gbytes_per_s > 0.0).then_some(peak)
    }
}

/// What is asked of driver and device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// The CUDA that the libraries were built with: the driver must know this major version or a later one.
    pub cuda_major: u32,
    /// Lowest compute capability.
    pub compute: Version,
    /// Free memory, bytes.
    pub free_bytes: u64,
}

/// Why no GPU can be used. Each is one line that ends with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// No driver, or one that cannot be loaded.
    #[error(
        "no NVIDIA driver: {path} cannot be loaded ({why}); install the driver (in a container: start it with --gpus all), or use --backend onnxruntime-cpu"
    )]
    Missing {
        /// The library.
        path: PathBuf,
        /// The loader's words.
        why: String,
    },
    /// The library is not the driver's.
    #[error("{path} is not NVIDIA's driver: it has no {symbol}; reinstall the driver")]
    NotADriver {
        /// The library.
        path: PathBuf,
        /// The function that is missing.
        symbol: String,
    },
    /// The driver does not start.
    #[error("the NVIDIA driver does not start: {call} gives {code}, {meaning}")]
    Start {
        /// Which of its functions failed.
        call: &'static str,
        /// CUDA's number of the error.
        code: i32,
        /// What it means and what to do.
        meaning: &'static str,
    },
    /// The driver is older than the libraries.
    #[error(
        "the NVIDIA driver is too old: it knows CUDA {got}, the libraries here need CUDA {needed}; install driver {driver} or newer"
    )]
    Old {
        /// What the driver knows.
        got: Version,
        /// What the libraries need.
        needed: Version,
        /// The driver's version that has it.
        driver: &'static str,
    },
    /// A driver and no GPU.
    #[error("the NVIDIA driver finds no GPU; look at nvidia-smi, and at CUDA_VISIBLE_DEVICES")]
    NoDevice,
    /// No such GPU.
    #[error("there is no GPU {asked}: this machine has {count}, counted from 0; choose another with --gpu N")]
    NoSuchDevice {
        /// What was asked for.
        asked: usize,
        /// How many there are.
        count: usize,
    },
    /// The GPU is too old a kind.
    #[error(
        "GPU {ordinal} ({name}) has compute capability {got}, the libraries here need {needed}; use another GPU (--gpu N) or --backend onnxruntime-cpu"
    )]
    Compute {
        /// Which GPU.
        ordinal: usize,
        /// Its name.
        name: String,
        /// Of the GPU.
        got: Version,
        /// Of the libraries.
        needed: Version,
    },
    /// Other programs, or a small GPU.
    #[error(
        "GPU {ordinal} ({name}) has {free_mib} MiB of free memory, {needed_mib} MiB are needed; end other programs on it (nvidia-smi lists them), or use another GPU (--gpu N)"
    )]
    Memory {
        /// Which GPU.
        ordinal: usize,
        /// Its name.
        name: String,
        /// Free now.
        free_mib: u64,
        /// Needed.
        needed_mib: u64,
    },
}

type Result<T, E = DriverError> = std::result::Result<T, E>;

/// The driver, started, and its devices.
#[derive(Debug)]
pub struct Driver {
    functions: Functions,
    /// The newest CUDA that it knows.
    cuda: Version,
    devices: Vec<Device>,
}

/// What is called later; the library stays loaded with it.
struct Functions {
    retain: unsafe extern "C" fn(*mut *mut (), c_int) -> c_int,
    release: unsafe extern "C" fn(c_int) -> c_int,
    push: unsafe extern "C" fn(*mut ()) -> c_int,
    pop: unsafe extern "C" fn(*mut *mut ()) -> c_int,
    memory: unsafe extern "C" fn(*mut usize, *mut usize) -> c_int,
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Functions")
    }
}

impl Driver {
    /// Loads and starts the system's driver and asks for its devices.
    ///
    /// # Errors
    /// [`DriverError`], from [`DriverError::Missing`] to [`DriverError::NoDevice`].
    pub fn start() -> Result<Self> {
        Self::load(FILE.as_ref())
    }

    /// As [`Driver::start`], from a library by its path.
    ///
    /// # Errors
    /// As [`Driver::start`].
    pub fn load(path: &Path) -> Result<Self> {
        // SAFETY: Loading runs the library's initialisers. By default it is the system's driver, which every CUDA program
        // loads in the same way; another path is the caller's own choice.
        let library = unsafe { Library::new(path) }
            .map_err(|e| DriverError::Missing { path: path.to_owned(), why: crate::locate::innermost(&e) })?;
        let this = ask(&library, path);
        // Never unloaded, not even after a failure: the driver starts threads and keeps state of its own.
        std::mem::forget(library);
        this
    }

    /// The newest CUDA that the driver knows.
    #[must_use]
    pub fn cuda(&self) -> Version {
        self.cuda
    }

    /// All GPUs, in the driver's order; one at least.
    #[must_use]
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// The GPU of this number if driver and GPU have what is needed.
    ///
    /// # Errors
    /// [`DriverError`] from [`DriverError::Old`] on.
    pub fn device(&self, ordinal: usize, needs: &Needs) -> Result<&Device> {
        if self.cuda.major < needs.cuda_major {
            let driver = first_driver(needs.cuda_major);
            return Err(DriverError::Old { got: self.cuda, needed: Version::new(needs.cuda_major, 0), driver });
        }
        let count = self.devices.len();
        let device = self.devices.get(ordinal).ok_or(DriverError::NoSuchDevice { asked: ordinal, count })?;
        let name = || device.name.clone();
        if device.compute < needs.compute {
            return Err(DriverError::Compute { ordinal, name: name(), got: device.compute, needed: needs.compute });
        }
        let free = self.free_bytes(device)?;
        if free < needs.free_bytes {
            let (free_mib, needed_mib) = (free >> 20, needs.free_bytes.div_ceil(1 << 20));
            return Err(DriverError::Memory { ordinal, name: name(), free_mib, needed_mib });
        }
        Ok(device)
    }

    /// Memory of a GPU that nobody uses now, bytes.
    ///
    /// # Errors
    /// [`DriverError::Start`] when the GPU cannot be used at all.
    pub fn free_bytes(&self, device: &Device) -> Result<u64> {
        let f = &self.functions;
        let ordinal = c_int::try_from(device.ordinal).expect("the driver counts in int");
        let mut context = std::ptr::null_mut();
        // SAFETY: cuInit was called; the ordinal is the driver's own; it writes one pointer.
        check("cuDevicePrimaryCtxRetain", unsafe { (f.retain)(&raw mut context, ordinal) })?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: The context was retained just now, and is taken off this thread and released again below whatever the
        // call in between gives. Each writes to the pointers handed over and nowhere else.
        let result = unsafe {
            check("cuCtxPushCurrent", (f.push)(context)).and_then(|()| {
                let got = check("cuMemGetInfo", (f.memory)(&raw mut free, &raw mut total));
                got.and(check("cuCtxPopCurrent", (f.pop)(&raw mut context)))
            })
        };
        // SAFETY: Retained above, once.
        let released = check("cuDevicePrimaryCtxRelease", unsafe { (f.release)(ordinal) });
        result.and(released)?;
        Ok(u64::try_from(free).expect("usize is at most 64 bits"))
    }
}

/// Every question that needs no context.
fn ask(library: &Library, path: &Path) -> Result<Driver> {
    /// A function of the driver. The version with `_v2` in its name is the one that the headers mean since CUDA 4.
    macro_rules! function {
        ($name:literal, fn($($arg:ty),*)) => {{
            // SAFETY: The signature is the one of cuda.h for this name, unchanged since the function exists.
            let found = unsafe { library.get::<unsafe extern "C" fn($($arg),*) -> c_int>($name) };
            *found.map_err(|_| {
                let symbol = String::from_utf8_lossy($name).into_owned();
                DriverError::NotADriver { path: path.to_owned(), symbol }
            })?
        }};
    }
    let init = function!(b"cuInit", fn(c_uint));
    let version = function!(b"cuDriverGetVersion", fn(*mut c_int));
    let count = function!(b"cuDeviceGetCount", fn(*mut c_int));
    let get = function!(b"cuDeviceGet", fn(*mut c_int, c_int));
    let name = function!(b"cuDeviceGetName", fn(*mut c_char, c_int, c_int));
    let attribute = function!(b"cuDeviceGetAttribute", fn(*mut c_int, c_int, c_int));
    let total = function!(b"cuDeviceTotalMem_v2", fn(*mut usize, c_int));
    let functions = Functions {
        retain: function!(b"cuDevicePrimaryCtxRetain", fn(*mut *mut (), c_int)),
        release: function!(b"cuDevicePrimaryCtxRelease_v2", fn(c_int)),
        push: function!(b"cuCtxPushCurrent_v2", fn(*mut ())),
        pop: function!(b"cuCtxPopCurrent_v2", fn(*mut *mut ())),
        memory: function!(b"cuMemGetInfo_v2", fn(*mut usize, *mut usize)),
    };

    // SAFETY: May be called any number of times from any thread; 0 is the only flag there is.
    match check("cuInit", unsafe { init(0) }) {
        Err(DriverError::Start { code: 100, .. }) => return Err(DriverError::NoDevice),
        other => other?,
    }
    // The numbers are the driver's answers; below 0 would be its fault, and counts as none.
    let unsigned = |n: c_int| u32::try_from(n).unwrap_or(0);
    let mut n = 0;
    // SAFETY: Writes one int.
    check("cuDriverGetVersion", unsafe { version(&raw mut n) })?;
    let cuda = Version::new(unsigned(n).div_euclid(1000), (unsigned(n) % 1000).div_euclid(10));
    // SAFETY: Writes one int; cuInit was called.
    check("cuDeviceGetCount", unsafe { count(&raw mut n) })?;
    let mut devices = Vec::new();
    for ordinal in 0..n {
        let mut device = 0;
        // SAFETY: Writes one int; the ordinal is below the count.
        check("cuDeviceGet", unsafe { get(&raw mut device, ordinal) })?;
        let mut text: [c_char; 256] = [0; 256];
        // SAFETY: Writes at most 255 characters and a zero.
        check("cuDeviceGetName", unsafe { name(text.as_mut_ptr(), 255, device) })?;
        // SAFETY: The array was zeros, and its last element was not given away: there is a zero byte.
        let name = unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned();
        let (mut major, mut minor, mut bytes) = (0, 0, 0);
        // SAFETY: Each writes one number. 75 and 76 are COMPUTE_CAPABILITY_MAJOR and _MINOR.
        unsafe {
            check("cuDeviceGetAttribute", attribute(&raw mut major, 75, device))?;
            check("cuDeviceGetAttribute", attribute(&raw mut minor, 76, device))?;
            check("cuDeviceTotalMem", total(&raw mut bytes, device))?;
        }
        // MULTIPROCESSOR_COUNT, CLOCK_RATE, MEMORY_CLOCK_RATE, GLOBAL_MEMORY_BUS_WIDTH: what a driver does not tell is 0.
        let rest = [16, 13, 36, 37].map(|number| {
            let mut value = 0;
            // SAFETY: Writes one number.
            let told = unsafe { attribute(&raw mut value, number, device) } == 0;
            if told { unsigned(value) } else { 0 }
        });
        devices.push(Device {
            ordinal: devices.len(),
            name,
            compute: Version::new(unsigned(major), unsigned(minor)),
            memory_bytes: u64::try_from(bytes).expect("usize is at most 64 bits"),
            multiprocessors: rest[0],
            clock_khz: rest[1],
            memory_clock_khz: rest[2],
            bus_bits: rest[3],
        });
    }
    if devices.is_empty() { Err(DriverError::NoDevice) } else { Ok(Driver { functions, cuda, devices }) }
}

fn check(call: &'static str, code: c_int) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(DriverError::Start { call, code, meaning: meaning(code) }) }
}

/// The errors that a start meets, with what to do (cuda.h, `CUresult`).
fn meaning(code: c_int) -> &'static str {
    match code {
        2 => "out of memory; end other programs on the GPU (nvidia-smi lists them)",
        3 => "not initialised; load the kernel module: modprobe nvidia",
        34 => {
            "a stub of the CUDA toolkit in place of the driver; take its stubs/ folder out of LD_LIBRARY_PATH, install the driver"
        }
        46 => "the GPU is taken by another program alone (compute mode); nvidia-smi -c 0 lets several in",
        100 => "no GPU; look at nvidia-smi",
        802 => "the GPUs' fabric is not ready; start nvidia-fabricmanager",
        803 => "the library and the kernel module are of different versions; restart the machine after a driver update",
        804 => "this GPU does not take the compatibility package (cuda-compat); remove it, or install a newer driver",
        999 => "an unknown error; load the kernel module (modprobe nvidia-uvm) and look at dmesg",
        _ => "an error of the driver; look at nvidia-smi and dmesg",
    }
}

/// The first driver branch of a CUDA major version on Linux.
fn first_driver(cuda_major: u32) -> &'static str {
    match cuda_major {
        ..=11 => "450",
        12 => "525",
        _ => "580",
    }
}
