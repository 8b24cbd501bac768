//! `sre inspect`.

use std::path::PathBuf;

use clap::Args;

use super::credentials::{credentials, header};
use super::{Context, Output};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::inspect::system::{self, Missing, Named, PartName, Question};
use crate::report::inspection;
use crate::scenario::Duration;
use crate::target::kubernetes::client::{Cluster, current_context};
use crate::target::{Folder, Lab};

/// The longest window that may be asked for.
const LONGEST: Duration = Duration::from_secs(31 * 86_400);

/// Shows how a system on a cluster is, by its Prometheus: ingress, whereami, pods in zones, Redis.
///
/// It needs nothing of `sre up`, and only reads. Ends with 0 if all that was asked for was seen, warnings or not;
/// with 3 if something could not be had, 6 if that is the cluster.
#[derive(Debug, Args)]
#[command(override_usage = "sre inspect [OPTIONS] [CONTEXT] <NAMESPACE>")]
pub struct Inspect {
    /// The namespace to look at, after the kubeconfig context if that is not the current one.
    #[arg(value_names = ["CONTEXT", "NAMESPACE"], num_args = 1..=2, required = true)]
    place: Vec<String>,
    /// The namespace of the ingress controller; any, if left out.
    #[arg(long, value_name = "NAMESPACE")]
    ingress_namespace: Option<String>,
    /// The window of every rate and latency; each metric's own, by how fast it moves, if left out.
    #[arg(long, value_name = "DURATION")]
    time_range: Option<Duration>,
    /// The Prometheus to ask: a URL, or `NAMESPACE/SERVICE[:PORT]`; found by its labels, if left out.
    #[arg(long, value_name = "PLACE")]
    prometheus: Option<Named>,
    /// The environment variable that holds the token for a Prometheus that a URL names.
    #[arg(long, value_name = "VARIABLE", requires = "prometheus", conflicts_with = "prometheus_user")]
    prometheus_bearer: Option<String>,
    /// The environment variable that holds the user for it.
    #[arg(long, value_name = "VARIABLE", requires = "prometheus", requires = "prometheus_password")]
    prometheus_user: Option<String>,
    /// The environment variable that holds the password for it.
    #[arg(long, value_name = "VARIABLE", requires = "prometheus_user")]
    prometheus_password: Option<String>,
    /// A header for it, such as a tenant's: X-Scope-OrgID=lab. May be given several times.
    #[arg(long, value_name = "NAME=VALUE", requires = "prometheus", value_parser = header)]
    prometheus_header: Vec<(String, String)>,
    /// What is looked at.
    #[arg(long, value_name = "PART", value_delimiter = ',', value_enum,
          default_values_t = [PartName::Cluster, PartName::Ingress, PartName::Whereami, PartName::Pods, PartName::Redis])]
    parts: Vec<PartName>,
    /// The kubeconfig; `$KUBECONFIG` or `~/.kube/config`, if left out.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

