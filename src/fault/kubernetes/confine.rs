//! What a record may ask for. It stands in an annotation, which anybody may have written who may change that object, and
//! is undone with the rights of whoever undoes it: so it may ask for nothing but what a fault of the catalogue does to
//! that object, and to helpers of its own. Pure.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::bodies::name;
use super::plan::{NOBODY, broken_probe};
use super::record::{Effect, PodRef, Ready, Record};
use crate::error::{Error, Result};
use crate::target::kubernetes::object::ObjectRef;

/// The kinds of helper objects, with their API versions.
const HELPERS: [(&str, &str); 2] = [("v1", "Pod"), ("networking.k8s.io/v1", "NetworkPolicy")];

/// How far ahead a fault may end: as long as one may last, and an hour for clocks and for what comes before it.
const AHEAD: SignedDuration = SignedDuration::from_hours(169);

/// Refuses a record that asks for what no fault on this object does.
///
/// # Errors
/// The target (exit 6), with what it asks for.
pub fn confine(on: &ObjectRef, record: &Record) -> Result<()> {
    let refuse = |why: String| {
        Error::target(format!("the record of a fault on {on} is none that sre writes"))
            .because_of(why)
            .hint("nothing was done; put the object right, and remove the annotation sre.dev/fault")
    };
    if !is_id(&record.id) {
        return Err(refuse("its id cannot be part of a name".into()));
    }
    if [&record.fault, &record.by.host].into_iter().any(|text| text.chars().any(char::is_control)) {
        return Err(refuse("its text has control characters".into()));
    }
    record.effects.iter().try_for_each(|effect| allow(on, &record.id, effect).map_err(refuse))
}

/// Refuses a record whose time ends later than any fault's does.
///
/// # Errors
/// The target (exit 6).
pub fn in_time(on: &ObjectRef, record: &Record, now: Timestamp) -> Result<()> {
    if record.until.duration_since(now) <= AHEAD {
        return Ok(());
    }
    Err(Error::target(format!("the record of a fault on {on} is none that sre writes"))
        .because_of(format!("it would end at {}, and no fault lasts longer than 168 hours", record.until))
        .hint("nothing was done; sre heal --force undoes it, or remove the annotation sre.dev/fault"))
}

/// Whether what was ready before a fault on this object is to be waited for: the object itself and workloads beside it;
/// for a node, those of the namespace that is looked at.
pub fn concerns(on: &ObjectRef, ready: &Ready, namespace: Option<&str>) -> bool {
    let object = &ready.object;
    object == on
        || match &on.namespace {
            Some(of) => object.namespace.as_ref() == Some(of),
            None => namespace.is_none_or(|namespace| object.namespace.as_deref() == Some(namespace)),
        }
}

/// Whether a text can be a fault's id: it becomes part of names and the value of a label.
fn is_id(id: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=53).contains(&id.len()) && id.chars().all(fits) && !id.starts_with('-') && !id.ends_with('-')
}

fn allow(on: &ObjectRef, id: &str, effect: &Effect) -> Result<(), String> {
    let within = |pods: &[PodRef]| {
        let strange = |pod: &&PodRef| Some(&pod.namespace) != on.namespace.as_ref();
        match pods.iter().find(strange) {
            Some(pod) => Err(format!("Pod {}/{} is in another namespace", pod.namespace, pod.name)),
            None => Ok(()),
        }
    };
    match effect {
        Effect::Set { path, before, after } => {
            match is_in_catalogue(on, path, before.as_ref(), after.as_ref()) {
                true => Ok(()),
                false => Err(format!("no fault sets {path} so")),
            }
        }
        Effect::Create { object, .. } => match is_helper(on, id, object) {
            true => Ok(()),
            false => Err(format!("{object} is no helper of it")),
        },
        Effect::Switches { pods, .. } => within(pods),
        Effect::Redis { pod, .. } => within(std::slice::from_ref(pod)),
        Effect::Node { node, .. } => match on.kind == "Node" && *node == on.name {
            true => Ok(()),
            false => Err(format!("Node {node} is another object")),
        },
        // Nothing is done to undo these.
        Effect::NewReplicaSet | Effect::Delete { .. } | Effect::Evict { .. } | Effect::Memory { .. } => {
            Ok(())
        }
    }
}

