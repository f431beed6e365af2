//! Every trainer and service, as a constant.

use pixtune_core::target::{self, ImageFormat};

use super::{Feature, Guide, Layout, Limits, Package, Support, System, Trainer};

/// What an export can be for.
pub const ALL: &[&Trainer] = &[
    &TRL,
    &TRL_COMPLETION,
    &UNSLOTH,
    &AXOLOTL,
    &LLAMA_FACTORY,
    &MS_SWIFT,
    &HF_DATASET,
    &WEBDATASET,
    &MDS,
    &OPENAI,
    &AZURE,
    &TOGETHER,
    &FIREWORKS,
];

/// Everything that the format can express.
const ALL_KEPT: Support = Support {
    tools: Feature::Kept,
    weights: Feature::Kept,
    earlier_responses: Feature::Kept,
    text_only: Feature::Kept,
    several_images: Feature::Kept,
};

const TRL: Trainer = Trainer {
    id: "trl",
    name: "TRL",
    tested: "trl 1.16.0, transformers 5.23.0, peft 0.21.2, datasets 5.2.0",
    package: Some(Package { name: "trl", tested: "1.16" }),
    target: &target::TRL,
    layout: Layout::Parts,
    system: System::AsTheReference,
    support: ALL_KEPT,
    placeholders: &[],
    renders_text: true,
    own_template: true,
    image_token: None,
    limits: Limits::NONE,
    guide: Guide {
        install: "pip install 'trl[vlm]==1.16.0' peft==0.21.2 'transformers>=5.18'",
        run: "trl sft --config sft.yaml",
        resume: "trl sft --config sft.yaml --resume_from_checkpoint output/checkpoint-N",
        adapter: "output",
        notes: &[
            "`assistant_only_loss` needs transformers 5.18 or newer (trl/trainer/sft_trainer.py:788).",
            "TRL warns that the chat template does not include the end-of-turn token in the loss mask. It does: the check compares a \
             tensor with a set of numbers (trl/chat_template_utils.py:990).",
        ],
        ..Guide::NONE
    },
};

/// For transformers that cannot mark responses in samples with images.
const TRL_COMPLETION: Trainer = Trainer {
    id: "trl-completion",
    name: "TRL with prompts and completions",
    tested: "trl 1.16.0 with transformers 4.57.1 and 5.23.0",
    layout: Layout::PromptCompletion,
    support: Support {
        earlier_responses: Feature::Rejected(
            "TRL trains the completion alone, which is the last response; `--to trl` trains all",
        ),
        ..ALL_KEPT
    },
    guide: Guide {
        install: "pip install 'trl[vlm]==1.16.0' peft==0.21.2 'transformers>=4.57'",
        notes: &[
            "The loss counts the last response, which is the only one that is trained in these samples.",
        ],
        ..TRL.guide
    },
    ..TRL
};

const UNSLOTH: Trainer = Trainer {
    id: "unsloth",
    name: "Unsloth",
    tested: "",
    package: None,
    target: &target::UNSLOTH,
    // Its mask is found by the texts around responses, which were read for v3 alone.
    own_template: false,
    support: Support {
        tools: Feature::Rejected("its mask trains everything behind `[/INST]`, results of tools too"),
        weights: Feature::Rejected("its mask trains every response"),
        ..ALL_KEPT
    },
    guide: Guide {
        install: "pip install unsloth==2026.10.9",
        run: "python train.py",
        resume: "python train.py --resume",
        adapter: "output",
        notes: &[
            "Unsloth imports only on a machine with a GPU, so these files follow its source (unsloth_zoo 2026.10.7, \
             vision_utils.py) and were not run.",
        ],
        ..Guide::NONE
    },
    ..TRL
};

const AXOLOTL: Trainer = Trainer {
    id: "axolotl",
    name: "Axolotl",
    tested: "axolotl 0.19.0",
    package: Some(Package { name: "axolotl", tested: "0.19" }),
    target: &target::AXOLOTL,
    own_template: false,
    layout: Layout::PartsWithPaths,
    support: Support {
        tools: Feature::Rejected(
            "its template knows user and assistant messages alone (axolotl/utils/chat_templates/templates/pixtral.jinja)",
        ),
        weights: Feature::Rejected(
            "its mask trains every response (axolotl/processing_strategies.py:393-486)",
        ),
        ..ALL_KEPT
    },
    system: System::Drops(
        "its template keeps a system message only if the last message is the user's, which it never is in training",
    ),
    guide: Guide {
        install: "pip install axolotl==0.19.0 torchvision",
        run: "axolotl train sft.yaml",
        resume: "axolotl train sft.yaml --resume-from-checkpoint output/checkpoint-N",
        adapter: "output",
        notes: &[
            "Without a network its telemetry waits for minutes; `AXOLOTL_DO_NOT_TRACK=1` switches it off.",
        ],
        ..Guide::NONE
    },
    ..TRL
};

