//! Keys and values of a text that grows: a token at a time costs one row, not all of them.

use super::Network;
use super::batch::Batch;
use super::error::NetworkError;
use crate::kernels::{AttentionInput, Kernels, Mask, Segment};

/// Keys and values of every layer for up to `capacity` tokens.
#[derive(Debug)]
pub struct Cache<K: Kernels> {
    keys: Vec<K::Buffer>,
    values: Vec<K::Buffer>,
    tokens: usize,
    capacity: usize,
}

impl<K: Kernels> Cache<K> {
    /// How many tokens it holds.
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}

impl<K: Kernels> Network<'_, K> {
    /// An empty cache.
    pub fn cache(&self, capacity: usize) -> Cache<K> {
        let text = &self.shape.text;
        let buffers = || (0..text.layers).map(|_| self.kernels.buffer(capacity * text.key_width())).collect();
        Cache { keys: buffers(), values: buffers(), tokens: 0, capacity }
    }

    /// Reads the tokens of a batch of one sequence after those in the cache, and gives the logits that follow the last.
    pub fn extend(&self, cache: &mut Cache<K>, batch: &Batch) -> Result<Vec<f32>, NetworkError> {
        self.check_batch(batch)?;
        let (before, rows) = (cache.tokens, batch.tokens());
        if batch.cumulative.len() != 2 || before + rows > cache.capacity {
            return Err(NetworkError::Row { row: (before + rows) as u32, rows: cache.capacity });
        }
        let (kernels, text) = (&self.kernels, &self.shape.text);
        let scope = self.scope(None);
        let mut x = self.decoder.embed(&scope, batch, self.images(&scope, batch).as_ref());
        let positions: Vec<u32> = (before as u32..).take(rows).collect();
        let angles = self.decoder.angles(kernels, &positions);
        let segments = [Segment { queries: 0..rows, keys: 0..before + rows }];
        for (layer, (keys, values)) in
            self.decoder.stack.layers.iter().zip(cache.keys.iter_mut().zip(&mut cache.values))
        {
            let projected = layer.project(&scope, rows, &angles, &x);
            kernels.put_rows(&projected.keys, keys, text.key_width(), before);
            kernels.put_rows(&projected.values, values, text.key_width(), before);
            let mut attended = kernels.buffer(rows * text.query_width());
            let mut log_sums = kernels.buffer(rows * text.heads);
            let input = AttentionInput { queries: &projected.queries, keys, values };
            let shape = layer.attention_shape(Mask::Causal, &segments);
            kernels.attention(&shape, input, &mut attended, &mut log_sums);
            x = layer.finish(&scope, rows, x, &attended);
        }
        cache.tokens += rows;
        let mut last = kernels.buffer(text.hidden);
        kernels.gather_rows(&x, &[rows as u32 - 1], text.hidden, &mut last);
        let logits = self.decoder.logits(&scope, &last, 1);
        kernels.check()?;
        Ok(kernels.download(&logits))
    }
}
