//! Alertmanager's HTTP API, as far as verdicts need it.

use serde::Deserialize;

use super::HttpClient;
use crate::error::Result;
use crate::target::Endpoint;

/// A client of one Alertmanager.
#[derive(Debug, Clone)]
pub struct Alertmanager {
    http: HttpClient,
}

impl Alertmanager {
    /// A client of the Alertmanager behind this endpoint.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where its credentials are not in the environment.
    pub fn new(endpoint: &Endpoint) -> Result<Alertmanager> {
        Ok(Alertmanager { http: HttpClient::new("Alertmanager", endpoint)? })
    }

    /// Its version; asking for it proves that it answers.
    ///
    /// # Errors
    /// No data (exit 3) where it does not answer.
    pub async fn version(&self) -> Result<String> {
        Ok(self.status().await?.version_info.version)
    }

    /// The configuration that it has loaded, as it would write it: with its defaults, and without secrets.
    ///
    /// # Errors
    /// No data (exit 3) where it does not answer.
    pub async fn config(&self) -> Result<String> {
        Ok(self.status().await?.config.original)
    }

    async fn status(&self) -> Result<Status> {
        self.http.get("api/v2/status", &[]).await
    }
}

#[derive(Deserialize)]
struct Status {
    #[serde(rename = "versionInfo")]
    version_info: VersionInfo,
    #[serde(default)]
    config: Config,
}

#[derive(Deserialize)]
struct VersionInfo {
    version: String,
}

#[derive(Default, Deserialize)]
struct Config {
    original: String,
}
