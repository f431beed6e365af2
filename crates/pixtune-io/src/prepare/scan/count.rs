//! Tokens of a sample: how many there are, how many are trained, whether they fit; and whether the reference would
//! take the conversation at all.

use pixtune_core::checks;
use pixtune_core::curate::Record;
use pixtune_core::diagnostic::Finding;
use pixtune_core::rules;
use pixtune_core::sample::{Image, Message, Sample};
use pixtune_core::tokens::Counts;

use super::super::images::ScannedImage;
use super::Scanner;
use crate::tokens::thin_image;

/// Counts a sample into its record. Images that stay addresses have no size and count as nothing.
pub(super) fn count(
    scanner: &Scanner,
    sample: &Sample<Image>,
    images: &[ScannedImage],
    record: &mut Record,
    findings: &mut Vec<Finding>,
) {
    let unknown = (1, 1);
    let sizes: Vec<(u32, u32)> = images.iter().map(|image| image.size.unwrap_or(unknown)).collect();
    let encoder = scanner.encoder();
    if let Some(overflow) = checks::certain_overflow(encoder.spec, encoder.tokenizer, sample) {
        return findings.push(overflow);
    }
    let counts = match encoder.count(sample, &sizes) {
        Ok(counts) => counts,
        Err(refusal) => return findings.push(refusal),
    };
    for (image, place) in images.iter().zip(&sample.images) {
        if let Some((width, height)) = image.original {
            findings.extend(thin_image(scanner.options.model, place, width, height));
        }
    }
    judge(scanner, sample, &counts, findings);
    let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    record.tokens = small(counts.tokens);
    record.image_tokens = small(counts.image_tokens);
    record.trained_tokens = small(counts.trained_tokens);
}

fn judge(scanner: &Scanner, sample: &Sample<Image>, counts: &Counts, findings: &mut Vec<Finding>) {
    let Counts { tokens, image_tokens, .. } = counts;
    let made_of = format!("{image_tokens} image tokens, {} text tokens", tokens - image_tokens);
    if *tokens > scanner.options.model.context {
        let message = format!(
            "{tokens} tokens ({made_of}); the context of {} is {}",
            scanner.options.model.id, scanner.options.model.context
        );
        let finding = Finding::new(&rules::CONTEXT_OVERFLOW, "", message);
        findings.push(
            finding.hint("split the conversation or downscale its images; pixtune never truncates a sample"),
        );
    } else if let Some(limit) = scanner.options.max_tokens.filter(|limit| *tokens > *limit as usize) {
        let message = format!("{tokens} tokens ({made_of}); the limit of this run is {limit}");
        findings.push(Finding::new(&rules::TOO_MANY_TOKENS, "", message));
    }
    let weighted = sample
        .messages
        .iter()
        .any(|message| matches!(message, Message::Assistant(turn) if turn.weight != Some(false)));
    if counts.trained_tokens == 0 || !weighted {
        let message = "the sample has no trained tokens: every response has weight 0 or is empty";
        findings.push(Finding::new(&rules::NOTHING_TO_TRAIN, "", message));
    }
}
