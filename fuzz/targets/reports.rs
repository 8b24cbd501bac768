//! Event logs, and what is told of them.

use crate::report::{self, Report, junit, markdown};
use crate::run::Log;

/// Whatever a log says, its reports are valid: XML and JSON that others can read.
pub fn events(data: &[u8]) {
    let log = Log::parse(data);
    let Ok(report) = Report::from_events(&log.events) else { return };
    let json = serde_json::to_string(&report).expect("JSON");
    serde_json::from_str::<serde_json::Value>(&json).expect("valid JSON");
    let xml = junit::junit(&report).expect("XML");
    well_formed(&xml);
    let _ = markdown::markdown(&report);
    let _ = report::text(&report);
}

/// A document of elements that all have an end, without characters that XML has not.
fn well_formed(xml: &str) {
    let odd = |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    assert!(!xml.contains(odd), "a character that XML has not: {xml:?}");
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml;
    while let Some((text, after)) = rest.split_once('<') {
        entities(text);
        // Within quotes a `>` may stand.
        let mut quoted = None;
        let end = after.char_indices().find_map(|(at, c)| match (quoted, c) {
            (None, '"' | '\'') => {
                quoted = Some(c);
                None
            }
            (Some(quote), c) if c == quote => {
                quoted = None;
                None
            }
            (None, '>') => Some(at),
            _ => None,
        });
        let end = end.expect("a tag has an end");
        let tag = &after[..end];
        assert!(!tag.contains('<'), "{tag}");
        entities(tag);
        let name = |tag: &'_ str| -> usize { tag.find([' ', '\n', '/']).unwrap_or(tag.len()) };
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed.trim()), "{xml}");
        } else if !tag.starts_with(['?', '!']) && !tag.ends_with('/') {
            open.push(&tag[..name(tag)]);
        }
        rest = &after[end + 1..];
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
}

/// An `&` begins an entity.
fn entities(text: &str) {
    for after in text.split('&').skip(1) {
        let name = after.split_once(';').map_or("", |(name, _)| name);
        let known = ["amp", "lt", "gt", "quot", "apos"].contains(&name) || name.starts_with('#');
        assert!(known, "&{name}");
    }
}
