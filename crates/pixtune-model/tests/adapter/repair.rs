//! Adapters as trainers left them: pickled, inside the state of a whole model, in shards, as MLX writes them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pixtune_model::adapter::check::{self, Server, ServerOptions};
use pixtune_model::adapter::{Adapter, Dialect};
use pixtune_model::weights::dtype::{bf16_to_f32, f32_to_bf16, read_f32, write_f32};
use pixtune_model::weights::pickled::PickledFile;
use pixtune_model::weights::{Checkpoint, Dtype};

use super::harness::{Place, json_file, tensors, text, values};
use super::support::{Copy, Stored, fixture, read, write};

fn pickled(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/pickled").join(name)
}

/// The values of a pickled file.
fn pickled_values(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let file = PickledFile::open(path).unwrap();
    let value = |found: &pixtune_model::weights::pickled::PickledInfo| {
        let info = &found.info;
        let mut bytes = vec![0; info.bytes() as usize];
        file.read_at(&mut bytes, info.range.start).unwrap();
        let mut values = vec![0.0; bytes.len() / info.dtype.size()];
        read_f32(info.dtype, &bytes, &mut values).unwrap();
        if let (true, &[rows, columns]) = (found.transposed, &info.shape[..]) {
            values = (0..rows * columns).map(|at| values[at % columns * rows + at / columns]).collect();
        }
        (info.name.clone(), values)
    };
    file.tensors.iter().map(value).collect()
}

#[test]
fn pickled_tensors_have_the_values_that_torch_saved() {
    let expected = values(&fixture("lora_all").join("adapter_model.safetensors"));
    let found = pickled_values(&pickled("adapter_model.bin"));
    assert_eq!(found.len(), 24);
    for (name, values) in &found {
        assert_eq!(values, &expected[name], "{name}");
    }
    let found = pickled_values(&pickled("state.bin"));
    assert_eq!(found.len(), 24);
    for (name, values) in &found {
        let expected = &expected[name.strip_prefix("_orig_mod.").unwrap()];
        let rounded: Vec<f32> = expected.iter().map(|value| bf16_to_f32(f32_to_bf16(*value))).collect();
        assert_eq!(values, &rounded, "{name}");
    }
}

/// A directory with the configuration of `lora_all` and one more file.
fn with_config(name: &str, bytes: &[u8]) -> Copy {
    let copy = Copy { directory: tempfile::tempdir().unwrap() };
    fs::copy(fixture("lora_all").join("adapter_config.json"), copy.path("adapter_config.json")).unwrap();
    fs::write(copy.path(name), bytes).unwrap();
    copy
}

#[test]
fn a_pickled_adapter_converts_to_the_bytes_of_the_safetensors_file() {
    let place = Place::new();
    let expected = tensors(&fixture("lora_all").join("adapter_model.safetensors"));
    let adapter = with_config("adapter_model.bin", &fs::read(pickled("adapter_model.bin")).unwrap());
    place.convert(adapter.directory.path(), Dialect::Peft, "out", None).unwrap();
    let found = tensors(&place.path("out/adapter_model.safetensors"));
    assert_eq!(found.len(), 24);
    for (name, bytes) in &found {
        assert_eq!(bytes, &expected[name], "{name}");
    }
    // The file itself, and one with the names of torch.compile below `module`.
    let adapter = with_config("state.bin", &fs::read(pickled("state.bin")).unwrap());
    place.convert(&adapter.path("state.bin"), Dialect::Peft, "state", None).unwrap();
    let state = tensors(&place.path("state/adapter_model.safetensors"));
    assert_eq!(state.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
}

#[test]
fn a_pickle_that_calls_anything_else_is_refused_by_name() {
    let bytes = fs::read(pickled("adapter_model.bin")).unwrap();
    let with = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        let mut changed = bytes.clone();
        changed[at..at + to.len()].copy_from_slice(to.as_bytes());
        let adapter = with_config("adapter_model.bin", &changed);
        text(&Adapter::open(adapter.directory.path(), None).unwrap_err())
    };
    let error = with("torch._utils\n_rebuild_tensor_v2", "subprocess\ncheck_output_for_all");
    assert!(error.contains("it would call `subprocess.check_output_for_all`"), "{error}");
    let error = with("collections\nOrderedDict\n", "builtins\nexec_or_eval__\n");
    assert!(error.contains("it would call `builtins.exec_or_eval__`"), "{error}");
    let error = with("little", "biggie");
    assert!(error.contains("its numbers are big-endian"), "{error}");
}

