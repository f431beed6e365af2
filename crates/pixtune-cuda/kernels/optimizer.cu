// AdamW, and the norm of the gradients.
#include "prelude.cuh"

struct Factors {
    float decay, beta1, beta2, one_minus_beta1, one_minus_beta2, step_size, bias_correction2_sqrt, epsilon;
};

// One step. Every operation rounds as on the CPU, so that both have the same bits. Numbers from `decayed` have no decay.
KERNEL __launch_bounds__(256)
adamw(const float* gradients, float* parameters, float* first, float* second, uint64_t count, uint64_t decayed, Factors f) {
    uint64_t i = global_thread() * 8;
    if (i >= count) return;
    float g[8], p[8], m[8], v[8];
    load_up_to_8(gradients + i, g, count - i);
    load_up_to_8(parameters + i, p, count - i);
    load_up_to_8(first + i, m, count - i);
    load_up_to_8(second + i, v, count - i);
#pragma unroll
    for (int j = 0; j < 8; j++) {
        m[j] = plus(times(m[j], f.beta1), times(g[j], f.one_minus_beta1));
        v[j] = plus(times(v[j], f.beta2), times(times(g[j], g[j]), f.one_minus_beta2));
        float denominator = plus(sqrtf(v[j]) / f.bias_correction2_sqrt, f.epsilon);
        float decay = i + j < decayed ? f.decay : 1.0f;
        p[j] = plus(times(p[j], decay), -times(f.step_size, m[j] / denominator));
    }
    store_up_to_8(parameters + i, p, count - i);
    store_up_to_8(first + i, m, count - i);
    store_up_to_8(second + i, v, count - i);
}
REGISTER(adamw)

// Numbers whose squares one block sums.
#define BLOCK 16384

// The sum of the squares of each block of numbers, in double precision and in a fixed order.
KERNEL __launch_bounds__(256) square_sums(const float* x, double* sums, uint64_t count) {
    double* scratch = (double*)shared_memory();
    uint64_t first = (uint64_t)blockIdx.x * BLOCK, end = first + BLOCK < count ? first + BLOCK : count;
    double sum = 0;
    for (uint64_t i = first + threadIdx.x; i < end; i += blockDim.x) sum += (double)x[i] * (double)x[i];
    scratch[threadIdx.x] = sum;
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) scratch[threadIdx.x] += scratch[threadIdx.x + half];
    }
    if (threadIdx.x == 0) sums[blockIdx.x] = scratch[0];
}
REGISTER(square_sums)
