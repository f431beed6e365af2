//! Judges: ratings, pairs in both orders, a second judge, and what they cost.

use std::net::TcpStream;

use pixtune_core::json;

use super::endpoint::{Endpoint, answer, respond};
use super::{ANSWERS, SCORE, case, scores, text};
use crate::harness::{Case, read_directory};
use crate::snapshots::check;

#[test]
fn a_judge_sees_the_images_and_is_asked_a_bounded_number_of_times() {
    let judge = Endpoint::start(|_, body, stream| {
        let rated = [("answer:\\n6.0", "Good. [[9]]"), ("paris", "[[11]]"), ("seven", "no rating")];
        let found = rated.iter().find(|(word, _)| body.contains(word));
        answer(stream, found.map_or("Well. [[2.5]]", |(_, text)| text));
    });
    let case = case();
    case.write("answers.jsonl", ANSWERS);
    let more = ["--judge-endpoint", &judge.url, "--judge-model", "judge", "--fail-under", "judge=0.1"];
    let run = case.run(&[SCORE, &more].concat()).ends(1);
    assert!(run.stdout.contains("rating of the judge 4.67 of 10, 2 answers not rated"), "{}", run.stdout);
    assert!(run.stdout.contains("judge: 9 requests (9 without token counts)"), "{}", run.stdout);
    let found = scores(&case, "out");
    assert_eq!(
        (text(&found, "/model/judge/rated"), text(&found, "/model/judge/not_rated")),
        ("3".into(), "2".into())
    );
    assert_eq!(text(&found, "/thresholds/0/missed"), "false");
    assert_eq!(judge.asked(), 3 + 2 * 3);
    assert!(judge.bodies().iter().all(|body| body.contains("data:image/png;base64,iVBOR")));
    assert!(case.read("out/predictions.jsonl").contains("\"judge\":{\"rating\":9}"));
    assert_eq!(case.read("out/judgements.jsonl").lines().count(), 9);
}

/// The answers of the other model.
const OTHERS: &str = r#"{"line":1,"answer":"fifty bars"}
{"line":2,"answer":"1998"}
{"line":3,"answer":"Paris"}
{"line":4,"answer":"eight"}
{"line":5,"answer":"seventy"}
"#;

/// An answer with its tokens.
fn answer_with_usage(stream: &mut TcpStream, text: &str) {
    let text = json::quoted(text);
    let usage = r#"{"prompt_tokens":100,"completion_tokens":10}"#;
    let body = format!(
        r#"{{"choices":[{{"message":{{"content":{text}}},"finish_reason":"stop"}}],"usage":{usage}}}"#
    );
    respond(stream, "200 OK", "", &body);
}

/// What a judge thinks of a pair: the first question is won, the second depends on the order, the third is lost, the fourth is a
/// tie, and about the fifth it cannot decide.
fn choice(body: &str) -> &'static str {
    let first = |answer: &str| {
        let shown = body.split("Assistant A's answer:\\n").nth(1).unwrap();
        shown.starts_with(answer)
    };
    match () {
        () if body.contains("How many") => {
            if first("6.0") {
                "[[A]]"
            } else {
                "so: [[B]]"
            }
        }
        () if body.contains("Which year") => "[[A]]",
        () if body.contains("Which city") => {
            if first("Paris") {
                "[[A]]"
            } else {
                "[[B]]"
            }
        }
        () if body.contains("Share") => "[[C]]",
        () => "[[A]] or [[B]]",
    }
}

/// Two judges: the first one reports tokens, and the second one always prefers what it is shown first, but for the city.
fn judges() -> Endpoint {
    Endpoint::start(|_, body, stream| match body.contains(r#""model":"second""#) {
        _ if body.contains("Rate the answer from 1") || body.contains("rate the answer from 1") => {
            answer_with_usage(stream, if body.contains("6.0") { "[[8]]" } else { "[[6]]" });
        }
        false => answer_with_usage(stream, choice(body)),
        true if body.contains("Which city") => answer(stream, choice(body)),
        true => answer(stream, "[[A]]"),
    })
}