#[test]
fn damaged_pickled_files_are_refused() {
    let bytes = fs::read(pickled("adapter_model.bin")).unwrap();
    let error = |bytes: &[u8]| {
        let adapter = with_config("adapter_model.bin", bytes);
        text(&Adapter::open(adapter.directory.path(), None).unwrap_err())
    };
    for length in [0, 3, 100, bytes.len() / 2, bytes.len() - 30] {
        assert!(error(&bytes[..length]).contains("it has no directory of a ZIP archive"), "{length}");
    }
    // The first member is said to be compressed: torch.save compresses nothing, so this may be a bomb.
    let directory = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let mut compressed = bytes.clone();
    compressed[directory + 10] = 8;
    assert!(error(&compressed).contains("is compressed or encrypted"), "{}", error(&compressed));
    let mut endless = bytes.clone();
    endless[directory + 20..directory + 28].fill(0xf0);
    assert!(error(&endless).contains("cannot be read"), "{}", error(&endless));
}

/// The state of a whole model: the weights of the base and of the adapter, as a wrapped model names them.
fn whole_state() -> Vec<Stored> {
    let adapter = read(&fixture("lora_all").join("adapter_model.safetensors"));
    let modules: Vec<String> = adapter
        .iter()
        .filter_map(|stored| Some(stored.spec.name.split_once(".lora_A.")?.0.to_owned()))
        .collect();
    let mut state: Vec<Stored> = Vec::new();
    for mut stored in read(&fixture("hf_bf16").join("model.safetensors")) {
        let live = stored.spec.name.replace("language_model.model.", "model.language_model.");
        let live = live.replace("language_model.lm_head", "lm_head");
        let live = match live.starts_with("vision_tower") || live.starts_with("multi_modal") {
            true => format!("model.{live}"),
            false => live,
        };
        let module = live.strip_suffix(".weight").unwrap_or(&live);
        let wrapped = modules.contains(&format!("base_model.model.{module}"));
        let middle = if wrapped { ".base_layer" } else { "" };
        stored.spec.name = match live.strip_suffix(".bias") {
            Some(module) => format!("module.base_model.model.{module}.bias"),
            None => format!("module.base_model.model.{module}{middle}.weight"),
        };
        state.push(stored);
    }
    for mut stored in adapter {
        let name =
            stored.spec.name.replace(".lora_A.", ".lora_A.default.").replace(".lora_B.", ".lora_B.default.");
        stored.spec.name = format!("module.{name}");
        state.push(stored);
    }
    state
}

#[test]
fn the_adapter_in_a_state_of_shards_is_read() {
    let place = Place::new();
    let expected = tensors(&fixture("lora_all").join("adapter_model.safetensors"));
    let copy = with_config("trainer_state.json", b"{}");
    let mut state = whole_state();
    state.sort_by_key(|stored| std::cmp::Reverse(stored.spec.dtype.size()));
    for (number, part) in [(1, 0), (2, 1)] {
        let tensors: Vec<Stored> =
            state.iter().enumerate().filter(|(index, _)| index % 2 == part).map(|(_, s)| s.clone()).collect();
        write(&copy.path(&format!("model-0000{number}-of-00002.safetensors")), tensors.iter());
    }
    place.convert(copy.directory.path(), Dialect::Peft, "out", None).unwrap();
    assert_eq!(tensors(&place.path("out/adapter_model.safetensors")), expected);
    let adapter = Adapter::open(copy.directory.path(), None).unwrap();
    let base = Checkpoint::open(&fixture("hf_bf16")).unwrap();
    let report = check::check(&adapter, &base, Server::Transformers, ServerOptions::default()).unwrap();
    assert!(report.problems[0].contains("54 tensors of the base are not used"), "{:?}", report.problems);
    fs::remove_file(copy.path("model-00002-of-00002.safetensors")).unwrap();
    let error = text(&Adapter::open(copy.directory.path(), None).unwrap_err());
    assert!(error.contains("`model-00002-of-00002.safetensors` is missing"), "{error}");
}

