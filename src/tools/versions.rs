//! Every version that `sre` pins, in one place. A checksum is that of the project's own release
//! (`sha256sums.txt` beside it); a platform without one is not downloaded for.

use super::Tool;

/// An official release: one archive a platform, with the programs in its only folder.
#[derive(Debug, Clone, Copy)]
pub struct Release {
    /// The tools in it.
    pub tools: &'static [Tool],
    /// The stem of its archives and the name of its folder in the cache.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Where its archives are; `tools/` of a mirror takes its place.
    pub base: &'static str,
    /// The archives.
    pub archives: &'static [Archive],
}

/// One archive of a release.
#[derive(Debug, Clone, Copy)]
pub struct Archive {
    /// The platform, as Go names it: `linux-amd64`.
    pub platform: &'static str,
    /// The archive's SHA-256, in hexadecimal.
    pub sha256: &'static str,
    /// About how large it is, in bytes.
    pub size: u64,
}

/// A Helm chart: which repository it is in, and which version of it is installed. The images of its programs are those
/// that this version names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chart {
    /// Its name.
    pub name: &'static str,
    /// Its repository's URL.
    pub repository: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// The charts.
pub const CHARTS: &[Chart] = &[
    Chart {
        name: "kube-prometheus-stack",
        repository: "https://prometheus-community.github.io/helm-charts",
        version: "88.5.3",
    },
    Chart { name: "loki", repository: "https://grafana-community.github.io/helm-charts", version: "18.11.0" },
    Chart {
        name: "opentelemetry-collector",
        repository: "https://open-telemetry.github.io/opentelemetry-helm-charts",
        version: "0.170.0",
    },
];

impl Chart {
    /// The pinned chart of this name.
    pub fn named(name: &str) -> Option<&'static Chart> {
        CHARTS.iter().find(|chart| chart.name == name)
    }
}

/// The releases.
pub const RELEASES: &[Release] = &[
    Release {
        tools: &[Tool::Prometheus, Tool::Promtool],
        name: "prometheus",
        version: "3.15.0",
        base: "https://github.com/prometheus/prometheus/releases/download/v3.15.0",
        archives: &[
            Archive {
                platform: "linux-amd64",
                sha256: "2a542df32eac02ee17b9d844fb2aa1de00dafa5476579ba8a3ba862e9d572ea0",
                size: 105_000_000,
            },
            Archive {
                platform: "linux-arm64",
                sha256: "f1f90ec08e849d494ca66c611470afc50192f0355f1a61c33f2cbde02d067823",
                size: 100_000_000,
            },
        ],
    },
    Release {
        tools: &[Tool::Alertmanager],
        name: "alertmanager",
        version: "0.33.1",
        base: "https://github.com/prometheus/alertmanager/releases/download/v0.33.1",
        archives: &[
            Archive {
                platform: "linux-amd64",
                sha256: "93d802cba6a8d27239d747ce117df7648d326ab67394e32247540b030e9842ba",
                size: 38_309_354,
            },
            Archive {
                platform: "linux-arm64",
                sha256: "50b32a346c3c29da411643dfa84990440e8fd03800380d7e664f22a863b7a0cf",
                size: 36_000_000,
            },
        ],
    },
    Release {
        tools: &[Tool::NodeExporter],
        name: "node_exporter",
        version: "1.12.1",
        base: "https://github.com/prometheus/node_exporter/releases/download/v1.12.1",
        archives: &[
            Archive {
                platform: "linux-amd64",
                sha256: "b51d8a76aa2a9156a55d501aca6276fae09e262259a5e4e831d2c2222f084e63",
                size: 12_168_577,
            },
            Archive {
                platform: "linux-arm64",
                sha256: "ad35b605f9954b9f1ffddf5ba054bdc5a98d790b9eae5291e1eeb83f1ecbd0e7",
                size: 11_000_000,
            },
        ],
    },
];

impl Release {
    /// The release that has a tool.
    pub fn of(tool: Tool) -> Option<&'static Release> {
        RELEASES.iter().find(|release| release.tools.contains(&tool))
    }

    /// The archive for a platform.
    pub fn archive(&self, platform: &str) -> Option<&Archive> {
        self.archives.iter().find(|archive| archive.platform == platform)
    }

    /// The name of a platform's archive, without `.tar.gz`; also that of the folder in it.
    pub fn stem(&self, platform: &str) -> String {
        format!("{}-{}.{platform}", self.name, self.version)
    }
}

/// The platform that this program runs on, as Go names it: `linux-amd64`.
pub fn platform() -> String {
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{system}-{machine}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_archive_is_pinned_by_a_checksum() {
        for archive in RELEASES.iter().flat_map(|release| release.archives) {
            assert_eq!(archive.sha256.len(), 64, "{archive:?}");
            assert!(
                archive.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
                "{archive:?}"
            );
        }
    }

    #[test]
    fn an_archive_is_named_as_its_project_names_it() {
        let release = Release::of(Tool::Promtool).expect("promtool comes with Prometheus");
        assert_eq!(release.stem("linux-amd64"), "prometheus-3.15.0.linux-amd64");
    }
}
