//! Charts themselves: how they come here, and which values they know.

mod content;
mod fetch;
mod keys;
mod settle;

pub use content::Content;
pub use fetch::fetch;
pub use keys::{Known, Unknown, check};
pub use settle::{check_at_hand, settle};
