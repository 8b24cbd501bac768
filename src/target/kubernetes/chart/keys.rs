//! Whether a chart knows the values that it is given. Helm takes any key and says nothing: a typo is a default that stays.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::Content;
use super::content::DEEPEST;
use crate::config::nearest;
use crate::error::{Error, Result};
use crate::target::kubernetes::object;
use crate::target::kubernetes::values::merge;

/// Names of mappings that hold whatever the user likes: another program's configuration, labels, environments.
const FREE: [&str; 8] =
    ["global", "resources", "affinity", "env", "securityContext", "tolerations", "limits", "requests"];

/// What takes a mapping whole, or key by key, in a template.
const WHOLE: [&str; 9] =
    ["range", "toYaml", "toJson", "toToml", "toPrettyJson", "tpl", "merge", "mustMerge", "mergeOverwrite"];

/// How the names of such mappings end.
const FREE_ENDS: [&str; 6] = ["config", "labels", "annotations", "selector", "securitycontext", ".ini"];

/// The values that a chart knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its defaults, with those of its subcharts below their names.
    defaults: Value,
    /// Its JSON schema, where it has one.
    schema: Value,
    /// Mappings that its templates take as they are, key by key or whole: what the user adds to them is used.
    open: HashSet<String>,
    /// What its templates ask for, and what its values have in comments: charts leave values out of their defaults that
    /// they know all the same.
    words: HashSet<String>,
}

/// A value that a chart does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Its path: `singleBinary.persistance`.
    pub path: String,
    /// What was probably meant: a key of the same mapping.
    pub near: Option<String>,
}

impl Known {
    /// What a chart's own files say.
    ///
    /// # Errors
    /// Usage (exit 2) where its values are no YAML mapping.
    pub fn of(content: &Content) -> Result<Known> {
        Known::within(content, 0)
    }

    fn within(content: &Content, depth: usize) -> Result<Known> {
        if depth > DEEPEST {
            return Err(Error::usage(format!("charts are nested more than {DEEPEST} deep")));
        }
        let mut defaults = mapping(content, "values.yaml")?;
        let chart = mapping(content, "Chart.yaml")?;
        let mut words = HashSet::new();
        let mut open: HashSet<String> = content.below("templates").flat_map(taken_whole).collect();
        words.extend(
            content.text("values.yaml").into_iter().flat_map(commented).flat_map(split).map(str::to_owned),
        );
        words.extend(content.below("templates").flat_map(asked).map(str::to_owned));
        let dependencies = chart["dependencies"].as_array().cloned().unwrap_or_default();
        for dependency in &dependencies {
            for path in ["condition", "alias", "name"].iter().filter_map(|key| dependency[*key].as_str()) {
                words.extend(split(path).map(str::to_owned));
            }
        }
        for sub in content.subcharts() {
            let known = Known::within(&sub, depth + 1)?;
            words.extend(known.words);
            let name = mapping(&sub, "Chart.yaml")?["name"].as_str().unwrap_or_default().to_owned();
            let names: Vec<&str> = dependencies
                .iter()
                .filter(|dependency| dependency["name"] == name.as_str())
                .filter_map(|dependency| dependency["alias"].as_str().or(dependency["name"].as_str()))
                .collect();
            open.extend(
                names.iter().flat_map(|name| known.open.iter().map(move |path| format!("{name}.{path}"))),
            );
            for name in if names.is_empty() { vec![name.as_str()] } else { names } {
                let mut below = known.defaults.clone();
                merge(&mut below, defaults.get(name).cloned().unwrap_or_else(|| Value::Object(Map::new())));
                defaults[name] = below;
            }
        }
        let schema = match content.text("values.schema.json") {
            // Helm holds the values against it, and says so where it is broken.
            Some(text) => serde_json::from_str(text).unwrap_or_default(),
            None => Value::Null,
        };
        Ok(Known { defaults, schema, open, words })
    }

    /// The keys of `values` that the chart names nowhere, in their order. What a mapping holds that is the user's own
    /// (another program's configuration, labels) is not looked at.
    pub fn unknown(&self, values: &Value) -> Vec<Unknown> {
        let mut found = Vec::new();
        self.walk(values, &self.defaults, Some(&self.schema), &mut Vec::new(), &mut found);
        found
    }

