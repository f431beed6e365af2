//! Every target, as a constant.

use super::training::ANY;
use super::{ImageFormat, ImageUrlForm, Method, Target, Training};
use crate::diagnostic::Severity;
use crate::rules;

/// The targets that `--target` accepts.
pub const ACCEPTED: &[&Target] = &[&MISTRAL, &OPENAI, &HF];

/// The targets that `prepare` writes for.
pub const WRITTEN: &[&Target] = &[&MISTRAL, &OPENAI];

/// The targets that `plan` compares.
pub const PLANNED: &[&Target] = &[&PIXTUNE, &MISTRAL, &AXOLOTL, &MS_SWIFT, &TRL, &LLAMA_FACTORY, &UNSLOTH];

/// Mistral's hosted fine-tuning format, as far as it was ever documented.
pub const MISTRAL: Target = Target {
    id: "mistral",
    name: "server with Mistral's API",
    image_url: ImageUrlForm::String,
    accepts_any_image_form: false,
    formats: &[ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif],
    max_image_bytes: 10_000_000,
    max_side: 10_000,
    max_images: 8,
    max_file_bytes: 500_000_000,
    refused_file_bytes: 512_000_000,
    max_validation_bytes: 1_000_000,
    min_samples: 10,
    severities: &[
        (&rules::UNKNOWN_KEY, Severity::Error),
        (&rules::NULL_KEY, Severity::Error),
        (&rules::DUPLICATE, Severity::Warning),
    ],
    training: Training {
        notes: &[
            "Mistral's own service calls fine-tuning deprecated (docs.mistral.ai/resources/deprecated/finetuning)",
        ],
        ..ANY
    },
    sources: "docs.mistral.ai (2026-08-21): vision page (10 MB, 10000x10000, 8 images, PNG/JPEG/WEBP/GIF without animation; \
              the known-limitations page documents 20 MB and no fixed number); fine-tuning page (512 MB per file, advice to split at \
              500 MB; validation up to 1 MB); mistral-finetune validate_data.py (10 samples); severities: what mistral-common \
              1.13.1 rejects",
};

/// OpenAI's vision fine-tuning format.
pub const OPENAI: Target = Target {
    id: "openai",
    name: "OpenAI",
    image_url: ImageUrlForm::Object,
    accepts_any_image_form: false,
    formats: &[ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP],
    max_image_bytes: 10_000_000,
    max_side: 10_000,
    max_images: 64,
    max_file_bytes: 500_000_000,
    refused_file_bytes: 512_000_000,
    max_validation_bytes: u64::MAX,
    min_samples: 10,
    severities: &[
        (&rules::TOO_MANY_IMAGES, Severity::Error),
        (&rules::IMAGE_FORM, Severity::Error),
        (&rules::TOO_FEW_SAMPLES, Severity::Error),
        (&rules::JSON_NAN, Severity::Error),
        (&rules::TOOL_ID, Severity::Warning),
        (&rules::TOOL_ID_UNMATCHED, Severity::Error),
        (&rules::ANSWER_AND_CALLS, Severity::Warning),
        (&rules::ROLE_ORDER, Severity::Warning),
        (&rules::CONTEXT_OVERFLOW, Severity::Warning),
        (&rules::DUPLICATE, Severity::Warning),
    ],
    training: ANY,
    sources: "developers.openai.com vision fine-tuning guide and learn.microsoft.com fine-tuning-vision: 64 images per sample, 10 \
              MB per image, JPEG/PNG/WEBP in RGB or RGBA, no images in assistant messages, `image_url` an object; 512 MB per \
              file, at least 10 samples",
};

/// Trainers built on Hugging Face transformers: TRL, Axolotl, LLaMA-Factory, ms-swift, Unsloth.
pub const HF: Target = Target {
    id: "hf",
    name: "Hugging Face trainers",
    image_url: ImageUrlForm::String,
    accepts_any_image_form: true,
    formats: &[
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Gif,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
    ],
    max_image_bytes: u64::MAX,
    max_side: u32::MAX,
    max_images: usize::MAX,
    max_file_bytes: 500_000_000,
    refused_file_bytes: u64::MAX,
    max_validation_bytes: u64::MAX,
    min_samples: 10,
    severities: &[
        (&rules::CONTROL_TOKEN, Severity::Error),
        (&rules::ASSISTANT_FIRST, Severity::Error),
        (&rules::CONSECUTIVE_ROLES, Severity::Error),
        (&rules::JSON_BOM, Severity::Warning),
        (&rules::JSON_ARRAY, Severity::Warning),
        (&rules::TOOL_ID, Severity::Warning),
        (&rules::ANSWER_AND_CALLS, Severity::Warning),
        (&rules::IMAGE_ANIMATED, Severity::Warning),
        (&rules::DUPLICATE, Severity::Warning),
    ],
    training: ANY,
    sources: "transformers 5.23.0: chat templates of Pixtral require strictly alternating roles and convert text that looks like a \
              special token to one; load_image opens what Pillow opens; no size limits are known",
};

