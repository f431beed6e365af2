// Root mean square norms and the gradients of vectors: the weights of norms, and biases.
#include "prelude.cuh"

// Numbers of a row that a thread holds in registers, in vectors of eight: rows of up to 512 * 4 * 8 = 16,384 numbers.
#define VECTORS 4

// out = x / sqrt(mean(x^2) + epsilon) * weight. One block per row.
KERNEL __launch_bounds__(512) rms_norm(const bf16* x, const float* weight, bf16* out, int columns, float epsilon) {
    float* scratch = (float*)shared_memory();
    size_t start = (size_t)blockIdx.x * columns;
    float v[VECTORS][8], squares = 0;
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        int c = (i * blockDim.x + threadIdx.x) * 8;
        if (c >= columns) continue;
        load_up_to_8(x + start + c, v[i], columns - c);
#pragma unroll
        for (int j = 0; j < 8; j++) squares += v[i][j] * v[i][j];
    }
    float inverse = 1.0f / sqrtf(block_sum(squares, scratch) / columns + epsilon);
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        int c = (i * blockDim.x + threadIdx.x) * 8;
        if (c >= columns) continue;
        float w[8];
        load_up_to_8(weight + c, w, columns - c);
#pragma unroll
        for (int j = 0; j < 8; j++) w[j] *= v[i][j] * inverse;
        store_up_to_8(out + start + c, w, columns - c);
    }
}
REGISTER(rms_norm)

// With r = 1 / sqrt(mean(x^2) + epsilon) and g = dy * w: dx = r g - x r^3 mean(g x), set or added. One block per row.
KERNEL __launch_bounds__(512)
rms_norm_backward(const bf16* x, const float* weight, const bf16* dy, bf16* dx, int columns, float epsilon, int add) {
    float* scratch = (float*)shared_memory();
    size_t start = (size_t)blockIdx.x * columns;
    float v[VECTORS][8], g[VECTORS][8], squares = 0, products = 0;
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        int c = (i * blockDim.x + threadIdx.x) * 8;
        if (c >= columns) continue;
        float w[8];
        load_up_to_8(x + start + c, v[i], columns - c);
        load_up_to_8(dy + start + c, g[i], columns - c);
        load_up_to_8(weight + c, w, columns - c);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            g[i][j] *= w[j];
            squares += v[i][j] * v[i][j];
            products += v[i][j] * g[i][j];
        }
    }
    float r = 1.0f / sqrtf(block_sum(squares, scratch) / columns + epsilon);
    float pull = block_sum(products, scratch) / columns * r * r;
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        int c = (i * blockDim.x + threadIdx.x) * 8;
        if (c >= columns) continue;
        float old[8];
        if (add) load_up_to_8(dx + start + c, old, columns - c);
#pragma unroll
        for (int j = 0; j < 8; j++) g[i][j] = r * (g[i][j] - v[i][j] * pull) + (add ? old[j] : 0.0f);
        store_up_to_8(dx + start + c, g[i], columns - c);
    }
}
REGISTER(rms_norm_backward)

// 1 / sqrt(mean(x^2) + epsilon) of each row. One block per row.
KERNEL __launch_bounds__(512) inverse_rms(const bf16* x, float* out, int columns, float epsilon) {
    float* scratch = (float*)shared_memory();
    const bf16* row = x + (size_t)blockIdx.x * columns;
    float squares = 0;
    for (int c = threadIdx.x * 8; c < columns; c += blockDim.x * 8) {
        float v[8];
        load_up_to_8(row + c, v, columns - c);
#pragma unroll
        for (int j = 0; j < 8; j++) squares += v[j] * v[j];
    }
    float sum = block_sum(squares, scratch);
    if (threadIdx.x == 0) out[blockIdx.x] = 1.0f / sqrtf(sum / columns + epsilon);
}
REGISTER(inverse_rms)

// Sums of the columns of dy over `rows_per_block` rows; with x, of dy * x * inverse. `partials` is [blocks of rows, columns].
// A thread has one column, so that each sum has a fixed order.
KERNEL __launch_bounds__(128) column_sums(const bf16* dy, const bf16* x, const float* inverse, float* partials, int rows,
                                          int columns, int rows_per_block) {
    int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= columns) return;
    int first = blockIdx.y * rows_per_block, end = min(rows, first + rows_per_block);
    float sum = 0;
    for (int row = first; row < end; row++) {
        size_t at = (size_t)row * columns + c;
        float factor = x ? to_float(x[at]) * inverse[row] : 1.0f;
        sum += to_float(dy[at]) * factor;
    }
    partials[(size_t)blockIdx.y * columns + c] = sum;
}
REGISTER(column_sums)

// Adds the partial sums of each column to `out`, in order.
KERNEL __launch_bounds__(128) add_partials(const float* partials, float* out, int parts, int columns) {
    int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= columns) return;
    float sum = 0;
    for (int part = 0; part < parts; part++) sum += partials[(size_t)part * columns + c];
    out[c] += sum;
}
REGISTER(add_partials)
