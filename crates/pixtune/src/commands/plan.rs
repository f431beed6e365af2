//! `pixtune plan`.

use pixtune_core::plan::{
    ACTIVATIONS, Autograd, Basis, Figure, GPUS, Gpu, Machine, Method, ModelShape, Platform, TrainingPlan,
    USABLE_WHY, Verdict, Wish, plan,
};
use pixtune_core::quality::percent;
use pixtune_core::text::{counted, grouped};
use pixtune_io::prepare::parse_bytes;
use pixtune_io::survey::{Look, Source};

use super::choose;
use super::counting::Counting;
use crate::Outcome;
use crate::args::{MethodArg, PlanArgs};
use crate::error::Error;
use crate::ui::{self, Format, Ui};

/// Counts the set and makes a plan of it.
pub fn run(args: PlanArgs) -> Result<Outcome, Error> {
    let counting = Counting::new(&args.counting)?;
    let model = counting.model;
    let shape = ModelShape::of(model)
        .ok_or_else(|| Error::argument(format!("the sizes of {} are not known", model.id)))?;
    let gpu = gpu(&args)?;
    let method = match args.method {
        MethodArg::Lora => Method::Lora,
        MethodArg::Qlora => Method::Qlora,
        MethodArg::Full => Method::Full,
    };
    let wish = Wish { shape, context: model.context as u64, gpu, method, rank: args.lora_rank };
    let source = Source::open(&args.inputs)?;
    if source.files.is_empty() {
        return Err(Error::argument(
            "there are images and no samples; `pixtune prepare` makes samples of a table",
        ));
    }
    let mut ui = Ui::new(args.format, args.counting.quiet);
    let found = counting.survey(&source, Look::Header, &mut ui)?;
    let plan = plan(found.dataset(counting.estimate()), wish);
    ui::put(&match args.format {
        Format::Json => plan.to_json(),
        Format::Human => Page::new(&plan).text(),
    })?;
    Ok(if found.has_errors() { Outcome::Findings } else { Outcome::Fine })
}

fn gpu(args: &PlanArgs) -> Result<Gpu, Error> {
    match &args.vram {
        Some(size) => Ok(Gpu::of_memory(memory(size)?)),
        None => match &sizes(&args.gpu)[..] {
            sizes @ [_, _, ..] => Err(Error::argument(format!(
                "`{}` is made with different memory; write {}",
                args.gpu,
                sizes.join(" or ")
            ))),
            _ => choose("card", &args.gpu, Gpu::find(&args.gpu), GPUS.iter().map(|gpu| gpu.id)),
        },
    }
}

/// The cards of this name with any memory, where no card is just called so.
fn sizes(name: &str) -> Vec<&'static str> {
    if Gpu::find(name).is_some() {
        return Vec::new();
    }
    let start = format!("{}-", name.to_ascii_lowercase());
    GPUS.iter().map(|gpu| gpu.id).filter(|id| id.starts_with(&start)).collect()
}

/// Bytes of a card; a number without a unit is gigabytes, as cards are sold.
fn memory(size: &str) -> Result<u64, Error> {
    let bytes = match size.trim().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        true => parse_bytes(&format!("{}GB", size.trim())),
        false => parse_bytes(size),
    };
    match bytes {
        Ok(bytes) if bytes >= 1_000_000_000 => Ok(bytes),
        Ok(_) => Err(Error::argument(format!(
            "`{size}` is less memory than any card has; write `24GB` or `16GiB`"
        ))),
        Err(_) => Err(Error::argument(format!("`{size}` is no size; write `24GB` or `16GiB`"))),
    }
}

/// The table that people read. Sources and reasons are numbered and stand at the end.
struct Page<'p> {
    plan: &'p TrainingPlan,
    notes: Vec<&'static str>,
    out: String,
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// Lines end before this column, so that a terminal of 80 does not break words.
const COLUMNS: usize = 80;

