//! The demo service, `sre app`: the API of the labs.
