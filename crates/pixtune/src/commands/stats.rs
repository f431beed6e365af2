//! `pixtune stats`.

use std::cell::RefCell;

use pixtune_core::quality::{Distinct, Example, Histogram, Observation, ResponseFormat, percent};
use pixtune_core::spec::ModelSpec;
use pixtune_core::text::{counted, counted_as, grouped};
use pixtune_io::provenance::Sources;
use pixtune_io::read::LinePlace;
use pixtune_io::survey::{NearDuplicates, NearGroup, Pairs, Source, Survey, Together};

use super::counting::{Counting, outcome};
use super::note_passed_over;
use crate::Outcome;
use crate::args::StatsArgs;
use crate::error::Error;
use crate::ui::{self, Format, Ui, Verbosity};

/// Surveys the inputs and prints a summary.
pub fn run(args: StatsArgs, verbosity: Verbosity) -> Result<Outcome, Error> {
    let counting = Counting::new(&args.counting)?;
    let source = Source::open(&args.inputs)?;
    let mut ui = Ui::new(args.format, verbosity);
    note_passed_over(&source.notes, verbosity);
    let found = counting.survey(&source, args.measure.inspection(args.verify), &mut ui)?;
    ui::put(&match args.format {
        Format::Json => found.to_json(&source, counting.model.spec, counting.special_tokens()),
        Format::Human => Page {
            source: &source,
            found: &found,
            model: counting.model.spec,
            examples: args.examples,
            sources: RefCell::default(),
        }
        .text(),
    })?;
    Ok(outcome(&found))
}

/// The summary for people.
struct Page<'p> {
    source: &'p Source,
    found: &'p Survey,
    model: &'static ModelSpec,
    examples: usize,
    /// The source rows of prepared samples.
    sources: RefCell<Sources>,
}

fn row(out: &mut String, name: &str, value: &str) {
    out.push_str(format!("{name:<16}{value}").trim_end());
    out.push('\n');
}

