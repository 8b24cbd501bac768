//! A mirror: a folder, or a place on the web, with all that `up` would otherwise get from the internet. `charts/` holds
//! charts as `NAME-VERSION.tgz`, `images/` archives of images, `tools/` the releases of programs, and `SHA256SUMS` what
//! each of them must be.

mod fill;
mod images;
mod place;
mod registry;
mod sums;

pub use fill::{Filled, Kind, Wanted, fill, wanted};
pub use images::{file_name, of_objects, of_plan};
pub use place::{Mirror, Mirrored};
pub use registry::Registry;
pub use sums::Sums;
