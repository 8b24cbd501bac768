//! Numbers and times as people read them.

/// `12000` as `12,000`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time: up to two minutes in seconds, `60 s`; else as `5m`.
pub(super) fn length(duration: crate::scenario::Duration) -> String {
    let seconds = duration.as_secs_f64();
    if (1.0..=120.0).contains(&seconds) { format!("{seconds} s") } else { duration.to_string() }
}

/// Milliseconds with as many digits as tell something: `1.2 ms`, `480 ms`, `2.1 s`.
pub(super) fn milliseconds(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn times_have_the_digits_that_tell_something() {
        assert_eq!([0.84, 31.2, 2_100.0].map(milliseconds), ["0.8 ms", "31 ms", "2.1 s"]);
        assert_eq!(length(crate::scenario::Duration::from_secs(60)), "60 s");
        assert_eq!(length(crate::scenario::Duration::from_secs(300)), "5m");
    }
}
