//! One request that becomes two at the server.
