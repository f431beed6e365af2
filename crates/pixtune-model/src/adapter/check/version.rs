//! A server in one of its versions, as the command line has it.

use super::options::VllmVersion;
use super::server::Server;

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