impl Page<'_> {
    fn text(&self) -> String {
        let mut out = String::new();
        if !self.source.files.is_empty() {
            self.samples(&mut out);
        }
        self.images(&mut out);
        if self.found.texts.responses > 0 {
            self.texts(&mut out);
        }
        self.unusable_rows(&mut out);
        self.together(&mut out);
        for observation in self.found.observations() {
            out.push('\n');
            self.observation(&observation, &mut out);
        }
        for mismatch in &self.source.mismatches {
            out.push_str(&format!("\nnote: {mismatch}\n"));
        }
        out
    }

    fn samples(&self, out: &mut String) {
        let Survey { train, validation, .. } = self.found;
        let splits = match validation.samples {
            0 => String::new(),
            count => {
                format!(", {} for training and {} for validation", grouped(train.samples), grouped(count))
            }
        };
        row(
            out,
            "samples",
            &format!(
                "{} in {}{splits}",
                grouped(self.found.samples()),
                counted(self.source.files.len() as u64, "file")
            ),
        );
        if self.found.samples() == 0 {
            return;
        }
        let of_both = |take: fn(&pixtune_core::plan::SplitCounts) -> u64| take(train) + take(validation);
        let tokens = of_both(|side| side.tokens);
        let trained = of_both(|side| side.trained_tokens);
        row(
            out,
            "tokens",
            &format!(
                "{} ({} of images, {} trained: {})",
                grouped(tokens),
                grouped(of_both(|side| side.image_tokens)),
                grouped(trained),
                percent(trained as f64 / tokens.max(1) as f64)
            ),
        );
        let mut lengths = train.lengths.clone();
        lengths.merge(&validation.lengths);
        row(out, "  per sample", &spread(&lengths, ""));
        bars(&lengths, out);
        match lengths.above(self.model.context as u64) {
            0 => {}
            over => row(
                out,
                "  too long",
                &format!("{} of more than {}", grouped(over), counted(self.model.context as u64, "token")),
            ),
        }
    }

    fn images(&self, out: &mut String) {
        let images = &self.found.images;
        if images.count == 0 {
            row(out, "images", "none");
            return;
        }
        let mut formats: Vec<_> = images.formats.iter().collect();
        formats.sort_by_key(|(format, count)| (std::cmp::Reverse(**count), **format));
        let formats: Vec<String> =
            formats.into_iter().map(|(format, count)| format!("{} {format}", grouped(*count))).collect();
        let distinct = self.found.together.distinct_images;
        row(
            out,
            "images",
            &format!("{}, {} distinct: {}", grouped(images.count), grouped(distinct), formats.join(", ")),
        );
        row(out, "  longer side", &spread(&images.longer_sides, " pixels"));
        row(out, "  tokens", &spread(&images.tokens, ""));
        if images.shrunk > 0 {
            let side = self.model.max_side;
            let larger = counted_as(images.shrunk, "is", "are");
            row(out, "  downscaled", &format!("{larger} larger than the model's maximum of {side} pixels"));
        }
    }

    fn texts(&self, out: &mut String) {
        let texts = &self.found.texts;
        let total = texts.responses.max(1) as f64;
        let about = |distinct: &Distinct| {
            format!("{}{}", if distinct.is_exact() { "" } else { "about " }, grouped(distinct.count()))
        };
        row(
            out,
            "responses",
            &format!("{}, {} distinct", grouped(texts.responses), about(&texts.distinct_responses)),
        );
        row(out, "  characters", &spread(&texts.response_characters, ""));
        let mut forms: Vec<(u64, ResponseFormat)> = ResponseFormat::ALL
            .into_iter()
            .map(|form| (texts.formats.count(form), form))
            .filter(|(count, _)| *count > 0)
            .collect();
        forms.sort_by_key(|(count, form)| (std::cmp::Reverse(*count), *form));
        let forms = forms
            .into_iter()
            .map(|(count, form)| format!("{} {}", percent(count as f64 / total), form.as_str()));
        row(out, "  format", &first(forms, 6));
        let mut languages: Vec<_> = texts.languages.iter().collect();
        languages.sort_by_key(|(language, count)| (std::cmp::Reverse(**count), **language));
        let languages = languages.into_iter().map(|(language, count)| {
            format!("{} {}", percent(*count as f64 / total), language.unwrap_or("undecided"))
        });
        row(out, "  language", &first(languages, 6));
        if texts.scripts.len() > 1 {
            let scripts = texts
                .scripts
                .iter()
                .map(|(script, count)| format!("{} {}", percent(*count as f64 / total), script.as_str()));
            row(out, "  script", &first(scripts, 6));
        }
        if let Some((text, count)) =
            texts.most_frequent_responses(1).into_iter().next().filter(|(_, count)| *count > 1)
        {
            row(out, "  most frequent", &format!("{} `{text}`", percent(count as f64 / total)));
        }
        row(out, "prompts", &format!("{} distinct", about(&texts.distinct_prompts)));
        if let Some((text, count)) =
            texts.most_frequent_prompts(1).into_iter().next().filter(|(_, count)| *count > 1)
        {
            row(out, "  most frequent", &format!("{} `{text}`", percent(count as f64 / total)));
        }
    }

    fn unusable_rows(&self, out: &mut String) {
        let found = self.found;
        if found.refused() > 0 {
            row(out, "refused", &grouped(found.refused()));
            for (rule, kept) in &found.refused {
                row(out, "", &format!("{} {rule}", grouped(kept.count)));
                self.examples(&kept.first, out);
            }
        }
        let rejected: u64 = found.rejected.values().map(|kept| kept.count).sum();
        if rejected > 0 {
            row(out, "rejected", &format!("{} by `prepare`", grouped(rejected)));
            for (rule, kept) in &found.rejected {
                row(out, "", &format!("{} {rule}", grouped(kept.count)));
            }
        }
    }

    fn together(&self, out: &mut String) {
        let together = &self.found.together;
        let what = if self.source.files.is_empty() { "duplicate images" } else { "duplicate samples" };
        for (pairs, what) in [
            (&together.repeated, what),
            (
                &together.contradictions,
                "samples with conflicting labels: the images and prompt of another sample, and a different response",
            ),
            (&together.shared_samples, "samples in both the training and the validation split"),
            (&together.shared_images, "images in both the training and the validation split"),
        ] {
            self.pairs(pairs, what, out);
        }
        self.near(out);
    }

    fn near(&self, out: &mut String) {
        let Together { near, near_texts, .. } = &self.found.together;
        self.near_duplicates(near, ("of near-duplicate images", "image"), out, |member| {
            let difference = match member.same_pixels {
                true => "same pixels".to_owned(),
                false => format!("distance {}", member.distance),
            };
            (member.place.line, difference)
        });
        self.near_duplicates(near_texts, ("of near-duplicate texts", "text"), out, |member| {
            let images = if member.same_images { "" } else { ", different images" };
            (member.place, format!("{} % of words shared{images}", member.similarity))
        });
    }

    fn near_duplicates<Member>(
        &self,
        found: &NearDuplicates<Member>,
        (what, member): (&str, &str),
        out: &mut String,
        describe: impl Fn(&Member) -> (LinePlace, String),
    ) {
        if found.groups == 0 {
            return;
        }
        let across = match found.across {
            0 => String::new(),
            across => format!(", {} in both splits", counted(across, "group")),
        };
        let (groups, members) = (counted(found.groups, "group"), counted(found.members, member));
        out.push_str(&format!("\n{groups} {what}, {members} in total{across}\n"));
        let shown = found.first.len().min(self.examples);
        for group in &found.first[..shown] {
            out.push_str(&format!("  {}\n", self.group(group, &describe)));
        }
        more(found.groups - shown as u64, "group", out);
    }

    /// `a.png, b.png (distance 3), c.png (same pixels), … 4 more`
    fn group<Member>(
        &self,
        group: &NearGroup<Member>,
        describe: impl Fn(&Member) -> (LinePlace, String),
    ) -> String {
        let shown = group.members.len().min(self.examples.max(2) + 1);
        let mut out = String::new();
        for (index, member) in group.members[..shown].iter().enumerate() {
            let (place, difference) = describe(member);
            let place = self.place(&place);
            out.push_str(&if index == 0 { place } else { format!(", {place} ({difference})") });
        }
        if group.count > shown as u64 {
            out.push_str(&format!(", … {} more", grouped(group.count - shown as u64)));
        }
        out
    }

    fn pairs(&self, pairs: &Pairs, what: &str, out: &mut String) {
        if pairs.count == 0 {
            return;
        }
        out.push_str(&format!("\n{} {what}\n", grouped(pairs.count)));
        for (one, other) in pairs.first.iter().take(self.examples) {
            out.push_str(&format!("  {} and {}\n", self.place(one), self.place(other)));
        }
        more(pairs.count - pairs.first.len().min(self.examples) as u64, "pair", out);
    }

    fn place(&self, place: &LinePlace) -> String {
        let name = self.found.file_name(self.source, place.file);
        let Some(file) = self.source.files.get(place.file as usize) else {
            return if self.source.files.is_empty() {
                name.to_owned()
            } else {
                format!("{name}:{}", place.line)
            };
        };
        match self.sources.borrow_mut().source(&file.path, place.line) {
            Some(source) => format!("{name}:{} ({source})", place.line),
            None => format!("{name}:{}", place.line),
        }
    }

    fn observation(&self, observation: &Observation, out: &mut String) {
        out.push_str(&format!(
            "{}[{}]: {}\n",
            observation.rule.severity.as_str(),
            observation.rule.id,
            observation.message
        ));
        self.examples(&observation.examples, out);
        if observation.count > observation.examples.len().min(self.examples) as u64
            && !observation.examples.is_empty()
        {
            let more = observation.count - observation.examples.len().min(self.examples) as u64;
            out.push_str(&format!("  … and {} more\n", grouped(more)));
        }
        out.push_str(&format!("  hint: {}\n", observation.hint));
    }

    fn examples(&self, examples: &[Example], out: &mut String) {
        for Example { place, text } in examples.iter().take(self.examples) {
            let place = LinePlace { file: place.file, line: place.line };
            out.push_str(&format!("  {}: {text}\n", self.place(&place)));
        }
    }
}

