//! A connection to one cluster, which the user named.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioExecutor;
use jiff::{SignedDuration, Timestamp};
use kube::api::Api;
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::discovery::{ApiCapabilities, Discovery, Scope};
use kube::{Client, Config};
use tokio::sync::{Mutex, RwLock};
use tower::ServiceBuilder;

use super::failure::{call, explain};
use super::object::ObjectRef;
use super::{kubeconfig, proxy};
use crate::error::{Error, Result};

/// A connection to one cluster.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    name: String,
    context: String,
    kubeconfig: Option<PathBuf>,
    version: String,
    kinds: Arc<RwLock<Option<Arc<Discovery>>>>,
}

/// A kind of object, as this cluster serves it.
#[derive(Debug, Clone)]
pub struct Kind {
    /// How it is addressed.
    pub resource: ApiResource,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

impl Cluster {
    /// Connects to the cluster of a kubeconfig context. `kubeconfig` is `$KUBECONFIG` or `~/.kube/config`, if
    /// left out; `context` is never guessed: without it this is a usage error that names the current one.
    pub async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Cluster> {
        let mut file = kubeconfig::read(kubeconfig)?;
        let context = choose(&file, context)?.to_owned();
        let name = name_of(&file, &context);
        let own = own_proxy(&mut file, &name);
        let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
        let unusable = || Error::usage(format!("context `{context}` can't be used"));
        let config =
            Config::from_custom_kubeconfig(file, &options).await.map_err(|e| unusable().because(e))?;
        let proxy = proxy::choose(own.as_deref(), &config.cluster_url, |name| std::env::var(name).ok())
            .map_err(|why| unusable().because_of(why))?;
        let client = renewed(config, proxy).await.map_err(|e| unusable().because_of(explain(&e)))?;
        let version = call(
            || format!("the cluster of context `{context}` did not answer"),
            || client.apiserver_version(),
        )
        .await?
        .git_version;
        Ok(Cluster {
            client,
            name,
            context,
            kubeconfig: kubeconfig.map(Path::to_owned),
            version,
            kinds: Arc::default(),
        })
    }

    /// Connects to the cluster that this process runs in, as a pod with a service account.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where it is no such pod, the target (exit 6) where the cluster does not answer.
    pub async fn inside() -> Result<Cluster> {
        let failed = || Error::prerequisite("this is no pod with a service account");
        let config = Config::incluster().map_err(|e| failed().because(e))?;
        let client = client(config, None).map_err(|e| failed().because_of(explain(&e)))?;
        let asked = call(|| "the cluster did not answer".into(), || client.apiserver_version()).await?;
        let (context, version) = ("in-cluster".to_owned(), asked.git_version);
        Ok(Cluster {
            client,
            name: context.clone(),
            context,
            kubeconfig: None,
            version,
            kinds: Arc::default(),
        })
    }

    /// The client.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The cluster's name, as the kubeconfig has it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The context's name.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The kubeconfig file, where one was named.
    pub fn kubeconfig(&self) -> Option<&Path> {
        self.kubeconfig.as_deref()
    }

    /// The API server's version: `v1.35.4`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The API server's time, to the second; `None` where it does not tell it.
    ///
    /// # Errors
    /// The target (exit 6) where the cluster does not answer.
    pub async fn time(&self) -> Result<Option<Timestamp>> {
        let what = || format!("the cluster of context `{}` did not answer", self.context);
        let client = self.client();
        let ask = || {
            let request = http::Request::get("/version").body(kube::client::Body::empty());
            let client = client.clone();
            async move { client.send(request.map_err(kube::Error::HttpError)?).await }
        };
        let answer = call(what, ask).await?;
        let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
        Ok(date.and_then(|date| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()))
    }

    /// How this cluster serves a kind; `None` if it does not. Empty `version`: the preferred one.
    ///
    /// What the cluster serves is asked once, and again where a kind is not known: its definition may have
    /// come meanwhile.
    pub async fn kind(&self, group: &str, version: &str, kind: &str) -> Result<Option<Kind>> {
        let known = self.kinds.read().await.clone();
        if let Some(known) = &known
            && let Some(found) = find(known, group, version, kind)
        {
            return Ok(Some(found));
        }
        let fresh = call(
            || format!("the kinds of objects that `{}` serves could not be read", self.context),
            || Discovery::new(self.client()).run_aggregated(),
        )
        .await?;
        let found = find(&fresh, group, version, kind);
        *self.kinds.write().await = Some(Arc::new(fresh));
        Ok(found)
    }

