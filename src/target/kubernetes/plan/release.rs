//! A chart as the release that helm installs: where it comes from, at which version, with which values.

use super::fill::read_filled;
use super::{Release, Sources};
use crate::config;
use crate::error::{Error, Result};
use crate::stack::Chart;
use crate::target::kubernetes::values;
use crate::tools::versions;

/// The release of a chart.
pub(super) fn release(name: &str, chart: &Chart, namespace: &str, sources: &Sources<'_>) -> Result<Release> {
    let path = sources.chart(&chart.chart).filter(|_| !chart.chart.starts_with("oci://"));
    let is_path = chart.chart.contains('/') || path.is_some();
    let pin = versions::Chart::named(&chart.chart).filter(|_| !is_path && chart.repository.is_none());
    let repository = chart.repository.as_deref().filter(|_| !is_path).or(pin.map(|pin| pin.repository));
    let version = chart.version.as_deref().or(pin.map(|pin| pin.version));
    let local = repository.is_none() && !chart.chart.starts_with("oci://");
    if version.is_none() && !local {
        return Err(Error::usage(format!("chart `{name}` has no `version`"))
            .hint("name the exact version; the newest one may differ at every `sre up`"));
    }
    let mut texts = Vec::new();
    for file in &chart.values {
        texts.push((file.clone(), (sources.read)(file)?));
    }
    for path in sources.values.get(name).into_iter().flatten() {
        texts.push((path.display().to_string(), config::read(path)?));
    }
    let mut files = Vec::new();
    for (file, text) in texts {
        let documents = read_filled(&file, &text, sources.parameters)?;
        if documents.len() > 1 || documents.iter().any(|document| !document.is_object()) {
            return Err(Error::usage(format!("{file} is not one mapping, as a chart's values must be")));
        }
        files.extend(documents);
    }
    let from = sources.mirror.filter(|_| !local).map(|mirror| {
        let mirror = mirror.trim_end_matches('/');
        let name = chart.chart.rsplit('/').next().unwrap_or_default();
        format!("{mirror}/charts/{name}-{}.tgz", version.unwrap_or_default())
    });
    Ok(Release {
        name: name.into(),
        namespace: chart.namespace.clone().unwrap_or_else(|| namespace.into()),
        repository: repository.filter(|_| from.is_none()).map(str::to_owned),
        version: version.map(str::to_owned),
        sha256: pin.filter(|pin| version == Some(pin.version)).map(|pin| pin.sha256.to_owned()),
        chart: match (from, path) {
            (Some(from), _) => from,
            (None, Some(path)) if local => path.display().to_string(),
            _ => chart.chart.clone(),
        },
        values: values::of_chart(files, &chart.set)?,
    })
}
