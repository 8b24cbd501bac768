//! Selectors of series as PromQL writes them.

/// A selector of a metric's series: `name{label="value"}`. A name that PromQL does not take bare is matched as text,
/// which every version takes.
pub fn selector(metric: &str, matchers: impl IntoIterator<Item = String>) -> String {
    let matchers = matchers.into_iter();
    if is_bare(metric) {
        return format!("{metric}{{{}}}", matchers.collect::<Vec<_>>().join(","));
    }
    let all: Vec<String> = std::iter::once(matcher("__name__", "=", metric)).chain(matchers).collect();
    format!("{{{}}}", all.join(","))
}

/// A label matcher of a selector: `handler!="/metrics"`. PromQL escapes text as JSON does. A name that PromQL does not
/// take bare is quoted, which Prometheus 3 takes.
pub fn matcher(label: &str, operator: &str, value: &str) -> String {
    let value = serde_json::Value::from(value);
    match is_bare(label) {
        true => format!("{label}{operator}{value}"),
        false => format!("{}{operator}{value}", serde_json::Value::from(label)),
    }
}

/// A label matcher for any of these values, as they are.
pub fn one_of<T: AsRef<str>>(label: &str, values: impl IntoIterator<Item = T>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| literal(value.as_ref())).collect();
    matcher(label, "=~", &values.join("|"))
}

/// A regular expression for this text and no other. RE2 refuses a `\` before what needs none.
pub fn literal(text: &str) -> String {
    let special = |c: char| r"\.+*?()|[]{}^$".contains(c);
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

/// Whether every version takes this name without quotes.
pub fn is_bare(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic() || "_:".contains(c))
        && letters.all(|c| c.is_ascii_alphanumeric() || "_:".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_must_be() {
        let one = || [matcher("a", "=", "b")];
        assert_eq!(selector("requests_total", one()), r#"requests_total{a="b"}"#);
        assert_eq!(selector("up", []), "up{}");
        assert_eq!(selector("http.requests", one()), r#"{__name__="http.requests",a="b"}"#);
        assert_eq!(matcher("http.route", "!=", "/a\"b"), r#""http.route"!="/a\"b""#);
        assert_eq!(matcher("größe", "=", "x"), r#""größe"="x""#);
        assert_eq!(matcher("user id", "=", "x"), r#""user id"="x""#);
    }

    #[test]
    fn what_is_written_is_promql() {
        for name in ["requests_total", "http.requests", "größe", "user id", "1st"] {
            for value in ["/café", "a.b|c", "\u{200b}", "tab\t\"quote\"\\", "日本"] {
                for text in [
                    selector(name, [matcher(name, "=", value)]),
                    selector(name, [one_of(name, [value, "other"])]),
                ] {
                    promql_parser::parser::parse(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
                }
            }
        }
    }

    #[test]
    fn only_what_means_something_to_re2_is_escaped() {
        assert_eq!(literal("/café"), "/café");
        assert_eq!(literal("a.b+c$"), r"a\.b\+c\$");
        assert_eq!(literal("<x> \"y\" %20&#~"), "<x> \"y\" %20&#~");
    }
}
