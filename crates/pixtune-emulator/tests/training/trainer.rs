//! The training loop: batches, schedule, clipping, evaluations, checkpoints, and a run that is stopped and resumed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use pixtune_core::diagnostic::Diagnostic;
use pixtune_core::metrics::{EvaluationRecord, StepRecord};
use pixtune_cuda::CudaKernels;
use pixtune_emulator::Emulator;
use pixtune_evaluate::References;
use pixtune_infer::{ModelDirectory, TokenizerSource};
use pixtune_model::network::{LoraConfig, Network, NetworkOptions, Targets};
use pixtune_train::TrainError;
use pixtune_train::checkpoint::restore;
use pixtune_train::data::{Dataset, Indexing};
use pixtune_train::directory::{RunDirectory, Start};
use pixtune_train::plan::RunPlan;
use pixtune_train::settings::{InvalidSamples, Length, Settings};
use pixtune_train::state::{Overfitting, RunState};
use pixtune_train::trainer::{Observer, Run, Summary, train};

use super::fixture::repository;

/// Keeps the losses, and stops the run after a step.
struct Watch<'w> {
    losses: Vec<f64>,
    evaluations: Vec<f64>,
    recomputing: Vec<u64>,
    stop_after: Option<u64>,
    stop: &'w AtomicBool,
}

impl<'w> Watch<'w> {
    fn new(stop: &'w AtomicBool, stop_after: Option<u64>) -> Watch<'w> {
        stop.store(false, Ordering::Relaxed);
        Watch { losses: vec![], evaluations: vec![], recomputing: vec![], stop_after, stop }
    }
}

impl Indexing for Watch<'_> {
    fn finding(&mut self, diagnostic: &Diagnostic) {
        panic!("{diagnostic:?}");
    }

    fn read(&mut self, _: u64, _: u64) {}
}

impl Observer for Watch<'_> {
    fn finding(&mut self, diagnostic: &Diagnostic) {
        panic!("{diagnostic:?}");
    }

    fn step(&mut self, record: &StepRecord, _: &RunPlan) {
        self.losses.push(record.loss);
        self.stop.store(self.stop_after == Some(record.step), Ordering::Relaxed);
    }

    fn evaluating(&mut self, _: usize, _: usize) {}

    fn evaluation(&mut self, record: &EvaluationRecord, _: bool) {
        self.evaluations.push(record.valid_loss);
    }

    fn overfitting(&mut self, _: &Overfitting) {}

    fn recomputing(&mut self, step: u64) {
        self.recomputing.push(step);
    }
}

/// A directory with the tiny model and its tokenizer, and samples of text and of an image.
fn case() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| {
        fs::copy(repository().join("fixtures").join(from), directory.path().join(to)).map(drop).unwrap();
    };
    fs::create_dir(directory.path().join("model")).unwrap();
    for file in ["config.json", "model.safetensors"] {
        copy(&format!("tiny_pixtral/hf_bf16/{file}"), &format!("model/{file}"));
    }
    copy("tiny_tekken/tekken.json", "model/tekken.json");
    let mut coded = Vec::new();
    let image = fs::read(repository().join("fixtures/images/noise_32x32.png")).unwrap();
    pixtune_io::base64::encode(&image, &mut coded);
    let coded = String::from_utf8(coded).unwrap();
    let sample = |image: &str, question: &str, answer: &str| {
        format!(
            r#"{{"messages":[{{"role":"user","content":[{image}{{"type":"text","text":"{question}"}}]}},{{"role":"assistant","content":"{answer}"}}]}}"#
        ) + "\n"
    };
    let image = format!(r#"{{"type":"image_url","image_url":"data:image/png;base64,{coded}"}},"#);
    let samples = [
        sample(&image, "what is it", "noise"),
        sample("", "say hello", "hello there"),
        sample("", "the end", "of the line"),
    ];
    fs::write(directory.path().join("train.jsonl"), samples.concat()).unwrap();
    directory
}

fn settings(steps: u64) -> Settings {
    Settings {
        lora: LoraConfig {
            rank: 4,
            dropout: 0.1,
            targets: Targets::parse("text+projector").unwrap(),
            ..LoraConfig::default()
        },
        learning_rate: 1e-2,
        length: Length::Steps(steps),
        batch_tokens: 64,
        accumulate: 2,
        warmup: "1".parse().unwrap(),
        weight_decay: 0.1,
        max_grad_norm: 1.0,
        eval_every: Some(4),
        metric: None,
        patience: None,
        save_every: Some(2),
        keep: 1,
        seed: 7,
        invalid_samples: InvalidSamples::Refuse,
        load_in_4bit: false,
        threads: 1,
        cache_bytes: 1 << 20,
    }
}