    fn walk<'a>(
        &self,
        values: &'a Value,
        defaults: &Value,
        schema: Option<&Value>,
        path: &mut Vec<&'a str>,
        found: &mut Vec<Unknown>,
    ) {
        let (Value::Object(values), Value::Object(defaults)) = (values, defaults) else { return };
        // An empty mapping among the defaults is one to be filled.
        if !path.is_empty() && (defaults.is_empty() || is_free(path, schema)) {
            return;
        }
        for (key, value) in values {
            let below = schema.and_then(|schema| schema.get("properties")?.get(key));
            path.push(key);
            match defaults.get(key) {
                // Helm hands it to every subchart.
                None if path.as_slice() == ["global"] => {}
                Some(defaults) => self.walk(value, defaults, below, path, found),
                None if below.is_some() || self.names(key) || self.is_open(&path[..path.len() - 1]) => {}
                None => {
                    let known = defaults.keys().map(String::as_str);
                    found
                        .push(Unknown { path: path.join("."), near: nearest(key, known).map(str::to_owned) });
                }
            }
            path.pop();
        }
    }

    /// Whether the templates take whatever is in a mapping.
    fn is_open(&self, path: &[&str]) -> bool {
        self.open.contains(&path.join("."))
    }

    fn names(&self, key: &str) -> bool {
        split(key).all(|word| self.words.contains(word))
    }
}

/// Holds a release's values against the chart's own.
///
/// # Errors
/// Usage (exit 2): every value that the chart does not know, with what was probably meant.
pub fn check(release: &str, chart: &str, values: &Value, known: &Known) -> Result<()> {
    let unknown = known.unknown(values);
    if unknown.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = unknown
        .iter()
        .map(|key| match &key.near {
            Some(near) => format!("`{}`: did you mean `{near}`?", key.path),
            None => format!("`{}`", key.path),
        })
        .collect();
    let count = if told.len() == 1 { "a value".to_owned() } else { format!("{} values", told.len()) };
    Err(Error::usage(format!("release {release}: the chart {chart} does not know {count} that it is given"))
        .because_of(told.join("\n"))
        .hint(
            "`helm show values CHART` shows those that it knows; helm itself would take them and do nothing",
        ))
}

/// Whether a mapping holds what the user likes.
fn is_free(path: &[&str], schema: Option<&Value>) -> bool {
    let name = path.last().copied().unwrap_or_default();
    if FREE.contains(&name) || FREE_ENDS.iter().any(|end| name.to_ascii_lowercase().ends_with(end)) {
        return true;
    }
    schema.and_then(Value::as_object).is_some_and(|schema| {
        let more = schema.get("additionalProperties");
        more.is_some_and(|more| more.is_object() || *more == Value::Bool(true))
            || schema.contains_key("patternProperties")
    })
}

fn mapping(content: &Content, file: &str) -> Result<Value> {
    let Some(text) = content.text(file) else { return Ok(Value::Object(Map::new())) };
    match object::read_documents(&format!("the chart's {file}"), text)?.pop() {
        Some(mapping @ Value::Object(_)) => Ok(mapping),
        None | Some(Value::Null) => Ok(Value::Object(Map::new())),
        Some(_) => Err(Error::usage(format!("the chart's {file} is not a mapping"))),
    }
}

/// Keys that are in comments of a file of values: `# storageClass: standard`.
fn commented(values: &str) -> impl Iterator<Item = &str> {
    values.lines().filter_map(|line| {
        let (key, _) =
            line.trim_start().strip_prefix('#')?.trim_start_matches(['#', ' ', '-']).split_once(':')?;
        key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')).then_some(key)
    })
}

/// Words of a template that may be keys: `.Values.a.b`, `index .Values "a"`.
fn asked(template: &str) -> impl Iterator<Item = &str> {
    let start = template.as_ptr() as usize;
    split(template).filter(move |word| {
        let at = word.as_ptr() as usize - start;
        at > 0 && matches!(template.as_bytes()[at - 1], b'.' | b'"')
    })
}

/// The paths of values that a template takes whole (`toYaml .Values.a`) or key by key (`range $k, $v := .Values.a.b`).
fn taken_whole(template: &str) -> Vec<String> {
    let actions: Vec<&str> =
        template.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0)).collect();
    let whole = |action: &str| split(action).any(|word| WHOLE.contains(&word));
    let mut paths = Vec::new();
    for (i, action) in actions.iter().enumerate() {
        // `with .Values.a`, and in it `toYaml .`
        let with = action.trim_start_matches(['-', ' ']).starts_with("with ")
            && actions[i + 1..]
                .iter()
                .take_while(|next| !split(next).any(|word| word == "end"))
                .any(|next| whole(next));
        if whole(action) || with {
            paths.extend(action.match_indices(".Values.").map(|(at, found)| {
                let rest = &action[at + found.len()..];
                let end = rest
                    .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.')))
                    .unwrap_or(rest.len());
                rest[..end].trim_end_matches('.').to_owned()
            }));
        }
    }
    paths
}

