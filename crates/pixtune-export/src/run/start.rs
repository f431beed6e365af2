//! What an export may start with, and how far one that was stopped had come.

use std::fs;
use std::io;
use std::path::Path;

use pixtune_core::json::{self, Value, differences, list, object};
use pixtune_core::tokens::TokenizerVersion;
use pixtune_files::{Occupant, WorkDirectory};
use pixtune_io::manifest::{self, MANIFEST, Manifest, OutputFile};

use crate::ExportError;
use crate::plan::ExportPlan;

/// The options of an unfinished export.
const PLAN: &str = "plan.json";
/// How far an unfinished export is.
pub(super) const CHECKPOINT: &str = "checkpoint.json";

/// Nothing is replaced that was not meant to be.
pub(super) fn refuse_existing(plan: &ExportPlan<'_>) -> Result<(), ExportError> {
    let ExportPlan { out, resume, force, .. } = plan;
    let write_error = |source| ExportError::Write { path: out.clone(), source };
    let partial = WorkDirectory::path_for(out).map_err(write_error)?;
    if partial.exists() && !resume && !force {
        return Err(ExportError::Unfinished { path: partial });
    }
    match Occupant::of(out, MANIFEST).map_err(write_error)? {
        Occupant::Nothing => Ok(()),
        Occupant::Ours if is_export(out) && *force => Ok(()),
        Occupant::Ours if is_export(out) => Err(ExportError::Exists { path: out.clone() }),
        // A prepared dataset has a manifest too.
        _ => Err(ExportError::Foreign { path: out.clone() }),
    }
}

fn is_export(directory: &Path) -> bool {
    matches!(Manifest::read(directory), Ok(Some(manifest)) if manifest.plan.get("export").is_some())
}

/// Images that were fitted to another model have another size for this one.
pub(super) fn refuse_other_model(plan: &ExportPlan<'_>) -> Result<(), ExportError> {
    let Some(manifest) = &plan.source.manifest else { return Ok(()) };
    let spec = plan.encoder.spec;
    let prepared = manifest.model_images().or_else(|| {
        let known = pixtune_core::spec::ALL.iter().find(|spec| spec.id == manifest.model())?;
        Some([known.patch, known.merge, known.max_side])
    });
    if prepared.is_some_and(|prepared| prepared != [spec.patch, spec.merge, spec.max_side]) {
        let (prepared, model) = (manifest.model().to_owned(), spec.id.to_owned());
        return Err(ExportError::OtherModel { prepared, model });
    }
    Ok(())
}

/// The own template of a trainer has the layout of tokenizer v3, and some know the id of the image token by heart.
pub(super) fn refuse_other_layout(plan: &ExportPlan<'_>) -> Result<(), ExportError> {
    let trainer = plan.trainer;
    let version = plan.encoder.tokenizer.version();
    let name = trainer.name;
    let model = || plan.encoder.spec.id.to_owned();
    match version {
        _ if !trainer.renders_text => {}
        TokenizerVersion::V3 => {}
        TokenizerVersion::V7m1 => return Err(ExportError::SentencePiece { name, model: model() }),
        _ if trainer.own_template => {}
        _ => return Err(ExportError::OtherLayout { name, model: model(), version }),
    }
    let found = plan.encoder.tokenizer.special_token("[IMG]");
    match trainer.image_token {
        Some(expected) if found != Some(expected) => {
            let found = found.map_or_else(|| "no such token".to_owned(), |id| format!("it at {id}"));
            Err(ExportError::ImageToken { name: trainer.name, expected, found })
        }
        _ => Ok(()),
    }
}

/// Whether the images of the dataset were fitted by `prepare`, so that none is transparent.
pub(super) fn is_fitted(plan: &ExportPlan<'_>) -> bool {
    let manifest = plan.source.manifest.as_ref();
    manifest.is_some_and(|manifest| manifest.plan.get("images").and_then(Value::as_str) == Some("fit"))
}

/// Empties the work directory, or finds out how far an export of the same plan was.
pub(super) fn open_work(plan: &ExportPlan<'_>, work: &WorkDirectory) -> Result<Checkpoint, ExportError> {
    let path = work.path().to_owned();
    let write_error = |source| ExportError::Write { path: path.clone(), source };
    if !plan.resume {
        work.clear(&[]).map_err(write_error)?;
    }
    let identity = plan.identity();
    let kept = path.join(PLAN);
    match fs::read_to_string(&kept) {
        Ok(before) if before == identity => Ok(Checkpoint::read(&path.join(CHECKPOINT))),
        Ok(before) => Err(ExportError::OtherPlan { difference: difference(&before, &identity), path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            pixtune_files::write(&kept, identity.as_bytes()).map_err(write_error)?;
            Ok(Checkpoint::default())
        }
        Err(error) => Err(write_error(error)),
    }
}

/// What differs between an unfinished export and this one.
fn difference(before: &str, now: &str) -> String {
    let parsed = |text: &str| json::parse(text).map(|parsed| parsed.value.into_owned());
    let (Ok(before), Ok(now)) = (parsed(before), parsed(now)) else {
        return "another version of pixtune".into();
    };
    let mut all: Vec<String> = Vec::new();
    if let (Some(old), Some(new)) = (before.get("plan"), now.get("plan")) {
        all.extend(differences(old, new).iter().map(ToString::to_string));
    }
    if before.get("inputs") != now.get("inputs") {
        all.push("other input files".into());
    }
    if before.get("pixtune") != now.get("pixtune") {
        all.push("another version of pixtune".into());
    }
    all.join("; ")
}

/// How far an export was when it was stopped: the rows before a row are in finished files.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Checkpoint {
    /// Finished files of each split.
    pub(super) files: [Vec<OutputFile>; 3],
    /// The index of the input and the number of the row that follows them.
    pub(super) next: (usize, u64),
}

impl Checkpoint {
    /// A checkpoint that cannot be read is none: everything is written again.
    fn read(path: &Path) -> Checkpoint {
        let read = || {
            let text = fs::read_to_string(path).ok()?;
            let root = json::parse(&text).ok()?.value.into_owned();
            let number = |key: &str| manifest::number_at(&root, key);
            let files = root.get("files")?.as_array()?;
            let of_split = |split: &Value<'_>| split.as_array()?.iter().map(OutputFile::from_json).collect();
            let files: Option<Vec<Vec<OutputFile>>> = files.iter().map(of_split).collect();
            Some(Checkpoint {
                files: files?.try_into().ok()?,
                next: (number("input") as usize, number("row")),
            })
        };
        read().unwrap_or_default()
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let text = json::document(object(|out| {
            out.field("input", self.next.0 as u64).field("row", self.next.1);
            out.field("files", list(self.files.iter().map(|files| list(files.iter().map(json::spaced)))));
        }));
        pixtune_files::write(path, text.as_bytes())
    }
}