/// The text decoder's part of an adapter as mlx-lm writes it.
fn mlx_of(adapter: &Path) -> Copy {
    let copy = Copy { directory: tempfile::tempdir().unwrap() };
    let mut stored = read(&adapter.join("adapter_model.safetensors"));
    stored.retain(|stored| stored.spec.name.contains("language_model.layers"));
    for tensor in &mut stored {
        let name = tensor.spec.name.replace("base_model.model.model.language_model", "language_model.model");
        tensor.spec.name = name.replace(".lora_A.weight", ".lora_a").replace(".lora_B.weight", ".lora_b");
        let [rows, columns] = tensor.spec.shape[..] else { panic!("a factor is a matrix") };
        let mut values = vec![0.0; rows * columns];
        read_f32(tensor.spec.dtype, &tensor.bytes, &mut values).unwrap();
        let turned: Vec<f32> =
            (0..rows * columns).map(|at| values[at % rows * columns + at / rows]).collect();
        write_f32(tensor.spec.dtype, &turned, &mut tensor.bytes).unwrap();
        tensor.spec.shape = vec![columns, rows];
    }
    write(&copy.path("adapters.safetensors"), stored.iter());
    let config = r#"{"fine_tune_type": "lora", "num_layers": 3, "model": "org/pixtral",
        "lora_parameters": {"rank": 4, "scale": 1.5, "dropout": 0.0, "keys": ["self_attn.q_proj"]}}"#;
    fs::write(copy.path("adapter_config.json"), config).unwrap();
    copy
}

#[test]
fn an_adapter_of_mlx_converts_to_the_tensors_of_peft() {
    let place = Place::new();
    let mlx = mlx_of(&fixture("lora_all"));
    place.convert(mlx.directory.path(), Dialect::Peft, "out", None).unwrap();
    let mut expected = tensors(&fixture("lora_all").join("adapter_model.safetensors"));
    expected.retain(|name, _| name.contains("language_model.layers"));
    assert_eq!(tensors(&place.path("out/adapter_model.safetensors")), expected);
    let written = Adapter::open(&place.path("out"), None).unwrap();
    assert!(written.lora.values().all(|lora| lora.scaling == 1.5));
    let merged = |adapter: &Path, name: &str| {
        place
            .merge("native_bf16", adapter, pixtune_model::weights::Format::Hf, Some(Dtype::F32), name)
            .unwrap();
        tensors(&place.path(name).join("model.safetensors"))
    };
    assert_eq!(merged(mlx.directory.path(), "from-mlx"), merged(&place.path("out"), "from-peft"));
}

#[test]
fn a_written_adapter_of_mlx_reads_back() {
    let place = Place::new();
    place.convert(mlx_of(&fixture("lora_all")).directory.path(), Dialect::Peft, "peft", None).unwrap();
    // One module has a scaling of its own, which is folded.
    let path = place.path("peft/adapter_config.json");
    let config = fs::read_to_string(&path).unwrap();
    assert!(config.contains("\"alpha_pattern\": {}"), "{config}");
    let pattern = "\"alpha_pattern\": {\"layers.1.mlp.up_proj\": 12}";
    fs::write(&path, config.replace("\"alpha_pattern\": {}", pattern)).unwrap();
    let report = place.convert(&place.path("peft"), Dialect::Mlx, "mlx", None).unwrap();
    assert_eq!(report.folded, [(2.0, 1)]);
    let stored = read(&place.path("mlx/adapters.safetensors"));
    let q =
        stored.iter().find(|stored| stored.spec.name.ends_with("layers.0.self_attn.q_proj.lora_a")).unwrap();
    assert_eq!(q.spec.name, "language_model.model.layers.0.self_attn.q_proj.lora_a");
    assert_eq!(q.spec.shape, [64, 4]);
    let config = json_file(&place.path("mlx/adapter_config.json"));
    let parameters = config.get("lora_parameters").unwrap();
    assert_eq!(parameters.get("scale").unwrap().to_string(), "1.5");
    assert_eq!(parameters.get("keys").unwrap().as_array().unwrap().len(), 7);
    assert_eq!(config.get("num_layers").unwrap().to_string(), "3");
    let merged = |adapter: &str, name: &str| {
        let format = pixtune_model::weights::Format::Hf;
        place.merge("hf_bf16", &place.path(adapter), format, Some(Dtype::F32), name).unwrap();
        tensors(&place.path(name).join("model.safetensors"))
    };
    assert_eq!(merged("mlx", "from-mlx"), merged("peft", "from-peft"));
    let error = place.convert(&fixture("lora_all"), Dialect::Mlx, "all", None).unwrap_err();
    assert!(text(&error).contains("mlx-lm applies LoRA to the text decoder alone"), "{}", text(&error));
}

#[test]
fn adapters_of_mlx_that_are_no_lora_are_refused() {
    for (from, to, message) in [
        ("\"lora\"", "\"full\"", "it has whole weights"),
        ("\"scale\": 1.5", "\"alpha\": 6", "has no `scale`"),
        ("\"rank\": 4", "\"rank\": 0", "has no `rank`"),
    ] {
        let mlx = mlx_of(&fixture("lora_all"));
        mlx.edit("adapter_config.json", from, to);
        let error = text(&Adapter::open(mlx.directory.path(), None).unwrap_err());
        assert!(error.contains(message), "{error}");
    }
}
