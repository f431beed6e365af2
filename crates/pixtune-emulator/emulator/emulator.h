// Runs the kernels of crates/pixtune-cuda on the CPU.
//
// A thread of a block is a fiber; the blocks of a launch run one after the other. What waits for other threads (barriers,
// shuffles, matrix instructions) is a collective: the last thread to arrive does the work of all. Mistakes that a GPU would
// answer with wrong numbers are found here:
// - barriers and collectives that not all threads reach, or that lanes of a warp do not agree on;
// - shared memory that is read before it is written: it is filled with NaN;
// - asynchronous copies that nothing waits for: they complete as late as they may;
// - reads and writes beyond a buffer: pages without access follow it;
// - unaligned vector accesses, array indices out of range and undefined shifts: traps of the compiler;
// - missing barriers: threads and blocks run in another order for every seed, and the bits of the results must not change.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(threads)
#define __align__(n) alignas(n)

struct dim3 {
    unsigned x, y, z;
};

using std::max;
using std::min;

namespace emulator {

constexpr int STACK_BYTES = 1 << 16, MAX_THREADS = 1024;
// Shared memory that every supported GPU gives a block: 99 KiB on compute capability 8.6, 8.9 and 12.0 (CUDA C++ Programming
// Guide, table "Technical Specifications per Compute Capability").
constexpr size_t MAX_SHARED_BYTES = 99 << 10;

// Saves the registers of the running fiber, its stack pointer in `*from`, and continues at the stack `to`.
extern "C" void emulator_switch(void** from, void* to);

struct Copy {
    void* to;
    uint8_t bytes[16];
    int size, group;
};

// A thread of a block.
struct Fiber {
    void* stack_pointer = nullptr;
    dim3 thread{};
    int index = 0;
    bool is_done = false;
    // What it waits in.
    const char* waits_in = nullptr;
    // Asynchronous copies that were not waited for, and the number of groups that were committed.
    std::vector<Copy> copies;
    int groups = 0;
};

// Lanes that arrived at a collective.
struct Warp {
    int arrived = 0;
    const char* collective = nullptr;
    void* operands[32];
};

struct Block {
    dim3 block{}, grid{}, size{};
    int threads = 0, unfinished = 0;
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    // A ring of the fibers that can run.
    std::vector<Fiber*> ready;
    size_t head = 0, count = 0;
    std::vector<Fiber*> at_barrier;
    Fiber* running = nullptr;
    // The stack of the launch.
    void* launch_stack = nullptr;
    uint8_t* stacks = nullptr;
    uint8_t* shared = nullptr;
    size_t shared_bytes = 0;
    // The state of the order; zero keeps the order of the threads.
    uint64_t order = 0;
    std::string error;
    void (*kernel)(void**) = nullptr;
    void** arguments = nullptr;

    void make_ready(Fiber* fiber);
    // The next fiber that runs: any that can.
    Fiber* take_ready();
    // Runs another fiber, until this one is ready and its turn comes.
    void yield();
    [[noreturn]] void fail(const std::string& reason);
};

// The block that runs on this thread of the CPU. Not inlined: a fiber does not change its thread, but the compiler does not
// know that its address stays the same across a switch.
[[gnu::noinline]] Block& block();

// Calls `work` with the operands of all 32 lanes once all of them are here.
template <class Work> inline void collective(const char* name, void* operand, Work work) {
    Block& b = block();
    Fiber* fiber = b.running;
    int first = fiber->index / 32 * 32;
    Warp& warp = b.warps[fiber->index / 32];
    if (b.threads - first < 32) b.fail(std::string(name) + " in a warp of fewer than 32 threads");
    if (warp.arrived == 0) warp.collective = name;
    if (strcmp(warp.collective, name) != 0)
        b.fail(std::string("lanes of a warp are in ") + warp.collective + " and in " + name);
    warp.operands[fiber->index - first] = operand;
    if (++warp.arrived < 32) {
        fiber->waits_in = name;
        b.yield();
        return;
    }
    warp.arrived = 0;
    work(warp.operands);
    for (int i = first; i < first + 32; i++)
        if (i != fiber->index) b.make_ready(&b.fibers[i]);
}

void barrier();

struct Kernel {
    void (*call)(void**);
    std::vector<size_t> argument_sizes;
};
std::map<std::string, Kernel>& kernels();

template <class... A, size_t... I> void call_with(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*(A*)arguments[I]...);
}
template <auto F> struct Entry;
template <class... A, void (*F)(A...)> struct Entry<F> {
    static void call(void** arguments) { call_with(F, arguments, std::index_sequence_for<A...>{}); }
    static Kernel kernel() { return {call, {sizeof(A)...}}; }
};
struct Registration {
    Registration(const char* name, Kernel kernel) { kernels()[name] = std::move(kernel); }
};

} // namespace emulator
