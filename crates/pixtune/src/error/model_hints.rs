//! Hints for errors about models, adapters and tokenizers.

use super::hint_for_writing;
use std::io;
use std::path::Path;

use pixtune_cuda::{GpuError, OpenError};
use pixtune_infer::ModelError;
use pixtune_io::tokens::TokenizerError;
use pixtune_model::adapter::AdapterError;
use pixtune_model::network::NetworkError;
use pixtune_model::weights::config::ConfigError;
use pixtune_model::weights::convert::ConvertError;
use pixtune_model::weights::safetensors::SafetensorsError;
use pixtune_model::weights::{Sharding, Substitute, WeightsError};

/// tokenizer.json is what people have; a damaged file may be what a download left.
pub fn hint_for_tokenizer(error: &TokenizerError) -> Option<String> {
    let TokenizerError::Damaged { path, .. } = error else { return None };
    if let Some(found) = Substitute::of_file(path) {
        return Some(format!("it is {found}: {}", found.remedy()));
    }
    let is_hf = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tokenizer"));
    let hint = "this is a tokenizer in Hugging Face's format; give Mistral's tekken.json from the model's repository, or \
                `pixtral-12b`, the built-in one";
    is_hf.then(|| hint.to_owned())
}

/// A hint for a model directory.
pub fn hint_for_model(error: &ModelError) -> Option<String> {
    let hint = match error {
        ModelError::Weights(error) => return hint_for_weights(error),
        ModelError::TokenizerFile(error) => return hint_for_tokenizer(error),
        ModelError::Device(error) => return hint_for_device(error).map(str::to_owned),
        ModelError::Network(error) => return hint_for_network(error).map(str::to_owned),
        ModelError::NoTokenizer { .. }
        | ModelError::VocabularySize { .. }
        | ModelError::Version { .. }
        | ModelError::AmbiguousVersion { .. }
        | ModelError::ImageToken { .. } => {
            "put the model's own tekken.json into its directory, or set `--tokenizer FILE`, or the name of a model whose \
             tokenizer is built in, such as `--tokenizer pixtral-12b`, where the command has this option"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// A hint for a device.
pub fn hint_for_device(error: &OpenError) -> Option<&'static str> {
    match error {
        OpenError::Gpu(GpuError::Missing { .. }) => Some(
            "install the NVIDIA driver, and put the directories of libnvrtc and libcublasLt into LD_LIBRARY_PATH (the packages \
             nvidia-cuda-nvrtc and nvidia-cublas of pip have them); `--device cpu` needs none of them",
        ),
        OpenError::Gpu(error) if error.is_absence() => Some("choose another GPU, or use `--device cpu`"),
        _ => None,
    }
}

/// A hint for a network that does not fit on its device.
pub fn hint_for_network(error: &NetworkError) -> Option<&'static str> {
    error.is_out_of_memory().then_some(
        "`--load-in-4bit` holds the linear layers in a quarter of their memory; training also needs less with a smaller \
         `--batch-tokens`, and `pixtune plan` compares GPUs; other processes on the GPU share its memory",
    )
}

/// A hint for a conversion or a merge.
pub fn hint_for_converting(error: &ConvertError) -> Option<String> {
    let hint = match error {
        ConvertError::Exists { .. } => "replace pixtune's output with `--force`, or choose another DST",
        ConvertError::Foreign { .. }
        | ConvertError::SamePlace { .. }
        | ConvertError::NotADirectory { .. }
        | ConvertError::Contains { .. } => "choose another DST",
        ConvertError::Locked { .. } => "wait until it ends, or choose another DST",
        ConvertError::Write { source, .. } => {
            let full = "no partial output was left; free disk space or choose another DST, and run again";
            return hint_for_writing(source, full).map(str::to_owned);
        }
        ConvertError::GrownVocabulary { .. } => {
            "write it with `--to hf`, or put a tekken.json with all tokens of the model beside the adapter"
        }
        ConvertError::Vocabulary { .. } => "give the tokenizer of this model with `--base DIR`",
        ConvertError::Verify { .. } => "no partial output was left; the disk or the memory may be failing",
        ConvertError::Weights(error) => return hint_for_weights(error),
        ConvertError::Other { found, .. } => found.remedy(),
        ConvertError::Tokenizer { path, .. } => {
            return Substitute::of_file(path).map(|found| format!("it is {found}: {}", found.remedy()));
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// A hint for an adapter.
pub fn hint_for_adapters(error: &AdapterError) -> Option<String> {
    let hint = match error {
        AdapterError::Convert(error) => return hint_for_converting(error),
        AdapterError::Weights(error) => return hint_for_weights(error),
        AdapterError::Mixed { .. } => "choose one with `--from peft` or `--from mistral`",
        AdapterError::NoAdapter { found, .. } => return Some(found.next.clone()),
        AdapterError::Other { found, .. }
        | AdapterError::Safetensors(SafetensorsError::Other { found, .. }) => found.remedy(),
        AdapterError::NoConfig { .. } => {
            "copy it from the directory where peft's `save_pretrained` wrote the adapter"
        }
        AdapterError::QuantizedOriginal { .. } | AdapterError::OtherOriginal { .. } => {
            "give the model in BF16, F16 or F32 that the base was quantized from"
        }
        AdapterError::OtherBase { .. } => "give the base model that the adapter was trained on",
        AdapterError::OtherWeights { .. } => {
            "merge with the program that trained them, or go on without them with `--ignore-other-weights`"
        }
        AdapterError::Pickled { .. } => {
            "load it with the program that wrote it and save the adapter with `save_pretrained(safe_serialization=True)`"
        }
        AdapterError::StateShard { .. } => "copy the missing shard too",
        AdapterError::SeveralNames { .. } => {
            "save one of them with peft's `save_pretrained(selected_adapters=[NAME])`"
        }
        AdapterError::Sharded { sharded, .. } => hint_for_shards(sharded.kind),
        AdapterError::NotFinite { .. } => "the training diverged; use an earlier checkpoint",
        AdapterError::DialectOfFile { .. } => "omit `--from` to detect the dialect from the tensor names",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn hint_for_shards(kind: Sharding) -> &'static str {
    match kind {
        Sharding::Zero3 => {
            "save again with `stage3_gather_16bit_weights_on_model_save: true`, or join the parts of the checkpoint with its \
             `python zero_to_fp32.py CHECKPOINT OUT --safe_serialization`"
        }
        Sharding::Fsdp | Sharding::Rows => {
            "save again with `fsdp_state_dict_type: FULL_STATE_DICT`, or join the parts of the checkpoint with \
             `accelerate merge-weights CHECKPOINT OUT`"
        }
    }
}

/// A hint for a checkpoint.
pub fn hint_for_weights(error: &WeightsError) -> Option<String> {
    let hint = match error {
        WeightsError::NoCheckpoint { found, .. } | WeightsError::NotADirectory { found, .. } => {
            return Some(found.next.clone());
        }
        WeightsError::Safetensors(SafetensorsError::Other { found, .. })
        | WeightsError::Config(ConfigError::Other { found, .. }) => found.remedy(),
        WeightsError::Config(ConfigError::Io { path, source })
            if source.kind() == io::ErrorKind::NotFound && path.parent().is_some_and(Path::is_dir) =>
        {
            "the download is incomplete: copy the file from the model's repository"
        }
        WeightsError::IndexDisagrees { .. } => {
            "download the checkpoint again with `hf download ORG/NAME --local-dir DIR`; `pixtune convert` writes a new index for a \
             directory without one"
        }
        WeightsError::BothFormats { .. } => "move one of the formats to a directory of its own",
        WeightsError::TwoSets { .. } => "remove one of them; old shards are often left beside new ones",
        WeightsError::Sharded { sharded, .. } => hint_for_shards(sharded.kind),
        WeightsError::Quantized { .. } => {
            "the checkpoint is incomplete or damaged: download it again, or use the original weights"
        }
        WeightsError::ShardMissing { .. } => "download the checkpoint again",
        WeightsError::Mismatch { .. } => {
            "the configuration belongs to another model, or the checkpoint is incomplete"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}
