//! Which of a metric's series are a namespace's: labels are called differently, by how targets are scraped.

use crate::observe::{Labels, matcher};

/// Labels that hold the namespace of what a series is about, the surest first. Where a metric has a label
/// `namespace` of its own and the target's wins (`honor_labels: false`), Prometheus calls its own `exported_namespace`.
const NAMESPACE: [&str; 4] =
    ["exported_namespace", "namespace", "kubernetes_namespace", "k8s_namespace_name"];

/// The namespace that a series is about, and the label that tells it.
pub fn namespace(labels: &Labels) -> Option<(&'static str, &str)> {
    NAMESPACE.into_iter().find_map(|name| {
        labels.get(name).filter(|value| !value.is_empty()).map(|value| (name, value.as_str()))
    })
}

/// The labels to group by, so that [`namespace`] can tell of each group.
pub fn grouped() -> String {
    NAMESPACE.join(", ")
}

/// The matcher of series that are about a namespace, by how these series tell theirs. `None` where none tells.
pub fn matching<'a>(series: impl IntoIterator<Item = &'a Labels>, wanted: &str) -> Option<String> {
    let mut labels: Vec<&str> = series.into_iter().filter_map(namespace).map(|(label, _)| label).collect();
    labels.sort_by_key(|label| NAMESPACE.iter().position(|name| name == label));
    labels.first().map(|label| matcher(label, "=", wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn the_metric_s_own_label_comes_before_the_target_s() {
        let both = labels(&[("namespace", "ingress-nginx"), ("exported_namespace", "default")]);
        assert_eq!(namespace(&both), Some(("exported_namespace", "default")));
        // A controller that counts unknown hosts too has series without the label.
        let unknown = labels(&[("namespace", "ingress-nginx"), ("exported_namespace", "")]);
        assert_eq!(namespace(&unknown), Some(("namespace", "ingress-nginx")));
        assert_eq!(matching([&unknown, &both], "shop").as_deref(), Some(r#"exported_namespace="shop""#));
        let honoured = labels(&[("namespace", "default")]);
        assert_eq!(matching([&honoured], "default").as_deref(), Some(r#"namespace="default""#));
        assert_eq!(matching([&labels(&[("job", "x")])], "default"), None);
    }
}
