//! What ingress controllers served: ingress-nginx or Traefik, by their own metrics.

use super::eyes::Eyes;
use super::model::{Ingress, Missing, Part, Traffic, Warning};
use super::scope;
use super::traffic::{self, Source};
use crate::figures::count;
use crate::observe::{Labels, matcher};

/// The names that tell which controllers are scraped.
pub const NAMES: &str = "nginx_ingress_controller_.+|traefik_.+";

const NGINX_COUNT: &str = "nginx_ingress_controller_requests";
const TRAEFIK_COUNT: &str = "traefik_entrypoint_requests_total";
const TRAEFIK_SERVICE_COUNT: &str = "traefik_service_requests_total";
const TRAEFIK_ROUTER_COUNT: &str = "traefik_router_requests_total";

/// How many server errors a window wants that compares them.
const SERVER_ERRORS: f64 = 20.0;

/// Entry points that serve Traefik itself.
const TRAEFIK_OWN: &str = "traefik|metrics|ping";

/// All controllers that are scraped, or those in the namespace that was named.
pub async fn look(eyes: &Eyes, namespace: &str, controllers: Option<&str>) -> Result<Vec<Ingress>, Missing> {
    let names = eyes.names(NAMES).await?;
    let has = |name: &str| names.iter().any(|known| known == name);
    let mut found = Vec::new();
    let mut elsewhere = Vec::new();
    for kind in [Controller::Nginx, Controller::Traefik] {
        if !has(kind.count()) {
            continue;
        }
        // What tells whose the series are.
        let by = format!("controller_namespace, {}", scope::grouped());
        let groups = eyes.lately(kind.count(), &by).await?;
        let namespaces = kind.namespaces(&groups);
        if let Some(wanted) = controllers
            && !namespaces.iter().any(|known| known == wanted)
        {
            elsewhere.extend(namespaces.iter().map(|known| format!("{} in {known}", kind.name())));
            continue;
        }
        let mut traffic: Vec<Traffic> = Vec::new();
        let by = match kind {
            Controller::Nginx => None,
            // A router counts also what its Service, having no pod, does not.
            Controller::Traefik => {
                [TRAEFIK_ROUTER_COUNT, TRAEFIK_SERVICE_COUNT].into_iter().find(|name| has(name))
            }
        };
        let sources = kind.sources(&groups, namespace, controllers, by);
        for source in &sources {
            traffic.push(match eyes.lately(&source.count_selector(), "job").await? {
                none if none.is_empty() => uncounted(kind, &source.of),
                _ => traffic::look(eyes, source).await,
            });
        }
        // What holds for the namespace is not told again of all.
        if let [all, ours] = traffic.as_mut_slice() {
            all.warnings.retain(|warning| !ours.warnings.contains(warning));
            if by == Some(TRAEFIK_SERVICE_COUNT) {
                ours.warnings.extend(unattributed(eyes, &sources[0]).await);
            }
        }
        if let (Some(all), Some(source)) = (traffic.first_mut(), sources.first()) {
            let targets = eyes.targets(&source.count_selector()).await?;
            all.warnings.extend(traffic::of_targets(&targets, kind.name()));
        }
        let namespaces = controllers.map_or(namespaces, |wanted| vec![wanted.to_owned()]);
        found.push(Ingress { controller: kind.name(), namespaces, traffic });
    }
    if found.is_empty() { Err(nothing(&names, controllers, &elsewhere)) } else { Ok(found) }
}

/// Server errors of Traefik that none of its Services has: of which namespace they are is not told. `all` is what its
/// entry points served.
async fn unattributed(eyes: &Eyes, all: &Source) -> Option<Warning> {
    let errors = matcher("code", "=~", "5..");
    let narrowed = |name: &str, matchers: &[String]| {
        let matchers: Vec<&str> = matchers.iter().map(String::as_str).chain([errors.as_str()]).collect();
        format!("{name}{{{}}}", matchers.join(","))
    };
    let counters = vec![
        ("all", narrowed(TRAEFIK_COUNT, &all.matchers)),
        ("services", narrowed(TRAEFIK_SERVICE_COUNT, &[])),
    ];
    let interval = eyes.interval(&all.count_selector()).await.ok()?;
    let moved = eyes.counters(counters, interval, SERVER_ERRORS).await.ok()?;
    let of = |name: &str| moved.values.get(name).copied().unwrap_or_default();
    untold(of("all"), of("services"))
}

