//! Versions of Mistral's tokenizers.

/// The version of a tokenizer, which decides the layout of conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenizerVersion {
    /// Pixtral 12B.
    V3,
    /// Mistral Small 3.1.
    V7,
    /// Pixtral Large: the layout of v7 with a SentencePiece vocabulary.
    V7m1,
    /// Mistral Small 3.2.
    V11,
    /// Ministral 3, Magistral Small.
    V13,
    /// Mistral Small 4, Mistral Medium 3.5.
    V15,
}

impl TokenizerVersion {
    /// Every version, in order.
    pub const ALL: [TokenizerVersion; 6] = [
        TokenizerVersion::V3,
        TokenizerVersion::V7,
        TokenizerVersion::V7m1,
        TokenizerVersion::V11,
        TokenizerVersion::V13,
        TokenizerVersion::V15,
    ];

    /// The name, as Mistral writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            TokenizerVersion::V3 => "v3",
            TokenizerVersion::V7 => "v7",
            TokenizerVersion::V7m1 => "v7m1",
            TokenizerVersion::V11 => "v11",
            TokenizerVersion::V13 => "v13",
            TokenizerVersion::V15 => "v15",
        }
    }

    /// Finds the version of a Tekken vocabulary by its name.
    pub fn find_tekken(name: &str) -> Option<TokenizerVersion> {
        TokenizerVersion::ALL.into_iter().find(|version| version.is_tekken() && version.as_str() == name)
    }

    /// Whether the vocabulary is Tekken.
    pub fn is_tekken(self) -> bool {
        self != TokenizerVersion::V7m1
    }
}

impl std::fmt::Display for TokenizerVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
