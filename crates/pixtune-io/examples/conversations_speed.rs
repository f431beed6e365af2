//! How fast conversations with images become what a model is fed, per CPU-second of one thread; see `bench/tokens`.
//!
//!     cargo run --release -p pixtune-io --example conversations_speed -- CHATS.jsonl
//!
//! Prints `name<TAB>what<TAB>number`. A file with the name `talks.jsonl` is encoded for every version of the tokenizer instead.

use std::hint::black_box;
use std::io::Cursor;
use std::path::Path;
use std::time::Instant;

use pixtune_core::json;
use pixtune_core::sample::Image;
use pixtune_core::spec::{
    MINISTRAL_3_8B, MISTRAL_SMALL_3_1, MISTRAL_SMALL_3_2, MISTRAL_SMALL_4, ModelSpec, PIXTRAL_12B,
    PIXTRAL_LARGE,
};
use pixtune_core::strict;
use pixtune_core::tokens::{ChatEncoder, Layout};
use pixtune_io::image::{Limits, Resolver, load, model_input};
use pixtune_io::read::records::Records;
use pixtune_io::read::{Format, Row};
use pixtune_io::tokens::{Ids, count_line};

fn main() -> std::io::Result<()> {
    let encoder = ChatEncoder::new(&PIXTRAL_12B, Layout::MistralCommon);
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        if path.ends_with("talks.jsonl") {
            versions(&bytes);
            continue;
        }
        let count = rows(&bytes).len() as f64;
        let ids = |row: &Row| {
            let counted = count_line(&encoder, Path::new("."), row, &Limits::default(), Ids::Yes);
            counted.ok().and_then(|counted| counted.ids).map_or(0, |ids| ids.len())
        };
        println!("pixtune\tconversations (ids)\t{}", rows(&bytes).iter().map(ids).sum::<usize>());
        let seconds = best_seconds(&mut || {
            black_box(rows(&bytes).iter().map(ids).sum::<usize>());
        });
        println!("pixtune\tconversations, ids and counts (1/s)\t{:.0}", count / seconds);
        let seconds = best_seconds(&mut || {
            for row in rows(&bytes) {
                black_box((ids(&row), pixels(&row)));
            }
        });
        println!("pixtune\tconversations, ids and pixels (1/s)\t{:.0}", count / seconds);
    }
    Ok(())
}

/// A model of each version.
const VERSIONS: [&ModelSpec; 6] =
    [&PIXTRAL_12B, &MISTRAL_SMALL_3_1, &PIXTRAL_LARGE, &MISTRAL_SMALL_3_2, &MINISTRAL_3_8B, &MISTRAL_SMALL_4];

/// Speed of conversations without images, with each version's layout.
fn versions(bytes: &[u8]) {
    for model in VERSIONS {
        let (encoder, version) = (ChatEncoder::new(model, Layout::MistralCommon), model.tokenizer);
        let rows = rows(bytes);
        let ids = |row: &Row| {
            let counted = count_line(&encoder, Path::new("."), row, &Limits::default(), Ids::Yes);
            counted.ok().and_then(|counted| counted.ids).map_or(0, |ids| ids.len())
        };
        println!("pixtune\ttalks, {version} (ids)\t{}", rows.iter().map(ids).sum::<usize>());
        let seconds = best_seconds(&mut || {
            black_box(rows.iter().map(ids).sum::<usize>());
        });
        println!("pixtune\ttalks, {version} (MB/s)\t{:.1}", bytes.len() as f64 / 1e6 / seconds);
    }
}

/// The lines as the program reads them.
fn rows(bytes: &[u8]) -> Vec<Row> {
    let mut records = Records::new(Cursor::new(bytes), Format::JsonLines, usize::MAX);
    std::iter::from_fn(|| records.next_row().ok().flatten()).map(|(_, row)| row).collect()
}

/// What the vision encoder is fed of each image of a line.
fn pixels(row: &Row) -> Vec<Vec<f32>> {
    let text = String::from_utf8_lossy(&row.bytes);
    let Ok(parsed) = json::parse(&text) else { return vec![] };
    let Ok(sample) = strict::read(&parsed.value) else { return vec![] };
    let limits = Limits::default();
    let pixels = |image: &Image<&str>| {
        let image = load(&image.source, &Resolver::new(Path::new(".")), &limits).ok()?;
        Some(model_input(&image, &PIXTRAL_12B, &limits).ok()?.pixels)
    };
    sample.images.iter().filter_map(pixels).collect()
}

/// CPU seconds of this thread for one call: best of four.
fn best_seconds(work: &mut dyn FnMut()) -> f64 {
    work();
    (0..4)
        .map(|_| {
            let start = thread_seconds();
            work();
            thread_seconds() - start
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
