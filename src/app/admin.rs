//! The admin port: switches faults on and off. It has no authentication, which is why it is on loopback only.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::faults::Faults;
use super::service::Service;
use crate::error::{Error, Result};
use crate::loopback::guarded;

/// Refuses an address that others than this machine (or this pod) can reach.
pub fn check_address(address: SocketAddr) -> Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    Err(Error::usage(format!("--admin {address}: the admin port listens on loopback only"))
        .because_of("whoever reaches it can break the service, and it asks for no password")
        .hint("--admin 127.0.0.1:0; in a pod it is reached by `kubectl port-forward`"))
}

/// `/faults` on `listen`: GET tells, PUT sets exactly what it is given, DELETE ends all.
pub fn router(service: Arc<Service>, listen: SocketAddr) -> Router {
    let router = Router::new().route("/faults", get(tell).put(set).delete(end)).with_state(service);
    guarded(router, listen)
}

async fn tell(State(service): State<Arc<Service>>) -> Json<Faults> {
    Json(service.faults.get())
}

async fn set(
    State(service): State<Arc<Service>>,
    body: Result<Json<Map<String, Value>>, JsonRejection>,
) -> Response {
    let object = match body {
        Ok(Json(object)) => Value::Object(object),
        Err(rejection) => return refuse(rejection.status(), rejection.body_text()),
    };
    let faults = serde_json::from_value::<Faults>(object).map_err(|e| e.to_string());
    match faults.and_then(|faults| faults.validate().map(|()| faults)) {
        Ok(faults) => switch(&service, faults).into_response(),
        Err(problem) => refuse(StatusCode::BAD_REQUEST, problem),
    }
}

async fn end(State(service): State<Arc<Service>>) -> Json<Faults> {
    switch(&service, Faults::default())
}

fn switch(service: &Service, faults: Faults) -> Json<Faults> {
    service.faults.set(faults);
    service.log.notice("faults set", json!({"faults": faults}));
    Json(faults)
}

fn refuse(status: StatusCode, message: String) -> Response {
    (status, Json(json!({"error": "bad_request", "message": message}))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn only_loopback_is_listened_on() {
        for fine in ["127.0.0.1:0", "127.0.0.53:9000", "[::1]:9000"] {
            assert!(check_address(fine.parse().unwrap()).is_ok(), "{fine}");
        }
        for wrong in ["0.0.0.0:9000", "[::]:0", "10.0.0.1:9000", "[::ffff:10.0.0.1]:1"] {
            let error = check_address(wrong.parse().unwrap()).unwrap_err();
            assert_eq!(error.exit(), Exit::Usage, "{wrong}");
        }
    }
}
