// Cross-entropy of rows of logits.
#include "prelude.cuh"

// The loss of each row, whether its target is the first of the largest logits, and, unless `gradient` is null, the gradient
// of `scale` times the loss with respect to the logits. One block per row.
KERNEL __launch_bounds__(1024) cross_entropy(const float* logits, const uint32_t* targets, bf16* gradient, float* losses,
                                             uint32_t* correct, int columns, float scale) {
    float* scratch = (float*)shared_memory();
    const float* row = logits + (size_t)blockIdx.x * columns;
    int target = targets[blockIdx.x];
    float max = -INFINITE, sum = 0;
    int best = columns;
    for (int c = threadIdx.x * 8; c < columns; c += blockDim.x * 8) {
        float v[8], before = max;
        load_up_to_8(row + c, v, columns - c);
#pragma unroll
        for (int i = 0; i < 8; i++)
            if (c + i < columns && v[i] > max) {
                max = v[i];
                best = c + i;
            }
        sum *= exp2_fast((before - max) * LOG2_E);
#pragma unroll
        for (int i = 0; i < 8; i++)
            if (c + i < columns) sum += exp2_fast((v[i] - max) * LOG2_E);
    }
    float block = block_max(max, scratch);
    // A thread without a number has a maximum of minus infinity: its difference to itself would be NaN.
    sum = block_sum(best == columns ? sum : sum * exp2_fast((max - block) * LOG2_E), scratch);
    // Indices are below 2^24, so that single precision holds them.
    float first = -block_max(max == block ? -(float)best : -INFINITE, scratch);
    float log_sum_exp = block + logf(sum);
    if (threadIdx.x == 0) {
        losses[blockIdx.x] = log_sum_exp - row[target];
        correct[blockIdx.x] = first == (float)target;
    }
    if (!gradient) return;
    float inverse = scale / sum;
    for (int c = threadIdx.x * 8; c < columns; c += blockDim.x * 8) {
        float v[8];
        load_up_to_8(row + c, v, columns - c);
#pragma unroll
        for (int i = 0; i < 8; i++)
            v[i] = inverse * exp2_fast((v[i] - block) * LOG2_E) - (c + i == target ? scale : 0.0f);
        store_up_to_8(gradient + (size_t)blockIdx.x * columns + c, v, columns - c);
    }
}
REGISTER(cross_entropy)