const LLAMA_FACTORY: Trainer = Trainer {
    id: "llama-factory",
    name: "LLaMA-Factory",
    tested: "llamafactory 0.9.5, transformers 5.6.0, peft 0.18.1",
    package: Some(Package { name: "llamafactory", tested: "0.9.5" }),
    target: &target::LLAMA_FACTORY,
    own_template: false,
    layout: Layout::Placeholders,
    system: System::Elsewhere("in the first user message"),
    support: Support {
        tools: Feature::Rejected(
            "LLaMA-Factory writes tools with a blank inside `[INST]`, and calls and results without ids \
             (data/tool_utils.py:564-569, data/template.py:1936)",
        ),
        weights: Feature::Converted(
            "a response that is not trained becomes part of the prompt, with the control tokens around it",
        ),
        ..ALL_KEPT
    },
    placeholders: &["<image>", "<video>", "<audio>"],
    guide: Guide {
        install: "pip install llamafactory==0.9.5",
        run: "llamafactory-cli train sft.yaml",
        resume: "llamafactory-cli train sft.yaml resume_from_checkpoint=output/checkpoint-N",
        adapter: "output",
        notes: &[
            "A batch without images gets a white image whose tokens have neither attention nor loss (data/collator.py:345-372).",
        ],
        ..Guide::NONE
    },
    ..TRL
};

const MS_SWIFT: Trainer = Trainer {
    id: "ms-swift",
    name: "ms-swift",
    tested: "ms-swift 4.6.0, transformers 5.19.0, peft 0.20.0",
    package: Some(Package { name: "ms-swift", tested: "4.6" }),
    target: &target::MS_SWIFT,
    own_template: false,
    layout: Layout::PlaceholdersAndLoss,
    system: System::Elsewhere("before the first `[INST]`"),
    support: Support {
        tools: Feature::Rejected(
            "its agent templates write tools in other layouts (swift/template/base.py:1380)",
        ),
        ..ALL_KEPT
    },
    placeholders: &["<image>", "{{ROUND0}}", "{{ROUND1}}"],
    // swift/template/templates/pixtral.py:22
    image_token: Some(10),
    guide: Guide {
        install: "pip install ms-swift==4.6.0 torchvision",
        run: "swift sft sft.yaml",
        resume: "swift sft sft.yaml --resume_from_checkpoint output/checkpoint-N",
        evaluate: "swift infer --adapters output/checkpoint-N",
        adapter: "output/checkpoint-N",
        notes: &["`per_device_train_batch_size` stays 1: images of different sizes cannot be stacked \
             (swift/template/templates/pixtral.py:46)."],
        ..Guide::NONE
    },
    ..TRL
};

const HF_DATASET: Trainer = Trainer {
    id: "hf-dataset",
    name: "Hugging Face datasets",
    tested: "datasets 5.2.0",
    package: None,
    target: &target::HF,
    layout: Layout::Chats,
    renders_text: false,
    guide: Guide {
        install: "pip install datasets",
        read: "from datasets import load_dataset\n\ntrain = load_dataset(\"parquet\", data_files=\"data/train-*\", split=\"train\")\n\
               train[0][\"images\"][0]  # a PIL image",
        notes: &[
            "The content of a message is a list of parts: `text`, and `image` for the next of `images`.",
            "`tools` is JSON text.",
        ],
        ..Guide::NONE
    },
    ..TRL
};

const WEBDATASET: Trainer = Trainer {
    id: "webdataset",
    name: "WebDataset",
    tested: "webdataset 1.0.2",
    layout: Layout::WebDataset,
    guide: Guide {
        install: "pip install webdataset",
        read: "import json\n\nimport webdataset\n\nfor sample in webdataset.WebDataset(\"train-00000-of-00001.tar\", shardshuffle=False):\n    \
               messages = json.loads(sample[\"json\"])[\"messages\"]\n    images = [sample[key] for key in sorted(sample) if key[0].isdigit()]",
        notes: &[
            "The key of a sample is the number of its file and its line.",
            "In a content that is a list, `image` stands for the next image.",
        ],
        ..Guide::NONE
    },
    ..HF_DATASET
};

const MDS: Trainer = Trainer {
    id: "mds",
    name: "MDS of mosaicml-streaming",
    tested: "mosaicml-streaming 0.13.0",
    layout: Layout::Mds,
    guide: Guide {
        install: "pip install mosaicml-streaming",
        read: "from streaming import StreamingDataset\n\ntrain = StreamingDataset(local=\"train\", batch_size=1)\n\
               train[0][\"sample\"][\"messages\"], train[0][\"images\"]",
        notes: &["In a content that is a list, `image` stands for the next of `images`."],
        ..Guide::NONE
    },
    ..HF_DATASET
};

const HOSTED: Trainer =
    Trainer { tested: "", target: &target::OPENAI, layout: Layout::Chat, guide: Guide::NONE, ..HF_DATASET };

const OPENAI: Trainer = Trainer {
    id: "openai",
    name: "OpenAI",
    limits: Limits {
        formats: &[ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP],
        max_images: 64,
        max_image_bytes: 10_000_000,
        max_file_bytes: 500_000_000,
        min_samples: 10,
        max_samples: 50_000,
    },
    guide: Guide {
        notes: &["OpenAI's fine-tuning platform is closed to new users and ends in January 2027."],
        ..Guide::NONE
    },
    ..HOSTED
};

const AZURE: Trainer = Trainer { id: "azure", name: "Azure OpenAI", guide: Guide::NONE, ..OPENAI };

const TOGETHER: Trainer = Trainer {
    id: "together",
    name: "Together",
    limits: Limits {
        max_images: 10,
        max_file_bytes: 50_000_000_000,
        min_samples: 1,
        max_samples: u64::MAX,
        ..OPENAI.limits
    },
    ..HOSTED
};

const FIREWORKS: Trainer = Trainer {
    id: "fireworks",
    name: "Fireworks",
    limits: Limits {
        formats: &[ImageFormat::Jpeg, ImageFormat::Png],
        min_samples: 3,
        max_samples: 3_000_000,
        ..Limits::NONE
    },
    ..HOSTED
};
