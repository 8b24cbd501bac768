//! The fault switches of the demo service, on its admin port.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::{Error, Result};
use crate::http_client;
use crate::scenario::FaultKind;

/// How long the admin port may take to answer, each time.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest time after which the service can be asked to switch off by itself.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What is switched on; everything is off by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Switches {
    /// Every answer comes this much later, in milliseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub latency_ms: u64,
    /// The share of answers that are errors, from 0 to 1.
    #[serde(skip_serializing_if = "is_default")]
    pub error_rate: f64,
    /// The share of requests that end in an exception, from 0 to 1.
    #[serde(skip_serializing_if = "is_default")]
    pub exception_rate: f64,
    /// Whether it says that it is not ready.
    #[serde(skip_serializing_if = "is_default")]
    pub unready: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Switches {
    /// The switches of this kind of fault; `None` for one that is no matter of switches.
    pub fn of(kind: &FaultKind) -> Option<Switches> {
        let off = Switches::default();
        match kind {
            FaultKind::Latency(latency) => {
                let latency_ms = u64::try_from(latency.get().as_millis()).unwrap_or(u64::MAX);
                Some(Switches { latency_ms, ..off })
            }
            FaultKind::ErrorRate(rate) => Some(Switches { error_rate: rate.get(), ..off }),
            FaultKind::Exceptions(rate) => Some(Switches { exception_rate: rate.get(), ..off }),
            FaultKind::Unready => Some(Switches { unready: true, ..off }),
            _ => None,
        }
    }

    /// Both at once: of each switch the stronger setting.
    pub fn union(self, other: Switches) -> Switches {
        Switches {
            latency_ms: self.latency_ms.max(other.latency_ms),
            error_rate: self.error_rate.max(other.error_rate),
            exception_rate: self.exception_rate.max(other.exception_rate),
            unready: self.unready || other.unready,
        }
    }

    /// Sets exactly these on the service behind an admin port, for at most `lasts`: then the service
    /// switches them off by itself. Tries again a few times. An error (exit 6) if it does not accept them.
    pub async fn put(self, admin: &Url, lasts: Duration) -> Result<()> {
        #[derive(Serialize)]
        struct Body {
            #[serde(flatten)]
            switches: Switches,
            for_ms: u64,
        }
        let for_ms = u64::try_from(lasts.min(LONGEST).as_millis()).unwrap_or(u64::MAX).max(1);
        let body = Body { switches: self, for_ms };
        send(admin, |client, url| client.put(url).json(&body)).await
    }

    /// Whether there are such switches at an admin port: only the demo service answers for them with JSON.
    pub async fn are_at(admin: &Url) -> bool {
        let asked = async {
            let client = http_client::builder().no_proxy().timeout(TIMEOUT).build().ok()?;
            let answer = client.get(admin.join("faults").ok()?).send().await.ok()?;
            let body =
                http_client::read(answer.error_for_status().ok()?, http_client::LARGEST_ANSWER).await.ok()?;
            serde_json::from_slice::<Switches>(&body).ok()
        };
        asked.await.is_some()
    }

    /// Switches everything off. Tries again a few times. An error (exit 6) if that is not accepted.
    pub async fn clear(admin: &Url) -> Result<()> {
        send(admin, |client, url| client.delete(url)).await
    }
}

async fn send(admin: &Url, request: impl Fn(&reqwest::Client, Url) -> reqwest::RequestBuilder) -> Result<()> {
    let failed = || Error::target(format!("the fault switches at {admin} cannot be set"));
    let url = admin.join("faults").map_err(|e| failed().because(e))?;
    // A proxy of the environment knows nothing of this machine's loopback.
    let client =
        http_client::builder().no_proxy().timeout(TIMEOUT).build().map_err(|e| failed().because(e))?;
    let once = || async {
        let answer = request(&client, url.clone()).send().await.map_err(|e| failed().because(e))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let text = http_client::excerpt(answer).await;
        Err(failed().because_of(format!("it answered {status} {text}").trim_end()))
    };
    once.retry(ExponentialBuilder::default().with_min_delay(Duration::from_millis(100)).with_max_times(2))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn together_the_stronger_setting_holds() {
        let slow = Switches { latency_ms: 2000, ..Switches::default() };
        let slower = Switches { latency_ms: 3000, error_rate: 0.2, ..Switches::default() };
        let unready = Switches { unready: true, ..Switches::default() };
        let all = [slow, slower, unready].into_iter().fold(Switches::default(), Switches::union);
        assert_eq!(all, Switches { latency_ms: 3000, error_rate: 0.2, exception_rate: 0.0, unready: true });
    }

    #[test]
    fn only_what_is_on_is_sent() {
        let slow = Switches { latency_ms: 2000, ..Switches::default() };
        assert_eq!(serde_json::to_string(&slow).expect("JSON"), r#"{"latency_ms":2000}"#);
        assert_eq!(serde_json::to_string(&Switches::default()).expect("JSON"), "{}");
    }
}