/// How many are not shown.
fn more(count: u64, what: &str, out: &mut String) {
    if count > 0 {
        let what = if count == 1 { what.to_owned() } else { format!("{what}s") };
        out.push_str(&format!("  … and {} more {what}\n", grouped(count)));
    }
}

fn first(values: impl Iterator<Item = String>, most: usize) -> String {
    let values: Vec<String> = values.collect();
    let mut out = values[..values.len().min(most)].join(", ");
    if values.len() > most {
        out.push_str(", …");
    }
    out
}

/// `median 12, 95 % up to 80, 3 to 345`
fn spread(values: &Histogram, unit: &str) -> String {
    if values.min() == values.max() {
        return format!("{}{unit} each", grouped(values.min()));
    }
    format!(
        "{} to {}{unit}, median {}, 95% up to {}",
        grouped(values.min()),
        grouped(values.max()),
        grouped(values.quantile(0.5)),
        grouped(values.quantile(0.95))
    )
}

/// A histogram of values by powers of two.
fn bars(values: &Histogram, out: &mut String) {
    let mut octaves = std::collections::BTreeMap::new();
    for (value, count) in values.bars() {
        *octaves.entry(value.max(1).next_power_of_two()).or_insert(0u64) += count;
    }
    let most = octaves.values().copied().max().unwrap_or(1);
    if octaves.len() < 2 {
        return;
    }
    for (upper, count) in octaves {
        let width = (count as f64 / most as f64 * 30.0).ceil() as usize;
        row(out, "", &format!("{:>7} {:<30} {}", grouped(upper), "▇".repeat(width), grouped(count)));
    }
}
