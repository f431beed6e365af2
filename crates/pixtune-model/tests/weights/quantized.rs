//! Quantized checkpoints: dequantized to the bits of bitsandbytes and transformers, or refused with the reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pixtune_core::json;
use pixtune_model::weights::convert::{ConvertError, Options, Plan, Report};
use pixtune_model::weights::quantized::{FourBitMatrix, Scales};
use pixtune_model::weights::{Checkpoint, Dtype, Format, Reader};
use sha2::{Digest as _, Sha256};

use super::support::{Copy, Stored, read};

const ALL: [&str; 4] = ["nf4", "fp4", "fp8", "fp8_native"];

fn quantized(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/quantized").join(name)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hashes of the dequantized tensors of a fixture.
fn expected(name: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(quantized("expected.json")).unwrap();
    let parsed = json::parse(&text).unwrap().value;
    let hashes = parsed.get(name).unwrap().as_object().unwrap();
    hashes.iter().map(|(name, hash)| (name.to_string(), hash.as_str().unwrap().to_owned())).collect()
}

fn convert(source: &Path, target: &Path, to: Format, dtype: Option<Dtype>) -> Result<Report, ConvertError> {
    let options = Options { dtype, ..Options::new(source, target, to) };
    Plan::new(options)?.run(None, &mut |_| {})
}

#[test]
fn dequantized_bits_are_those_of_bitsandbytes_and_transformers() {
    for name in ALL {
        let checkpoint = Checkpoint::open(&quantized(name)).unwrap();
        let expected = expected(name);
        let found: BTreeMap<String, String> = checkpoint
            .tensors()
            .map(|tensor| (tensor.info.name.clone(), sha256(&tensor.bytes().unwrap())))
            .collect();
        assert_eq!(found.len(), expected.len(), "{name}");
        for (tensor, hash) in &expected {
            assert_eq!(found.get(tensor), Some(hash), "{name}: {tensor}");
        }
    }
}

/// Every matrix that bitsandbytes quantized has the codes that quantizing the original here gives.
#[test]
fn quantizing_gives_the_codes_of_bitsandbytes() {
    let original = Checkpoint::open(&quantized("../tiny_pixtral/hf_bf16")).unwrap();
    let stored = Checkpoint::open(&quantized("nf4")).unwrap();
    let (mut compared, mut scales, mut neighbors) = (0, 0, 0);
    for tensor in stored.tensors() {
        let Some(expected) = tensor.four_bit().unwrap() else { continue };
        let bytes = original.tensor(tensor.name).unwrap().bytes().unwrap();
        let found = FourBitMatrix::quantize(expected.shape, Dtype::BF16, &bytes).unwrap();
        let name = &tensor.info.name;
        assert_eq!(found.codes, expected.codes, "{name}");
        assert_eq!((found.block, found.kind), (expected.block, expected.kind), "{name}");
        assert_eq!(expected.dequantize(Dtype::BF16), *tensor.bytes().unwrap(), "{name}");
        // The CPU kernel that made the fixture does not always take the nearest code of a scale.
        let (own, stored) = (scale_codes(&found), scale_codes(&expected));
        let apart: Vec<u8> = own.iter().zip(stored).map(|(own, stored)| own.abs_diff(*stored)).collect();
        assert!(apart.iter().all(|apart| *apart <= 1), "{name}: {apart:?}");
        scales += apart.len();
        neighbors += apart.iter().filter(|apart| **apart > 0).count();
        assert_eq!(with_scale_codes(found.scales, stored), expected.scales, "{name}");
        compared += 1;
    }
    assert_eq!((compared, scales, neighbors), (37, 3232, 9));
}

fn scale_codes(matrix: &FourBitMatrix) -> &[u8] {
    match &matrix.scales {
        Scales::Double { codes, .. } => codes,
        Scales::Plain(_) => panic!("it has no double quantization"),
    }
}

fn with_scale_codes(mut scales: Scales, stored: &[u8]) -> Scales {
    if let Scales::Double { codes, .. } = &mut scales {
        codes.copy_from_slice(stored);
    }
    scales
}

#[test]
fn parts_of_a_tensor_are_dequantized_as_the_whole() {
    for name in ALL {
        let checkpoint = Checkpoint::open(&quantized(name)).unwrap();
        let mut reader = Reader::default();
        for tensor in checkpoint.tensors().filter(|tensor| tensor.quantized().is_some()) {
            let (whole, size) = (tensor.bytes().unwrap(), tensor.dtype().size());
            // Within a byte, a block, a row; over the ends of each.
            for (first, count) in
                [(0, 1), (1, 1), (3, 2), (63, 2), (64, 64), (95, 130), (1, 2047), (127, 700)]
            {
                let mut part = vec![0; count * size];
                tensor.read_at(&mut reader, &mut part, (first * size) as u64).unwrap();
                assert_eq!(part, whole[first * size..(first + count) * size], "{name}: {first}, {count}");
            }
        }
    }
}

#[test]
fn a_conversion_writes_dequantized_weights() {
    for name in ALL {
        let out = tempfile::tempdir().unwrap();
        let own = if name == "fp8_native" { Format::Mistral } else { Format::Hf };
        let report = convert(&quantized(name), &out.path().join("own"), own, None).unwrap();
        let expected = expected(name);
        let written = read(&out.path().join("own").join(format!("{}.safetensors", own.stem())));
        assert_eq!(written.len(), expected.len());
        for Stored { spec, bytes, .. } in &written {
            assert_eq!(spec.dtype, Dtype::BF16);
            assert_eq!(sha256(bytes), expected[&spec.name], "{name}: {}", spec.name);
        }
        let config = fs::read_to_string(out.path().join("own").join(own.config_file())).unwrap();
        assert!(!config.contains("quantization"), "{config}");
        assert!(!report.quantized.is_empty() && report.verified.is_some(), "{name}");
        // There and back through the other format: the same bits.
        let other = out.path().join("other");
        convert(&quantized(name), &other, own.other(), None).unwrap();
        convert(&other, &out.path().join("back"), own, None).unwrap();
        let back = read(&out.path().join("back").join(format!("{}.safetensors", own.stem())));
        for Stored { spec, bytes, .. } in &back {
            assert_eq!(sha256(bytes), expected[&spec.name], "{name}: {}", spec.name);
        }
    }
}

#[test]
fn the_notes_name_the_quantization() {
    let notes = |name: &str| {
        let checkpoint = Checkpoint::open(&quantized(name)).unwrap();
        let texts: Vec<String> = checkpoint.config().notes.iter().map(|note| note.text.clone()).collect();
        texts.join("\n")
    };
    let after = "they are dequantized while they are read";
    for (name, method) in [
        ("nf4", "37 of 54 tensors are stored as NF4 with blocks of 64 and double quantization"),
        ("fp4", "37 of 54 tensors are stored as FP4 with blocks of 64"),
        ("fp8", "5 of 54 tensors are stored as FP8 (e4m3) with one scale"),
        ("fp8", "5 of 54 tensors are stored as FP8 (e4m3) with a scale per row"),
        ("fp8", "25 of 54 tensors are stored as FP8 (e4m3) with a scale per block of 32×32"),
        ("fp8_native", "21 of 54 tensors are stored as FP8 (e4m3) with one scale"),
    ] {
        assert!(notes(name).contains(&format!("{method}; {after}")), "{}", notes(name));
    }
}

/// A copy of a fixture whose tensors are changed, and the error for it.
fn refused(name: &str, mut change: impl FnMut(&mut Vec<Stored>)) -> String {
    let copy = Copy::of_directory(&quantized(name));
    let file = if name == "fp8_native" { "consolidated.safetensors" } else { "model.safetensors" };
    let mut tensors = read(&copy.path(file));
    change(&mut tensors);
    super::support::write(&copy.path(file), tensors.iter());
    Checkpoint::open(copy.directory.path()).unwrap_err().to_string()
}

/// The first tensor whose name ends in `end`.
fn first<'t>(tensors: &'t mut [Stored], end: &str) -> &'t mut Stored {
    tensors.iter_mut().find(|stored| stored.spec.name.ends_with(end)).unwrap()
}

