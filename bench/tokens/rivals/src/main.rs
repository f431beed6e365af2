//! tiktoken-rs with Tekken's vocabulary: `token-rivals tekken_240911.json TEXT...` prints MB per CPU-second.

use std::error::Error;

use base64::Engine as _;
use tiktoken_rs::CoreBPE;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = std::fs::read(arguments.next().ok_or("no tekken.json")?)?;
    let file: serde_json::Value = serde_json::from_slice(&file)?;
    let vocabulary = file["vocab"].as_array().ok_or("no vocab")?[..130_072].iter();
    let ranks = vocabulary.enumerate().map(|(rank, entry)| {
        let bytes = base64::prelude::BASE64_STANDARD.decode(entry["token_bytes"].as_str().unwrap_or_default())?;
        Ok((bytes, rank as u32))
    });
    let ranks = ranks.collect::<Result<_, Box<dyn Error>>>()?;
    let bpe = CoreBPE::new(ranks, Default::default(), file["config"]["pattern"].as_str().ok_or("no pattern")?)?;
    for path in arguments {
        let text = std::fs::read_to_string(&path)?;
        let name = std::path::Path::new(&path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        println!("tiktoken-rs\t{name} (ids)\t{}", bpe.encode_ordinary(&text).len());
        let best = (0..4)
            .map(|_| {
                let start = thread_seconds();
                std::hint::black_box(bpe.encode_ordinary(&text));
                thread_seconds() - start
            })
            .fold(f64::MAX, f64::min);
        println!("tiktoken-rs\t{name} (MB/s)\t{:.1}", text.len() as f64 / 1e6 / best);
    }
    Ok(())
}

fn thread_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or_default() / 1e9
}
