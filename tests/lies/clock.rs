//! A Prometheus whose clock is off: a double, because a process cannot be given another wall clock here.
//!
//! It stands in front of the real one and shifts every time in questions and answers.

use std::net::SocketAddr;

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, Uri};
use serde_json::Value;

use crate::serve::{Served, serve};

/// A running proxy; it ends with its value.
pub struct ShiftedClock(Served);

#[derive(Clone, Copy)]
struct Shift {
    prometheus: SocketAddr,
    seconds: f64,
}

impl ShiftedClock {
    pub fn start(prometheus: SocketAddr, seconds: f64) -> ShiftedClock {
        let shift = Shift { prometheus, seconds };
        ShiftedClock(serve(axum::Router::new().fallback(forward).with_state(shift)))
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }
}

async fn forward(State(shift): State<Shift>, uri: Uri, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let mut url = reqwest::Url::parse(&format!("http://{}{}", shift.prometheus, uri.path())).expect("a URL");
    let asked = reqwest::Url::parse(&format!("http://x/?{}", query.unwrap_or_default())).expect("a query");
    let mut own_time = false;
    for (name, value) in asked.query_pairs() {
        own_time |= name == "query" && value == "time()";
        let value = match name.as_ref() {
            "time" => (value.parse::<f64>().expect("a time") - shift.seconds).to_string(),
            _ => value.into_owned(),
        };
        url.query_pairs_mut().append_pair(&name, &value);
    }
    let Ok(answer) = reqwest::get(url).await else { return (StatusCode::BAD_GATEWAY, String::new()) };
    let status = answer.status();
    let mut json: Value = answer.json().await.unwrap_or(Value::Null);
    shift_times(&mut json, shift.seconds, own_time);
    (StatusCode::from_u16(status.as_u16()).expect("a status"), json.to_string())
}

/// `[time, "value"]` everywhere; and the value itself where it is the answer to `time()`.
fn shift_times(json: &mut Value, by: f64, own_time: bool) {
    match json {
        Value::Array(items) => {
            if let [Value::Number(time), Value::String(value)] = items.as_mut_slice() {
                if own_time {
                    *value = (value.parse::<f64>().expect("a time") + by).to_string();
                }
                let shifted = time.as_f64().expect("a number") + by;
                items[0] = serde_json::json!(shifted);
                return;
            }
            items.iter_mut().for_each(|item| shift_times(item, by, own_time));
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| shift_times(field, by, own_time)),
        _ => {}
    }
}
