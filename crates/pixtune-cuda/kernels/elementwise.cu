// Operations on single numbers. A thread has eight of them; the grid covers `count`.
#include "prelude.cuh"

template <class T> __device__ __forceinline__ void fill(T* to, uint64_t count, float value) {
    uint64_t i = global_thread() * 8;
    if (i >= count) return;
    float x[8];
#pragma unroll
    for (int j = 0; j < 8; j++) x[j] = value;
    store_up_to_8(to + i, x, count - i);
}
KERNEL __launch_bounds__(256) fill_f32(float* to, uint64_t count, float value) { fill(to, count, value); }
REGISTER(fill_f32)
KERNEL __launch_bounds__(256) fill_bf16(bf16* to, uint64_t count, float value) { fill(to, count, value); }
REGISTER(fill_bf16)

template <class T> __device__ __forceinline__ void scale(T* x, uint64_t count, float factor) {
    uint64_t i = global_thread() * 8;
    if (i >= count) return;
    float v[8];
    load_up_to_8(x + i, v, count - i);
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] *= factor;
    store_up_to_8(x + i, v, count - i);
}
KERNEL __launch_bounds__(256) scale_f32(float* x, uint64_t count, float factor) { scale(x, count, factor); }
REGISTER(scale_f32)
KERNEL __launch_bounds__(256) scale_bf16(bf16* x, uint64_t count, float factor) { scale(x, count, factor); }
REGISTER(scale_bf16)

KERNEL __launch_bounds__(256) to_bf16(const float* from, bf16* to, uint64_t count) {
    uint64_t i = global_thread() * 8;
    if (i >= count) return;
    float x[8];
    load_up_to_8(from + i, x, count - i);
    store_up_to_8(to + i, x, count - i);
}
REGISTER(to_bf16)

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + exp2_fast(-LOG2_E * x)); }

// out = silu(gate) * up.
KERNEL __launch_bounds__(256) swiglu(const bf16* gate, const bf16* up, bf16* out, uint64_t count) {
    uint64_t i = global_thread() * 8;
    if (i >= count) return;
    float g[8], u[8];
    load_up_to_8(gate + i, g, count - i);
    load_up_to_8(up + i, u, count - i);
#pragma unroll
    for (int j = 0; j < 8; j++) u[j] *= g[j] * sigmoid(g[j]);
    store_up_to_8(out + i, u, count - i);
}
REGISTER(swiglu)

// Replaces gate and up with their gradients.
KERNEL __launch_bounds__(256) swiglu_backward(const bf16* dy, bf16* gate, bf16* up, uint64_t count) {
    uint64_t i = global_thread() * 8;
    if (i >= count) return;
    float d[8], g[8], u[8];
    load_up_to_8(dy + i, d, count - i);
    load_up_to_8(gate + i, g, count - i);
    load_up_to_8(up + i, u, count - i);
#pragma unroll
    for (int j = 0; j < 8; j++) {
        float s = sigmoid(g[j]), silu = g[j] * s;
        g[j] = d[j] * u[j] * (s + silu * (1.0f - s));
        u[j] = d[j] * silu;
    }
    store_up_to_8(gate + i, g, count - i);
    store_up_to_8(up + i, u, count - i);
}
REGISTER(swiglu_backward)

#define INVERSE_ROOT_2 0.7071067811865475f
#define INVERSE_ROOT_2_PI 0.3989422804014327f

// The distribution function of the normal distribution.
__device__ __forceinline__ float cumulative(float x) { return 0.5f * (1.0f + erff(x * INVERSE_ROOT_2)); }

KERNEL __launch_bounds__(256) gelu(const bf16* x, bf16* out, uint64_t count) {
    uint64_t i = global_thread() * 8;
    if (i >= count) return;
    float v[8];
    load_up_to_8(x + i, v, count - i);
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] *= cumulative(v[j]);
    store_up_to_8(out + i, v, count - i);
}
REGISTER(gelu)

