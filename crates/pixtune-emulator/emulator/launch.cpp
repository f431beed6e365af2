// Launches, blocks and their threads.
#include "emulator.h"

#include <csignal>
#include <mutex>
#include <sys/mman.h>

namespace emulator {

static thread_local Block* current = nullptr;
Block& block() { return *current; }

std::map<std::string, Kernel>& kernels() {
    static std::map<std::string, Kernel> all;
    return all;
}

static uint64_t next_order(uint64_t& order) {
    order ^= order << 13;
    order ^= order >> 7;
    order ^= order << 17;
    return order;
}

void Block::make_ready(Fiber* fiber) { ready[(head + count++) % ready.size()] = fiber; }

Fiber* Block::take_ready() {
    if (order != 0 && count > 1) std::swap(ready[head], ready[(head + next_order(order) % count) % ready.size()]);
    Fiber* next = ready[head];
    head = (head + 1) % ready.size();
    count--;
    return next;
}

void Block::yield() {
    Fiber* from = running;
    if (count == 0) {
        if (unfinished == 0) {
            running = nullptr;
            emulator_switch(&from->stack_pointer, launch_stack);
            return;
        }
        std::string waiting;
        for (auto& fiber : fibers)
            if (!fiber.is_done && waiting.size() < 200)
                waiting += " thread " + std::to_string(fiber.index) + " in " + (fiber.waits_in ? fiber.waits_in : "?") + ";";
        fail("threads wait for others that never arrive:" + waiting);
    }
    Fiber* to = take_ready();
    if (to == from) return;
    running = to;
    emulator_switch(&from->stack_pointer, to->stack_pointer);
}

static std::string position(const Block& b) {
    return " (block " + std::to_string(b.block.x) + "," + std::to_string(b.block.y) + " thread " +
           std::to_string(b.running ? b.running->index : -1) + ")";
}

void Block::fail(const std::string& reason) {
    error = reason + position(*this);
    void* abandoned;
    emulator_switch(&abandoned, launch_stack);
    abort();
}

void barrier() {
    Block& b = block();
    b.at_barrier.push_back(b.running);
    if ((int)b.at_barrier.size() < b.threads) {
        b.running->waits_in = "__syncthreads";
        b.yield();
        return;
    }
    for (Fiber* fiber : b.at_barrier)
        if (fiber != b.running) b.make_ready(fiber);
    b.at_barrier.clear();
}

static void run_fiber() {
    Block& b = block();
    b.kernel(b.arguments);
    if (!b.running->copies.empty()) b.fail("an asynchronous copy that nothing waits for");
    b.running->is_done = true;
    b.unfinished--;
    b.yield();
    abort();
}

// A stack that `emulator_switch` enters as if `run_fiber` had been called.
static void* initial_stack(uint8_t* end) {
    void** top = (void**)end - 2;
#if defined(__x86_64__)
    *--top = nullptr;
    *--top = (void*)run_fiber;
    top -= 6;
    memset(top, 0, 6 * sizeof(void*));
#else
    top -= 20;
    memset(top, 0, 20 * sizeof(void*));
    top[11] = (void*)run_fiber;
#endif
    return top;
}

static void run_block(Block& b) {
    b.fibers.resize(b.threads);
    b.warps.assign((b.threads + 31) / 32, Warp{});
    b.ready.assign(b.threads + 1, nullptr);
    b.head = b.count = 0;
    b.at_barrier.clear();
    b.unfinished = b.threads;
    memset(b.shared, 0xff, b.shared_bytes);
    for (unsigned i = 0; i < (unsigned)b.threads; i++) {
        Fiber& fiber = b.fibers[i];
        fiber.index = i;
        fiber.is_done = false;
        fiber.waits_in = nullptr;
        fiber.copies.clear();
        fiber.groups = 0;
        fiber.thread = {i, 0, 0};
        fiber.stack_pointer = initial_stack(b.stacks + (size_t)(i + 1) * STACK_BYTES);
        b.make_ready(&fiber);
    }
    b.running = b.take_ready();
    emulator_switch(&b.launch_stack, b.running->stack_pointer);
}

static struct sigaction previous_fault, previous_trap;

static void on_fault(int signal, siginfo_t* info, void*) {
    Block* b = current;
    if (!b || !b->running) { // Not a kernel's: as if this handler did not exist.
        sigaction(signal, signal == SIGSEGV ? &previous_fault : &previous_trap, nullptr);
        return;
    }
    b->error = signal == SIGSEGV ? "an access at " + std::to_string((uintptr_t)info->si_addr) + " is outside of every buffer"
                                 : "an unaligned access, an index out of range or an undefined shift";
    b->error += position(*b);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    void* abandoned;
    emulator_switch(&abandoned, b->launch_stack);
}

static void install_handlers() {
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &previous_fault);
    sigaction(SIGILL, &action, &previous_trap);
}

