//! What an answer holds: whole, of the kind that was asked for, or the reason why it proves nothing. Pure.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Data that a server vouches for, and what it remarks.
#[derive(Debug, Clone, PartialEq)]
pub struct Told<T> {
    /// What was asked for; none where the answer leaves it out.
    pub data: Option<T>,
    /// Remarks that take nothing from the data.
    pub infos: Vec<String>,
}

/// The envelope of Prometheus' and Loki's answers.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: DeserializeOwned"))]
struct Envelope<T> {
    status: String,
    #[serde(default)]
    data: Option<T>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
    #[serde(default)]
    infos: Option<Vec<String>>,
}

/// The JSON in a body.
///
/// # Errors
/// No data (exit 3) where it is something else: a page, half an answer, nothing.
pub fn read_json<T: DeserializeOwned>(whose: &str, body: &[u8]) -> Result<T> {
    // serde_json goes 128 levels deep, and no deeper.
    serde_json::from_slice(body).map_err(|e| {
        let error = Error::no_data(format!("{whose} gave an answer that is not understood"));
        match is_html(body) {
            true => error.because_of(page(body)).hint(SIGN_IN),
            false if body.is_empty() => error.because_of("the answer is empty"),
            false => error.because(e),
        }
    })
}

/// What the envelope in a body vouches for.
///
/// # Errors
/// No data (exit 3) where it is no such envelope, says that it failed, or warns that it is not whole.
pub fn read_told<T: DeserializeOwned>(whose: &str, body: &[u8]) -> Result<Told<T>> {
    let envelope: Envelope<T> = read_json(whose, body)?;
    if envelope.status != "success" {
        let why = envelope.error.unwrap_or_else(|| format!("its status is `{}`", envelope.status));
        return Err(Error::no_data(format!("{whose} did not give what was asked")).because_of(why));
    }
    // Before Prometheus 2.53 what is only a remark stood among the warnings.
    let (mut infos, warnings): (Vec<_>, Vec<_>) =
        envelope.warnings.into_iter().flatten().partition(|text| text.starts_with("PromQL info"));
    if !warnings.is_empty() {
        let error = Error::no_data(format!("{whose} warns that its answer may not be whole"));
        return Err(warnings.iter().take(5).fold(error, |error, warning| error.because_of(short(warning))));
    }
    infos.extend(envelope.infos.into_iter().flatten());
    Ok(Told { data: envelope.data, infos })
}

/// What to do where a page came instead of data.
pub const SIGN_IN: &str = "Is this its address? What stands before it may want a login: sign in, or name `credentials` or `headers`.";

/// Whether a body is a page for people.
pub fn is_html(body: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&body[..body.len().min(512)]).trim_start().to_ascii_lowercase();
    start.starts_with("<!doctype html") || start.starts_with("<html")
}

/// A page, in words.
fn page(body: &[u8]) -> String {
    let start = String::from_utf8_lossy(&body[..body.len().min(4096)]).into_owned();
    let title = start.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    match title {
        Some((title, _)) => format!("an HTML page came instead of JSON: “{}”", short(title.trim())),
        None => "an HTML page came instead of JSON".to_owned(),
    }
}

/// What a server says is wrong: the message of an API server's or of Prometheus' JSON, else the text as it is.
pub fn told(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Message {
        #[serde(alias = "error")]
        message: String,
    }
    match serde_json::from_slice::<Message>(body) {
        Ok(told) => short(&told.message),
        Err(_) if is_html(body) => page(body),
        Err(_) => short(String::from_utf8_lossy(&body[..body.len().min(4096)]).trim()),
    }
}

/// Whether a body is JSON at all.
pub fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

/// Enough of a text to know it by.
fn short(text: &str) -> String {
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &str) -> String {
        read_told::<Vec<u64>>("Prometheus", body.as_bytes()).expect_err(body).to_string()
    }

    #[test]
    fn what_is_whole_is_read_with_its_remarks() {
        let body = r#"{"status":"success","data":[1],"infos":["a"],"warnings":["PromQL info: b"]}"#;
        let told = read_told::<Vec<u64>>("Prometheus", body.as_bytes()).expect("data");
        assert_eq!((told.data, told.infos), (Some(vec![1]), vec!["PromQL info: b".into(), "a".into()]));
        let nothing = read_told::<Vec<u64>>("Loki", br#"{"status":"success"}"#).expect("an answer");
        assert_eq!(nothing.data, None);
    }

    #[test]
    fn what_is_not_whole_is_no_data_with_its_reason() {
        assert!(
            error(r#"{"status":"success","data":[1],"warnings":["store a is away"]}"#)
                .contains("store a is away")
        );
        assert!(error(r#"{"status":"error","error":"too many samples"}"#).contains("too many samples"));
        assert!(error(r#"{"status":"partial","data":[1]}"#).contains("`partial`"));
        assert!(error(r#"{"data":[1]}"#).contains("status"));
        assert!(error(r#"{"status":"success","data":[1"#).contains("EOF"));
        assert!(error("").contains("empty"));
        let page = error("\n<!DOCTYPE html><html><title> Sign in </title><form>");
        assert!(
            page.contains("an HTML page came instead of JSON: “Sign in”") && page.contains("login"),
            "{page}"
        );
    }

    #[test]
    fn no_answer_is_deep_enough_to_overflow_the_stack() {
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let body = format!(r#"{{"status":"success","data":{}}}"#, deep(1_000_000));
        assert!(read_told::<serde_json::Value>("Prometheus", body.as_bytes()).is_err());
    }

    #[test]
    fn an_error_is_told_by_its_message() {
        assert_eq!(
            told(br#"{"kind":"Status","message":"no endpoints available"}"#),
            "no endpoints available"
        );
        assert_eq!(
            told(br#"{"status":"error","errorType":"bad_data","error":"parse error"}"#),
            "parse error"
        );
        assert_eq!(told(b"Service Unavailable"), "Service Unavailable");
        assert_eq!(told(b"<html><title>502</title>"), "an HTML page came instead of JSON: “502”".to_owned());
    }
}
