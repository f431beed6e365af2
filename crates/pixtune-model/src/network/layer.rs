//! One layer, of text and vision alike: attention and feed-forward, each after a norm and added to what went in.

use super::error::NetworkError;
use super::frozen::{FrozenWeights, Loader};
use super::linear::{Adapter, LinearBackward, LinearLayer, Scope};
use super::shape::StackShape;
use crate::kernels::{
    Angles, AttentionGradients, AttentionInput, AttentionOutput, AttentionShape, Kernels, Mask, NormBackward,
    Segment, Turn, Write,
};
use crate::weights::{Module, Part};

/// A layer's frozen weights and adapters.
#[derive(Debug)]
pub(super) struct Layer<'w, K: Kernels> {
    shape: StackShape,
    attention_norm: K::Buffer,
    feed_forward_norm: K::Buffer,
    query: LinearLayer<'w, K>,
    key: LinearLayer<'w, K>,
    value: LinearLayer<'w, K>,
    output: LinearLayer<'w, K>,
    gate: LinearLayer<'w, K>,
    up: LinearLayer<'w, K>,
    down: LinearLayer<'w, K>,
}

/// Where the rows of a pass stand.
#[derive(Debug)]
pub(super) struct Place<'a, K: Kernels> {
    pub(super) rows: usize,
    pub(super) angles: &'a Angles<K>,
    pub(super) mask: Mask,
    pub(super) segments: &'a [Segment],
    /// The rows whose output is wanted; all, unless this is the last layer. Attention reads every row either way.
    pub(super) wanted: Option<&'a [u32]>,
}

impl<K: Kernels> Place<'_, K> {
    /// Rows after attention.
    pub(super) fn rows_out(&self) -> usize {
        self.wanted.map_or(self.rows, <[u32]>::len)
    }
}

/// Activations of a layer that its backward pass reads. Norms and `silu(gate) * up` are cheap and computed again.
#[derive(Debug)]
pub(super) struct Kept<K: Kernels> {
    x: K::Buffer,
    projected: Projected<K>,
    attended: Attended<K>,
    output: KeptOutput<K>,
    feed_forward: KeptFeedForward<K>,
}

/// What the rest of [`Kept`] is computed from again. Attention's output is among it: it takes as much memory as the input,
/// and time that grows with the square of a sample.
#[derive(Debug)]
pub(super) struct Remembered<K: Kernels> {
    x: K::Buffer,
    attended: Attended<K>,
}

impl<K: Kernels> Kept<K> {
    /// Lets go of what can be computed again.
    pub(super) fn into_remembered(self) -> Remembered<K> {
        Remembered { x: self.x, attended: self.attended }
    }
}

/// Attention's output, `[rows, heads * head_size]`, and the sums its backward pass reads.
#[derive(Debug)]
struct Attended<K: Kernels> {
    out: K::Buffer,
    log_sums: K::Buffer,
}

#[derive(Debug)]
struct KeptOutput<K: Kernels> {
    /// The wanted rows of attention's output, where not all are wanted.
    wanted: Option<K::Buffer>,
    hidden: Option<K::Buffer>,
}

/// Queries and keys, turned, and values.
#[derive(Debug)]
pub(super) struct Projected<K: Kernels> {
    pub(super) queries: K::Buffer,
    pub(super) keys: K::Buffer,
    pub(super) values: K::Buffer,
    hidden: [Option<K::Buffer>; 3],
}

#[derive(Debug)]
struct KeptFeedForward<K: Kernels> {
    gates: Gates<K>,
    down_hidden: Option<K::Buffer>,
}

#[derive(Debug)]
struct Gates<K: Kernels> {
    x: K::Buffer,
    gate: K::Buffer,
    up: K::Buffer,
    hidden: [Option<K::Buffer>; 2],
}

impl<'w, K: Kernels> Layer<'w, K> {
    /// `module` names a part of this layer; `adapter` gives the adapter of a linear, where there is one.
    pub(super) fn load<W: FrozenWeights>(
        loader: &mut Loader<'w, '_, K, W>,
        shape: &StackShape,
        module: impl Fn(Part) -> Module,
        adapter: impl Fn(Part) -> Option<Adapter>,
    ) -> Result<Self, NetworkError> {
        let (hidden, ff) = (shape.hidden, shape.feed_forward);
        let (queries, keys) = (shape.query_width(), shape.key_width());
        let mut linear = |part, size| LinearLayer::load(loader, module(part), size, adapter(part));
        Ok(Layer {
            shape: *shape,
            query: linear(Part::Q, [queries, hidden])?,
            key: linear(Part::K, [keys, hidden])?,
            value: linear(Part::V, [keys, hidden])?,
            output: linear(Part::O, [hidden, queries])?,
            gate: linear(Part::Gate, [ff, hidden])?,
            up: linear(Part::Up, [ff, hidden])?,
            down: linear(Part::Down, [hidden, ff])?,
            attention_norm: loader.vector(module(Part::AttentionNorm).weight(), hidden)?,
            feed_forward_norm: loader.vector(module(Part::FfnNorm).weight(), hidden)?,
        })
    }

