// Memory that begins after a page without access, ends where the next one begins, and is filled with NaN. A buffer ends on 16
// bytes, so that its address is aligned as cuMemAlloc's is for the widest access; the bytes up to there are the only ones that
// a kernel can read unnoticed.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <sys/mman.h>

static const size_t PAGE = 4096;
static size_t body_bytes(size_t bytes) { return (bytes + PAGE - 1) / PAGE * PAGE; }
static size_t aligned(size_t bytes) { return (bytes + 15) / 16 * 16; }

extern "C" void* emulator_allocate(size_t bytes) {
    size_t body = body_bytes(bytes);
    void* mapped = mmap(nullptr, body + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    auto* start = (uint8_t*)mapped + PAGE;
    if (mprotect(start, body, PROT_READ | PROT_WRITE) != 0) {
        munmap(mapped, body + 2 * PAGE);
        return nullptr;
    }
    memset(start, 0xff, body);
    return start + body - aligned(bytes);
}

extern "C" void emulator_free(void* at, size_t bytes) {
    size_t body = body_bytes(bytes);
    munmap((uint8_t*)at + aligned(bytes) - body - PAGE, body + 2 * PAGE);
}
