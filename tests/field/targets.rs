//! Targets that share an address, or lost a label.