    /// Whether any of its linears is trained.
    pub(super) fn is_trained(&self) -> bool {
        self.any_adapter(&[
            &self.query,
            &self.key,
            &self.value,
            &self.output,
            &self.gate,
            &self.up,
            &self.down,
        ])
    }

    fn any_adapter(&self, linears: &[&LinearLayer<'w, K>]) -> bool {
        linears.iter().any(|linear| linear.adapter.is_some())
    }

    /// The output, `[rows out, hidden]`, and what the backward pass needs.
    pub(super) fn forward(&self, scope: &Scope<K>, place: &Place<K>, x: K::Buffer) -> (K::Buffer, Kept<K>) {
        let projected = self.project(scope, place.rows, place.angles, &x);
        let attended = self.attend(scope, place, &projected);
        let (middle, output) = self.add_attention(scope, place, &x, &attended);
        let (out, feed_forward) = self.feed_forward(scope, place.rows_out(), middle);
        (out, Kept { x, projected, attended, output, feed_forward })
    }

    /// What the forward pass kept at first. Neither attention nor the output of the layer is computed again.
    pub(super) fn recompute(&self, scope: &Scope<K>, place: &Place<K>, from: Remembered<K>) -> Kept<K> {
        let Remembered { x, attended } = from;
        let projected = self.project(scope, place.rows, place.angles, &x);
        let (middle, output) = self.add_attention(scope, place, &x, &attended);
        let rows = place.rows_out();
        let gates = self.gates(scope, rows, middle);
        let down_hidden = self.down.hidden(scope, rows, &self.gated(scope, rows, &gates));
        Kept { x, projected, attended, output, feed_forward: KeptFeedForward { gates, down_hidden } }
    }

    fn attend(&self, scope: &Scope<K>, place: &Place<K>, projected: &Projected<K>) -> Attended<K> {
        let mut out = scope.kernels.buffer(place.rows * self.shape.query_width());
        let mut log_sums = scope.kernels.buffer(place.rows * self.shape.heads);
        let shape = self.attention_shape(place.mask, place.segments);
        scope.kernels.attention(&shape, projected.input(), &mut out, &mut log_sums);
        Attended { out, log_sums }
    }

    /// `x` with attention's output added: the wanted rows.
    fn add_attention(
        &self,
        scope: &Scope<K>,
        place: &Place<K>,
        x: &K::Buffer,
        attended: &Attended<K>,
    ) -> (K::Buffer, KeptOutput<K>) {
        let (kernels, rows) = (scope.kernels, place.rows_out());
        let mut middle = kernels.buffer(rows * self.shape.hidden);
        let mut wanted = None;
        match place.wanted {
            Some(places) => {
                kernels.gather_rows(x, places, self.shape.hidden, &mut middle);
                let mut some = kernels.buffer(rows * self.shape.query_width());
                kernels.gather_rows(&attended.out, places, self.shape.query_width(), &mut some);
                wanted = Some(some);
            }
            None => kernels.copy(x, &mut middle),
        }
        let read = wanted.as_ref().unwrap_or(&attended.out);
        let hidden = self.output.forward(scope, (rows, read), &mut middle, Write::Add);
        (middle, KeptOutput { wanted, hidden })
    }

    /// Queries, keys and values of rows.
    pub(super) fn project(
        &self,
        scope: &Scope<K>,
        rows: usize,
        angles: &Angles<K>,
        x: &K::Buffer,
    ) -> Projected<K> {
        let kernels = scope.kernels;
        let normed = self.normed(scope, rows, x, &self.attention_norm);
        let project = |linear: &LinearLayer<'w, K>| {
            let mut y = kernels.buffer(rows * linear.outputs);
            let hidden = linear.forward(scope, (rows, &normed), &mut y, Write::Set);
            (y, hidden)
        };
        let (mut queries, query_hidden) = project(&self.query);
        let (mut keys, key_hidden) = project(&self.key);
        let (values, value_hidden) = project(&self.value);
        kernels.rope(angles, self.shape.head_size, &mut queries, Turn::Forward);
        kernels.rope(angles, self.shape.head_size, &mut keys, Turn::Forward);
        Projected { queries, keys, values, hidden: [query_hidden, key_hidden, value_hidden] }
    }

