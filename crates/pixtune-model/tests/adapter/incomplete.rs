//! Adapters that are not what was trained, or whose names servers do not read.

use std::fs;
use std::path::Path;

use pixtune_files::Existing;
use pixtune_model::adapter::check::{
    CheckReport, Server, ServerOptions, Verdict, VllmVersion, check, vllm_rank_advice,
};
use pixtune_model::adapter::{Adapter, AdapterError, Conversion, Dialect};
use pixtune_model::weights::{Checkpoint, Format};

use super::harness::{Place, tensors, text};
use super::support::{Copy, Stored, fixture};

const FILE: &str = "adapter_model.safetensors";

fn ask(path: &Path, server: Server, options: ServerOptions) -> CheckReport {
    let base = if server.format() == Format::Hf { "hf_bf16" } else { "native_bf16" };
    let adapter = Adapter::open(path, None).unwrap();
    check(&adapter, &Checkpoint::open(&fixture(base)).unwrap(), server, options).unwrap()
}

fn renamed(rename: impl Fn(&str) -> String) -> Copy {
    let adapter = Copy::of("lora_all");
    adapter.rewrite(FILE, |mut stored| {
        stored.spec.name = rename(&stored.spec.name);
        vec![stored]
    });
    adapter
}

/// What of the modules of the text decoder, the only ones that vLLM applies without an option.
fn verdicts(adapter: &Copy, server: Server, options: ServerOptions) -> Verdict {
    ask(adapter.directory.path(), server, options).modules[0].verdict
}

