//! Similar texts: MinHash over shingles of three words, and locality-sensitive hashing to find pairs.
//!
//! A sketch has one byte of each of 64 minima. Twelve bands of five bytes propose pairs: two texts that share 80 % of
//! their shingles meet in a band with a probability of 99 %, those that share 50 % with one of 32 %. Proposals are
//! judged by the share of equal bytes.

/// Minima of a sketch.
pub const MINIMA: usize = 64;

/// Bands of a sketch.
pub const BANDS: usize = 12;
const ROWS: usize = 5;

/// Words in a shingle.
const SHINGLE: usize = 3;

/// The share of common shingles from which texts are near-duplicates; the bands are tuned for it.
pub const SIMILAR: f64 = 0.8;

/// The MinHash sketch of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sketch<const KEPT: usize = MINIMA> {
    /// A byte of each minimum.
    pub minima: [u8; KEPT],
    /// The number of shingles, with repetitions; 0 for a text without words.
    pub shingles: u16,
}

impl<const KEPT: usize> Default for Sketch<KEPT> {
    fn default() -> Self {
        Sketch { minima: [0; KEPT], shingles: 0 }
    }
}

impl<const KEPT: usize> Sketch<KEPT> {
    /// The sketch of consecutive texts. Only letters and digits count, in lower case; scripts without spaces are split into
    /// single characters.
    pub fn of<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let mut minima = [u32::MAX; MINIMA];
        let mut shingles = 0u16;
        let mut last = [0u64; SHINGLE];
        let mut words = 0usize;
        let mut add = |word: u64, minima: &mut [u32; MINIMA]| {
            last.rotate_left(1);
            last[SHINGLE - 1] = word;
            words += 1;
            if words >= SHINGLE {
                shingles = shingles.saturating_add(1);
                lower(minima, mix(&last));
            }
        };
        for text in texts {
            for_each_word(text, |word| add(word, &mut minima));
        }
        if shingles == 0 && words > 0 {
            // A text shorter than a shingle is one shingle.
            shingles = 1;
            lower(&mut minima, mix(&last));
        }
        if shingles == 0 {
            return Sketch::default();
        }
        let byte = |at: usize| (minima[at].wrapping_mul(0x9e37_79b1) >> 24) as u8;
        Sketch { minima: std::array::from_fn(byte), shingles }
    }

    /// An estimate of the share of shingles two texts have in common, 0 to 1; with 64 minima its standard error is at most
    /// 6 %.
    pub fn similarity(&self, other: &Self) -> f64 {
        if self.shingles == 0 || other.shingles == 0 {
            return 0.0;
        }
        let equal = self.minima.iter().zip(&other.minima).filter(|(one, other)| one == other).count();
        // Bytes of different minima are equal by chance once in 256.
        let by_chance = 1.0 / 256.0;
        ((equal as f64 / KEPT as f64 - by_chance) / (1.0 - by_chance)).max(0.0)
    }
}

impl Sketch {
    /// The bytes of a band, in the lower 40 bits; `None` for a text without words.
    pub(super) fn band(&self, band: usize) -> Option<u64> {
        let bytes = &self.minima[band * ROWS..][..ROWS];
        (self.shingles > 0).then(|| bytes.iter().fold(0, |key, byte| key << 8 | u64::from(*byte)))
    }
}

fn mix(words: &[u64; SHINGLE]) -> u64 {
    words
        .iter()
        .fold(0, |mixed: u64, word| (mixed.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn lower(minima: &mut [u32; MINIMA], shingle: u64) {
    let (low, high) = (shingle as u32, (shingle >> 32) as u32 | 1);
    for (at, minimum) in minima.iter_mut().enumerate() {
        // Hash functions of one family, as in double hashing, each with a last multiplication of its own.
        let hash = low.wrapping_add(high.wrapping_mul(FACTORS[at]));
        let hash = (hash ^ hash >> 15).wrapping_mul(FACTORS[MINIMA - 1 - at]);
        *minimum = (*minimum).min(hash ^ hash >> 13);
    }
}

/// Random odd numbers.
const FACTORS: [u32; MINIMA] = {
    let mut factors = [0; MINIMA];
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut at = 0;
    while at < MINIMA {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        factors[at] = (state >> 32) as u32 | 1;
        at += 1;
    }
    factors
};

/// Calls `use_word` with the hash of every word.
fn for_each_word(text: &str, mut use_word: impl FnMut(u64)) {
    const START: u64 = 0xcbf2_9ce4_8422_2325;
    let mut word = START;
    for character in text.chars() {
        if !character.is_alphanumeric() {
            if word != START {
                use_word(word);
            }
            word = START;
            continue;
        }
        let spaceless = matches!(u32::from(character), 0x0e00..=0x0eff | 0x1000..=0x109f | 0x3040..=0x30ff | 0x3400..=0x9fff | 0x20000..=0x3ffff);
        if spaceless && word != START {
            use_word(word);
            word = START;
        }
        for lower in character.to_lowercase() {
            word = (word ^ u64::from(u32::from(lower))).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
        }
        if spaceless {
            use_word(word);
            word = START;
        }
    }
    if word != START {
        use_word(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn text(words: impl IntoIterator<Item = usize>) -> String {
        words.into_iter().map(|word| format!("word{word}, ")).collect()
    }

    fn similarity(one: &str, other: &str) -> f64 {
        Sketch::<MINIMA>::of([one]).similarity(&Sketch::of([other]))
    }

    #[test]
    fn ignores_case_and_punctuation() {
        assert_eq!(similarity("The cat, sat on a MAT!", "the cat sat on a mat"), 1.0);
        assert_eq!(Sketch::<16>::of(["ab", "cd ef"]), Sketch::of(["ab cd ef"]));
        assert!(similarity("yes", "no") < 0.1);
        assert_eq!(similarity("", ""), 0.0);
        assert_eq!(similarity("?!", "…"), 0.0);
        assert!(similarity("この写真には犬がいます、かわいい", "この写真には猫がいます、かわいい") > 0.3);
    }

    #[test]
    fn estimate_is_close_to_the_share() {
        let mut errors = Vec::new();
        for (seed, changed) in (0..40).flat_map(|seed| [2, 5, 10, 20, 40].map(|changed| (seed, changed))) {
            let one: Vec<usize> = (0..300).map(|at| at + 1000 * seed).collect();
            let mut other = one.clone();
            (0..changed).for_each(|change| other[change * 300 / changed] += 500_000);
            let shingles = |words: &[usize]| words.windows(3).map(<[usize]>::to_vec).collect::<BTreeSet<_>>();
            let (a, b) = (shingles(&one), shingles(&other));
            let truth = a.intersection(&b).count() as f64 / a.union(&b).count() as f64;
            errors.push(similarity(&text(one), &text(other)) - truth);
        }
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        let spread = (errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64).sqrt();
        assert!(mean.abs() < 0.015 && spread < 0.07, "{mean} {spread}");
    }
}
