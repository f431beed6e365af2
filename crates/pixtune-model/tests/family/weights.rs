//! Weights in both formats.

use std::fs;

use pixtune_model::weights::config::{Magnitude, Yarn};
use pixtune_model::weights::safetensors::{Layout, TensorSpec, Writer};
use pixtune_model::weights::{Checkpoint, Dtype, Format, ModelConfig, Module, Part, RowOrder};

use super::{convert, fixtures, golden, hashes, own, tensors};

#[test]
fn both_formats_are_the_same_model() {
    for fixture in fixtures() {
        let [hf, native] =
            ["hf_bf16", "native_bf16"].map(|name| Checkpoint::open(&fixture.join(name)).unwrap());
        let (a, b) = (hf.config(), native.config());
        assert_eq!((a.family, a.vision, a.projector, a.tied), (b.family, b.vision, b.projector, b.tied));
        // The factor has several spellings.
        let yarn = |config: &ModelConfig| {
            let yarn = config.text.yarn?;
            Some(Yarn { magnitude: Magnitude::Stated(yarn.attention_factor()), ..yarn })
        };
        assert_eq!((a.text.rope_theta, yarn(a)), (b.text.rope_theta, yarn(b)));
        assert_eq!(a.text.query_scaling, b.text.query_scaling);
        for (a, b) in hf.tensors().zip(native.tensors()) {
            assert_eq!(a.name, b.name);
            assert_eq!(
                a.to_f32(RowOrder::HalfSplit).unwrap(),
                b.to_f32(RowOrder::HalfSplit).unwrap(),
                "{:?}",
                a.name
            );
        }
    }
}

#[test]
fn conversions_write_the_tensors_of_the_reference() {
    let place = tempfile::tempdir().unwrap();
    for (index, fixture) in fixtures().iter().enumerate() {
        let [native, back, hf] =
            ["native", "back", "hf"].map(|name| place.path().join(format!("{index}-{name}")));
        convert(&fixture.join("hf_bf16"), &native, Format::Mistral);
        let found = tensors(&native.join("consolidated.safetensors"));
        assert_eq!(hashes(&found), golden(fixture, &["native_bf16_sha256"]), "{}", fixture.display());
        let wanted = tensors(&fixture.join("hf_bf16/model.safetensors"));
        convert(&native, &back, Format::Hf);
        convert(&fixture.join("native_bf16"), &hf, Format::Hf);
        for directory in [back, hf] {
            assert_eq!(tensors(&directory.join("model.safetensors")), wanted, "{}", fixture.display());
        }
    }
}

/// The instruct models of Ministral 3 are FP8 with one scale for a weight, as Mistral spells it.
#[test]
fn fp8_weights_are_dequantized_on_their_way() {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("fp8");
    fs::create_dir(&source).unwrap();
    let fixture = own("tiny_ministral3").join("native_bf16");
    let params = fs::read_to_string(fixture.join("params.json")).unwrap();
    let quantization =
        "{\n  \"quantization\": {\"qformat_weight\": \"fp8_e4m3\", \"qscheme_act\": \"TENSOR\"},";
    fs::write(source.join("params.json"), params.replacen('{', quantization, 1)).unwrap();
    let before = tensors(&fixture.join("consolidated.safetensors"));
    let checkpoint = Checkpoint::open(&fixture).unwrap();
    let mut all = Vec::new();
    for tensor in checkpoint.tensors() {
        let name = tensor.info.name.clone();
        let is_linear = name.starts_with("layers.") && tensor.shape().len() == 2;
        let shape = tensor.shape().to_vec();
        let Some(module) = name.strip_suffix(".weight").filter(|_| is_linear) else {
            all.push((TensorSpec { name: name.clone(), dtype: Dtype::BF16, shape }, before[&name].clone()));
            continue;
        };
        // Codes of one and of minus two, by turns.
        let codes = (0..shape.iter().product()).map(|at: usize| if at % 2 == 0 { 0x38 } else { 0xc0 });
        all.push((TensorSpec { name: name.clone(), dtype: Dtype::F8E4M3, shape }, codes.collect()));
        for (end, scale) in [("qscale_weight", 0.25f32), ("qscale_act", 3.0)] {
            let spec = TensorSpec { name: format!("{module}.{end}"), dtype: Dtype::F32, shape: vec![] };
            all.push((spec, scale.to_le_bytes().to_vec()));
        }
    }
    all.sort_by_key(|(spec, _)| std::cmp::Reverse(spec.dtype.size()));
    let specs: Vec<TensorSpec> = all.iter().map(|(spec, _)| spec.clone()).collect();
    let file = fs::File::create(source.join("consolidated.safetensors")).unwrap();
    let mut writer = Writer::new(file, &Layout::new(&specs).unwrap()).unwrap();
    all.iter().for_each(|(_, bytes)| writer.write(bytes).unwrap());
    writer.finish().unwrap();

    let target = place.path().join("hf");
    convert(&source, &target, Format::Hf);
    let written = Checkpoint::open(&target).unwrap();
    let down = written.tensor(Module::Text(1, Part::Down).weight()).unwrap();
    assert_eq!(down.info.dtype, Dtype::BF16);
    let values = down.to_f32(RowOrder::HalfSplit).unwrap();
    assert!(values.chunks(2).all(|pair| pair == [0.25, -0.5]));
    let text = fs::read_to_string(target.join("config.json")).unwrap();
    assert!(!text.contains("quantization"), "{text}");
}
