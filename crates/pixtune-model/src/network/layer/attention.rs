//! The attention of a layer: norm, projections, rotary positions, attention, output projection.

use super::{InputGradient, LayerRows, Parts};
use crate::kernels::{
    AttentionGradients, AttentionInput, AttentionOutput, AttentionShape, Kernels, Mask, Rotation, Write,
};
use crate::network::adapter_layout::Adapter;
use crate::network::device_batch::{RowSelection, Rows};
use crate::network::error::NetworkError;
use crate::network::linear::{LinearBackward, LinearLayer};
use crate::network::loader::FrozenWeights;
use crate::network::norm::Norm;
use crate::network::scope::Scope;
use crate::network::shape::StackShape;
use crate::weights::{Module, Part};

/// The frozen weights and adapters of attention.
#[derive(Debug)]
pub(in crate::network) struct AttentionBlock<'w, K: Kernels> {
    shape: StackShape,
    norm: Norm<K>,
    query: LinearLayer<'w, K>,
    key: LinearLayer<'w, K>,
    value: LinearLayer<'w, K>,
    output: LinearLayer<'w, K>,
}

/// Queries and keys after rotation, and values.
#[derive(Debug)]
pub(in crate::network) struct Projected<K: Kernels> {
    pub(in crate::network) queries: K::Buffer,
    pub(in crate::network) keys: K::Buffer,
    pub(in crate::network) values: K::Buffer,
    xa: [Option<K::Buffer>; 3],
}

/// The output of attention, `[rows, heads * head_size]`, and its log-sum-exp.
#[derive(Debug)]
pub(super) struct Attended<K: Kernels> {
    out: K::Buffer,
    log_sum_exp: K::Buffer,
}

/// What the backward pass of the output projection reads.
#[derive(Debug)]
struct SavedOutput<K: Kernels> {
    /// The selected rows of the attention's output, if not all rows are needed.
    selected: Option<K::Buffer>,
    xa: Option<K::Buffer>,
}

/// The activations that the backward pass reads.
#[derive(Debug)]
pub(super) struct SavedAttention<K: Kernels> {
    projected: Projected<K>,
    attended: Attended<K>,
    output: SavedOutput<K>,
}

impl<K: Kernels> SavedAttention<K> {
    pub(super) fn into_attended(self) -> Attended<K> {
        self.attended
    }
}

impl<'w, K: Kernels> AttentionBlock<'w, K> {
    pub(super) fn load<W, M, A>(parts: &mut Parts<'_, 'w, '_, K, W, M, A>) -> Result<Self, NetworkError>
    where
        W: FrozenWeights,
        M: Fn(Part) -> Module,
        A: Fn(Part) -> Option<Adapter>,
    {
        let shape = *parts.shape;
        let (hidden, queries, keys) = (shape.hidden, shape.query_width(), shape.key_width());
        Ok(AttentionBlock {
            shape,
            norm: parts.norm(Part::AttentionNorm)?,
            query: parts.linear(Part::Q, [queries, hidden])?,
            key: parts.linear(Part::K, [keys, hidden])?,
            value: parts.linear(Part::V, [keys, hidden])?,
            output: parts.linear(Part::O, [hidden, queries])?,
        })
    }

    pub(super) fn is_trained(&self) -> bool {
        self.inputs_are_trained() || self.output.is_trained()
    }

    fn inputs_are_trained(&self) -> bool {
        [&self.query, &self.key, &self.value].into_iter().any(LinearLayer::is_trained)
    }

    /// `x` plus attention: the selected rows, and what the backward pass reads.
    pub(super) fn forward(
        &self,
        scope: &Scope<K>,
        rows: &LayerRows<K>,
        x: &K::Buffer,
    ) -> (K::Buffer, SavedAttention<K>) {
        let projected = self.project(scope, rows.all, x);
        let attended = self.attend(scope, rows, &projected);
        let (out, output) = self.residual(scope, rows, x, &attended);
        (out, SavedAttention { projected, attended, output })
    }

    /// The same from the saved output of attention.
    pub(super) fn recompute(
        &self,
        scope: &Scope<K>,
        rows: &LayerRows<K>,
        x: &K::Buffer,
        attended: Attended<K>,
    ) -> (K::Buffer, SavedAttention<K>) {
        let projected = self.project(scope, rows.all, x);
        let (out, output) = self.residual(scope, rows, x, &attended);
        (out, SavedAttention { projected, attended, output })
    }

    /// Queries, keys and values of rows.
    pub(in crate::network) fn project(
        &self,
        scope: &Scope<K>,
        rows: &Rows<K>,
        x: &K::Buffer,
    ) -> Projected<K> {
        let kernels = scope.kernels;
        let normed = self.norm.forward(scope, (rows.count, x));
        let project = |linear: &LinearLayer<'w, K>| {
            let mut y = kernels.activations(rows.count * linear.outputs);
            let xa = linear.forward(scope, (rows.count, &normed), &mut y, Write::Set);
            (y, xa)
        };
        let (mut queries, query_xa) = project(&self.query);
        let (mut keys, key_xa) = project(&self.key);
        let (values, value_xa) = project(&self.value);
        kernels.rope(rows.query_angles(), self.shape.head_size, &mut queries, Rotation::Forward);
        kernels.rope(&rows.angles, self.shape.head_size, &mut keys, Rotation::Forward);
        Projected { queries, keys, values, xa: [query_xa, key_xa, value_xa] }
    }