    /// What follows attention, for rows whose keys and values lie elsewhere: without gradients.
    pub(super) fn finish(
        &self,
        scope: &Scope<K>,
        rows: usize,
        x: K::Buffer,
        attended: &K::Buffer,
    ) -> K::Buffer {
        let mut middle = x;
        self.output.forward(scope, (rows, attended), &mut middle, Write::Add);
        self.feed_forward(scope, rows, middle).0
    }

    fn feed_forward(&self, scope: &Scope<K>, rows: usize, x: K::Buffer) -> (K::Buffer, KeptFeedForward<K>) {
        let gates = self.gates(scope, rows, x);
        let gated = self.gated(scope, rows, &gates);
        let mut out = scope.kernels.buffer(rows * self.shape.hidden);
        scope.kernels.copy(&gates.x, &mut out);
        let down_hidden = self.down.forward(scope, (rows, &gated), &mut out, Write::Add);
        (out, KeptFeedForward { gates, down_hidden })
    }

    fn gates(&self, scope: &Scope<K>, rows: usize, x: K::Buffer) -> Gates<K> {
        let kernels = scope.kernels;
        let normed = self.normed(scope, rows, &x, &self.feed_forward_norm);
        let mut gate = kernels.buffer(rows * self.shape.feed_forward);
        let mut up = kernels.buffer(rows * self.shape.feed_forward);
        let gate_hidden = self.gate.forward(scope, (rows, &normed), &mut gate, Write::Set);
        let up_hidden = self.up.forward(scope, (rows, &normed), &mut up, Write::Set);
        Gates { x, gate, up, hidden: [gate_hidden, up_hidden] }
    }