/// A trainer that reads any number of samples.
const TRAINER: Target = Target { min_samples: 0, ..HF };

/// `pixtune train`: adapters of Pixtral, Mistral Small 3 and Ministral 3, on the CPU.
pub const PIXTUNE: Target = Target {
    id: "pixtune",
    name: "pixtune train",
    severities: &[],
    training: Training {
        methods: &[Method::Lora, Method::Qlora],
        notes: &["`pixtune train --dry-run` reports the memory it needs"],
        // `bench/train` measured 101 billion on two virtual cores of an AMD EPYC (2026-11-24), a little more than half of
        // what a single-precision matrix multiplication reaches there.
        core_flops: Some(50e9),
        ..ANY
    },
    sources: "this program",
    ..TRAINER
};

/// Axolotl's fine-tuning of models with images.
pub const AXOLOTL: Target = Target {
    id: "axolotl",
    name: "Axolotl 0.19",
    training: Training {
        keeps_system_prompts: false,
        length_setting: Some("sequence_len: {} or more (nothing is truncated to it)"),
        settings: &[
            "chat_template: pixtral, processor_type: AutoProcessor, skip_prepare_dataset: true, remove_unused_columns: false, \
             sample_packing: false",
        ],
        ..ANY
    },
    sources: "its collator was run on such samples; settings: docs.axolotl.ai/docs/multimodal.html",
    ..TRAINER
};

/// ms-swift's supervised fine-tuning.
pub const MS_SWIFT: Target = Target {
    id: "ms-swift",
    name: "ms-swift 4.6",
    training: Training {
        length_setting: Some("--max_length {} or more"),
        mixed_sizes_setting: Some(
            "--per_device_train_batch_size 1: a batch of images with different sizes fails",
        ),
        ..ANY
    },
    sources: "run on such samples",
    ..TRAINER
};

/// TRL's `SFTTrainer`. For samples with images, its `assistant_only_loss` needs transformers 5.18 or newer; before, only the
/// columns `prompt` and `completion` keep prompts out of the loss.
pub const TRL: Target = Target {
    id: "trl",
    name: "TRL 1.16",
    training: Training {
        length_setting: Some("max_length=None, or {} or more: the default of 1,024 truncates inside images"),
        changes: &[
            "columns `messages` of parts and `images`, and a chat template that marks responses: the model's own fails; `pixtune \
             export --to trl` writes both",
        ],
        ..ANY
    },
    sources: "run with a tiny model; trl/trainer/sft_config.py and sft_trainer.py",
    ..TRAINER
};

/// LLaMA-Factory's supervised fine-tuning.
pub const LLAMA_FACTORY: Target = Target {
    id: "llama-factory",
    name: "LLaMA-Factory 0.9.5",
    training: Training {
        length_setting: Some("cutoff_len: {} or more, else images are truncated (default 2,048)"),
        pixels_setting: Some("image_max_pixels: {} or more; the default downscales images to 768×768"),
        changes: &[
            "`<image>` placeholders in the text, and image files beside the data: `pixtune export --to llama-factory` writes them",
        ],
        ..ANY
    },
    sources: "run up to its collator; hparams/data_args.py and model_args.py",
    ..TRAINER
};

/// Unsloth's collator of images.
pub const UNSLOTH: Target = Target {
    id: "unsloth",
    name: "Unsloth 2026.10",
    training: Training {
        length_setting: Some("max_seq_length={} or more"),
        settings: &[
            "its collator with train_on_responses_only=True, instruction_part and response_part: without them, prompts are trained \
             as well",
        ],
        decoded_images_setting: Some(
            "images opened one by one: a list of all decoded images takes {} GB of memory",
        ),
        changes: &[
            "parts {\"type\": \"image\", \"image\": …} with opened images: the script of `pixtune export --to unsloth` opens them",
        ],
        ..ANY
    },
    sources: "zoo 2026.10.7 was read, not run: unsloth_zoo/vision_utils.py; unsloth.ai/docs/basics/vision-fine-tuning",
    ..TRAINER
};
