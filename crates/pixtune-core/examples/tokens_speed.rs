//! How fast text becomes ids: MB per CPU-second of one thread; see `bench/tokens`.
//!
//!     cargo run --release -p pixtune-core --example tokens_speed -- TEXT...
//!
//! Prints `name<TAB>what<TAB>number`.

use std::hint::black_box;
use std::time::Instant;

use pixtune_core::tokens::Tokenizer;

fn main() -> std::io::Result<()> {
    let start = Instant::now();
    let tekken = Tokenizer::embedded();
    println!("pixtune\tload (ms)\t{:.1}", 1e3 * start.elapsed().as_secs_f64());
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path)?;
        let name = std::path::Path::new(&path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let megabytes = text.len() as f64 / 1e6;
        let rate = |work: &mut dyn FnMut()| megabytes / best_seconds(work);
        println!("pixtune\t{name} (ids)\t{}", tekken.encode(&text).len());
        println!(
            "pixtune\t{name} (MB/s)\t{:.1}",
            rate(&mut || {
                black_box(tekken.encode(&text));
            })
        );
        println!(
            "pixtune, count only\t{name} (MB/s)\t{:.1}",
            rate(&mut || {
                black_box(tekken.count(&text));
            })
        );
        println!(
            "pixtune\t{name}, two threads (times one)\t{:.2}",
            2.0 * together(&text, 1) / together(&text, 2)
        );
    }
    Ok(())
}

/// CPU seconds of this thread for one call: best of five rounds of at least 0.3 seconds each.
fn best_seconds(work: &mut dyn FnMut()) -> f64 {
    work();
    (0..5)
        .map(|_| {
            let (start, mut calls) = (thread_seconds(), 0.0);
            loop {
                work();
                calls += 1.0;
                let seconds = thread_seconds() - start;
                if seconds >= 0.3 {
                    break seconds / calls;
                }
            }
        })
        .fold(f64::MAX, f64::min)
}

/// CPU seconds the slower of `threads` threads needs for the text ten times, all at once; the best of several rounds.
/// CPU time, so that other work on the machine counts less; what threads cost each other is in it.
fn together(text: &str, threads: usize) -> f64 {
    let encode = || {
        let start = thread_seconds();
        (0..10).for_each(|_| drop(black_box(Tokenizer::embedded().encode(text))));
        thread_seconds() - start
    };
    let round = || {
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(encode)).collect();
            running.into_iter().filter_map(|thread| thread.join().ok()).fold(0.0, f64::max)
        })
    };
    (0..7).map(|_| round()).fold(f64::MAX, f64::min)
}

/// CPU time of this thread; where the system does not tell, time as it passes.
fn thread_seconds() -> f64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let start = START.get_or_init(Instant::now);
    let scheduled = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = scheduled.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |nanoseconds| nanoseconds / 1e9)
}
