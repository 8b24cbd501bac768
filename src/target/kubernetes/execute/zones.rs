//! The step that puts nodes into zones.

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
    /// Labels nodes that are in no zone, in the order of their names.
    pub(super) async fn zones(&self, zones: &[String]) -> Result<String> {
        let nodes = nodes::list(self.cluster).await?;
        let mut names: Vec<String> = nodes
            .into_iter()
            .filter(|node| nodes::zone(node).is_none())
            .filter_map(|node| node.metadata.name)
            .collect();
        names.sort();
        for (name, zone) in names.iter().zip(zones.iter().cycle()) {
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
        Ok(match names.len() {
            0 => "every node is in a zone".into(),
            count => format!("{count} nodes labelled"),
        })
    }
}
