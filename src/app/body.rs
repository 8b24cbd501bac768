//! Reads a request's body, whoever asks for it.

use axum::body::{Body, Bytes};
use bytes::BytesMut;
use http_body_util::BodyExt;

use super::failure::Failure;
use super::labels::ErrorType;

/// The largest body that is taken, in bytes.
pub const LIMIT: usize = 2 << 20;

/// Of a body that is too large, so many bytes are read and dropped.
const DRAINED: usize = 64 << 20;

/// The whole body.
///
/// Every body is read before anything is answered, also where the route takes none and where it is too
/// large: a connection that is closed on bytes nobody read is reset, and the client may lose an answer
/// that was counted.
pub async fn read(mut body: Body) -> Result<Bytes, Failure> {
    let mut kept = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|e| Failure::new(ErrorType::BadRequest, format!("the body broke off: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= LIMIT {
            kept.extend_from_slice(&data);
        } else if length > DRAINED {
            break;
        }
    }
    if length > LIMIT {
        return Err(Failure::new(
            ErrorType::PayloadTooLarge,
            format!("the body is larger than {LIMIT} bytes"),
        ));
    }
    Ok(kept.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_taken_up_to_its_limit() {
        assert_eq!(read(Body::empty()).await.unwrap(), Bytes::new());
        assert_eq!(read(Body::from(vec![7; LIMIT])).await.unwrap().len(), LIMIT);
        let failure = read(Body::from(vec![7; LIMIT + 1])).await.unwrap_err();
        assert_eq!(failure.error_type, ErrorType::PayloadTooLarge);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_a_bad_request() {
        let frames = [Ok("half"), Err(std::io::Error::other("connection reset"))];
        let failure = read(Body::from_stream(futures::stream::iter(frames))).await.unwrap_err();
        assert_eq!(failure.error_type, ErrorType::BadRequest);
    }
}
