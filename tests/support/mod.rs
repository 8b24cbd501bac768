//! What integration tests share.

// Every test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

pub mod app;
pub mod exposition;
pub mod wait;
