//! Bodies and headers copied from elsewhere.
