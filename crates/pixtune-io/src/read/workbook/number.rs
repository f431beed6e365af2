//! Numbers of cells: what is shown as a date or a time is read as one.

use std::borrow::Cow;

use pixtune_core::json::Value;

use super::super::columnar::number::float;

/// What a number format makes of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Shown {
    #[default]
    Number,
    /// With a day; with a time of day if the number has one.
    Date,
    /// Without a day.
    Time,
}

impl Shown {
    /// Of a format that every workbook has (ECMA-376, 18.8.30).
    pub(super) fn built_in(id: u32) -> Shown {
        match id {
            14..=17 | 22 | 27..=31 | 36 | 50..=54 | 57 | 58 => Shown::Date,
            18..=21 | 32..=35 | 45..=47 | 55 | 56 => Shown::Time,
            _ => Shown::Number,
        }
    }

    /// Of a format code such as `yyyy-mm-dd`.
    pub(super) fn of_code(code: &str) -> Shown {
        let (mut has_day, mut has_time, mut has_m) = (false, false, false);
        let mut rest = code.chars();
        while let Some(character) = rest.next() {
            match character.to_ascii_lowercase() {
                '"' => drop(rest.by_ref().find(|next| *next == '"')),
                '\\' | '_' | '*' => drop(rest.next()),
                // `[h]` counts hours; other brackets hold colors, conditions and locales.
                '[' => {
                    let inside: String = rest.by_ref().take_while(|next| *next != ']').collect();
                    has_time |= !inside.is_empty() && inside.chars().all(|next| "hmsHMS".contains(next));
                }
                ';' => break,
                'y' | 'd' => has_day = true,
                'h' | 's' => has_time = true,
                'm' => has_m = true,
                // `General`, and the `AM/PM` of a time.
                'g' if rest.as_str().to_ascii_lowercase().starts_with("eneral") => return Shown::Number,
                'a' => {
                    let lower = rest.as_str().to_ascii_lowercase();
                    let skipped =
                        if lower.starts_with("m/pm") { 4 } else { usize::from(lower.starts_with("/p")) * 2 };
                    rest.by_ref().take(skipped).for_each(drop);
                }
                _ => {}
            }
        }
        match (has_day, has_time) {
            (true, _) => Shown::Date,
            (false, true) => Shown::Time,
            (false, false) if has_m => Shown::Date,
            (false, false) => Shown::Number,
        }
    }
}

/// The value of a cell with a number; days count from 1904 in some workbooks.
pub(super) fn value(number: f64, shown: Shown, from_1904: bool) -> Value<'static> {
    let days = number.floor();
    let milliseconds = ((number - days) * 86_400_000.0).round() as i64;
    let is_date = (0.0..2_958_466.0).contains(&number);
    match shown {
        Shown::Date | Shown::Time if is_date => {
            let (days, milliseconds) = (days as i64 + milliseconds / 86_400_000, milliseconds % 86_400_000);
            Value::String(Cow::Owned(match shown {
                Shown::Time if days == 0 => time(milliseconds),
                _ if milliseconds == 0 => date(days, from_1904),
                _ => format!("{}T{}", date(days, from_1904), time(milliseconds)),
            }))
        }
        _ if number.fract() == 0.0 && number.abs() < 1e15 => {
            Value::Number(Cow::Owned(format!("{}", number as i64)))
        }
        _ => float(number, number),
    }
}

fn time(milliseconds: i64) -> String {
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    let text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if rest == 0 { text } else { format!("{text}.{rest:03}") }
}

/// The date of a number of days.
fn date(days: i64, from_1904: bool) -> String {
    // Day 60 is 29 February 1900, which never was; days before it are off by one.
    let since_1970 = match (from_1904, days) {
        (true, days) => days - 24_107,
        (false, 60..) => days - 25_569,
        (false, days) => days - 25_568,
    };
    // Howard Hinnant's days_from_civil, the other way round: years begin in March.
    let z = since_1970 + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_dates_and_times_are_recognized() {
        for (code, shown) in [
            ("General", Shown::Number),
            ("0.00", Shown::Number),
            ("#,##0 \"days\"", Shown::Number),
            ("[Red]0.0;[Blue]0.0", Shown::Number),
            ("0.00E+00", Shown::Number),
            ("@", Shown::Number),
            ("\\d0", Shown::Number),
            ("yyyy-mm-dd", Shown::Date),
            ("[$-409]d-mmm-yy;@", Shown::Date),
            ("mmmm", Shown::Date),
            ("YYYY-MM-DD HH:MM:SS", Shown::Date),
            ("h:mm AM/PM", Shown::Time),
            ("[h]:mm", Shown::Time),
            ("mm:ss", Shown::Time),
        ] {
            assert_eq!(Shown::of_code(code), shown, "{code}");
        }
    }

    #[test]
    fn numbers_and_dates_are_written_plainly() {
        let text = |number, shown| value(number, shown, false).to_string();
        assert_eq!(text(1.0, Shown::Number), "1");
        assert_eq!(text(-2.5, Shown::Number), "-2.5");
        assert_eq!(text(1e300, Shown::Number), "1e+300");
        assert_eq!(text(45_322.0, Shown::Date), "\"2024-01-31\"");
        assert_eq!(text(45_351.75, Shown::Date), "\"2024-02-29T18:00:00\"");
        assert_eq!(text(0.520_833_333_333, Shown::Time), "\"12:30:00\"");
        assert_eq!(text(0.999_999_999_9, Shown::Date), "\"1900-01-01\"");
        assert_eq!(text(1.0, Shown::Date), "\"1900-01-01\"");
        assert_eq!(text(61.0, Shown::Date), "\"1900-03-01\"");
        assert_eq!(text(25_569.0, Shown::Date), "\"1970-01-01\"");
        assert_eq!(text(-1.0, Shown::Date), "-1");
        assert_eq!(text(1e9, Shown::Date), "1000000000");
        assert_eq!(value(24_107.0, Shown::Date, true).to_string(), "\"1970-01-01\"");
    }
}
