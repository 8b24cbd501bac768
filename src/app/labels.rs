//! Every label value that the demo service's metrics can have. There are no others, whatever is asked of it.

use http::StatusCode;
use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};
use serde::{Serialize, Serializer};

/// An enum whose variants are label values.
macro_rules! label {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &[$name] = &[$($name::$variant,)+];

            /// The label's value.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)+
                }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
                self.as_str().encode(encoder)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

label! {
    /// `endpoint`: the route that a request was for.
    Endpoint {
        /// The users, from the simulated database.
        Users = "/api/users",
        /// The body, as it came.
        Echo = "/api/echo",
        /// An error, as asked for.
        Error = "/api/error",
        /// Every path without a route.
        Unmatched = "unmatched",
    }
}

impl Endpoint {
    /// The endpoint behind a route of the router; none for a path without a route.
    pub fn of_route(route: Option<&str>) -> Endpoint {
        let known = Endpoint::ALL.iter().find(|endpoint| Some(endpoint.as_str()) == route);
        known.copied().unwrap_or(Endpoint::Unmatched)
    }
}

label! {
    /// `method`: a standard HTTP method as it is, every other one as `other`.
    Method {
        /// GET.
        Get = "GET",
        /// HEAD.
        Head = "HEAD",
        /// POST.
        Post = "POST",
        /// PUT.
        Put = "PUT",
        /// PATCH.
        Patch = "PATCH",
        /// DELETE.
        Delete = "DELETE",
        /// OPTIONS.
        Options = "OPTIONS",
        /// TRACE.
        Trace = "TRACE",
        /// CONNECT.
        Connect = "CONNECT",
        /// Every other one.
        Other = "other",
    }
}

impl From<&http::Method> for Method {
    fn from(method: &http::Method) -> Method {
        // `other` itself is no method that is told apart: HTTP methods are case-sensitive.
        let known = Method::ALL.iter().find(|known| known.as_str() == method.as_str());
        known.copied().unwrap_or(Method::Other)
    }
}

label! {
    /// `error_type`: why an answer's status is 400 or above.
    ErrorType {
        /// The simulated database failed.
        DatabaseError = "database_error",
        /// `/api/error?type=client`.
        ClientError = "client_error",
        /// `/api/error`, and `/api/error?type=server`.
        ServerError = "server_error",
        /// A path without a route.
        NotFound = "not_found",
        /// A route, but not with this method.
        MethodNotAllowed = "method_not_allowed",
        /// A body or a query that can't be read.
        BadRequest = "bad_request",
        /// A body that is too large.
        PayloadTooLarge = "payload_too_large",
        /// A body that does not say that it is JSON.
        UnsupportedMediaType = "unsupported_media_type",
        /// The fault switch made it an error.
        InjectedError = "injected_error",
        /// A handler panicked; `app_exceptions_total` tells how.
        Exception = "exception",
        /// The client went away before the answer was handed over.
        ClientDisconnected = "client_disconnected",
    }
}

/// The status that a request is counted under when its client went away, as nginx has it. Nobody is answered with it.
pub const CLIENT_DISCONNECTED: u16 = 499;

impl ErrorType {
    /// The status of the answer, or, for a client that went away, the one it is counted under.
    pub fn status(self) -> StatusCode {
        match self {
            ErrorType::DatabaseError
            | ErrorType::ServerError
            | ErrorType::InjectedError
            | ErrorType::Exception => StatusCode::INTERNAL_SERVER_ERROR,
            ErrorType::ClientError | ErrorType::BadRequest => StatusCode::BAD_REQUEST,
            ErrorType::NotFound => StatusCode::NOT_FOUND,
            ErrorType::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ErrorType::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorType::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorType::ClientDisconnected => {
                StatusCode::from_u16(CLIENT_DISCONNECTED).expect("499 is a number of three digits")
            }
        }
    }
}

label! {
    /// `type` of `app_exceptions_total`.
    ExceptionType {
        /// The fault switch raised it.
        Injected = "injected_exception",
        /// A bug.
        Panic = "panic",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_methods_are_themselves_and_all_others_one() {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"] {
            let label = Method::from(&method.parse::<http::Method>().unwrap());
            assert_eq!(label.as_str(), method);
        }
        for method in ["PURGE", "get", "other", "X-1"] {
            assert_eq!(Method::from(&method.parse::<http::Method>().unwrap()), Method::Other);
        }
    }

    #[test]
    fn paths_without_a_route_are_one_value() {
        assert_eq!(Endpoint::of_route(Some("/api/users")), Endpoint::Users);
        assert_eq!(Endpoint::of_route(Some("unmatched")), Endpoint::Unmatched);
        assert_eq!(Endpoint::of_route(None), Endpoint::Unmatched);
    }
}
