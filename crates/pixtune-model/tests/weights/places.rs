//! Paths at which something else lies than a model or an adapter, and what stays behind in directories.

use std::fs;
use std::path::Path;

use pixtune_core::json;
use pixtune_model::adapter::{Adapter, AdapterError};
use pixtune_model::weights::convert::{Options, Plan};
use pixtune_model::weights::found::{Found, Wanted};
use pixtune_model::weights::{Checkpoint, Format, WeightsError};

use super::support::{Copy, fixture};

/// A directory with these files; a name that ends with `/` is a directory.
fn place(names: &[&str]) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for name in names {
        let path = place.path().join(name);
        fs::create_dir_all(if name.ends_with('/') { &path } else { path.parent().unwrap() }).unwrap();
        if !name.ends_with('/') {
            fs::write(path, "x").unwrap();
        }
    }
    place
}

/// What is found in the directory, and the next step, with `DIR` for the directory.
fn found(place: &Path, wanted: Wanted) -> (String, String) {
    let Found { what, next } = match (wanted, Checkpoint::open(place), Adapter::open(place, None)) {
        (
            Wanted::Model,
            Err(WeightsError::NoCheckpoint { found, .. } | WeightsError::NotADirectory { found, .. }),
            _,
        )
        | (Wanted::Adapter, _, Err(AdapterError::NoAdapter { found, .. })) => found,
        (_, model, adapter) => panic!("{model:?} {adapter:?}"),
    };
    let shown = |text: String| text.replace(place.to_str().unwrap(), "DIR");
    (shown(what), shown(next))
}

#[track_caller]
fn expect(names: &[&str], wanted: Wanted, what: &str, next: &str) {
    let place = place(names);
    let (found_what, found_next) = found(place.path(), wanted);
    assert!(found_what.contains(what) && found_next.contains(next), "{names:?}: {found_what} | {found_next}");
}

#[test]
fn names_what_lies_there_and_the_next_step() {
    use Wanted::{Adapter, Model};
    let run =
        ["plan.json", "metrics.jsonl", "adapter/adapter_config.json", "adapter/adapter_model.safetensors"];
    expect(&run, Adapter, "output of `pixtune train`", "give its adapter, `DIR/adapter`");
    expect(&run, Model, "output of `pixtune train`", "`pixtune adapter merge BASE DIR/adapter DST`");
    let unfinished = ["plan.json", "checkpoints/step-9/state.json", "checkpoints/step-10/state.json"];
    expect(&unfinished, Adapter, "output of `pixtune train`", "`DIR/checkpoints/step-10`");
    expect(&["manifest.json", "train.jsonl"], Model, "a dataset that `pixtune prepare` wrote", "`--data`");
    let trainer = [
        "trainer_state.json",
        "checkpoint-9/adapter_config.json",
        "checkpoint-9/adapter_model.safetensors",
        "checkpoint-100/adapter_config.json",
        "checkpoint-100/adapter_model.safetensors",
    ];
    expect(&trainer, Adapter, "the output of a training run", "its newest checkpoint, `DIR/checkpoint-100`");
    expect(&["global_step5/", "latest"], Adapter, "DeepSpeed", "zero_to_fp32.py DIR OUT");
    expect(&["__0_0.distcp", ".metadata"], Model, "(.distcp)", "accelerate merge-weights DIR OUT");
    expect(
        &["pytorch_model_fsdp_0/__0_0.distcp"],
        Adapter,
        "(.distcp)",
        "merge-weights DIR/pytorch_model_fsdp_0 OUT",
    );
    expect(&["pixtral-12b-Q4_K_M.gguf", "mmproj.gguf"], Model, "a GGUF file", "download the model");
    expect(
        &["pixtral/config.json", "pixtral/model.safetensors"],
        Model,
        "in a directory below",
        "give `DIR/pixtral`",
    );
    expect(
        &["a/lora.safetensors", "b/lora.safetensors"],
        Adapter,
        "2 directories with an adapter",
        "such as `DIR/b`, `DIR/a`",
    );
    expect(
        &["adapter_config.json", "adapter_model.safetensors"],
        Model,
        "it is an adapter",
        "DST` makes a model",
    );
    expect(
        &["config.json", "model-00001-of-00002.safetensors"],
        Adapter,
        "it is a model",
        "this model as its base",
    );
    expect(&["config.json"], Model, "it has config.json, but no model*", "the download is incomplete");
    expect(&["adapter_config.json"], Adapter, "it has adapter_config.json, but neither", "incomplete");
    expect(&[], Model, "it is empty", "give a directory with config.json");
    let cache = ["refs/", "blobs/", "snapshots/abc/config.json", "snapshots/abc/model.safetensors"];
    expect(&cache, Model, "a repository in Hugging Face's cache", "give its snapshot, `DIR/snapshots/abc`");
    expect(
        &["checkpoints/checkpoint_000100/consolidated/lora.safetensors"],
        Adapter,
        "in a directory below",
        "`DIR/checkpoints/checkpoint_000100/consolidated`",
    );
    let hub = [
        "models--a--b/snapshots/1/x",
        "models--a--c/snapshots/2/config.json",
        "models--a--c/snapshots/2/model.safetensors",
    ];
    expect(&hub, Model, "Hugging Face's cache", "such as `DIR/models--a--c/snapshots/2`");
}

