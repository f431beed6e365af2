//! `pixtune tokens`: grids of sizes, ids of texts, counts of conversations.

mod sizes;
mod totals;

use std::io::{self, BufWriter, Write as _};

use pixtune_core::diagnostic::Diagnostic;
use pixtune_core::text::counted;
use pixtune_core::tokens::{ChatEncoder, Layout, TokenizerVersion};
use pixtune_io::config::choose;
use pixtune_io::image::Limits;
use pixtune_io::prepare::Watch as _;
use pixtune_io::progress::Progress;
use pixtune_io::read::Elements;
use pixtune_io::read::discover::{Conversations, conversation_files};
use pixtune_io::tokens::{self, Ids, Output, TokenizerFile, TokensPlan, TokensReporter, encode_texts};

use super::{ends_quietly, note_counting, note_passed_over, threads};
use crate::Outcome;
use crate::args::TokensArgs;
use crate::error::Error;
use crate::model::Model;
use crate::ui::{self, Format, Ui, Verbosity};

/// Counts one of four things: an image size, a list of sizes, texts, or conversations.
pub fn run(args: TokensArgs, verbosity: Verbosity) -> Result<Outcome, Error> {
    let model = Model::open(&args.model, args.tokenizer.as_deref())?;
    let layout = Layout::find(&args.layout);
    let layout = choose("layout", &args.layout, layout, Layout::ALL.iter().map(|layout| layout.as_str()))?;
    if let Some(size) = &args.image {
        return sizes::one(size, model.spec, args.format);
    }
    if let Some(path) = &args.sizes {
        return sizes::each(path, model.spec);
    }
    let tokenizer = model.vocabulary();
    if layout == Layout::MistralFinetune && tokenizer.version() != TokenizerVersion::V3 {
        return Err(Error::argument(format!(
            "`--layout mistral-finetune` lays out conversations for tokenizer v3; that of {} is {}",
            model.spec.id,
            tokenizer.version()
        )));
    }
    let encoder = ChatEncoder { spec: model.spec, tokenizer, layout };
    let counted = match &args.text {
        Some(path) => {
            let written =
                encode_texts(path, tokenizer, threads(args.threads), &mut BufWriter::new(io::stdout()));
            written.map(|()| Outcome::Fine).map_err(Error::from)
        }
        None => conversations(&args, encoder, model.tokenizer, verbosity),
    };
    counted.or_else(ends_quietly)
}

fn conversations(
    args: &TokensArgs,
    encoder: ChatEncoder<'_>,
    tokenizer: Option<&TokenizerFile>,
    verbosity: Verbosity,
) -> Result<Outcome, Error> {
    let output = if args.format == Format::Json || args.ids { Output::Json } else { Output::Findings };
    let ui = Ui::new(args.format, if output == Output::Json { Verbosity::Quiet } else { verbosity });
    note_counting(&encoder, tokenizer, &|text| ui.note(text));
    let Conversations { files, notes } = conversation_files(&args.files)?;
    note_passed_over(&notes, verbosity);
    let plan = TokensPlan {
        files,
        encoder,
        limits: Limits::default(),
        ids: if args.ids { Ids::Yes } else { Ids::No },
        output,
        threads: threads(args.threads),
    };
    let mut printer = Printer { ui, out: BufWriter::new(io::stdout()) };
    let totals = tokens::run(&plan, &mut printer)?;
    printer.out.flush().map_err(|source| Error::Output { source })?;
    printer.ui.end();
    if output == Output::Findings {
        ui::put(&totals::table(&totals, plan.encoder.spec))?;
    }
    Ok(Outcome::of(totals.refused > 0, || counted(totals.refused, "invalid sample")))
}

/// Prints findings for people, objects for machines.
struct Printer {
    ui: Ui,
    out: BufWriter<io::Stdout>,
}

impl TokensReporter for Printer {
    fn elements(&mut self, file: &str, elements: Elements) {
        self.ui.note(&format!("{file}: {}", elements.note()));
    }

    fn finding(&mut self, diagnostic: &Diagnostic) {
        self.ui.finding(diagnostic);
    }

    fn json(&mut self, line: &str) -> io::Result<()> {
        self.out.write_all(line.as_bytes())
    }

    fn progress(&mut self, progress: Progress) {
        self.ui.progress(progress);
    }
}
