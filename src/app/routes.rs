//! The routes: the API, which is counted, and probes and metrics, which are not.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router, middleware};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::chance::Purpose;
use super::failure::Failure;
use super::labels::{Endpoint, ErrorType};
use super::metrics::CONTENT_TYPE;
use super::observe::observe;
use super::request_id::RequestId;
use super::service::Service;
use super::users::USERS;

/// The share of queries that the simulated database fails.
pub const DATABASE_ERRORS: f64 = 0.02;

/// Everything that the service answers, except on its admin port.
pub fn router(service: Arc<Service>) -> Router {
    let api = Router::new()
        .route(Endpoint::Users.as_str(), get(users))
        .route(Endpoint::Echo.as_str(), post(echo))
        .route(Endpoint::Error.as_str(), get(error))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(service.clone(), observe));
    Router::new()
        .route("/health/liveness", get(liveness))
        .route("/health/readiness", get(readiness))
        .route("/metrics", get(metrics))
        .merge(api)
        .with_state(service)
}

async fn users(
    State(service): State<Arc<Service>>,
    Extension(id): Extension<RequestId>,
) -> Result<Response, Failure> {
    let query = service.query.mul_f64(service.chance.spread(Purpose::QueryTime, id.as_str()));
    if query > Duration::ZERO {
        tokio::time::sleep(query).await;
    }
    if service.chance.hits(Purpose::DatabaseError, id.as_str(), DATABASE_ERRORS) {
        return Err(Failure::new(ErrorType::DatabaseError, "the simulated database did not answer"));
    }
    Ok(as_json(Bytes::from_static(USERS.as_bytes())))
}

async fn echo(headers: HeaderMap, body: Bytes) -> Result<Response, Failure> {
    if !says_json(&headers) {
        return Err(Failure::new(
            ErrorType::UnsupportedMediaType,
            "the content type is not application/json",
        ));
    }
    let text = std::str::from_utf8(&body)
        .map_err(|e| Failure::new(ErrorType::BadRequest, format!("the body is no UTF-8: {e}")))?;
    serde_json::from_str::<IgnoredAny>(text)
        .map_err(|e| Failure::new(ErrorType::BadRequest, format!("the body is no JSON: {e}")))?;
    Ok(as_json(body))
}

#[derive(Deserialize)]
struct ErrorQuery {
    r#type: Option<String>,
}

async fn error(query: Result<Query<ErrorQuery>, QueryRejection>) -> Failure {
    let asked = query.map(|Query(query)| query.r#type);
    match asked.as_ref().map(Option::as_deref) {
        Ok(None | Some("server")) => Failure::new(ErrorType::ServerError, "a server error, as asked for"),
        Ok(Some("client")) => Failure::new(ErrorType::ClientError, "a client error, as asked for"),
        Ok(Some(_)) => Failure::new(ErrorType::BadRequest, "`type` is `client` or `server`"),
        Err(rejection) => Failure::new(ErrorType::BadRequest, rejection.body_text()),
    }
}

async fn not_found() -> Failure {
    Failure::new(ErrorType::NotFound, "there is nothing at this path")
}

async fn method_not_allowed() -> Failure {
    Failure::new(ErrorType::MethodNotAllowed, "this path does not take this method")
}

async fn liveness() -> Response {
    Json(json!({"status": "alive"})).into_response()
}

async fn readiness(State(service): State<Arc<Service>>) -> Response {
    match service.unready() {
        None => Json(json!({"status": "ready"})).into_response(),
        Some(reason) => {
            let body = Json(json!({"status": "unready", "reason": reason}));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

async fn metrics(State(service): State<Arc<Service>>) -> Response {
    match service.metrics.expose() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn as_json(body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Whether the content type is `application/json` or one built on it, such as `application/problem+json`.
fn says_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_of_json_are_recognised() {
        let says =
            |value: &str| says_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, value.parse().unwrap())]));
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/ld+json"] {
            assert!(says(json), "{json}");
        }
        for other in ["text/plain", "application/jsonp", "text/json", ""] {
            assert!(!says(other), "{other}");
        }
        assert!(!says_json(&HeaderMap::new()));
    }
}
