use std::sync::Arc;

use super::*;

fn entry(line: &str) -> Entry {
    let labels = |pairs: &[(&str, &str)]| -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    Entry {
        time: 1,
        stream: Arc::new(labels(&[("service_name", "shop"), ("k8s_pod_name", "shop-0")])),
        metadata: labels(&[("request_id", "42-a.b-7"), ("status", "503")]),
        line: line.into(),
    }
}

/// The labels that a query makes of a line, if it gives it.
fn asked(query: &str, line: &str) -> Option<Labels> {
    let (query, entry) = (Query::parse(query).unwrap_or_else(|why| panic!("{query}: {why}")), entry(line));
    if query.selects(&entry.stream) { query.labels(&entry) } else { None }
}

#[test]
fn the_queries_of_the_check_are_answered() {
    let json = r#"{service_name="shop"} |= "42-a.b-" | json sre_request_id="request_id", sre_status="status" | sre_status =~ "4..|503""#;
    let line = |status: &str| {
        format!(
            r#"{{"request_id": "42-a.b-9", "status": {status}, "nested": {{"list": [1, {{"x": null}}]}}}}"#
        )
    };
    let labels = asked(json, &line("503")).expect("a line");
    assert_eq!((labels["sre_request_id"].as_str(), labels["sre_status"].as_str()), ("42-a.b-9", "503"));
    assert_eq!((labels["service_name"].as_str(), labels["status"].as_str()), ("shop", "503"));
    assert!(asked(json, &line("\"404\"")).is_some());
    assert!(asked(json, &line("500")).is_none());
    assert!(asked(json, &line("4040")).is_none(), "a status is matched as a whole");
    assert!(asked(json, "42-a.b- but no JSON").is_none());
    assert!(asked(json, r#"{"status": 503}"#).is_none(), "another run");

    let logfmt = r#"{service_name="shop"} |= "42-" | logfmt sre_request_id="request_id", sre_status="status" | sre_status =~ "5..""#;
    let labels =
        asked(logfmt, r#"level=error msg="it \"broke\"" request_id=42-x status=500 done"#).expect("a line");
    assert_eq!((labels["sre_request_id"].as_str(), labels["sre_status"].as_str()), ("42-x", "500"));
    assert!(asked(logfmt, r#"request_id=42-x msg="status=500" status=400"#).is_none());

    let metadata = r#"{service_name="shop"} | request_id =~ "42-a\\.b-.+" | status =~ "4..|503""#;
    assert!(asked(metadata, "any").is_some());
    assert!(asked(r#"{service_name="shop"} | request_id =~ "42-a\\.b-""#, "any").is_none());
}

#[test]
fn selectors_and_filters_are_as_loki_has_them() {
    for (query, gives) in [
        (r#"{service_name="shop"}"#, true),
        (r#" { service_name = "shop" , k8s_pod_name =~ "shop-[0-9]", } "#, true),
        (r#"{service_name=~"sho"}"#, false),
        (r#"{service_name!="shop"}"#, false),
        (r#"{service_name!~"x|shop"}"#, false),
        (r#"{other=""}"#, true),
        (r#"{other!=""}"#, false),
        ("{service_name=`shop`} |= `b \"c`", true),
        (r#"{service_name="shop"} |= "b \"c" != "d" |~ "^a.b" !~ "x$""#, true),
        (r#"{service_name="shop"} != "b""#, false),
        (r#"{service_name="shop"} |~ "B""#, false),
        (r#"{service_name="shop"} |~ "(?i)B""#, true),
        (r#"{service_name="shop"} | json a="b" | __error__ = "JSONParserErr""#, true),
        (r#"{service_name="shop"} | json a="b" | a = """#, true),
    ] {
        assert_eq!(asked(query, "a b \"c").is_some(), gives, "{query}");
    }
    let taken = asked(
        r#"{service_name="shop"} | json service_name="a.b[1]", x="[\"d e\"]", y="a.c", z="a""#,
        r#"{"a": {"b": [1, 2.5]}, "d e": true}"#,
    );
    let taken = taken.expect("a line");
    assert_eq!((taken["service_name"].as_str(), taken["service_name_extracted"].as_str()), ("shop", "2.5"));
    assert_eq!(
        (taken["x"].as_str(), taken["y"].as_str(), taken["z"].as_str()),
        ("true", "", r#"{"b":[1,2.5]}"#)
    );
}

#[test]
fn what_is_not_answered_is_refused_by_name() {
    for (query, why) in [
        ("", "begins with a stream selector"),
        (r#"rate({a="b"}[1m])"#, "metric queries"),
        (r#"count_over_time({a="b"}[1m])"#, "metric queries"),
        (r#"{a="b"} | json"#, "needs the fields"),
        (r#"{a="b"} | logfmt | x = "y""#, "needs the fields"),
        (r#"{a="b"} | line_format "x""#, "`| line_format` is not answered here"),
        (r#"{a="b"} | pattern "<_>""#, "`| pattern` is not answered here"),
        (r#"{a="b"} | status >= 500"#, "compared with texts"),
        (r#"{a="b"} | status = 500"#, "a text in quotation marks"),
        (r#"{a="b"} | x = "y" or x = "z""#, "not joined"),
        (r#"{a="b"} |= "x" or "y""#, "not joined"),
        (r#"{a="b"} | x = "y", z = "a""#, "not joined"),
        (r#"{a="b"} [5m]"#, "no part of a query for lines"),
        (r#"{a="b""#, "`}` is missing"),
        (r#"{a="b"#, "a quotation mark is missing"),
        (r#"{a=~"("}"#, "not a regular expression"),
        (r#"{a=~")|("}"#, "not a regular expression"),
        (r#"{a=~"(a{1000}){1000}"}"#, "not a regular expression"),
        (r#"{a="\q"}"#, "an escape"),
        (r#"{a="b"} | json x="a b""#, "no path of a field"),
        ("{a=`b}", "a ` is missing"),
        ("{1a=\"b\"}", "a name is missing"),
    ] {
        let refused = Query::parse(query).expect_err(query);
        assert!(refused.contains(why), "{query}: {refused}");
    }
}
