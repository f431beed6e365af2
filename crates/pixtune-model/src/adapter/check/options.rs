//! How a server is started, and in which version.

/// Versions of vLLM that treat an adapter differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VllmVersion {
    /// 0.32.
    V032,
    /// 0.33.
    #[default]
    V033,
}

impl VllmVersion {
    /// The version that was read and measured.
    pub fn as_str(self) -> &'static str {
        match self {
            VllmVersion::V032 => "0.32.0",
            VllmVersion::V033 => "0.33.0",
        }
    }
}

/// What vLLM accepts as `--max-lora-rank` (vLLM 0.33.0 `config/lora.py`).
pub const VLLM_MAX_RANKS: [usize; 9] = [1, 8, 16, 32, 64, 128, 256, 320, 512];

/// The smallest `--max-lora-rank` that accepts a rank; `None` above the largest.
pub fn vllm_max_rank(rank: usize) -> Option<usize> {
    VLLM_MAX_RANKS.into_iter().find(|most| *most >= rank)
}

/// How to serve an adapter of a rank with vLLM.
pub fn vllm_rank_advice(rank: usize) -> String {
    match vllm_max_rank(rank) {
        Some(most) => format!("start vLLM with --max-lora-rank {most}"),
        None => "vLLM has no --max-lora-rank above 512: merge the adapter".to_owned(),
    }
}

/// How the server is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerOptions {
    /// The version of vLLM.
    pub vllm: VllmVersion,
    /// vLLM's `--enable-tower-connector-lora`.
    pub tower_connector: bool,
    /// vLLM's `--max-lora-rank`.
    pub max_rank: usize,
}

impl Default for ServerOptions {
    /// vLLM 0.33.0 `config/lora.py`.
    fn default() -> ServerOptions {
        ServerOptions { vllm: VllmVersion::default(), tower_connector: false, max_rank: 16 }
    }
}