    /// Adds the gradients of its adapters to `gradients`. Gives the gradient of the input, `[rows, hidden]`, unless nothing
    /// below is trained.
    pub(super) fn backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        place: &Place<K>,
        (kept, y_gradient): (Kept<K>, K::Buffer),
        below: Below,
    ) -> Option<K::Buffer> {
        let kernels = scope.kernels;
        let Kept { x, projected, attended, output, feed_forward } = kept;
        let middle_gradient = self.feed_forward_backward(scope, gradients, place, (feed_forward, y_gradient));
        let inputs_trained = self.any_adapter(&[&self.query, &self.key, &self.value]);
        let attention_needed = below == Below::Trained || inputs_trained;
        let mut attended_gradient =
            attention_needed.then(|| kernels.buffer(place.rows_out() * self.shape.query_width()));
        let pass = LinearBackward {
            rows: place.rows_out(),
            x: output.wanted.as_ref().unwrap_or(&attended.out),
            hidden: output.hidden.as_ref(),
            y_gradient: &middle_gradient,
        };
        self.output.backward(
            scope,
            gradients,
            pass,
            attended_gradient.as_mut().map(|gradient| (gradient, Write::Set)),
        );
        let mut attended_gradient = attended_gradient?;
        let mut x_gradient = middle_gradient;
        drop(output);
        if let Some(wanted) = place.wanted {
            attended_gradient =
                spread(kernels, &attended_gradient, wanted, (place.rows, self.shape.query_width()));
            x_gradient = spread(kernels, &x_gradient, wanted, (place.rows, self.shape.hidden));
        }
        let output = AttentionOutput {
            out: &attended.out,
            log_sums: &attended.log_sums,
            out_gradient: &attended_gradient,
        };
        let turned = self.attention_backward(scope, place, &projected, output);
        drop((attended, attended_gradient));
        let Projected { queries, keys, values, hidden } = projected;
        drop((queries, keys, values));
        let normed = self.normed(scope, place.rows, &x, &self.attention_norm);
        let mut normed_gradient =
            (below == Below::Trained).then(|| kernels.buffer(place.rows * self.shape.hidden));
        let mut write = Write::Set;
        for ((linear, hidden), y_gradient) in
            [&self.query, &self.key, &self.value].into_iter().zip(&hidden).zip(&turned)
        {
            let pass = LinearBackward { rows: place.rows, x: &normed, hidden: hidden.as_ref(), y_gradient };
            let x_gradient = normed_gradient.as_mut().map(|gradient| (gradient, write));
            linear.backward(scope, gradients, pass, x_gradient);
            write = Write::Add;
        }
        let norm = NormBackward { epsilon: self.shape.norm_epsilon, x: &x, weight: &self.attention_norm };
        kernels.rms_norm_backward(norm, &normed_gradient?, &mut x_gradient, Write::Add);
        Some(x_gradient)
    }

    /// The gradients of queries, keys and values before they were turned.
    fn attention_backward(
        &self,
        scope: &Scope<K>,
        place: &Place<K>,
        projected: &Projected<K>,
        output: AttentionOutput<'_, K>,
    ) -> [K::Buffer; 3] {
        let kernels = scope.kernels;
        let mut queries = kernels.buffer(place.rows * self.shape.query_width());
        let mut keys = kernels.buffer(place.rows * self.shape.key_width());
        let mut values = kernels.buffer(place.rows * self.shape.key_width());
        let shape = self.attention_shape(place.mask, place.segments);
        let gradients = AttentionGradients { queries: &mut queries, keys: &mut keys, values: &mut values };
        kernels.attention_backward(&shape, projected.input(), output, gradients);
        kernels.rope(place.angles, self.shape.head_size, &mut queries, Turn::Back);
        kernels.rope(place.angles, self.shape.head_size, &mut keys, Turn::Back);
        [queries, keys, values]
    }

    fn feed_forward_backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        place: &Place<K>,
        (kept, mut x_gradient): (KeptFeedForward<K>, K::Buffer),
    ) -> K::Buffer {
        let kernels = scope.kernels;
        let rows = place.rows_out();
        let KeptFeedForward { gates, down_hidden } = kept;
        let gated = self.gated(scope, rows, &gates);
        let Gates { x, mut gate, mut up, hidden: [gate_hidden, up_hidden] } = gates;
        let mut gated_gradient = kernels.buffer(rows * self.shape.feed_forward);
        let pass = LinearBackward { rows, x: &gated, hidden: down_hidden.as_ref(), y_gradient: &x_gradient };
        self.down.backward(scope, gradients, pass, Some((&mut gated_gradient, Write::Set)));
        drop(gated);
        kernels.swiglu_backward(&gated_gradient, &mut gate, &mut up);
        drop(gated_gradient);
        let normed = self.normed(scope, rows, &x, &self.feed_forward_norm);
        let mut normed_gradient = kernels.buffer(rows * self.shape.hidden);
        let pass = LinearBackward { rows, x: &normed, hidden: gate_hidden.as_ref(), y_gradient: &gate };
        self.gate.backward(scope, gradients, pass, Some((&mut normed_gradient, Write::Set)));
        let pass = LinearBackward { rows, x: &normed, hidden: up_hidden.as_ref(), y_gradient: &up };
        self.up.backward(scope, gradients, pass, Some((&mut normed_gradient, Write::Add)));
        let norm = NormBackward { epsilon: self.shape.norm_epsilon, x: &x, weight: &self.feed_forward_norm };
        kernels.rms_norm_backward(norm, &normed_gradient, &mut x_gradient, Write::Add);
        x_gradient
    }

    fn normed(&self, scope: &Scope<K>, rows: usize, x: &K::Buffer, weight: &K::Buffer) -> K::Buffer {
        let mut normed = scope.kernels.buffer(rows * self.shape.hidden);
        scope.kernels.rms_norm(self.shape.norm_epsilon, x, weight, &mut normed);
        normed
    }

    fn gated(&self, scope: &Scope<K>, rows: usize, gates: &Gates<K>) -> K::Buffer {
        let mut gated = scope.kernels.buffer(rows * self.shape.feed_forward);
        scope.kernels.swiglu(&gates.gate, &gates.up, &mut gated);
        gated
    }

    /// The shape of its attention over these segments.
    pub(super) fn attention_shape<'s>(&self, mask: Mask, segments: &'s [Segment]) -> AttentionShape<'s> {
        let StackShape { heads, key_value_heads, head_size, .. } = self.shape;
        AttentionShape { heads, key_value_heads, head_size, mask, segments }
    }
}

/// Whether anything below a layer is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Below {
    /// The gradient of the input is needed.
    Trained,
    /// It is not.
    Frozen,
}

impl<K: Kernels> Projected<K> {
    fn input(&self) -> AttentionInput<'_, K> {
        AttentionInput { queries: &self.queries, keys: &self.keys, values: &self.values }
    }
}

/// Puts rows back to where they were gathered from; all others are zero.
pub(super) fn spread<K: Kernels>(
    kernels: &K,
    from: &K::Buffer,
    places: &[u32],
    (rows, columns): (usize, usize),
) -> K::Buffer {
    let mut to = kernels.buffer(rows * columns);
    kernels.fill(&mut to, 0.0);
    kernels.scatter_rows(from, places, columns, &mut to);
    to
}
