// What the kernels use besides plain C++. On a GPU these functions are instructions; under the emulator of
// `crates/pixtune-emulator`, which defines EMULATED, its instructions.h implements the same functions for the CPU.
//
// Nothing here needs a CUDA header: NVRTC compiles it wherever there is a driver. Warps are always whole: the number of
// threads of a block is a multiple of 32, and all threads of a warp reach every shuffle, matrix load and matrix product.
#pragma once
#ifdef EMULATED
#include "instructions.h"
#else
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
#define REGISTER(name)

__device__ __forceinline__ unsigned char* shared_memory() {
    extern __shared__ __align__(128) unsigned char shared_bytes[];
    return shared_bytes;
}
__device__ __forceinline__ int lane() { return threadIdx.x & 31; }
__device__ __forceinline__ uint32_t bits_of(float x) { return __float_as_uint(x); }
__device__ __forceinline__ float float_of(uint32_t bits) { return __uint_as_float(bits); }

// Two numbers in bf16, rounded to nearest even.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
    uint32_t packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}

// 2^x with a relative error of about 2^-22.
__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Rounded on their own: otherwise the compiler contracts a product and a sum to one instruction.
__device__ __forceinline__ float times(float x, float y) { return __fmul_rn(x, y); }
__device__ __forceinline__ float plus(float x, float y) { return __fadd_rn(x, y); }

__device__ __forceinline__ float shuffle_xor(float x, int mask) { return __shfl_xor_sync(0xffffffff, x, mask); }

__device__ __forceinline__ uint32_t shared_address(const void* at) {
    return (uint32_t)__cvta_generic_to_shared(at);
}

// Starts a copy from global to shared memory, or of zeros unless `present`. It is complete after `wait_copies`.
__device__ __forceinline__ void copy_16(void* to, const void* from, bool present) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                 "r"(present ? 16 : 0)
                 : "memory");
}
__device__ __forceinline__ void copy_4(void* to, const void* from, bool present) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)), "l"(from),
                 "r"(present ? 4 : 0)
                 : "memory");
}
// Ends a group of copies.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits for all copies of this thread except those of the last PENDING groups.
template <int PENDING> __device__ __forceinline__ void wait_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// Loads four 8 by 8 matrices of bf16; each lane has the address of one row.
__device__ __forceinline__ void load_matrices(uint32_t (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row))
                 : "memory");
}
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// d += a b for a of 16 by 16 and b of 16 by 8, in the fragment layouts of m16n8k16.
__device__ __forceinline__ void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
#endif

#define KERNEL extern "C" __global__ void
#define LOG2_E 1.4426950408889634f
#define INFINITE (float_of(0x7f800000))

struct bf16 {
    uint16_t bits;
};
struct __align__(16) Words {
    uint32_t w[4];
};

__device__ __forceinline__ float to_float(bf16 x) { return float_of((uint32_t)x.bits << 16); }
__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ void store(bf16* to, float x) { to->bits = (uint16_t)pack_bf16(x, 0.0f); }
__device__ __forceinline__ void store(float* to, float x) { *to = x; }

__device__ __forceinline__ bool is_aligned(const void* at) { return (uint64_t)at % 16 == 0; }

// Eight aligned numbers: 16 bytes of bf16, or twice 16 of f32.
__device__ __forceinline__ void load_8(const bf16* from, float (&x)[8]) {
    Words v = *(const Words*)from;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        x[2 * i] = float_of(v.w[i] << 16);
        x[2 * i + 1] = float_of(v.w[i] & 0xffff0000);
    }
}
__device__ __forceinline__ void load_8(const float* from, float (&x)[8]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        Words v = *(const Words*)(from + 4 * half);
#pragma unroll
        for (int i = 0; i < 4; i++) x[4 * half + i] = float_of(v.w[i]);
    }
}
__device__ __forceinline__ void store_8(bf16* to, const float (&x)[8]) {
    Words v;
#pragma unroll
    for (int i = 0; i < 4; i++) v.w[i] = pack_bf16(x[2 * i], x[2 * i + 1]);
    *(Words*)to = v;
}
__device__ __forceinline__ void store_8(float* to, const float (&x)[8]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        Words v;
#pragma unroll
        for (int i = 0; i < 4; i++) v.w[i] = bits_of(x[4 * half + i]);
        *(Words*)(to + 4 * half) = v;
    }
}

// Up to eight numbers, `count` of them, at any address; the others are zero. Rows of a multiple of eight numbers that begin
// on 16 bytes, those of every released model, take the first branch always.
template <class T> __device__ __forceinline__ void load_up_to_8(const T* from, float (&x)[8], uint64_t count) {
    if (count >= 8 && is_aligned(from)) return load_8(from, x);
#pragma unroll
    for (int i = 0; i < 8; i++) x[i] = i < count ? to_float(from[i]) : 0.0f;
}
template <class T> __device__ __forceinline__ void store_up_to_8(T* to, const float (&x)[8], uint64_t count) {
    if (count >= 8 && is_aligned(to)) return store_8(to, x);
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (i < count) store(to + i, x[i]);
}

// The index of this thread in a one-dimensional grid.
__device__ __forceinline__ uint64_t global_thread() { return (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; }

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int mask = 16; mask > 0; mask >>= 1) x += shuffle_xor(x, mask);
    return x;
}
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int mask = 16; mask > 0; mask >>= 1) x = fmaxf(x, shuffle_xor(x, mask));
    return x;
}

// The number of every warp, one per lane. `scratch` is 32 numbers of shared memory.
__device__ __forceinline__ float gather_warps(float x, float* scratch, float neutral) {
    __syncthreads();
    if (lane() == 0) scratch[threadIdx.x / 32] = x;
    __syncthreads();
    return lane() < blockDim.x / 32 ? scratch[lane()] : neutral;
}
// Over all threads of a block, in a fixed order.
__device__ __forceinline__ float block_sum(float x, float* scratch) {
    return warp_sum(gather_warps(warp_sum(x), scratch, 0.0f));
}
__device__ __forceinline__ float block_max(float x, float* scratch) {
    return warp_max(gather_warps(warp_max(x), scratch, -INFINITE));
}
