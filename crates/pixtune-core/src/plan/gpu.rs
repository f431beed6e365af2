//! GPUs: memory as the driver reports it, speed as the vendor publishes it.

use crate::target::Method;

/// A GPU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gpu {
    /// The name on the command line.
    pub id: &'static str,
    /// Shorter unambiguous names.
    pub aliases: &'static [&'static str],
    /// Bytes of memory that the driver reports.
    pub memory: u64,
    /// Dense bfloat16 teraflops with float32 accumulation; `None` if only the memory is known.
    pub teraflops: Option<f64>,
    /// Where the numbers come from.
    pub source: &'static str,
    /// The share of the published speed that training reaches.
    pub reached: &'static Reached,
}

/// The share of a GPU's published speed that training reaches.
#[derive(Debug, PartialEq)]
pub struct Reached {
    /// The slow end, guessed.
    pub from: f64,
    /// The fast end, from published rates.
    pub to: f64,
    /// The source.
    pub source: &'static str,
}

/// Server GPUs.
const SERVER: Reached = Reached {
    from: 0.20,
    to: 0.54,
    source: "fast end published: Qwen3-14B, LoRA of rank 16 in bfloat16, packed samples of 2,048 tokens on an H100 SXM: 6,800 \
             tokens/s with Surogate, 5,600 with Unsloth, 5,200 with Unsloth and 4-bit weights (invergent-ai/surogate, \
             docs/docs/reference/benchmarks.md); at 13.2 billion weights (model page) and six operations a weight, as with \
             gradient checkpointing, 6,800 is 54% of 989 teraflops; slow end guess: trainers with their defaults",
};

/// Desktop GPUs: their tensor cores are slower, so the rest of the work matters less.
const DESKTOP: Reached = Reached {
    from: 0.20,
    to: 0.75,
    source: "fast end published for the RTX 5090, inferred for this GPU: Qwen3-8B, LoRA of rank 16 in bfloat16, packed \
             samples of 2,048 tokens: 3,800 tokens/s with Surogate, 3,500 with Unsloth, 3,400 with Unsloth and 4-bit weights \
             (invergent-ai/surogate, docs/docs/reference/benchmarks.md); at 6.95 billion weights (config.json) and six \
             operations a weight, as with gradient checkpointing, 3,800 is about 75% of 209.5 teraflops (NVIDIA RTX Blackwell \
             whitepaper); slow end guess: trainers with their defaults",
};

impl Reached {
    /// The shares with a method: unpacking 4-bit weights takes additional time, measured by Unsloth's loss on an H100.
    pub fn with(&self, method: Method) -> (f64, f64) {
        let remaining = if method == Method::Qlora { 5200.0 / 5600.0 } else { 1.0 };
        (self.from * remaining, self.to * remaining)
    }
}

const MIB: u64 = 1 << 20;

/// Every GPU that can be named.
pub const GPUS: &[Gpu] = &[
    Gpu {
        id: "h100-80gb",
        aliases: &["h100", "h100-sxm"],
        memory: 81_559 * MIB,
        teraflops: Some(989.0),
        source: "NVIDIA H100 datasheet, SXM: BFLOAT16 tensor core 1,979 teraflops with sparsity, half of it dense (the PCIe GPU \
                 reaches 756); 81,559 MiB in nvidia-smi",
        reached: &SERVER,
    },
    Gpu {
        id: "h200-141gb",
        aliases: &["h200", "h200-sxm"],
        memory: 143_771 * MIB,
        teraflops: Some(989.0),
        source: "NVIDIA H200 datasheet, SXM: BFLOAT16 tensor core 1,979 teraflops with sparsity, half of it dense; 143,771 MiB \
                 in nvidia-smi",
        reached: &SERVER,
    },
    Gpu {
        id: "a100-80gb",
        aliases: &[],
        memory: 81_920 * MIB,
        teraflops: Some(312.0),
        source: "NVIDIA A100 Tensor Core GPU architecture whitepaper, peak BF16 tensor with FP32 accumulate: 312 teraflops \
                 dense; 81,920 MiB in nvidia-smi",
        reached: &SERVER,
    },
    Gpu {
        id: "a100-40gb",
        aliases: &[],
        memory: 40_960 * MIB,
        teraflops: Some(312.0),
        source: "NVIDIA A100 Tensor Core GPU architecture whitepaper, peak BF16 tensor with FP32 accumulate: 312 teraflops \
                 dense; 40,960 MiB in nvidia-smi",
        reached: &SERVER,
    },
    Gpu {
        id: "l40s-48gb",
        aliases: &["l40s"],
        memory: 46_068 * MIB,
        teraflops: Some(362.0),
        source: "NVIDIA L40S datasheet: BFLOAT16 tensor core 362.05 teraflops dense, 733 with sparsity; 46,068 MiB in \
                 nvidia-smi, with ECC",
        reached: &SERVER,
    },
    Gpu {
        id: "rtx4090-24gb",
        aliases: &["rtx4090", "4090"],
        memory: 24_564 * MIB,
        teraflops: Some(165.2),
        source: "NVIDIA Ada GPU architecture whitepaper 2.1, appendix A, peak BF16 tensor with FP32 accumulate: 165.2 teraflops \
                 dense; 24,564 MiB in nvidia-smi",
        reached: &DESKTOP,
    },
    Gpu {
        id: "rtx3090-24gb",
        aliases: &["rtx3090", "3090"],
        memory: 24_576 * MIB,
        teraflops: Some(71.0),
        source: "NVIDIA Ampere GA102 GPU architecture whitepaper 2.1, appendix A, peak BF16 tensor with FP32 accumulate: 71 \
                 teraflops dense; 24,576 MiB in nvidia-smi",
        reached: &DESKTOP,
    },
    Gpu {
        id: "l4-24gb",
        aliases: &["l4"],
        memory: 23_034 * MIB,
        teraflops: Some(121.0),
        source: "NVIDIA L4 datasheet: BFLOAT16 tensor core 242 teraflops with sparsity, half of it dense; 23,034 MiB in \
                 nvidia-smi, with ECC; a GPU of 72 W: expect the slow end (guess)",
        reached: &SERVER,
    },
];

impl Gpu {
    /// Finds a GPU by its name.
    pub fn find(name: &str) -> Option<Gpu> {
        let means = |known: &&str| known.eq_ignore_ascii_case(name);
        GPUS.iter().copied().find(|gpu| means(&gpu.id) || gpu.aliases.iter().any(means))
    }

    /// An unspecified GPU with so much memory.
    pub fn of_memory(bytes: u64) -> Gpu {
        let source = "as given";
        Gpu { id: "--vram", aliases: &[], memory: bytes, teraflops: None, source, reached: &SERVER }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_unambiguous() {
        for gpu in GPUS {
            for name in gpu.aliases.iter().chain([&gpu.id]) {
                assert_eq!(Gpu::find(&name.to_uppercase()).unwrap().id, gpu.id);
            }
        }
        assert!(Gpu::find("a100").is_none(), "40 or 80 GB: nobody guesses");
    }
}