    /// The API of an object's kind, in the object's namespace or, for a kind with namespaces, in
    /// `namespace`. `None` if the cluster does not serve the kind.
    pub async fn api(
        &self,
        object: &ObjectRef,
        namespace: &str,
    ) -> Result<Option<(Api<DynamicObject>, Kind)>> {
        let version = object.api_version.rsplit('/').next().unwrap_or_default();
        let Some(kind) = self.kind(object.group(), version, &object.kind).await? else {
            return Ok(None);
        };
        let namespace = object.namespace.as_deref().unwrap_or(namespace);
        Ok(Some((self.api_of(&kind, namespace), kind)))
    }

    /// All objects of a kind, in all namespaces; `None` if it does not serve the kind.
    ///
    /// # Errors
    /// The target (exit 6) where they cannot be listed.
    pub async fn all(&self, group: &str, kind: &str) -> Result<Option<Vec<DynamicObject>>> {
        let Some(served) = self.kind(group, "", kind).await? else { return Ok(None) };
        let api: Api<DynamicObject> = Api::all_with(self.client(), &served.resource);
        let all = kube::api::ListParams::default();
        let listed =
            call(|| format!("the {kind}s of the cluster could not be listed"), || api.list(&all)).await?;
        let types = kube::core::TypeMeta {
            api_version: served.resource.api_version.clone(),
            kind: served.resource.kind.clone(),
        };
        // Objects of a list do not tell their kind.
        let typed = |object: DynamicObject| DynamicObject { types: Some(types.clone()), ..object };
        Ok(Some(listed.items.into_iter().map(typed).collect()))
    }

    /// The API of a kind; `namespace` matters only to a kind with namespaces.
    pub fn api_of(&self, kind: &Kind, namespace: &str) -> Api<DynamicObject> {
        if kind.namespaced {
            Api::namespaced_with(self.client(), namespace, &kind.resource)
        } else {
            Api::all_with(self.client(), &kind.resource)
        }
    }
}

/// The current context of a kubeconfig, for those who only read: whoever changes a cluster has it named.
///
/// # Errors
/// The kubeconfig cannot be read (2).
pub fn current_context(kubeconfig: Option<&Path>) -> Result<Option<String>> {
    Ok(kubeconfig::read(kubeconfig)?.current_context.filter(|current| !current.is_empty()))
}

fn name_of(file: &Kubeconfig, context: &str) -> String {
    let named = file.contexts.iter().find(|named| named.name == context);
    named.and_then(|named| named.context.as_ref()).map_or(String::new(), |context| context.cluster.clone())
}

/// The proxy that a cluster's entry names. Another one takes its place there, which is never used: without any, kube
/// would look at the environment itself, and leave out `NO_PROXY`.
fn own_proxy(file: &mut Kubeconfig, cluster: &str) -> Option<String> {
    let named = file.clusters.iter_mut().find(|named| named.name == cluster)?;
    named.cluster.as_mut()?.proxy_url.replace("http://unused.invalid".into())
}

/// The context to use: the one asked for, if the file has it.
fn choose<'a>(file: &'a Kubeconfig, wanted: Option<&'a str>) -> Result<&'a str> {
    let known = || file.contexts.iter().map(|context| context.name.as_str());
    let Some(wanted) = wanted else {
        let error = Error::usage("no cluster is named; `sre` never takes the current context by itself");
        return Err(match file.current_context.as_deref().filter(|current| !current.is_empty()) {
            Some(current) => {
                error.hint(format!("the current context is `{current}`; use it by: --context {current}"))
            }
            None => error.hint(format!("name one by --context; there are: {}", list(known()))),
        });
    };
    if known().any(|name| name == wanted) {
        return Ok(wanted);
    }
    Err(Error::usage(format!("the kubeconfig has no context `{wanted}`"))
        .hint(format!("there are: {}", list(known()))))
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn find(discovery: &Discovery, group: &str, version: &str, kind: &str) -> Option<Kind> {
    let (resource, capabilities): (ApiResource, ApiCapabilities) = if version.is_empty() {
        discovery.get(group)?.recommended_kind(kind)?
    } else {
        discovery.resolve_gvk(&GroupVersionKind::gvk(group, version, kind))?
    };
    Some(Kind { resource, namespaced: capabilities.scope == Scope::Namespaced })
}

/// So long before its certificate expires is a client made anew, at the most: a long answer has to end, too.
const EARLIER: Duration = Duration::from_secs(60);

/// A client, and when it has to be made anew.
type Renewable = (Client, Option<Timestamp>);

/// A client whose certificate a program gives (`exec` in the kubeconfig) is made anew before that expires. kube does so
/// for tokens, and leaves certificates to its user.
async fn renewed(config: Config, proxy: Option<Intercept>) -> kube::Result<Client> {
    let first = renew(config.clone(), proxy.clone()).await?;
    if first.1.is_none() {
        return Ok(first.0);
    }
    let (namespace, current) = (config.default_namespace.clone(), Arc::new(Mutex::new(first)));
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (current, config, proxy) = (current.clone(), config.clone(), proxy.clone());
        async move {
            let mut now = current.lock().await;
            if now.1.is_some_and(|due| Timestamp::now() >= due) {
                *now = renew(config, proxy).await?;
            }
            let client = now.0.clone();
            drop(now);
            client.send(request).await
        }
    });
    Ok(Client::new(service, namespace))
}

