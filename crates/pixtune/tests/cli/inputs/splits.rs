//! Splits that a dataset comes with.

use pixtune_core::json::{self, Value};

use super::{prepare, samples};
use crate::harness::Case;

const SPLIT_ROWS: &str = "prompt,completion,split\np1,c1,train\np2,c2,val\np3,c3,test\np4,c4,train\n";

#[test]
fn keeps_splits_that_a_column_names() {
    let (case, run) = prepare("data.csv", SPLIT_ROWS, &[]);
    run.ends(0).prints("kept the splits in column `split`");
    assert_eq!(samples(&case, "out/train.jsonl"), ["user:p1|assistant:c1", "user:p4|assistant:c4"]);
    assert_eq!(samples(&case, "out/validation.jsonl"), ["user:p2|assistant:c2"]);
    assert!(!case.path("out/test.jsonl").exists());
    let manifest = json::parse(&case.read("out/manifest.json")).unwrap().value.into_owned();
    assert_eq!(manifest.get("counts").unwrap().get("test"), Some(&Value::Number("1".into())));

    let (case, run) = prepare("data.csv", SPLIT_ROWS, &["--write-test"]);
    run.ends(0);
    assert_eq!(samples(&case, "out/test.jsonl"), ["user:p3|assistant:c3"]);

    let (case, run) = prepare("data.csv", SPLIT_ROWS, &["--split", "random"]);
    run.ends(0).prints("`--split` overrides the splits in column `split`");
    assert_eq!(samples(&case, "out/train.jsonl").len(), 4);

    let rows = SPLIT_ROWS.replace("p4,c4,train", "p4,c4,north");
    let (case, run) = prepare("data.csv", &rows, &["--columns", "split=split"]);
    run.ends(1);
    assert_eq!(case.rejected(), ["wrong-type"]);
}

#[test]
fn keeps_splits_of_conversations() {
    let row = |n: u32, split: &str| {
        format!(
            r#"{{"messages":[{{"role":"user","content":"q{n}"}},{{"role":"assistant","content":"a{n}"}}],"split":"{split}"}}"#
        ) + "\n"
    };
    let (case, run) =
        prepare("rows.jsonl", &(row(1, "train") + &row(2, "validation") + &row(3, "test")), &[]);
    run.ends(0);
    assert_eq!(samples(&case, "out/train.jsonl"), ["user:q1|assistant:a1"]);
    assert_eq!(samples(&case, "out/validation.jsonl"), ["user:q2|assistant:a2"]);
}

#[test]
fn keeps_splits_that_directories_and_files_name() {
    let case = Case::new();
    case.images();
    for (split, image, caption) in
        [("train", "a.png", "a gradient"), ("validation", "c.png", "noise"), ("test", "b.jpg", "gray")]
    {
        case.write(&format!("folder/{split}/{image}"), std::fs::read(case.path(image)).unwrap());
        let row = format!("{{\"file_name\":\"{image}\",\"text\":\"{caption}\"}}\n");
        case.write(&format!("folder/{split}/metadata.jsonl"), row);
    }
    case.run(&["prepare", "folder", "--out", "out"])
        .ends(0)
        .prints("kept the test split that its path names");
    assert_eq!(samples(&case, "out/train.jsonl"), ["user:<image>|assistant:a gradient"]);
    assert_eq!(samples(&case, "out/validation.jsonl"), ["user:<image>|assistant:noise"]);

    let case = Case::new();
    case.write("vqa_train.csv", "prompt,completion\np1,c1\n");
    case.write("vqa_test.csv", "prompt,completion\np2,c2\n");
    case.run(&["prepare", "vqa_train.csv", "vqa_test.csv", "--out", "out", "--validation", "0"]).ends(0);
    assert_eq!(samples(&case, "out/train.jsonl"), ["user:p1|assistant:c1"]);
    // The only file is what the user wants, whatever its name.
    case.run(&["prepare", "vqa_test.csv", "--out", "only", "--validation", "0"]).ends(0);
    assert_eq!(samples(&case, "only/train.jsonl"), ["user:p2|assistant:c2"]);
}

#[test]
fn reports_leaks_between_splits_and_leaves_them() {
    let rows = "image,prompt,completion,split\na.png,p1,c1,train\na.png,p2,c2,test\n,p3,c3,train\n,p3,c3,validation\n";
    let (case, run) = prepare("data.csv", rows, &["--ignore", "image"]);
    let run = run.ends(0).prints("an image of this training sample is in the test split too: data.csv:3");
    run.prints("text of this training sample is in the validation split too: data.csv:5");
    assert_eq!(samples(&case, "out/train.jsonl").len(), 2);
}
