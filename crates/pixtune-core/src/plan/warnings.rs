//! What to know before training: too little data, one-sided data, samples that do not fit.

use super::{Dataset, Memory, Schedule, Warning, Wish};
use crate::quality::percent;
use crate::target::Method;
use crate::text::{counted, counted_as};

/// Every warning, the most serious first.
pub(super) fn all(dataset: &Dataset, wish: &Wish, schedule: &Schedule, memory: &Memory) -> Vec<Warning> {
    let mut warnings = Warnings::default();
    if dataset.train.samples == 0 {
        warnings.add("there are no samples to train on".to_owned(), "run `pixtune check` on the files");
        return warnings.0;
    }
    warnings.memory(wish, memory);
    warnings.too_long_samples(dataset, wish);
    warnings.little_data(dataset);
    warnings.few_steps(schedule);
    warnings.validation(dataset);
    warnings.answers(dataset);
    warnings.0
}

#[derive(Default)]
struct Warnings(Vec<Warning>);

impl Warnings {
    fn add(&mut self, message: String, hint: &'static str) {
        self.0.push(Warning { message, hint });
    }

    fn memory(&mut self, wish: &Wish, memory: &Memory) {
        if memory.micro.is_some() {
            return;
        }
        let gigabytes = |bytes: u64| format!("{:.0} GB", bytes as f64 / 1e9);
        let message = match (wish.method, memory.longest_that_fits) {
            (Method::Full, _) => {
                let gpus = memory.total().div_ceil(memory.budget.max(1));
                let needed = gigabytes(memory.total());
                format!(
                    "full training takes {needed}: {} of this size with sharded weights",
                    counted(gpus, "GPU")
                )
            }
            (_, 0) => format!("the weights alone do not fit into {}", gigabytes(wish.gpu.memory)),
            (_, fits) => {
                let samples = samples_are(memory.too_long);
                format!("{samples} longer than the {} that fit into the memory", counted(fits, "token"))
            }
        };
        let hint = match (wish.method, memory.longest_that_fits) {
            (Method::Full, _) => "`--method lora` trains adapters on one GPU",
            (Method::Lora, 0) => "use a larger GPU, or `--method qlora`",
            (Method::Qlora, 0) => "use a larger GPU, or a smaller model",
            (Method::Lora, _) => {
                "use a larger GPU, `--method qlora`, smaller images, or `prepare --max-tokens`"
            }
            (Method::Qlora, _) => "use a larger GPU, smaller images, or `prepare --max-tokens`",
        };
        self.add(message, hint);
    }

    fn too_long_samples(&mut self, dataset: &Dataset, wish: &Wish) {
        let overflow = dataset.train.lengths.above(wish.context);
        if overflow > 0 {
            let context = counted(wish.context, "token");
            let message = format!("{} longer than the context of {context}", samples_are(overflow));
            self.add(message, "`prepare --max-tokens` rejects and reports them");
        }
    }

    fn little_data(&mut self, dataset: &Dataset) {
        let train = &dataset.train;
        if train.samples < 100 {
            let samples = counted_as(train.samples, "sample teaches", "samples teach");
            self.add(
                format!("{samples} a format at best, hardly a skill"),
                "a few hundred good samples are a start; a few thousand are usual",
            );
        } else if train.trained_tokens < 20_000 {
            self.add(
                format!("only {} are trained per epoch", counted(train.trained_tokens, "token")),
                "short responses teach little: add samples, or write longer responses",
            );
        }
        let share = train.trained_tokens as f64 / train.tokens.max(1) as f64;
        if share < 0.02 && train.image_tokens * 2 > train.tokens {
            self.add(
                format!("only {} of tokens are trained; most of the others are image tokens", percent(share)),
                "smaller images train faster where details do not matter; several questions about one image share its cost in one \
                 conversation",
            );
        }
    }

    fn few_steps(&mut self, schedule: &Schedule) {
        let steps = schedule.advised_steps();
        if steps < 30 {
            let steps = counted_as(steps, "step is", "steps are");
            self.add(
                format!("{steps} few: the learning rate falls soon after warmup"),
                "use a smaller batch or more epochs",
            );
        }
    }

    fn validation(&mut self, dataset: &Dataset) {
        let samples = dataset.validation.samples;
        match samples {
            0 => self.add(
                "there is no validation split: overfitting will go unnoticed".to_owned(),
                "`prepare --validation 0.1` makes one of a tenth of the samples",
            ),
            1..50 => {
                let error = 100.0 / (samples as f64).sqrt();
                let has = counted(samples, "sample");
                let message = format!(
                    "the validation split has {has}: its accuracy is uncertain by ±{error:.0} points"
                );
                self.add(message, "use a few hundred if there are enough samples");
            }
            _ => {}
        }
    }

    fn answers(&mut self, dataset: &Dataset) {
        if let Some((answer, share)) = dataset.top_answer.as_ref().filter(|(_, share)| *share > 0.5) {
            self.add(
                format!("{} of responses are `{answer}`", percent(*share)),
                "balance the responses, or evaluate by more than accuracy",
            );
        }
        if dataset.doubtful_answers > 0 {
            let answers = counted_as(
                dataset.doubtful_answers,
                "response is a refusal or placeholder, or seems cut off",
                "responses are refusals or placeholders, or seem cut off",
            );
            self.add(answers, "`pixtune stats` lists them");
        }
        if dataset.refused > 0 {
            let rows = counted_as(dataset.refused, "row is", "rows are");
            self.add(format!("{rows} rejected and not counted"), "`pixtune check` explains them");
        }
    }
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

    fn warnings(samples: u64, tokens: u64, gpu: &str, method: Method) -> String {
        let plan = plan(dataset(samples, tokens), wish(gpu, method));
        plan.warnings.iter().map(|warning| warning.message.clone() + "\n").collect()
    }

    #[test]
    fn good_dataset_has_no_warnings() {
        assert_eq!(warnings(2000, 2000, "h100-80gb", Method::Lora), "");
    }

    #[test]
    fn warns_of_little_data_and_little_memory() {
        let few = warnings(20, 2000, "h100-80gb", Method::Lora);
        assert!(few.contains("a format at best") && few.contains("±71 points"), "{few}");
        assert!(warnings(2000, 2000, "l4-24gb", Method::Lora).contains("the weights alone do not fit"));
        assert!(warnings(2000, 2000, "h100-80gb", Method::Full).contains("GPUs of this size"));
        assert!(warnings(2000, 60_000, "a100-40gb", Method::Lora).contains("2,000 samples are longer than"));
    }
}