#[test]
fn names_with_remains_are_read_reported_and_converted() {
    let prefix = "base_model.model.";
    let plain = ServerOptions::default();
    type Rename<'r> = &'r dyn Fn(&str) -> String;
    let cases: [(Rename<'_>, &str, [Verdict; 3]); 5] = [
        (
            &|name| name.replace(".weight", ".default.weight"),
            "contain the adapter's name, as `lora_A.default.weight`",
            [Verdict::Rejected, Verdict::Applied, Verdict::Ignored],
        ),
        (
            &|name| name.replace(".weight", ".mine.weight"),
            "as `lora_A.mine.weight`",
            [Verdict::Rejected, Verdict::Ignored, Verdict::Ignored],
        ),
        (
            &|name| name.replace(prefix, &format!("{prefix}_orig_mod.")),
            "contain `_orig_mod.`",
            [Verdict::Ignored; 3],
        ),
        (&|name| format!("module.{name}"), "contain `module.`", [Verdict::Ignored; 3]),
        (
            &|name| name.replace(prefix, ""),
            "do not begin with `base_model.model.`",
            [Verdict::Applied, Verdict::Applied, Verdict::Rejected],
        ),
    ];
    for (rename, message, expected) in cases {
        let adapter = renamed(rename);
        let opened = Adapter::open(adapter.directory.path(), None).unwrap();
        assert_eq!(opened.dialect, Dialect::Peft);
        assert!(opened.warnings[0].contains(message), "{:?}", opened.warnings);
        for (server, verdict) in
            [Server::VllmHf, Server::Transformers, Server::Transformers457].into_iter().zip(expected)
        {
            assert_eq!(verdicts(&adapter, server, plain), verdict, "{message} on {}", server.as_str());
        }
        let place = Place::new();
        place.convert(adapter.directory.path(), Dialect::Peft, "fixed", None).unwrap();
        assert_eq!(tensors(&place.path("fixed").join(FILE)), tensors(&fixture("lora_all").join(FILE)));
    }
}

#[test]
fn text_only_names_are_applied_from_vllm_0_33_on() {
    let adapter = Copy::of("lora_all");
    adapter.rewrite(FILE, |mut stored| match stored.spec.name.contains("language_model") {
        true => {
            stored.spec.name = stored.spec.name.replace("model.language_model.", "model.");
            vec![stored]
        }
        false => Vec::new(),
    });
    for server in [Server::VllmHf, Server::VllmMistral] {
        let ask = |vllm| verdicts(&adapter, server, ServerOptions { vllm, ..ServerOptions::default() });
        assert_eq!(ask(VllmVersion::V033), Verdict::Applied);
        assert_eq!(ask(VllmVersion::V032), Verdict::Ignored);
    }
}

fn zeroed(which: impl Fn(&Stored) -> bool, byte: u8) -> Copy {
    let adapter = Copy::of("lora_all");
    adapter.rewrite(FILE, |mut stored| {
        if which(&stored) {
            stored.bytes.as_chunks_mut().0.iter_mut().for_each(|four: &mut [u8; 4]| *four = [0, 0, 0, byte]);
        }
        vec![stored]
    });
    adapter
}

#[test]
fn an_adapter_of_zeros_was_not_trained() {
    let ask = |adapter: &Copy| ask(adapter.directory.path(), Server::Transformers, ServerOptions::default());
    for (which, byte) in [("lora_B", 0), ("lora_B", 0x80), ("lora_A", 0)] {
        let adapter = zeroed(|stored| stored.spec.name.contains(which), byte);
        let report = ask(&adapter);
        assert!(!report.is_fine() && report.all_applied());
        assert!(report.problems[0].starts_with("nothing was trained"), "{:?}", report.problems);
        let place = Place::new();
        let merged = place.merge("hf_bf16", adapter.directory.path(), Format::Hf, None, "merged").unwrap();
        assert!(merged.warnings.iter().any(|text| text.starts_with("nothing was trained")));
    }
    let adapter =
        zeroed(|stored| stored.spec.name.contains("layers.1.") && stored.spec.name.contains("lora_B"), 0);
    let report = ask(&adapter);
    assert!(report.is_fine());
    assert!(
        report.warnings.iter().any(|text| text.starts_with("14 of 37 modules were not trained")),
        "{:?}",
        report.warnings
    );
    assert!(ask(&Copy::of("lora_all")).warnings.is_empty());
}

#[test]
fn weights_beside_the_adapter_are_named_and_not_dropped() {
    let adapter = Copy::of("lora_all");
    for name in [
        "non_lora_state_dict.bin",
        "mm_projector.safetensors",
        "optimizer.pt",
        "training_args.bin",
        "README.md",
    ] {
        fs::write(adapter.path(name), "weights").unwrap();
    }
    let path = adapter.directory.path();
    let report = ask(path, Server::Transformers, ServerOptions::default());
    assert_eq!(report.problems.len(), 2, "{:?}", report.problems);
    assert!(report.problems[1].contains("`non_lora_state_dict.bin` lies beside the adapter"));
    let place = Place::new();
    let merged = place.merge("hf_bf16", path, Format::Hf, None, "out").unwrap_err();
    let converted = place.convert(path, Dialect::PeftLegacy, "out", None).unwrap_err();
    for error in [merged, converted] {
        assert!(
            text(&error).contains("`mm_projector.safetensors`, `non_lora_state_dict.bin`"),
            "{}",
            text(&error)
        );
    }
    let base = Checkpoint::open(&fixture("hf_bf16")).unwrap();
    let mut opened = Adapter::open(path, None).unwrap();
    opened.ignore_other_weights();
    let conversion =
        Conversion::new(&opened, &base, Dialect::PeftLegacy, &place.path("out"), None, Existing::Keep)
            .unwrap();
    assert!(
        conversion
            .warnings
            .iter()
            .any(|text| text.contains("`non_lora_state_dict.bin` has weights that are not applied"))
    );
}

#[test]
fn keys_have_the_same_verdict_in_check_and_merge() {
    let neutral = "\"use_qalora\": false, \"lora_dtype\": \"bfloat16\", \"lorap_emb_lr\": 1e-6, \"lorap_lr_ratio\": 16.0";
    for (keys, fine) in [(neutral, true), ("\"use_qalora\": false, \"new_method\": 3", false)] {
        let adapter = Copy::of("lora_all");
        adapter.edit("adapter_config.json", "\"use_qalora\": false", keys);
        let path = adapter.directory.path();
        assert_eq!(ask(path, Server::Transformers, ServerOptions::default()).is_fine(), fine);
        assert_eq!(Place::new().merge("hf_bf16", path, Format::Hf, None, "merged").is_ok(), fine);
    }
}

#[test]
fn parts_of_distributed_runs_are_one_line() {
    let sharded = |change: &dyn Fn(&mut Stored), message: &str| {
        let adapter = Copy::of("lora_all");
        adapter.rewrite(FILE, |mut stored| {
            change(&mut stored);
            vec![stored]
        });
        let error = Adapter::open(adapter.directory.path(), None).unwrap_err();
        assert!(matches!(error, AdapterError::Sharded { .. }), "{}", text(&error));
        assert!(text(&error).contains(message), "{}", text(&error));
        assert_eq!(text(&error).lines().count(), 1);
    };
    sharded(
        &|stored| {
            stored.spec.shape = vec![0];
            stored.bytes.clear();
        },
        "74 of 74 tensors are empty, as DeepSpeed ZeRO-3 saves parameters",
    );
    sharded(
        &|stored| {
            if stored.spec.name.contains("layers.1.") {
                stored.spec.shape = vec![0];
                stored.bytes.clear();
            }
        },
        "28 of 74 tensors are empty",
    );
    sharded(
        &|stored| {
            let half = stored.bytes.len() / 8;
            stored.spec.shape = vec![half];
            stored.bytes.truncate(half * 4);
        },
        "are flat pieces, as FSDP saves",
    );
    sharded(
        &|stored| {
            stored.spec.shape[0] /= 2;
            stored.bytes.truncate(stored.bytes.len() / 2);
        },
        "are parts of the rows",
    );
}

#[test]
fn the_state_of_a_whole_model_is_named() {
    let adapter = Copy::of("lora_all");
    adapter.rewrite(FILE, |mut stored| {
        let base = stored.spec.name.strip_suffix(".lora_B.weight").map(|path| {
            let mut base = stored.clone();
            base.spec.name = format!("{path}.base_layer.weight");
            base
        });
        stored.spec.name = stored.spec.name.replace(".weight", ".default.weight");
        [Some(stored), base].into_iter().flatten().collect()
    });
    let opened = Adapter::open(adapter.directory.path(), None).unwrap();
    let container = opened.container.unwrap();
    assert!(container.contains("has the state of the whole model: its adapter is read"), "{container}");
    assert!(container.contains("37 tensors of the base are not used"), "{container}");
}

#[test]
fn what_is_named_as_trained_and_not_stored_is_reported() {
    let adapter = Copy::of("lora_all");
    adapter.edit("adapter_config.json", "\"modules_to_save\": null", "\"modules_to_save\": [\"lm_head\"]");
    adapter.edit(
        "adapter_config.json",
        "\"trainable_token_indices\": null",
        "\"trainable_token_indices\": [1]",
    );
    let opened = Adapter::open(adapter.directory.path(), None).unwrap();
    assert!(opened.warnings[0].contains("modules_to_save names `lm_head`"), "{:?}", opened.warnings);
    assert!(opened.warnings[1].contains("no rows are stored"), "{:?}", opened.warnings);
}

#[test]
fn an_adapter_file_needs_its_configuration() {
    let adapter = Copy::of("lora_all");
    fs::remove_file(adapter.path("adapter_config.json")).unwrap();
    let error = Adapter::open(&adapter.path(FILE), None).unwrap_err();
    assert!(matches!(error, AdapterError::NoConfig { .. }), "{}", text(&error));
}

#[test]
fn ranks_that_vllm_does_not_take_name_the_next() {
    let adapter = Copy::of("lora_all");
    let ask = |max_rank| {
        let options = ServerOptions { max_rank, ..ServerOptions::default() };
        ask(adapter.directory.path(), Server::VllmHf, options).modules[0].reason.clone()
    };
    assert_eq!(ask(1), "rank 4 is above --max-lora-rank 1: start vLLM with --max-lora-rank 8");
    assert!(vllm_rank_advice(513).contains("vLLM has no --max-lora-rank above 512"));
}

#[test]
fn the_base_that_the_adapter_names_is_compared() {
    let base = Copy::of("hf_bf16");
    base.edit("config.json", "{", "{\"_name_or_path\": \"mistralai/Pixtral-12B-2409\",");
    let base = Checkpoint::open(base.directory.path()).unwrap();
    for (name, warns) in [("mistralai/Pixtral-12B-Base-2409", true), ("mistral-community/pixtral-12b", false)]
    {
        let adapter = Copy::of("lora_all");
        adapter.edit(
            "adapter_config.json",
            "\"base_model_name_or_path\": null",
            &format!("\"base_model_name_or_path\": \"{name}\""),
        );
        let adapter = Adapter::open(adapter.directory.path(), None).unwrap();
        let report = check(&adapter, &base, Server::Transformers, ServerOptions::default()).unwrap();
        let found = report.warnings.iter().any(|text| text.contains("names the base"));
        assert_eq!(found, warns, "{name}: {:?}", report.warnings);
    }
}
