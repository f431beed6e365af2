//! Merges against the hashes of peft's own.

use pixtune_core::json::Value;
use pixtune_model::adapter::{Adapter, Dialect};
use pixtune_model::weights::dtype::f32_to_bf16;
use pixtune_model::weights::{Dtype, Format, Spelling, TensorName};

use super::harness::{Place, hashes, sha256, tensors, text, values};
use super::support::{Copy, Stored, fixture, write};

/// Names of the fixture's hashes are those of modules in memory; files have those of the disk.
fn on_disk(name: &str) -> String {
    TensorName::parse(name).unwrap().0.path(Spelling::Disk)
}

#[test]
fn every_base_adapter_and_format_gives_the_bytes_of_peft() {
    let place = Place::new();
    let mut run = 0;
    for (which, dialects) in
        [("text_proj", ["lora_text_proj", "native_lora_text_proj"]), ("all", ["lora_all", "native_lora_all"])]
    {
        for base in ["hf_bf16", "native_bf16"] {
            for adapter in dialects {
                for (to, file) in
                    [(Format::Hf, "model.safetensors"), (Format::Mistral, "consolidated.safetensors")]
                {
                    run += 1;
                    let name = format!("merged-{run}");
                    place.merge(base, &fixture(adapter), to, Some(Dtype::F32), &name).unwrap();
                    let found = tensors(&place.path(&name).join(file));
                    let wanted = hashes(&format!(
                        "merged_f32_{}_sha256/{which}",
                        if to == Format::Hf { "hf" } else { "native" }
                    ));
                    assert_eq!(found.len(), wanted.len());
                    for (tensor, hash) in wanted {
                        let stored = if to == Format::Hf { on_disk(&tensor) } else { tensor };
                        assert_eq!(
                            sha256(&found[&stored]),
                            hash,
                            "{stored} of {adapter} into {base} as {file}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn bf16_is_rounded_once() {
    let place = Place::new();
    place.merge("hf_bf16", &fixture("lora_text_proj"), Format::Hf, None, "merged").unwrap();
    let found = tensors(&place.path("merged/model.safetensors"));
    let wanted = hashes("merged_bf16_roundonce_hf_sha256");
    assert_eq!(found.len(), wanted.len());
    for (tensor, hash) in wanted {
        assert_eq!(sha256(&found[&on_disk(&tensor)]), hash, "{tensor}");
    }
}

#[test]
fn every_written_dialect_merges_alike() {
    let place = Place::new();
    place.merge("native_bf16", &fixture("lora_all"), Format::Mistral, None, "peft").unwrap();
    for dialect in [Dialect::PeftLegacy, Dialect::Mistral, Dialect::VllmConsolidated] {
        place.convert(&fixture("lora_all"), dialect, dialect.as_str(), Some(Dtype::F32)).unwrap();
        let merged = format!("merged-{dialect}");
        place.merge("native_bf16", &place.path(dialect.as_str()), Format::Mistral, None, &merged).unwrap();
        let file = "consolidated.safetensors";
        assert_eq!(
            tensors(&place.path(&merged).join(file)),
            tensors(&place.path("peft").join(file)),
            "{dialect}"
        );
    }
}

/// A dense change, written out: what DoRA and embeddings are by their definitions.
fn product(b: &[f32], a: &[f32], rank: usize, scaling: f64) -> Vec<f64> {
    let columns = a.len() / rank;
    let rows = b.len() / rank;
    let element = |row: usize, column: usize| -> f64 {
        scaling
            * (0..rank)
                .map(|k| f64::from(b[row * rank + k]) * f64::from(a[k * columns + column]))
                .sum::<f64>()
    };
    (0..rows)
        .flat_map(|row| (0..columns).map(move |column| (row, column)))
        .map(|(r, c)| element(r, c))
        .collect()
}

fn close(found: &[f32], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((f64::from(*found) - wanted).abs() <= 1e-6 * (1.0 + wanted.abs()), "{found} is not {wanted}");
    }
}

fn floats(name: &str, shape: &[usize], seed: u32) -> Stored {
    let count: usize = shape.iter().product();
    let value =
        |at: usize| ((at as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 16) as f32 / 65536.0 - 0.5;
    Stored {
        file: "adapter_model.safetensors".to_owned(),
        spec: pixtune_model::weights::safetensors::TensorSpec {
            name: name.to_owned(),
            dtype: Dtype::F32,
            shape: shape.to_vec(),
        },
        bytes: (0..count).flat_map(|at| value(at).to_le_bytes()).collect(),
    }
}

#[test]
fn embeddings_the_head_patches_and_whole_tensors_are_merged() {
    let adapter = Copy::of("lora_all");
    let live = "base_model.model.model";
    let parts = [
        floats(&format!("{live}.language_model.embed_tokens.lora_embedding_A"), &[4, 400], 1),
        floats(&format!("{live}.language_model.embed_tokens.lora_embedding_B"), &[64, 4], 2),
        floats("base_model.model.lm_head.lora_A.weight", &[4, 64], 3),
        floats("base_model.model.lm_head.lora_B.weight", &[400, 4], 4),
        floats(&format!("{live}.vision_tower.patch_conv.lora_A.weight"), &[4, 3, 16, 16], 5),
        floats(&format!("{live}.vision_tower.patch_conv.lora_B.weight"), &[64, 4, 1, 1], 6),
        floats(&format!("{live}.language_model.layers.1.self_attn.q_proj.weight"), &[128, 64], 7),
    ];
    write(&adapter.path("adapter_model.safetensors"), parts.iter());
    let place = Place::new();
    place.merge("native_bf16", adapter.directory.path(), Format::Hf, Some(Dtype::F32), "merged").unwrap();
    let merged = values(&place.path("merged/model.safetensors"));
    let base = values(&fixture("hf_bf16/model.safetensors"));
    let part = |index: usize| -> Vec<f32> {
        parts[index].bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
    };
    let sum = |name: &str, change: Vec<f64>| -> Vec<f64> {
        base[name].iter().zip(change).map(|(base, change)| f64::from(*base) + change).collect()
    };
    // peft 0.21.2 `Embedding.get_delta_weight`: the transpose of B·A.
    let change = product(&part(1), &part(0), 4, 1.5);
    let transposed = (0..400).flat_map(|token| (0..64).map(move |width| (token, width)));
    let change = transposed.map(|(token, width)| change[width * 400 + token]).collect();
    let name = "language_model.model.embed_tokens.weight";
    close(&merged[name], &sum(name, change));
    let name = "language_model.lm_head.weight";
    close(&merged[name], &sum(name, product(&part(3), &part(2), 4, 1.5)));
    let name = "vision_tower.patch_conv.weight";
    close(&merged[name], &sum(name, product(&part(5), &part(4), 4, 1.5)));
    assert_eq!(merged["language_model.model.layers.1.self_attn.q_proj.weight"], part(6));
}

#[test]
fn dora_sets_the_length_of_rows() {
    let adapter = Copy::of("lora_text_proj");
    adapter.edit("adapter_config.json", "\"use_dora\": false", "\"use_dora\": true");
    let path = "base_model.model.model.language_model.layers.0.self_attn.k_proj";
    let magnitude = floats(&format!("{path}.lora_magnitude_vector"), &[64], 9);
    adapter.rewrite("adapter_model.safetensors", |stored| {
        match stored.spec.name.ends_with("layers.0.self_attn.k_proj.lora_A.weight") {
            true => vec![stored, magnitude.clone()],
            false => vec![stored],
        }
    });
    let place = Place::new();
    place.merge("native_bf16", adapter.directory.path(), Format::Hf, Some(Dtype::F32), "merged").unwrap();
    place.merge("hf_bf16", &fixture("lora_text_proj"), Format::Hf, Some(Dtype::F32), "plain").unwrap();
    let name = "language_model.model.layers.0.self_attn.k_proj.weight";
    let merged = &values(&place.path("merged/model.safetensors"))[name];
    let plain = &values(&place.path("plain/model.safetensors"))[name];
    let lengths: Vec<f32> =
        magnitude.bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
    let wanted: Vec<f64> = plain
        .chunks(64)
        .zip(lengths)
        .flat_map(|(row, length)| {
            let norm = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            row.iter().map(move |value| f64::from(*value) * f64::from(length) / norm)
        })
        .collect();
    close(merged, &wanted);
}

#[test]
fn scalings_of_single_modules_are_used() {
    let adapter = Copy::of("lora_text_proj");
    adapter.edit(
        "adapter_config.json",
        "\"alpha_pattern\": {}",
        "\"alpha_pattern\": {\"layers.1.mlp.up_proj\": 4, \"up_proj\": 32}",
    );
    adapter.edit("adapter_config.json", "\"use_rslora\": false", "\"use_rslora\": true");
    let opened = Adapter::open(adapter.directory.path(), None).unwrap();
    let scaling =
        |name: &str| opened.lora[&TensorName::parse(&format!("{name}.weight")).unwrap().0.module].scaling;
    let root = f64::from(8u8).sqrt();
    assert_eq!(scaling("layers.1.feed_forward.w3"), 4.0 / root);
    assert_eq!(scaling("layers.0.feed_forward.w3"), 32.0 / root);
    assert_eq!(scaling("layers.0.feed_forward.w1"), 16.0 / root);
}

#[test]
fn the_report_tells_what_was_merged() {
    let place = Place::new();
    let report = place.merge("hf_bf16", &fixture("lora_all"), Format::Mistral, None, "merged").unwrap();
    let merged = pixtune_core::json::text(report.merged.as_ref().unwrap());
    assert_eq!(
        merged,
        r#"{"dialect":"peft","modules":{"text":21,"projector":2,"vision":14},"scalings":{"1.5":37},"replaced":[],"into":null}"#
    );
    let written = super::harness::json_file(&place.path("merged/conversion_report.json"));
    assert_eq!(written.get("merged").map(Value::to_string), Some(merged));
}

#[test]
fn infinities_of_a_merge_are_told() {
    let adapter = Copy::of("lora_text_proj");
    adapter.rewrite("adapter_model.safetensors", |mut stored| {
        if stored.spec.name.ends_with("layers.2.mlp.up_proj.lora_B.weight") {
            stored.bytes =
                std::iter::repeat_n(f32::MAX.to_le_bytes(), stored.bytes.len() / 4).flatten().collect();
        }
        vec![stored]
    });
    let place = Place::new();
    let report = place.merge("hf_bf16", adapter.directory.path(), Format::Hf, None, "merged").unwrap();
    assert_eq!(report.not_finite.len(), 1, "{:?}", report.not_finite);
    assert!(report.not_finite[0].name.ends_with("layers.2.mlp.up_proj.weight"));
    assert_eq!(f32_to_bf16(f32::MAX), 0x7f80);
}

#[test]
fn adapters_that_peft_computes_otherwise_are_refused() {
    let place = Place::new();
    let refused = |from: &str, to: &str, message: &str| {
        let adapter = Copy::of("lora_all");
        adapter.edit("adapter_config.json", from, to);
        let error = place.merge("hf_bf16", adapter.directory.path(), Format::Hf, None, "merged").unwrap_err();
        assert!(text(&error).contains(message), "`{message}` is not in:\n{}", text(&error));
        assert!(!place.path("merged").exists());
    };
    refused(
        "\"init_lora_weights\": true",
        "\"init_lora_weights\": \"pissa_niter_4\"",
        "`init_lora_weights` is `pissa_niter_4`",
    );
    refused(
        "\"use_qalora\": false",
        "\"use_qalora\": true",
        "`use_qalora` changes how the adapter is computed",
    );
    refused("\"use_qalora\": false", "\"use_nothing_known\": 3", "`use_nothing_known` is unknown");
    refused("\"layer_replication\": null", "\"layer_replication\": [[0, 2]]", "`layer_replication`");
}
