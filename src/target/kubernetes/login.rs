//! The logins that Grafana and Redis want: whatever the chart, their pods say where name and password come from.

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::core::DynamicObject;

use super::client::Cluster;
use super::failure::call;
use super::object::ObjectRef;
use super::parts::variable;
use crate::error::{Error, Result};

/// Where a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// It stands in the pod's description.
    Here(String),
    /// A key of a Secret of the pod's namespace.
    Secret { name: String, key: String },
}

/// A name and a password. Its `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
    /// The command that prints the password.
    pub command: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login { … }")
    }
}

/// The administrator's login of a Grafana pod; `None` if the pod names none.
///
/// # Errors
/// Where its Secret cannot be read or lacks the key (6).
pub async fn of_grafana(cluster: &Cluster, namespace: &str, pod: &DynamicObject) -> Result<Option<Login>> {
    let Some(password) = place(pod, "GF_SECURITY_ADMIN_PASSWORD") else { return Ok(None) };
    let user = place(pod, "GF_SECURITY_ADMIN_USER").unwrap_or(Place::Here("admin".into()));
    let command = match &password {
        Place::Here(_) => format!(
            "kubectl --context {} -n {namespace} describe pod {}",
            cluster.context(),
            pod.metadata.name.as_deref().unwrap_or_default()
        ),
        Place::Secret { name, key } => format!(
            "kubectl --context {} -n {namespace} get secret {name} -o go-template='{{{{index .data \"{key}\" | base64decode}}}}'",
            cluster.context()
        ),
    };
    Ok(Some(Login {
        user: read(cluster, namespace, user).await?,
        password: read(cluster, namespace, password).await?,
        command,
    }))
}

/// The password that a pod's Redis asks for, if its container names one: as `redis-cli` takes it, or as images that set
/// one up do.
///
/// # Errors
/// Where the pod or its Secret cannot be read, or lacks the key (6).
pub async fn of_redis(cluster: &Cluster, namespace: &str, pod: &str) -> Result<Option<String>> {
    let reference = ObjectRef {
        api_version: "v1".into(),
        kind: "Pod".into(),
        namespace: Some(namespace.into()),
        name: pod.into(),
    };
    let Some((api, _)) = cluster.api(&reference, namespace).await? else { return Ok(None) };
    let found = call(|| format!("{reference} could not be read"), || api.get(pod)).await?;
    match ["REDISCLI_AUTH", "REDIS_PASSWORD"].iter().find_map(|name| place(&found, name)) {
        Some(place) => read(cluster, namespace, place).await.map(Some),
        None => Ok(None),
    }
}

fn place(pod: &DynamicObject, name: &str) -> Option<Place> {
    let variable = variable(pod, name)?;
    if let Some(value) = variable["value"].as_str() {
        return Some(Place::Here(value.to_owned()));
    }
    let secret = &variable["valueFrom"]["secretKeyRef"];
    Some(Place::Secret { name: secret["name"].as_str()?.to_owned(), key: secret["key"].as_str()?.to_owned() })
}

async fn read(cluster: &Cluster, namespace: &str, place: Place) -> Result<String> {
    let (name, key) = match place {
        Place::Here(value) => return Ok(value),
        Place::Secret { name, key } => (name, key),
    };
    let api: Api<Secret> = Api::namespaced(cluster.client(), namespace);
    let secret = call(|| format!("Secret {namespace}/{name} could not be read"), || api.get(&name)).await?;
    let value = secret.data.as_ref().and_then(|data| data.get(&key)).ok_or_else(|| {
        Error::target(format!("Secret {namespace}/{name} has no key `{key}`, which a login stands in"))
    })?;
    Ok(String::from_utf8_lossy(&value.0).into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_pod_says_where_its_login_is() {
        let pod: DynamicObject = serde_json::from_value(json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "g"}, "spec": {"containers": [{"name": "sidecar"}, {"name": "grafana", "env": [
            {"name": "GF_SECURITY_ADMIN_USER", "value": "root"},
            {"name": "GF_SECURITY_ADMIN_PASSWORD",
                "valueFrom": {"secretKeyRef": {"name": "kps-grafana", "key": "admin-password"}}},
        ]}]}}))
        .expect("a pod");
        assert_eq!(place(&pod, "GF_SECURITY_ADMIN_USER"), Some(Place::Here("root".into())));
        let secret = Place::Secret { name: "kps-grafana".into(), key: "admin-password".into() };
        assert_eq!(place(&pod, "GF_SECURITY_ADMIN_PASSWORD"), Some(secret));
        assert_eq!(place(&pod, "OTHER"), None);
    }

    #[test]
    fn a_login_is_not_shown_by_accident() {
        let login = Login { user: "u".into(), password: "hunter2".into(), command: String::new() };
        assert!(!format!("{login:?}").contains("hunter2"));
    }
}
