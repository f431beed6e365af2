//! `pixtune convert --to gguf` and `pixtune adapter convert --to gguf`, on the fixture.

use std::collections::BTreeMap;
use std::fs;

use pixtune_core::json::{self, Value};
use pixtune_model::gguf::{Found, Header};
use sha2::{Digest as _, Sha256};

use crate::harness::{Case, read_directory, root};
use crate::snapshots::check;

/// A directory with a fixture's weights and its tokenizer.
fn model(case: &Case, fixture: &str, name: &str) {
    fs::create_dir_all(case.path(name)).unwrap();
    for (file, bytes) in read_directory(&root().join("fixtures/tiny_pixtral").join(fixture)) {
        fs::write(case.path(name).join(file), bytes).unwrap();
    }
    fs::copy(root().join("fixtures/tiny_tekken/tekken.json"), case.path(name).join("tekken.json")).unwrap();
}

/// The bytes of every tensor of a file, by name, with its type and sides.
fn tensors(case: &Case, name: &str) -> BTreeMap<String, (u32, Vec<u64>, Vec<u8>)> {
    let path = case.path(name);
    let (header, bytes) = (Header::read(&path).unwrap(), fs::read(path).unwrap());
    let read = |tensor: &pixtune_model::gguf::FoundTensor| {
        let values: u64 = tensor.dimensions.iter().product();
        let length = match tensor.element {
            0 => values * 4,
            1 | 30 => values * 2,
            8 => values / 32 * 34,
            other => panic!("type {other}"),
        };
        let start = (header.data_start + tensor.offset) as usize;
        let data = bytes[start..start + length as usize].to_vec();
        (tensor.name.clone(), (tensor.element, tensor.dimensions.clone(), data))
    };
    header.tensors.iter().map(read).collect()
}

/// What llama.cpp calls a tensor of Mistral's format.
fn gguf_name(native: &str) -> String {
    let parts = [
        ("attention_norm", "attn_norm", "ln1"),
        ("attention.wq", "attn_q", "attn_q"),
        ("attention.wk", "attn_k", "attn_k"),
        ("attention.wv", "attn_v", "attn_v"),
        ("attention.wo", "attn_output", "attn_out"),
        ("ffn_norm", "ffn_norm", "ln2"),
        ("feed_forward.w1", "ffn_gate", "ffn_gate"),
        ("feed_forward.w2", "ffn_down", "ffn_down"),
        ("feed_forward.w3", "ffn_up", "ffn_up"),
    ];
    let renamed = |rest: &str, vision: bool| {
        let (layer, part) = rest.split_once('.').unwrap();
        let (part, kind) = part.rsplit_once('.').unwrap();
        let row = parts.iter().find(|row| row.0 == part).unwrap();
        format!("{layer}.{}.{kind}", if vision { row.2 } else { row.1 })
    };
    if let Some(rest) = native.strip_prefix("layers.") {
        return format!("blk.{}", renamed(rest, false));
    }
    if let Some(rest) = native.strip_prefix("vision_encoder.transformer.layers.") {
        return format!("v.blk.{}", renamed(rest, true));
    }
    let (module, kind) = native.rsplit_once('.').unwrap();
    let module = match module {
        "tok_embeddings" => "token_embd",
        "norm" => "output_norm",
        "output" => "output",
        "vision_encoder.patch_conv" => "v.patch_embd",
        "vision_encoder.ln_pre" => "v.pre_ln",
        "vision_language_adapter.w_in" => "mm.1",
        "vision_language_adapter.w_out" => "mm.2",
        other => panic!("{other}"),
    };
    format!("{module}.{kind}")
}

