// Attention over segments of packed rows, backward. With P = softmax(S) and dP = dO V^T: dV = P^T dO, dS = P (dP - delta),
// dQ = dS K, dK = dS^T Q, where delta is the sum of P dP over keys, which is that of O dO over the numbers of a head.
#include "attention_tiles.cuh"

struct AttentionBackward {
    const bf16* out_gradient;
    const float *log_sum_exp, *deltas;
    bf16 *queries, *keys, *values;
};

// deltas[head, row] = sum of out * out_gradient. D / 8 lanes per head; the grid covers rows * heads * D / 8 threads.
template <int D>
__device__ __forceinline__ void sum_deltas(const bf16* out, const bf16* out_gradient, float* deltas, int heads, int rows) {
    constexpr int LANES = D / 8;
    uint64_t i = global_thread(), row = i / LANES / heads;
    int part = i % LANES, head = i / LANES % heads;
    bool is_present = row < rows;
    float sum = 0;
    if (is_present) {
        float x[8], y[8];
        size_t at = (row * heads + head) * D + part * 8;
        load_8(out + at, x);
        load_8(out_gradient + at, y);
#pragma unroll
        for (int j = 0; j < 8; j++) sum += x[j] * y[j];
    }
#pragma unroll
    for (int mask = LANES / 2; mask > 0; mask >>= 1) sum += shuffle_xor(sum, mask);
    if (is_present && part == 0) deltas[(size_t)head * rows + row] = sum;
}

// Grid: heads of keys, tiles of N = 16 * WARPS keys. A warp has 16 keys and steps over the queries of all heads that share
// them, M at a time. Scores are computed transposed: a row per key, a column per query. Shared memory: the tiles of keys and
// values, and two buffers each of M queries, output gradients, log-sum-exps and deltas.
template <int D, int M, int WARPS> struct BackwardKeys {
    static constexpr int N = 16 * WARPS, THREADS = 32 * WARPS;

    static __device__ __forceinline__ void run(const Attention& a, const AttentionBackward& b) {
        bf16* keys = (bf16*)shared_memory();
        bf16 *values = keys + N * D, *queries = values + N * D, *gradients = queries + 2 * M * D;
        float *log_sums = (float*)(gradients + 2 * M * D), *deltas = log_sums + 2 * M;
        Tile tile = a.tiles[blockIdx.y];
        Segment s = a.segments[tile.segment];
        int shared_head = blockIdx.x, present = s.keys - tile.first, shift = s.keys - s.queries;
        int first_row = s.key + tile.first, row = threadIdx.x / 32 * 16;
        int q_stride = a.heads * D, kv_stride = a.heads / a.group * D;
        int start = a.causal ? max(0, tile.first - shift) / M * M : 0;
        int per_head = (s.queries - start + M - 1) / M, steps = per_head * a.group;
        float factor = a.scale * LOG2_E;
        size_t own = (size_t)first_row * kv_stride + shared_head * D;

        copy_tile<D, N, THREADS>(keys, a.keys + own, kv_stride, present);
        copy_tile<D, N, THREADS>(values, a.values + own, kv_stride, present);
        auto copy_step = [&](int step) {
            int head = shared_head * a.group + step / per_head, first = start + step % per_head * M, buffer = step & 1;
            int left = s.queries - first;
            size_t r = s.query + first, at = r * q_stride + head * D;
            copy_tile<D, M, THREADS>(queries + buffer * M * D, a.queries + at, q_stride, left);
            copy_tile<D, M, THREADS>(gradients + buffer * M * D, b.out_gradient + at, q_stride, left);
            for (int i = threadIdx.x; i < M; i += THREADS) {
                size_t statistic = (size_t)head * a.rows + r + (i < left ? i : 0);
                copy_4(log_sums + buffer * M + i, b.log_sum_exp + statistic, i < left);
                copy_4(deltas + buffer * M + i, b.deltas + statistic, i < left);
            }
        };
        if (steps > 0) copy_step(0);
        commit_copies();
        float dk[1][D / 8][4], dv[1][D / 8][4];
        clear<1, D / 8>(dk);
        clear<1, D / 8>(dv);
        for (int step = 0; step < steps; step++) {
            wait_copies<0>();
            __syncthreads();
            if (step + 1 < steps) copy_step(step + 1);
            commit_copies();
            int buffer = step & 1;
            bf16 *q = queries + buffer * M * D, *gradient = gradients + buffer * M * D;
            float *log_sum = log_sums + buffer * M, *delta = deltas + buffer * M;
            int first = start + step % per_head * M;
            float p[1][M / 8][4], ds[1][M / 8][4];
            clear<1, M / 8>(p);
            add_scores<D, 1, M>(p, keys, row, q);
            bool all_visible = !a.causal || tile.first + row + 15 <= first + shift;
#pragma unroll
            for (int n = 0; n < M / 8; n++)
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    int query = n * 8 + lane() % 4 * 2 + c % 2, key = tile.first + row + lane() / 4 + c / 2 * 8;
                    float weight = exp2_fast(p[0][n][c] * factor - log_sum[query] * LOG2_E);
                    p[0][n][c] = all_visible || key <= first + query + shift ? weight : 0.0f;
                }
            // Queries beyond the segment have a weight, but zero output gradients, and so add nothing.
            add_weighted<D, 1, M>(dv, p, gradient);
            clear<1, M / 8>(ds);
            add_scores<D, 1, M>(ds, values, row, gradient);
#pragma unroll
            for (int n = 0; n < M / 8; n++)
#pragma unroll
                for (int c = 0; c < 4; c++)
                    ds[0][n][c] = p[0][n][c] * (ds[0][n][c] - delta[n * 8 + lane() % 4 * 2 + c % 2]);
            add_weighted<D, 1, M>(dk, ds, q);
        }
        wait_copies<0>();
        __syncthreads();
#pragma unroll
        for (int n = 0; n < D / 8; n++)
#pragma unroll
            for (int c = 0; c < 4; c++) dk[0][n][c] *= a.scale;
        write_rows<D, 1>(dk, keys, row, b.keys + own, kv_stride, present);
        write_rows<D, 1>(dv, values, row, b.values + own, kv_stride, present);
    }
};

