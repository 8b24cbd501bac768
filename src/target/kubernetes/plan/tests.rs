use serde_json::Value;

use super::*;
use crate::target::kubernetes::object;
use crate::tools::versions::Chart;

fn plan(stack: &str) -> Result<Plan> {
    let stack: ClusterStack = serde_saphyr::from_str(stack).expect("a stack");
    let read = |file: &str| match file {
        "app.yaml" => Ok("apiVersion: v1\nkind: Pod\nmetadata: {name: app}\n".into()),
        "values.yaml" => Ok("a: {b: ${replicas}}\nshell: echo ${HOME}\n".into()),
        other => Err(Error::usage(format!("there is no {other}"))),
    };
    let parameters = IndexMap::from([("replicas".to_owned(), "3".to_owned())]);
    Plan::new(
        &stack,
        &Sources {
            read: &read,
            parameters: &parameters,
            rules: &[],
            mirror: None,
            folder: None,
            values: &IndexMap::new(),
        },
    )
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.name.as_str()).collect()
}

#[test]
fn steps_come_after_what_they_need() {
    let plan = plan(
        "namespace: lab\n\
         charts: {monitoring: {chart: ./kps, needs: [early]}, logs: {chart: ./loki}}\n\
         manifests: {early: {files: [app.yaml]}, app: {files: [app.yaml], needs: [monitoring, logs]}}\n",
    )
    .unwrap();
    assert_eq!(names(&plan), ["logs", "early", "monitoring", "app"]);
    assert_eq!(plan.needs(), [vec![], vec![], vec![1], vec![2, 0]]);
}

#[test]
fn what_a_patch_changes_next_is_waited_for_once() {
    let stack = |routes: &str| {
        format!(
            "namespace: lab\n\
             manifests: {{app: {{files: [app.yaml]}}, routes: {{files: [routes.yaml], needs: [{routes}]}}}}\n\
             patches:\n  metrics: {{needs: [app], target: {{kind: Deployment, name: app}}, patch: 'a: 1'}}\n"
        )
    };
    let left = |text: &str| {
        let stack: ClusterStack = serde_saphyr::from_str(text).unwrap();
        let read = |file: &str| {
            let kind = if file == "app.yaml" { "Deployment" } else { "Ingress" };
            Ok(format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: app}}\n"))
        };
        let (parameters, values) = (IndexMap::new(), IndexMap::new());
        let sources = Sources {
            read: &read,
            parameters: &parameters,
            rules: &[],
            mirror: None,
            folder: None,
            values: &values,
        };
        let plan = Plan::new(&stack, &sources).unwrap();
        plan.steps.into_iter().find(|step| step.name == "app").unwrap().left
    };
    assert_eq!(left(&stack("metrics")), [("Deployment".to_owned(), "app".to_owned())]);
    // Somebody relies on it as it is before the patch.
    assert!(left(&stack("app")).is_empty());
    let elsewhere = stack("metrics").replace("name: app}", "name: app, namespace: other}");
    assert!(left(&elsewhere).is_empty());
}

#[test]
fn images_have_their_full_names_in_pods_and_in_the_step_that_loads_them() {
    let mut plan = plan("namespace: lab\nimages: {image: {image: sre}}\n").unwrap();
    let pod =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{image: sre}, {image: sre:1}]}";
    plan.steps.push(Step {
        name: "app".into(),
        action: Action::Apply(object::read_objects("p.yaml", pod).unwrap()),
        needs: vec![0],
        wait: Duration::from_secs(1),
        left: Vec::new(),
    });
    plan.name_images(&IndexMap::from([("sre".to_owned(), "docker.io/library/sre:abc".to_owned())]));
    let Action::Image(image) = &plan.steps[0].action else { panic!("an image") };
    assert_eq!(image.image, "docker.io/library/sre:abc");
    let Action::Apply(objects) = &plan.steps[1].action else { panic!("objects") };
    let named: Vec<&Value> =
        objects[0].data["spec"]["containers"].as_array().unwrap().iter().map(|c| &c["image"]).collect();
    assert_eq!(named, ["docker.io/library/sre:abc", "sre:1"]);
}

#[test]
fn rule_files_are_objects_of_the_operator_and_taken_as_they_are() {
    let stack: ClusterStack =
        serde_saphyr::from_str("namespace: lab\nrules: {labels: {release: m}, interval: 2s}\n").unwrap();
    let read = |_: &str| Ok("groups: [{name: g, interval: 1s, rules: [{alert: A, expr: '${x}'}]}]\n".into());
    let parameters = IndexMap::from([("x".to_owned(), "filled".to_owned())]);
    let rules = ["rules/lab.yaml".to_owned()];
    let sources = Sources {
        read: &read,
        parameters: &parameters,
        rules: &rules,
        mirror: None,
        folder: None,
        values: &IndexMap::new(),
    };
    let plan = Plan::new(&stack, &sources).unwrap();
    let Action::Apply(objects) = &plan.steps[0].action else { panic!("objects") };
    assert_eq!(objects[0].metadata.name.as_deref(), Some("rules-lab"));
    let group = &objects[0].data["spec"]["groups"][0];
    assert_eq!(group["rules"][0]["expr"], "${x}");
    assert_eq!(group["interval"], "2s");
}

