//! `pixtune adapter`: what people read, how it ends, and what it leaves behind.

use std::fs;

use pixtune_core::json::Value;

use crate::harness::{Case, root, text};
use crate::snapshots::check;

fn fixture(name: &str) -> String {
    root().join("fixtures/tiny_pixtral").join(name).to_str().unwrap().to_owned()
}

#[test]
fn help_texts_match() {
    let case = Case::new();
    for command in ["check", "convert", "merge"] {
        check(
            &format!("adapter/{command}-help.txt"),
            &case.run(&["adapter", command, "--help"]).ends(0).stdout,
        );
    }
    check("adapter/help.txt", &case.run(&["adapter", "--help"]).ends(0).stdout);
}

#[test]
fn verdicts_match_snapshots() {
    let case = Case::new();
    let (adapter, native, hf) = (fixture("lora_all"), fixture("native_bf16"), fixture("hf_bf16"));
    let ask = |base: &str, server: &str, more: &[&str]| {
        let run =
            case.run(&[&["adapter", "check", &adapter, "--base", base, "--server", server], more].concat());
        (run.code, run.stdout)
    };
    for server in ["vllm-mistral", "mistral-inference"] {
        let (code, text) = ask(&native, server, &[]);
        assert_eq!(code, 1);
        check(&format!("adapter/check-{server}.txt"), &text);
    }
    let (code, text) = ask(&native, "vllm-mistral", &["--enable-tower-connector-lora", "--format", "json"]);
    assert_eq!(code, 1);
    check("adapter/check-vllm-mistral.jsonl", &text);
    let (code, text) = ask(&hf, "transformers", &[]);
    assert_eq!(code, 0);
    check("adapter/check-transformers.txt", &text);
}

#[test]
fn conversion_and_merge_summaries_match_snapshots() {
    let case = Case::new();
    let (adapter, hf) = (fixture("lora_all"), fixture("hf_bf16"));
    let run = case.run(&["adapter", "convert", &adapter, "served", "--to", "mistral", "--base", &hf]).ends(0);
    check("adapter/convert-mistral.txt", &format!("{}\n{}", run.stderr, run.stdout));
    let run = case.run(&["adapter", "merge", &hf, &adapter, "merged"]).ends(0);
    check("adapter/merge.txt", &format!("{}\n{}", run.stderr, run.stdout));
    case.run(&["adapter", "merge", &hf, &adapter, "merged"]).ends(2).prints("exists and is not empty");
    case.run(&["adapter", "merge", &hf, &adapter, "merged", "--force"]).ends(0);
    case.run(&["adapter", "convert", &adapter, &adapter, "--to", "peft", "--base", &hf])
        .ends(2)
        .prints("is also the source");
}

#[test]
#[cfg(target_os = "linux")]
fn full_disk_leaves_no_output() {
    let case = Case::new();
    let program = env!("CARGO_BIN_EXE_pixtune");
    let (adapter, hf) = (fixture("lora_all"), fixture("hf_bf16"));
    // A file may not grow beyond 100 kB: to the program that is a full disk.
    let limited = |command: &str| {
        let script = format!("trap '' XFSZ; ulimit -f 100; exec '{program}' adapter {command}");
        let mut shell = std::process::Command::new("bash");
        shell.current_dir(case.path("")).args(["-c", &script]);
        crate::harness::finish(shell).ends(2).prints("cannot write");
    };
    limited(&format!("merge '{hf}' '{adapter}' out"));
    assert_eq!(fs::read_dir(case.path("")).unwrap().count(), 0);
}