#[test]
fn the_snapshot_is_the_one_that_main_names() {
    let place = place(&["refs/", "blobs/", "snapshots/aaa/x", "snapshots/bbb/x"]);
    fs::write(place.path().join("refs/main"), "bbb\n").unwrap();
    assert_eq!(found(place.path(), Wanted::Model).1, "give its snapshot, `DIR/snapshots/bbb`");
    fs::write(place.path().join("refs/main"), "../../etc").unwrap();
    assert_eq!(found(place.path(), Wanted::Model).1, "give its snapshot, `DIR/snapshots/aaa`");
}

#[test]
fn files_in_place_of_directories_lead_to_their_directory() {
    let place = place(&[
        "config.json",
        "model.safetensors",
        "tuned/adapter_config.json",
        "tuned/adapter_model.safetensors",
    ]);
    let error = Checkpoint::open(&place.path().join("model.safetensors")).unwrap_err();
    let WeightsError::NotADirectory { found, .. } = error else { panic!("{error}") };
    assert_eq!(found.next, format!("give its directory, `{}`", place.path().display()));
    let error = Adapter::open(&place.path().join("tuned/adapter_config.json"), None).unwrap_err();
    let AdapterError::NoAdapter { found, .. } = error else { panic!("{error}") };
    assert_eq!(found.next, format!("give its directory, `{}`", place.path().join("tuned").display()));
    fs::write(place.path().join("m.gguf"), "GGUF\x03\0\0\0").unwrap();
    let error = Adapter::open(&place.path().join("m.gguf"), None).unwrap_err();
    assert!(error.to_string().contains("it is a GGUF file"), "{error}");
}

#[test]
fn files_that_a_download_left_are_named() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4958443072\n";
    for (content, message) in [
        (pointer, "`DIR/model.safetensors` is a Git LFS pointer to a file of 4958443072 bytes"),
        ("<!DOCTYPE html>\n<html><body>Log in</body></html>", "is a web page, not safetensors"),
        (
            "Access to model mistralai/Pixtral-12B-2409 is restricted",
            "is a text that begins with `Access to model",
        ),
        ("{\"error\":\"Repository not found\"}", "is a text that begins with `{\"error\""),
        ("{\"message\": \"token expired\"}", "is a text that begins with `{\"message\""),
        ("Not Found", "is a text that begins with `Not Found`"),
        ("GGUF\x03\0\0\0rest", "is a GGUF file, not safetensors"),
    ] {
        let copy = Copy::of("hf_bf16");
        fs::write(copy.path("model.safetensors"), content).unwrap();
        let error = Checkpoint::open(copy.directory.path()).unwrap_err().to_string();
        let error = error.replace(copy.directory.path().to_str().unwrap(), "DIR");
        assert!(error.contains(message), "{error}");
        let adapter = Copy::of("lora_all");
        fs::write(adapter.path("adapter_model.safetensors"), content).unwrap();
        let error = Adapter::open(adapter.directory.path(), None).unwrap_err().to_string();
        assert!(error.contains(message.trim_start_matches("`DIR/model.safetensors` ")), "{error}");
    }
    for (name, of) in [("config.json", "hf_bf16"), ("params.json", "native_bf16")] {
        let copy = Copy::of(of);
        fs::write(copy.path(name), pointer).unwrap();
        let error = Checkpoint::open(copy.directory.path()).unwrap_err().to_string();
        assert!(error.contains("is a Git LFS pointer") && error.ends_with("not JSON"), "{error}");
    }
    let adapter = Copy::of("lora_all");
    fs::write(adapter.path("adapter_config.json"), "<html></html>").unwrap();
    let error = Adapter::open(adapter.directory.path(), None).unwrap_err().to_string();
    assert!(error.contains("adapter_config.json` is a web page, not JSON"), "{error}");
}

#[test]
fn a_pointer_in_place_of_a_tokenizer_is_not_copied() {
    let copy = Copy::of("hf_bf16");
    fs::write(copy.path("tokenizer.json"), "version https://git-lfs.github.com/spec/v1\nsize 17078037\n")
        .unwrap();
    let out = tempfile::tempdir().unwrap();
    let options = Options::new(copy.directory.path(), out.path().join("out"), Format::Hf);
    let error = Plan::new(options).unwrap_err().to_string();
    assert!(error.contains("is a Git LFS pointer to a file of 17078037 bytes"), "{error}");
}

