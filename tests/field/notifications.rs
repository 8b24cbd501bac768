//! Notifications that are inhibited, silenced, rerouted, relabelled or large.