impl Inspect {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let question = self.question()?;
        let cluster = context.interrupt.or(self.cluster(&question)).await??;
        if let Ok(cluster) = &cluster {
            context.terminal.say(format!(
                "looking at {} on context {}",
                question.namespace,
                cluster.context()
            ));
        }
        let seen = context.interrupt.or(system::look(&cluster, &question)).await?;
        match context.terminal.output() {
            Output::Markdown => context.terminal.print_text(&inspection::markdown(&seen))?,
            _ => context.terminal.print(&seen, inspection::text)?,
        }
        Ok(seen.exit())
    }

    fn namespace(&self) -> &str {
        self.place.last().map_or("", String::as_str)
    }

    fn question(&self) -> Result<Question> {
        let namespace = self.namespace();
        for name in [Some(namespace), self.ingress_namespace.as_deref()].into_iter().flatten() {
            if !is_name(name) {
                return Err(Error::usage(format!("`{name}` is not the name of a namespace"))
                    .hint("sre inspect [CONTEXT] NAMESPACE"));
            }
        }
        let credentials = credentials(
            self.prometheus_bearer.as_deref(),
            self.prometheus_user.as_deref(),
            self.prometheus_password.as_deref(),
        )?;
        if (credentials.is_some() || !self.prometheus_header.is_empty())
            && !matches!(self.prometheus, Some(Named::Url(_)))
        {
            return Err(Error::usage("credentials and headers are for a Prometheus that a URL names")
                .hint("one in the cluster is reached with the kubeconfig's credentials: leave them out"));
        }
        Ok(Question {
            namespace: namespace.to_owned(),
            parts: self.parts.clone(),
            ingress_namespace: self.ingress_namespace.clone(),
            range: self.time_range.map(whole_seconds).transpose()?,
            prometheus: self.prometheus.clone(),
            credentials,
            headers: self.prometheus_header.iter().cloned().collect(),
        })
    }

    /// The cluster, or why it cannot be reached. An error is what the user must mend: a context that is not there.
    async fn cluster(&self, question: &Question) -> Result<std::result::Result<Cluster, Missing>> {
        let named = (self.place.len() == 2).then(|| self.place[0].clone());
        let (kubeconfig, context) = match self.chosen(named) {
            Ok((kubeconfig, Some(context))) => (kubeconfig, context),
            // A Prometheus by its URL needs no cluster.
            Ok((_, None)) => {
                return self.without_context(question, Error::usage("the kubeconfig has no current context"));
            }
            Err(error) => return self.without_context(question, error),
        };
        match Cluster::connect(kubeconfig.as_deref(), Some(&context)).await {
            Ok(cluster) => Ok(Ok(cluster)),
            Err(error) if error.exit() == Exit::Usage => Err(error),
            Err(error) => Ok(Err(error.into())),
        }
    }

    /// The context that was named, that of the lab that is up here, or the current one, which is not dangerous to
    /// take: nothing is changed.
    fn chosen(&self, named: Option<String>) -> Result<(Option<PathBuf>, Option<String>)> {
        if named.is_some() {
            return Ok((self.kubeconfig.clone(), named));
        }
        let lab = Lab::load(Folder::here()?.root()).ok().flatten().and_then(|lab| lab.cluster);
        match (&self.kubeconfig, lab) {
            (None, Some(lab)) => Ok((lab.kubeconfig, Some(lab.context))),
            (kubeconfig, _) => Ok((kubeconfig.clone(), current_context(kubeconfig.as_deref())?)),
        }
    }

    fn without_context(
        &self,
        question: &Question,
        error: Error,
    ) -> Result<std::result::Result<Cluster, Missing>> {
        let next = "name the cluster: sre inspect CONTEXT NAMESPACE, with --kubeconfig or KUBECONFIG";
        match question.prometheus {
            Some(Named::Url(_)) => Ok(Err(Missing { next: Some(next.into()), ..error.into() })),
            _ => Err(error.within("no cluster is named").hint(next)),
        }
    }
}

/// A window in PromQL is whole seconds.
fn whole_seconds(range: Duration) -> Result<u32> {
    let seconds = range.get().as_secs();
    if seconds == 0 || range > LONGEST || range.get().subsec_nanos() > 0 {
        return Err(Error::usage(format!("--time-range {range} cannot be used"))
            .hint("whole seconds, up to 31 days: 90s, 15m, 1h, 24h"));
    }
    Ok(u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// Whether a text can be a namespace's name.
fn is_name(text: &str) -> bool {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty()
        && text.len() <= 63
        && text.chars().all(letters)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        inspect: Inspect,
    }

    fn question(arguments: &[&str]) -> Result<Question> {
        let line = Line::try_parse_from([&["inspect"], arguments].concat());
        line.map_err(|e| Error::usage(e.to_string()))?.inspect.question()
    }

    #[test]
    fn the_namespace_is_the_last_and_the_parts_are_all() {
        let asked = question(&["lab", "default", "--time-range", "1h30m"]).expect("understood");
        assert_eq!((asked.namespace.as_str(), asked.range, asked.parts.len()), ("default", Some(5400), 5));
        let asked = question(&["default", "--parts", "redis,pods"]).expect("understood");
        assert_eq!(asked.parts, [PartName::Redis, PartName::Pods]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            &[][..],
            &["a", "b", "c"],
            &["Default"],
            &["default", "--ingress-namespace", "a/b"],
            &["default", "--time-range", "0s"],
            &["default", "--time-range", "1500ms"],
            &["default", "--time-range", "800h"],
            &["default", "--time-range", "1M"],
            &["default", "--parts", "everything"],
            &["default", "--prometheus", "prometheus"],
            &["default", "--prometheus", "a/b", "--prometheus-bearer", "TOKEN"],
            &["default", "--prometheus", "http://x", "--prometheus-bearer", "not-a-variable"],
            &["default", "--prometheus", "http://x", "--prometheus-user", "USER"],
        ] {
            assert_eq!(question(wrong).expect_err("refused").exit(), Exit::Usage, "{wrong:?}");
        }
    }
}