#[test]
fn matrices_have_the_bytes_of_mistrals_format() {
    let case = Case::new();
    model(&case, "hf_bf16", "tiny");
    let run = case.run(&["convert", "tiny", "out", "--to", "gguf", "--verify"]).ends(0);
    assert!(run.stdout.contains("read back and equal"), "{}", run.stdout);
    let mut found = tensors(&case, "out/tiny-BF16.gguf");
    found.append(&mut tensors(&case, "out/mmproj-tiny-BF16.gguf"));
    case.run(&["convert", "tiny", "f32", "--to", "gguf", "--dtype", "f32"]).ends(0);
    let mut wide = tensors(&case, "f32/tiny-F32.gguf");
    wide.append(&mut tensors(&case, "f32/mmproj-tiny-F32.gguf"));
    let meta = fs::read_to_string(root().join("fixtures/tiny_pixtral/meta.json")).unwrap();
    let meta = json::parse(&meta).unwrap().value;
    let mut compared = [0, 0];
    for (index, (key, tensors, element)) in
        [("native_bf16_sha256", &found, 30), ("native_f32_sha256", &wide, 0)].into_iter().enumerate()
    {
        for (name, hash) in meta.get(key).and_then(Value::as_object).unwrap() {
            let (kind, _, bytes) = &tensors[&gguf_name(name)];
            if *kind == element {
                let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(Some(digest.as_str()), hash.as_str(), "{name}");
                compared[index] += 1;
            }
        }
    }
    // Every tensor in F32; in BF16, all but vectors and the convolution.
    assert_eq!(compared[1] + 1, wide.len(), "the break token's row is the only other tensor");
    assert!(compared[0] > compared[1] / 2, "{compared:?}");
}

#[test]
fn both_formats_of_a_checkpoint_give_the_same_files() {
    let case = Case::new();
    model(&case, "hf_bf16", "hf/tiny");
    model(&case, "native_bf16", "mistral/tiny");
    for kind in ["keep", "f16", "q8_0"] {
        for from in ["hf", "mistral"] {
            let (source, out) = (format!("{from}/tiny"), format!("{from}-{kind}"));
            case.run(&["convert", &source, &out, "--to", "gguf", "--dtype", kind]).ends(0);
        }
        let files = |from: &str| -> BTreeMap<String, Vec<u8>> {
            let all = read_directory(&case.path(&format!("{from}-{kind}")));
            all.into_iter().filter(|(name, _)| name.ends_with(".gguf")).collect()
        };
        assert!(files("hf") == files("mistral") && files("hf").len() == 2, "{kind}");
    }
}

#[test]
fn keys_describe_the_model_and_its_vocabulary() {
    let case = Case::new();
    model(&case, "native_bf16", "tiny");
    let run = case.run(&["convert", "tiny", "out", "--to", "gguf"]).ends(0);
    check("gguf/convert", &run.stdout);
    let header = Header::read(&case.path("out/tiny-BF16.gguf")).unwrap();
    let mut shown = String::new();
    for (key, value) in &header.metadata {
        let value = match value {
            Found::Text(text) if text.len() > 40 => format!("a text of {} bytes", text.len()),
            value => format!("{value:?}"),
        };
        shown.push_str(&format!("{key} = {value}\n"));
    }
    let vision = Header::read(&case.path("out/mmproj-tiny-BF16.gguf")).unwrap();
    shown.push('\n');
    for (key, value) in &vision.metadata {
        shown.push_str(&format!("{key} = {value:?}\n"));
    }
    check("gguf/keys", &shown);
    assert!(vision.tensors.iter().any(|tensor| tensor.name == "v.token_embd.img_break"));
}

#[test]
fn a_tokenizer_json_gives_the_vocabulary_of_its_tekken_json() {
    let case = Case::new();
    model(&case, "native_bf16", "tiny");
    case.run(&["convert", "tiny", "hf", "--to", "hf"]).ends(0);
    fs::remove_file(case.path("hf/tekken.json")).unwrap();
    fs::rename(case.path("hf"), case.path("other")).unwrap();
    fs::create_dir(case.path("hf")).unwrap();
    fs::rename(case.path("other"), case.path("hf/tiny")).unwrap();
    case.run(&["convert", "hf/tiny", "one", "--to", "gguf"]).ends(0);
    case.run(&["convert", "tiny", "two", "--to", "gguf"]).ends(0);
    let text = |name: &str| Header::read(&case.path(name).join("tiny-BF16.gguf")).unwrap();
    let (one, two) = (text("one"), text("two"));
    for ((key, one), (_, two)) in one.metadata.iter().zip(&two.metadata) {
        assert!(one == two, "{key}");
    }
    assert_eq!(
        fs::read(case.path("one/tiny-BF16.gguf")).unwrap(),
        fs::read(case.path("two/tiny-BF16.gguf")).unwrap()
    );
}

