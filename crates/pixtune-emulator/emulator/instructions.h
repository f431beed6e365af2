// The functions of prelude.cuh for the CPU, with the checks that they allow.
#pragma once
#include "emulator.h"

#define threadIdx (emulator::block().running->thread)
#define blockIdx (emulator::block().block)
#define blockDim (emulator::block().size)
#define gridDim (emulator::block().grid)
#define REGISTER(name) static emulator::Registration registration_##name(#name, emulator::Entry<name>::kernel());

inline void __syncthreads() { emulator::barrier(); }
inline void __syncwarp() {
    emulator::collective("__syncwarp", nullptr, [](void**) {});
}

inline unsigned char* shared_memory() { return emulator::block().shared; }
inline int lane() { return emulator::block().running->index % 32; }

inline uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}
inline float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

// To nearest even; NaN stays NaN.
inline uint16_t round_bf16(float x) {
    uint32_t bits = bits_of(x);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
    return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}
inline uint32_t pack_bf16(float low, float high) { return round_bf16(low) | (uint32_t)round_bf16(high) << 16; }

inline float exp2_fast(float x) { return exp2f(x); }
inline float times(float x, float y) { return x * y; }
inline float plus(float x, float y) { return x + y; }

inline float shuffle_xor(float x, int mask) {
    struct Operand {
        float in, out;
        int mask;
    } own{x, 0, mask};
    emulator::collective("__shfl_xor_sync", &own, [](void** operands) {
        auto lane = [&](int i) { return (Operand*)operands[i]; };
        for (int i = 0; i < 32; i++) lane(i)->out = lane(i ^ lane(i)->mask)->in;
    });
    return own.out;
}

inline void check_aligned(const void* at, size_t bytes) {
    if ((uintptr_t)at % bytes == 0) return;
    emulator::block().fail("an access of " + std::to_string(bytes) + " bytes is not aligned");
}
inline void check_shared(const void* at, size_t bytes) {
    emulator::Block& b = emulator::block();
    if ((uint8_t*)at < b.shared || (uint8_t*)at + bytes > b.shared + b.shared_bytes)
        b.fail("an access is outside of shared memory");
    check_aligned(at, bytes);
}

// Until the copy is waited for, its target is NaN.
inline void copy_async(void* to, const void* from, int size, bool present) {
    check_shared(to, size);
    check_aligned(from, size);
    emulator::Fiber* fiber = emulator::block().running;
    emulator::Copy copy{to, {}, size, fiber->groups};
    if (present) memcpy(copy.bytes, from, size);
    memset(to, 0xff, size);
    fiber->copies.push_back(copy);
}
inline void copy_16(void* to, const void* from, bool present) { copy_async(to, from, 16, present); }
inline void copy_4(void* to, const void* from, bool present) { copy_async(to, from, 4, present); }
inline void commit_copies() { emulator::block().running->groups++; }
template <int PENDING> inline void wait_copies() {
    emulator::Fiber* fiber = emulator::block().running;
    size_t kept = 0;
    for (auto& copy : fiber->copies) {
        if (copy.group < fiber->groups - PENDING) memcpy(copy.to, copy.bytes, copy.size);
        else fiber->copies[kept++] = copy;
    }
    fiber->copies.resize(kept);
}

namespace emulator {

struct MatrixLoad {
    const void* row;
    uint32_t out[4];
};
// The layout of ldmatrix: lane 8 m + r has the address of row r of matrix m; a lane receives two adjacent numbers of row
// lane / 4, at column lane % 4 * 2, or with TRANSPOSED of that column. PTX ISA, "ldmatrix".
template <bool TRANSPOSED> inline void load_four_matrices(void** operands) {
    for (int matrix = 0; matrix < 4; matrix++) {
        const uint16_t* rows[8];
        for (int r = 0; r < 8; r++) rows[r] = (const uint16_t*)((MatrixLoad*)operands[matrix * 8 + r])->row;
        for (int lane = 0; lane < 32; lane++) {
            int group = lane / 4, pair = lane % 4 * 2;
            uint32_t low = TRANSPOSED ? rows[pair][group] : rows[group][pair];
            uint32_t high = TRANSPOSED ? rows[pair + 1][group] : rows[group][pair + 1];
            ((MatrixLoad*)operands[lane])->out[matrix] = low | high << 16;
        }
    }
}

struct Product {
    float* d;
    const uint32_t *a, *b;
};
// The fragments of mma.m16n8k16 with bf16 factors and f32 sums. PTX ISA, "Matrix Fragments for mma.m16n8k16".
inline void multiply_fragments(void** operands) {
    float a[16][16], b[16][8], d[16][8];
    auto low = [](uint32_t packed) { return float_of(packed << 16); };
    auto high = [](uint32_t packed) { return float_of(packed & 0xffff0000); };
    for (int lane = 0; lane < 32; lane++) {
        auto* own = (Product*)operands[lane];
        int r = lane / 4, t = lane % 4 * 2;
        for (int part = 0; part < 4; part++) {
            int row = r + part % 2 * 8, column = t + part / 2 * 8;
            a[row][column] = low(own->a[part]);
            a[row][column + 1] = high(own->a[part]);
        }
        for (int part = 0; part < 2; part++) {
            b[t + 8 * part][r] = low(own->b[part]);
            b[t + 8 * part + 1][r] = high(own->b[part]);
            d[r + 8 * part][t] = own->d[2 * part];
            d[r + 8 * part][t + 1] = own->d[2 * part + 1];
        }
    }
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 16; k++)
            for (int j = 0; j < 8; j++) d[i][j] += a[i][k] * b[k][j];
    for (int lane = 0; lane < 32; lane++) {
        auto* own = (Product*)operands[lane];
        int r = lane / 4, t = lane % 4 * 2;
        for (int part = 0; part < 2; part++) {
            own->d[2 * part] = d[r + 8 * part][t];
            own->d[2 * part + 1] = d[r + 8 * part][t + 1];
        }
    }
}

} // namespace emulator

inline void load_matrices(uint32_t (&out)[4], const void* row) {
    check_shared(row, 16);
    emulator::MatrixLoad own{row, {}};
    emulator::collective("ldmatrix", &own, emulator::load_four_matrices<false>);
    memcpy(out, own.out, 16);
}
inline void load_matrices_transposed(uint32_t (&out)[4], const void* row) {
    check_shared(row, 16);
    emulator::MatrixLoad own{row, {}};
    emulator::collective("ldmatrix.trans", &own, emulator::load_four_matrices<true>);
    memcpy(out, own.out, 16);
}
inline void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    uint32_t b[2] = {b0, b1};
    emulator::Product own{d, a, b};
    emulator::collective("mma", &own, emulator::multiply_fragments);
}
