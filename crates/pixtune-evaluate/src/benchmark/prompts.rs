//! What a prompt says after the question: in our own words what the harness of a variant asks for.

use pixtune_core::score::Variant;

use super::Benchmark;

const CHART: &str = "Examine the image and work towards the answer step by step: describe what is shown, then reason. \
    End with one line of this form:\nFinal Answer: <answer>\nRules for <answer>:\n- one number or one short phrase\n- words of the \
    image exactly as they are written there\n- ratios as decimal numbers: 0.5, not 1:2\n- Yes or No for questions that ask for it\n- \
    numbers without a unit\n- percentages with a % sign\n- names with their complete label";

const EXAM: &str = "Examine the image and work towards the answer step by step: describe what is shown, then reason. \
    End with one line of this form:\nFinal Answer: <answer>\nRules for <answer>:\n- if options are listed, the letter of one of them \
    and nothing else\n- otherwise one number or one short phrase\n- numbers without a unit\n- words of the image exactly as they are \
    written there\n- an answer in every case, also if it is uncertain";

const PHOTO: &str = "Reply with as few words as possible.\n- numbers as digits, without a unit\n- Yes or No alone if the question asks \
    for it\n- an answer in every case, also if it is uncertain";

const DOCUMENT: &str = "Reply with a single word or phrase of the document.";

/// The instructions of a variant; none for MM-MT-Bench, and for the benchmark's own prompts, which are the questions alone.
pub(super) fn instructions(benchmark: Benchmark, variant: Variant) -> Option<&'static str> {
    match (variant, benchmark) {
        (_, Benchmark::MmMtBench) | (Variant::Official, _) => None,
        (Variant::Mistral, Benchmark::ChartQa) => Some(CHART),
        (Variant::Mistral, Benchmark::MathVista | Benchmark::Mmmu) => Some(EXAM),
        (Variant::Mistral, Benchmark::VqaV2 | Benchmark::TextVqa) => Some(PHOTO),
        (Variant::Mistral, Benchmark::DocVqa | Benchmark::InfoVqa) => Some(DOCUMENT),
        (Variant::Lmms, Benchmark::ChartQa) => Some("Reply with a single word."),
        (Variant::Lmms, Benchmark::Mmmu | Benchmark::MathVista) => {
            Some("Reply with the letter of an option, or with a single word or phrase.")
        }
        (Variant::Lmms, _) => Some("Reply with a single word or phrase."),
    }
}