/// The words of a text as keys are spelled: letters, digits, `_` and `-`.
fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn known() -> Known {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                (
                    "Chart.yaml",
                    "name: outer\ndependencies: [{name: inner, alias: logs, condition: logs.enabled}]\n",
                ),
                (
                    "values.yaml",
                    "persistence:\n  # In other words, it is kept.\n  enabled: true\n  # storageClass: standard\nresources: {}\n\
                     config: {server: {port: 1}}\nprogram: {a: 1}\nlogs: {size: 1}\n",
                ),
                ("templates/x.yaml", "x: {{ .Values.secretFlag }}"),
                (
                    "values.schema.json",
                    r#"{"properties": {"program": {"additionalProperties": true}, "later": {"type": "string"}}}"#,
                ),
                ("charts/inner/Chart.yaml", "name: inner\n"),
                ("charts/inner/values.yaml", "replicas: 1\nsize: 2\n"),
            ],
        );
        Known::of(&Content::read(root.path()).unwrap()).unwrap()
    }

    #[test]
    fn a_typo_is_found_wherever_it_is() {
        let values = json!({
            "persistance": {"enabled": false},
            "words": 1,
            "persistence": {"enabeld": true, "storageClass": "fast"},
            "logs": {"replica": 2, "replicas": 2, "enabled": true},
        });
        let found: Vec<(String, Option<String>)> =
            known().unknown(&values).into_iter().map(|key| (key.path, key.near)).collect();
        let near = |path: &str, near: &str| (path.to_owned(), Some(near.to_owned()));
        assert_eq!(
            found,
            [
                near("persistance", "persistence"),
                ("words".to_owned(), None),
                near("persistence.enabeld", "enabled"),
                near("logs.replica", "replicas")
            ]
        );
    }

    #[test]
    fn what_is_the_user_s_own_is_free() {
        let values = json!({
            "resources": {"limits": {"example.org/gpu": 1}},
            "config": {"anything": {"at": "all"}},
            "program": {"unheard": 1},
            "global": {"imageRegistry": "x"},
            "secretFlag": true,
            "later": "x",
        });
        assert_eq!(known().unknown(&values), []);
    }

    #[test]
    fn maps_that_a_user_extends_are_no_typos() {
        let root = tempfile::tempdir().unwrap();
        let template = "{{- range $name, $worker := .Values.workers }}\n{{ $worker.replicas }}\n{{- end }}\n\
            data: {{- toYaml $.Values.files.extra | nindent 2 }}\n\
            {{- with .Values.pod }}\n{{ toYaml . }}\n{{- end }}\n{{- with .Values.kept }}{{ .size }}{{ end }}";
        let values =
            "workers: {mail: {replicas: 1}}\nfiles: {extra: {a: 1}, b: 1}\npod: {x: 1}\nkept: {size: 1}\n";
        write(
            root.path(),
            &[
                ("Chart.yaml", "name: outer\ndependencies: [{name: inner, alias: logs}]\n"),
                ("values.yaml", values),
                ("templates/x.yaml", template),
                ("charts/inner/Chart.yaml", "name: inner\n"),
                ("charts/inner/values.yaml", values),
                ("charts/inner/templates/x.yaml", template),
            ],
        );
        let known = Known::of(&Content::read(root.path()).unwrap()).unwrap();
        let given = json!({"workers": {"mail": null, "invoices": {"replicas": 2}}, "files": {"extra": {"orders.conf": "off"}}, "pod": {"y": 2}});
        let mut values = given.clone();
        values["logs"] = given;
        assert_eq!(known.unknown(&values), []);
        let typos = json!({"worker": {}, "files": {"extras": {}}, "kept": {"sizes": 1}});
        let found: Vec<String> = known.unknown(&typos).into_iter().map(|key| key.path).collect();
        assert_eq!(found, ["worker", "files.extras", "kept.sizes"]);
    }

    #[test]
    fn the_error_names_the_release_the_chart_and_every_typo() {
        let error = check("loki", "outer", &json!({"persistance": 1, "xyz": 1}), &known()).unwrap_err();
        assert_eq!(error.exit(), crate::exit::Exit::Usage);
        assert_eq!(error.what(), "release loki: the chart outer does not know 2 values that it is given");
        assert_eq!(error.causes(), ["`persistance`: did you mean `persistence`?\n`xyz`"]);
    }
}
