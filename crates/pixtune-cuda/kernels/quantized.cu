// Frozen matrices in 4 bits: two codes per byte, the first in the upper half, and a scale for each block of 2^block numbers.
#include "prelude.cuh"

// The values of the 16 codes, in shared memory: 64 bytes of it. All threads of the block reach this.
__device__ __forceinline__ const float* table_of(const float* values) {
    float* table = (float*)shared_memory();
    if (threadIdx.x < 16) table[threadIdx.x] = values[threadIdx.x];
    __syncthreads();
    return table;
}

// The numbers from `i` on, up to eight, which are in one block. `codes` is aligned to 16 bytes.
__device__ __forceinline__ void
dequantize(const uint8_t* codes, const float* table, float scale, bf16* out, uint64_t i, uint64_t count) {
    uint64_t left = count - i;
    uint32_t pairs = 0;
    if (left >= 8) {
        pairs = *(const uint32_t*)(codes + i / 2);
    } else {
        for (int j = 0; 2 * j < left; j++) pairs |= (uint32_t)codes[i / 2 + j] << 8 * j;
    }
    float x[8];
#pragma unroll
    for (int j = 0; j < 4; j++) {
        uint32_t pair = pairs >> 8 * j & 255;
        x[2 * j] = times(table[pair >> 4], scale);
        x[2 * j + 1] = times(table[pair & 15], scale);
    }
    store_up_to_8(out + i, x, left);
}

KERNEL __launch_bounds__(256)
dequantize_4bit(const uint8_t* codes, const float* values, const float* scales, bf16* out, uint64_t count, int block) {
    const float* table = table_of(values);
    uint64_t i = global_thread() * 8;
    if (i >= count) return;
    dequantize(codes, table, scales[i >> block], out, i, count);
}
REGISTER(dequantize_4bit)

// The scale of a block is the value of a code, one of 256 in `map`, times a number of `outer` for each 2^scales_block scales, plus an
// offset, each rounded on its own as bitsandbytes does.
KERNEL __launch_bounds__(256) dequantize_4bit_double(const uint8_t* codes, const float* values, const uint8_t* scales,
                                                     const float* map, const float* outer, bf16* out, uint64_t count, int block,
                                                     int scales_block, float offset) {
    const float* table = table_of(values);
    uint64_t i = global_thread() * 8;
    if (i >= count) return;
    uint64_t at = i >> block;
    float scale = plus(times(map[scales[at]], outer[at >> scales_block]), offset);
    dequantize(codes, table, scale, out, i, count);
}
REGISTER(dequantize_4bit_double)
