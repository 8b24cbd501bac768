//! Parameters: what is declared, what `--set key=value` gives, and what each is in the end.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;

use super::Parameter;
use crate::config::{Document, Path, Problem, Values, unknown};
use crate::error::{Error, Result};
use crate::scenario::Duration;

/// The parameters that a stack's file declares. The rest of the file is not looked at: it may hold placeholders.
pub fn declared(document: &Document) -> Result<IndexMap<String, Parameter>, Vec<Problem>> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default)]
        parameters: IndexMap<String, Parameter>,
    }
    let parameters = document.typed::<Head>().map_err(|problem| vec![problem])?.parameters;
    let problems: Vec<Problem> = parameters
        .iter()
        .flat_map(|(name, parameter)| unsound(name, parameter, &Path::root().key("parameters").key(name)))
        .collect();
    let twice = parameters.iter().flat_map(|(name, parameter)| {
        let path = Path::root().key("parameters").key(name).key("gives");
        parameter.gives.keys().filter(|given| parameters.contains_key(*given)).map(move |given| {
            Problem::key_error(&path.key(given), format!("`{given}` is a parameter of its own already"))
        })
    });
    let problems: Vec<Problem> = problems.into_iter().chain(twice).collect();
    if problems.is_empty() { Ok(parameters) } else { Err(problems) }
}

fn unsound(name: &str, parameter: &Parameter, path: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    if name.is_empty() || !name.chars().all(named) {
        let message = "the name of a parameter has only small letters, digits, `_` and `-`";
        problems.push(Problem::key_error(path, message));
    }
    let values = parameter.values.iter().enumerate().map(|(i, value)| (path.key("values").index(i), value));
    let on_cluster = parameter.on_cluster.iter().map(|value| (path.key("on_cluster"), value));
    let all = [(path.key("default"), &parameter.default)].into_iter().chain(on_cluster).chain(values);
    for (path, value) in all {
        if text(value).is_none() {
            problems
                .push(Problem::error(&path, "a parameter is a text, a number, true or false, on one line"));
        } else if let Err(why) = typed(&text(value).unwrap_or_default(), &parameter.default) {
            problems.push(Problem::error(&path, format!("{why}, as the default is")));
        }
    }
    for (given, by_value) in &parameter.gives {
        let path = path.key("gives").key(given);
        if given.is_empty() || !given.chars().all(named) {
            let message = "the name of a parameter has only small letters, digits, `_` and `-`";
            problems.push(Problem::key_error(&path, message));
        }
        let values: Vec<String> = parameter.values.iter().filter_map(text).collect();
        for missing in values.iter().filter(|value| !by_value.contains_key(*value)) {
            problems.push(Problem::key_error(&path, format!("nothing is given for the value `{missing}`")));
        }
        for (value, gives) in by_value {
            if !values.contains(value) {
                let help = unknown(value, values.iter().map(String::as_str));
                let message = format!("`{value}` is not one of `values`");
                problems.push(Problem::key_error(&path.key(value), message).help(help));
            }
            if text(gives).is_none() {
                let message = "a parameter is a text, a number, true or false, on one line";
                problems.push(Problem::error(&path.key(value), message));
            }
        }
    }
    if !parameter.values.is_empty() && !parameter.values.contains(&parameter.default) {
        problems.push(Problem::error(&path.key("default"), "the default is not one of `values`"));
    }
    if parameter
        .on_cluster
        .as_ref()
        .is_some_and(|value| !parameter.values.is_empty() && !parameter.values.contains(value))
    {
        problems.push(Problem::error(&path.key("on_cluster"), "this default is not one of `values`"));
    }
    problems
}

/// The value of every parameter: as `set` has it (the last one counts), or its default on this kind of target.
///
/// An unknown key, a value of another type than the default's, and one that is not among `values` is a usage error.
pub fn resolve(
    declared: &IndexMap<String, Parameter>,
    set: &[(String, String)],
    on_cluster: bool,
) -> Result<Values> {
    let default = |(name, parameter): (&String, &Parameter)| {
        let default = parameter.on_cluster.as_ref().filter(|_| on_cluster).unwrap_or(&parameter.default);
        (name.clone(), text(default).unwrap_or_default())
    };
    let mut values: Values = declared.iter().map(default).collect();
    for (key, value) in set {
        let refused =
            |why: String| Error::usage(format!("--set {key}={value} cannot be used")).because_of(why);
        let Some(parameter) = declared.get(key) else {
            let help = unknown(key, declared.keys().map(String::as_str));
            return Err(refused(format!("the stack has no parameter `{key}`")).hint(help));
        };
        typed(value, &parameter.default).map_err(refused)?;
        let allowed: Vec<String> = parameter.values.iter().filter_map(text).collect();
        if !allowed.is_empty() && !allowed.contains(value) {
            let help = unknown(value, allowed.iter().map(String::as_str));
            return Err(refused(format!("`{value}` is not one of its values")).hint(help));
        }
        values.insert(key.clone(), value.clone());
    }
    let given = declared.iter().flat_map(|(key, parameter)| {
        let value = values[key].clone();
        parameter
            .gives
            .iter()
            .filter_map(move |(given, by_value)| Some((given.clone(), text(by_value.get(&value)?)?)))
    });
    let given: Vec<(String, String)> = given.collect();
    values.extend(given);
    Ok(values)
}

