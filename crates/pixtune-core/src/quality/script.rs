//! Detection of scripts and languages: scripts by Unicode blocks, languages by their most common words and letters. An
//! ambiguous text has no language.

/// A writing system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Script {
    /// Latin.
    Latin,
    /// Greek.
    Greek,
    /// Cyrillic.
    Cyrillic,
    /// Armenian.
    Armenian,
    /// Hebrew.
    Hebrew,
    /// Arabic.
    Arabic,
    /// Devanagari.
    Devanagari,
    /// Bengali.
    Bengali,
    /// Other scripts of India and Sri Lanka.
    OtherIndic,
    /// Thai.
    Thai,
    /// Georgian.
    Georgian,
    /// Hangul.
    Hangul,
    /// Hiragana and Katakana.
    Kana,
    /// Han: Chinese characters.
    Han,
    /// Any other letters.
    Other,
}

use Script::{
    Arabic, Armenian, Bengali, Cyrillic, Devanagari, Georgian, Greek, Han, Hangul, Hebrew, Kana, Latin,
    Other, OtherIndic, Thai,
};

/// Blocks of letters, from Blocks.txt of Unicode 16.
const BLOCKS: &[(u32, u32, Script)] = &[
    (0x0041, 0x005a, Latin),
    (0x0061, 0x007a, Latin),
    (0x00c0, 0x024f, Latin),
    (0x0250, 0x02af, Latin),
    (0x0370, 0x03ff, Greek),
    (0x0400, 0x052f, Cyrillic),
    (0x0530, 0x058f, Armenian),
    (0x0590, 0x05ff, Hebrew),
    (0x0600, 0x06ff, Arabic),
    (0x0750, 0x077f, Arabic),
    (0x08a0, 0x08ff, Arabic),
    (0x0900, 0x097f, Devanagari),
    (0x0980, 0x09ff, Bengali),
    (0x0a00, 0x0dff, OtherIndic),
    (0x0e00, 0x0e7f, Thai),
    (0x10a0, 0x10ff, Georgian),
    (0x1100, 0x11ff, Hangul),
    (0x1e00, 0x1eff, Latin),
    (0x1f00, 0x1fff, Greek),
    (0x3040, 0x30ff, Kana),
    (0x3130, 0x318f, Hangul),
    (0x31f0, 0x31ff, Kana),
    (0x3400, 0x4dbf, Han),
    (0x4e00, 0x9fff, Han),
    (0xac00, 0xd7af, Hangul),
    (0xf900, 0xfaff, Han),
    (0xfb50, 0xfdff, Arabic),
    (0xfe70, 0xfeff, Arabic),
    (0x20000, 0x323af, Han),
];

impl Script {
    /// The name for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Latin => "Latin",
            Greek => "Greek",
            Cyrillic => "Cyrillic",
            Armenian => "Armenian",
            Hebrew => "Hebrew",
            Arabic => "Arabic",
            Devanagari => "Devanagari",
            Bengali => "Bengali",
            OtherIndic => "other Indic",
            Thai => "Thai",
            Georgian => "Georgian",
            Hangul => "Hangul",
            Kana => "Kana",
            Han => "Han",
            Other => "other",
        }
    }

    /// The script of a letter; `None` for digits, signs and marks.
    pub fn of(character: char) -> Option<Script> {
        if character.is_ascii() {
            return character.is_ascii_alphabetic().then_some(Latin);
        }
        if !character.is_alphabetic() {
            return None;
        }
        let code = u32::from(character);
        let at = BLOCKS.partition_point(|(_, last, _)| *last < code);
        Some(BLOCKS.get(at).filter(|(first, ..)| *first <= code).map_or(Other, |(.., script)| *script))
    }
}

/// Maximum letters that are read.
const READ: usize = 4000;

/// The script of most letters of a text; Kana for Japanese, which mixes three.
pub fn script(text: &str) -> Option<Script> {
    if text.is_ascii() {
        return text.bytes().any(|byte| byte.is_ascii_alphabetic()).then_some(Latin);
    }
    let mut counts = [0u32; Other as usize + 1];
    for script in text.chars().take(READ).filter_map(Script::of) {
        counts[script as usize] += 1;
    }
    if counts[Kana as usize] > 0 && counts[Kana as usize] * 8 > counts[Han as usize] {
        counts[Kana as usize] += std::mem::take(&mut counts[Han as usize]);
    }
    const ALL: [Script; 15] = [
        Latin, Greek, Cyrillic, Armenian, Hebrew, Arabic, Devanagari, Bengali, OtherIndic, Thai, Georgian,
        Hangul, Kana, Han, Other,
    ];
    let most = ALL.into_iter().rev().max_by_key(|script| counts[*script as usize])?;
    (counts[most as usize] > 0).then_some(most)
}

