//! The metrics that users choose by name, and the variants of each.

/// What a user asks to be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// The same text.
    Exact,
    /// Numbers within five percent, texts without regard to case.
    Relaxed,
    /// The same, with the reference anywhere in the text.
    Anywhere,
    /// Normalized edit distance.
    Anls,
    /// The answer of three of ten people.
    Vqa,
    /// The letter of an option.
    Choice,
    /// The fields of a JSON object.
    Fields,
    /// The text holds a reference.
    Contains,
    /// Numbers within a tolerance.
    Number,
}

/// Whose rules are applied where programs differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// mistral-evals.
    Mistral,
    /// lmms-eval.
    Lmms,
    /// The script of the benchmark's authors.
    Official,
}

impl Variant {
    /// The name on the command line and beside scores.
    pub fn id(self) -> &'static str {
        match self {
            Variant::Mistral => "mistral",
            Variant::Lmms => "lmms",
            Variant::Official => "official",
        }
    }
}

impl Family {
    /// Every family, in the order of the documentation.
    pub const ALL: [Family; 9] = [
        Family::Exact,
        Family::Relaxed,
        Family::Anywhere,
        Family::Anls,
        Family::Vqa,
        Family::Choice,
        Family::Fields,
        Family::Contains,
        Family::Number,
    ];

    /// The name on the command line and beside scores.
    pub fn id(self) -> &'static str {
        match self {
            Family::Exact => "exact",
            Family::Relaxed => "relaxed",
            Family::Anywhere => "anywhere",
            Family::Anls => "anls",
            Family::Vqa => "vqa",
            Family::Choice => "mcq",
            Family::Fields => "json",
            Family::Contains => "contains",
            Family::Number => "number",
        }
    }

    /// The family of a name.
    pub fn find(id: &str) -> Option<Family> {
        Family::ALL.into_iter().find(|family| family.id() == id)
    }

    /// The variants that it has, the default first. Where all programs agree, or only one has it, there is none.
    pub fn variants(self) -> &'static [Variant] {
        match self {
            Family::Relaxed => &[Variant::Mistral, Variant::Lmms],
            Family::Anywhere => &[Variant::Mistral],
            Family::Anls | Family::Vqa => &[Variant::Mistral, Variant::Lmms, Variant::Official],
            Family::Choice => &[Variant::Official],
            Family::Exact | Family::Fields | Family::Contains | Family::Number => &[],
        }
    }

    /// An answer counts as right from this score on. ANLS has the threshold of DocVQA's challenge, VQA that of two people.
    pub fn right_from(self) -> f64 {
        match self {
            Family::Anls => 0.5,
            Family::Vqa => 0.6,
            _ => 1.0,
        }
    }

    /// How far numbers may be off unless something else is asked for.
    pub fn tolerance(self) -> f64 {
        match self {
            Family::Number => 0.05,
            _ => 0.0,
        }
    }
}

/// A metric has no such variant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the metric `{}` has no variant `{}`{}", family.id(), variant.id(), those_there_are(*family))]
pub struct NoVariant {
    /// The metric.
    pub family: Family,
    /// What was asked for.
    pub variant: Variant,
}

fn those_there_are(family: Family) -> String {
    let ids: Vec<String> = family.variants().iter().map(|variant| format!("`{}`", variant.id())).collect();
    if ids.is_empty() { String::new() } else { format!("; it has {}", ids.join(", ")) }
}
