//! The page that Prometheus scrapes, asked of the target itself: from here, or on a cluster through its API server.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use url::Url;

use super::Place;
use super::exposition::{self, Exposed};
use crate::error::{Error, Result};
use crate::http_client;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::failure::explain;

/// How long a page may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What Prometheus asks for.
const ACCEPT: &str =
    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";

/// The samples of a page.
///
/// # Errors
/// No data (exit 3) where it cannot be asked for from here.
pub async fn page(place: &Place<'_>, url: &str) -> Result<Vec<Exposed>> {
    let failed = || Error::no_data(format!("{url} cannot be asked from here"));
    let url = Url::parse(url).map_err(|e| failed().because(e))?;
    let asking = async {
        match place.cluster {
            Some(cluster) => through(cluster, &url).await.map_err(|why| failed().because_of(why)),
            None => directly(&url).await.map_err(|why| failed().because_of(why)),
        }
    };
    let slow = |_| failed().because_of(format!("nothing came within {} s", TIMEOUT.as_secs()));
    let text = tokio::time::timeout(TIMEOUT, asking).await.map_err(slow)??;
    Ok(exposition::read(&text))
}

async fn directly(url: &Url) -> Result<String, String> {
    let client = http_client::builder_for(url).build().map_err(|e| e.to_string())?;
    let asked = client.get(url.clone()).header("accept", ACCEPT).send().await;
    let response = asked.map_err(|e| Error::no_data("").because(e.without_url()).causes().join(": "))?;
    if !response.status().is_success() {
        return Err(format!("status {}", response.status()));
    }
    let body = http_client::read(response, http_client::LARGEST_ANSWER).await.map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// The addresses of pods lead nowhere from here.
async fn through(cluster: &Cluster, url: &Url) -> Result<String, String> {
    let address = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let pods: Api<Pod> = Api::all(cluster.client());
    let params = ListParams::default().fields(&format!("status.podIP={address}"));
    let found = pods.list(&params).await.map_err(|e| explain(&e))?;
    let pod = found.items.first().ok_or_else(|| format!("no pod has the address {address}"))?;
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    let (namespace, name) = (of(&pod.metadata.namespace), of(&pod.metadata.name));
    let port = url.port_or_known_default().unwrap_or(80);
    let path = format!(
        "/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy{}",
        &url[url::Position::BeforePath..]
    );
    let request = http::Request::get(path).body(Vec::new()).map_err(|e| e.to_string())?;
    cluster.client().request_text(request).await.map_err(|e| explain(&e))
}