fn without(tensors: &mut Vec<Stored>, end: &str) {
    let index = tensors.iter().position(|stored| stored.spec.name.ends_with(end)).unwrap();
    tensors.remove(index);
}

#[test]
fn statistics_that_are_missing_are_named() {
    let down = "language_model.model.layers.0.mlp.down_proj.weight";
    for part in ["absmax", "quant_map", "nested_absmax", "nested_quant_map"] {
        let error = refused("nf4", |tensors| without(tensors, &format!("down_proj.weight.{part}")));
        let message =
            format!("`{down}` is quantized, and `{down}.{part}` is missing: it cannot be dequantized");
        assert!(error.contains(&message), "{error}");
    }
    let error = refused("nf4", |tensors| without(tensors, "down_proj.weight.quant_state.bitsandbytes__nf4"));
    assert!(error.contains(&format!("`{down}` is quantized to 4 bits, and `{down}.quant_state.")), "{error}");
    let error = refused("nf4", |tensors| without(tensors, "down_proj.weight"));
    assert!(
        error.contains(&format!("`{down}.absmax` belongs to a quantized weight that is missing")),
        "{error}"
    );
    let error = refused("fp8", |tensors| without(tensors, "gate_proj.weight_scale_inv"));
    let gate = "language_model.model.layers.0.mlp.gate_proj.weight";
    assert!(
        error.contains(&format!("`{gate}` is FP8 without a scale: `{gate}_scale_inv` is missing")),
        "{error}"
    );
}

