//! Check `detected`: monitoring sees each fault, and sees that it is over.
//!
//! `window` tells when a fault is looked for, beside the others; `judge` turns evaluations into verdicts. Both are pure.

mod check;
mod judge;
#[cfg(test)]
mod simulated;
mod window;

pub use check::check;
