//! Answers of the tiny random model in `fixtures/tiny_pixtral`, with the tokenizer in `fixtures/tiny_tekken`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read its fixture has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pixtune_core::sample::{Assistant, Content, Message, Part, Sample};
use pixtune_core::tokens::TokenizerVersion;
use pixtune_infer::{
    AnswerError, Answerer, Event, FinishReason, LocalModel, ModelDirectory, ModelError, Request, Sampling,
    TokenizerSource, Usage,
};
use pixtune_model::adapter::Adapter;
use pixtune_model::kernels::CpuKernels;
use pixtune_model::network::NetworkOptions;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

fn directory() -> ModelDirectory {
    let tokenizer = TokenizerSource::File(fixtures().join("tiny_tekken/tekken.json"));
    ModelDirectory::open(&fixtures().join("tiny_pixtral/hf_bf16"), &tokenizer).unwrap()
}

fn load<'d>(directory: &'d ModelDirectory, adapter: Option<&Adapter>) -> LocalModel<'d, CpuKernels> {
    LocalModel::load(directory, adapter, NetworkOptions::default(), CpuKernels::new(2).unwrap()).unwrap()
}

/// A question about images, greedily answered in 24 tokens.
fn question(text: &str, images: &[&str]) -> Request {
    let read = |name: &&str| Arc::from(fs::read(fixtures().join("images").join(name)).unwrap());
    let images: Vec<Arc<[u8]>> = images.iter().map(read).collect();
    let parts = (0..images.len()).map(Part::Image).chain([Part::Text(text.to_owned())]);
    let messages = vec![Message::User(Content::Parts(parts.collect()))];
    let conversation = Sample { messages, images, ..Sample::default() };
    Request::new(conversation, Sampling::GREEDY, 24)
}

/// The pieces of an answer, and how it ended.
fn read(model: &dyn Answerer, request: &Request) -> (Vec<String>, FinishReason, Usage) {
    let mut pieces = Vec::new();
    let mut finished = None;
    for event in model.answer(request).unwrap() {
        assert_eq!(finished, None, "nothing follows the end");
        match event.unwrap() {
            Event::Text(piece) => pieces.push(piece),
            Event::Token(_) | Event::ToolCalls => {}
            Event::Finished { reason, usage } => finished = Some((reason, usage)),
        }
    }
    let (reason, usage) = finished.unwrap();
    (pieces, reason, usage)
}

fn text(model: &dyn Answerer, request: &Request) -> String {
    read(model, request).0.concat()
}

const IMAGE: &str = "grad_64x48.png";

#[test]
fn greedy_answers_are_those_of_earlier_releases() {
    let directory = directory();
    let model = load(&directory, None);
    let request = question("what is it", &[IMAGE]);
    assert_eq!(
        text(&model, &request),
        "l\u{fffd}\u{8}\u{fffd} a\u{fffd}u\u{fffd}\u{fffd}es\u{fffd}\u{fffd}D}\u{fffd}\u{fffd}"
    );
    let without_image = text(&model, &question("what is it", &[]));
    assert_eq!(without_image, "[\u{8}\u{fffd}O\u{fffd}\u{fffd}} hu\u{fffd}@}\u{fffd}K\u{12}\u{fffd}");
    let adapter = Adapter::open(&fixtures().join("tiny_pixtral/lora_all"), None).unwrap();
    let adapted = text(&load(&directory, Some(&adapter)), &request);
    assert_eq!(adapted, "\u{fffd}K\u{8}\u{fffd}\u{fffd}\u{fffd} tu\u{fffd}\u{fffd}");
}