#[test]
fn statistics_that_do_not_fit_are_named() {
    let edit_state = |tensors: &mut Vec<Stored>, from: &str, to: &str| {
        let state = first(tensors, "quant_state.bitsandbytes__nf4");
        let text = String::from_utf8(state.bytes.clone()).unwrap().replace(from, to);
        state.bytes = text.into_bytes();
        state.spec.shape = vec![state.bytes.len()];
    };
    let error = refused("nf4", |tensors| edit_state(tensors, "\"blocksize\": 64", "\"blocksize\": 48"));
    assert!(error.contains("`blocksize` is 48; block sizes are 32, 64,"), "{error}");
    let error = refused("nf4", |tensors| edit_state(tensors, "\"blocksize\": 64", "\"blocksize\": 128"));
    assert!(error.contains("has the shape [96]; 48 elements follow from"), "{error}");
    let error = refused("nf4", |tensors| edit_state(tensors, "[64, 96]", "[64, 97]"));
    assert!(error.contains("has 3072 bytes, and its shape [64, 97] needs 3104"), "{error}");
    let error = refused("nf4", |tensors| edit_state(tensors, "[64, 96]", "[4294967296, 4294967296]"));
    assert!(error.contains("has the shape [4294967296, 4294967296]"), "{error}");
    let error = refused("nf4", |tensors| first(tensors, ".quant_map").bytes[3] = 0x40);
    assert!(error.contains(".quant_map` does not have the values of NF4"), "{error}");
    let error = refused("fp8", |tensors| {
        let scale = first(tensors, "gate_proj.weight_scale_inv");
        scale.spec.shape = vec![2, 3];
    });
    assert!(
        error.contains(
            "has scales of [2, 3] for a weight of [96, 64]: blocks of 32×32 do not divide it into these"
        ),
        "{error}"
    );
    let error = refused("fp8", |tensors| first(tensors, "gate_proj.weight").spec.dtype = Dtype::F8E5M2);
    assert!(error.contains("is FP8 of the type e5m2; e4m3 is supported"), "{error}");
    let error = refused("fp8_native", |tensors| {
        let codes = tensors.iter_mut().find(|stored| stored.spec.dtype == Dtype::F8E4M3).unwrap();
        (codes.spec.dtype, codes.spec.shape[1]) = (Dtype::BF16, codes.spec.shape[1] / 2);
    });
    assert!(error.contains("is BF16, and there is a scale for it as if it were FP8"), "{error}");
}

#[test]
fn other_quantizations_are_refused_by_their_method() {
    let copy = Copy::of("hf_bf16");
    copy.edit(
        "config.json",
        "\"image_seq_length\": 1,",
        "\"quantization_config\": {\"quant_method\": \"gptq\"},",
    );
    copy.rewrite("model.safetensors", |mut stored| {
        if stored.spec.name.ends_with("q_proj.weight") {
            stored.spec.name = stored.spec.name.replace(".weight", ".qweight");
        }
        vec![stored]
    });
    let error = Checkpoint::open(copy.directory.path()).unwrap_err().to_string();
    assert!(
        error.contains("it is quantized (`quantization_config`, gptq) in a way that is not supported"),
        "{error}"
    );
}