    fn attend(&self, scope: &Scope<K>, rows: &LayerRows<K>, projected: &Projected<K>) -> Attended<K> {
        let (kernels, count) = (scope.kernels, rows.all.count);
        let mut out = kernels.activations(count * self.shape.query_width());
        let mut log_sum_exp = kernels.floats(count * self.shape.heads);
        let input = projected.input(&rows.all.segments);
        kernels.attention(self.heads(rows.all.mask), input, &mut out, &mut log_sum_exp);
        Attended { out, log_sum_exp }
    }

    /// `x` plus the projected output of attention: the selected rows.
    fn residual(
        &self,
        scope: &Scope<K>,
        rows: &LayerRows<K>,
        x: &K::Buffer,
        attended: &Attended<K>,
    ) -> (K::Buffer, SavedOutput<K>) {
        let (kernels, count) = (scope.kernels, rows.outputs());
        let mut out = kernels.activations(count * self.shape.hidden);
        let mut selected = None;
        match rows.selection {
            Some(RowSelection { indices, .. }) => {
                kernels.gather_rows(x, indices, self.shape.hidden, &mut out);
                let width = self.shape.query_width();
                let mut gathered = kernels.activations(count * width);
                kernels.gather_rows(&attended.out, indices, width, &mut gathered);
                selected = Some(gathered);
            }
            None => kernels.copy(x, &mut out),
        }
        let xa = self.add_output(scope, (count, selected.as_ref().unwrap_or(&attended.out)), &mut out);
        (out, SavedOutput { selected, xa })
    }

    /// Adds the projected output of attention to `x`; returns the `x A^T` of the projection's adapter.
    pub(super) fn add_output(
        &self,
        scope: &Scope<K>,
        (rows, attended): (usize, &K::Buffer),
        x: &mut K::Buffer,
    ) -> Option<K::Buffer> {
        self.output.forward(scope, (rows, attended), x, Write::Add)
    }

