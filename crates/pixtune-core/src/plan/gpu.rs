//! Machines to train on: memory and speed as their makers publish them.

/// A graphics card.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gpu {
    /// The name on the command line.
    pub id: &'static str,
    /// Bytes of memory.
    pub memory: u64,
    /// Dense bfloat16 operations a second with float32 sums, in teraflops; `None` where only the memory is known.
    pub teraflops: Option<f64>,
    /// Where the numbers come from.
    pub source: &'static str,
}

const GIB: u64 = 1 << 30;

/// Every card that can be named.
pub const GPUS: &[Gpu] = &[
    Gpu {
        id: "h100-80gb",
        memory: 80 * GIB,
        teraflops: Some(989.0),
        source: "NVIDIA H100 datasheet, SXM: 989 teraflops dense in bfloat16",
    },
    Gpu {
        id: "h200-141gb",
        memory: 141_000_000_000,
        teraflops: Some(989.0),
        source: "NVIDIA H200 datasheet, SXM: 989 teraflops dense in bfloat16",
    },
    Gpu {
        id: "a100-80gb",
        memory: 80 * GIB,
        teraflops: Some(312.0),
        source: "NVIDIA A100 datasheet: 312 teraflops dense in bfloat16",
    },
    Gpu {
        id: "a100-40gb",
        memory: 40 * GIB,
        teraflops: Some(312.0),
        source: "NVIDIA A100 datasheet: 312 teraflops dense in bfloat16",
    },
    Gpu {
        id: "l40s-48gb",
        memory: 48 * GIB,
        teraflops: Some(362.0),
        source: "NVIDIA L40S datasheet: 362 teraflops dense in bfloat16",
    },
    Gpu {
        id: "rtx4090-24gb",
        memory: 24 * GIB,
        teraflops: Some(165.0),
        source: "NVIDIA Ada GPU architecture whitepaper, appendix A: 165 teraflops dense in bfloat16, summed in float32",
    },
    Gpu {
        id: "rtx3090-24gb",
        memory: 24 * GIB,
        teraflops: Some(71.0),
        source: "NVIDIA Ampere GA102 whitepaper, appendix A: 71 teraflops dense in bfloat16, summed in float32",
    },
    Gpu {
        id: "l4-24gb",
        memory: 24 * GIB,
        teraflops: Some(121.0),
        source: "NVIDIA L4 datasheet: 242 teraflops in bfloat16 with sparsity, half of it dense",
    },
];

impl Gpu {
    /// The card of this name.
    pub fn find(name: &str) -> Option<Gpu> {
        GPUS.iter().copied().find(|gpu| gpu.id.eq_ignore_ascii_case(name))
    }

    /// Some card with so much memory.
    pub fn of_memory(bytes: u64) -> Gpu {
        Gpu { id: "--vram", memory: bytes, teraflops: None, source: "as given" }
    }
}

/// The share of a card's published speed that training reaches, from and to.
pub const UTILISATION: (f64, f64) = (0.20, 0.45);

/// Where [`UTILISATION`] comes from.
pub const UTILISATION_SOURCE: &str = "upper end: Qwen3-14B, LoRA of rank 16 in bfloat16 with Unsloth on an H100 SXM at 5,600 tokens/s \
     (invergent-ai/surogate, docs/docs/reference/benchmarks.md, packed samples of 2,048 tokens), which is 45 % of 989 teraflops \
     at six operations a weight; lower end: a guess for trainers with their defaults";
