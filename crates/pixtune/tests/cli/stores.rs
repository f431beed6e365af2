//! Inputs in object stores and on web servers, against a server in the test.

mod server;

use std::fs;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use server::{Fault, Store};

use crate::harness::{Case, Run, finish, root};

const PREPARE: [&str; 4] = ["--out", "out", "--validation", "0"];

fn prepare(store: &Store, case: &Case, inputs: &[&str], more: &[&str]) -> Run {
    store.run(case, &[&["prepare"], inputs, &PREPARE, more].concat())
}

/// The output without the names of inputs, which differ.
fn samples(case: &Case) -> Vec<u8> {
    fs::read(case.path("out/train.jsonl")).unwrap()
}

const TABLE: &str = "image,prompt,completion\nimages/a.png,What is it?,a\nimages/b.jpg,And this?,b\n";

/// A table beside two images.
fn table(store: &Store, directory: &str) {
    store.put(&format!("{directory}/data.csv"), TABLE);
    store.fixture(&format!("{directory}/images/a.png"), "images/grad_64x48.png");
    store.fixture(&format!("{directory}/images/b.jpg"), "images/gray_200x120.jpg");
}

/// What the same table beside the same images gives on disk.
fn expected() -> Vec<u8> {
    let case = Case::new();
    case.write("data.csv", TABLE);
    case.fixture("images/a.png", "grad_64x48.png");
    case.fixture("images/b.jpg", "gray_200x120.jpg");
    case.run(&[&["prepare", "data.csv"], &PREPARE[..]].concat()).ends(0);
    samples(&case)
}