/// Whether an object is, by its name, a helper of a fault on this one.
fn is_helper(on: &ObjectRef, id: &str, object: &ObjectRef) -> bool {
    let rest = object.name.strip_prefix(&name(id));
    on.namespace.is_some()
        && object.namespace == on.namespace
        && HELPERS.contains(&(object.api_version.as_str(), object.kind.as_str()))
        && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Whether a fault of the catalogue sets this place of such an object to this value, which may have been that before.
fn is_in_catalogue(on: &ObjectRef, path: &str, before: Option<&Value>, after: Option<&Value>) -> bool {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let is_number = |text: &str| text.parse::<u16>().is_ok();
    let port = |value: &Value| value.is_string() || value.as_u64().is_some_and(|port| port <= 65_535);
    match (on.kind.as_str(), parts.as_slice()) {
        ("Deployment" | "StatefulSet" | "ReplicaSet", ["spec", "replicas"]) => {
            after == Some(&json!(0)) && before.is_none_or(|n| n.as_u64().is_some_and(|n| n <= 1 << 20))
        }
        ("Deployment", ["spec", "template", "spec", "containers", "0", "readinessProbe"]) => {
            after == Some(&broken_probe()) && before.is_none_or(Value::is_object)
        }
        ("Node", ["spec", "unschedulable"]) => {
            after == Some(&json!(true)) && before.is_none_or(Value::is_boolean)
        }
        ("Service", ["spec", "ports", n, "targetPort"]) if is_number(n) => {
            after == Some(&json!(NOBODY)) && before.is_some_and(port)
        }
        ("Ingress", ["spec", "defaultBackend", "service", "port"]) => is_backend(before, after),
        ("Ingress", ["spec", "rules", n, "http", "paths", m, "backend", "service", "port"])
            if is_number(n) && is_number(m) =>
        {
            is_backend(before, after)
        }
        _ => false,
    }
}

fn is_backend(before: Option<&Value>, after: Option<&Value>) -> bool {
    let named =
        |fields: &serde_json::Map<String, Value>| fields.keys().all(|key| key == "name" || key == "number");
    after == Some(&json!({"number": NOBODY})) && before.and_then(Value::as_object).is_some_and(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(kind: &str, namespace: Option<&str>) -> ObjectRef {
        ObjectRef {
            api_version: "apps/v1".into(),
            kind: kind.into(),
            namespace: namespace.map(Into::into),
            name: "web".into(),
        }
    }

    fn record(effects: Vec<Effect>) -> Record {
        Record::new("one", "a fault", Timestamp::UNIX_EPOCH, effects)
    }

    fn set(path: &str, before: Option<Value>, after: Option<Value>) -> Effect {
        Effect::Set { path: path.into(), before, after }
    }

    #[test]
    fn a_record_reaches_nothing_but_its_object_and_helpers() {
        let web = on("Deployment", Some("shop"));
        let object = |kind: &str, namespace: &str, name: &str| {
            let api_version = if kind == "NetworkPolicy" { "networking.k8s.io/v1" } else { "v1" }.into();
            let object = ObjectRef {
                api_version,
                kind: kind.into(),
                namespace: Some(namespace.into()),
                name: name.into(),
            };
            Effect::Create { object, body: None }
        };
        let pod = PodRef { namespace: "elsewhere".into(), name: "web-1".into(), uid: "1".into() };
        for allowed in [
            set("/spec/replicas", Some(json!(3)), Some(json!(0))),
            object("NetworkPolicy", "shop", "sre-fault-one"),
            object("Pod", "shop", "sre-fault-one-0"),
        ] {
            confine(&web, &record(vec![allowed])).expect("it is its own");
        }
        for refused in [
            set("/spec/replicas", Some(json!(0)), Some(json!(3))),
            set("/spec/replicas", Some(json!("many")), Some(json!(0))),
            set("/spec/template/spec/serviceAccountName", Some(json!("admin")), None),
            set("/metadata/ownerReferences", None, Some(json!([]))),
            object("Pod", "shop", "sre-fault-other-0"),
            object("Pod", "shop", "sre-fault-oneself"),
            object("Pod", "elsewhere", "sre-fault-one-0"),
            object("Secret", "shop", "sre-fault-one"),
            Effect::Redis { pod: pod.clone(), port: 6379 },
            Effect::Node { node: "worker".into(), stop: None, start: None },
        ] {
            confine(&web, &record(vec![refused.clone()])).expect_err(&format!("{refused:?}"));
        }
    }

    #[test]
    fn ids_and_texts_are_plain() {
        let web = on("Deployment", Some("shop"));
        for id in ["", "-a", "a-", "A", "a/b", "a.b", &"a".repeat(54)] {
            confine(&web, &Record { id: id.into(), ..record(Vec::new()) }).expect_err(id);
        }
        let fault = "\u{1b}]0;owned\u{7}".into();
        confine(&web, &Record { fault, ..record(Vec::new()) }).expect_err("it has control characters");
    }

    #[test]
    fn no_fault_lasts_for_ever() {
        let web = on("Deployment", Some("shop"));
        let now = Timestamp::now();
        let ends =
            |hours: i64| Record { until: now + SignedDuration::from_hours(hours), ..record(Vec::new()) };
        in_time(&web, &ends(168), now).expect("it may last a week");
        in_time(&web, &ends(170), now).expect_err("nothing lasts so long");
    }

    #[test]
    fn only_what_is_beside_it_is_waited_for() {
        let ready = |namespace: &str| Ready {
            object: ObjectRef { name: "other".into(), ..on("Deployment", Some(namespace)) },
            count: 1,
        };
        let web = on("Deployment", Some("shop"));
        assert!(concerns(&web, &ready("shop"), None) && !concerns(&web, &ready("elsewhere"), None));
        let worker = ObjectRef::of_node("worker");
        assert!(concerns(&worker, &ready("shop"), Some("shop")));
        assert!(!concerns(&worker, &ready("elsewhere"), Some("shop")));
        assert!(concerns(&worker, &Ready { object: worker.clone(), count: 1 }, Some("shop")));
    }
}
