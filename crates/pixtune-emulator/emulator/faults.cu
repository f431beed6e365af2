// Kernels with one mistake each: what the emulator must find. tests/faults.rs runs them.
#include "prelude.cuh"

// Reads the number that another warp wrote, without a barrier between.
KERNEL fault_race(float* to) {
    float* shared = (float*)shared_memory();
    shared[threadIdx.x] = threadIdx.x;
    to[threadIdx.x] = shared[(threadIdx.x + 32) % blockDim.x];
}
REGISTER(fault_race)

// The same with the barrier: no mistake.
KERNEL no_fault(float* to) {
    float* shared = (float*)shared_memory();
    shared[threadIdx.x] = threadIdx.x;
    __syncthreads();
    to[threadIdx.x] = shared[(threadIdx.x + 32) % blockDim.x];
}
REGISTER(no_fault)

// Adds to the same number from all blocks, which run in no order.
KERNEL fault_block_order(float* to) { *to = *to / 3 + blockIdx.x; }
REGISTER(fault_block_order)

// Only half of the threads reach the barrier.
KERNEL fault_barrier(float* to) {
    if (threadIdx.x < blockDim.x / 2) __syncthreads();
    to[threadIdx.x] = 1;
}
REGISTER(fault_barrier)

// Half of a warp shuffles, the other half loads matrices.
KERNEL fault_divergence(float* to) {
    uint32_t matrices[4];
    if (lane() < 16) to[threadIdx.x] = shuffle_xor(1, 1);
    else load_matrices(matrices, shared_memory());
}
REGISTER(fault_divergence)

// Returns before a shuffle that the others wait in.
KERNEL fault_early_return(float* to) {
    if (lane() == 5) return;
    to[threadIdx.x] = warp_sum(1);
}
REGISTER(fault_early_return)

// A shuffle without anything wrong, for blocks with a partial warp.
KERNEL fault_partial_warp(float* to) { to[threadIdx.x] = warp_sum(1); }
REGISTER(fault_partial_warp)

// Reads shared memory that nothing wrote.
KERNEL fault_unwritten(float* to) { to[threadIdx.x] = ((float*)shared_memory())[threadIdx.x]; }
REGISTER(fault_unwritten)

// Reads a copy before it is complete, then waits for it.
KERNEL fault_early_read(float* to, const float* from) {
    float* shared = (float*)shared_memory();
    copy_16(shared + 4 * threadIdx.x, from + 4 * threadIdx.x, true);
    commit_copies();
    to[threadIdx.x] = shared[4 * threadIdx.x];
    wait_copies<0>();
}
REGISTER(fault_early_read)

// Waits for all groups but the last, and reads the last.
KERNEL fault_wrong_group(float* to, const float* from) {
    float* shared = (float*)shared_memory();
    copy_16(shared + 4 * threadIdx.x, from + 4 * threadIdx.x, true);
    commit_copies();
    wait_copies<1>();
    to[threadIdx.x] = shared[4 * threadIdx.x];
    wait_copies<0>();
}
REGISTER(fault_wrong_group)

// Never waits for a copy.
KERNEL fault_abandoned_copy(float* to, const float* from) {
    copy_16(shared_memory() + 16 * threadIdx.x, from + 4 * threadIdx.x, true);
    commit_copies();
    to[threadIdx.x] = 1;
}
REGISTER(fault_abandoned_copy)

// Copies beyond the end of shared memory.
KERNEL fault_shared_bounds(float* to, const float* from) {
    copy_16(shared_memory() + 16 * (threadIdx.x + 1), from + 4 * threadIdx.x, true);
    commit_copies();
    wait_copies<0>();
    to[threadIdx.x] = 1;
}
REGISTER(fault_shared_bounds)

// Writes, and reads, `offset` numbers beyond a buffer.
KERNEL fault_write_bounds(float* to, int offset) { to[threadIdx.x + offset] = 1; }
REGISTER(fault_write_bounds)
KERNEL fault_read_bounds(float* to, const float* from, int offset) { to[threadIdx.x] = from[threadIdx.x + offset]; }
REGISTER(fault_read_bounds)

// Loads 16 bytes that begin on 4.
KERNEL fault_alignment(float* to, const float* from) {
    float x[8];
    load_8(from + 1, x);
    to[threadIdx.x] = x[0];
}
REGISTER(fault_alignment)

// An index beyond an array in registers.
KERNEL fault_array_bounds(float* to, int index) {
    float x[4] = {1, 2, 3, 4};
    to[threadIdx.x] = x[index];
}
REGISTER(fault_array_bounds)

// Shifts by more than the bits there are.
KERNEL fault_shift(float* to, int bits) { to[threadIdx.x] = 1 << bits; }
REGISTER(fault_shift)
