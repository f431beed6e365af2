use super::super::TextFacts;
use super::*;
use crate::sample::{Assistant, Content, Message, Sample};

fn survey(turns: impl IntoIterator<Item = (String, String)>) -> TextSurvey {
    let mut survey = TextSurvey::default();
    for (line, (prompt, response)) in turns.into_iter().enumerate() {
        let sample: Sample<()> = Sample {
            messages: vec![
                Message::User(Content::Text(prompt)),
                Message::Assistant(Assistant {
                    content: Some(Content::Text(response)),
                    ..Assistant::default()
                }),
            ],
            ..Sample::default()
        };
        survey.add(0, line as u64 + 1, &TextFacts::of(&sample));
    }
    survey
}

fn seen(turns: impl IntoIterator<Item = (String, String)>) -> Vec<(&'static str, u64, Vec<u64>)> {
    let lines = |observation: &Observation| observation.examples.iter().map(|e| e.place.line).collect();
    let observations = survey(turns).observations();
    observations.iter().map(|o| (o.rule.id, o.count, lines(o))).collect()
}

fn question(n: usize) -> String {
    format!("What is in image number {n} of this set?")
}

#[test]
fn an_ordinary_set_gives_nothing_to_say() {
    let turns = (0..60).map(|n| (question(n), format!("There are {n} birds on the roof of house {n}.")));
    let names: Vec<String> = survey(turns).observations().iter().map(|o| o.message.clone()).collect();
    assert_eq!(names, Vec::<String>::new());
}

#[test]
fn the_form_of_nearly_all_is_learned_and_the_rest_is_named() {
    let response = |n: usize| match n {
        7 => "about a dozen".to_owned(),
        9 => "{\"total\": ".to_owned(),
        _ => format!("{{\"total\": {n}, \"currency\": \"EUR\"}}"),
    };
    let found = seen((0..60).map(|n| (question(n), response(n))));
    assert_eq!(found[0], ("answer-cut-off", 1, vec![10]));
    assert_eq!(found[1], ("answer-format", 2, vec![8, 10]));
    assert_eq!(found.len(), 2);
}

#[test]
fn keys_that_one_answer_lacks_are_named() {
    let response = |n: usize| match n {
        3 => "{\"total\": 1}".to_owned(),
        _ => format!("{{\"total\": {n}, \"currency\": \"EUR\"}}"),
    };
    let observations = survey((0..40).map(|n| (question(n), response(n)))).observations();
    assert_eq!(observations[0].rule.id, "answer-keys");
    assert_eq!(observations[0].examples[0].text, "lacks `currency`: {\"total\": 1}");
}

#[test]
fn forms_are_learned_by_prompt_where_a_set_mixes_tasks() {
    let turns = (0..80).map(|n| match n % 2 {
        0 => ("How many cars are there?".to_owned(), if n == 40 { "several".into() } else { n.to_string() }),
        _ => ("Which brand is the car?".to_owned(), format!("Brand{n}")),
    });
    let found = seen(turns);
    assert_eq!(found, [("answer-format", 1, vec![41])]);
}

#[test]
fn a_short_answer_among_sentences_is_named_only_for_the_same_prompt() {
    let sentence = |n: usize| format!("There are {n} birds on the roof of house {n}.");
    let response = |n: usize| match n {
        7 => "GATE B 17".to_owned(),
        11 => "{\"birds\": 11}".to_owned(),
        _ => sentence(n),
    };
    let found = seen((0..60).map(|n| (question(n), response(n))));
    assert_eq!(found, [("answer-format", 1, vec![12])]);
    let short = |n: usize| if n == 7 { "no birds".to_owned() } else { sentence(n) };
    assert_eq!(seen((0..60).map(|n| (question(n), short(n)))), []);
    let one_prompt = seen((0..60).map(|n| ("Describe the image.".to_owned(), short(n))));
    assert!(one_prompt.contains(&("answer-format", 1, vec![8])), "{one_prompt:?}");
}

#[test]
fn imbalance_is_what_a_constant_answer_would_score() {
    let turns = (0..50).map(|n| (question(n), if n % 10 == 0 { "no" } else { "Yes" }.to_owned()));
    let observations = survey(turns).observations();
    assert_eq!(observations.len(), 1);
    assert_eq!(
        observations[0].message,
        "90% of responses are `Yes`: a model that always gives it is right as often"
    );
}

#[test]
fn one_row_and_equal_rows_are_no_trouble() {
    assert_eq!(seen([("a".to_owned(), "b".to_owned())]), []);
    assert_eq!(seen([]), []);
    let same = seen((0..30).map(|_| ("Describe the image.".to_owned(), "A cat.".to_owned())));
    let ids: Vec<&str> = same.iter().map(|(id, ..)| *id).collect();
    assert_eq!(ids, ["answer-imbalance", "prompt-repeated"]);
}

#[test]
fn far_longer_answers_and_other_languages_are_named() {
    let turns = (0..40).map(|n| match n {
        5 => (question(n), "It is the one that was said. ".repeat(200)),
        6 => (question(n), format!("Il y a {n} oiseaux sur le toit de la maison dans cette image.")),
        _ => (question(n), format!("{n} birds sit on the roof of the house and sing to us.")),
    });
    let found = seen(turns);
    assert_eq!(found, [("answer-length", 1, vec![6]), ("answer-language", 1, vec![7])]);
}

#[test]
fn shares_are_never_rounded_to_all_or_nothing() {
    assert_eq!(
        [0.0, 0.0001, 0.5, 0.994, 0.99999, 1.0].map(percent),
        ["0%", "0.1%", "50%", "99.4%", "99.9%", "100%"]
    );
}