// What a thread of the CPU needs to run blocks.
struct Worker {
    Block block;
    stack_t signal_stack{}, previous_signal_stack{};

    Worker() {
        static std::once_flag once;
        std::call_once(once, install_handlers);
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        block.stacks = (uint8_t*)mmap(nullptr, (size_t)STACK_BYTES * MAX_THREADS, PROT_READ | PROT_WRITE, flags, -1, 0);
        block.shared = (uint8_t*)aligned_alloc(1024, MAX_SHARED_BYTES);
        signal_stack.ss_size = 1 << 16;
        signal_stack.ss_sp = malloc(signal_stack.ss_size);
        sigaltstack(&signal_stack, &previous_signal_stack);
    }
    ~Worker() {
        sigaltstack(&previous_signal_stack, nullptr);
        free(signal_stack.ss_sp);
        free(block.shared);
        munmap(block.stacks, (size_t)STACK_BYTES * MAX_THREADS);
    }
};

static std::string refusal(const std::map<std::string, Kernel>::iterator& found, const unsigned grid[3], unsigned threads,
                           size_t shared_bytes, const size_t* sizes, size_t arguments) {
    if (found == kernels().end()) return "the kernel does not exist";
    if (threads < 1 || threads > MAX_THREADS) return "a block has 1 to 1,024 threads";
    if (shared_bytes > MAX_SHARED_BYTES) return "a block has at most 99 KiB of shared memory";
    if (!grid[0] || !grid[1] || !grid[2] || grid[0] > 0x7fffffff || grid[1] > 65535 || grid[2] > 65535)
        return "a grid has 1 to 2^31 - 1 blocks in x and 1 to 65,535 in y and z";
    const std::vector<size_t>& expected = found->second.argument_sizes;
    if (arguments != expected.size()) return "the kernel has " + std::to_string(expected.size()) + " arguments";
    for (size_t i = 0; i < arguments; i++)
        if (sizes[i] != expected[i]) return "argument " + std::to_string(i) + " has the wrong size";
    return "";
}

} // namespace emulator

using namespace emulator;

// Runs a kernel. Returns null, or the mistake, which is valid until the next launch on this thread. Seed 0 runs threads and
// blocks in order.
extern "C" const char* emulator_launch(const char* name, const unsigned grid[3], unsigned threads, size_t shared_bytes,
                                       void** arguments, const size_t* sizes, size_t argument_count, uint64_t seed) {
    static thread_local std::string error;
    auto found = kernels().find(name);
    error = refusal(found, grid, threads, shared_bytes, sizes, argument_count);
    if (!error.empty()) return (error = std::string(name) + ": " + error).c_str();
    static thread_local Worker worker;
    Block& b = worker.block;
    current = &b;
    b.kernel = found->second.call;
    b.arguments = arguments;
    b.grid = {grid[0], grid[1], grid[2]};
    b.size = {threads, 1, 1};
    b.threads = threads;
    b.shared_bytes = shared_bytes;
    b.order = seed == 0 ? 0 : seed * 0x9e3779b97f4a7c15ull | 1;
    b.error.clear();
    uint64_t blocks = (uint64_t)grid[0] * grid[1] * grid[2];
    for (uint64_t n = 0; n < blocks && b.error.empty(); n++) {
        uint64_t i = seed % 2 ? blocks - 1 - n : n;
        b.block = {(unsigned)(i % grid[0]), (unsigned)(i / grid[0] % grid[1]), (unsigned)(i / grid[0] / grid[1])};
        run_block(b);
    }
    current = nullptr;
    if (b.error.empty()) return nullptr;
    return (error = std::string(name) + ": " + b.error).c_str();
}

// The names of all kernels, separated by spaces.
extern "C" const char* emulator_kernels() {
    static std::string names = [] {
        std::string all;
        for (auto& kernel : kernels()) all += kernel.first + " ";
        return all;
    }();
    return names.c_str();
}
