//! The operations of [`Kernels`]: each hands its buffers to the code that launches the kernels for it.

use std::ops::Range;

use pixtune_model::kernels::{
    AdamW, AdamWState, Angles, AttentionGradients, AttentionInput, AttentionOutput, AttentionShape,
    DeviceBuffer, DeviceError, DropoutMask, FrozenTensor, Head, Kernels, Lora, LoraBackward, LoraForward,
    NormBackward, PatchGrid, Rotation, Segment, TokenLoss, TrainedBackward, TrainedMatrix, UnsupportedDtype,
    WeightMemory, Write,
};
use pixtune_model::weights::Dtype;
use pixtune_model::weights::quantized::FourBitMatrix;

use super::loss;
use super::rowwise::Move;
use super::{CudaBuffer, CudaIndices, CudaKernels, CudaSegments, CudaWeight};
use crate::gpu::Gpu;

impl<G: Gpu> Kernels for CudaKernels<G> {
    type Buffer = CudaBuffer<G>;
    type Weight<'w> = CudaWeight<G>;
    type Indices = CudaIndices<G>;
    type Segments = CudaSegments<G>;

    fn activation_dtype(&self) -> Dtype {
        Dtype::BF16
    }

    fn buffer(&self, len: usize, dtype: Dtype) -> Self::Buffer {
        self.new_buffer(len, dtype)
    }

    fn upload(&self, values: &[f32], dtype: Dtype) -> Self::Buffer {
        self.uploaded(values, dtype)
    }

    fn download(&self, buffer: &Self::Buffer) -> Vec<f32> {
        self.downloaded(buffer)
    }

    fn indices(&self, indices: &[u32]) -> Self::Indices {
        self.uploaded_indices(indices)
    }

    fn segments(&self, segments: &[Segment]) -> Self::Segments {
        self.uploaded_segments(segments)
    }