#[test]
fn one_loaded_model_answers_several_requests_independently() {
    let directory = directory();
    let model = load(&directory, None);
    let requests = [question("what is it", &[IMAGE]), question("say hello", &[])];
    let alone = requests.each_ref().map(|request| text(&load(&directory, None), request));
    // One after the other, interleaved with an answer that nobody reads to its end.
    let mut abandoned = model.answer(&requests[1]).unwrap();
    abandoned.next().unwrap().unwrap();
    assert_eq!(requests.each_ref().map(|request| text(&model, request)), alone);
    drop(abandoned);
    // At the same time.
    let together = std::thread::scope(|scope| {
        let threads = requests.each_ref().map(|request| scope.spawn(|| text(&model, request)));
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(together, alone);
}

#[test]
fn pieces_joined_begin_a_longer_answer_of_the_same_seed() {
    let directory = directory();
    let model = load(&directory, None);
    for seed in 0..20 {
        let sampling = Sampling::new(2.0, seed).unwrap();
        let request = Request { sampling, ..question("what is it", &[IMAGE]) };
        let (pieces, reason, usage) = read(&model, &request);
        assert!(pieces.iter().all(|piece| !piece.is_empty()));
        assert_eq!(usage.prompt_tokens, 25);
        // A longer answer of the same seed begins with the shorter one: only an incomplete character may end differently.
        let longer = text(&model, &Request { max_tokens: 32, ..request });
        match reason {
            FinishReason::Stop => assert_eq!(longer, pieces.concat()),
            FinishReason::Length => {
                assert_eq!(usage.completion_tokens, 24);
                assert!(longer.starts_with(pieces.concat().trim_end_matches('\u{fffd}')));
            }
        }
    }
}

#[test]
fn an_answer_of_no_tokens_is_empty() {
    let directory = directory();
    let request = Request { max_tokens: 0, ..question("what is it", &[]) };
    let (pieces, reason, usage) = read(&load(&directory, None), &request);
    assert_eq!((pieces.len(), reason, usage.completion_tokens), (0, FinishReason::Length, 0));
}

#[test]
fn a_conversation_of_several_turns_is_answered() {
    let directory = directory();
    let model = load(&directory, None);
    let mut request = question("what is it", &[IMAGE]);
    let said = Assistant { content: Some(Content::Text("a gradient".to_owned())), ..Assistant::default() };
    request.conversation.messages.push(Message::Assistant(said));
    assert!(matches!(model.answer(&request), Err(AnswerError::NotAssistantsTurn)));
    request.conversation.messages.push(Message::User(Content::Text("sure".to_owned())));
    let (_, _, usage) = read(&model, &request);
    assert!(usage.prompt_tokens > 25, "{usage:?}");
}

#[test]
fn refuses_requests_that_cannot_be_answered() {
    let directory = directory();
    let model = load(&directory, None);
    let refusal = |request: &Request| model.answer(request).err().unwrap();
    let empty = Request { conversation: Sample::default(), ..question("", &[]) };
    assert!(matches!(refusal(&empty), AnswerError::NotAssistantsTurn));
    let mut broken = question("what is it", &[IMAGE, IMAGE]);
    broken.conversation.images[1] = Arc::from(*b"not an image");
    assert!(matches!(refusal(&broken), AnswerError::Image { index: 1, .. }));
    let endless = Request { max_tokens: usize::MAX, ..question("what is it", &[]) };
    assert!(matches!(refusal(&endless), AnswerError::TooLong { limit: 1_024_000, .. }));
}

#[test]
fn refuses_a_tokenizer_of_another_model() {
    let open = |tokenizer| ModelDirectory::open(&fixtures().join("tiny_pixtral/hf_bf16"), &tokenizer);
    let missing = open(TokenizerSource::Directory).unwrap_err();
    assert!(matches!(missing, ModelError::NoTokenizer { has_tokenizer_json: false, .. }), "{missing}");
    for built_in in [TokenizerSource::BuiltIn(TokenizerVersion::V3), TokenizerSource::DirectoryOrBuiltIn] {
        let error = open(built_in).unwrap_err();
        assert!(
            matches!(error, ModelError::VocabularySize { tokens: 131_072, vocabulary: 400, .. }),
            "{error}"
        );
    }
}
