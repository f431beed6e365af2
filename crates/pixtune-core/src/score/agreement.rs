//! How far two judges agree about the same answers.

use super::pair::Preference;

/// Agreement of two judges that rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatingAgreement {
    /// Answers that both rated.
    pub samples: u64,
    /// Answers with equal ratings.
    pub equal: u64,
    /// Answers whose ratings are at most 1 apart.
    pub within_one: u64,
    /// The mean of the second's rating minus the first's.
    pub mean_difference: f64,
    /// Pearson's correlation of the ratings; `None` where a judge rates everything the same.
    pub correlation: Option<f64>,
}

/// Agreement of `(first, second)` ratings; `None` without any.
pub fn rating_agreement(pairs: &[(f64, f64)]) -> Option<RatingAgreement> {
    let count = pairs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / count;
    let within = |most: f64| pairs.iter().filter(|(one, other)| (one - other).abs() <= most).count() as u64;
    if pairs.is_empty() {
        return None;
    }
    let (first, second) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let (mut both, mut of_first, mut of_second) = (0.0, 0.0, 0.0);
    for (one, other) in pairs {
        both += (one - first) * (other - second);
        of_first += (one - first).powi(2);
        of_second += (other - second).powi(2);
    }
    let scale = (of_first * of_second).sqrt();
    Some(RatingAgreement {
        samples: pairs.len() as u64,
        equal: within(0.0),
        within_one: within(1.0),
        mean_difference: second - first,
        correlation: (scale > 0.0).then(|| (both / scale).clamp(-1.0, 1.0)),
    })
}

/// Agreement of two judges that choose between two answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PreferenceAgreement {
    /// Pairs that both judged.
    pub samples: u64,
    /// Pairs with the same preference, ties included.
    pub equal: u64,
    /// Pairs in which both prefer an answer, and not the same.
    pub opposite: u64,
    /// Cohen's kappa: the agreement beyond that of judges who choose at random with the same shares; `None` where each of
    /// them always prefers the same.
    pub kappa: Option<f64>,
}

/// Agreement of `(first, second)` preferences; `None` without any.
pub fn preference_agreement(pairs: &[(Preference, Preference)]) -> Option<PreferenceAgreement> {
    const ALL: [Preference; 3] = [Preference::Model, Preference::Compared, Preference::Tie];
    if pairs.is_empty() {
        return None;
    }
    let count =
        |is: &dyn Fn(&(Preference, Preference)) -> bool| pairs.iter().filter(|pair| is(pair)).count() as u64;
    let samples = pairs.len() as u64;
    let equal = count(&|(one, other)| one == other);
    let tied = |pair: &(Preference, Preference)| pair.0 == Preference::Tie || pair.1 == Preference::Tie;
    let share = |count: u64| count as f64 / samples as f64;
    let by_chance: f64 = ALL
        .into_iter()
        .map(|one| share(count(&|pair| pair.0 == one)) * share(count(&|pair| pair.1 == one)))
        .sum();
    Some(PreferenceAgreement {
        samples,
        equal,
        opposite: count(&|pair| pair.0 != pair.1 && !tied(pair)),
        kappa: (by_chance < 1.0).then(|| (share(equal) - by_chance) / (1.0 - by_chance)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_of_ratings() {
        assert_eq!(rating_agreement(&[]), None);
        let found = rating_agreement(&[(1.0, 2.0), (5.0, 5.0), (9.0, 7.0)]).unwrap();
        assert_eq!((found.samples, found.equal, found.within_one), (3, 1, 2));
        assert!((found.mean_difference + 1.0 / 3.0).abs() < 1e-12);
        // numpy.corrcoef([1, 5, 9], [2, 5, 7])[0, 1]
        assert!((found.correlation.unwrap() - 0.993_399_267_798_783_1).abs() < 1e-12);
        assert_eq!(rating_agreement(&[(5.0, 1.0), (5.0, 9.0)]).unwrap().correlation, None);
    }

    #[test]
    fn agreement_of_preferences() {
        use Preference::{Compared, Model, Tie};
        assert_eq!(preference_agreement(&[]), None);
        let pairs = [(Model, Model), (Model, Model), (Model, Compared), (Compared, Compared), (Tie, Model)];
        let found = preference_agreement(&pairs).unwrap();
        assert_eq!((found.samples, found.equal, found.opposite), (5, 3, 1));
        // By chance: 3/5 * 3/5 + 1/5 * 2/5 + 1/5 * 0 = 11/25; (15/25 - 11/25) / (14/25).
        assert!((found.kappa.unwrap() - 4.0 / 14.0).abs() < 1e-12);
        assert_eq!(preference_agreement(&[(Tie, Tie)]).unwrap().kappa, None);
    }
}