/// Bytes of the emulated GPU.
const MEMORY: usize = 1 << 30;

/// Runs, or resumes, a training of `steps` steps in `out`.
fn run(
    root: &Path,
    out: &str,
    start: Start,
    steps: u64,
    watch: &mut Watch<'_>,
) -> Result<Summary, TrainError> {
    run_beside(root, out, start, steps, watch, None)
}

/// The same on a GPU of which other processes leave this much once the model is loaded.
fn run_beside(
    root: &Path,
    out: &str,
    start: Start,
    steps: u64,
    watch: &mut Watch<'_>,
    left: Option<usize>,
) -> Result<Summary, TrainError> {
    let model = ModelDirectory::open(&root.join("model"), &TokenizerSource::Directory).unwrap();
    let paths: Vec<PathBuf> = vec![root.join("train.jsonl")];
    let data = Dataset::index(&paths, model.encoder(), 64, 1, watch).unwrap();
    let plan = RunPlan::new(settings(steps), root.join("model"), Vec::new(), &data, Some(&data)).unwrap();
    let is_resumed = matches!(start, Start::Resume);
    let directory = RunDirectory::open(&root.join(out), start).unwrap();
    let kernels = CudaKernels::new(Emulator::with_memory(0, MEMORY));
    let options = NetworkOptions::default();
    let mut network = Network::load(kernels, model.checkpoint(), &plan.settings.lora, options).unwrap();
    if let Some(left) = left {
        let gpu = network.kernels().gpu();
        gpu.occupy(MEMORY - gpu.allocated_bytes() - left);
    }
    let state = match is_resumed {
        true => restore(&directory, &mut network).unwrap(),
        false => RunState::default(),
    };
    directory.write("plan.json", plan.to_json(network.trained_parameters()).as_bytes()).unwrap();
    let run = Run {
        plan: &plan,
        network: &mut network,
        train: &data,
        validation: Some(&data),
        directory: &directory,
        stop: watch.stop,
        events: false,
        examples: 0,
        references: &References::default(),
    };
    train(run, state, watch)
}

fn adapter(root: &Path, out: &str) -> Vec<u8> {
    fs::read(root.join(out).join("adapter/adapter_model.safetensors")).unwrap()
}

#[test]
fn a_stopped_and_resumed_run_ends_with_the_bytes_of_a_whole_one() {
    let directory = case();
    let root = directory.path();
    let stop = AtomicBool::new(false);
    let mut whole = Watch::new(&stop, None);
    let summary = run(root, "whole", Start::Fresh, 12, &mut whole).unwrap();
    assert_eq!((summary.state.step, whole.losses.len()), (12, 12));
    assert!(whole.losses.iter().all(|loss| loss.is_finite()));
    let (first, last) = (whole.evaluations[0], whole.evaluations[whole.evaluations.len() - 1]);
    assert!(last < 0.7 * first, "the loss does not fall: {first} {last}");

    let mut stopped = Watch::new(&stop, Some(5));
    let error = run(root, "resumed", Start::Fresh, 12, &mut stopped).unwrap_err();
    assert!(matches!(error, TrainError::Stopped { .. }), "{error}");
    let mut resumed = Watch::new(&stop, None);
    run(root, "resumed", Start::Resume, 12, &mut resumed).unwrap();
    assert_eq!([stopped.losses, resumed.losses].concat(), whole.losses);
    assert_eq!(adapter(root, "resumed"), adapter(root, "whole"));
}

/// Another process takes memory that the plan had counted on: the step is repeated with recomputation, to the same bits.
#[test]
fn a_gpu_that_runs_out_of_memory_recomputes() {
    let directory = case();
    let root = directory.path();
    let stop = AtomicBool::new(false);
    let mut whole = Watch::new(&stop, None);
    run(root, "whole", Start::Fresh, 4, &mut whole).unwrap();
    let (mut recomputed, mut left) = (0, 1 << 20);
    let smallest = loop {
        let mut watch = Watch::new(&stop, None);
        let out = format!("beside-{left}");
        match run_beside(root, &out, Start::Fresh, 4, &mut watch, Some(left)) {
            Ok(_) => {
                assert_eq!(
                    (watch.losses, adapter(root, &out)),
                    (whole.losses.clone(), adapter(root, "whole"))
                );
                recomputed += usize::from(!watch.recomputing.is_empty());
            }
            Err(TrainError::Network(error)) if error.is_out_of_memory() => break left,
            Err(error) => panic!("{error}"),
        }
        left -= left / 8;
    };
    assert!(recomputed > 0, "no run recomputed with more than {smallest} bytes");
}
