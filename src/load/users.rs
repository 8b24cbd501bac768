//! users
use super::execute::{LoadRun, Recorded};
use crate::error::Result;
use crate::scenario::Users;
pub(super) async fn run(_run: &LoadRun<'_>, _load: &Users) -> Result<Recorded> {
    Err(crate::error::Error::usage("x"))
}
