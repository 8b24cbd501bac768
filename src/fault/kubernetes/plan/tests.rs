//! Plans of the same small survey, changed here and there.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::survey::Workload;
use super::*;

fn deployment() -> ObjectRef {
    ObjectRef {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: Some("shop".into()),
        name: "web".into(),
    }
}

fn survey(replicas: u64, ready: u64) -> Survey {
    let on = deployment();
    let anchor = serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"spec": {"containers": [{"name": "web"}]}}},
    }))
    .expect("a Deployment");
    let seen = |number: u64| Seen {
        pod: PodRef { namespace: "shop".into(), name: format!("web-{number}"), uid: format!("uid-{number}") },
        node: "node-1".into(),
        address: "10.0.0.1".into(),
        ready: number < ready,
        containers: vec![("web".into(), Some(64 << 20))],
        ports: vec![8080],
        images: vec!["shop/web:1".into()],
        workload: Some(on.clone()),
        stays: false,
    };
    Survey {
        anchor,
        pods: (0..replicas).map(seen).collect(),
        workloads: vec![Workload { object: on.clone(), ready }],
        services: vec!["web".into()],
        nodes: BTreeMap::from([("node-1".to_owned(), 4.0)]),
        claims: Vec::new(),
        admitting: Vec::new(),
    }
}

fn request(kind: &str) -> Request {
    let yaml = if kind.contains(':') { format!("{{{kind}}}") } else { kind.to_owned() };
    Request {
        kind: serde_saphyr::from_str(&yaml).expect("a kind"),
        count: 1,
        replicas: None,
        allow_outage: false,
        image: Some("sre:1".into()),
        seconds: 30,
        node: None,
    }
}

fn refused(request: &Request, survey: &Survey) -> String {
    let error = plan(request, survey, "id").expect_err("it is refused");
    assert_eq!(error.exit(), crate::exit::Exit::Usage);
    error.to_string()
}

#[test]
fn one_of_three_pods_is_taken_and_a_ready_one_first() {
    let plan = plan(&request("pod-delete"), &survey(3, 2), "id").expect("a plan");
    assert_eq!(plan.blast.takes, ["Pod web-0 on node-1"]);
    assert_eq!(plan.blast.leaves, ["1 of 2 ready in Deployment shop/web", "reached by Service web"]);
    assert_eq!(plan.ready, [Ready { object: deployment(), count: 2 }]);
}

#[test]
fn the_last_replica_is_taken_only_when_that_is_allowed() {
    let mut wanted = request("pod-delete");
    let why = refused(&wanted, &survey(1, 1));
    assert!(why.contains("no replica of Deployment shop/web would be left"), "{why}");
    assert!(why.contains("--allow-outage"), "{why}");
    // The one that is not ready may go; the only ready one may not.
    assert!(refused(&wanted, &survey(2, 1)).contains("outage"));
    wanted.allow_outage = true;
    assert!(plan(&wanted, &survey(1, 1), "id").is_ok());
    for all in ["scale-to-zero", "unready", "network-cut"] {
        assert!(refused(&request(all), &survey(3, 3)).contains("outage"), "{all}");
    }
    assert!(refused(&request("memory-pressure: 100%"), &survey(1, 1)).contains("outage"));
    assert!(plan(&request("memory-pressure: 80%"), &survey(1, 1), "id").is_ok());
}

#[test]
fn a_broken_version_takes_what_the_strategy_allows() {
    let blast = |survey: &Survey| plan(&request("broken-readiness"), survey, "id").map(|p| p.blast.leaves);
    assert_eq!(blast(&survey(1, 1)).expect("a plan"), ["1 of 1 pods ready"]);
    assert_eq!(blast(&survey(4, 4)).expect("a plan"), ["3 of 4 pods ready"]);
    let mut recreate = survey(4, 4);
    recreate.anchor.data["spec"]["strategy"] = json!({"type": "Recreate"});
    assert!(blast(&recreate).is_err());
    let mut one = survey(1, 1);
    one.anchor.data["spec"]["strategy"]["rollingUpdate"] = json!({"maxSurge": 0, "maxUnavailable": 0});
    assert!(blast(&one).is_err());
}