    /// Adds the gradients of the adapters. Returns the gradient of `x`, which includes that of the residual connection, if it
    /// is needed.
    pub(super) fn backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        rows: &LayerRows<K>,
        (x, saved, out_gradient): (K::Buffer, SavedAttention<K>, K::Buffer),
        input_gradient: InputGradient,
    ) -> Option<K::Buffer> {
        let kernels = scope.kernels;
        let SavedAttention { projected, attended, output } = saved;
        let needed = input_gradient == InputGradient::Needed;
        let width = self.shape.query_width();
        let mut attended_gradient =
            (needed || self.inputs_are_trained()).then(|| kernels.activations(rows.outputs() * width));
        let pass = LinearBackward {
            rows: rows.outputs(),
            x: output.selected.as_ref().unwrap_or(&attended.out),
            xa: output.xa.as_ref(),
            y_gradient: &out_gradient,
        };
        let to = attended_gradient.as_mut().map(|gradient| (gradient, Write::Set));
        self.output.backward(scope, gradients, pass, to);
        drop(output);
        let (mut attended_gradient, mut x_gradient) = (attended_gradient?, out_gradient);
        if let Some(selection) = rows.selection {
            let count = rows.all.count;
            attended_gradient = scatter(kernels, &attended_gradient, selection, (count, width));
            x_gradient = scatter(kernels, &x_gradient, selection, (count, self.shape.hidden));
        }
        let output = (attended, attended_gradient);
        let (projected_gradients, xa) = self.attention_backward(scope, rows, projected, output);
        let normed_gradient = self.project_backward(
            scope,
            gradients,
            (rows.all.count, &x),
            (projected_gradients, xa),
            input_gradient,
        )?;
        self.norm.backward(scope, gradients, (&x, &normed_gradient), (&mut x_gradient, Write::Add));
        Some(x_gradient)
    }

    /// The gradients of queries, keys and values before their rotation, and what the backward passes of their projections
    /// read. Frees the rest.
    fn attention_backward(
        &self,
        scope: &Scope<K>,
        rows: &LayerRows<K>,
        projected: Projected<K>,
        (attended, attended_gradient): (Attended<K>, K::Buffer),
    ) -> ([K::Buffer; 3], [Option<K::Buffer>; 3]) {
        let (kernels, count) = (scope.kernels, rows.all.count);
        let mut queries = kernels.activations(count * self.shape.query_width());
        let mut keys = kernels.activations(count * self.shape.key_width());
        let mut values = kernels.activations(count * self.shape.key_width());
        let output = AttentionOutput {
            out: &attended.out,
            log_sum_exp: &attended.log_sum_exp,
            out_gradient: &attended_gradient,
        };
        let gradients = AttentionGradients { queries: &mut queries, keys: &mut keys, values: &mut values };
        let input = projected.input(&rows.all.segments);
        kernels.attention_backward(self.heads(rows.all.mask), input, output, gradients);
        kernels.rope(rows.all.query_angles(), self.shape.head_size, &mut queries, Rotation::Backward);
        kernels.rope(&rows.all.angles, self.shape.head_size, &mut keys, Rotation::Backward);
        ([queries, keys, values], projected.xa)
    }

    /// Adds the gradients of the projections' adapters; returns the gradient of their input if it is needed.
    fn project_backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        (rows, x): (usize, &K::Buffer),
        (y_gradients, xa): ([K::Buffer; 3], [Option<K::Buffer>; 3]),
        input_gradient: InputGradient,
    ) -> Option<K::Buffer> {
        let normed = self.norm.forward(scope, (rows, x));
        let mut normed_gradient = (input_gradient == InputGradient::Needed)
            .then(|| scope.kernels.activations(rows * self.shape.hidden));
        let linears = [&self.query, &self.key, &self.value];
        let writes = [Write::Set, Write::Add, Write::Add];
        for (((linear, y_gradient), xa), write) in linears.into_iter().zip(&y_gradients).zip(&xa).zip(writes)
        {
            let pass = LinearBackward { rows, x: &normed, xa: xa.as_ref(), y_gradient };
            let to = normed_gradient.as_mut().map(|gradient| (gradient, write));
            linear.backward(scope, gradients, pass, to);
        }
        normed_gradient
    }

    /// The shape of its heads.
    pub(in crate::network) fn heads(&self, mask: Mask) -> AttentionShape {
        let StackShape { heads, key_value_heads, head_size, .. } = self.shape;
        AttentionShape { heads, key_value_heads, head_size, mask }
    }
}

impl<K: Kernels> Projected<K> {
    fn input<'a>(&'a self, segments: &'a K::Segments) -> AttentionInput<'a, K> {
        AttentionInput { queries: &self.queries, keys: &self.keys, values: &self.values, segments }
    }
}

/// Scatters selected rows to all rows; the others are zero.
fn scatter<K: Kernels>(
    kernels: &K,
    from: &K::Buffer,
    selection: &RowSelection<K>,
    (rows, columns): (usize, usize),
) -> K::Buffer {
    let mut to = kernels.activations(rows * columns);
    kernels.fill(&mut to, 0.0);
    kernels.scatter_rows(from, &selection.indices, columns, &mut to);
    to
}