/// What becomes of the modules of an adapter, in a few words: `applied`, or area by area.
fn fate(lines: &str) -> String {
    let mut areas: Vec<(String, Vec<String>)> = Vec::new();
    for line in lines.lines() {
        let line = pixtune_core::json::parse(line).unwrap().value.into_owned();
        let Some(area) = line.get("area").and_then(Value::as_str).map(str::to_owned) else { continue };
        let verdict = text(&line, "/verdict");
        match areas.iter_mut().find(|(other, _)| *other == area) {
            Some((_, verdicts)) if verdicts.contains(&verdict) => {}
            Some((_, verdicts)) => verdicts.push(verdict),
            None => areas.push((area, vec![verdict])),
        }
    }
    let all = areas[0].1.clone();
    match areas.iter().all(|(_, verdicts)| *verdicts == all) {
        true => all.join(" and "),
        false => areas
            .iter()
            .map(|(area, verdicts)| format!("{area} {}", verdicts.join(" and ")))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

#[test]
fn adapters_page_matches_check() {
    const START: &str = "<!-- what each server does -->\n";
    let case = Case::new();
    let (native, hf) = (fixture("native_bf16"), fixture("hf_bf16"));
    let dialects = ["peft", "peft-legacy", "mistral", "vllm-consolidated"];
    for dialect in dialects {
        let source = fixture("lora_all");
        case.run(&["adapter", "convert", &source, dialect, "--to", dialect, "--base", &hf]).ends(0);
    }
    let mut table =
        format!("| server | {} |\n|---|---|---|---|---|\n", dialects.map(|d| format!("`{d}`")).join(" | "));
    let flag = "--enable-tower-connector-lora";
    for (server, base, more) in [
        ("vllm-hf", &hf, &[][..]),
        ("vllm-hf", &hf, &[flag]),
        ("vllm-mistral", &native, &[]),
        ("vllm-mistral", &native, &[flag]),
        ("mistral-inference", &native, &[]),
        ("transformers", &hf, &[]),
        ("transformers-4.57", &hf, &[]),
        ("transformers-legacy", &hf, &[]),
        ("llama.cpp", &native, &[]),
    ] {
        let ask = |dialect: &str| {
            let args = ["adapter", "check", dialect, "--base", base, "--server", server, "--from", dialect];
            fate(&case.run(&[&args[..], &["--format", "json"], more].concat()).stdout)
        };
        let flags: String = more.iter().map(|flag| format!(" `{flag}`")).collect();
        table += &format!("| `{server}`{flags} | {} |\n", dialects.map(ask).join(" | "));
    }
    let path = root().join("docs/adapters.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(START).unwrap();
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    let wanted = format!("{before}{START}{table}<!-- end -->{after}");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    assert_eq!(page, wanted, "UPDATE_SNAPSHOTS=1 writes docs/adapters.md");
}

/// A copy of the fixture's adapter in `name`.
fn copy(case: &Case, name: &str) {
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        case.write(&format!("{name}/{file}"), fs::read(format!("{}/{file}", fixture("lora_all"))).unwrap());
    }
}

#[test]
fn weights_beside_the_adapter_are_never_dropped() {
    let case = Case::new();
    let hf = fixture("hf_bf16");
    copy(&case, "tuned");
    case.write("tuned/non_lora_trainables.bin", "weights");
    let ask = ["adapter", "check", "tuned", "--base", &hf, "--server", "transformers"];
    let run = case.run(&ask).ends(1);
    assert!(
        run.stdout.contains("problem: `non_lora_trainables.bin` lies beside the adapter"),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains("37 of 37 modules applied, 1 problem"), "{}", run.stdout);
    let merge = ["adapter", "merge", &hf, "tuned", "merged"];
    case.run(&merge).ends(2).prints("`non_lora_trainables.bin`").prints("--ignore-other-weights");
    case.run(&[&merge[..], &["--ignore-other-weights"]].concat())
        .ends(0)
        .prints("warning: `non_lora_trainables.bin` has weights that are not applied");
    let convert = ["adapter", "convert", "tuned", "converted", "--to", "peft-legacy", "--base", &hf];
    case.run(&convert).ends(2).prints("`non_lora_trainables.bin`");
    case.run(&[&convert[..], &["--ignore-other-weights"]].concat()).ends(0);
}

#[test]
fn max_lora_rank_takes_what_vllm_takes() {
    let case = Case::new();
    let (adapter, hf) = (fixture("lora_all"), fixture("hf_bf16"));
    let ask = |rank: &str| {
        case.run(&[
            "adapter",
            "check",
            &adapter,
            "--base",
            &hf,
            "--server",
            "vllm-hf",
            "--max-lora-rank",
            rank,
        ])
    };
    ask("92").ends(2).prints("vLLM does not accept --max-lora-rank 92: the next that it accepts is 128");
    ask("600").ends(2).prints("its largest is 512");
    ask("320").ends(1);
}

#[test]
fn paths_that_are_no_adapter_name_the_next_step() {
    let case = Case::new();
    let hf = fixture("hf_bf16");
    let ask =
        |path: &str| case.run(&["adapter", "check", path, "--base", &hf, "--server", "vllm-hf"]).ends(2);
    case.write("run/plan.json", "{}");
    copy(&case, "run/adapter");
    let run = case.run(&["adapter", "check", "run", "--base", &hf, "--server", "vllm-hf"]);
    run.prints("checking `run/adapter`, the newest adapter of the run");
    ask("mistral-community/pixtral-12b")
        .prints("hint: pixtune downloads nothing: run `hf download mistral-community/pixtral-12b");
    case.write(
        "lfs/adapter_config.json",
        fs::read(format!("{}/adapter_config.json", fixture("lora_all"))).unwrap(),
    );
    case.write(
        "lfs/adapter_model.safetensors",
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 99\n",
    );
    ask("lfs").prints("is a Git LFS pointer to a file of 99 bytes").prints("hint: run `git lfs pull`");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../../blobs/abc", case.path("link")).unwrap();
        ask("link").prints("it is a link to `../../blobs/abc`, which does not exist").prints("hf download");
        copy(&case, "snapshot");
        fs::remove_file(case.path("snapshot/adapter_model.safetensors")).unwrap();
        std::os::unix::fs::symlink("gone", case.path("snapshot/adapter_model.safetensors")).unwrap();
        ask("snapshot").prints("it is a link to `gone`, which does not exist");
    }
    let merge = |base: &str| case.run(&["adapter", "merge", base, "run/adapter", "merged"]).ends(2);
    merge("run/adapter").prints("it is an adapter").prints("give its base model here");
    case.write("file", "x");
    case.run(&["adapter", "merge", &hf, "run/adapter", "file"]).ends(2).prints("choose another DST");
}