#[test]
fn the_state_of_a_peft_model_is_no_checkpoint() {
    let copy = Copy::of("hf_bf16");
    copy.rewrite("model.safetensors", |mut stored| {
        stored.spec.name = format!("base_model.model.{}", stored.spec.name);
        vec![stored]
    });
    assert!(found(copy.directory.path(), Wanted::Model).0.contains("the state of a whole peft model"));
    fs::remove_file(copy.path("config.json")).unwrap();
    assert!(found(copy.directory.path(), Wanted::Adapter).0.contains("the state of a whole peft model"));
}

#[test]
fn parts_of_a_distributed_run_are_one_line() {
    for (shape, message) in
        [(Some(vec![0]), "are empty, as DeepSpeed ZeRO-3"), (None, "are flat pieces, as FSDP")]
    {
        let copy = Copy::of("hf_bf16");
        copy.rewrite("model.safetensors", |mut stored| {
            stored.spec.shape = shape.clone().unwrap_or_else(|| vec![stored.bytes.len() / 2]);
            stored.bytes.truncate(if shape.is_some() { 0 } else { stored.bytes.len() });
            vec![stored]
        });
        let error = Checkpoint::open(copy.directory.path()).unwrap_err().to_string();
        assert!(error.contains(message) && error.lines().count() == 1, "{error}");
    }
}

fn plan(source: &Path, target: &Path, to: Format) -> Plan {
    Plan::new(Options::new(source, target, to)).unwrap()
}

#[test]
fn leftover_quantization_is_dropped_and_reported() {
    let quantization = r#""quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true},"#;
    for (from, key) in [
        ("\"attention_dropout\": 0.0,", "text_config.quantization_config"),
        ("\"image_seq_length\": 1,", "quantization_config"),
        ("\"image_size\": 128,", "vision_config.quantization_config"),
    ] {
        let copy = Copy::of("hf_bf16");
        copy.edit("config.json", from, &format!("{quantization}{from}"));
        // Two objects have the first key; the edit is in the one that comes first.
        let opened = Checkpoint::open(copy.directory.path()).unwrap();
        let note =
            opened.config().notes.iter().find(|note| note.text.contains(&format!("`{key}` (bitsandbytes)")));
        assert!(note.is_some_and(|note| note.damage), "{:?}", opened.config().notes);
        for to in [Format::Hf, Format::Mistral] {
            let out = tempfile::tempdir().unwrap();
            let target = out.path().join("out");
            let report = plan(copy.directory.path(), &target, to).run(None, &mut |_| {}).unwrap();
            let written = fs::read_to_string(target.join(to.config_file())).unwrap();
            assert!(!written.contains("quantization_config"), "{written}");
            let corrected = report.corrected.iter().any(|[path, ..]| path == key);
            let dropped = report.left_out.iter().any(|[path, _]| path == key);
            assert!(if to == Format::Hf { corrected } else { dropped }, "{report:?}");
            assert!(report.warnings.iter().any(|warning| warning.contains(key)));
        }
    }
}

#[test]
fn files_that_confuse_servers_are_noted() {
    let copy = Copy::of("hf_bf16");
    fs::write(copy.path("adapter_config.json"), "{}").unwrap();
    copy.rewrite("model.safetensors", |mut stored| {
        let number = if stored.spec.name.contains("vision") { 1 } else { 2 };
        stored.file = format!("model-0000{number}-of-00002.safetensors");
        vec![stored]
    });
    let opened = Checkpoint::open(copy.directory.path()).unwrap();
    let notes: Vec<&str> = opened.config().notes.iter().map(|note| note.text.as_str()).collect();
    assert!(notes[0].starts_with("`model.safetensors.index.json` is missing"), "{notes:?}");
    assert!(notes[1].starts_with("an adapter lies beside the weights"), "{notes:?}");
}

#[test]
fn a_written_configuration_names_a_version_of_transformers() {
    let out = tempfile::tempdir().unwrap();
    let written = |source: &Path| plan(source, &out.path().join("out"), Format::Hf).config.text;
    let version =
        |text: &str| json::parse(text).unwrap().value.get("transformers_version").map(ToString::to_string);
    assert_eq!(version(&written(&fixture("native_bf16"))).as_deref(), Some("\"5.23.0\""));
    let copy = Copy::of("hf_bf16");
    let text = fs::read_to_string(copy.path("config.json")).unwrap();
    let own = version(&text);
    assert_eq!(version(&written(copy.directory.path())), own.or(Some("\"5.23.0\"".to_owned())));
}
