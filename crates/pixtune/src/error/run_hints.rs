//! Hints for errors of training, evaluation, export and the server.

use pixtune_api::{ClientError, ServeError};
use pixtune_evaluate::EvaluateError;
use pixtune_export::ExportError;
use pixtune_export::external::ExternalError;
use pixtune_train::TrainError;
use pixtune_train::data::DataError;

use super::hint_for_writing;
use super::model_hints::hint_for_network;
use super::reading_hints::hint_for_reading;

pub(super) fn hint_for_training(error: &TrainError) -> Option<String> {
    let hint = match error {
        TrainError::Data(DataError::Form(error)) => return hint_for_reading(error),
        TrainError::Exists { .. } => {
            "continue it with `--resume`, replace it with `--force`, or choose another `--out`"
        }
        TrainError::Foreign { .. } | TrainError::NotADirectory { .. } => "choose another `--out`",
        TrainError::NothingToResume { .. } => "start the run without `--resume`",
        TrainError::Locked { .. } => "wait until it ends, or choose another `--out`",
        TrainError::OtherPlan { .. } => "use the original options and data, or start over with `--force`",
        TrainError::Damaged { .. } => {
            "remove the damaged checkpoint to continue from the previous one, or start over with `--force`"
        }
        TrainError::OtherModel { .. } => "prepare the data for this model with `pixtune prepare --model`",
        TrainError::InvalidSamples { invalid, samples } if invalid == samples => {
            "see the problems with `pixtune check FILE`; data in the format of another trainer is converted with `pixtune fix FILE \
             --out FIXED.jsonl`, and a table with `pixtune prepare`"
        }
        TrainError::InvalidSamples { .. } => "train on the other samples with `--invalid-samples skip`",
        TrainError::InvalidDuringRun { .. } => {
            "a checkpoint was written; continue without the sample with `--resume --invalid-samples skip`"
        }
        TrainError::NoSamples { .. } => "run `pixtune check` to see the problem of each line",
        TrainError::Write { source, .. } => {
            let full = "free disk space and run again with `--resume`; the last checkpoint is intact";
            return hint_for_writing(source, full).map(str::to_owned);
        }
        TrainError::NotFinite { .. } | TrainError::Diverged { .. } => {
            "try a lower `--learning-rate` (1e-5 to 1e-3 are usual for LoRA) or a longer `--warmup`; earlier checkpoints are intact"
        }
        TrainError::Network(error) => return hint_for_network(error).map(str::to_owned),
        TrainError::Stopped { .. } => "the state was saved; continue with `--resume`",
        _ => return None,
    };
    Some(hint.to_owned())
}

pub(super) fn hint_for_evaluating(error: &EvaluateError) -> Option<&'static str> {
    let hint = match error {
        EvaluateError::NoValidation { .. } => {
            "give a file, or prepare the data with `--validation 0.1` to keep some for evaluation"
        }
        EvaluateError::Unaligned { .. } => "add the `id` or `line` of its sample to each prediction",
        EvaluateError::NothingAnswered { is_file: false, .. } => {
            "check the URL, the name of the model and the key with one request; --resume asks again"
        }
        EvaluateError::Exists { .. } => {
            "ask again for what failed with `--resume`, replace it with `--force`, or choose another `--out`"
        }
        EvaluateError::Foreign { .. } => "choose another `--out`",
        EvaluateError::Unfinished { .. } => "continue it with `--resume`, or start over with `--force`",
        EvaluateError::Locked(_) => "wait until it ends, or choose another `--out`",
        _ => return None,
    };
    Some(hint)
}

pub(super) fn hint_for_client(error: &ClientError) -> Option<&'static str> {
    match error {
        ClientError::Connection { .. } => {
            Some("start a server with `pixtune serve`, or name another one with `--base-url`")
        }
        ClientError::Refused { status: 401 | 403, .. } => {
            Some("set PIXTUNE_API_KEY to a key of the server: `pixtune serve keys create NAME`")
        }
        ClientError::Refused { status: 413, .. } => {
            Some("`pixtune files upload --shard-size 500MB` uploads several smaller files")
        }
        _ => None,
    }
}

pub(super) fn hint_for_serving(error: &ServeError) -> Option<&'static str> {
    match error {
        ServeError::NoKeys(_) => {
            Some("create a key with `pixtune serve keys create NAME`, or listen on 127.0.0.1")
        }
        ServeError::Locked { .. } => Some("choose another directory with `--data-dir`"),
        ServeError::Listen(_) => Some("choose another port with `--listen`"),
        _ => None,
    }
}

pub(super) fn hint_for_another_trainer(error: &ExternalError) -> Option<&'static str> {
    match error {
        ExternalError::Failed { .. } => Some("the log of the job has the whole output of the trainer"),
        ExternalError::NoAdapter { .. } => {
            Some("a command writes `adapter/` to `{out}`; `docs/serve.md` lists what else")
        }
        _ => None,
    }
}

pub(super) fn hint_for_exporting(error: &ExportError) -> Option<&'static str> {
    let hint = match error {
        ExportError::OtherModel { .. } => {
            "prepare the data for this model with `pixtune prepare --model`, or export it with the `--model` it was prepared for"
        }
        ExportError::OtherLayout { .. } | ExportError::SentencePiece { .. } => {
            "`--to hf-dataset` writes the conversations as they are, for a template of the model"
        }
        ExportError::NothingLeft { .. } => {
            "the findings name the reason of each row; data in another format is converted with `pixtune prepare` or `pixtune fix`"
        }
        ExportError::Exists { .. } => "replace it with `--force`, or choose another `--out`",
        ExportError::Foreign { .. } => "choose another `--out`",
        ExportError::Unfinished { .. } => "continue it with `--resume`, or start over with `--force`",
        ExportError::OtherPlan { .. } => "use the original options and data, or start over with `--force`",
        ExportError::Locked { .. } => "wait until it ends, or choose another `--out`",
        ExportError::Write { source, .. } => {
            let full =
                "finished files are kept beside the output; free disk space and run again with `--resume`";
            return hint_for_writing(source, full);
        }
        _ => return None,
    };
    Some(hint)
}
