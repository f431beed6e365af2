//! `pixtune stats`.

use pixtune_core::quality::{AnswerFormat, Distinct, Example, Histogram, Observation, percent};
use pixtune_core::spec::ModelSpec;
use pixtune_core::text::{counted, grouped};
use pixtune_io::survey::{Alike, AlikeGroup, LinePlace, Look, Pairs, Source, Survey, Together};

use super::counting::Counting;
use crate::Outcome;
use crate::args::{MeasureArg, StatsArgs};
use crate::error::Error;
use crate::ui::{self, Format, Ui};

/// Surveys everything that was given and tells what it came to.
pub fn run(args: StatsArgs) -> Result<Outcome, Error> {
    let counting = Counting::new(&args.counting)?;
    let source = Source::open(&args.inputs)?;
    let look = match args.images {
        MeasureArg::Measure => Look::Measure,
        MeasureArg::Header => Look::Header,
    };
    let mut ui = Ui::new(args.format, args.counting.quiet);
    let found = counting.survey(&source, look, &mut ui)?;
    ui::put(&match args.format {
        Format::Json => found.to_json(&source, counting.model, counting.estimate()),
        Format::Human => {
            Page { source: &source, found: &found, model: counting.model, examples: args.examples }.text()
        }
    })?;
    Ok(if found.has_errors() { Outcome::Findings } else { Outcome::Fine })
}

