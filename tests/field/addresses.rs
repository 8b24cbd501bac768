//! Addresses of services as people write them: IPv6 literals, several addresses of one name, paths.