/// A text behind a label, in lines that begin below it.
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

    fn text(mut self) -> String {
        self.data();
        self.schedule();
        self.memory();
        self.time();
        self.machines();
        self.platforms();
        self.warnings();
        for (index, note) in self.notes.iter().enumerate() {
            if index == 0 {
                self.out.push('\n');
            }
            self.out.push_str(&wrapped(&format!("[{}] ", index + 1), note));
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
        let (train, held_out) = (&plan.dataset.train, &plan.dataset.validation);
        let method = match plan.wish.method {
            Method::Full => "every weight".to_owned(),
            Method::Lora => format!("LoRA of rank {}", plan.wish.rank),
            Method::Qlora => format!("QLoRA of rank {}", plan.wish.rank),
        };
        let (id, memory) = (plan.wish.gpu.id, gigabytes(plan.wish.gpu.memory));
        let card =
            if id.starts_with("--") { format!("a card of {memory}") } else { format!("{id} ({memory})") };
        let sizes = self.note(plan.wish.shape.source);
        self.out.push_str(&wrapped(
            &format!("{:<16}", "model"),
            &format!("{} [{sizes}], {method}, on {card}", plan.wish.shape.id),
        ));
        let how = if plan.dataset.estimate.is_some() { "estimate" } else { "computed" };
        self.row(
            "samples",
            &format!("{} to train on, {} held out", grouped(train.samples), grouped(held_out.samples)),
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
            "  a sample",
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
            "{}, about {} tokens",
            counted(schedule.batch.value as u64, "sample"),
            grouped(tokens as u64)
        );
        self.figure("batch", &batch, schedule.batch);
        let steps: Vec<String> = schedule
            .epochs
            .iter()
            .zip(schedule.steps)
            .map(|(epochs, steps)| format!("{} for {epochs}", grouped(steps)))
            .collect();
        self.row("steps", &format!("{} epochs", steps.join(", ")), "computed");
        self.figure(
            "begin with",
            &format!("{} epochs", schedule.advised_epochs.value),
            schedule.advised_epochs,
        );
        self.figure("learning rate", &format!("{:e}", schedule.learning_rate.value), schedule.learning_rate);
        self.figure("  at most", &format!("{:e}", schedule.largest_rate.value), schedule.largest_rate);
        let warmup =
            format!("{} of steps: {}", percent(schedule.warmup.value), grouped(schedule.warmup_steps));
        self.figure("warm-up", &warmup, schedule.warmup);
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
                let value = format!("{} tokens, {} to a step", grouped(micro.tokens), grouped(steps));
                self.row("micro-batch", &value, "computed");
                self.row("  would fit", &format!("{} tokens", grouped(micro.fits)), "computed");
                let how = if micro.recompute {
                    "computed again in the backward pass (gradient checkpointing)"
                } else {
                    "kept for the backward pass (no gradient checkpointing)"
                };
                self.row("  activations", how, "");
            }
            None => {
                let fits = match memory.longest_that_fits {
                    0 => "does not fit".to_owned(),
                    fits => format!("none; {} tokens would fit", grouped(fits)),
                };
                self.row("micro-batch", &fits, "computed");
            }
        }
        if let Some(autograd) = memory.autograd.filter(|autograd| autograd.fits.1 > 0) {
            self.autograd(autograd);
        }
    }

    /// The same for trainers that leave the backward pass to PyTorch.
    fn autograd(&mut self, Autograd { token_bytes, fits }: Autograd) {
        let basis = format!("computed [{}]", self.note(Autograd::SOURCE));
        for (name, fits, bytes) in
            [("transformers", fits.0, token_bytes.0), ("  checkpointed", fits.1, token_bytes.1)]
        {
            let value = format!("{} tokens fit ({:.1} MB a token)", grouped(fits), bytes as f64 / 1e6);
            self.row(name, &value, &basis);
        }
    }

    fn time(&mut self) {
        let time = self.plan.time;
        self.out.push('\n');
        let work = format!(
            "{:.1} PFLOP ({:.0} GFLOP a token)",
            time.operations / 1e15,
            time.operations_a_token / 1e9
        );
        self.row("work an epoch", &work, "computed");
        let Some(epoch) = time.seconds_an_epoch.filter(|_| self.plan.memory.micro.is_some()) else {
            return;
        };
        let basis = self.note(self.plan.wish.gpu.reached.source);
        let peak = self.note(self.plan.wish.gpu.source);
        let published = format!("published/guess [{basis}] [{peak}]");
        self.row("time an epoch", &range(epoch), &published);
        let epochs = self.plan.schedule.advised_epochs.value;
        let all = (epoch.0 * epochs, epoch.1 * epochs);
        self.row(&format!("  {epochs} epochs"), &range(all), &published);
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
            "on", "method", "micro-batch", "activations", "an epoch"
        ));
        for Machine { gpu, method, micro, seconds_an_epoch } in &self.plan.machines {
            let (tokens, how) = match micro {
                Some(micro) => (grouped(micro.tokens), if micro.recompute { "recomputed" } else { "kept" }),
                None => ("does not fit".to_owned(), ""),
            };
            let time = seconds_an_epoch.map(range).unwrap_or_default();
            let line = format!("{:<16}{:<8}{tokens:>14}  {how:<12}  {time}", gpu.id, method.as_str());
            self.out.push_str(line.trim_end());
            self.out.push('\n');
        }
        self.out.push_str("each at its published speed; `--gpu` shows where it is published\n");
    }

    fn platforms(&mut self) {
        self.out.push_str("\nwho takes the data\n");
        for Platform { name, verdict, settings, changes, notes, seen } in &self.plan.platforms {
            let verdict = match verdict {
                Verdict::AsItIs => "as it is",
                Verdict::WithSettings => "with settings",
                Verdict::AfterChanges => "after changes",
            };
            self.out.push_str(&format!("  {name:<28}{verdict}\n"));
            for (word, texts) in [("change", changes), ("set", settings), ("note", notes)] {
                for text in texts {
                    self.out.push_str(&wrapped(&format!("    {word:<8}"), text));
                }
            }
            self.out.push_str(&wrapped(&format!("    {:<8}", "seen"), seen));
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
    fn long_texts_go_on_below_where_they_began() {
        let told = wrapped("  hint: ", &"word ".repeat(40));
        assert!(told.lines().all(|line| line.chars().count() <= COLUMNS), "{told}");
        assert!(
            told.lines().skip(1).all(|line| line.starts_with("        word") || line.trim().is_empty()),
            "{told}"
        );
        assert_eq!(wrapped("a ", &"x".repeat(100)), format!("a {}\n", "x".repeat(100)));
    }

    #[test]
    fn durations_can_be_read() {
        let told = [0.4, 61.0, 600.0, 7200.0, 400_000.0].map(duration);
        assert_eq!(told, ["0 s", "61 s", "10 min", "2.0 h", "4.6 days"]);
        assert_eq!(range((1.0, 3.0)), "1 s to 3 s");
    }
}
