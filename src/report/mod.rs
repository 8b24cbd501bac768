//! Reporters: they consume events, and nothing else.
