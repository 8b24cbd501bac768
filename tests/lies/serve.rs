//! A router on a free port, on a thread of its own.

use std::net::SocketAddr;

/// A running server; it ends with its value.
pub struct Served {
    pub address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

pub fn serve(router: axum::Router) -> Served {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("its address");
    runtime.spawn(async move { axum::serve(listener, router).await });
    Served { address, _runtime: runtime }
}
