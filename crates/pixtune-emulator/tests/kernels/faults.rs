//! The emulator finds what it claims to find: `emulator/faults.cu` has one kernel per mistake.

use pixtune_cuda::gpu::{Address, Gpu, Launch};
use pixtune_cuda::matmul::{Matrix, Product};
use pixtune_cuda::{GpuError, launch};
use pixtune_emulator::Emulator;

const THREADS: usize = 64;

/// Two buffers on an emulated GPU: 64 zeros, and 512 numbers counted from zero.
struct Buffers {
    gpu: Emulator,
    to: Address,
    from: Address,
}

fn buffers(seed: u64) -> Buffers {
    let gpu = Emulator::new(seed);
    let upload = |values: Vec<f32>| {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let address = gpu.allocate(bytes.len()).unwrap();
        gpu.write(address, &bytes).unwrap();
        address
    };
    let (to, from) = (upload(vec![0.0; THREADS]), upload((0..512).map(|x| x as f32).collect()));
    Buffers { gpu, to, from }
}

impl Buffers {
    fn result(&self) -> Vec<f32> {
        let mut bytes = vec![0; THREADS * 4];
        self.gpu.read(self.to, &mut bytes).unwrap();
        bytes.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect()
    }
}

fn block(kernel: &'static str) -> Launch {
    Launch { kernel, blocks: [1, 1], threads: THREADS as u32, shared_bytes: THREADS * 16 }
}

#[track_caller]
fn finds(result: Result<(), GpuError>, message: &str) {
    let found = result.unwrap_err().to_string();
    assert!(found.contains(message), "{found}");
}

/// The results of a kernel for several orders of its threads.
fn results(launch: Launch) -> Vec<Vec<f32>> {
    let result = |seed| {
        let buffers = buffers(seed);
        launch!(&buffers.gpu, launch, buffers.to).unwrap();
        buffers.result()
    };
    (0..4).map(result).collect()
}

#[test]
fn a_missing_barrier_changes_the_bits() {
    let bits = |kernel| {
        let results = results(block(kernel));
        results
            .into_iter()
            .map(|values| values.iter().map(|x| x.to_bits()).collect())
            .collect::<Vec<Vec<u32>>>()
    };
    assert!(bits("fault_race").windows(2).any(|pair| pair[0] != pair[1]));
    assert!(bits("no_fault").windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn blocks_run_in_no_order() {
    let results = results(Launch { blocks: [8, 1], threads: 32, ..block("fault_block_order") });
    assert!(results.windows(2).any(|pair| pair[0] != pair[1]));
}

#[test]
fn collectives_that_not_all_threads_reach() {
    let Buffers { gpu, to, .. } = &buffers(1);
    finds(launch!(gpu, block("fault_barrier"), *to), "threads wait for others that never arrive");
    finds(launch!(gpu, block("fault_divergence"), *to), "lanes of a warp are in");
    finds(launch!(gpu, block("fault_early_return"), *to), "threads wait for others that never arrive");
    let partial = Launch { threads: 40, ..block("fault_partial_warp") };
    finds(launch!(gpu, partial, *to), "in a warp of fewer than 32 threads");
}

#[test]
fn shared_memory_and_copies() {
    let not_numbers = |kernel| {
        let buffers = buffers(2);
        launch!(&buffers.gpu, block(kernel), buffers.to, buffers.from).unwrap();
        assert!(buffers.result().iter().all(|x| x.is_nan()), "{kernel}");
    };
    not_numbers("fault_early_read");
    not_numbers("fault_wrong_group");
    let buffers = buffers(2);
    launch!(&buffers.gpu, block("fault_unwritten"), buffers.to).unwrap();
    assert!(buffers.result().iter().all(|x| x.is_nan()));
    let Buffers { gpu, to, from } = &buffers;
    finds(
        launch!(gpu, block("fault_abandoned_copy"), *to, *from),
        "an asynchronous copy that nothing waits for",
    );
    finds(launch!(gpu, block("fault_shared_bounds"), *to, *from), "outside of shared memory");
}

#[test]
fn accesses_out_of_bounds() {
    let Buffers { gpu, to, from } = &buffers(3);
    for offset in [1, THREADS as i32, -1024] {
        finds(launch!(gpu, block("fault_write_bounds"), *to, offset), "outside of every buffer");
    }
    finds(
        launch!(gpu, block("fault_read_bounds"), *to, *from, 512 - THREADS as i32 + 1),
        "outside of every buffer",
    );
    launch!(gpu, block("fault_read_bounds"), *to, *from, 512 - THREADS as i32).unwrap();
    finds(launch!(gpu, block("fault_alignment"), *to, *from), "an unaligned access");
    finds(launch!(gpu, block("fault_array_bounds"), *to, 4), "an index out of range");
    finds(launch!(gpu, block("fault_shift"), *to, 32), "an undefined shift");
    // The emulator works after a fault.
    launch!(gpu, block("no_fault"), *to).unwrap();
}

#[test]
fn launches_that_a_gpu_refuses() {
    let Buffers { gpu, to, .. } = &buffers(0);
    finds(launch!(gpu, block("no_such_kernel"), *to), "the kernel does not exist");
    finds(launch!(gpu, block("no_fault"), *to, 1i32), "the kernel has 1 arguments");
    finds(launch!(gpu, block("no_fault"), 1i32), "argument 0 has the wrong size");
    finds(launch!(gpu, Launch { threads: 1056, ..block("no_fault") }, *to), "1 to 1,024 threads");
    finds(launch!(gpu, Launch { shared_bytes: 100 << 10, ..block("no_fault") }, *to), "at most 99 KiB");
    finds(
        launch!(gpu, Launch { blocks: [1, 70_000], ..block("no_fault") }, *to),
        "beyond the limit of 65535",
    );
}

#[test]
fn products_that_cublas_refuses() {
    let Buffers { gpu, to, from } = &buffers(0);
    let matrix = |stride| Matrix::f32(*from, stride);
    let product = Product {
        rows: 4,
        columns: 8,
        inner: 16,
        left: matrix(16),
        right: matrix(16).transposed(),
        out: Matrix::f32(*to, 8),
        alpha: 1.0,
        beta: 0.0,
    };
    let multiply = |product: Product| gpu.multiply(&product.matmul());
    multiply(product).unwrap();
    finds(multiply(Product { inner: 0, ..product }), "a matrix is empty");
    finds(multiply(Product { left: matrix(15), ..product }), "a leading dimension is too small");
    finds(multiply(Product { left: Matrix::f32(from.after(2), 16), ..product }), "a pointer is not aligned");
    finds(multiply(Product { left: Matrix::bf16(*from, 16), ..product }), "the factors have different types");
    finds(multiply(Product { out: Matrix::bf16(*to, 8), ..product }), "factors in f32 give f32");
    finds(multiply(Product { rows: 40, ..product }), "is not inside one buffer");
}

#[test]
fn memory_outside_of_buffers_and_beyond_capacity() {
    let Buffers { gpu, to, from } = &buffers(0);
    finds(gpu.write(to.after(1), &[0; THREADS * 4]), "is not inside one buffer");
    finds(gpu.read(Address::NULL, &mut [0]), "is not inside one buffer");
    finds(gpu.copy(*to, *from, THREADS * 4 + 1), "is not inside one buffer");
    let small = Emulator::with_memory(0, 1000);
    let first = small.allocate(600).unwrap();
    finds(small.allocate(600).map(drop), "out of GPU memory");
    small.free(first, 600);
    small.allocate(600).map(drop).unwrap();
}