/// Common words that distinguish languages in Latin and Cyrillic script.
const WORDS: &[(&str, &str)] = &[
    (
        "en",
        " the of and to is in that it was for with as are this on be at by have from or not there what which \
         an has his her they image image shows does ",
    ),
    (
        "fr",
        " le la les de des du et est un une dans que qui pour pas sur ce cette avec au aux sont il elle en \
         ne plus où l'image ",
    ),
    (
        "de",
        " der die das und ist ein eine einen einem den dem des nicht mit auf zu von im für sich auch wird \
         sind wie es bild welche ",
    ),
    (
        "es",
        " el la los las de del y es un una en que por para con no se su al lo como está son más hay imagen \
         qué ",
    ),
    (
        "it",
        " il lo la gli le di del della e è un una in che per con non si sono nel nella al dei come questa \
         immagine ",
    ),
    (
        "pt",
        " o os a as de do da dos das e é um uma em no na que por para com não se são ao mais como está \
         imagem há ",
    ),
    (
        "nl",
        " de het een en van is in op dat te met voor niet zijn aan er om ook als deze wordt naar bij wat \
         afbeelding ",
    ),
    ("pl", " i w z na do się nie jest to że o jak przez od po dla ale są tym który która oraz jego obraz "),
    ("sv", " och det att i en som är av för på med den till inte om ett har de vad finns på bilden "),
    ("tr", " ve bir bu için ile da de olan olarak daha çok gibi ne kadar var değil mi görüntü "),
    ("ru", " и в не на что с это как по но из к у за от для он она они его или есть "),
    ("uk", " і в не на що з це як по але із до у за від для він вона вони його або є та "),
];

/// Maximum words that are read.
const WORDS_READ: usize = 300;

/// The ISO 639-1 code of the language of a text, if it is clear.
pub fn language(text: &str) -> Option<&'static str> {
    match script(text)? {
        Hangul => Some("ko"),
        Kana => Some("ja"),
        Han => Some("zh"),
        Thai => Some("th"),
        Greek => Some("el"),
        Hebrew => Some("he"),
        Armenian => Some("hy"),
        Georgian => Some("ka"),
        Arabic => Some(if text.contains(['پ', 'چ', 'ژ', 'گ', 'ی', 'ک']) { "fa" } else { "ar" }),
        Latin => by_words(text, &WORDS[..10]),
        Cyrillic => by_words(text, &WORDS[10..]),
        _ => None,
    }
}

fn by_words(text: &str, languages: &[(&'static str, &str)]) -> Option<&'static str> {
    let mut hits = vec![0u32; languages.len()];
    let mut padded = String::new();
    let mut read = 0;
    let is_between = |c: char| !c.is_alphabetic() && c != '\'' && c != '’';
    for word in text.split(is_between).filter(|word| !word.is_empty()).take(WORDS_READ) {
        read += 1;
        if word.len() > 24 {
            continue;
        }
        padded.clear();
        padded.push(' ');
        padded.extend(word.chars().flat_map(char::to_lowercase));
        padded.push(' ');
        for (hits, (_, words)) in hits.iter_mut().zip(languages) {
            *hits += u32::from(words.contains(padded.as_str()));
        }
    }
    let best = (0..languages.len()).rev().max_by_key(|index| hits[*index])?;
    let second = (0..languages.len()).filter(|index| *index != best).map(|index| hits[index]).max()?;
    // Two common words, a tenth of the text, and half as many again as any other language has.
    let clear = hits[best] >= 2 && hits[best] * 10 >= read && 2 * hits[best] > 3 * second;
    clear.then_some(languages[best].0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_in_order() {
        assert!(BLOCKS.windows(2).all(|pair| pair[0].1 < pair[1].0));
        assert!(BLOCKS.iter().all(|(first, last, _)| first <= last));
    }

    #[test]
    fn detects_the_script_of_most_letters() {
        for (text, expected) in [
            ("Hello 日", Some(Latin)),
            ("Привет, world of мир и Москва", Some(Cyrillic)),
            ("この写真には猫がいます", Some(Kana)),
            ("照片里有一只猫", Some(Han)),
            ("12 % — 3/4", None),
            ("", None),
        ] {
            assert_eq!(script(text), expected, "{text}");
        }
    }

    #[test]
    fn detects_languages_by_common_words() {
        for (text, expected) in [
            ("What is the color of the car in this image?", Some("en")),
            ("Quelle est la couleur de la voiture dans cette image ?", Some("fr")),
            ("Welche Farbe hat das Auto auf dem Bild?", Some("de")),
            ("¿De qué color es el coche que está en la imagen?", Some("es")),
            ("Qual è il colore della macchina in questa immagine?", Some("it")),
            ("Het is een auto en de kleur van de auto is rood", Some("nl")),
            ("Jaki kolor ma samochód, który jest na tym obrazku?", Some("pl")),
            ("Что это за машина и какого она цвета?", Some("ru")),
            ("写真の中の車は何色ですか", Some("ja")),
            ("이 사진에서 자동차는 무슨 색입니까", Some("ko")),
            ("red", None),
            ("Toyota Corolla 2.0", None),
        ] {
            assert_eq!(language(text), expected, "{text}");
        }
    }
}
