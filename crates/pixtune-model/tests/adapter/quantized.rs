//! Merges into quantized bases, and into their originals.

use std::path::{Path, PathBuf};

use pixtune_model::network::FrozenWeights;
use pixtune_model::weights::convert::{Distance, MergedInto, Options, Plan};
use pixtune_model::weights::{Checkpoint, Dtype, Format};

use super::harness::{Place, json_file, tensors, text};
use super::support::fixture;

fn quantized(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/quantized").join(name)
}

/// Writes a dequantized copy of a quantized model.
fn dequantize(place: &Place, source: &Path, name: &str) -> PathBuf {
    let options = Options { verify: false, ..Options::new(source, place.path(name), Format::Hf) };
    Plan::new(options).unwrap().run(None, &mut |_| {}).unwrap();
    place.path(name)
}

#[test]
fn a_quantized_base_merges_as_its_dequantized_copy() {
    for name in ["nf4", "fp4", "fp8", "fp8_native"] {
        let place = Place::new();
        let (base, adapter) = (quantized(name), fixture("lora_all"));
        let plain = dequantize(&place, &base, "plain");
        for (to, dtype) in [(Format::Hf, None), (Format::Mistral, Some(Dtype::F32))] {
            let merge = |base: &Path, name: &str| {
                place.merge_from(base, None, &adapter, to, dtype, name).unwrap().merged.unwrap().into
            };
            let names = ["from-quantized", "from-plain"].map(|name| format!("{name}-{to:?}"));
            assert!(matches!(merge(&base, &names[0]), Some(MergedInto::Dequantized { .. })));
            assert_eq!(merge(&plain, &names[1]), None);
            let file = format!("{}.safetensors", to.stem());
            let [merged, expected] = names.map(|name| tensors(&place.path(&name).join(&file)));
            assert_eq!(merged, expected, "{name} to {to:?}");
        }
    }
}

#[test]
fn the_original_of_a_quantized_base_is_merged_and_measured() {
    let place = Place::new();
    let adapter = fixture("lora_all");
    place.merge("hf_bf16", &adapter, Format::Hf, None, "expected").unwrap();
    let expected = tensors(&place.path("expected/model.safetensors"));
    let mut distances: Vec<Distance> = Vec::new();
    for (run, (base, original)) in
        [("nf4", "hf_bf16"), ("nf4", "native_bf16"), ("fp8", "hf_bf16")].into_iter().enumerate()
    {
        let name = format!("merged-{run}");
        let report = place
            .merge_from(&quantized(base), Some(&fixture(original)), &adapter, Format::Hf, None, &name)
            .unwrap();
        assert_eq!(tensors(&place.path(&name).join("model.safetensors")), expected, "{base}, {original}");
        match report.merged.unwrap().into {
            Some(MergedInto::Original(distance)) => distances.push(distance),
            other => panic!("{other:?}"),
        }
        let into = json_file(&place.path(&name).join("conversion_report.json"));
        let into = into.get("merged").unwrap().get("into").unwrap();
        assert_eq!(into.get("weights").unwrap().as_str(), Some("original"));
        assert!(
            !std::fs::read_to_string(place.path(&name).join("config.json")).unwrap().contains("quantization")
        );
    }
    assert_eq!(distances[0].relative, distances[1].relative);
    assert_eq!(distances[0].worst, distances[1].worst);
    // Steps of NF4 are about a quarter of the deviation of the weights, those of FP8 at most a sixteenth of each.
    assert!((0.05..0.15).contains(&distances[0].relative), "{distances:?}");
    assert!((0.01..0.05).contains(&distances[2].relative), "{distances:?}");
}

/// Without the original, the distance is estimated from the codes: as much as is measured with it.
#[test]
fn the_distance_from_an_unknown_original_is_estimated() {
    let adapter = fixture("lora_all");
    for name in ["nf4", "fp4", "fp8"] {
        let place = Place::new();
        let merge = |original: Option<&Path>, to: &str| {
            let report =
                place.merge_from(&quantized(name), original, &adapter, Format::Hf, None, to).unwrap();
            report.merged.unwrap().into.unwrap()
        };
        let MergedInto::Original(measured) = merge(Some(&fixture("hf_bf16")), "measured") else {
            panic!("the original was given")
        };
        let MergedInto::Dequantized { relative } = merge(None, "estimated") else {
            panic!("the original was not given")
        };
        let ratio = relative / measured.relative;
        assert!((0.9..1.1).contains(&ratio), "{name}: {relative} expected, {measured:?}");
        let report = json_file(&place.path("estimated").join("conversion_report.json"));
        let into = report.get("merged").unwrap().get("into").unwrap();
        assert!(into.get("expected_relative_difference").is_some());
    }
}

#[test]
fn another_model_or_a_quantized_one_is_not_the_original() {
    let place = Place::new();
    for (original, message) in [
        (quantized("fp8"), "is quantized too (FP8 (e4m3) with a scale per block of 32×32)"),
        (
            fixture("../tiny_pixtral_large"),
            "is not the original of the base:\n  hidden size: 64 in the source",
        ),
    ] {
        let error = place
            .merge_from(&quantized("nf4"), Some(&original), &fixture("lora_all"), Format::Hf, None, "merged")
            .unwrap_err();
        assert!(text(&error).contains(message), "{}", text(&error));
    }
}

#[test]
fn the_network_computes_with_dequantized_weights() {
    for name in ["nf4", "fp8_native"] {
        let place = Place::new();
        let plain = Checkpoint::open(&dequantize(&place, &quantized(name), "plain")).unwrap();
        let base = Checkpoint::open(&quantized(name)).unwrap();
        for tensor in plain.tensors() {
            let load = |weights: &Checkpoint| {
                let frozen = FrozenWeights::tensor(weights, tensor.name).unwrap().unwrap();
                (frozen.dtype, frozen.shape, frozen.bytes.into_owned())
            };
            let [a, b] = [load(&base), load(&plain)];
            assert!(a == b, "{name}: {}", tensor.info.name);
        }
    }
}
