//! Counters that are late, lost, doubled or shared.