/// A model that merges patches, with a vocabulary of its size.
fn merging(case: &Case, fixture: &str, name: &str) {
    fs::create_dir_all(case.path(name)).unwrap();
    for (file, bytes) in read_directory(&root().join("fixtures").join(fixture).join("hf_bf16")) {
        fs::write(case.path(name).join(file), bytes).unwrap();
    }
    let tekken = fs::read_to_string(root().join("fixtures/tiny_tekken/tekken.json")).unwrap();
    // 60 special tokens and the first 260 others.
    let cut = tekken.replacen("\"default_vocab_size\": 400", "\"default_vocab_size\": 320", 1);
    let cut = cut.replacen("\"default_num_special_tokens\": 100", "\"default_num_special_tokens\": 60", 1);
    assert!(cut.len() == tekken.len() - 1);
    case.write(&format!("{name}/tekken.json"), cut);
}

#[test]
fn models_that_merge_patches_have_the_merger_beside_the_projector() {
    let case = Case::new();
    let mut shown = String::new();
    for (fixture, architecture) in
        [("tiny_mistral3", "llama"), ("tiny_ministral3", "mistral3"), ("tiny_ministral3_tied", "mistral3")]
    {
        merging(&case, fixture, fixture);
        let out = format!("out-{fixture}");
        let run = case.run(&["convert", fixture, &out, "--to", "gguf", "--dtype", "f32", "--verify"]).ends(0);
        shown.push_str(&run.stderr);
        let vision = tensors(&case, &format!("{out}/mmproj-{fixture}-F32.gguf"));
        assert_eq!(vision["mm.patch_merger.weight"].1[0], 4 * vision["mm.input_norm.weight"].1[0]);
        let header = Header::read(&case.path(&format!("{out}/{fixture}-F32.gguf"))).unwrap();
        let key =
            |name: &str| header.metadata.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        assert_eq!(key("general.architecture"), Some(Found::Text(architecture.to_owned())));
        assert_eq!(
            header.tensors.iter().any(|tensor| tensor.name == "output.weight"),
            !fixture.ends_with("tied")
        );
        let stretched = key("mistral3.rope.scaling.factor").is_some()
            && key("mistral3.attention.temperature_scale").is_some();
        assert_eq!(stretched, architecture == "mistral3");
    }
    // The version of the vocabulary decides the layout of chats, unless a template lies beside the model.
    assert!(!shown.contains("chat template"), "{shown}");
    case.write("tiny_mistral3/chat_template.jinja", "{{ bos_token }}of the model");
    let run = case.run(&["convert", "tiny_mistral3", "templated", "--to", "gguf"]).ends(0);
    assert!(!run.stderr.contains("chat template"), "{}", run.stderr);
    let bytes = fs::read(case.path("templated/tiny_mistral3-BF16.gguf")).unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains("of the model"));
}

#[test]
fn what_llama_cpp_cannot_hold_is_refused() {
    let case = Case::new();
    model(&case, "native_bf16", "tiny");
    fs::remove_file(case.path("tiny/tekken.json")).unwrap();
    case.run(&["convert", "tiny", "out", "--to", "gguf"]).ends(2).prints("there is no tokenizer");
    model(&case, "native_bf16", "tiny");
    case.run(&["convert", "tiny", "out", "--to", "gguf", "--untie"]).ends(2).prints("do not apply to gguf");
    case.run(&["convert", "tiny", "out", "--to", "hf", "--dtype", "q8_0"])
        .ends(2)
        .prints("q8_0 is a type of GGUF");
    let adapter = root().join("fixtures/tiny_pixtral/lora_all");
    let adapter = adapter.to_str().unwrap();
    let run = case.run(&["adapter", "convert", adapter, "out", "--to", "gguf", "--base", "tiny"]).ends(2);
    assert!(run.stderr.contains("linear layers of the text decoder alone"), "{}", run.stderr);
    // YaRN with a scale that llama.cpp does not have.
    merging(&case, "tiny_ministral3", "stretched");
    let config = case.read("stretched/config.json").replacen("\"mscale\": 1.0", "\"mscale\": 0.7", 1);
    case.write("stretched/config.json", config);
    case.run(&["convert", "stretched", "out", "--to", "gguf"])
        .ends(2)
        .prints("YaRN scales its rotated vectors, which llama.cpp does not compute");
    assert!(!case.path("out").exists());
}