// Replaces x with its gradient.
KERNEL __launch_bounds__(256) gelu_backward(const bf16* dy, bf16* x, uint64_t count) {
    uint64_t i = global_thread() * 8;
    if (i >= count) return;
    float d[8], v[8];
    load_up_to_8(dy + i, d, count - i);
    load_up_to_8(x + i, v, count - i);
#pragma unroll
    for (int j = 0; j < 8; j++) {
        float density = INVERSE_ROOT_2_PI * exp2_fast(-0.5f * LOG2_E * v[j] * v[j]);
        v[j] = d[j] * (cumulative(v[j]) + v[j] * density);
    }
    store_up_to_8(x + i, v, count - i);
}
REGISTER(gelu_backward)

// Adds a bias to each row.
KERNEL __launch_bounds__(256) add_bias(const float* bias, bf16* y, int rows, int columns) {
    int parts = (columns + 7) / 8;
    uint64_t i = global_thread(), row = i / parts;
    int c = i % parts * 8;
    if (row >= rows) return;
    bf16* at = y + row * columns + c;
    float x[8], b[8];
    load_up_to_8(at, x, columns - c);
    load_up_to_8(bias + c, b, columns - c);
#pragma unroll
    for (int j = 0; j < 8; j++) x[j] += b[j];
    store_up_to_8(at, x, columns - c);
}
REGISTER(add_bias)

// The hash of a counter that the CPU backend uses, so that both have the same dropout masks.
__device__ __forceinline__ uint32_t mix(uint64_t seed, uint32_t counter) {
    uint32_t x = counter ^ (uint32_t)seed;
#pragma unroll
    for (int round = 0; round < 2; round++) {
        x ^= x >> 16;
        x *= 0x7feb352d;
        x ^= x >> 15;
        x *= 0x846ca68b;
        x ^= x >> 16;
        x += round == 0 ? (uint32_t)(seed >> 32) : 0;
    }
    return x;
}

// Zeroes the numbers whose hash is below `limit` and multiplies the others, set or added.
KERNEL __launch_bounds__(256)
dropout(const bf16* x, bf16* out, uint64_t count, uint64_t seed, uint32_t limit, float factor, int add) {
    uint64_t i = global_thread() * 8;
    if (i >= count) return;
    float v[8], old[8];
    load_up_to_8(x + i, v, count - i);
    if (add) load_up_to_8(out + i, old, count - i);
#pragma unroll
    for (int j = 0; j < 8; j++) {
        float kept = mix(seed, (uint32_t)(i + j)) >= limit ? v[j] * factor : 0.0f;
        v[j] = add ? old[j] + kept : kept;
    }
    store_up_to_8(out + i, v, count - i);
}
REGISTER(dropout)

// Rotates the pairs (i, i + head_size / 2) of all heads of a row by its angles, [rows, head_size / 2], times `sign`. A thread
// has up to eight pairs.
KERNEL __launch_bounds__(256)
rope(bf16* x, const float* cosines, const float* sines, int rows, int heads, int head_size, float sign) {
    int half = head_size / 2, parts = (half + 7) / 8;
    uint64_t i = global_thread(), row = i / parts / heads;
    int part = i % parts * 8, head = i / parts % heads;
    if (row >= rows) return;
    bf16* low = x + (row * heads + head) * head_size + part;
    bf16* high = low + half;
    float a[8], b[8], c[8], s[8];
    load_up_to_8(low, a, half - part);
    load_up_to_8(high, b, half - part);
    load_up_to_8(cosines + row * half + part, c, half - part);
    load_up_to_8(sines + row * half + part, s, half - part);
#pragma unroll
    for (int j = 0; j < 8; j++) {
        float sine = sign * s[j], rotated = a[j] * c[j] - b[j] * sine;
        b[j] = b[j] * c[j] + a[j] * sine;
        a[j] = rotated;
    }
    store_up_to_8(low, a, half - part);
    store_up_to_8(high, b, half - part);
}
REGISTER(rope)