/// Asks for the certificate, where a program gives it: elsewhere than where others wait.
async fn renew(config: Config, proxy: Option<Intercept>) -> kube::Result<Renewable> {
    let made = tokio::task::spawn_blocking(move || {
        if config.auth_info.exec.is_none() {
            return Ok((client(config, proxy)?, None));
        }
        // Only kube's own client tells when its certificate expires; nothing is sent by it.
        let mut plain = config.clone();
        plain.proxy_url = None;
        let told = Client::try_from(plain)?;
        let due = told.valid_until().map(|until| {
            let left = until.duration_since(Timestamp::now()).max(SignedDuration::ZERO);
            until - (left / 4).min(SignedDuration::try_from(EARLIER).unwrap_or(left))
        });
        Ok((client(config, proxy)?, due))
    });
    made.await.unwrap_or_else(|e| Err(kube::Error::Service(e.into())))
}

/// kube's own stack never sets TCP_NODELAY, which costs a port-forward 40 ms a request.
fn client(config: Config, proxy: Option<Intercept>) -> kube::Result<Client> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(10)));
    connector.set_keepalive(Some(Duration::from_secs(30)));
    let Some(proxy) = proxy else { return stack(config, connector) };
    let to = proxy.uri().clone();
    match to.scheme_str() {
        Some("socks5" | "socks5h") => {
            let socks = SocksV5::new(to, connector);
            match proxy.raw_auth() {
                Some((user, password)) => stack(config, socks.with_auth(user.into(), password.into())),
                None => stack(config, socks),
            }
        }
        Some("https") => {
            // The proxy is none of the cluster's: it is trusted as this machine trusts others.
            let own = Config::new(to.clone()).rustls_https_connector_with_connector(connector)?;
            stack(config, tunnel(to, own, &proxy))
        }
        Some("http") => stack(config, tunnel(to, connector, &proxy)),
        other => Err(kube::Error::Service(
            format!("a proxy is reached by http, https or socks5, not by {}", other.unwrap_or("nothing"))
                .into(),
        )),
    }
}

fn tunnel<C>(to: http::Uri, connector: C, proxy: &Intercept) -> Tunnel<C> {
    let tunnel = Tunnel::new(to, connector);
    match proxy.basic_auth() {
        Some(secret) => tunnel.with_auth(secret.clone()),
        None => tunnel,
    }
}

