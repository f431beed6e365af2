//! The plan as JSON.

use super::{
    ACTIVATIONS, Autograd, Basis, Figure, Fit, Machine, Part, SplitCounts, TrainingPlan, USABLE_WHY,
};
use crate::json::{self, Object, Slot, ToJson, fixed, list, object};

impl TrainingPlan {
    /// The plan as one JSON object; `docs/stats-and-plan.md` describes it.
    pub fn to_json(&self) -> String {
        json::line(object(|plan| {
            let wish = &self.wish;
            plan.field("model", wish.shape.id).field("model_source", wish.shape.source);
            plan.field("method", wish.method.as_str()).field("rank", wish.rank);
            plan.field("train_full", wish.whole.list());
            plan.field(
                "gpu",
                object(|gpu| {
                    gpu.field("id", wish.gpu.id).field("memory_bytes", wish.gpu.memory);
                    gpu.field("source", wish.gpu.source);
                }),
            );
            plan.field("estimate", None::<&str>).optional("special_tokens", self.dataset.special_tokens);
            plan.field(
                "data",
                object(|data| {
                    data.field("train", &self.dataset.train).field("validation", &self.dataset.validation);
                }),
            );
            plan.field("schedule", object(|schedule| self.write_schedule(schedule)));
            plan.field("memory", object(|memory| self.write_memory(memory)));
            plan.field("operations_an_epoch", fixed(self.time.operations, 0));
            plan.field(
                "time",
                self.time.seconds_an_epoch.map(|seconds| {
                    object(move |time| {
                        time.field("seconds_an_epoch", range(seconds));
                        time.field("basis", list(["published", "guess"]));
                        time.field("source", &format!("{}; {}", wish.gpu.source, wish.gpu.reached.source));
                    })
                }),
            );
            plan.field("machines", list(&self.machines)).field("platforms", list(&self.fits));
            let warnings = self.warnings.iter().map(|warning| {
                object(move |out| {
                    out.field("message", &warning.message).field("hint", warning.hint);
                })
            });
            plan.field("warnings", list(warnings));
        }))
    }

    fn write_schedule(&self, out: &mut Object<'_>) {
        let schedule = &self.schedule;
        let steps = schedule.epochs.iter().zip(schedule.steps).map(|(epochs, steps)| {
            object(move |out| {
                out.field("epochs", epochs).field("steps", steps);
            })
        });
        out.field("steps", list(steps)).field("advised_epochs", schedule.advised_epochs);
        out.field("batch_samples", schedule.batch).field("learning_rate", schedule.learning_rate);
        out.field("largest_learning_rate", schedule.largest_rate).field("warmup", schedule.warmup);
        out.field("warmup_steps", schedule.warmup_steps);
        out.field("batch_tokens", schedule.batching.tokens).field("accumulate", schedule.batching.batches);
    }

    fn write_memory(&self, out: &mut Object<'_>) {
        let memory = &self.memory;
        out.field("parts", list(&memory.parts)).field("total_bytes", memory.total());
        out.field("budget_bytes", memory.budget).field("budget_basis", "guess");
        out.field("budget_source", USABLE_WHY).field("activations_source", ACTIVATIONS);
        out.field(
            "micro_batch",
            memory.micro.map(|micro| {
                object(move |out| {
                    out.field("tokens", micro.tokens).field("fits", micro.fits);
                    out.field("recompute", micro.recompute).field("accumulate", self.schedule.accumulate);
                })
            }),
        );
        out.field("autograd", memory.autograd.as_ref());
    }
}

/// The lower and the upper bound of a time in seconds.
fn range((from, to): (f64, f64)) -> impl ToJson {
    list([fixed(from, 0), fixed(to, 0)])
}

fn write_basis(basis: Basis, out: &mut Object<'_>) {
    out.field("basis", basis.as_str()).optional("source", basis.source());
}

impl ToJson for Figure {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|out| {
            out.field("value", self.value);
            write_basis(self.basis, out);
        });
    }
}

impl ToJson for &SplitCounts {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|out| {
            out.field("samples", self.samples).field("tokens", self.tokens);
            out.field("image_tokens", self.image_tokens).field("trained_tokens", self.trained_tokens);
            out.field("pictures", self.images).field("max_sample", self.lengths.max());
            out.field("bytes", self.bytes);
        });
    }
}

impl ToJson for &Part {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|out| {
            out.field("name", self.name).field("bytes", self.bytes).field("formula", &self.formula);
            write_basis(self.basis, out);
        });
    }
}

impl ToJson for &Autograd {
    fn write_json(self, slot: Slot<'_>) {
        let Autograd { token_bytes, fits } = self;
        slot.object(|out| {
            out.field("token_bytes", token_bytes.0).field("fits", fits.0);
            out.field("token_bytes_checkpointed", token_bytes.1).field("fits_checkpointed", fits.1);
            out.field("basis", "computed").field("source", Autograd::SOURCE);
        });
    }
}

impl ToJson for &Machine {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|out| {
            out.field("gpu", self.gpu.id).field("method", self.method.as_str());
            out.field("fits", self.micro.is_some());
            out.field("micro_batch_tokens", self.micro.map(|micro| micro.tokens));
            out.field("seconds_an_epoch", self.seconds_an_epoch.map(range));
            out.field("memory_bytes", self.gpu.memory).field("source", self.gpu.source);
        });
    }
}

impl ToJson for &Fit {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|out| {
            out.field("name", self.target.name).field("verdict", self.verdict().as_str());
            out.field("settings", list(&self.settings)).field("changes", list(&self.changes));
            out.field("notes", list(&self.notes)).field("seen", self.target.sources);
        });
    }
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
