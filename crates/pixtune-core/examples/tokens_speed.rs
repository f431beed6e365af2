//! How fast text becomes ids: MB per CPU-second of one thread, best of several runs; see `bench/tokens`.
//!
//!     cargo run --release -p pixtune-core --example tokens_speed -- FILE...

use std::time::Instant;

use pixtune_core::tokens::Tekken;

fn main() -> std::io::Result<()> {
    let start = Instant::now();
    let tekken = Tekken::embedded();
    println!("load\t{:.1} ms", 1e3 * start.elapsed().as_secs_f64());
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path)?;
        let megabytes = text.len() as f64 / 1e6;
        let mut ids = 0;
        let encode = best(7, || ids = tekken.encode(&text).len());
        let count = best(7, || ids = tekken.count(&text));
        println!(
            "{path}\t{ids} ids\tencode {:.1} MB/s\tcount {:.1} MB/s",
            megabytes / encode,
            megabytes / count
        );
        let one = wall(&text, 1);
        let two = wall(&text, 2);
        println!("{path}\ttwo threads {:.2} times one", 2.0 * one / two);
    }
    Ok(())
}

/// Least CPU seconds of this thread.
fn best(runs: usize, mut work: impl FnMut()) -> f64 {
    (0..runs)
        .map(|_| {
            let start = thread_seconds();
            work();
            thread_seconds() - start
        })
        .fold(f64::MAX, f64::min)
}

/// Least wall seconds for every one of `threads` threads to encode the text.
fn wall(text: &str, threads: usize) -> f64 {
    (0..7)
        .map(|_| {
            let start = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| Tekken::embedded().encode(text));
                }
            });
            start.elapsed().as_secs_f64()
        })
        .fold(f64::MAX, f64::min)
}

/// CPU time of this thread; where the system does not tell, time as it passes.
fn thread_seconds() -> f64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let start = START.get_or_init(Instant::now);
    let scheduled = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = scheduled.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |nanoseconds| nanoseconds / 1e9)
}
