//! Suggestions for mistyped names.

/// The known name nearest to a mistyped one, regardless of case; `None` if none is near.
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let name = name.to_lowercase();
    let near = known.into_iter().map(|other| (distance(&name, &other.to_lowercase()), other)).min()?;
    // A short name with half of its characters changed is a different name.
    let most = (1 + near.1.len() / 4).min(name.chars().count().saturating_sub(1) / 2);
    (near.0 <= most).then_some(near.1)
}

/// The Levenshtein distance.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (row, from) in one.chars().take(100).enumerate() {
        let mut here = vec![row + 1];
        for (column, to) in other.iter().enumerate() {
            let replaced = above[column] + usize::from(from != *to);
            here.push(replaced.min(above[column + 1] + 1).min(here[column] + 1));
        }
        above = here;
    }
    above[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest_name() {
        let known = ["mojibake", "image-animated", "id", "blank-line"];
        assert_eq!(nearest("mojibak", known), Some("mojibake"));
        assert_eq!(nearest("Image-Anmated", known), Some("image-animated"));
        assert_eq!(nearest("completely-different-thing", known), None);
        assert_eq!(nearest("ie", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest("anything", []), None);
    }
}
