//! `sre init --external URL`.

use clap::Args;
use serde::Serialize;
use url::Url;

use super::Context;
use super::credentials::{credentials, header};
use super::files::{Files, Written};
use crate::catalog::shipped_files;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::secret;
use crate::stack::base_url;
use crate::target::Endpoint;
use crate::target::external::{Addresses, Found, look, scenario_file, some, stack_file};

/// A service of the user's own, and what observes it.
#[derive(Debug, Args)]
#[command(next_help_heading = "A service of your own")]
pub struct Service {
    /// Looks at the service that runs at this URL, and writes a stack and a scenario for it; once a replica, or
    /// once for all of them.
    #[arg(long, value_name = "URL")]
    pub external: Vec<Url>,
    /// Its Prometheus.
    #[arg(long, value_name = "URL", requires = "external", default_value = "http://localhost:9090")]
    prometheus: Url,
    /// Its Alertmanager.
    #[arg(long, value_name = "URL", requires = "external")]
    alertmanager: Option<Url>,
    /// Where `sre receiver` listens, as a webhook of Alertmanager.
    #[arg(long, value_name = "URL", requires = "external")]
    receiver: Option<Url>,
    /// Its Loki.
    #[arg(long, value_name = "URL", requires = "external")]
    loki: Option<Url>,
    /// Its job in Prometheus; without it, the one whose target answers where the service does.
    #[arg(long, requires = "external")]
    job: Option<String>,
    /// The name of the stack and of the scenario.
    #[arg(long, requires = "external", default_value = "my-service", value_parser = name)]
    name: String,
    /// The environment variable that holds the token for Prometheus.
    #[arg(long, value_name = "VARIABLE", requires = "external", conflicts_with = "prometheus_user")]
    prometheus_bearer: Option<String>,
    /// The environment variable that holds the user for Prometheus.
    #[arg(long, value_name = "VARIABLE", requires = "prometheus_password")]
    prometheus_user: Option<String>,
    /// The environment variable that holds the password for Prometheus.
    #[arg(long, value_name = "VARIABLE", requires = "prometheus_user")]
    prometheus_password: Option<String>,
    /// A header for Prometheus, such as a tenant's: X-Scope-OrgID=lab. May be given several times.
    #[arg(long, value_name = "NAME=VALUE", requires = "external", value_parser = header)]
    prometheus_header: Vec<(String, String)>,
}

/// What was found and written, and how to go on.
#[derive(Debug, Serialize)]
struct Report {
    found: Found,
    files: Written,
    next: [String; 2],
}

impl Service {
    /// Looks at the service, and writes its stack and its scenario.
    ///
    /// # Errors
    /// No data (exit 3) where Prometheus does not tell of it; usage (exit 2) or a prerequisite (exit 5) where the
    /// files cannot be named or written so.
    pub async fn init(self, force: bool, context: &Context) -> Result<Exit> {
        let observers = [&self.alertmanager, &self.receiver, &self.loki].into_iter().flatten();
        for url in self.external.iter().chain([&self.prometheus]).chain(observers) {
            base_url(url).map_err(|why| Error::usage(format!("{url} cannot be used")).because_of(why))?;
        }
        let credentials = credentials(
            self.prometheus_bearer.as_deref(),
            self.prometheus_user.as_deref(),
            self.prometheus_password.as_deref(),
        )?;
        let headers = self.prometheus_header.iter().cloned().collect();
        let prometheus = Endpoint { credentials, headers, ..Endpoint::new(self.prometheus.clone()) };
        let looking = look(&self.external, &prometheus, self.job.as_deref());
        let found = context.interrupt.or(looking).await??;
        let addresses = Addresses {
            services: &self.external,
            prometheus: &prometheus,
            alertmanager: self.alertmanager.as_ref(),
            receiver: self.receiver.as_ref(),
            loki: self.loki.as_ref(),
        };
        let name = &self.name;
        let files = [
            (format!("stacks/{name}/stack.yaml"), stack_file(name, &found, &addresses).into()),
            (format!("scenarios/{name}.yaml"), scenario_file(name, &found).into()),
        ];
        let files = Files::compared(".", files)?.write(force, context).await?;
        // The stack names them, and who named them here allows that.
        let named = [&self.prometheus_bearer, &self.prometheus_user, &self.prometheus_password];
        let named: Vec<String> = named.into_iter().flatten().cloned().collect();
        if !named.is_empty() {
            secret::remember(&named)?;
        }
        let next = [format!("sre up {name} --target external"), format!("sre run {name}")];
        let report = Report { found, files, next };
        context.terminal.print(&report, |report| screen(report, &prometheus.url))?;
        Ok(Exit::Pass)
    }
}

fn screen(report: &Report, prometheus: &Url) -> String {
    let found = &report.found;
    let best = found.best();
    let mut lines = vec![format!("Found in Prometheus {} on {prometheus}", found.prometheus)];
    let mut line = |what: &str, value: String| lines.push(format!("  {what:<12}{value}"));
    line("job", found.job.clone());
    line("instances", some(&found.instances));
    line("counter", best.metric.clone());
    let values = |of: fn(&crate::target::external::Seen) -> Option<&str>| some(&best.values(of));
    match (found.path_label(), best.path.as_ref().or(best.handler.as_ref())) {
        (Some(label), _) => line("path", format!("{label:<12}{}", values(|seen| seen.path.as_deref()))),
        (None, Some(label)) => {
            line("path", format!("{label:<12}left out: no path of a request was seen there"));
        }
        (None, None) => line("path", NO_LABEL.into()),
    }
    for (what, label, seen) in [
        ("method", &best.method, values(|seen| seen.method.as_deref())),
        ("status", &best.status, values(|seen| seen.status.as_deref())),
    ] {
        line(what, label.as_ref().map_or(NO_LABEL.into(), |label| format!("{label:<12}{seen}")));
    }
    if let Some((label, scraped)) = found.scrapes() {
        line("not counted", format!("{label:<12}{}: Prometheus' own scrapes", some(&scraped)));
    }
    for other in found.proposals.iter().skip(1).take(3) {
        line("or", other.metric.clone());
    }
    lines.push(format!("\n{}", report.files.in_words()));
    lines.push("\nLook through them, and go on with".into());
    lines.extend(report.next.iter().map(|command| format!("  {command}")));
    lines.join("\n")
}

const NO_LABEL: &str = "no label holds it: requests are not told apart by it";

/// A name that can be a folder, a file and a word in YAML, and that is no stack or scenario of sre's own.
fn name(text: &str) -> Result<String, String> {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) || !text.chars().all(letters) || text.len() > 63 {
        return Err("a name has small letters, digits and `-`, and begins with a letter".into());
    }
    let shipped = [format!("stacks/{text}/stack.yaml"), format!("scenarios/{text}.yaml")];
    match shipped_files().iter().any(|file| shipped.contains(&file.path)) {
        true => Err("a stack or scenario of that name comes with sre".into()),
        false => Ok(text.to_owned()),
    }
}
