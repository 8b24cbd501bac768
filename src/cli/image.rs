//! `sre image`.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::target::kubernetes::image::{self, full_name};

/// Writes an image of this program, to be loaded or pushed by hand; docker, podman, skopeo and containerd read it.
#[derive(Debug, Args)]
pub struct Image {
    /// The archive to write.
    file: PathBuf,
    /// The image's name [default: sre and this version].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The static program that the image holds [default: this one].
    #[arg(long, value_name = "FILE", env = "SRE_IMAGE_BINARY")]
    binary: Option<PathBuf>,
    /// When the image was made, in seconds since 1970; without it the image does not say.
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH")]
    created: Option<i64>,
}

#[derive(Serialize)]
struct Written {
    image: String,
    archive: String,
}

impl Image {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let created = self.created.map(Timestamp::from_second).transpose();
        let created = created.map_err(|e| Error::usage("--created names no time").because(e))?;
        let name = self.name.unwrap_or_else(|| format!("sre:{}", env!("CARGO_PKG_VERSION")));
        let program = image::program(self.binary)?;
        image::write_dated_archive(&program, &name, created, &self.file)?;
        let written = Written { image: full_name(&name), archive: self.file.display().to_string() };
        context.terminal.print(&written, |written| format!("{} is in {}", written.image, written.archive))?;
        Ok(Exit::Pass)
    }
}