/// Whether a text has the type of a default: a whole number, a number, true or false, a duration, or any text.
fn typed(text: &str, default: &Value) -> Result<(), String> {
    let wanted = match default {
        _ if text.contains(char::is_control) => "on one line, without control characters",
        Value::Bool(_) if text.parse::<bool>().is_err() => "true or false",
        Value::Number(number) if number.is_u64() && text.parse::<u64>().is_err() => {
            "a whole number, 0 or more"
        }
        Value::Number(number) if number.is_i64() && text.parse::<i64>().is_err() => "a whole number",
        Value::Number(_) if !text.parse::<f64>().is_ok_and(f64::is_finite) => "a number",
        Value::String(default)
            if default.parse::<Duration>().is_ok() && text.parse::<Duration>().is_err() =>
        {
            "a duration such as `500ms` or `30s`"
        }
        _ => return Ok(()),
    };
    Err(format!("`{text}` must be {wanted}"))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.contains(char::is_control) => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: &str = "
parameters:
  replicas: {description: How many, default: 3}
  scrape_interval: {description: How often, default: 1s, on_cluster: 2s}
  profile: {description: Which rules, default: lab, values: [lab, production]}
  verbose: {description: How much, default: false}
  seed: {description: Anything, default: a}
rest: ${replicas}
";

    fn set(pairs: &[(&str, &str)]) -> Result<Values> {
        let document = Document::parse("stack", "stack.yaml", STACK).expect("YAML");
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        resolve(&declared(&document).expect("sound parameters"), &pairs, false)
    }

    #[test]
    fn a_cluster_may_have_a_default_of_its_own() {
        let document = Document::parse("stack", "stack.yaml", STACK).expect("YAML");
        let declared = declared(&document).expect("sound parameters");
        let on_cluster = |set: &[(String, String)]| resolve(&declared, set, true).expect("values");
        assert_eq!(on_cluster(&[])["scrape_interval"], "2s");
        assert_eq!(on_cluster(&[("scrape_interval".into(), "5s".into())])["scrape_interval"], "5s");
    }

    #[test]
    fn the_last_one_set_counts_and_the_rest_have_their_defaults() {
        let values = set(&[("replicas", "4"), ("replicas", "5"), ("seed", "a=b")]).expect("values");
        let shown: Vec<String> = values.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(shown, ["replicas=5", "scrape_interval=1s", "profile=lab", "verbose=false", "seed=a=b"]);
    }

    #[test]
    fn values_have_the_default_s_type_and_are_among_those_allowed() {
        for (key, value, why) in [
            ("replica", "3", "did you mean `replicas`?"),
            ("replicas", "-1", "a whole number, 0 or more"),
            ("replicas", "three", "a whole number"),
            ("scrape_interval", "5", "a duration"),
            ("profile", "labs", "did you mean `lab`?"),
            ("verbose", "yes", "true or false"),
            ("seed", "a\nb: c", "on one line"),
        ] {
            let error = set(&[(key, value)]).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_value_gives_others() {
        let text = "parameters:\n  ingress:\n    description: Which\n    default: nginx\n    values: [nginx, traefik]\n    \
                    gives: {label: {nginx: status, traefik: code}, port: {nginx: 80, traefik: 8000}}\n";
        let document = Document::parse("stack", "stack.yaml", text).expect("YAML");
        let declared = declared(&document).expect("sound parameters");
        let values = resolve(&declared, &[], false).expect("values");
        assert_eq!((&*values["label"], &*values["port"]), ("status", "80"));
        let set = |key: &str, value: &str| resolve(&declared, &[(key.to_owned(), value.to_owned())], false);
        assert_eq!(set("ingress", "traefik").expect("values")["label"], "code");
        assert!(set("label", "code").expect_err("follows").to_string().contains("no parameter `label`"));
    }

    #[test]
    fn a_declaration_must_be_sound() {
        for (parameter, why) in [
            ("a: {description: x, default: b, values: [b, c], gives: {d: {b: 1}}}", "for the value `c`"),
            ("a: {description: x, default: b, values: [b], gives: {d: {b: 1, e: 2}}}", "not one of `values`"),
            ("a: {description: x, default: b, values: [b], gives: {a: {b: 1}}}", "a parameter of its own"),
            ("a: {description: x, default: [1]}", "on one line"),
            ("a: {description: x, default: 1, values: [1, b]}", "must be a whole number"),
            ("a: {description: x, default: c, values: [a, b]}", "not one of `values`"),
            ("a: {description: x, default: a, on_cluster: c, values: [a, b]}", "not one of `values`"),
            ("a: {description: x, default: 1s, on_cluster: c}", "a duration"),
            ("A b: {description: x, default: c}", "small letters"),
        ] {
            let document = Document::parse("stack", "stack.yaml", format!("parameters:\n  {parameter}\n"))
                .expect("YAML");
            let problems = declared(&document).expect_err(why);
            assert!(problems.iter().any(|problem| problem.message.contains(why)), "{problems:?}");
        }
    }
}
