//! Connections that the server closes, refuses or limits.
