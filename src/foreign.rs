//! Text of others: what servers, pods, labels, logs and files say is shown, and does nothing.
//!
//! A terminal obeys control characters, a reader the direction of letters. Whatever goes to a screen or into a report
//! goes through here, where both become visible: `\x1b`, `\u{202e}`.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The styles that screens of `sre` have, as parameters of SGR. None hides text.
const OWN_STYLES: [&str; 18] =
    ["", "0", "1", "2", "22", "31", "32", "33", "34", "35", "36", "39", "91", "92", "93", "94", "95", "96"];

/// The text with all visible that is no letter: only line breaks and tabs are left.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'), |_| 0)
}

/// The same for a cell or a name, which stands on one line.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false, |_| 0)
}

/// The same for a whole screen, which keeps its own styles.
pub fn screen(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'), own_style)
}

/// A JSON document that says the same, with nothing in it that a terminal or a reader obeys.
pub fn json(document: &str) -> Cow<'_, str> {
    if !document.contains(|c: char| c != '\n' && acts(c)) {
        return Cow::Borrowed(document);
    }
    let mut clean = String::with_capacity(document.len());
    for c in document.chars() {
        // Characters below U+0020 are escaped in JSON already; the others stand in texts alone.
        match c != '\n' && acts(c) {
            true => _ = write!(clean, "\\u{:04x}", c as u32),
            false => clean.push(c),
        }
    }
    Cow::Owned(clean)
}

/// Whether a text has something in it that a terminal or a reader obeys, line breaks and tabs aside.
pub fn is_hostile(text: &str) -> bool {
    text.contains(|c: char| !matches!(c, '\n' | '\t') && acts(c))
}

/// Control characters, and what turns the direction of text or breaks lines.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Makes visible what acts, but for what is left as it is: characters, and so many bytes of what begins here.
fn escaped(text: &str, stays: impl Fn(char) -> bool, own: impl Fn(&str) -> usize) -> Cow<'_, str> {
    if !text.contains(|c: char| acts(c) && !stays(c)) {
        return Cow::Borrowed(text);
    }
    let (mut clean, mut rest) = (String::with_capacity(text.len() + 16), text);
    while let Some(c) = rest.chars().next() {
        let length = match own(rest) {
            0 => c.len_utf8(),
            length => length,
        };
        if length > c.len_utf8() || !acts(c) || stays(c) {
            clean.push_str(&rest[..length]);
        } else {
            match c {
                '\n' => clean.push_str("\\n"),
                '\r' => clean.push_str("\\r"),
                '\t' => clean.push_str("\\t"),
                c if c.is_ascii() => _ = write!(clean, "\\x{:02x}", c as u32),
                c => _ = write!(clean, "\\u{{{:x}}}", c as u32),
            }
        }
        rest = &rest[length..];
    }
    Cow::Owned(clean)
}

/// How many bytes of the text are a style of `sre` itself at its beginning.
fn own_style(text: &str) -> usize {
    let Some((styles, _)) = text.strip_prefix("\x1b[").and_then(|rest| rest.split_once('m')) else {
        return 0;
    };
    match styles.split(';').all(|style| OWN_STYLES.contains(&style)) {
        true => styles.len() + 3,
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_acts_becomes_visible_and_everything_else_stays() {
        for (text, shown) in [
            ("\x1b]0;owned\x07\x1b[2Jok", r"\x1b]0;owned\x07\x1b[2Jok"),
            ("pass\rFAIL", r"pass\rFAIL"),
            ("\u{9b}2J \u{7f}", r"\u{9b}2J \x7f"),
            ("abc\u{202e}cba\u{2066}", r"abc\u{202e}cba\u{2066}"),
            ("größe · ✔ 👩‍🚀 日本\tx\ny", "größe · ✔ 👩‍🚀 日本\tx\ny"),
        ] {
            assert_eq!(visible(text), shown);
        }
        assert_eq!(one_line("a\nb\tc"), r"a\nb\tc");
        assert!(matches!(visible("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_screen_keeps_its_own_styles_and_no_others() {
        for own in ["\x1b[32m✔\x1b[39m", "\x1b[1mload\x1b[0m", "\x1b[1;91mx\x1b[m"] {
            assert_eq!(screen(own), own);
        }
        for (text, shown) in [
            ("\x1b[8mhidden\x1b[0m", "\\x1b[8mhidden\x1b[0m"),
            ("\x1b[38;5;0mm", r"\x1b[38;5;0mm"),
            ("\x1b[1A\x1b[2Km", r"\x1b[1A\x1b[2Km"),
        ] {
            assert_eq!(screen(text), shown);
        }
    }

    proptest! {
        #[test]
        fn nothing_that_acts_is_left(text in "(\\PC|[\\x00-\\x1f\\x7f-\\x9f\u{202a}-\u{202e}]|\\x1b\\[[0-9;]{0,4}m){0,40}") {
            prop_assert!(!is_hostile(&visible(&text)));
            prop_assert!(!one_line(&text).contains(acts));
            let shown = screen(&text).into_owned();
            prop_assert_eq!(&*screen(&shown), shown.as_str());
            prop_assert!(!is_hostile(&anstream::adapter::strip_str(&shown).to_string()));
            let document = serde_json::to_string_pretty(&serde_json::json!({"a": text})).expect("JSON");
            let clean = json(&document);
            prop_assert!(!is_hostile(&clean));
            let read: serde_json::Value = serde_json::from_str(&clean).expect("JSON still");
            prop_assert_eq!(read["a"].as_str(), Some(text.as_str()));
        }
    }
}
