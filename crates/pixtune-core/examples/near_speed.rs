//! How long the search for near duplicates takes: `near_speed hashes N` or `near_speed texts N`.
//!
//! Hashes and texts are made up; one in twenty is a copy that differs a little. Prints how many of the copies were
//! found, the seconds by the clock, and on Linux the peak of memory.

use std::num::NonZeroUsize;
use std::time::Instant;

use pixtune_core::curate::hamming::{MOST, pairs_within};
use pixtune_core::curate::{Sketch, near_text_edges};
use twox_hash::XxHash3_64;

fn random(seed: u64, n: u64) -> u64 {
    XxHash3_64::oneshot_with_seed(seed, &n.to_le_bytes())
}

fn hashes(count: u64) {
    let original = |n: u64| random(1, n);
    let flips =
        |n: u64| (0..1 + random(2, n) % 6).fold(0u64, |flips, k| flips | 1 << (random(3 + k, n) % 64));
    let hash = |n: u64| if n % 20 == 19 { original(n - 7) ^ flips(n) } else { original(n) };
    let hashes: Vec<u64> = (0..count).map(hash).collect();
    let threads = NonZeroUsize::new(2).unwrap_or(NonZeroUsize::MIN);
    let start = Instant::now();
    let pairs = pairs_within(&hashes, MOST, threads);
    let seconds = start.elapsed().as_secs_f64();
    let planted = pairs.iter().filter(|pair| pair.other % 20 == 19 && pair.one + 7 == pair.other).count();
    println!(
        "{count} hashes, {MOST} bits: {seconds:.2} s; {planted} of {} copies, {} pairs in all",
        count / 20,
        pairs.len()
    );
}

fn texts(count: u64) {
    let word = |n: u64, at: u64| format!("word{} ", random(n, at) % 50_000);
    let start = Instant::now();
    let sketch = |n: u64| {
        let copy = n % 20 == 19;
        let of = if copy { n - 7 } else { n };
        let mut text: String = (0..100).map(|at| word(of, at)).collect();
        if copy {
            text.push_str("and more");
        }
        Sketch::of([text.as_str()])
    };
    let sketches: Vec<Sketch> = (0..count).map(sketch).collect();
    let made = start.elapsed().as_secs_f64();
    let edges = near_text_edges(&sketches);
    let planted = edges.iter().filter(|edge| edge.other - edge.one == 7).count();
    let all = edges.len();
    let seconds = start.elapsed().as_secs_f64() - made;
    println!(
        "{count} texts of 100 words: {made:.2} s to make and sketch, {seconds:.2} s to search; {planted} of {} copies, {all} pairs in all",
        count / 20
    );
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let count = args.get(2).and_then(|count| count.parse().ok()).unwrap_or(100_000);
    match args.get(1).map(String::as_str) {
        Some("texts") => texts(count),
        _ => hashes(count),
    }
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("  {line}"));
    }
}