fn stack<C>(config: Config, connector: C) -> kube::Result<Client>
where
    C: tower::Service<http::Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + hyper::rt::Read + hyper::rt::Write + Send + Unpin,
    C::Future: Send + 'static,
    C::Error: Send + Sync + std::error::Error + 'static,
{
    let https = config.rustls_https_connector_with_connector(connector)?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(tower::BoxError::from)
        .service(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(https));
    Ok(Client::new(service, config.default_namespace))
}

/// A cluster whose API server is a function of the path that is asked for: a status and a body.
#[cfg(test)]
pub(super) fn standin(answer: impl Fn(&str) -> (u16, serde_json::Value) + Clone + Send + 'static) -> Cluster {
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (status, body) = answer(request.uri().path());
        let answer = http::Response::builder()
            .status(status)
            .body(kube::client::Body::from(body.to_string().into_bytes()));
        std::future::ready(answer)
    });
    Cluster {
        client: Client::new(service, "default"),
        name: "standin".into(),
        context: "standin".into(),
        kubeconfig: None,
        version: "v1.35.0".into(),
        kinds: Arc::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Kubeconfig {
        Kubeconfig::from_yaml(
            "apiVersion: v1\nkind: Config\ncurrent-context: production\ncontexts:\n\
             - {name: production, context: {cluster: c, user: u}}\n- {name: lab, context: {cluster: c, user: u}}\n",
        )
        .unwrap()
    }

    #[test]
    fn without_a_context_the_current_one_is_named_and_not_used() {
        let file = file();
        let error = choose(&file, None).unwrap_err();
        assert_eq!(error.exit(), crate::exit::Exit::Usage);
        assert!(error.next_step().unwrap().contains("--context production"), "{error}");
    }

    /// As clouds' programs do, with certificates of minutes.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_certificate_that_a_program_gives_is_asked_for_anew_before_it_expires() {
        use std::time::Instant;
        let place = tempfile::tempdir().unwrap();
        let (told, calls) = (place.path().join("told"), place.path().join("calls"));
        let made = rcgen::generate_simple_self_signed(["me".to_owned()]).unwrap();
        let valid_for = |seconds: i64| {
            let until = Timestamp::now() + SignedDuration::from_secs(seconds);
            let status = serde_json::json!({
                "clientCertificateData": made.cert.pem(),
                "clientKeyData": made.signing_key.serialize_pem(),
                "expirationTimestamp": until.to_string(),
            });
            let credential = serde_json::json!({
                "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status,
            });
            std::fs::write(&told, credential.to_string()).unwrap();
        };
        let version = serde_json::json!({
            "major": "1", "minor": "35", "gitVersion": "v1.35.0", "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let answer = axum::routing::get(move || std::future::ready(axum::Json(version.clone())));
        tokio::spawn(
            async move { axum::serve(listener, axum::Router::new().route("/version", answer)).await },
        );
        let kubeconfig = place.path().join("kubeconfig");
        let script = format!("echo >>'{}'; cat '{}'", calls.display(), told.display());
        let file = serde_json::json!({
            "apiVersion": "v1", "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "contexts": [{"name": "lab", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {"exec": {
                "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script],
                "interactiveMode": "Never",
            }}}],
        });
        std::fs::write(&kubeconfig, file.to_string()).unwrap();
        let asked = || std::fs::read(&calls).unwrap().len();

        valid_for(8);
        let begun = Instant::now();
        let cluster = Cluster::connect(Some(&kubeconfig), Some("lab")).await.unwrap();
        let at_first = asked();
        cluster.time().await.unwrap();
        if begun.elapsed() < Duration::from_secs(4) {
            assert_eq!(asked(), at_first, "it is valid still");
        }
        valid_for(3600);
        while asked() == at_first {
            assert!(begun.elapsed() < Duration::from_secs(30), "it was not asked again");
            cluster.time().await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let again = asked();
        cluster.time().await.unwrap();
        assert_eq!(asked(), again, "the new one is used");
    }

    #[test]
    fn an_unknown_context_lists_the_known_ones() {
        let file = file();
        assert_eq!(choose(&file, Some("lab")).unwrap(), "lab");
        let error = choose(&file, Some("prod")).unwrap_err();
        assert_eq!(error.next_step(), Some("there are: production, lab"));
    }
}
