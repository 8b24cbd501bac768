//! Which targets are pods that went or came during the load. Pure.

use super::history::TargetHistory;
use crate::target::{PodChanges, ServicePod};

/// Marks the targets of pods that are gone, and of those that are new. `now` are the pods after the load.
pub fn mark(histories: &mut [TargetHistory], changes: &PodChanges, now: &[ServicePod]) {
    for history in histories {
        let among = |pods: &[ServicePod]| pods.iter().any(|pod| is_of(history, pod));
        let (gone, new) = (among(&changes.gone) && !among(now), among(&changes.new));
        history.gone |= gone;
        history.from_zero = new && !history.known_before;
    }
}

/// Whether a target is this pod. An address alone may have gone from one pod to the next; a label `pod` has not.
fn is_of(history: &TargetHistory, pod: &ServicePod) -> bool {
    pod.instance.as_deref() == Some(history.instance())
        && history.labels.get("pod").is_none_or(|name| *name == pod.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Labels;

    fn pod(name: &str, instance: &str) -> ServicePod {
        let (uid, instance) = (name.to_owned(), Some(instance.to_owned()));
        ServicePod { name: name.into(), uid, node: None, instance, ready: true }
    }

    fn history(instance: &str, pod: Option<&str>, known_before: bool) -> TargetHistory {
        let mut labels = Labels::from([("instance".into(), instance.into())]);
        labels.extend(pod.map(|pod| ("pod".to_owned(), pod.to_owned())));
        TargetHistory { labels, known_before, ..TargetHistory::default() }
    }

    fn marked(histories: Vec<TargetHistory>) -> Vec<(bool, bool)> {
        let (before, after) = ([pod("a", "1:1"), pod("b", "2:1")], [pod("a", "1:1"), pod("c", "2:1")]);
        let mut histories = histories;
        mark(&mut histories, &PodChanges::between(&before, &after), &after);
        histories.iter().map(|history| (history.gone, history.from_zero)).collect()
    }

    #[test]
    fn a_pod_that_took_over_an_address_is_told_by_its_label() {
        let labelled = vec![
            history("1:1", Some("a"), true),
            history("2:1", Some("b"), true),
            history("2:1", Some("c"), false),
        ];
        assert_eq!(marked(labelled), [(false, false), (true, false), (false, true)]);
    }

    #[test]
    fn one_target_of_two_pods_was_started_again() {
        // Its own counters tell: it is neither gone nor new.
        assert_eq!(marked(vec![history("2:1", None, true)]), [(false, false)]);
    }
}
