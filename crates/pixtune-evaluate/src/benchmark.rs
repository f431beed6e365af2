//! Published benchmarks: the columns of their files become conversations with references, and each prompt gets the instructions of
//! the chosen variant. Nothing is downloaded.

mod columns;
mod convert;
mod images;
mod layout;
mod prompts;

pub(crate) use convert::{DIRECTORY, convert};

use pixtune_core::score::{Family, Variant};

/// A benchmark whose files can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Benchmark {
    /// Questions about charts.
    ChartQa,
    /// Questions about scanned documents.
    DocVqa,
    /// Questions about infographics.
    InfoVqa,
    /// Questions about photos, with ten answers each.
    VqaV2,
    /// Questions about texts in photos, with ten answers each.
    TextVqa,
    /// Mathematics in images.
    MathVista,
    /// Questions of college exams, with several images.
    Mmmu,
    /// Conversations of several turns, for a judge.
    MmMtBench,
}

impl Benchmark {
    /// Every benchmark.
    pub const ALL: [Benchmark; 8] = [
        Benchmark::ChartQa,
        Benchmark::DocVqa,
        Benchmark::InfoVqa,
        Benchmark::VqaV2,
        Benchmark::TextVqa,
        Benchmark::MathVista,
        Benchmark::Mmmu,
        Benchmark::MmMtBench,
    ];

    /// The name on the command line.
    pub fn id(self) -> &'static str {
        match self {
            Benchmark::ChartQa => "chartqa",
            Benchmark::DocVqa => "docvqa",
            Benchmark::InfoVqa => "infovqa",
            Benchmark::VqaV2 => "vqav2",
            Benchmark::TextVqa => "textvqa",
            Benchmark::MathVista => "mathvista",
            Benchmark::Mmmu => "mmmu",
            Benchmark::MmMtBench => "mm-mt-bench",
        }
    }

    /// The benchmark of a name.
    pub fn find(id: &str) -> Option<Benchmark> {
        Benchmark::ALL.into_iter().find(|benchmark| benchmark.id() == id)
    }

    /// The metric and the variant that its scores are published with, by the rules of a variant. MM-MT-Bench is rated by a judge;
    /// its metric compares with the reference answers, which are sentences.
    pub fn metric(self, variant: Option<Variant>) -> (Family, Option<Variant>) {
        let variant = variant.unwrap_or(Variant::Mistral);
        match self {
            Benchmark::ChartQa if variant == Variant::Official => (Family::Relaxed, Some(Variant::Mistral)),
            Benchmark::ChartQa => (Family::Relaxed, Some(variant)),
            Benchmark::DocVqa | Benchmark::InfoVqa | Benchmark::MmMtBench => (Family::Anls, Some(variant)),
            Benchmark::VqaV2 | Benchmark::TextVqa => (Family::Vqa, Some(variant)),
            Benchmark::MathVista => (Family::Relaxed, Some(Variant::Mistral)),
            Benchmark::Mmmu if variant == Variant::Mistral => (Family::Relaxed, Some(variant)),
            Benchmark::Mmmu => (Family::Choice, Some(Variant::Official)),
        }
    }
}

/// A benchmark and what its prompts end with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchmarkChoice {
    /// Which one.
    pub benchmark: Benchmark,
    /// Whose prompts are used.
    pub variant: Variant,
    /// Instructions in place of the built-in ones.
    pub instructions: Option<String>,
}
