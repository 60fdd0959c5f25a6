//! Makes the backend that was asked for, or the best one that the machine can run.

use crate::kind::{Choice, Kind};
use crate::onnx_runtime::{OnnxRuntime, OnnxRuntimeOptions};
use crate::provider::GpuOptions;
use seehear::net::{Backend, NetError};
use std::path::PathBuf;

/// Any of the backends.
pub type AnyBackend = Box<dyn Backend + Send + Sync>;

/// How a backend is set up; each takes what concerns it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// ONNX Runtime's.
    pub onnxruntime: OnnxRuntimeOptions,
    /// Which GPU, and where built engines are kept.
    pub gpu: GpuOptions,
    /// Folder of TensorRT for RTX; `None` looks for it.
    pub tensorrt: Option<PathBuf>,
}

/// A backend and why it is this one.
pub struct Chosen {
    /// The backend, ready to open networks.
    pub backend: AnyBackend,
    /// Which one it is.
    pub kind: Kind,
    /// What `auto` tried before, with the error of each.
    pub passed_over: Vec<(Kind, String)>,
}

impl Chosen {
    /// What was chosen and why nothing better was, in one line; `None` where the user named it.
    #[must_use]
    pub fn explain(&self, choice: Choice) -> Option<String> {
        if choice != Choice::Auto {
            return None;
        }
        // A missing driver is the reason for all of them: said once.
        let mut reasons: Vec<(String, &str)> = Vec::new();
        for (kind, why) in &self.passed_over {
            match reasons.iter_mut().find(|(_, said)| said == why) {
                Some((kinds, _)) => *kinds = format!("{kinds}, {kind}"),
                None => reasons.push((kind.to_string(), why)),
            }
        }
        let reasons: Vec<String> = reasons.iter().map(|(kinds, why)| format!("not {kinds}: {why}")).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
        Some(format!("backend: {}{reasons}", self.kind))
    }
}

/// Makes the backend of this choice. With [`Choice::Auto`] the first that starts; what a backend finds out only when it
/// opens a network is an error then, and no other is tried.
///
/// # Errors
/// What the backend says; with `Auto` the last one's, the CPU's.
///
/// # Panics
/// With [`Choice::All`], which is more than one.
pub fn open(choice: Choice, options: &Options) -> Result<Chosen, NetError> {
    assert!(choice != Choice::All, "one backend is opened at a time");
    open_with(choice, |kind| start(kind, options))
}

fn open_with(choice: Choice, start: impl Fn(Kind) -> Result<AnyBackend, NetError>) -> Result<Chosen, NetError> {
    let mut passed_over = Vec::new();
    for kind in Kind::ALL {
        match choice {
            Choice::One(one) if one != kind => continue,
            _ => {}
        }
        match start(kind) {
            Ok(backend) => return Ok(Chosen { backend, kind, passed_over }),
            Err(error) if choice == Choice::Auto && kind.on_gpu() => passed_over.push((kind, reason(&error))),
            Err(error) => return Err(error),
        }
    }
    unreachable!("the last of all kinds is the CPU, which returns above")
}

/// An error's words without the backend's name, which stands beside them.
fn reason(error: &NetError) -> String {
    match error {
        NetError::Library { why, .. } => why.clone(),
        other => other.to_string(),
    }
}

fn start(kind: Kind, options: &Options) -> Result<AnyBackend, NetError> {
    let onnxruntime = options.onnxruntime.clone();
    Ok(match kind {
        Kind::OnnxRuntimeCpu => Box::new(OnnxRuntime::new(onnxruntime)?),
        Kind::OnnxRuntimeCuda | Kind::OnnxRuntimeTensorRt => {
            Box::new(OnnxRuntime::on_gpu(kind, onnxruntime, &options.gpu)?)
        }
        #[cfg(feature = "tensorrt")]
        Kind::TensorRt => Box::new(crate::TensorRt::new(&options.gpu, options.tensorrt.as_deref())?),
        #[cfg(not(feature = "tensorrt"))]
        Kind::TensorRt => return Err(not_built(kind)),
    })
}

#[cfg(not(feature = "tensorrt"))]
/// The direct path needs libclang to build, which not everybody has.
fn not_built(kind: Kind) -> NetError {
    let why = "this program was built without it; build it with --features tensorrt (docs/hardware.md), \
               or use --backend onnxruntime-tensorrt";
    NetError::Library { backend: kind.name(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seehear::net::{Network, TensorSpec};
    use std::path::Path;

    struct Fake(Kind);

    impl Backend for Fake {
        fn name(&self) -> &'static str {
            self.0.name()
        }

        fn load(&self, _: &Path, _: &[TensorSpec], _: &[TensorSpec]) -> Result<Box<dyn Network>, NetError> {
            unreachable!("no test opens a network")
        }
    }

    /// A machine that runs only these.
    fn machine(runs: &'static [Kind]) -> impl Fn(Kind) -> Result<AnyBackend, NetError> {
        move |kind| {
            if runs.contains(&kind) {
                return Ok(Box::new(Fake(kind)));
            }
            let why = if kind == Kind::TensorRt { "not built" } else { "no driver" };
            Err(NetError::Library { backend: kind.name(), why: why.to_owned() })
        }
    }

    #[test]
    fn auto_takes_the_first_that_runs_and_says_why_not_the_others() {
        let cases: [(&[Kind], Kind, &str); 3] = [
            (
                &[Kind::OnnxRuntimeCpu],
                Kind::OnnxRuntimeCpu,
                "backend: onnxruntime-cpu (not tensorrt: not built; not onnxruntime-tensorrt, onnxruntime-cuda: no driver)",
            ),
            (
                &[Kind::OnnxRuntimeCuda, Kind::OnnxRuntimeCpu],
                Kind::OnnxRuntimeCuda,
                "backend: onnxruntime-cuda (not tensorrt: not built; not onnxruntime-tensorrt: no driver)",
            ),
            (&[Kind::TensorRt, Kind::OnnxRuntimeCpu], Kind::TensorRt, "backend: tensorrt"),
        ];
        for (runs, kind, words) in cases {
            let chosen = open_with(Choice::Auto, machine(runs)).unwrap();
            assert_eq!((chosen.kind, chosen.backend.name()), (kind, kind.name()));
            assert_eq!(chosen.explain(Choice::Auto).as_deref(), Some(words));
        }
    }

    #[test]
    fn a_named_backend_is_that_one_or_an_error() {
        for kind in Kind::ALL {
            let chosen = open_with(Choice::One(kind), machine(&Kind::ALL)).unwrap();
            assert_eq!((chosen.kind, chosen.passed_over.len()), (kind, 0));
            assert_eq!(chosen.explain(Choice::One(kind)), None);
            let Err(error) = open_with(Choice::One(kind), machine(&[])) else { panic!("{kind} was opened") };
            assert!(error.to_string().starts_with(kind.name()), "{error}");
        }
    }

    #[test]
    fn without_any_auto_gives_the_cpu_s_error() {
        let Err(error) = open_with(Choice::Auto, machine(&[])) else { panic!("something was opened") };
        assert!(error.to_string().starts_with("onnxruntime-cpu: "), "{error}");
    }
}
