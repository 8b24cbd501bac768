//! Every version that `sre` pins, in one place. A checksum is that of the project's own release: of the sums file beside
//! its archives, of the index of a chart's repository. A platform without one is not downloaded for.

use super::Tool;

/// An official release: one archive a platform.
#[derive(Debug, Clone, Copy)]
pub struct Release {
    /// The tools in it.
    pub tools: &'static [Tool],
    /// The stem of its archives and the name of its folder in the cache.
    pub name: &'static str,
    /// How its archives are named, and where the programs are in them.
    pub form: Form,
    /// Its version.
    pub version: &'static str,
    /// Where its archives are; `tools/` of a mirror takes its place.
    pub base: &'static str,
    /// The file beside its archives that holds their checksums.
    pub sums: &'static str,
    /// The archives.
    pub archives: &'static [Archive],
}

/// How the archives of a release are named, and where the programs are in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `NAME-VERSION.SYSTEM-MACHINE.tar.gz`; the programs are in its only folder.
    Folder,
    /// `NAME_VERSION_SYSTEM_MACHINE.tar.gz`; the programs are at its root.
    Flat,
    /// `NAME-SYSTEM-MACHINE.zip`; the one program in it is called `NAME-SYSTEM-MACHINE`.
    Zip,
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
    /// The SHA-256 of its archive, in hexadecimal: `digest` in its repository's `index.yaml`.
    pub sha256: &'static str,
}

/// The charts.
pub const CHARTS: &[Chart] = &[
    Chart {
        name: "kube-prometheus-stack",
        repository: "https://prometheus-community.github.io/helm-charts",
        version: "88.5.3",
        sha256: "3bff576f57c88f9fcac3286cc6e0d22ddaf7d7e1829c14a09257359f02ca64c9",
    },
    Chart {
        name: "loki",
        repository: "https://grafana-community.github.io/helm-charts",
        version: "18.11.0",
        sha256: "d4d99424d197e1460878093c9fced02346669ab0698a0dca7c575ab76fff7aeb",
    },
    Chart {
        name: "opentelemetry-collector",
        repository: "https://open-telemetry.github.io/opentelemetry-helm-charts",
        version: "0.170.0",
        sha256: "ed140b332233075c7fd15eaebba571fdf100926f08c0a5a274c7b32895315137",
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
        form: Form::Folder,
        version: "3.15.0",
        base: "https://github.com/prometheus/prometheus/releases/download/v3.15.0",
        sums: "sha256sums.txt",
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
        form: Form::Folder,
        version: "0.33.1",
        base: "https://github.com/prometheus/alertmanager/releases/download/v0.33.1",
        sums: "sha256sums.txt",
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
        form: Form::Folder,
        version: "1.12.1",
        base: "https://github.com/prometheus/node_exporter/releases/download/v1.12.1",
        sums: "sha256sums.txt",
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
    Release {
        tools: &[Tool::Loki],
        name: "loki",
        form: Form::Zip,
        version: "3.7.8",
        base: "https://github.com/grafana/loki/releases/download/v3.7.8",
        sums: "SHA256SUMS",
        archives: &[Archive {
            platform: "linux-amd64",
            sha256: "62aea42c9cba52cd1642b3666ab37019a0ce4c24ab50b07e85dccc8d812f7d61",
            size: 45_000_000,
        }],
    },
    // The distribution for everything has what the one for Kubernetes has.
    Release {
        tools: &[Tool::Collector],
        name: "otelcol-contrib",
        form: Form::Flat,
        version: "0.160.0",
        base: "https://github.com/open-telemetry/opentelemetry-collector-releases/releases/download/v0.160.0",
        sums: "opentelemetry-collector-releases_otelcol-contrib_checksums.txt",
        archives: &[Archive {
            platform: "linux-amd64",
            sha256: "7bb60c584c241c86261c2b8697cd3725dd8c56691f5ad5d98454eaa005b47b0c",
            size: 110_294_081,
        }],
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

    /// The name of a platform's archive.
    pub fn file(&self, platform: &str) -> String {
        let Release { name, version, .. } = self;
        match self.form {
            Form::Folder => format!("{}.tar.gz", self.stem(platform)),
            Form::Flat => format!("{name}_{version}_{}.tar.gz", platform.replace('-', "_")),
            Form::Zip => format!("{name}-{platform}.zip"),
        }
    }

    /// The name of a platform's folder in the cache.
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
    use crate::digest::is_sha256;

    #[test]
    fn every_archive_and_every_chart_is_pinned_by_a_checksum() {
        for archive in RELEASES.iter().flat_map(|release| release.archives) {
            assert!(is_sha256(archive.sha256), "{archive:?}");
        }
        for chart in CHARTS {
            assert!(is_sha256(chart.sha256), "{chart:?}");
        }
    }

    #[test]
    fn an_archive_is_named_as_its_project_names_it() {
        let release = Release::of(Tool::Promtool).expect("promtool comes with Prometheus");
        assert_eq!(release.file("linux-amd64"), "prometheus-3.15.0.linux-amd64.tar.gz");
        let file = |tool| Release::of(tool).expect("a release").file("linux-amd64");
        assert_eq!(file(Tool::Loki), "loki-linux-amd64.zip");
        assert_eq!(file(Tool::Collector), "otelcol-contrib_0.160.0_linux_amd64.tar.gz");
    }
}
