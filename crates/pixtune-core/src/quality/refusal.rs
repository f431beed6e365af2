//! Refusals, found by the phrases that assistants use.

/// Beginnings of refusals, in lower case and with straight apostrophes.
const REFUSALS: &[&str] = &[
    "i'm sorry, but",
    "i am sorry, but",
    "i'm sorry, i",
    "sorry, but i",
    "sorry, i can",
    "i apologize, but",
    "i apologise, but",
    "i cannot assist",
    "i can't assist",
    "i cannot help",
    "i can't help",
    "i cannot provide",
    "i can't provide",
    "i cannot see",
    "i can't see",
    "i cannot view",
    "i can't view",
    "i cannot identify",
    "i can't identify",
    "i'm unable to",
    "i am unable to",
    "i'm not able to",
    "i am not able to",
    "i don't have the ability",
    "i do not have the ability",
    "as an ai",
    "as a language model",
    "as a large language model",
    "unfortunately, i can",
    "unfortunately, i am unable",
    "unfortunately, i'm unable",
    "je suis désolé, mais",
    "désolé, mais je",
    "en tant qu'ia",
    "en tant que modèle de langage",
    "es tut mir leid, aber ich",
    "tut mir leid, aber ich",
    "als ki-",
    "als sprachmodell",
    "lo siento, pero",
    "como modelo de lenguaje",
    "como ia,",
    "mi dispiace, ma",
    "come modello linguistico",
    "desculpe, mas",
    "como modelo de linguagem",
    "抱歉，我无法",
    "很抱歉，我",
    "申し訳ありませんが",
    "к сожалению, я не могу",
    "извините, но я",
];

/// Phrases that only a refusing model writes, anywhere in the first sentences.
const ANYWHERE: &[&str] = &["as an ai language model", "as an ai assistant", "as an ai model"];

/// More characters than the longest beginning has.
const BEGINNING: usize = 40;
/// Characters that are searched for `ANYWHERE`.
const FIRST_SENTENCES: usize = 200;

/// The first bytes of each beginning, as one number: ASCII letters in lower case.
const REFUSAL_STARTS: [u32; REFUSALS.len()] = {
    let mut starts = [0; REFUSALS.len()];
    let mut at = 0;
    while at < starts.len() {
        let bytes = REFUSALS[at].as_bytes();
        starts[at] = start_key([bytes[0], bytes[1], bytes[2]]);
        at += 1;
    }
    starts
};

const fn start_key([first, second, third]: [u8; 3]) -> u32 {
    u32::from_le_bytes([first, second, third, 0])
}

/// The phrase by which an response is a refusal.
pub(super) fn refusal(response: &str) -> Option<String> {
    let response = response.trim_start();
    let begins = may_refuse(response)
        .then(|| lower(response, BEGINNING))
        .and_then(|start| REFUSALS.iter().find(|phrase| start.starts_with(**phrase)));
    begins.or_else(|| spoken_by_an_ai(response)).map(|phrase| (*phrase).to_owned())
}

/// Whether the first bytes are those of a refusal: few responses pass.
fn may_refuse(response: &str) -> bool {
    match response.as_bytes().first_chunk::<3>() {
        Some(start) if start.is_ascii() => {
            REFUSAL_STARTS.contains(&start_key(start.map(|byte| byte.to_ascii_lowercase())))
        }
        // Lowering what is not ASCII is left to `lower`.
        _ => {
            let first = response.chars().next().and_then(|first| first.to_lowercase().next());
            first.is_some_and(|first| REFUSALS.iter().any(|phrase| phrase.starts_with(first)))
        }
    }
}

/// The first characters in lower case, with straight apostrophes.
pub(super) fn lower(text: &str, characters: usize) -> String {
    let small = text.chars().take(characters).flat_map(char::to_lowercase);
    small.map(|c| if matches!(c, '’' | '‘') { '\'' } else { c }).collect()
}

/// Which of `ANYWHERE` the first sentences hold. They are ASCII, so bytes are compared.
fn spoken_by_an_ai(response: &str) -> Option<&'static &'static str> {
    const LEAD: usize = "as an".len();
    let bytes = response.as_bytes();
    let near = &bytes[..bytes.len().min(FIRST_SENTENCES)];
    let start = if near.is_ascii() {
        near
    } else {
        let end = response.char_indices().nth(FIRST_SENTENCES).map_or(response.len(), |(at, _)| at);
        &bytes[..end]
    };
    if !names_an_ai(start) {
        return None;
    }
    memchr::memchr_iter(b' ', start).find_map(|at| {
        let here = &start[at.checked_sub(LEAD)?..];
        ANYWHERE.iter().find(|phrase| {
            here.get(..phrase.len()).is_some_and(|here| here.eq_ignore_ascii_case(phrase.as_bytes()))
        })
    })
}

/// Whether the text contains ` ai` in any case; without a branch, so that the loop is vectorized.
fn names_an_ai(text: &[u8]) -> bool {
    let (second, third) = (text.get(1..).unwrap_or_default(), text.get(2..).unwrap_or_default());
    text.iter().zip(second).zip(third).fold(false, |found, ((space, a), i)| {
        found | ((*space == b' ') & (*a | 0x20 == b'a') & (*i | 0x20 == b'i'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_filters_pass_every_refusal() {
        for phrase in REFUSALS {
            for written in [phrase.to_string(), phrase.to_uppercase(), phrase.replace('\'', "’")] {
                assert!(refusal(&format!(" {written} see it.")).is_some(), "{written}");
            }
        }
        for phrase in ANYWHERE {
            for lead in ["", "Well. ", "é ", &"x".repeat(150), &"é".repeat(150)] {
                let response = format!("{lead}{}, no.", phrase.to_uppercase());
                assert_eq!(spoken_by_an_ai(&response), Some(phrase), "{response}");
            }
            assert_eq!(spoken_by_an_ai(&format!("{}{phrase}", "é".repeat(190))), None);
        }
        assert_eq!(refusal("\u{212a}"), None);
    }
}
