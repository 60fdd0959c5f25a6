//! The backends by name.

use std::fmt;
use std::str::FromStr;

/// What computes the networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// ONNX Runtime on the CPU.
    OnnxRuntimeCpu,
    /// ONNX Runtime's CUDA provider.
    OnnxRuntimeCuda,
    /// ONNX Runtime's TensorRT provider, with CUDA for what TensorRT leaves.
    OnnxRuntimeTensorRt,
    /// TensorRT for RTX itself.
    TensorRt,
}

impl Kind {
    /// All, in the order in which `auto` tries them: the fastest first.
    pub const ALL: [Self; 4] = [Self::TensorRt, Self::OnnxRuntimeTensorRt, Self::OnnxRuntimeCuda, Self::OnnxRuntimeCpu];

    /// As in `--backend` and in the events' header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OnnxRuntimeCpu => "onnxruntime-cpu",
            Self::OnnxRuntimeCuda => "onnxruntime-cuda",
            Self::OnnxRuntimeTensorRt => "onnxruntime-tensorrt",
            Self::TensorRt => "tensorrt",
        }
    }

    /// True where a GPU computes.
    #[must_use]
    pub const fn on_gpu(self) -> bool {
        !matches!(self, Self::OnnxRuntimeCpu)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a user asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This one or an error.
    One(Kind),
    /// The first of [`Kind::ALL`] that this machine can run.
    Auto,
    /// Each of them in turn, where that makes sense: to measure.
    All,
}

impl Default for Choice {
    fn default() -> Self {
        Self::One(Kind::OnnxRuntimeCpu)
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        if text == "all" {
            return Ok(Self::All);
        }
        Kind::ALL.into_iter().find(|kind| kind.name() == text).map(Self::One).ok_or_else(|| {
            let names: Vec<&str> = Kind::ALL.iter().rev().map(|kind| kind.name()).collect();
            format!("no backend {text:?}; there are {}, auto", names.join(", "))
        })
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(kind) => kind.fmt(f),
            Self::Auto => f.write_str("auto"),
            Self::All => f.write_str("all"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(Choice::One(kind)));
        }
        assert_eq!(("auto".parse(), "all".parse()), (Ok(Choice::Auto), Ok(Choice::All)));
        let why = "cuda".parse::<Choice>().unwrap_err();
        assert!(
            why.contains("\"cuda\"") && why.contains("onnxruntime-cuda, onnxruntime-tensorrt, tensorrt, auto"),
            "{why}"
        );
    }
}
