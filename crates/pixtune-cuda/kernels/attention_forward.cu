// Attention over segments of packed rows, forward.
#include "attention_tiles.cuh"

struct AttentionOut {
    bf16* out;
    float* log_sum_exp;
};

// Grid: heads, tiles of M = 16 * TILES * WARPS queries. Shared memory: the tile of queries, and N rows each of keys and values.
template <int D, int TILES, int N, int WARPS> struct Forward {
    static constexpr int M = 16 * TILES * WARPS, THREADS = 32 * WARPS;

    static __device__ __forceinline__ void run(const Attention& a, const AttentionOut& to) {
        bf16* queries = (bf16*)shared_memory();
        bf16 *keys = queries + M * D, *values = keys + N * D;
        Tile tile = a.tiles[blockIdx.y];
        Segment s = a.segments[tile.segment];
        int head = blockIdx.x, present = s.queries - tile.first, shift = s.keys - s.queries;
        int first_row = s.query + tile.first, row = threadIdx.x / 32 * 16 * TILES;
        int q_stride = a.heads * D, kv_stride = a.heads / a.group * D;
        int end = a.causal ? min(s.keys, tile.first + M + shift) : s.keys;
        const bf16* k = a.keys + (size_t)s.key * kv_stride + head / a.group * D;
        const bf16* v = a.values + (size_t)s.key * kv_stride + head / a.group * D;
        float factor = a.scale * LOG2_E;

        copy_tile<D, M, THREADS>(queries, a.queries + (size_t)first_row * q_stride + head * D, q_stride, present);
        copy_tile<D, N, THREADS>(keys, k, kv_stride, end);
        commit_copies();
        float o[TILES][D / 8][4], max[TILES][2], sum[TILES][2];
        clear<TILES, D / 8>(o);
#pragma unroll
        for (int t = 0; t < TILES; t++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                max[t][half] = -INFINITE;
                sum[t][half] = 0;
            }

        for (int j = 0; j < end; j += N) {
            wait_copies<0>();
            __syncthreads();
            copy_tile<D, N, THREADS>(values, v + (size_t)j * kv_stride, kv_stride, end - j);
            commit_copies();
            float p[TILES][N / 8][4];
            clear<TILES, N / 8>(p);
            add_scores<D, TILES, N>(p, queries, row, keys);
            wait_copies<0>();
            __syncthreads();
            if (j + N < end) copy_tile<D, N, THREADS>(keys, k + (size_t)(j + N) * kv_stride, kv_stride, end - j - N);
            commit_copies();
            bool all_visible = j + N <= s.keys && (!a.causal || j + N - 1 <= tile.first + row + shift);
#pragma unroll
            for (int t = 0; t < TILES; t++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    if (!all_visible) {
                        int own = tile.first + row + 16 * t + 8 * half + lane() / 4 + shift;
                        mask<N>(p[t], half, j, a.causal ? min(s.keys - 1, own) : s.keys - 1);
                    }
                    softmax<D, N>(p[t], o[t], half, max[t][half], sum[t][half], factor);
                }
            add_weighted<D, TILES, N>(o, p, values);
        }
#pragma unroll
        for (int t = 0; t < TILES; t++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float all = sum[t][half];
                all += shuffle_xor(all, 1);
                all += shuffle_xor(all, 2);
                float inverse = 1.0f / all;
#pragma unroll
                for (int n = 0; n < D / 8; n++) {
                    o[t][n][2 * half] *= inverse;
                    o[t][n][2 * half + 1] *= inverse;
                }
                int r = row + 16 * t + 8 * half + lane() / 4;
                if (lane() % 4 == 0 && r < present)
                    to.log_sum_exp[(size_t)head * a.rows + first_row + r] = max[t][half] * a.scale + logf(all);
            }
        write_rows<D, TILES>(o, queries, row, to.out + (size_t)first_row * q_stride + head * D, q_stride, present);
    }

    // Scores of the keys after `last` become minus infinity. `p` begins at key `j`.
    template <int KEYS>
    static __device__ __forceinline__ void mask(float (&p)[KEYS / 8][4], int half, int j, int last) {
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int c = 0; c < 2; c++)
                if (j + n * 8 + lane() % 4 * 2 + c > last) p[n][2 * half + c] = -INFINITE;
    }

    // One step of the online softmax for one row: scores become weights relative to the new maximum.
    template <int SIZE, int KEYS>
    static __device__ __forceinline__ void softmax(float (&p)[KEYS / 8][4], float (&o)[SIZE / 8][4], int half, float& max,
                                                   float& sum, float factor) {
        float most = max;
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++) most = fmaxf(most, fmaxf(p[n][2 * half], p[n][2 * half + 1]));
        most = fmaxf(most, shuffle_xor(most, 1));
        most = fmaxf(most, shuffle_xor(most, 2));
        float rescale = exp2_fast((max - most) * factor), shift = most * factor;
        max = most;
        sum *= rescale;
#pragma unroll
        for (int n = 0; n < SIZE / 8; n++) {
            o[n][2 * half] *= rescale;
            o[n][2 * half + 1] *= rescale;
        }
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int c = 2 * half; c < 2 * half + 2; c++) {
                p[n][c] = exp2_fast(p[n][c] * factor - shift);
                sum += p[n][c];
            }
    }
};

#define ATTENTION_FORWARD(D)                                                                        \
    KERNEL __launch_bounds__(128) attention_##D(Attention attention, AttentionOut out) {            \
        Forward<D, 2, 32, 4>::run(attention, out);                                                  \
    }                                                                                               \
    REGISTER(attention_##D)

#ifdef HEAD_16
ATTENTION_FORWARD(16)
#endif
#ifdef HEAD_64
ATTENTION_FORWARD(64)
#endif
#ifdef HEAD_128
ATTENTION_FORWARD(128)
#endif
