//! References to images: a data URI keeps its payload, and decoding and encoding it restores its base64.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pixtune_core::conversation::image_source;
use pixtune_core::sample::ImageSource;
use pixtune_io::base64;

fuzz_target!(|reference: &str| {
    match image_source(reference) {
        Ok(ImageSource::Inline { mime, base64: payload }) => {
            assert!(!payload.is_empty() && reference.contains(&payload));
            assert_eq!(mime, mime.to_ascii_lowercase());
            let again = ImageSource::Inline { mime: mime.clone(), base64: payload.clone() };
            assert_eq!(image_source(&format!("data:{mime};base64,{payload}")), Ok(again));
            if let Some(bytes) = base64::decode(&payload) {
                let mut encoded = Vec::new();
                base64::encode(&bytes, &mut encoded);
                assert_eq!(encoded.len(), base64::encoded_length(bytes.len()));
                let encoded = String::from_utf8(encoded).expect("base64 is ASCII");
                assert_eq!(base64::decode(&encoded), Some(bytes));
                // The last letter may hold bits that belong to no byte; Python ignores them.
                let letters = |text: &str| {
                    let mut letters: Vec<char> = text.chars().filter(|c| is_letter(*c)).collect();
                    letters.pop();
                    letters
                };
                assert_eq!(letters(&payload), letters(&encoded));
            }
        }
        Ok(ImageSource::Url(url)) => assert_eq!(url, reference.trim()),
        Ok(ImageSource::File(path)) => assert!(path.len() <= reference.len()),
        Ok(ImageSource::Bytes(_)) => unreachable!("a reference is text"),
        Err(finding) => assert_eq!(finding.rule.id, "image-bad-data-uri"),
    }
});

fn is_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "+/".contains(letter)
}