/// Both are extrapolated: a tenth more is none.
fn untold(all: f64, services: f64) -> Option<Warning> {
    (all > services * 1.1 + 1.0).then(|| {
        Warning::new(
            format!(
                "{} of {} requests that failed (5xx) are of no Service that Traefik tells: they are in `all` alone",
                count((all - services).round() as u64),
                count(all.round() as u64)
            ),
            "a Service without pods is in none of its metrics of Services; --metrics.prometheus.addRoutersLabels=true tells \
             whose they are",
        )
    })
}

/// Where a controller has never counted a request, its counters are not there.
fn uncounted(kind: Controller, of: &str) -> Traffic {
    let missing = Missing::new(
        format!("{} has counted no request of {of} within an hour", kind.name()),
        kind.counts_nothing(),
    );
    Traffic {
        of: of.to_owned(),
        latency: Part::Missing(missing.clone()),
        rates: Part::Missing(missing),
        warnings: Vec::new(),
    }
}

fn nothing(names: &[String], controllers: Option<&str>, elsewhere: &[String]) -> Missing {
    if let Some(wanted) = controllers.filter(|_| !elsewhere.is_empty()) {
        return Missing::new(
            format!(
                "no ingress controller in {wanted} has counted a request; there is {}",
                elsewhere.join(", ")
            ),
            "name its namespace by --ingress-namespace, or leave that out",
        );
    }
    if names.is_empty() {
        return Missing::new(
            "Prometheus has no metric of ingress-nginx or Traefik within a day",
            "is the controller scraped? ingress-nginx: port 10254, and --enable-metrics=true, which is not the \
             default; Traefik: metrics.prometheus, port 9100",
        );
    }
    let kind = match names.iter().any(|name| name.starts_with("nginx_")) {
        true => Controller::Nginx,
        false => Controller::Traefik,
    };
    Missing::new(
        format!("{} is scraped and has counted no request ({} is not there)", kind.name(), kind.count()),
        kind.counts_nothing(),
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Controller {
    Nginx,
    Traefik,
}

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Controller::Nginx => "ingress-nginx",
            Controller::Traefik => "traefik",
        }
    }

    fn count(self) -> &'static str {
        match self {
            Controller::Nginx => NGINX_COUNT,
            Controller::Traefik => TRAEFIK_COUNT,
        }
    }

    fn buckets(self) -> &'static str {
        match self {
            Controller::Nginx => "nginx_ingress_controller_request_duration_seconds_bucket",
            Controller::Traefik => "traefik_entrypoint_request_duration_seconds_bucket",
        }
    }

    /// When it counts nothing, as what to look at.
    fn counts_nothing(self) -> &'static str {
        match self {
            Controller::Nginx => {
                "it counts only requests whose Host header is in a rule of an Ingress: is there one, and is its host asked for?"
            }
            Controller::Traefik => {
                "its counters begin with the first request since its start, and of a namespace with \
                 --metrics.prometheus.addRoutersLabels=true: was an Ingress of it asked for?"
            }
        }
    }

    /// The namespace of the controller that a group of series is from.
    fn home(self, labels: &Labels) -> Option<(&'static str, &str)> {
        match self {
            // Its own label, whatever the target's are called.
            Controller::Nginx => {
                labels.get("controller_namespace").map(|value| ("controller_namespace", value.as_str()))
            }
            Controller::Traefik => scope::namespace(labels),
        }
    }

    fn namespaces(self, groups: &[Labels]) -> Vec<String> {
        let mut all: Vec<String> = groups
            .iter()
            .filter_map(|labels| self.home(labels))
            .map(|(_, namespace)| namespace.to_owned())
            .collect();
        all.sort();
        all.dedup();
        all
    }

    /// All that was served, then what was served of the namespace, where the metrics tell.
    fn sources(
        self,
        groups: &[Labels],
        namespace: &str,
        controllers: Option<&str>,
        by: Option<&'static str>,
    ) -> Vec<Source> {
        let home = controllers.and_then(|wanted| {
            groups
                .iter()
                .filter_map(|labels| self.home(labels))
                .next()
                .map(|(label, _)| matcher(label, "=", wanted))
        });
        let source = |of: &str, count, buckets, matchers: Vec<String>| Source {
            of: of.into(),
            count,
            status: match self {
                Controller::Nginx => "status",
                Controller::Traefik => "code",
            },
            buckets,
            matchers: home.iter().cloned().chain(matchers).collect(),
        };
        let mut sources = vec![source(
            "all",
            self.count(),
            self.buckets(),
            match self {
                Controller::Nginx => Vec::new(),
                Controller::Traefik => vec![matcher("entrypoint", "!~", TRAEFIK_OWN)],
            },
        )];
        match self {
            Controller::Nginx => {
                if let Some(of_namespace) = scope::matching(groups, namespace) {
                    sources.push(source(namespace, self.count(), self.buckets(), vec![of_namespace]));
                }
            }
            // A service's name there is `namespace-name-port@kubernetes`, of a router as well. Another namespace whose
            // name begins with this one's and `-` cannot be told from it.
            Controller::Traefik => sources.extend(by.map(|count| {
                let buckets = match count {
                    TRAEFIK_ROUTER_COUNT => "traefik_router_request_duration_seconds_bucket",
                    _ => "traefik_service_request_duration_seconds_bucket",
                };
                let matchers = vec![matcher("service", "=~", &format!("{namespace}-.+@kubernetes.*"))];
                source(namespace, count, buckets, matchers)
            })),
        }
        sources
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn matchers(sources: &[Source]) -> Vec<(&str, String)> {
        sources.iter().map(|source| (source.of.as_str(), source.matchers.join(","))).collect()
    }

    #[test]
    fn ingress_nginx_is_read_whether_its_labels_were_honoured_or_not() {
        let nginx = Controller::Nginx;
        let exported = labels(&[
            ("controller_namespace", "ingress-nginx"),
            ("namespace", "ingress-nginx"),
            ("exported_namespace", "default"),
        ]);
        let groups = [exported];
        assert_eq!(nginx.namespaces(&groups), ["ingress-nginx"]);
        let of = nginx.sources(&groups, "default", Some("ingress-nginx"), None);
        let home = r#"controller_namespace="ingress-nginx""#;
        assert_eq!(
            matchers(&of),
            [("all", home.into()), ("default", format!(r#"{home},exported_namespace="default""#))]
        );
        let groups = [labels(&[("controller_namespace", "ingress-nginx"), ("namespace", "default")])];
        let of = nginx.sources(&groups, "default", None, None);
        assert_eq!(matchers(&of), [("all", String::new()), ("default", r#"namespace="default""#.into())]);
    }

    #[test]
    fn traefik_is_read_by_entry_points_and_by_services_where_it_counts_them() {
        let traefik = Controller::Traefik;
        let groups = [labels(&[("namespace", "traefik")])];
        assert_eq!(traefik.namespaces(&groups), ["traefik"]);
        let of = traefik.sources(&groups, "default", Some("traefik"), Some(TRAEFIK_SERVICE_COUNT));
        let home = r#"namespace="traefik""#;
        assert_eq!(
            matchers(&of),
            [
                ("all", format!(r#"{home},entrypoint!~"traefik|metrics|ping""#)),
                ("default", format!(r#"{home},service=~"default-.+@kubernetes.*""#)),
            ]
        );
        assert_eq!(of[1].count_selector().split('{').next(), Some("traefik_service_requests_total"));
        assert_eq!(traefik.sources(&groups, "default", None, None).len(), 1);
        let of = traefik.sources(&groups, "default", None, Some(TRAEFIK_ROUTER_COUNT));
        assert!(of[1].count_selector().starts_with("traefik_router_requests_total{service=~"), "{of:?}");
        assert_eq!(of[1].buckets, "traefik_router_request_duration_seconds_bucket");
    }

    #[test]
    fn errors_of_no_service_are_told() {
        assert_eq!(untold(100.0, 95.0), None, "extrapolated apart");
        assert_eq!(untold(0.0, 0.0), None);
        let told = untold(100.0, 20.0).expect("a warning");
        assert!(
            told.what.starts_with("80 of 100 requests") && told.means.contains("addRoutersLabels"),
            "{told:?}"
        );
    }

    #[test]
    fn what_is_missing_is_told_by_what_is_there() {
        let name = |text: &str| vec![text.to_owned()];
        assert!(nothing(&[], None, &[]).why.contains("no metric of"));
        assert!(nothing(&name("nginx_ingress_controller_success"), None, &[]).why.contains(NGINX_COUNT));
        let traefik = nothing(&name("traefik_config_reloads_total"), None, &[]);
        assert!(traefik.why.contains(TRAEFIK_COUNT), "{traefik:?}");
        assert!(!traefik.next.expect("a hint").contains("nginx"), "the hint is the controller's own");
        let elsewhere = nothing(&name("x"), Some("a"), &["traefik in b".into()]);
        assert!(elsewhere.why.contains("traefik in b"), "{elsewhere:?}");
    }
}