#[test]
fn pods_are_named_by_number() {
    let mut wanted = request("latency: 2s");
    wanted.replicas = Some(vec![1]);
    let planned = plan(&wanted, &survey(3, 3), "id").expect("a plan");
    let [Effect::Switches { pods, .. }] = planned.effects.as_slice() else { panic!("{planned:?}") };
    assert_eq!(pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["web-1"]);
    wanted.replicas = Some(vec![3]);
    assert!(refused(&wanted, &survey(3, 3)).contains("there is no replica 3"));
}

#[test]
fn every_port_of_a_service_and_every_backend_of_an_ingress_is_wrong() {
    let mut wanted = request("wrong-port");
    wanted.allow_outage = true;
    let mut at = survey(1, 1);
    at.anchor = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"ports": [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 8081}]},
    }))
    .expect("a Service");
    let planned = plan(&wanted, &at, "id").expect("a plan");
    assert_eq!(
        planned.blast.takes,
        ["/spec/ports/0/targetPort: http → 1", "/spec/ports/1/targetPort: 8081 → 1"]
    );
    at.anchor = serde_json::from_value(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"rules": [{"http": {"paths": [{"path": "/", "backend": {"service": {"name": "web", "port": {"name": "http"}}}}]}}]},
    }))
    .expect("an Ingress");
    let planned = plan(&wanted, &at, "id").expect("a plan");
    let [Effect::Set { after, .. }] = planned.effects.as_slice() else { panic!("{planned:?}") };
    assert_eq!(*after, Some(json!({"number": 1})));
}

#[test]
fn what_cannot_be_undone_is_refused() {
    let mut bare = survey(2, 2);
    bare.pods.iter_mut().for_each(|seen| seen.workload = None);
    bare.workloads.clear();
    assert!(refused(&request("pod-delete"), &bare).contains("nothing would make Pod web-0 anew"));
    assert!(refused(&request("kill"), &survey(3, 3)).contains("pod-delete"));
    let mut unlimited = survey(2, 2);
    unlimited.pods.iter_mut().for_each(|seen| seen.containers[0].1 = None);
    assert!(refused(&request("memory-pressure: 50%"), &unlimited).contains("memory limit"));
    let mut without = request("cpu-pressure: 50%");
    without.image = None;
    assert!(refused(&without, &survey(1, 1)).contains("no image of sre"));
}

#[test]
fn what_another_policy_lets_through_is_not_cut() {
    let at = Survey { admitting: vec!["shop".into()], ..survey(2, 2) };
    let error = plan(&Request { allow_outage: true, ..request("network-cut") }, &at, "id")
        .expect_err("it is refused");
    assert!(error.to_string().contains("NetworkPolicy shop"), "{error}");
}

#[test]
fn pods_of_jobs_and_of_sre_itself_keep_no_node_from_being_drained_or_stopped() {
    let mut at = survey(3, 3);
    at.anchor = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}, "spec": {},
    }))
    .expect("a Node");
    at.pods.truncate(2);
    let job = ObjectRef { api_version: "batch/v1".into(), kind: "Job".into(), ..deployment() };
    let mut of_job = |name: &str, stays: bool, workload: Option<&ObjectRef>| {
        let pod = PodRef { namespace: "shop".into(), name: name.into(), uid: name.into() };
        at.pods.push(Seen { pod, stays, workload: workload.cloned(), ..at.pods[0].clone() });
    };
    of_job("backup", false, Some(&job));
    of_job("sre-load-1-0", true, Some(&job));
    of_job("sre-fault-one-0", true, None);
    at.workloads.push(Workload { object: job.clone(), ready: 0 });
    let planned = plan(&request("drain"), &at, "id").expect("a plan");
    assert_eq!(planned.blast.leaves, ["1 of 3 ready in Deployment shop/web", "reached by Service web"]);
    let [_, Effect::Evict { pods }] = planned.effects.as_slice() else { panic!("{planned:?}") };
    let names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(names, ["web-0", "web-1", "backup"]);
    let mut stop = request("node-stop");
    stop.node = Some(("stop".into(), "start".into()));
    assert_eq!(plan(&stop, &at, "id").expect("a plan").blast.outage, None);
}

