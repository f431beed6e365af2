//! `pixtune plan`.

mod next;
mod whole;

use pixtune_core::plan::{
    ACTIVATIONS, Autograd, Basis, Figure, Fit, Machine, TrainingPlan, USABLE_WHY, Verdict, Wish, plan,
};
use pixtune_core::quality::percent;
use pixtune_core::target::Method;
use pixtune_core::text::{counted, grouped};
use pixtune_io::survey::Source;
use pixtune_io::verify::Inspection;

use super::counting::{Counting, outcome};
use super::{export, gpu, note_passed_over};
use crate::Outcome;
use crate::args::PlanArgs;
use crate::error::Error;
use crate::ui::{self, Format, Ui, Verbosity};

/// Counts the dataset and prints a plan for it.
pub fn run(args: PlanArgs, verbosity: Verbosity) -> Result<Outcome, Error> {
    let counting = Counting::new(&args.counting)?;
    let model = counting.model.spec;
    let shape = counting.model.shape();
    let shape =
        shape.ok_or_else(|| Error::argument(format!("the dimensions of {} are not published", model.id)))?;
    let shape = &*Box::leak(Box::new(shape));
    let gpu = gpu::gpu(&args.training)?;
    let (method, rank) = (args.training.method.into(), args.training.lora_rank);
    let whole = whole::parts(&args)?;
    let wish = Wish { shape, context: model.context as u64, gpu, method, rank, whole };
    let source = Source::open(&args.inputs)?;
    if source.files.is_empty() {
        return Err(Error::argument(
            "the input has images but no samples; convert a table to samples with `pixtune prepare`",
        ));
    }
    let mut ui = Ui::new(args.format, verbosity);
    note_passed_over(&source.notes, verbosity);
    let found = counting.survey(&source, Inspection::HEADERS, &mut ui)?;
    let plan = plan(found.dataset(counting.special_tokens()), wish);
    if let Some(name) = &args.emit {
        let configuration = export::configuration(name, args.base_model.as_deref(), &counting.model, &plan)?;
        ui::put(&configuration)?;
        return Ok(outcome(&found));
    }
    let commands = next::commands(&args, &counting.model, &plan);
    ui::put(&match args.format {
        Format::Json => plan.to_json(),
        Format::Human => Page::new(&plan).text(&commands),
    })?;
    Ok(outcome(&found))
}

/// The plan as text. Sources and reasons are numbered notes at the end.
struct Page<'p> {
    plan: &'p TrainingPlan,
    notes: Vec<&'static str>,
    out: String,
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// Maximum line length.
const COLUMNS: usize = 80;

