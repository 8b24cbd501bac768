//! Heads of answers that other clients take.
