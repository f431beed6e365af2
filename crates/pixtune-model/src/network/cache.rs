//! Cached keys and values: the next token costs one row instead of all of them.

use super::Network;
use super::batch::Batch;
use super::device_batch::DeviceBatch;
use super::error::NetworkError;
use crate::kernels::{AttentionInput, Kernels};

/// Keys and values of every layer for up to `capacity` tokens.
#[derive(Debug)]
pub struct Cache<K: Kernels> {
    keys: Vec<K::Buffer>,
    values: Vec<K::Buffer>,
    tokens: usize,
    capacity: usize,
}

impl<K: Kernels> Cache<K> {
    /// The number of tokens it holds.
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}

impl<K: Kernels> Network<'_, K> {
    /// An empty cache.
    pub fn cache(&self, capacity: usize) -> Cache<K> {
        let (kernels, text) = (&self.model.kernels, &self.model.shape.text);
        let buffers = || (0..text.layers).map(|_| kernels.activations(capacity * text.key_width())).collect();
        Cache { keys: buffers(), values: buffers(), tokens: 0, capacity }
    }

    /// Appends the tokens of a batch of one sequence to the cache, and returns the logits that follow the last.
    pub fn extend(&self, cache: &mut Cache<K>, batch: &Batch) -> Result<Vec<f32>, NetworkError> {
        let model = &self.model;
        model.check_batch(batch)?;
        let (start, rows) = (cache.tokens, batch.tokens());
        if batch.cumulative.len() != 2 || start + rows > cache.capacity {
            return Err(NetworkError::Row { row: (start + rows) as u32, rows: cache.capacity });
        }
        let (kernels, text) = (&model.kernels, &model.shape.text);
        let scope = model.scope(None);
        let on_device = DeviceBatch::new(kernels, &model.shape, batch, start);
        let mut x = model.embed(&scope, batch, &on_device);
        let cached = cache.keys.iter_mut().zip(&mut cache.values);
        for (layer, (keys, values)) in model.decoder.stack.layers.iter().zip(cached) {
            let projected = layer.attention.project(&scope, &on_device.text, &x);
            kernels.put_rows(&projected.keys, keys, text.key_width(), start);
            kernels.put_rows(&projected.values, values, text.key_width(), start);
            let mut attended = kernels.activations(rows * text.query_width());
            let mut log_sum_exp = kernels.floats(rows * text.heads);
            let segments = &on_device.text.segments;
            let input = AttentionInput { queries: &projected.queries, keys, values, segments };
            let heads = layer.attention.heads(on_device.text.mask);
            kernels.attention(heads, input, &mut attended, &mut log_sum_exp);
            x = layer.forward_attended(&scope, rows, (x, &attended));
        }
        cache.tokens += rows;
        let mut last = kernels.activations(text.hidden);
        kernels.gather_rows(&x, &kernels.indices(&[rows as u32 - 1]), text.hidden, &mut last);
        let logits = model.decoder.logits(&scope, (1, &last));
        kernels.check()?;
        Ok(kernels.download(&logits))
    }
}