#[test]
fn a_mirror_stands_for_repositories() {
    let stack: ClusterStack = serde_saphyr::from_str(
        "namespace: lab\ncharts: {m: {chart: kps, repository: https://x.org, version: 1.2.3}, l: {chart: ./loki}}",
    )
    .unwrap();
    let (read, parameters) = (|_: &str| Ok(String::new()), IndexMap::new());
    let sources = Sources {
        read: &read,
        parameters: &parameters,
        rules: &[],
        mirror: Some("/srv/mirror/"),
        folder: None,
        values: &IndexMap::new(),
    };
    let charts: Vec<String> = Plan::new(&stack, &sources)
        .unwrap()
        .steps
        .into_iter()
        .filter_map(|step| match step.action {
            Action::Chart(release) => Some(release.chart),
            _ => None,
        })
        .collect();
    assert_eq!(charts, ["/srv/mirror/charts/kps-1.2.3.tgz", "./loki"]);
}

#[test]
fn a_cycle_is_named() {
    let stack = "namespace: lab\n\
        charts: {a: {chart: ./a, needs: [b]}, b: {chart: ./b, needs: [c]}, c: {chart: ./c, needs: [b]}}";
    assert_eq!(plan(stack).unwrap_err().what(), "steps need each other: b → c → b");
}

#[test]
fn an_unknown_need_suggests_the_nearest() {
    let error =
        plan("namespace: lab\ncharts: {monitoring: {chart: ./a}, b: {chart: ./b, needs: [monitorin]}}");
    assert_eq!(error.unwrap_err().next_step(), Some("did you mean `monitoring`?"));
}

#[test]
fn a_name_stands_for_one_step() {
    let error = plan("namespace: lab\ncharts: {a: {chart: ./a}}\nmanifests: {a: {files: [app.yaml]}}");
    assert_eq!(error.unwrap_err().what(), "two steps of the stack are named `a`");
}

#[test]
fn charts_from_a_repository_are_pinned() {
    let error = plan("namespace: lab\ncharts: {a: {chart: oci://ghcr.io/x/a}}");
    assert_eq!(error.unwrap_err().what(), "chart `a` has no `version`");
}

#[test]
fn a_pinned_chart_needs_no_more_than_its_name() {
    let plan = plan("namespace: lab\ncharts: {logs: {chart: loki}}").unwrap();
    let Action::Chart(release) = &plan.steps[0].action else { panic!("a chart") };
    let pin = Chart::named("loki").unwrap();
    assert_eq!(release.repository.as_deref(), Some(pin.repository));
    assert_eq!(release.version.as_deref(), Some(pin.version));
}

#[test]
fn further_files_of_values_win_and_are_filled() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.yaml");
    std::fs::write(&file, "a: {b: 5}\nnew: ${replicas}\n").unwrap();
    let stack: ClusterStack =
        serde_saphyr::from_str("namespace: lab\ncharts: {a: {chart: ./a, values: [v.yaml]}}").unwrap();
    let read = |_: &str| Ok("a: {b: 1, c: 2}\n".into());
    let parameters = IndexMap::from([("replicas".to_owned(), "3".to_owned())]);
    let with = |chart: &str| {
        let values = IndexMap::from([(chart.to_owned(), vec![file.clone()])]);
        let sources = Sources {
            read: &read,
            parameters: &parameters,
            rules: &[],
            mirror: None,
            folder: None,
            values: &values,
        };
        Plan::new(&stack, &sources)
    };
    let Action::Chart(release) = &with("a").unwrap().steps[0].action.clone() else { panic!("a chart") };
    assert_eq!(release.values, serde_json::json!({"a": {"b": 5, "c": 2}, "new": 3}));
    assert!(with("aa").unwrap_err().to_string().contains("did you mean `a`?"));
}

#[test]
fn files_are_filled_and_values_may_be_set() {
    let plan =
        plan("namespace: lab\ncharts: {a: {chart: ./a, values: [values.yaml], set: {a.c: true}}}").unwrap();
    let Action::Chart(release) = &plan.steps[0].action else { panic!("a chart") };
    assert_eq!(release.values, serde_json::json!({"a": {"b": 3, "c": true}, "shell": "echo ${HOME}"}));
}

#[test]
fn patches_are_told_apart_by_their_shape() {
    let stack = |patch: &str| {
        format!("namespace: lab\npatches: {{p: {{target: {{kind: Deployment}}, patch: '{patch}'}}}}")
    };
    let body = |text: &str| match plan(&stack(text)).map(|p| p.steps[0].action.clone()) {
        Ok(Action::Patch { body, .. }) => Ok(body),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    assert!(matches!(body("spec: {replicas: 1}"), Ok(PatchBody::Merge(_))));
    assert!(matches!(body("[{op: remove, path: /spec/x}]"), Ok(PatchBody::Json(_))));
    assert!(body("[{op: nothing, path: /spec/x}]").is_err());
    assert!(body("text").is_err());
}

#[test]
fn a_chart_is_found_in_the_folder_of_its_stack() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("mychart")).unwrap();
    let read = |_: &str| Ok(String::new());
    let sources = Sources {
        read: &read,
        parameters: &IndexMap::new(),
        rules: &[],
        mirror: Some("/srv/mirror"),
        folder: Some(folder.path()),
        values: &IndexMap::new(),
    };
    for named in ["mychart", "./mychart"] {
        let stack = format!("namespace: lab\ncharts: {{a: {{chart: {named}}}}}");
        let plan = Plan::new(&serde_saphyr::from_str(&stack).unwrap(), &sources).unwrap();
        let Action::Chart(release) = &plan.steps[0].action else { panic!("a chart") };
        assert_eq!(std::path::PathBuf::from(&release.chart), folder.path().join(named));
    }
}

#[test]
fn names_of_steps_are_names_of_objects() {
    for name in ["../../x", "-f", "A", "a/b", "a b", ""] {
        let stack = format!("namespace: lab\nimages: {{{name:?}: {{image: x}}}}");
        let error = plan(&stack).expect_err(name);
        assert!(error.to_string().contains("is no name of a step"), "{error}");
    }
}
