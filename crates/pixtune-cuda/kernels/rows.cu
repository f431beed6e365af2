// Operations that move rows.
#include "prelude.cuh"

// Copies the part of a row that begins at `c`: 16 bytes, or what is left of the row.
template <class T> __device__ __forceinline__ void copy_part(const T* from, T* to, int left) {
    const int most = 16 / sizeof(T);
    if (left >= most && is_aligned(from) && is_aligned(to)) {
        *(Words*)to = *(const Words*)from;
        return;
    }
#pragma unroll
    for (int i = 0; i < most; i++)
        if (i < left) to[i] = from[i];
}

// to[i] = from[indices[i]], or with `scatter`, to[indices[i]] = from[i]. A thread has 16 bytes of a row.
template <class T>
__device__ __forceinline__ void move_rows(const T* from, const uint32_t* indices, T* to, int rows, int columns, int scatter) {
    const int most = 16 / sizeof(T);
    int parts = (columns + most - 1) / most;
    uint64_t i = global_thread(), row = i / parts;
    int c = i % parts * most;
    if (row >= rows) return;
    uint64_t other = indices[row], source = scatter ? row : other, target = scatter ? other : row;
    copy_part(from + source * columns + c, to + target * columns + c, columns - c);
}
KERNEL __launch_bounds__(256)
move_rows_bf16(const bf16* from, const uint32_t* indices, bf16* to, int rows, int columns, int scatter) {
    move_rows(from, indices, to, rows, columns, scatter);
}
REGISTER(move_rows_bf16)
KERNEL __launch_bounds__(256)
move_rows_f32(const float* from, const uint32_t* indices, float* to, int rows, int columns, int scatter) {
    move_rows(from, indices, to, rows, columns, scatter);
}
REGISTER(move_rows_f32)

// Cuts an image, [channels, rows * side, columns * side], into patches, [rows * columns, channels, side, side]. A thread has
// one number.
KERNEL __launch_bounds__(256) patches(const float* pixels, bf16* out, int channels, int rows, int columns, int side) {
    uint64_t i = global_thread();
    if (i >= (uint64_t)rows * columns * channels * side * side) return;
    int x = i % side, y = i / side % side, channel = i / (side * side) % channels;
    int patch = i / (side * side) / channels, row = patch / columns, column = patch % columns;
    uint64_t line = ((uint64_t)channel * rows + row) * side + y;
    store(out + i, pixels[line * columns * side + column * side + x]);
}
REGISTER(patches)

// Copies heads of `from_size` numbers to heads of `to_size`: the numbers beyond either size are dropped or zero.
KERNEL __launch_bounds__(256) resize_heads(const bf16* from, bf16* to, uint64_t heads, int from_size, int to_size) {
    uint64_t i = global_thread(), head = i / to_size;
    int c = i % to_size;
    if (head >= heads) return;
    bf16 zero = {0};
    to[i] = c < from_size ? from[head * from_size + c] : zero;
}
REGISTER(resize_heads)
