//! Before anything is changed: every chart of a plan is here, and knows the values that it is given.

use std::path::Path;

use super::fetch::at_hand;
use super::{Content, Known, check, fetch};
use crate::error::{Error, Result};
use crate::target::kubernetes::helm::Helm;
use crate::target::kubernetes::plan::{Action, Plan, Release};
use crate::tools::Cache;

/// Gets the charts of a plan, all at once, and holds their values against what they know. `say` is told what is got.
///
/// # Errors
/// Usage (exit 2) for a chart that is not there and for a value that it does not know, a prerequisite (5) for a chart
/// that cannot be got.
pub async fn settle(plan: &mut Plan, helm: &Helm, say: &(dyn Fn(&str) + Sync)) -> Result<()> {
    let cache = &Cache::of_user_for("charts")?;
    let charts = plan.steps.iter_mut().filter_map(|step| match &mut step.action {
        Action::Chart(release) => Some(release),
        _ => None,
    });
    let got = charts.map(|release| async move {
        let here = fetch(release, helm, cache).await?;
        check_values(release, Path::new(&here.chart))?;
        if here.chart != release.chart {
            say(&format!("chart {} {}", release.chart, release.version.as_deref().unwrap_or_default()));
        }
        *release = here;
        Ok::<(), Error>(())
    });
    futures::future::try_join_all(got).await.map(drop)
}

/// Holds a release's values against what its chart knows, where that is a folder or a file, or was got before.
///
/// # Errors
/// Usage (exit 2) for a value that the chart does not know, and for a chart that can't be read.
pub fn check_at_hand(release: &Release) -> Result<()> {
    let cache = Cache::of_user_for("charts")?;
    at_hand(release, &cache)?.map_or(Ok(()), |chart| check_values(release, &chart))
}

fn check_values(release: &Release, chart: &Path) -> Result<()> {
    let known = Known::of(&Content::read(chart)?)?;
    check(&release.name, &release.chart, &release.values, &known)
}
