//! An error answer.

use std::borrow::Cow;

use axum::Json;
use axum::response::{IntoResponse, Response};

use super::labels::ErrorType;

/// Why a request is answered with an error. It travels in the answer's extensions to where errors are
/// counted and logged, so that each is, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it is counted as; its status follows from it.
    pub error_type: ErrorType,
    /// What happened, for the caller and the log.
    pub message: Cow<'static, str>,
}

impl Failure {
    /// A failure of this type.
    pub fn new(error_type: ErrorType, message: impl Into<Cow<'static, str>>) -> Failure {
        Failure { error_type, message: message.into() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = serde_json::json!({"error": self.error_type, "message": self.message});
        let mut response = (self.error_type.status(), Json(body)).into_response();
        response.extensions_mut().insert(self);
        response
    }
}