/// A label and a text, wrapped with a hanging indent.
fn wrapped(label: &str, text: &str) -> String {
    let indent = label.chars().count();
    let (mut out, mut column) = (label.to_owned(), indent);
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > indent && column + 1 + length > COLUMNS {
            out.push_str(&format!("\n{:indent$}", ""));
            column = indent;
        }
        if column > indent {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
    out
}

/// `50 s`, `12 min`, `3.4 h`, `2.1 days`
fn duration(seconds: f64) -> String {
    match seconds {
        _ if seconds < 90.0 => format!("{seconds:.0} s"),
        _ if seconds < 90.0 * 60.0 => format!("{:.0} min", seconds / 60.0),
        _ if seconds < 48.0 * 3600.0 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

fn range((from, to): (f64, f64)) -> String {
    let (from, to) = (duration(from), duration(to));
    if from == to { from } else { format!("{from} to {to}") }
}

impl<'p> Page<'p> {
    fn new(plan: &'p TrainingPlan) -> Page<'p> {
        Page { plan, notes: Vec::new(), out: String::new() }
    }

    fn text(mut self, commands: &[Vec<String>]) -> String {
        self.data();
        self.schedule();
        self.memory();
        self.time();
        self.machines();
        self.fits();
        self.warnings();
        for (index, note) in self.notes.iter().enumerate() {
            if index == 0 {
                self.out.push('\n');
            }
            self.out.push_str(&wrapped(&format!("[{}] ", index + 1), note));
        }
        if !commands.is_empty() {
            self.out.push_str("\nnext, with `pixtune train`\n");
            commands.iter().for_each(|command| self.out.push_str(&next::folded(command, COLUMNS)));
        }
        self.out
    }

    fn row(&mut self, name: &str, value: &str, basis: &str) {
        let line = format!("{name:<16}{value:<36} {basis}");
        self.out.push_str(line.trim_end());
        self.out.push('\n');
    }

    /// `computed`, `published [1]`, `guess [2]`
    fn basis(&mut self, basis: Basis) -> String {
        match basis.source() {
            None => basis.as_str().to_owned(),
            Some(source) => format!("{} [{}]", basis.as_str(), self.note(source)),
        }
    }

    fn note(&mut self, text: &'static str) -> usize {
        match self.notes.iter().position(|note| *note == text) {
            Some(at) => at + 1,
            None => {
                self.notes.push(text);
                self.notes.len()
            }
        }
    }

    fn figure(&mut self, name: &str, value: &str, figure: Figure) {
        let basis = self.basis(figure.basis);
        self.row(name, value, &basis);
    }

    fn data(&mut self) {
        let plan = self.plan;
        let (train, validation) = (&plan.dataset.train, &plan.dataset.validation);
        let method = match plan.wish.method {
            Method::Full => "full fine-tuning".to_owned(),
            Method::Lora => format!("LoRA rank {}", plan.wish.rank),
            Method::Qlora => format!("QLoRA rank {}", plan.wish.rank),
        };
        let method = match plan.wish.whole.list() {
            Some(list) => format!("{method} and whole {}", list.replace(',', " and ")),
            None => method,
        };
        let (id, memory) = (plan.wish.gpu.id, gigabytes(plan.wish.gpu.memory));
        let gpu =
            if id.starts_with("--") { format!("a GPU with {memory}") } else { format!("{id} ({memory})") };
        let sizes = self.note(plan.wish.shape.source);
        self.out.push_str(&wrapped(
            &format!("{:<16}", "model"),
            &format!("{} [{sizes}], {method}, on {gpu}", plan.wish.shape.id),
        ));
        let how = plan.dataset.special_tokens.unwrap_or("computed");
        self.row(
            "samples",
            &format!("{} training, {} validation", grouped(train.samples), grouped(validation.samples)),
            how,
        );
        let share = train.trained_tokens as f64 / train.tokens.max(1) as f64;
        self.row(
            "tokens",
            &format!(
                "{}, {} trained ({})",
                grouped(train.tokens),
                grouped(train.trained_tokens),
                percent(share)
            ),
            how,
        );
        self.row(
            "  per sample",
            &format!(
                "mean {}, maximum {}",
                grouped(train.lengths.mean().round() as u64),
                grouped(train.lengths.max())
            ),
            how,
        );
    }

    fn schedule(&mut self) {
        let schedule = &self.plan.schedule;
        self.out.push('\n');
        let tokens = schedule.batch.value * self.plan.dataset.train.lengths.mean();
        let batch = format!(
            "{}, about {}",
            counted(schedule.batch.value as u64, "sample"),
            counted(tokens as u64, "token")
        );
        self.figure("batch", &batch, schedule.batch);
        let steps: Vec<String> = schedule
            .epochs
            .iter()
            .zip(schedule.steps)
            .map(|(epochs, steps)| format!("{} for {epochs}", grouped(steps)))
            .collect();
        self.row("steps", &(steps.join(", ") + " epochs"), "computed");
        self.figure(
            "recommended",
            &counted(schedule.advised_epochs.value as u64, "epoch"),
            schedule.advised_epochs,
        );
        self.figure("learning rate", &format!("{:e}", schedule.learning_rate.value), schedule.learning_rate);
        self.figure("  maximum", &format!("{:e}", schedule.largest_rate.value), schedule.largest_rate);
        let warmup =
            format!("{} of steps: {}", percent(schedule.warmup.value), grouped(schedule.warmup_steps));
        self.figure("warmup", &warmup, schedule.warmup);
    }

    fn memory(&mut self) {
        let memory = &self.plan.memory;
        self.out.push('\n');
        self.row("memory", &gigabytes(memory.total()), "computed");
        let usable = self.basis(Basis::Guess(USABLE_WHY));
        let budget = format!("{} of {}", gigabytes(memory.budget), gigabytes(self.plan.wish.gpu.memory));
        self.row("  usable", &budget, &usable);
        for part in &memory.parts {
            let basis = match part.name {
                "activations" => format!("computed [{}]", self.note(ACTIVATIONS)),
                _ => self.basis(part.basis),
            };
            self.row(&format!("  {}", gigabytes(part.bytes)), part.name, &basis);
            if part.formula != "fixed" {
                self.out.push_str(&wrapped(&format!("{:16}= ", ""), &part.formula));
            }
        }
        match memory.micro {
            Some(micro) => {
                let steps = self.plan.schedule.accumulate.unwrap_or(1);
                let value = format!("{}, {} per step", counted(micro.tokens, "token"), grouped(steps));
                self.row("micro-batch", &value, "computed");
                self.row("  maximum", &counted(micro.fits, "token"), "computed");
                let how = if micro.recompute {
                    "recomputed in the backward pass (gradient checkpointing)"
                } else {
                    "saved for the backward pass (no gradient checkpointing)"
                };
                self.row("  activations", how, "");
            }
            None => {
                let fits = match memory.longest_that_fits {
                    0 => "does not fit".to_owned(),
                    fits => format!("none; the maximum is {}", counted(fits, "token")),
                };
                self.row("micro-batch", &fits, "computed");
            }
        }
        if let Some(autograd) = memory.autograd.filter(|autograd| autograd.fits.1 > 0) {
            self.autograd(autograd);
        }
    }

    /// The same for trainers that use PyTorch's autograd.
    fn autograd(&mut self, Autograd { token_bytes, fits }: Autograd) {
        let basis = format!("computed [{}]", self.note(Autograd::SOURCE));
        for (name, fits, bytes) in
            [("transformers", fits.0, token_bytes.0), ("  checkpointed", fits.1, token_bytes.1)]
        {
            let value =
                format!("at most {} ({:.1} MB per token)", counted(fits, "token"), bytes as f64 / 1e6);
            self.row(name, &value, &basis);
        }
    }

    fn time(&mut self) {
        let time = self.plan.time;
        self.out.push('\n');
        let work = format!(
            "{:.1} PFLOP ({:.0} GFLOP per token)",
            time.operations / 1e15,
            time.operations_a_token / 1e9
        );
        self.row("work per epoch", &work, "computed");
        let Some(epoch) = time.seconds_an_epoch.filter(|_| self.plan.memory.micro.is_some()) else {
            return;
        };
        let basis = self.note(self.plan.wish.gpu.reached.source);
        let peak = self.note(self.plan.wish.gpu.source);
        let published = format!("published/guess [{basis}] [{peak}]");
        self.row("time per epoch", &range(epoch), &published);
        let epochs = self.plan.schedule.advised_epochs.value;
        let all = (epoch.0 * epochs, epoch.1 * epochs);
        self.row(&format!("  {}", counted(epochs as u64, "epoch")), &range(all), &published);
        if let Some((from, to)) = time.tokens_a_second {
            self.row(
                "  tokens/s",
                &format!("{} to {}", grouped(from as u64), grouped(to as u64)),
                &published,
            );
        }
    }

    fn machines(&mut self) {
        self.out.push_str(&format!(
            "\n{:<16}{:<8}{:>14}  {:<12}  {}\n",
            "GPU", "method", "micro-batch", "activations", "per epoch"
        ));
        for Machine { gpu, method, micro, seconds_an_epoch } in &self.plan.machines {
            let (tokens, how) = match micro {
                Some(micro) => (grouped(micro.tokens), if micro.recompute { "recomputed" } else { "saved" }),
                None => ("does not fit".to_owned(), ""),
            };
            let time = seconds_an_epoch.map(range).unwrap_or_default();
            let line = format!("{:<16}{:<8}{tokens:>14}  {how:<12}  {time}", gpu.id, method.as_str());
            self.out.push_str(line.trim_end());
            self.out.push('\n');
        }
        self.out.push_str("based on published throughput; `--gpu` shows the source\n");
    }

    fn fits(&mut self) {
        self.out.push_str("\ncompatible trainers\n");
        for fit in &self.plan.fits {
            let Fit { target, settings, changes, notes } = fit;
            let verdict = match fit.verdict() {
                Verdict::AsItIs => "as it is",
                Verdict::WithSettings => "with settings",
                Verdict::AfterChanges => "after changes",
            };
            self.out.push_str(&format!("  {:<28}{verdict}\n", target.name));
            for (word, texts) in [("change", changes), ("set", settings), ("note", notes)] {
                for text in texts {
                    self.out.push_str(&wrapped(&format!("    {word:<8}"), text));
                }
            }
            self.out.push_str(&wrapped(&format!("    {:<8}", "source"), target.sources));
        }
    }

    fn warnings(&mut self) {
        for warning in &self.plan.warnings {
            self.out.push('\n');
            self.out.push_str(&wrapped("warning: ", &warning.message));
            self.out.push_str(&wrapped("  hint: ", warning.hint));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_long_texts_with_a_hanging_indent() {
        let text = wrapped("  hint: ", &"word ".repeat(40));
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        assert!(
            text.lines().skip(1).all(|line| line.starts_with("        word") || line.trim().is_empty()),
            "{text}"
        );
        assert_eq!(wrapped("a ", &"x".repeat(100)), format!("a {}\n", "x".repeat(100)));
    }

    #[test]
    fn formats_durations_and_ranges() {
        let text = [0.4, 61.0, 600.0, 7200.0, 400_000.0].map(duration);
        assert_eq!(text, ["0 s", "61 s", "10 min", "2.0 h", "4.6 days"]);
        assert_eq!(range((1.0, 3.0)), "1 s to 3 s");
    }
}