#[test]
fn tables_and_images_come_from_buckets_and_web_servers() {
    let (store, expected) = (Store::new(), expected());
    table(&store, "bucket/set");
    for url in ["s3://bucket/set/data.csv".to_owned(), format!("{}/bucket/set/data.csv", store.address)] {
        let case = Case::new();
        prepare(&store, &case, &[&url], &[]).ends(0);
        assert_eq!(samples(&case), expected, "{url}");
        let fetched = ["--force", "--fetch", "--fetch-private", "--fetch-cache", "cache"];
        prepare(&store, &case, &[&url], &fetched).ends(0);
        assert_eq!(samples(&case), expected, "{url} with --fetch");
        let manifest = case.read("out/manifest.json");
        assert!(manifest.contains(r#""version": "\"1\"""#), "{manifest}");
    }
}

#[test]
fn failures_that_pass_do_not_change_the_output() {
    for fault in [Fault::Errors, Fault::Resets] {
        let (store, expected) = (Store::new(), expected());
        table(&store, "bucket/set");
        for name in ["data.csv", "images/a.png", "images/b.jpg"] {
            store.fails(&format!("bucket/set/{name}"), fault);
        }
        for url in ["s3://bucket/set/data.csv".to_owned(), format!("{}/bucket/set/data.csv", store.address)] {
            let case = Case::new();
            prepare(&store, &case, &[&url], &[]).ends(0);
            assert_eq!(samples(&case), expected, "{url}");
        }
    }
}

/// Files of every format, from disk and from the store.
#[test]
fn every_format_is_read_from_a_bucket() {
    let store = Store::new();
    let directory = root().join("fixtures/formats");
    for entry in fs::read_dir(directory.join("images")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        store.put(&format!("bucket/images/{name}"), fs::read(&path).unwrap());
    }
    let mut compared = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_read =
            ["parquet", "arrow", "feather", "tar", "zip", "gz", "zst", "tgz", "xlsx", "csv", "jsonl"]
                .iter()
                .any(|extension| name.ends_with(extension));
        if !is_read {
            continue;
        }
        store.put(&format!("bucket/{name}"), fs::read(&path).unwrap());
        let (local, remote) = (Case::new(), Case::new());
        let run = |case: &Case, input: &str| prepare(&store, case, &[input], &[]);
        let (here, there) =
            (run(&local, path.to_str().unwrap()), run(&remote, &format!("s3://bucket/{name}")));
        assert_eq!((here.code, there.code), (0, 0), "{name}: {}{}", here.stderr, there.stderr);
        assert_eq!(samples(&local), samples(&remote), "{name}");
        compared += 1;
    }
    assert!(compared > 30, "{compared} files");
}

#[test]
fn prefixes_and_patterns_stand_for_objects() {
    let store = Store::new();
    for split in ["train", "validation"] {
        store.put(&format!("bucket/set/{split}-00000-of-00001.jsonl"), chat(split));
        store.put(&format!("bucket/set/{split}-00000-of-00001.json.bak"), "x");
    }
    store.put("bucket/set/deeper/train-1.jsonl", chat("deeper"));
    let case = Case::new();
    prepare(&store, &case, &["s3://bucket/set/*.jsonl"], &[]).ends(0);
    assert_eq!(case.read("out/train.jsonl").lines().count(), 1);
    assert_eq!(case.read("out/validation.jsonl").lines().count(), 1);
    prepare(&store, &case, &["s3://bucket/set/none-*.jsonl"], &["--force"])
        .ends(2)
        .prints("nothing matches `s3://bucket/set/none-*.jsonl`");
    prepare(&store, &case, &["s3://bucket/set/"], &["--force"]).ends(2).prints("no metadata.csv");
    let web = format!("{}/bucket/set/", store.address);
    prepare(&store, &case, &[&web], &["--force"]).ends(2).prints("a web server has no list of its files");
    let run = store.run(&case, &["tokens", "s3://bucket/set/"]).ends(0);
    assert!(run.stdout.contains("samples         3"), "{}", run.stdout);
}

fn chat(text: &str) -> String {
    format!(
        r#"{{"messages":[{{"role":"user","content":"What is {text}?"}},{{"role":"assistant","content":"a {text}"}}]}}"#
    ) + "\n"
}

#[test]
fn other_commands_read_objects() {
    let store = Store::new();
    store.put("bucket/train.jsonl", chat("one") + &chat("two"));
    let case = Case::new();
    case.write("train.jsonl", chat("one") + &chat("two"));
    for command in [&["tokens"][..], &["check", "--format", "json"], &["stats", "--format", "json"]] {
        let here = case.run(&[command, &["train.jsonl"]].concat()).ends(0);
        for url in ["s3://bucket/train.jsonl".to_owned(), format!("{}/bucket/train.jsonl", store.address)] {
            let there = store.run(&case, &[command, &[&url]].concat()).ends(0);
            let names = ["s3://bucket/train.jsonl", "http://server/bucket/train.jsonl"];
            let shown = names.iter().fold(there.stdout, |text, name| text.replace(name, "train.jsonl"));
            assert_eq!(shown, here.stdout, "{command:?} {url}");
        }
    }
}

#[test]
fn refusals_of_the_store_are_explained() {
    let store = Store::new();
    let case = Case::new();
    store.put("bucket/x.csv", TABLE);
    for (status, code, expected) in [
        (403, "AccessDenied", "access is denied (AccessDenied: as the test wants)"),
        (400, "ExpiredToken", "the credentials have expired (ExpiredToken: as the test wants)"),
        (403, "InvalidAccessKeyId", "the credentials are not accepted (InvalidAccessKeyId"),
        (404, "NoSuchBucket", "there is no such bucket"),
        (301, "PermanentRedirect", "the bucket is in another region"),
    ] {
        store.fails("bucket/x.csv", Fault::Refuses(status, code));
        let run = prepare(&store, &case, &["s3://bucket/x.csv"], &[]).ends(2);
        assert!(run.stderr.contains("cannot read `s3://bucket/x.csv`"), "{code}: {}", run.stderr);
        assert!(run.stderr.contains(expected), "{code}: {}", run.stderr);
        assert!(!case.path("out").exists() && !case.path("out.partial").exists(), "{code}");
    }
    prepare(&store, &case, &["s3://bucket/y.csv"], &[]).ends(2).prints("there is no such object");
    let mut command = store.command(&case, &[&["prepare", "s3://bucket/x.csv"], &PREPARE[..]].concat());
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    finish(command)
        .ends(2)
        .prints("there are no credentials: neither the environment nor ~/.aws/credentials has any");
}

#[test]
fn servers_that_fail_for_good_end_the_run() {
    let store = Store::new();
    let case = Case::new();
    store.put("x.csv", TABLE);
    let url = format!("{}/x.csv", store.address);
    for (fault, expected) in [
        (Fault::Circle, "more than 5 redirects"),
        (Fault::Endless, "the server does not state its length"),
        (Fault::Refuses(403, ""), "access is denied (status 403)"),
        (Fault::Refuses(404, ""), "there is no such file"),
    ] {
        store.fails("x.csv", fault);
        let before = store.requests();
        prepare(&store, &case, &[&url], &[]).ends(2).prints(expected);
        assert!(store.requests() - before < 10, "{expected}");
    }
    store.put("page.csv", "<!DOCTYPE html><html><body>log in</body></html>");
    let url = format!("{}/page.csv", store.address);
    prepare(&store, &case, &[&url], &[]).ends(2).prints("is a web page (HTML)");
}

#[test]
fn an_object_that_changes_ends_the_run() {
    let store = Store::new();
    let case = Case::new();
    // More than what is requested at once.
    let rows: String = (0..60_000).map(|row| chat(&format!("{row} {}", "x".repeat(40)))).collect();
    store.put("bucket/x.jsonl", rows);
    store.fails("bucket/x.jsonl", Fault::Changes);
    for url in ["s3://bucket/x.jsonl".to_owned(), format!("{}/bucket/x.jsonl", store.address)] {
        store.shared.requests.store(0, Ordering::SeqCst);
        let run = prepare(&store, &case, &[&url], &["--dedup", "off", "--force"]).ends(2);
        assert!(run.stderr.contains("it changed while it was read"), "{}", run.stderr);
        assert!(!case.path("out").exists());
    }
}

#[test]
fn servers_without_ranges_send_text_and_no_parquet() {
    let store = Store::new();
    let case = Case::new();
    let rows: String = (0..40_000).map(|row| chat(&format!("{row} {}", "x".repeat(100)))).collect();
    store.put("x.jsonl", rows.clone());
    store.fails("x.jsonl", Fault::Whole);
    prepare(&store, &case, &[&format!("{}/x.jsonl", store.address)], &["--dedup", "off"]).ends(0);
    assert_eq!(case.read("out/train.jsonl").lines().count(), 40_000);
    assert!(
        store.shared.bytes.load(Ordering::SeqCst) < 3 * rows.len(),
        "the file is not sent again for each part"
    );
    store.put("x.parquet", [b"PAR1".to_vec(), vec![0; 5 << 20]].concat());
    store.fails("x.parquet", Fault::Whole);
    prepare(&store, &case, &[&format!("{}/x.parquet", store.address)], &["--force"])
        .ends(2)
        .prints("the server sends whole files only, and a Parquet file is read in parts");
}

#[test]
fn images_in_a_bucket_need_fetch_where_a_row_names_the_bucket() {
    let store = Store::new();
    table(&store, "bucket/set");
    let case = Case::new();
    case.write("rows.csv", "image,prompt,completion\ns3://bucket/set/images/a.png,What?,a\n");
    let run = prepare(&store, &case, &["rows.csv"], &[]).ends(1);
    assert!(run.stderr.contains("is in an object store"), "{}", run.stderr);
    let fetch = ["--force", "--fetch", "--fetch-cache", "cache"];
    prepare(&store, &case, &["rows.csv"], &fetch).ends(0);
    case.write("rows.csv", "image,prompt,completion\ns3://bucket/set/none.png,What?,a\n");
    let run = prepare(&store, &case, &["rows.csv"], &fetch).ends(1);
    assert!(run.stderr.contains("there is no such object"), "{}", run.stderr);
    store.fails("bucket/set/images/b.jpg", Fault::Refuses(400, "ExpiredToken"));
    case.write("rows.csv", "image,prompt,completion\ns3://bucket/set/images/b.jpg,What?,a\n");
    prepare(&store, &case, &["rows.csv"], &fetch[..]).ends(2).prints("the credentials have expired");
    fs::remove_dir_all(case.path("out")).unwrap();
    store.fails("bucket/set/images/b.jpg", Fault::Errors);
    let resume = ["--resume", "--fetch", "--fetch-cache", "cache"];
    prepare(&store, &case, &["rows.csv"], &resume).ends(0);
}

#[test]
fn a_killed_run_over_a_bucket_is_resumed() {
    let store = Store::new();
    let case = Case::new();
    let mut rows = "image,prompt,completion\n".to_owned();
    for row in 0..120 {
        store.fixture(&format!("bucket/images/{row}.jpg"), "images/gray_200x120.jpg");
        rows.push_str(&format!("images/{row}.jpg,question {row}?,answer {row}\n"));
    }
    store.put("bucket/data.csv", rows);
    let input = ["s3://bucket/data.csv"];
    prepare(&store, &case, &input, &[]).ends(0);
    let expected = case.output();
    for moment in [30, 80, 150, 250] {
        fs::remove_dir_all(case.path("out")).unwrap();
        let mut command = store.command(&case, &[&["prepare"], &input[..], &PREPARE].concat());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        child.wait().unwrap();
        prepare(&store, &case, &input, &["--resume"]).ends(0);
        assert_eq!(case.output(), expected, "killed after {moment} ms");
    }
}

#[test]
fn signatures_of_urls_are_not_shown() {
    let store = Store::new();
    store.put("x.jsonl", chat("one"));
    let case = Case::new();
    let url = format!("{}/x.jsonl?X-Amz-Signature=abcdef&part=1", store.address);
    let run = prepare(&store, &case, &[&url], &["--format", "json"]).ends(0);
    let shown: String =
        case.output().values().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
    assert!(!shown.contains("abcdef") && !run.stdout.contains("abcdef") && !run.stderr.contains("abcdef"));
    assert!(shown.contains("X-Amz-Signature=…&part=1"), "{shown}");
    store.fails("x.jsonl", Fault::Refuses(403, ""));
    let run = prepare(&store, &case, &[&url], &["--force"]).ends(2);
    assert!(!run.stderr.contains("abcdef"), "{}", run.stderr);
}
