//! The target `local`: real Prometheus, Alertmanager and node exporter, and the service's replicas,
//! as processes on this machine, on free loopback ports.

mod config;
mod converge;
mod down;
pub mod health;
mod log_config;
pub mod plan;
pub mod ports;
mod preview;
pub mod process;
mod programs;
mod reread;
mod status;
pub mod tail;
mod up;

pub use down::{Stopped, down, purge};
pub use preview::{MissingTool, Preview, PreviewFile, PreviewProcess, preview};
pub use status::{ProcessStatus, Status, TargetsStatus, status};
pub use up::{BOUND, Request, up};
