//! `files`, `jobs`, `models` and `chat` against a server.

use super::{Server, served};

#[test]
fn the_workflow_on_the_command_line() {
    let (case, _) = served();
    let server = Server::start(&case, &[]);
    let url = format!("http://{}/mistral", server.address);
    let run = |arguments: &[&str]| case.run(&[arguments, &["--base-url", &url]].concat());
    let dry = run(&[
        "jobs",
        "create",
        "--model",
        "tiny",
        "--training-file",
        "train.jsonl",
        "--steps",
        "3",
        "--dry-run",
    ]);
    assert!(dry.stdout.contains("training_steps") && dry.code == 0, "{}{}", dry.stdout, dry.stderr);
    let made = run(&[
        "jobs",
        "create",
        "--model",
        "tiny",
        "--training-file",
        "train.jsonl",
        "--steps",
        "3",
        "--watch",
    ]);
    assert_eq!(made.code, 0, "{}{}", made.stdout, made.stderr);
    assert!(made.stdout.contains("Step 1/3: training loss="), "{}", made.stdout);
    let model = made.stdout.lines().last().unwrap().strip_prefix("model  ").unwrap().to_owned();
    let answer = run(&["chat", &model, "--prompt", "say hello", "--max-tokens", "4"]);
    assert!(answer.code == 0 && answer.stdout.len() > 1, "{}", answer.stderr);
    assert!(run(&["models", "list"]).stdout.contains(&model));
    assert!(run(&["jobs", "list"]).stdout.contains("SUCCESS"));
    assert_eq!(run(&["models", "delete", &model]).code, 0);

    let shards = run(&["files", "upload", "train.jsonl", "--shard-size", "3kB"]);
    assert!(shards.stdout.lines().count() > 1, "{}{}", shards.stdout, shards.stderr);
    let id = shards.stdout.lines().next().unwrap();
    assert_eq!(run(&["files", "download", id, "--out", "first.jsonl"]).code, 0);
    let whole = std::fs::read(case.path("train.jsonl")).unwrap();
    assert!(whole.starts_with(&std::fs::read(case.path("first.jsonl")).unwrap()));
    assert!(run(&["files", "show", id]).stdout.contains("train-00001-of-"));
    assert_eq!(run(&["files", "delete", id]).code, 0);
    let gone = run(&["files", "show", id]);
    assert!(gone.code == 2 && gone.stderr.contains("there is no file with the id"), "{}", gone.stderr);
}

#[test]
fn an_upload_goes_on_after_the_server_was_gone() {
    let (case, samples) = served();
    let content = samples.concat().repeat(40);
    case.write("large.jsonl", &content);
    let server = Server::start(&case, &[]);
    let address = server.address.clone();
    let upload = || {
        let base = format!("http://{address}/openai");
        case.run(&["files", "upload", "large.jsonl", "--part-size", "2kB", "--base-url", &base])
    };
    let state = case.path("large.jsonl.upload");
    let parts = || std::fs::read_to_string(&state).map_or(0, |state| state.matches("\"part-").count());
    let (broken, known) = std::thread::scope(|scope| {
        let uploading = scope.spawn(upload);
        while parts() < 2 && !uploading.is_finished() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        server.kill();
        (uploading.join().unwrap(), parts())
    });
    assert!(broken.code == 2 && broken.stderr.contains("cannot reach"), "{}", broken.stderr);
    assert!(known >= 2 && known < content.len() / 2000, "{known}");
    let server = Server::start_at(&case, &address, &[], &[]);
    let done = upload();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("large.jsonl: an interrupted upload continues"), "{}", done.stderr);
    assert_eq!(server.get(&format!("/openai/v1/files/{}/content", done.stdout.trim())).body, content);
    assert!(!case.path("large.jsonl.upload").exists());
    // The parts that were there were not sent again.
    let metrics = server.get("/metrics").body;
    let is_part = |line: &&str| line.starts_with("pixtune_requests_total") && line.contains("/parts");
    let line = metrics.lines().find(is_part).unwrap_or(&metrics);
    let sent: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert_eq!(sent + known, content.len().div_ceil(2000), "{line}");
}

#[test]
fn an_upload_starts_over_if_its_file_has_changed() {
    let (case, samples) = served();
    let server = Server::start(&case, &[]);
    case.write("large.jsonl", samples.concat().repeat(4));
    let base = format!("http://{}/openai", server.address);
    let known = format!(
        "{{\"upload\":\"upload_1\",\"base\":\"{base}/v1\",\"purpose\":\"fine-tune\",\"bytes\":5000,\"modified\":1,\
         \"part\":2000,\"parts\":[\"part-1\"]}}"
    );
    case.write("large.jsonl.upload", &known);
    let done = case.run(&["files", "upload", "large.jsonl", "--part-size", "2kB", "--base-url", &base]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let note = "large.jsonl: an interrupted upload of it starts over: the file has changed since";
    assert!(done.stderr.contains(note), "{}", done.stderr);
}

#[test]
fn failures_name_the_way_out() {
    let (case, _) = served();
    let nobody = case.run(&["jobs", "list", "--base-url", "http://127.0.0.1:9"]);
    assert!(nobody.code == 2 && nobody.stderr.contains("pixtune serve"), "{}", nobody.stderr);
    let server = Server::start(&case, &["--max-upload", "1kB"]);
    let url = format!("http://{}", server.address);
    let large = case.run(&["files", "upload", "train.jsonl", "--base-url", &url]);
    assert!(large.code == 2 && large.stderr.contains("--shard-size"), "{}", large.stderr);
    case.write("bad.jsonl", "{}\n");
    let bad = case.run(&["files", "upload", "bad.jsonl", "--base-url", &url]);
    assert!(bad.code == 2 && bad.stderr.contains("`messages` is missing"), "{}", bad.stderr);
}