// Grid: heads, tiles of M = 16 * WARPS queries. Shared memory: the tiles of queries and output gradients, and two buffers
// each of N keys and values.
template <int D, int N, int WARPS> struct BackwardQueries {
    static constexpr int M = 16 * WARPS, THREADS = 32 * WARPS;

    static __device__ __forceinline__ void run(const Attention& a, const AttentionBackward& b) {
        bf16* queries = (bf16*)shared_memory();
        bf16 *gradients = queries + M * D, *keys = gradients + M * D, *values = keys + 2 * N * D;
        Tile tile = a.tiles[blockIdx.y];
        Segment s = a.segments[tile.segment];
        int head = blockIdx.x, present = s.queries - tile.first, shift = s.keys - s.queries;
        int first_row = s.query + tile.first, row = threadIdx.x / 32 * 16;
        int q_stride = a.heads * D, kv_stride = a.heads / a.group * D;
        int end = a.causal ? min(s.keys, tile.first + M + shift) : s.keys;
        const bf16* k = a.keys + (size_t)s.key * kv_stride + head / a.group * D;
        const bf16* v = a.values + (size_t)s.key * kv_stride + head / a.group * D;
        float factor = a.scale * LOG2_E, log_sum[2], delta[2];
        size_t own = (size_t)first_row * q_stride + head * D;

        copy_tile<D, M, THREADS>(queries, a.queries + own, q_stride, present);
        copy_tile<D, M, THREADS>(gradients, b.out_gradient + own, q_stride, present);
        auto copy_step = [&](int j) {
            int buffer = j / N & 1;
            copy_tile<D, N, THREADS>(keys + buffer * N * D, k + (size_t)j * kv_stride, kv_stride, end - j);
            copy_tile<D, N, THREADS>(values + buffer * N * D, v + (size_t)j * kv_stride, kv_stride, end - j);
        };
        copy_step(0);
        commit_copies();
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int r = row + 8 * half + lane() / 4;
            size_t statistic = (size_t)head * a.rows + first_row + (r < present ? r : 0);
            log_sum[half] = b.log_sum_exp[statistic] * LOG2_E;
            delta[half] = b.deltas[statistic];
        }
        float dq[1][D / 8][4];
        clear<1, D / 8>(dq);
        for (int j = 0; j < end; j += N) {
            wait_copies<0>();
            __syncthreads();
            if (j + N < end) copy_step(j + N);
            commit_copies();
            bf16 *k_tile = keys + (j / N & 1) * N * D, *v_tile = values + (j / N & 1) * N * D;
            float p[1][N / 8][4], ds[1][N / 8][4];
            clear<1, N / 8>(p);
            clear<1, N / 8>(ds);
            add_scores<D, 1, N>(p, queries, row, k_tile);
            add_scores<D, 1, N>(ds, gradients, row, v_tile);
            bool all_visible = j + N <= s.keys && (!a.causal || j + N - 1 <= tile.first + row + shift);
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int last = a.causal ? min(s.keys - 1, tile.first + row + 8 * half + lane() / 4 + shift) : s.keys - 1;
#pragma unroll
                for (int n = 0; n < N / 8; n++)
#pragma unroll
                    for (int c = 2 * half; c < 2 * half + 2; c++) {
                        float weight = exp2_fast(p[0][n][c] * factor - log_sum[half]);
                        bool is_visible = all_visible || j + n * 8 + lane() % 4 * 2 + c % 2 <= last;
                        ds[0][n][c] = is_visible ? weight * (ds[0][n][c] - delta[half]) : 0.0f;
                    }
            }
            add_weighted<D, 1, N>(dq, ds, k_tile);
        }
#pragma unroll
        for (int n = 0; n < D / 8; n++)
#pragma unroll
            for (int c = 0; c < 4; c++) dq[0][n][c] *= a.scale;
        write_rows<D, 1>(dq, queries, row, b.queries + own, q_stride, present);
    }
};

#define ATTENTION_BACKWARD(D)                                                                                          \
    KERNEL __launch_bounds__(256)                                                                                      \
    attention_deltas_##D(const bf16* out, const bf16* out_gradient, float* deltas, int heads, int rows) {              \
        sum_deltas<D>(out, out_gradient, deltas, heads, rows);                                                         \
    }                                                                                                                  \
    REGISTER(attention_deltas_##D)                                                                                     \
    KERNEL __launch_bounds__(128) attention_backward_keys_##D(Attention attention, AttentionBackward backward) {       \
        BackwardKeys<D, 32, 4>::run(attention, backward);                                                              \
    }                                                                                                                  \
    REGISTER(attention_backward_keys_##D)                                                                              \
    KERNEL __launch_bounds__(128) attention_backward_queries_##D(Attention attention, AttentionBackward backward) {    \
        BackwardQueries<D, 64, 4>::run(attention, backward);                                                           \
    }                                                                                                                  \
    REGISTER(attention_backward_queries_##D)

#ifdef HEAD_16
ATTENTION_BACKWARD(16)
#endif
#ifdef HEAD_64
ATTENTION_BACKWARD(64)
#endif
#ifdef HEAD_128
ATTENTION_BACKWARD(128)
#endif
