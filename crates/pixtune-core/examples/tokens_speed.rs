use pixtune_core::tokens::Tekken;
use std::time::Instant;
fn main() {
    let t = Instant::now();
    let tekken = Tekken::embedded();
    println!("load {:.1} ms", t.elapsed().as_secs_f64() * 1e3);
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut best = f64::MAX;
        let mut n = 0;
        for _ in 0..5 {
            let t = Instant::now();
            n = tekken.encode(&text).len();
            best = best.min(t.elapsed().as_secs_f64());
        }
        println!("{path} {} bytes {n} ids {:.1} MB/s", text.len(), text.len() as f64 / best / 1e6);
    }
}