#[test]
fn files_are_inspected() {
    let case = Case::new();
    model(&case, "native_bf16", "tiny");
    case.run(&["convert", "tiny", "out", "--to", "gguf", "--dtype", "q8_0"]).ends(0);
    let run = case.run(&["convert", "--inspect", "out"]).ends(0);
    check("gguf/inspect", &run.stdout);
    let run = case.run(&["convert", "--inspect", "out/tiny-Q8_0.gguf", "--format", "json"]).ends(0);
    let views = json::parse(&run.stdout).unwrap().value;
    let view = &views.as_array().unwrap()[0];
    assert_eq!(view.text("architecture"), Some("llama"));
    let path = case.path("out/tiny-Q8_0.gguf");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 40_000]).unwrap();
    let run = case.run(&["convert", "--inspect", "out"]).ends(1);
    assert!(run.stdout.contains("the file ends within the tensor"), "{}", run.stdout);
    fs::write(&path, &bytes[..2_000]).unwrap();
    case.run(&["convert", "--inspect", "out"])
        .ends(2)
        .prints("is not a readable GGUF file: it ends within its header");
    fs::write(&path, b"GGML").unwrap();
    case.run(&["convert", "--inspect", "out"]).ends(2).prints("it does not begin with `GGUF`");
}

/// An adapter of rank 2 for one query projection, with this alpha.
fn small_adapter(case: &Case, alpha: &str) {
    let module = "base_model.model.model.language_model.layers.0.self_attn.q_proj";
    let header = format!(
        r#"{{"{module}.lora_A.weight":{{"dtype":"F32","shape":[2,64],"data_offsets":[0,512]}},"{module}.lora_B.weight":{{"dtype":"F32","shape":[128,2],"data_offsets":[512,1536]}}}}"#
    );
    let values = (0..384).flat_map(|at| (at as f32 / 64.0 - 3.0).to_le_bytes());
    let file = [(header.len() as u64).to_le_bytes().to_vec(), header.into_bytes(), values.collect()].concat();
    case.write("adapter/adapter_model.safetensors", file);
    let config = format!(
        r#"{{"peft_type":"LORA","r":2,"lora_alpha":{alpha},"target_modules":["q_proj"],"bias":"none","use_dora":false}}"#
    );
    case.write("adapter/adapter_config.json", config);
}

#[test]
fn an_adapter_keeps_its_scaling_whatever_it_is() {
    let case = Case::new();
    model(&case, "hf_bf16", "tiny");
    let mut products = Vec::new();
    for (alpha, written) in [("4", 4.0), ("-4", -4.0), ("0", 1.0)] {
        small_adapter(&case, alpha);
        let args = ["adapter", "convert", "adapter", "out", "--to", "gguf", "--base", "tiny", "--force"];
        case.run(&args).ends(0);
        let header = Header::read(&case.path("out/adapter.gguf")).unwrap();
        assert_eq!(header.get("adapter.lora.alpha"), Some(&Found::Real(written)), "{alpha}");
        let tensors = tensors(&case, "out/adapter.gguf");
        let (_, sides, b) = &tensors["blk.0.attn_q.weight.lora_b"];
        assert_eq!(sides, &[2, 128]);
        products.push(
            b.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect::<Vec<_>>(),
        );
    }
    assert_eq!(products[0], products[1]);
    assert!(products[0].iter().any(|value| *value != 0.0));
    assert!(products[2].iter().all(|value| *value == 0.0), "no scaling is no change, not NaN");
}
