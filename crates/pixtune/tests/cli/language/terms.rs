//! Words that texts for people avoid, and the standard terms to use instead.

use pixtune_core::rules;

use super::sources::Text;

/// Words and phrases, separated by `|`, and what to write. Each stands for itself: inflections are listed.
const TERMS: &[(&str, &str)] = &[
    ("picture|pictures|pictured", "image"),
    ("a set|the set|this set|that set|whole set|any set|every set|your set", "dataset"),
    ("tell|tells|told|telling|say|says|said|saying", "report, print, warn, show"),
    ("mend|mends|mended|mending", "fix, repair"),
    ("address|addresses", "URL"),
    ("folder|folders", "directory"),
    ("processor|processors", "CPU"),
    ("card|cards", "GPU"),
    ("record|records", "row, sample"),
    ("turn|turns|turned|turning", "message; convert, rotate"),
    ("place|places|placed", "location, position; content part"),
    ("set aside|sets aside|pass over|passes over|passed over", "skip, drop, reject"),
    ("leave out|leaves out|leaving out|left out|leave them out|leave it out", "skip, drop, omit"),
    ("make smaller|makes smaller|made smaller|shrink|shrinks|shrunk|shrinking", "resize, downscale"),
    ("anew|drawn anew|written anew|written again", "re-encode"),
    ("upright|put on white", "auto-orient, flatten onto white"),
    ("both sides|one side of the split|sides of the split|side of the split", "both splits, split"),
    ("held out|held-out|hold out|holds out", "validation split"),
    (
        "repeated sample|repeated samples|repeated row|repeated rows|repetition|repetitions|alike|the same again",
        "duplicate, near-duplicate",
    ),
    ("nearly the same|nearly say|near duplicate|near duplicates", "near-duplicate"),
    ("another answer|contradicting", "conflicting labels"),
    (
        "tokens a sample|tokens a second|object a line|sample a line|bytes a sample|row a time",
        "per sample, per line",
    ),
    ("warm-up|warm up|warming up", "warmup"),
    ("files of weights|head of a file|head of the file", "shard, header"),
    ("bring|brings|brought|lead back|led back|leads back", "convert, transpose, permute"),
    ("matrix product|matrix products|product|products", "matrix multiplication, GEMM"),
    ("remember|remembers|remembered|computed again", "saved, recomputed"),
    ("log sums|log sum", "log-sum-exp"),
    ("odd", "outlier"),
    ("look at|looks at|looked at|looking at", "index, lookup, inspect, read"),
    ("read again|reads again", "reread"),
    ("room", "size budget, disk space"),
    ("taken", "supported, accepted"),
    ("does not do|do not do|is no|are no|is none", "fails, is invalid, is not supported, is not a"),
    (
        "colour|colours|coloured|grey|licence|licences|optimise|optimised|optimiser|normalised|favour",
        "American spelling",
    ),
];

/// Phrases in which a word of the list is the standard term.
const ALLOWED: &[&str] = &[
    // The name of the Hugging Face format.
    "image folder",
    "image folders",
    // A number of things, which is not a dataset.
    "a set of",
    "the set of",
    // Negated existence, which is not "is not a".
    "there is no",
    "there are no",
    // Idioms without a better word.
    "one place",
    "only place",
    "in place",
    "in place of",
    "takes place",
    // In the name of a sanitizer.
    "address sanitizer",
    // The class of transformers that prepares images.
    "hugging face processor",
    // The description of a model on Hugging Face.
    "model card",
    // The value of Axolotl's `train_on_eos`, behind words that are names.
    "type turn",
    "turn split",
];

/// One line for each misused term: where it is, and what to write.
pub fn misused(text: &Text) -> Vec<String> {
    let words = words(&text.text);
    let mut allowed = vec![false; words.len()];
    for phrase in ALLOWED {
        for at in occurrences(&words, phrase) {
            allowed[at..at + phrase.split(' ').count()].fill(true);
        }
    }
    let mut found = Vec::new();
    for (wrong, right) in TERMS {
        for phrase in wrong.split('|') {
            for at in occurrences(&words, phrase).filter(|&at| !allowed[at]) {
                let around = &words[at.saturating_sub(4)..(at + 6).min(words.len())];
                let around: Vec<&str> = around.iter().map(|word| word.text.as_str()).collect();
                let (name, line) = (&text.name, words[at].line);
                found.push(format!("{name}:{line}: `{phrase}` in \"{}\"; write {right}", around.join(" ")));
            }
        }
    }
    found
}

struct Word {
    text: String,
    line: usize,
}

/// The words in lower case, without what is not prose: code in backticks, placeholders in braces, flags, paths and rules.
fn words(text: &str) -> Vec<Word> {
    let mut out = Vec::new();
    let mut code = false;
    for (number, line) in text.lines().enumerate() {
        // Code in backticks may run over a line break, but not over a paragraph.
        code &= !line.trim().is_empty();
        for (index, piece) in line.split('`').enumerate() {
            code ^= index > 0;
            if !code {
                let prose = piece.split_whitespace().filter(|word| !is_name(word));
                out.extend(prose.flat_map(split).map(|text| Word { text, line: number + 1 }));
            }
        }
    }
    out
}

/// Whether a word is a flag, a path, a rule or an assignment.
fn is_name(word: &str) -> bool {
    let bare = word.trim_matches(|letter: char| !letter.is_alphanumeric());
    let is_rule =
        || rules::ALL.iter().any(|rule| rule.id == bare || rule.id.strip_prefix("image-") == Some(bare));
    word.trim_start_matches(['(', '[']).starts_with("--")
        || word.contains(['/', '=', '_', '{', '}'])
        || (bare.contains('.') && !bare.contains(".."))
        || word.contains("[") && word.contains("]")
        || bare.contains('-') && is_rule()
}

fn split(word: &str) -> impl Iterator<Item = String> {
    let parts = word.split(|letter: char| !letter.is_alphanumeric() && !matches!(letter, '\'' | '-'));
    parts.map(|part| part.trim_matches('-')).filter(|part| !part.is_empty()).map(str::to_lowercase)
}

/// Where the words of a phrase follow each other.
fn occurrences(words: &[Word], phrase: &str) -> impl Iterator<Item = usize> {
    let phrase: Vec<&str> = phrase.split(' ').collect();
    words
        .windows(phrase.len())
        .enumerate()
        .filter(|(_, window)| window.iter().zip(&phrase).all(|(word, wanted)| word.text == *wanted))
        .map(|(at, _)| at)
        .collect::<Vec<_>>()
        .into_iter()
}

#[test]
fn finds_terms_in_prose_only() {
    let found = |text: &str| misused(&Text { name: "a".to_owned(), text: text.to_owned() }).len();
    assert_eq!(found("The Pictures were left\nout of the folder."), 3);
    assert_eq!(
        found("Use `pictures` in an image folder with --image-folder, image-odd-size or docs/picture.md."),
        0
    );
}
