//! Images that the nodes lack, from a mirror, before any pod asks for them.

use super::execute::Execution;
use super::plan::Plan;
use crate::error::{Error, Result};
use crate::mirror::{Mirror, of_plan};

/// Loads every image that the plan's pods ask for onto the nodes, where they lack it and the mirror has it. One that
/// the mirror lacks is told, and left to the nodes.
///
/// # Errors
/// Nothing loads images onto the nodes, or the mirror cannot be read (5); an image cannot be loaded (6).
pub async fn load(execution: &Execution<'_>, plan: &Plan, mirror: &Mirror) -> Result<()> {
    let nodes = execution.nodes().await?;
    let known = execution.book.lab().cluster.map(|lab| lab.images).unwrap_or_default();
    let mut lacking = Vec::new();
    for image in of_plan(plan, execution.helm.as_ref()).await? {
        // A node tells of some fifty images at most; what was loaded is written down.
        let has = |node: &str, images: &[String]| {
            images.contains(&image) || known.get(&image).is_some_and(|nodes| nodes.iter().any(|n| n == node))
        };
        if !nodes.iter().all(|(node, images)| has(node, images)) {
            lacking.push(image);
        }
    }
    for image in lacking {
        let Some(archive) = execution.interrupt.or(mirror.image(&image)).await?? else {
            execution.progress.say(&format!("! the mirror lacks image {image}: the nodes must get it"));
            continue;
        };
        let Some(loader) = &execution.loader else {
            return Err(Error::prerequisite(format!("image {image} is in the mirror, and not on the nodes")).hint(
                "name the command that loads an archive onto the nodes: --image-loader 'kind load image-archive {archive}'",
            ));
        };
        execution.progress.tell("images", &format!("loading {image}"));
        loader.load(archive.path(), &image, execution.interrupt).await?;
        let names = nodes.iter().map(|(name, _)| name.clone()).collect();
        execution.book.change(|lab| {
            if let Some(cluster) = &mut lab.cluster {
                cluster.images.insert(image.clone(), names);
            }
        })?;
        execution.progress.done("images", &format!("{image} from the mirror"));
    }
    Ok(())
}
