//! `fixtures/tiny_train`: loss, logits, gradients and five steps of `ref.py`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use pixtune_model::kernels::{AdamW, CpuKernels, FrozenTensor};
use pixtune_model::network::{
    Batch, FrozenWeights, Image, LoraConfig, ModelShape, Network, NetworkError, NetworkOptions, Pass,
    Sequence, StackShape,
};
use pixtune_model::weights::{Dtype, Spelling, TensorName};

use super::fixture::{all_rows, difference, relative, repository, tensors};

/// The sizes in `ref.py`.
fn shape() -> ModelShape {
    let text = StackShape {
        hidden: 48,
        feed_forward: 96,
        layers: 2,
        heads: 4,
        key_value_heads: 2,
        head_size: 16,
        rope_theta: 1e6,
        norm_epsilon: 1e-5,
    };
    let vision = StackShape { hidden: 32, feed_forward: 64, heads: 2, rope_theta: 1e4, ..text };
    ModelShape {
        text,
        vision,
        yarn: None,
        query_scaling: None,
        vocabulary: 128,
        channels: 3,
        patch: 4,
        image_side: 16,
        merge: 1,
        projector_bias: true,
        tied: false,
        image_token: 10,
    }
}

struct Weights(BTreeMap<String, (Vec<usize>, Vec<u8>)>);

impl FrozenWeights for Weights {
    fn shape(&self) -> Result<ModelShape, NetworkError> {
        Ok(shape())
    }

    fn tensor(&self, name: TensorName) -> Result<Option<FrozenTensor<'_>>, NetworkError> {
        let found = self.0.get(&name.path(Spelling::Live));
        Ok(found.map(|(shape, bytes)| FrozenTensor {
            dtype: Dtype::F32,
            shape: shape.clone(),
            bytes: Cow::Borrowed(bytes),
        }))
    }
}

#[test]
fn the_reference_run_is_reproduced() {
    let directory = repository().join("fixtures/tiny_train");
    let file =
        pixtune_model::weights::safetensors::SafetensorsFile::open(&directory.join("w.safetensors")).unwrap();
    let all = file.header().tensors.iter();
    let weights =
        Weights(all.map(|t| (t.name.clone(), (t.shape.clone(), file.bytes(t).unwrap().to_vec()))).collect());
    let io = tensors(&directory.join("io.safetensors"));
    let integers = |name: &str| {
        let file =
            pixtune_model::weights::safetensors::SafetensorsFile::open(&directory.join("io.safetensors"))
                .unwrap();
        let tensor = file.header().tensors.iter().find(|tensor| tensor.name == name).unwrap().clone();
        let bytes = file.bytes(&tensor).unwrap();
        bytes.as_chunks().0.iter().map(|eight| i64::from_le_bytes(*eight)).collect::<Vec<_>>()
    };
    let image = |index: usize, (height, width): (usize, usize)| {
        let padded = &io["pv"][index * 3 * 16 * 24..];
        let rows = (0..3 * height).map(|line| (line / height * 16 + line % height) * 24);
        let pixels: Vec<f32> = rows.flat_map(|start| padded[start..start + width].to_vec()).collect();
        Image { pixels: pixels.into(), rows: height / 4, columns: width / 4, merge: 1 }
    };
    let sequence = Sequence {
        ids: integers("ids").iter().map(|id| *id as u32).collect(),
        trained: integers("labels").iter().map(|label| *label >= 0).collect(),
        images: vec![image(0, (16, 24)), image(1, (12, 8))],
    };
    let batch = Batch::pack(&[sequence], 10).unwrap();
    let lora = LoraConfig { rank: 4, alpha: 8.0, ..LoraConfig::default() };
    let kernels = CpuKernels::new(2).unwrap();
    let mut network = Network::load(kernels, &weights, &lora, NetworkOptions::default()).unwrap();
    let mut parameters = vec![f32::NAN; network.trained_parameters()];
    let w = tensors(&directory.join("w.safetensors"));
    for tensor in network.adapter_tensors() {
        let name = tensor.name.replace("base_model.model.", "").replace(".weight", ".default.weight");
        parameters[tensor.range.clone()].copy_from_slice(&w[&name]);
    }
    network.set_parameters(&parameters);
    let logits = network.logits(&batch, &all_rows(&batch)).unwrap();
    assert!(difference(&logits, &io["logits"]) < 1e-5);
    let pass = Pass { scale: 1.0 / batch.trained_tokens() as f32, dropout_seed: 0 };
    let gradients = tensors(&directory.join("g.safetensors"));
    let adamw = AdamW { learning_rate: 1e-2, weight_decay: 0.01, ..AdamW::default() };
    for (step, expected) in io["losses"].iter().enumerate() {
        network.zero_gradients();
        let sum = network.forward_backward(&batch, pass).unwrap();
        let loss = sum.loss / sum.trained_tokens as f64;
        assert!((loss - f64::from(*expected)).abs() < 1e-5, "{step}: {loss} {expected}");
        if step == 0 {
            let found = network.gradients();
            for tensor in network.adapter_tensors() {
                let name = tensor.name.replace("base_model.model.", "").replace(".weight", ".default.weight");
                let error = relative(&found[tensor.range.clone()], &gradients[&name]);
                assert!(error < 1e-4, "{name}: {error}");
            }
        }
        network.adamw(&adamw);
    }
}
