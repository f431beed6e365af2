//! What to know before starting: too little data, one-sided data, samples that do not fit.

use super::{Dataset, Memory, Schedule, Warning, Wish};
use crate::quality::percent;
use crate::target::Method;
use crate::text::{counted_as, grouped};

/// Everything worth a warning, the worst first.
pub(super) fn all(dataset: &Dataset, wish: &Wish, schedule: &Schedule, memory: &Memory) -> Vec<Warning> {
    let mut out = Vec::new();
    let mut warn = |condition: bool, message: &dyn Fn() -> String, hint| {
        if condition {
            out.push(Warning { message: message(), hint });
        }
    };
    let (train, held_out) = (&dataset.train, &dataset.validation);
    let samples = train.samples;
    warn(samples == 0, &|| "there is no sample to train on".into(), "see what `pixtune check` says");
    if samples == 0 {
        return out;
    }
    let too_long = memory.too_long;
    warn(
        memory.micro.is_none() && wish.method == Method::Full,
        &|| {
            let cards = memory.total().div_ceil(memory.budget.max(1));
            format!(
                "full training takes {:.0} GB, {cards} cards of this size with sharded weights",
                memory.total() as f64 / 1e9
            )
        },
        "`--method lora` trains adapters on one card",
    );
    warn(
        memory.micro.is_none() && wish.method != Method::Full,
        &|| match memory.longest_that_fits {
            0 => format!("the weights alone do not fit into {:.0} GB", wish.gpu.memory as f64 / 1e9),
            fits => format!(
                "{} longer than the {} tokens that fit into the memory",
                samples_are(too_long),
                grouped(fits)
            ),
        },
        match (memory.longest_that_fits, wish.method) {
            (0, Method::Lora) => "a larger card, or `--method qlora`",
            (0, _) => "a larger card, or a smaller model",
            (_, Method::Lora) => "a larger card, `--method qlora`, smaller images, or `prepare --max-tokens`",
            _ => "a larger card, smaller images, or `prepare --max-tokens`",
        },
    );
    let overflow = train.lengths.above(wish.context);
    warn(
        overflow > 0,
        &|| format!("{} longer than the context of {} tokens", samples_are(overflow), grouped(wish.context)),
        "`prepare --max-tokens` leaves them out and says so",
    );
    warn(
        samples < 100,
        &|| {
            format!(
                "{} a format at best, hardly a skill",
                counted_as(samples, "sample teaches", "samples teach")
            )
        },
        "a few hundred good samples are a start; some thousands are usual",
    );
    warn(
        samples >= 100 && train.trained_tokens < 20_000,
        &|| format!("only {} tokens are trained in an epoch", grouped(train.trained_tokens)),
        "short answers teach little each: more samples, or answers that say more",
    );
    let share = train.trained_tokens as f64 / train.tokens.max(1) as f64;
    warn(
        share < 0.02 && train.image_tokens * 2 > train.tokens,
        &|| format!("{} of tokens are trained, the rest is read: mostly images", percent(share)),
        "smaller images train faster where details do not matter; several questions about one image share its cost in one conversation",
    );
    warn(
        schedule.advised_steps() < 30,
        &|| format!("{} steps are few: the rate has hardly risen before it falls", schedule.advised_steps()),
        "a smaller batch or more epochs give more steps",
    );
    warn(
        held_out.samples == 0,
        &|| "nothing is held out: overfitting will not show".into(),
        "`prepare --validation 0.1` holds a tenth out",
    );
    warn(
        (1..50).contains(&held_out.samples),
        &|| {
            let error = 100.0 / (held_out.samples as f64).sqrt();
            let (are, them) =
                (samples_are(held_out.samples), if held_out.samples == 1 { "it" } else { "them" });
            format!("{are} held out: an accuracy measured on {them} is uncertain by ±{error:.0} points")
        },
        "hold out a few hundred where there are enough",
    );
    if let Some((answer, share)) = &dataset.top_answer {
        warn(
            *share > 0.5,
            &|| format!("{} of answers are `{answer}`", percent(*share)),
            "balance the answers, or judge by more than accuracy",
        );
    }
    warn(
        dataset.doubtful_answers > 0,
        &|| format!("answers that refuse, are placeholders or seem cut off: {}", dataset.doubtful_answers),
        "`pixtune stats` names them",
    );
    warn(
        dataset.refused > 0,
        &|| format!("lines that are refused and not counted: {}", dataset.refused),
        "`pixtune check` says why",
    );
    out
}

/// `1 sample is`, `2,000 samples are`
fn samples_are(count: u64) -> String {
    counted_as(count, "sample is", "samples are")
}

#[cfg(test)]
mod tests {
    use super::super::plan;
    use super::super::tests::{dataset, wish};
    use crate::target::Method;

    fn told(samples: u64, tokens: u64, gpu: &str, method: Method) -> String {
        let plan = plan(dataset(samples, tokens), wish(gpu, method));
        plan.warnings.iter().map(|warning| warning.message.clone() + "\n").collect()
    }

    #[test]
    fn a_good_set_has_no_warning() {
        assert_eq!(told(2000, 2000, "h100-80gb", Method::Lora), "");
    }

    #[test]
    fn little_data_and_little_memory_are_told() {
        let few = told(20, 2000, "h100-80gb", Method::Lora);
        assert!(few.contains("a format at best") && few.contains("±71 points"), "{few}");
        assert!(told(2000, 2000, "l4-24gb", Method::Lora).contains("the weights alone do not fit"));
        assert!(told(2000, 2000, "h100-80gb", Method::Full).contains("cards of this size"));
        assert!(told(2000, 60_000, "a100-40gb", Method::Lora).contains("2,000 samples are longer than"));
    }
}
