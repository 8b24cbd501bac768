//! Faults: reversible disturbances with a start and an end, journalled before they are injected.

use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::run::Events;
use crate::scenario::FaultStep;
use crate::target::Lab;
use crate::terminal::Terminal;

/// stub
pub fn plan(_: &[FaultStep], _: &Lab) -> Result<()> {
    Ok(())
}
/// stub
pub async fn recover(_: &std::path::Path, _: &Terminal) -> Result<()> {
    Ok(())
}
/// stub
pub struct Timeline<'a> {
    /// stub
    pub state: &'a std::path::Path,
    /// stub
    pub lab: &'a Lab,
    /// stub
    pub start: std::time::Instant,
    /// stub
    pub events: &'a Events,
    /// stub
    pub interrupt: &'a Interrupt,
}
impl Timeline<'_> {
    /// stub
    pub async fn run<F: Future<Output = Option<f64>>>(
        &self,
        _: &[FaultStep],
        _: impl Fn() -> F,
    ) -> Result<()> {
        Ok(())
    }
}
