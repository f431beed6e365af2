//! The plan as JSON.

use super::{
    ACTIVATIONS, Autograd, Basis, Figure, Fit, Machine, Part, SplitCounts, TrainingPlan, USABLE_WHY,
};
use crate::json::quoted;

impl TrainingPlan {
    /// The plan as one JSON object; `docs/stats-and-plan.md` describes it.
    pub fn to_json(&self) -> String {
        let wish = &self.wish;
        let schedule = &self.schedule;
        let steps: Vec<String> = schedule
            .epochs
            .iter()
            .zip(schedule.steps)
            .map(|(epochs, steps)| format!("{{\"epochs\":{epochs},\"steps\":{steps}}}"))
            .collect();
        let time = match self.time.seconds_an_epoch {
            Some((from, to)) => format!(
                "{{\"seconds_an_epoch\":[{from:.0},{to:.0}],\"basis\":[\"published\",\"guess\"],\"source\":{}}}",
                quoted(&format!("{}; {}", wish.gpu.source, wish.gpu.reached.source))
            ),
            None => "null".to_owned(),
        };
        let micro = self.memory.micro.map_or("null".to_owned(), |micro| {
            format!(
                "{{\"tokens\":{},\"fits\":{},\"recompute\":{},\"accumulate\":{}}}",
                micro.tokens,
                micro.fits,
                micro.recompute,
                schedule.accumulate.map_or("null".to_owned(), |number| number.to_string())
            )
        });
        format!(
            "{{\"model\":{},\"model_source\":{},\"method\":{},\"rank\":{},\"gpu\":{{\"id\":{},\"memory_bytes\":{},\"source\":{}}},\
             \"estimate\":{},\"data\":{{\"train\":{},\"validation\":{}}},\
             \"schedule\":{{\"steps\":[{}],\"advised_epochs\":{},\"batch_samples\":{},\"learning_rate\":{},\
             \"largest_learning_rate\":{},\"warmup\":{},\"warmup_steps\":{}}},\
             \"memory\":{{\"parts\":[{}],\"total_bytes\":{},\"budget_bytes\":{},\"budget_basis\":\"guess\",\"budget_source\":{},\
             \"activations_source\":{},\"micro_batch\":{micro},\"autograd\":{}}},\
             \"operations_an_epoch\":{:.0},\"time\":{time},\"machines\":[{}],\"platforms\":[{}],\"warnings\":[{}]}}\n",
            quoted(wish.shape.id),
            quoted(wish.shape.source),
            quoted(wish.method.as_str()),
            wish.rank,
            quoted(wish.gpu.id),
            wish.gpu.memory,
            quoted(wish.gpu.source),
            self.dataset.estimate.map_or("null".to_owned(), quoted),
            side(&self.dataset.train),
            side(&self.dataset.validation),
            steps.join(","),
            figure(schedule.advised_epochs),
            figure(schedule.batch),
            figure(schedule.learning_rate),
            figure(schedule.largest_rate),
            figure(schedule.warmup),
            schedule.warmup_steps,
            joined(&self.memory.parts, part),
            self.memory.total(),
            self.memory.budget,
            quoted(USABLE_WHY),
            quoted(ACTIVATIONS),
            self.memory.autograd.as_ref().map_or("null".to_owned(), autograd),
            self.time.operations,
            joined(&self.machines, machine),
            joined(&self.fits, fit),
            joined(&self.warnings, |warning| {
                format!("{{\"message\":{},\"hint\":{}}}", quoted(&warning.message), quoted(warning.hint))
            }),
        )
    }
}

fn joined<T>(values: &[T], write: impl Fn(&T) -> String) -> String {
    values.iter().map(write).collect::<Vec<_>>().join(",")
}

fn basis(basis: Basis) -> String {
    let source = basis.source().map(|source| format!(",\"source\":{}", quoted(source))).unwrap_or_default();
    format!("\"basis\":\"{}\"{source}", basis.as_str())
}

fn figure(figure: Figure) -> String {
    format!("{{\"value\":{},{}}}", figure.value, basis(figure.basis))
}

fn side(side: &SplitCounts) -> String {
    format!(
        "{{\"samples\":{},\"tokens\":{},\"image_tokens\":{},\"trained_tokens\":{},\"pictures\":{},\"max_sample\":{},\"bytes\":{}}}",
        side.samples,
        side.tokens,
        side.image_tokens,
        side.trained_tokens,
        side.images,
        side.lengths.max(),
        side.bytes
    )
}

fn part(part: &Part) -> String {
    format!(
        "{{\"name\":{},\"bytes\":{},\"formula\":{},{}}}",
        quoted(part.name),
        part.bytes,
        quoted(&part.formula),
        basis(part.basis)
    )
}

fn autograd(autograd: &Autograd) -> String {
    let Autograd { token_bytes, fits } = autograd;
    format!(
        "{{\"token_bytes\":{},\"fits\":{},\"token_bytes_checkpointed\":{},\"fits_checkpointed\":{},\"basis\":\"computed\",\"source\":{}}}",
        token_bytes.0,
        fits.0,
        token_bytes.1,
        fits.1,
        quoted(Autograd::SOURCE)
    )
}

fn machine(machine: &Machine) -> String {
    let micro = machine.micro.map_or("null".to_owned(), |micro| micro.tokens.to_string());
    let time =
        machine.seconds_an_epoch.map_or("null".to_owned(), |(from, to)| format!("[{from:.0},{to:.0}]"));
    format!(
        "{{\"gpu\":{},\"method\":{},\"fits\":{},\"micro_batch_tokens\":{micro},\"seconds_an_epoch\":{time},\"memory_bytes\":{},\"source\":{}}}",
        quoted(machine.gpu.id),
        quoted(machine.method.as_str()),
        machine.micro.is_some(),
        machine.gpu.memory,
        quoted(machine.gpu.source)
    )
}

fn fit(fit: &Fit) -> String {
    let list = |texts: &[String]| joined(texts, |text| quoted(text));
    format!(
        "{{\"name\":{},\"verdict\":\"{}\",\"settings\":[{}],\"changes\":[{}],\"notes\":[{}],\"seen\":{}}}",
        quoted(fit.target.name),
        fit.verdict().as_str(),
        list(&fit.settings),
        list(&fit.changes),
        list(&fit.notes),
        quoted(fit.target.sources)
    )
}

#[cfg(test)]
mod tests {
    use super::super::plan;
    use super::super::tests::{dataset, wish};
    use crate::target::Method;

    #[test]
    fn plan_is_json_and_every_figure_has_a_basis() {
        let text = plan(dataset(1000, 2000), wish("h100-80gb", Method::Lora)).to_json();
        let parsed = crate::json::parse(text.trim()).unwrap();
        let schedule = parsed.value.get("schedule").unwrap();
        for key in ["advised_epochs", "batch_samples", "learning_rate", "warmup"] {
            assert!(schedule.get(key).unwrap().get("basis").is_some(), "{key}");
        }
        assert_eq!(parsed.value.get("machines").unwrap().as_array().unwrap().len(), 16);
    }
}
