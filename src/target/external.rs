//! The target `external`: the user's own service and Prometheus, already running; nothing is started.

use indexmap::IndexMap;

use super::{Folder, Lab};
use crate::error::{Error, Result};
use crate::stack::Stack;

/// Records where the stack's parts answer, once they do.
pub async fn up(_stack: &Stack, _parameters: &IndexMap<String, String>, _folder: &Folder) -> Result<Lab> {
    Err(Error::usage("the target external is not supported yet").hint("sre up --target local"))
}