#[test]
fn what_is_on_all_of_a_workload_is_an_outage_whichever_pods_are_meant() {
    let mut at = survey(3, 3);
    at.pods.truncate(1);
    for all in ["scale-to-zero", "network-cut"] {
        let why = refused(&request(all), &at);
        assert!(why.contains("no replica of Deployment shop/web would be left"), "{why}");
    }
    (at.workloads[0].ready, at.pods[0].ready) = (0, false);
    assert!(plan(&request("scale-to-zero"), &at, "id").is_ok(), "none was ready");
}

#[test]
fn a_replica_set_of_a_deployment_bears_no_fault() {
    let mut at = survey(3, 3);
    at.pods.clear();
    at.anchor = serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web-5d", "namespace": "shop",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "1", "controller": true}]},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}},
    }))
    .expect("a ReplicaSet");
    for kind in ["scale-to-zero", "network-cut", "pod-delete"] {
        let why = refused(&request(kind), &at);
        assert!(why.contains("it is Deployment web's own") && why.contains("--on deployment/web"), "{why}");
    }
    // One that nobody owns is a workload like any other.
    at.anchor.metadata.owner_references = None;
    let free = plan(&Request { allow_outage: true, ..request("scale-to-zero") }, &at, "id");
    assert!(free.is_ok());
}

/// A survey of a workload whose pods write to a claim for one writer.
fn on_a_claim(strategy: &str) -> Survey {
    let mut survey = survey(2, 2);
    survey.anchor.data["spec"]["strategy"] = json!({"type": strategy});
    survey.claims = vec!["data, ReadWriteOnce".into()];
    survey
}

#[test]
fn what_has_two_pods_write_to_one_claim_is_refused() {
    for kind in ["broken-readiness", "pod-delete"] {
        let why = refused(&request(kind), &on_a_claim("RollingUpdate"));
        assert!(why.contains("both would write to the claim (data, ReadWriteOnce)"), "{kind}: {why}");
    }
    // All old pods are gone before the new ones come.
    let mut allowed = request("broken-readiness");
    allowed.allow_outage = true;
    plan(&allowed, &on_a_claim("Recreate"), "id").expect("there are no two at once");
    plan(&request("broken-readiness"), &survey(2, 2), "id").expect("without a claim nothing is lost");
    let mut scaled = request("scale-to-zero");
    scaled.allow_outage = true;
    let why = refused(&scaled, &on_a_claim("Recreate"));
    assert!(why.contains("may take 30 s to end") && why.contains("--for 31s"), "{why}");
    scaled.seconds = 31;
    plan(&scaled, &on_a_claim("Recreate"), "id").expect("they have ended by then");
}

#[test]
fn only_a_redis_is_paused() {
    let why = refused(&request("redis-pause"), &survey(3, 3));
    assert!(why.contains("nothing says that Pod web-0 is a Redis"), "{why}");
    let mut valkey = survey(3, 3);
    valkey.pods.iter_mut().for_each(|seen| seen.images = vec!["valkey/valkey:8".into()]);
    let planned = plan(&request("redis-pause"), &valkey, "id").expect("it is one by its image");
    assert!(matches!(planned.effects[0], Effect::Redis { port: 8080, .. }));
}

#[test]
fn every_plan_stays_within_what_a_record_may_ask_for() {
    use super::super::confine::confine;
    let mut survey = survey(3, 3);
    survey.pods.iter_mut().for_each(|seen| seen.ports = vec![6379]);
    for known in crate::fault::describe() {
        let kind =
            known.example.map_or(known.name.to_owned(), |example| format!("{}: {example}", known.name));
        let mut wanted = request(&kind);
        wanted.allow_outage = true;
        wanted.node = Some(("stop {node}".into(), "start {node}".into()));
        let mut survey = survey.clone();
        match known.name {
            "cordon" | "drain" | "node-stop" => {
                survey.anchor = serde_json::from_value(
                    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker"}, "spec": {}}),
                )
                .expect("a Node");
            }
            "wrong-port" => {
                survey.anchor = serde_json::from_value(json!({
                    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
                    "spec": {"ports": [{"port": 80, "targetPort": "http"}]},
                }))
                .expect("a Service");
            }
            "kill" | "pause" => continue,
            _ => {}
        }
        let planned = plan(&wanted, &survey, "id").unwrap_or_else(|error| panic!("{kind}: {error}"));
        let record = super::super::record::Record::new("id", &kind, jiff::Timestamp::now(), planned.effects);
        confine(&planned.on, &record).unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
}
