//! `--tokenizer`: other vocabularies, whole and damaged.

use pixtune_core::json::{self, Value};

use crate::harness::{Case, Run, at, text};

const PATTERN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A `tekken.json` of the 256 bytes and `ab`.
fn tekken(version: &str) -> String {
    tekken_of(version, 100, r#"{"image_patch_size":14,"max_image_size":1540,"spatial_merge_size":2}"#)
}

/// The same with so many special tokens, and with what it says of images.
pub fn tekken_of(version: &str, special: usize, image: &str) -> String {
    let entry = |rank: usize, token: &[u8]| {
        let mut coded = Vec::new();
        pixtune_io::base64::encode(token, &mut coded);
        format!(r#"{{"rank":{rank},"token_bytes":"{}","token_str":null}}"#, String::from_utf8(coded).unwrap())
    };
    let mut entries: Vec<_> = (0..=255_u8).map(|byte| entry(usize::from(byte), &[byte])).collect();
    entries.push(entry(256, b"ab"));
    let size = special + entries.len();
    let pattern = PATTERN.replace('\\', r"\\");
    format!(
        r#"{{"config":{{"pattern":"{pattern}","num_vocab_tokens":300,"default_vocab_size":{size},"default_num_special_tokens":{special},"version":"{version}"}},"image":{image},"vocab":[{}]}}"#,
        entries.join(",")
    )
}

/// One row of text alone, and a tokenizer file beside it.
fn case(tokenizer: impl AsRef<[u8]>) -> Case {
    let case = Case::table("prompt,completion\nab,ba\n");
    case.write("tekken.json", tokenizer);
    case.write(
        "rows.jsonl",
        r#"{"messages":[{"role":"user","content":"ab"},{"role":"assistant","content":"ba"}]}"#,
    );
    case
}

fn manifest(case: &Case) -> Value<'static> {
    json::parse(&case.read("out/manifest.json")).unwrap().value.into_owned()
}

fn prepare(case: &Case, more: &[&str]) -> Run {
    case.prepare(
        &[&["--tokenizer", "tekken.json", "--validation", "0", "--columns", "prompt=prompt"], more].concat(),
    )
}

#[test]
fn counts_with_another_vocabulary_and_names_it() {
    let case = case(tekken("v3"));
    prepare(&case, &[]).ends(0).prints("`tekken.json` divides images differently (patches of 14 pixels");
    let first = manifest(&case);
    // <s> [INST] ab [/INST] b a </s>
    assert_eq!(at(&first, "/tokens/total").to_string(), "7");
    assert!(at(&first, "/tokens").get("special_tokens").is_none());
    assert_eq!(text(&first, "/plan/tokenizer/path"), "tekken.json");
    assert_eq!(text(&first, "/plan/tokenizer/blake3").len(), 64);
    case.write("tekken.json", tekken("v3").replace("300", "301"));
    prepare(&case, &["--force"]).ends(0);
    let other = manifest(&case);
    assert_ne!(text(&other, "/plan/tokenizer/blake3"), text(&first, "/plan/tokenizer/blake3"));
}

#[test]
fn rejects_the_tokenizer_of_another_version() {
    let case = case(tekken("v7"));
    let why = "`tekken.json` is a tokenizer of version v7; the tokenizer of pixtral-12b has version v3";
    prepare(&case, &[]).ends(2).prints(why);
    case.run(&["tokens", "rows.jsonl", "--tokenizer", "tekken.json"]).ends(2).prints(why);
    let model = ["tokens", "rows.jsonl", "--model", "mistral-small-3.1"];
    case.run(&[&model[..], &["--tokenizer", "tekken.json"]].concat()).ends(0);
    case.run(&[&model[..], &["--tokenizer", "ministral-3-8b"]].concat())
        .ends(2)
        .prints("the tokenizer of ministral-3-8b has version v13; that of mistral-small-3.1 has version v7");
    case.run(&[&model[..], &["--layout", "mistral-finetune"]].concat())
        .ends(2)
        .prints("lays out conversations for tokenizer v3");
}

#[test]
fn special_tokens_from_tables_are_in_output_and_manifest() {
    let case = case(tekken("v3"));
    let origin = "from published tables";
    let table = |more: &[&str]| {
        case.prepare(&[&["--model", "mistral-small-3.2", "--validation", "0"], more].concat())
    };
    table(&[]).ends(0).prints(origin);
    assert_eq!(text(&manifest(&case), "/tokens/special_tokens"), origin);
    let run = table(&["--force", "--format", "json"]).ends(0);
    assert!(run.stdout.contains("\"special_tokens\":\"from published tables\""), "{}", run.stdout);
}

#[test]
fn rejects_damaged_tokenizer_files_before_any_work() {
    let whole = tekken("v3");
    let b = r#"{"rank":98,"token_bytes":"Yg==","token_str":null}"#;
    let ab = r#"{"rank":256,"token_bytes":"YWI=","token_str":null}"#;
    assert!(whole.contains(b) && whole.contains(ab));
    for (file, message) in [
        (whole.replace(&format!("{b},"), ""), "declares 357 tokens of which 100 are special, but lists 256"),
        (whole.replace("\"rank\":98", "\"rank\":97"), "entry 98 of the vocabulary has the rank 97"),
        (whole.replace("\"rank\":98,", ""), "has no whole number at `/vocab/98/rank`"),
        (whole.replace("YWI=", "YQ=="), "entries 97 and 256 of the vocabulary have the same bytes"),
        (whole.replace("YWI=", "YW!="), "the bytes `YW!=`, which are not valid base64"),
        (whole.replace(":357", ":999999999999"), "declares 999999999999 tokens"),
        (whole.replace(":100,", ":99999999999999999999999,"), "no whole number at"),
        (whole.replace("v3", "v99"), "the version `v99`; supported are"),
        (whole[..whole.len() / 2].to_owned(), "is not JSON"),
        ("Sign in".to_owned(), "is not JSON"),
        (String::new(), "is not JSON"),
    ] {
        let case = case(file);
        prepare(&case, &[]).ends(2).prints("`tekken.json`: ").prints(message);
        assert!(!case.path("out").exists() && !case.path("out.partial").exists());
        case.run(&["tokens", "rows.jsonl", "--tokenizer", "tekken.json"]).ends(2).prints(message);
    }
    let case = case(b"\xff\xfe{");
    prepare(&case, &[]).ends(2).prints("is not valid UTF-8");
    case.run(&["tokens", "rows.jsonl", "--tokenizer", "."]).ends(2).prints("cannot read `.`");
    case.run(&["tokens", "rows.jsonl", "--tokenizer", "none.json"]).ends(2).prints("cannot read `none.json`");
}

#[cfg(target_os = "linux")]
#[test]
fn rejects_endless_tokenizer_file() {
    let case = case("");
    case.run(&["tokens", "rows.jsonl", "--tokenizer", "/dev/zero"])
        .ends(2)
        .prints("so it is not a tokenizer file");
}
