//! Generation with cached keys and values.

use pixtune_model::network::{Batch, Sequence};

use super::fixture::{all, difference, network};

#[test]
fn cached_logits_are_those_of_the_whole_text() {
    for fixture in all() {
        let base = fixture.base();
        let mut network = network(&base, &fixture.lora("lora_all"));
        network.load_adapter(&fixture.adapter("lora_all")).unwrap();
        for input in fixture.inputs.values() {
            let mut sequence = input.sequence.clone();
            let mut cache = network.cache(sequence.ids.len() + 12);
            let mut next = Batch::pack(&[sequence.clone()], 10).unwrap();
            for _ in 0..12 {
                let cached = network.extend(&mut cache, &next).unwrap();
                let whole = Batch::pack(&[sequence.clone()], 10).unwrap();
                let expected = network.logits(&whole, &[whole.tokens() as u32 - 1]).unwrap();
                assert!(difference(&cached, &expected) < 1e-4);
                let (token, expected) = (argmax(&cached), argmax(&expected));
                assert_eq!(token, expected);
                if token == 10 {
                    break;
                }
                sequence.ids.push(token);
                sequence.trained.push(false);
                let one = Sequence { ids: vec![token], trained: vec![false], images: Vec::new() };
                next = Batch::pack(&[one], 10).unwrap();
            }
            assert!(network.extend(&mut network.cache(2), &fixture.batch(&["text"])).is_err());
        }
    }
}

fn argmax(logits: &[f32]) -> u32 {
    let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
    best.unwrap() as u32
}
