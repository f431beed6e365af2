//! How a server is started, and in which version.

use super::server::Server;

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

/// A server in one of its versions: `vllm-hf@0.32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerInVersion {
    /// The server.
    pub server: Server,
    /// The version, if the server is vLLM.
    pub vllm: VllmVersion,
}

/// Why a text names no server whose rules are known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message explains its variant and fields")]
pub enum UnknownServer {
    #[error("`{name}` is not one of {}", Server::ALL.map(Server::as_str).join(", "))]
    Name { name: String },
    #[error("the rules of {} are known for the versions {}, not for {version}: leave the version away, or merge the adapter", server.as_str(), server.versions().join(", "))]
    Version { server: Server, version: String },
}

impl std::str::FromStr for ServerInVersion {
    type Err = UnknownServer;

    fn from_str(text: &str) -> Result<ServerInVersion, UnknownServer> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let server = Server::parse(name).ok_or_else(|| UnknownServer::Name { name: name.to_owned() })?;
        let mut vllm = VllmVersion::default();
        if let Some(version) = version {
            let is_of = |known: &&&str| {
                version.strip_prefix(**known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let known = server.versions().iter().find(is_of);
            let known =
                known.ok_or_else(|| UnknownServer::Version { server, version: version.to_owned() })?;
            if *known == "0.32" {
                vllm = VllmVersion::V032;
            }
        }
        Ok(ServerInVersion { server, vllm })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_versions() {
        let parse = |text: &str| text.parse::<ServerInVersion>();
        let of = |server, vllm| Ok(ServerInVersion { server, vllm });
        assert_eq!(parse("vllm-hf"), of(Server::VllmHf, VllmVersion::V033));
        assert_eq!(parse("vllm-hf@0.32.1"), of(Server::VllmHf, VllmVersion::V032));
        assert_eq!(parse("vllm-mistral@0.33"), of(Server::VllmMistral, VllmVersion::V033));
        assert_eq!(parse("transformers@5.23.0"), of(Server::Transformers, VllmVersion::V033));
        for text in ["vllm-hf@0.3", "vllm-hf@0.330", "vllm-hf@", "transformers@4.57", "mistral-inference@2.0"]
        {
            assert!(matches!(parse(text), Err(UnknownServer::Version { .. })), "{text}");
        }
        assert!(matches!(parse("tgi"), Err(UnknownServer::Name { .. })));
    }
}
