// What the attention kernels share: tiles in shared memory, fragments in registers, and products of both.
//
// The algorithm is FlashAttention-2 (Dao 2023): a warp holds 16 rows of a tile in registers, or several times 16, and steps
// over tiles of the other side in shared memory. Sums have one order, always: the backward pass is two kernels, one for keys
// and values and one for queries, which both recompute the scores, and no kernel adds with atomics.
//
// Heads have HEAD numbers, a multiple of 16; the host pads others with zeros.
#pragma once
#include "prelude.cuh"

// Rows of queries and keys that belong together: the first of each, and their number.
struct Segment {
    int query, queries, key, keys;
};
// Consecutive rows of a segment from `first`, as many as the kernel's tile has or the segment still has.
struct Tile {
    int segment, first;
};

struct Attention {
    const bf16 *queries, *keys, *values;
    const Segment* segments;
    const Tile* tiles;
    // Heads of queries, and how many adjacent ones share a head of keys and values.
    int heads, group;
    // Rows of log_sum_exp and deltas, [heads, rows].
    int rows;
    int causal;
    float scale;
};

// Rows of D numbers in shared memory. Chunks of 16 bytes are permuted so that the same chunk of eight consecutive rows is in
// different banks.
template <int D> __device__ __forceinline__ bf16* chunk_at(bf16* tile, int row, int chunk) {
    constexpr int CHUNKS = D / 8, MASK = CHUNKS < 8 ? CHUNKS - 1 : 7;
    return tile + row * D + ((chunk ^ (row & MASK)) << 3);
}

// Starts copying ROWS rows to shared memory; rows from `present` on are zero. `stride` is in numbers.
template <int D, int ROWS, int THREADS>
__device__ __forceinline__ void copy_tile(bf16* tile, const bf16* from, int stride, int present) {
    constexpr int CHUNKS = D / 8;
#pragma unroll
    for (int i = threadIdx.x; i < ROWS * CHUNKS; i += THREADS) {
        int row = i / CHUNKS, chunk = i % CHUNKS;
        bool is_present = row < present;
        copy_16(chunk_at<D>(tile, row, chunk), from + (size_t)(is_present ? row : 0) * stride + chunk * 8, is_present);
    }
}

// Fragments of the 16 by 16 block at `row` and `column`: of a left factor; of a right factor whose rows are the columns of
// the product; of a right factor whose rows are the inner axis.
template <int D> __device__ __forceinline__ void load_left(uint32_t (&out)[4], bf16* tile, int row, int column) {
    load_matrices(out, chunk_at<D>(tile, row + (lane() & 15), column / 8 + (lane() >> 4)));
}
template <int D> __device__ __forceinline__ void load_right(uint32_t (&out)[4], bf16* tile, int row, int column) {
    load_matrices(out, chunk_at<D>(tile, row + (lane() & 7) + (lane() >> 4) * 8, column / 8 + (lane() >> 3 & 1)));
}
template <int D> __device__ __forceinline__ void load_right_inner(uint32_t (&out)[4], bf16* tile, int row, int column) {
    load_matrices_transposed(out, chunk_at<D>(tile, row + (lane() & 15), column / 8 + (lane() >> 4)));
}

// s += A B^T for 16 * TILES rows of A from `row`, and the N rows of B.
template <int D, int TILES, int N>
__device__ __forceinline__ void add_scores(float (&s)[TILES][N / 8][4], bf16* a, int row, bf16* b) {
#pragma unroll
    for (int k = 0; k < D; k += 16) {
        uint32_t left[TILES][4];
#pragma unroll
        for (int t = 0; t < TILES; t++) load_left<D>(left[t], a, row + 16 * t, k);
#pragma unroll
        for (int n = 0; n < N; n += 16) {
            uint32_t right[4];
            load_right<D>(right, b, n, k);
#pragma unroll
            for (int t = 0; t < TILES; t++) {
                multiply_add(s[t][n / 8], left[t], right[0], right[1]);
                multiply_add(s[t][n / 8 + 1], left[t], right[2], right[3]);
            }
        }
    }
}

// out += P B for P in registers as `add_scores` left it, rounded to bf16, and B of N rows of D numbers.
template <int D, int TILES, int N>
__device__ __forceinline__ void add_weighted(float (&out)[TILES][D / 8][4], const float (&p)[TILES][N / 8][4], bf16* b) {
#pragma unroll
    for (int k = 0; k < N; k += 16) {
        uint32_t left[TILES][4];
#pragma unroll
        for (int t = 0; t < TILES; t++) {
            const float(&x)[4] = p[t][k / 8], (&y)[4] = p[t][k / 8 + 1];
            left[t][0] = pack_bf16(x[0], x[1]);
            left[t][1] = pack_bf16(x[2], x[3]);
            left[t][2] = pack_bf16(y[0], y[1]);
            left[t][3] = pack_bf16(y[2], y[3]);
        }
#pragma unroll
        for (int n = 0; n < D; n += 16) {
            uint32_t right[4];
            load_right_inner<D>(right, b, k, n);
#pragma unroll
            for (int t = 0; t < TILES; t++) {
                multiply_add(out[t][n / 8], left[t], right[0], right[1]);
                multiply_add(out[t][n / 8 + 1], left[t], right[2], right[3]);
            }
        }
    }
}

template <int TILES, int N> __device__ __forceinline__ void clear(float (&x)[TILES][N][4]) {
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int c = 0; c < 4; c++) x[t][n][c] = 0;
}

// Writes the 16 * TILES rows of a warp that are below `present`, by way of the same rows of a tile that no other warp uses.
template <int D, int TILES>
__device__ __forceinline__ void write_rows(const float (&x)[TILES][D / 8][4], bf16* tile, int row, bf16* to, int stride,
                                           int present) {
    constexpr int CHUNKS = D / 8;
    __syncwarp();
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
        for (int n = 0; n < CHUNKS; n++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                uint32_t* pairs = (uint32_t*)chunk_at<D>(tile, row + 16 * t + lane() / 4 + 8 * half, n);
                pairs[lane() % 4] = pack_bf16(x[t][n][2 * half], x[t][n][2 * half + 1]);
            }
    __syncwarp();
#pragma unroll
    for (int i = lane(); i < 16 * TILES * CHUNKS; i += 32) {
        int r = row + i / CHUNKS, chunk = i % CHUNKS;
        if (r < present) *(Words*)(to + (size_t)r * stride + chunk * 8) = *(const Words*)chunk_at<D>(tile, r, chunk);
    }
}