    fn weight<'w>(&self, tensor: FrozenTensor<'w>) -> Result<Self::Weight<'w>, UnsupportedDtype> {
        self.uploaded_weight(&tensor)
    }

    fn four_bit_weight<'w>(&self, matrix: FourBitMatrix) -> Self::Weight<'w> {
        self.four_bit(&matrix)
    }

    fn free_memory(&self) -> Option<u64> {
        self.run(Gpu::free_memory)
    }

    fn cross_entropy_memory(&self, rows: usize, vocabulary: usize) -> u64 {
        let logit = Dtype::F32.size() + Dtype::BF16.size();
        (loss::rows_at_once(rows, vocabulary) * vocabulary * logit) as u64
    }

    fn weight_memory(&self, weight: &Self::Weight<'_>) -> WeightMemory {
        weight.memory()
    }

    fn vector(&self, tensor: FrozenTensor<'_>) -> Result<Self::Buffer, UnsupportedDtype> {
        self.uploaded_vector(&tensor)
    }

    fn check(&self) -> Result<(), DeviceError> {
        self.take_failure()
    }

    fn fill(&self, buffer: &mut Self::Buffer, value: f32) {
        self.filled(buffer, value);
    }

    fn copy(&self, from: &Self::Buffer, to: &mut Self::Buffer) {
        assert_eq!(from.len(), to.len(), "both buffers have the same length");
        self.copied((from, 0), (to, 0), from.len());
    }

    fn put_rows(&self, from: &Self::Buffer, to: &mut Self::Buffer, columns: usize, first: usize) {
        self.copied((from, 0), (to, first * columns), from.len());
    }

    fn part(&self, buffer: &Self::Buffer, range: Range<usize>) -> Self::Buffer {
        let part = self.new_buffer(range.len(), buffer.dtype());
        self.copied((buffer, range.start), (&part, 0), range.len());
        part
    }

    fn gather_rows(&self, from: &Self::Buffer, rows: &Self::Indices, columns: usize, to: &mut Self::Buffer) {
        self.rows_moved(Move::Gather, from, rows, columns, to);
    }

    fn scatter_rows(&self, from: &Self::Buffer, rows: &Self::Indices, columns: usize, to: &mut Self::Buffer) {
        self.rows_moved(Move::Scatter, from, rows, columns, to);
    }

    fn embed(&self, table: &Self::Weight<'_>, ids: &Self::Indices, out: &mut Self::Buffer) {
        self.embedded(table, ids, out);
    }

    fn upload_patches(&self, image: &PatchGrid<'_>, out: &mut Self::Buffer, first: usize) {
        self.patches_uploaded(image, out, first);
    }

    fn rms_norm(&self, epsilon: f32, x: &Self::Buffer, weight: &Self::Buffer, out: &mut Self::Buffer) {
        self.normed(epsilon, x, weight, out);
    }

    fn rms_norm_backward(
        &self,
        norm: NormBackward<'_, Self>,
        out_gradient: &Self::Buffer,
        x_gradient: &mut Self::Buffer,
        write: Write,
    ) {
        self.norm_gradient(norm, out_gradient, x_gradient, write);
    }

    fn rms_norm_weight_backward(
        &self,
        norm: NormBackward<'_, Self>,
        out_gradient: &Self::Buffer,
        range: Range<usize>,
        gradients: &mut Self::Buffer,
    ) {
        self.norm_weight_gradient(norm, out_gradient, range, gradients);
    }

    fn linear(&self, x: &Self::Buffer, weight: &Self::Weight<'_>, y: &mut Self::Buffer, write: Write) {
        self.linear_of(x, weight, y, write);
    }

    fn linear_backward(
        &self,
        y_gradient: &Self::Buffer,
        weight: &Self::Weight<'_>,
        x_gradient: &mut Self::Buffer,
        write: Write,
    ) {
        self.linear_gradient(y_gradient, weight, x_gradient, write);
    }

    fn add_bias(&self, bias: &Self::Buffer, y: &mut Self::Buffer) {
        self.bias_added(bias, y);
    }

    fn bias_backward(&self, y_gradient: &Self::Buffer, range: Range<usize>, gradients: &mut Self::Buffer) {
        self.column_sums_added(y_gradient, None, range, gradients);
    }

    fn trained_linear(
        &self,
        matrix: &TrainedMatrix,
        parameters: &Self::Buffer,
        x: &Self::Buffer,
        y: &mut Self::Buffer,
        write: Write,
    ) {
        self.trained_linear_of(matrix, parameters, x, (y, write));
    }

    fn trained_linear_backward(
        &self,
        matrix: &TrainedMatrix,
        pass: TrainedBackward<'_, Self>,
        x_gradient: Option<(&mut Self::Buffer, Write)>,
    ) {
        self.trained_linear_gradients(matrix, pass, x_gradient.map(|(dx, write)| (&*dx, write)));
    }

    fn lora_down(&self, lora: &Lora, parameters: &Self::Buffer, x: &Self::Buffer, xa: &mut Self::Buffer) {
        self.lora_down_of(lora, parameters, x, xa);
    }

    fn lora_linear(&self, lora: &Lora, pass: LoraForward<'_, '_, Self>, y: &mut Self::Buffer, write: Write) {
        self.lora_linear_of(lora, pass, (y, write));
    }

    fn lora_linear_backward(
        &self,
        lora: &Lora,
        pass: LoraBackward<'_, '_, Self>,
        x_gradient: Option<(&mut Self::Buffer, Write)>,
    ) {
        self.lora_gradients(lora, pass, x_gradient.map(|(dx, write)| (&*dx, write)));
    }

    fn dropout(&self, mask: DropoutMask, x: &Self::Buffer, out: &mut Self::Buffer, write: Write) {
        self.dropped(mask, x, out, write);
    }

    fn rope(&self, angles: &Angles<Self>, head_size: usize, x: &mut Self::Buffer, rotation: Rotation) {
        self.rotated(angles, head_size, x, rotation);
    }

    fn attention(
        &self,
        shape: AttentionShape,
        input: AttentionInput<'_, Self>,
        out: &mut Self::Buffer,
        log_sum_exp: &mut Self::Buffer,
    ) {
        self.attend(shape, &input, out, log_sum_exp);
    }

    fn attention_backward(
        &self,
        shape: AttentionShape,
        input: AttentionInput<'_, Self>,
        output: AttentionOutput<'_, Self>,
        gradients: AttentionGradients<'_, Self>,
    ) {
        self.attend_backward(shape, &input, &output, gradients);
    }

    fn swiglu(&self, gate: &Self::Buffer, up: &Self::Buffer, out: &mut Self::Buffer) {
        self.swiglu_of(gate, up, out);
    }

    fn swiglu_backward(&self, out_gradient: &Self::Buffer, gate: &mut Self::Buffer, up: &mut Self::Buffer) {
        self.swiglu_gradients(out_gradient, gate, up);
    }

    fn gelu(&self, x: &Self::Buffer, out: &mut Self::Buffer) {
        self.gelu_with("gelu", x, out);
    }

    fn gelu_backward(&self, out_gradient: &Self::Buffer, x: &mut Self::Buffer) {
        self.gelu_with("gelu_backward", out_gradient, x);
    }

    fn cross_entropy(
        &self,
        head: Head<'_, '_, Self>,
        targets: &Self::Indices,
        scale: f32,
        gradient: Option<&mut Self::Buffer>,
    ) -> Vec<TokenLoss> {
        self.losses(head, targets, scale, gradient.map(|gradient| &*gradient))
    }

    fn l2_norm(&self, buffer: &Self::Buffer) -> f64 {
        self.l2_norm_of(buffer)
    }

    fn scale(&self, buffer: &mut Self::Buffer, factor: f32) {
        self.scaled(buffer, factor);
    }

    fn adamw(&self, step: &AdamW, steps: u64, gradients: &Self::Buffer, state: AdamWState<'_, Self>) {
        self.adamw_step(step, steps, gradients, state);
    }
}
