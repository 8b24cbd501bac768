//! The step that puts nodes into zones.

use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use super::Execution;
use crate::error::Result;
use crate::stack::PatchTarget;
use crate::target::kubernetes::apply::Mode;
use crate::target::kubernetes::nodes::{self, ZONE};
use crate::target::kubernetes::object::ObjectRef;
use crate::target::kubernetes::patch::{Undo, patch};
use crate::target::kubernetes::plan::PatchBody;
use crate::target::kubernetes::record::Done;

impl Execution<'_> {
    /// Labels nodes that are in no zone.
    pub(super) async fn zones(&self, zones: &[String]) -> Result<String> {
        let placed = placed(&nodes::list(self.cluster).await?, zones);
        for (name, zone) in &placed {
            let node =
                PatchTarget { kind: "Node".into(), name: Some(name.clone()), ..PatchTarget::default() };
            let body = PatchBody::Merge(json!({"metadata": {"labels": {ZONE: zone}}}));
            self.book.note(Done::Patch(Undo {
                object: ObjectRef::of_node(name),
                before: json!({"metadata": {"labels": {ZONE: null}}}),
                after: json!({"metadata": {"labels": {ZONE: zone}}}),
            }))?;
            patch(self.cluster, &node, &body, Mode::Write).await?;
        }
        Ok(match placed.len() {
            0 => "every node is in a zone".into(),
            count => format!("{count} nodes labelled"),
        })
    }
}

/// The nodes that are in no zone, each with its own: zones are given in turn to all nodes in the order of their names, so
/// that the labels of an `up` that was broken off, and those of nodes that were there before, shift nobody's.
fn placed(nodes: &[Node], zones: &[String]) -> Vec<(String, String)> {
    let mut nodes: Vec<&Node> = nodes.iter().collect();
    nodes.sort_by_key(|node| nodes::name(node));
    let all = nodes.iter().zip(zones.iter().cycle());
    all.filter(|(node, _)| nodes::zone(node).is_none())
        .map(|(node, zone)| (nodes::name(node), zone.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, zone: Option<&str>) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": zone.map(|zone| json!({ZONE: zone}))},
        }))
        .unwrap()
    }

    #[test]
    fn nodes_get_zones_in_turn_whatever_was_labelled_before() {
        let zones = ["a", "b", "c"].map(str::to_owned);
        let placed = |nodes: &[Node]| -> Vec<String> {
            placed(nodes, &zones).iter().map(|(name, zone)| format!("{name}={zone}")).collect()
        };
        let all = [node("n3", None), node("n1", None), node("n2", None), node("n4", None)];
        assert_eq!(placed(&all), ["n1=a", "n2=b", "n3=c", "n4=a"]);
        // One that was killed after the first label, and a node that was added.
        assert_eq!(placed(&[node("n1", Some("a")), node("n2", None), node("n3", None)]), ["n2=b", "n3=c"]);
        assert_eq!(placed(&[node("n1", Some("a")), node("n2", Some("b")), node("n3", None)]), ["n3=c"]);
        assert_eq!(placed(&[node("n1", Some("elsewhere"))]), [""; 0]);
    }
}
