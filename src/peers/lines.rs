//! Reads reports that are made for people, line by line.

use super::Unread;

/// What stands after a beginning on the one line that has it, if any has.
pub(super) fn at_most_once<'a>(text: &'a str, beginning: &str) -> Result<Option<&'a str>, Unread> {
    let mut found = text.lines().filter_map(|line| line.trim_start().strip_prefix(beginning));
    match (found.next(), found.next()) {
        (_, Some(_)) => {
            Err(Unread::Senseless(format!("`{beginning}` stands in it twice: more runs than one")))
        }
        (first, None) => Ok(first.map(str::trim)),
    }
}

/// The same, where there must be one.
pub(super) fn once<'a>(text: &'a str, beginning: &str) -> Result<&'a str, Unread> {
    at_most_once(text, beginning)?
        .ok_or_else(|| Unread::Senseless(format!("no line begins with `{beginning}`")))
}

/// The number that a text begins with.
pub(super) fn leading(text: &str) -> Result<u64, Unread> {
    let digits = text.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().map_err(|_| Unread::Senseless(format!("`{text}` does not begin with a number")))
}

/// The number before a word, in `160 total, 165 started`.
pub(super) fn before(text: &str, word: &str) -> Result<u64, Unread> {
    let part = text.split(',').map(str::trim).find_map(|part| part.strip_suffix(word));
    part.ok_or_else(|| Unread::Senseless(format!("`{text}` does not tell `{word}`")))
        .and_then(|n| leading(n.trim()))
}

/// The number after a word, in `connect 0, read 893`; 0 where there is none.
pub(super) fn after(text: &str, word: &str) -> Result<u64, Unread> {
    let parts = text.split([',', '(', ')']).map(str::trim);
    match parts.filter_map(|part| part.strip_prefix(word)).next() {
        Some(number) => leading(number.trim_start_matches(':').trim()),
        None => Ok(0),
    }
}

/// Seconds, of a length of time such as `2.11s`, `176.99ms`, `61us` or `1.50m`.
pub(super) fn seconds(text: &str) -> Result<f64, Unread> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    };
    let seconds = digits.parse::<f64>().unwrap_or(f64::NAN) * unit;
    match seconds.is_finite() && seconds >= 0.0 {
        true => Ok(seconds),
        false => Err(Unread::Senseless(format!("`{text}` is no length of time"))),
    }
}

/// A sum that may be too large to be one.
pub(super) fn sum(counts: impl IntoIterator<Item = u64>) -> Result<u64, Unread> {
    let sum = counts.into_iter().try_fold(0u64, u64::checked_add);
    sum.filter(|sum| *sum < 1 << 53).ok_or_else(|| Unread::Senseless("so many requests cannot be".into()))
}
