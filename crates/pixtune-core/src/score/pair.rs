//! Two answers to one question: which one a judge prefers, asked in both orders because judges favor a position.

use super::judge::conversation;

/// What a judge is shown beside its instructions: the conversation with its reference answers, in the form of
/// [`super::judge_prompt`], then both answers. `turns` are question and reference answer.
pub fn pair_prompt(turns: &[(&str, &str)], a: &str, b: &str) -> String {
    conversation(turns, &format!("### Assistant A's answer:\n{a}\n\n### Assistant B's answer:\n{b}\n\n"))
}

/// Which of the two answers that it was shown a judge prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PairChoice {
    /// The first one, `[[A]]`.
    A,
    /// The second one, `[[B]]`.
    B,
    /// Neither, `[[C]]`.
    Tie,
}

impl PairChoice {
    /// The letter in the brackets.
    pub fn id(self) -> &'static str {
        match self {
            PairChoice::A => "A",
            PairChoice::B => "B",
            PairChoice::Tie => "C",
        }
    }
}

/// The choice in double brackets; `None` where there is none, or where several contradict each other.
///
/// `[[A]]`, `[[B]]` and `[[C]]` for a tie are the form of MT-Bench (lm-sys/FastChat, `llm_judge`). Its script takes the first
/// letter that it finds anywhere, in the order A, B, C; a judgement with two of them is none here.
pub fn pair_choice(judgement: &str) -> Option<PairChoice> {
    let all = [("[[A]]", PairChoice::A), ("[[B]]", PairChoice::B), ("[[C]]", PairChoice::Tie)];
    let mut found = all.into_iter().filter(|(text, _)| judgement.contains(text)).map(|(_, choice)| choice);
    let choice = found.next()?;
    found.next().is_none().then_some(choice)
}

/// Which of two models is preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preference {
    /// The model.
    Model,
    /// The one it is compared with.
    Compared,
    /// Neither.
    Tie,
}

impl Preference {
    /// As it is written.
    pub fn id(self) -> &'static str {
        match self {
            Preference::Model => "model",
            Preference::Compared => "compared",
            Preference::Tie => "tie",
        }
    }
}

/// The preference over both orders: `model_first` is the choice where the model's answer was A, `compared_first` where it
/// was B. A preference that changes with the order is none (the rule of MT-Bench).
pub fn preference(model_first: PairChoice, compared_first: PairChoice) -> Preference {
    match (model_first, compared_first) {
        (PairChoice::A, PairChoice::B) => Preference::Model,
        (PairChoice::B, PairChoice::A) => Preference::Compared,
        _ => Preference::Tie,
    }
}

/// Whether the two choices name the same winner, or no winner both times.
pub fn is_consistent(model_first: PairChoice, compared_first: PairChoice) -> bool {
    use PairChoice::{A, B, Tie};
    matches!((model_first, compared_first), (A, B) | (B, A) | (Tie, Tie))
}

#[cfg(test)]
mod tests {
    use super::*;
    use PairChoice::{A, B, Tie};

    #[test]
    fn a_choice_is_the_only_one_in_double_brackets() {
        let read = ["x [[A]]", "[[B]]\n", "so [[C]].", "[[A]] … my final choice: [[A]]"].map(pair_choice);
        assert_eq!(read, [Some(A), Some(B), Some(Tie), Some(A)]);
        for text in ["", "[A]", "[[a]]", "[[ A ]]", "[[D]]", "[[A]] or [[B]]", "[[A]][[C]]", "A"] {
            assert_eq!(pair_choice(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_preference_holds_in_both_orders() {
        for (first, second, expected, consistent) in [
            (A, B, Preference::Model, true),
            (B, A, Preference::Compared, true),
            (Tie, Tie, Preference::Tie, true),
            (A, A, Preference::Tie, false),
            (B, B, Preference::Tie, false),
            (A, Tie, Preference::Tie, false),
            (Tie, A, Preference::Tie, false),
            (B, Tie, Preference::Tie, false),
            (Tie, B, Preference::Tie, false),
        ] {
            assert_eq!((preference(first, second), is_consistent(first, second)), (expected, consistent));
        }
    }

    #[test]
    fn the_judge_sees_the_conversation_and_both_answers() {
        let prompt = pair_prompt(&[("Q1", "R1"), ("Q2", "R2")], "one", "two");
        let expected = "<|The Start of Conversation with User|>\n\n### User:\nQ1\n\n### Reference answer:\nR1\n\n### User:\nQ2\n\n### Reference answer:\nR2\n\n\n\n### Assistant A's answer:\none\n\n### Assistant B's answer:\ntwo\n\n<|The End of Conversation with User|>\n\n\n";
        assert_eq!(prompt, expected);
    }
}
