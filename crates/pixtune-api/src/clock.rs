//! The time of day, and dates as the APIs write them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

/// Year, month and day of a time, in UTC.
fn date(seconds: i64) -> (i64, i64, i64) {
    // The days since 0000-03-01 in years that end with February, so that a leap day is the last day of its year.
    let days = seconds.div_euclid(86_400) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// The date as in the names of tuned models: `20261130`.
pub fn compact_date(seconds: i64) -> String {
    let (year, month, day) = date(seconds);
    format!("{year:04}{month:02}{day:02}")
}

/// The time as RFC 3339: `2026-11-30T01:02:03Z`.
pub fn rfc3339(seconds: i64) -> String {
    let (year, month, day) = date(seconds);
    let of_day = seconds.rem_euclid(86_400);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// Seconds since 1970 of a date, or a date and a time, with or without an offset; `None` for anything else.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let digits = |from: usize, to: usize| {
        text.get(from..to).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))?.parse::<i64>().ok()
    };
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    if text.get(4..5)? != "-"
        || text.get(7..8)? != "-"
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
    {
        return None;
    }
    let shifted = if month > 2 { year } else { year - 1 };
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days =
        shifted * 365 + shifted.div_euclid(4) - shifted.div_euclid(100) + shifted.div_euclid(400) + of_year
            - 719_468;
    let Some(time) = text.get(10..).filter(|rest| !rest.is_empty()) else { return Some(days * 86_400) };
    if !time.starts_with(['T', 't', ' ']) || text.get(13..14)? != ":" || text.get(16..17)? != ":" {
        return None;
    }
    let seconds = digits(11, 13)? * 3600 + digits(14, 16)? * 60 + digits(17, 19)?;
    let zone = text.get(19..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    Some(days * 86_400 + seconds - offset(zone)?)
}

/// Seconds of a time zone: `Z`, nothing, or `+02:00`.
fn offset(zone: &str) -> Option<i64> {
    if zone.is_empty() || zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
    Some(
        sign * (hours.parse::<u8>().ok().map(i64::from)? * 3600
            + minutes.parse::<u8>().ok().map(i64::from)? * 60),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_back() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_993_323, "2026-11-29T23:02:03Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
            assert_eq!(parse_rfc3339(text), Some(seconds), "{text}");
        }
        assert_eq!(parse_rfc3339("2026-11-30T01:02:03.5+01:00"), parse_rfc3339("2026-11-30T00:02:03Z"));
        assert_eq!(parse_rfc3339("2000-02-29"), Some(951_782_400));
        assert_eq!(compact_date(951_782_400), "20000229");
        for wrong in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-11-30T1:2:3",
            "2026-11-30T01:02:03 o'clock",
            "２０２６-11-30",
        ] {
            assert_eq!(parse_rfc3339(wrong), None, "{wrong}");
        }
    }
}