fn judged(case: &Case, judges: &Endpoint, more: &[&str]) -> crate::harness::Run {
    let args = [
        "--compare",
        "predictions=others.jsonl",
        "--judge-endpoint",
        &judges.url,
        "--judge-model",
        "judge",
        "--judge-pairs",
        "--judge-price",
        "2.5,10",
        "--second-judge-model",
        "second",
    ];
    case.run(&[SCORE, &args, more].concat())
}

#[test]
fn pairs_are_judged_in_both_orders_by_two_judges_and_their_cost_is_counted() {
    let judges = judges();
    let case = case();
    case.write("answers.jsonl", ANSWERS);
    case.write("others.jsonl", OTHERS);
    let run = judged(&case, &judges, &["--fail-under", "judge-win-rate=0.3"]).ends(1);
    let shown = run.stdout.replace(&judges.url, "URL");
    let scores_text = case.read("out/scores.json");
    let tail = &scores_text[scores_text.find("\"judged_pairs\"").unwrap()..];
    check("evaluate-judged-pairs.txt", &format!("{}\n{shown}\n{tail}", run.stderr));
    let found = scores(&case, "out");
    let pairs = |key: &str| text(&found, &format!("/judged_pairs/{key}"));
    assert_eq!(
        ["wins", "losses", "ties", "ties_because_of_order", "not_judged"].map(pairs),
        ["1", "1", "2", "1", "1"]
    );
    assert_eq!(text(&found, "/judged_pairs/agreement/equal"), "3");
    // Ratings of five answers of two models; two choices of each pair, six requests for the fifth.
    let (ratings, choices) = (2 * 5, 2 * 4 + 3);
    assert_eq!(text(&found, "/judges/0/requests"), (ratings + choices).to_string());
    assert_eq!(text(&found, "/judges/0/prompt_tokens"), (100 * (ratings + choices)).to_string());
    assert_eq!(text(&found, "/judges/1/requests_without_token_counts"), "10");
    let lines = case.read("out/judgements.jsonl");
    assert_eq!(lines.lines().count(), judges.asked());
    assert!(
        lines
            .lines()
            .any(|line| line.contains("\"first\":\"compared\"") && line.contains("\"choice\":\"B\""))
    );
    assert!(judges.bodies().iter().all(|body| body.contains("data:image/png;base64,iVBOR")));
}

#[test]
fn judgements_are_asked_for_once_whatever_the_order_of_arrival() {
    let judges = judges();
    let case = case();
    case.write("answers.jsonl", ANSWERS);
    case.write("others.jsonl", OTHERS);
    judged(&case, &judges, &["--concurrency", "1"]).ends(1);
    let (first, asked) = (read_directory(&case.path("out")), judges.asked());
    judged(&case, &judges, &["--resume", "--concurrency", "7"]).ends(1);
    assert_eq!(judges.asked(), asked, "nothing is asked again of a finished output");
    assert!(read_directory(&case.path("out")) == first, "judgements that are used again give other bytes");
}

#[test]
fn judges_that_make_no_sense_are_errors() {
    let case = case();
    case.write("answers.jsonl", ANSWERS);
    let base = ["--judge-endpoint", "http://127.0.0.1:9/v1", "--judge-model", "judge"];
    let with = |more: &[&str]| case.run(&[SCORE, &base, more].concat()).ends(2);
    with(&["--judge-pairs"]).prints("--judge-pairs needs `--compare`");
    with(&["--second-judge-model", "judge"]).prints("it would agree with itself");
    for price in ["3", "a,b", "-1,2", "1,inf"] {
        with(&[&format!("--judge-price={price}")])
            .prints("is not PROMPT,COMPLETION in US dollars per million tokens");
    }
    with(&["--fail-under", "judge-win-rate=0.5"]).prints("`judge-win-rate` is not a score of this run");
}
