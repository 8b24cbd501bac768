//! Faults: reversible disturbances with a start and an end, journalled before they are injected.
