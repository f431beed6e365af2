//! Ranges of numbered shards in input names, as WebDataset writes them: `train-{000..063}.tar`.

/// The names that a range stands for, in order; the name itself where there is none. Numbers have the width of the first.
pub(super) fn expand(name: &str) -> Vec<String> {
    let Some((before, numbers, after)) = range(name) else { return vec![name.to_owned()] };
    let width = numbers.0.len();
    let (Ok(first), Ok(last)) = (numbers.0.parse::<u32>(), numbers.1.parse::<u32>()) else {
        return vec![name.to_owned()];
    };
    if last < first || last - first >= MOST {
        return vec![name.to_owned()];
    }
    let name = |number| format!("{before}{number:0width$}{after}");
    (first..=last).flat_map(|number| expand(&name(number))).collect()
}

/// More shards than any dataset has.
const MOST: u32 = 1_000_000;

/// The parts of the first `{000..063}` in a name.
fn range(name: &str) -> Option<(&str, (&str, &str), &str)> {
    name.match_indices('{').find_map(|(open, _)| {
        let (inside, after) = name[open + 1..].split_once('}')?;
        let (first, last) = inside.split_once("..")?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        (is_number(first) && is_number(last)).then_some((&name[..open], (first, last), after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stand_for_their_numbers() {
        assert_eq!(expand("a-{008..010}.tar"), ["a-008.tar", "a-009.tar", "a-010.tar"]);
        assert_eq!(expand("{0..1}/{x}{1..2}"), ["0/{x}1", "0/{x}2", "1/{x}1", "1/{x}2"]);
        for name in ["a.tar", "{1,2}", "{a..b}", "{2..1}", "{0..4294967295}", "{1..", "{0..1000000}"] {
            assert_eq!(expand(name), [name]);
        }
    }
}