/// The table that people read.
struct Page<'p> {
    source: &'p Source,
    found: &'p Survey,
    model: &'static ModelSpec,
    examples: usize,
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
        if self.found.texts.answers > 0 {
            self.texts(&mut out);
        }
        self.rows_left_out(&mut out);
        self.together(&mut out);
        for seen in self.found.observations() {
            out.push('\n');
            self.observation(&seen, &mut out);
        }
        for mismatch in &self.source.mismatches {
            out.push_str(&format!("\nnote: {mismatch}\n"));
        }
        out
    }

    fn samples(&self, out: &mut String) {
        let Survey { train, validation, .. } = self.found;
        let sides = match validation.samples {
            0 => String::new(),
            held_out => {
                format!(", {} to train on and {} held out", grouped(train.samples), grouped(held_out))
            }
        };
        row(
            out,
            "samples",
            &format!(
                "{} in {}{sides}",
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
        row(out, "  a sample", &spread(&lengths, ""));
        bars(&lengths, out);
        match lengths.above(self.model.context as u64) {
            0 => {}
            over => row(
                out,
                "  too long",
                &format!("{} of more than {} tokens", grouped(over), grouped(self.model.context as u64)),
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
            &format!("{}, {} different: {}", grouped(images.count), grouped(distinct), formats.join(", ")),
        );
        row(out, "  longer side", &spread(&images.longer_sides, " pixels"));
        row(out, "  tokens", &spread(&images.tokens, ""));
        if images.shrunk > 0 {
            let told = format!(
                "{} are larger than the {} pixels that the model sees",
                grouped(images.shrunk),
                self.model.max_side
            );
            row(out, "  shrunk", &told);
        }
    }

    fn texts(&self, out: &mut String) {
        let texts = &self.found.texts;
        let total = texts.answers.max(1) as f64;
        let about = |distinct: &Distinct| {
            format!("{}{}", if distinct.is_exact() { "" } else { "about " }, grouped(distinct.count()))
        };
        row(
            out,
            "answers",
            &format!("{}, {} different", grouped(texts.answers), about(&texts.distinct_answers)),
        );
        row(out, "  characters", &spread(&texts.answer_characters, ""));
        let mut forms: Vec<(u64, AnswerFormat)> = AnswerFormat::ALL
            .into_iter()
            .map(|form| (texts.formats.count(form), form))
            .filter(|(count, _)| *count > 0)
            .collect();
        forms.sort_by_key(|(count, form)| (std::cmp::Reverse(*count), *form));
        let forms = forms
            .into_iter()
            .map(|(count, form)| format!("{} {}", percent(count as f64 / total), form.as_str()));
        row(out, "  form", &first(forms, 6));
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
            texts.most_frequent_answers(1).into_iter().next().filter(|(_, count)| *count > 1)
        {
            row(out, "  most frequent", &format!("{} `{text}`", percent(count as f64 / total)));
        }
        row(out, "prompts", &format!("{} different", about(&texts.distinct_prompts)));
        if let Some((text, count)) =
            texts.most_frequent_prompts(1).into_iter().next().filter(|(_, count)| *count > 1)
        {
            row(out, "  most frequent", &format!("{} `{text}`", percent(count as f64 / total)));
        }
    }

    fn rows_left_out(&self, out: &mut String) {
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
        let what =
            if self.source.files.is_empty() { "images that stand twice" } else { "samples that stand twice" };
        for (pairs, what) in [
            (&together.repeated, what),
            (&together.contradictions, "samples with the images and prompt of another and another answer"),
            (&together.shared_samples, "samples that are trained on and held out"),
            (&together.shared_images, "images that are trained on and held out"),
        ] {
            self.pairs(pairs, what, out);
        }
        self.near(out);
    }

    fn near(&self, out: &mut String) {
        let Together { near, near_texts, .. } = &self.found.together;
        self.alike(near, ("of different files that show the same", "image"), out, |member| {
            let told = match member.same_pixels {
                true => "same pixels".to_owned(),
                false => format!("distance {}", member.distance),
            };
            (member.place.line, told)
        });
        self.alike(near_texts, ("of different texts that nearly say the same", "text"), out, |member| {
            let images = if member.same_images { "" } else { ", other images" };
            (member.place, format!("{} % the same{images}", member.similarity))
        });
    }

    fn alike<Member>(
        &self,
        alike: &Alike<Member>,
        (what, member): (&str, &str),
        out: &mut String,
        told: impl Fn(&Member) -> (LinePlace, String),
    ) {
        if alike.groups == 0 {
            return;
        }
        let across = match alike.across {
            0 => String::new(),
            across => format!(", {} of them on both sides of the split", grouped(across)),
        };
        let (groups, members) = (counted(alike.groups, "group"), counted(alike.members, member));
        out.push_str(&format!("\n{groups} {what}, {members} in all{across}\n"));
        let shown = alike.first.len().min(self.examples);
        for group in &alike.first[..shown] {
            out.push_str(&format!("  {}\n", self.group(group, &told)));
        }
        more(alike.groups - shown as u64, "group", out);
    }

    /// `a.png, b.png (distance 3), c.png (same pixels), … 4 more`
    fn group<Member>(
        &self,
        group: &AlikeGroup<Member>,
        told: impl Fn(&Member) -> (LinePlace, String),
    ) -> String {
        let shown = group.members.len().min(self.examples.max(2) + 1);
        let mut out = String::new();
        for (index, member) in group.members[..shown].iter().enumerate() {
            let (place, told) = told(member);
            let place = self.place(&place);
            out.push_str(&if index == 0 { place } else { format!(", {place} ({told})") });
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
        if self.source.files.is_empty() { name.to_owned() } else { format!("{name}:{}", place.line) }
    }

    fn observation(&self, seen: &Observation, out: &mut String) {
        out.push_str(&format!("{}[{}]: {}\n", seen.rule.severity.as_str(), seen.rule.id, seen.message));
        self.examples(&seen.examples, out);
        if seen.count > seen.examples.len().min(self.examples) as u64 && !seen.examples.is_empty() {
            let more = seen.count - seen.examples.len().min(self.examples) as u64;
            out.push_str(&format!("  … and {} more\n", grouped(more)));
        }
        out.push_str(&format!("  hint: {}\n", seen.hint));
    }

    fn examples(&self, examples: &[Example], out: &mut String) {
        for Example { place, text } in examples.iter().take(self.examples) {
            let name = self.found.file_name(self.source, place.file);
            out.push_str(&format!("  {name}:{}: {text}\n", place.line));
        }
    }
}

/// What is counted and not shown.
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
        return format!("{}{unit}, all alike", grouped(values.min()));
    }
    format!(
        "{} to {}{unit}, median {}, 95% up to {}",
        grouped(values.min()),
        grouped(values.max()),
        grouped(values.quantile(0.5)),
        grouped(values.quantile(0.95))
    )
}

/// How values are distributed over powers of two, as bars.
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
