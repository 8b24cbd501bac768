//! `sre trust`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::foreign::one_line;
use crate::secret;
use crate::target::{Folder, own_files, seal};

/// Members of an entry that decide what is run, connected to or written; the rest only describes.
const DECIDING: [&str; 15] = [
    "program",
    "arguments",
    "environment",
    "directory",
    "log",
    "stop",
    "start",
    "context",
    "kubeconfig",
    "image_loader",
    "values",
    "url",
    "admin",
    "switches",
    "credentials",
];

/// Makes the state of this folder yours, after showing what it would have `sre` run.
///
/// What `sre` writes down to run again carries your seal, for the path of the folder. A folder that was cloned,
/// copied, moved or unpacked has another one, or none: nothing of it is run until you have looked at it.
#[derive(Debug, Args)]
pub struct Trust {
    /// Allows files in this folder to name this environment variable as a secret: in headers, bodies and credentials.
    /// May be given several times.
    #[arg(long, value_name = "NAME")]
    env: Vec<String>,
}

/// A file that was not this user's, and what it would have had `sre` do.
#[derive(Debug, Serialize)]
struct Foreign {
    file: PathBuf,
    decides: Vec<String>,
    #[serde(skip)]
    document: Value,
}

impl Trust {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        if !self.env.is_empty() {
            return self.allow(context);
        }
        let folder = Folder::here()?;
        let foreign = foreign(&folder)?;
        if foreign.is_empty() {
            context.terminal.say("All that is in .sre is yours.");
            context.terminal.print_for_machines(&foreign)?;
            return Ok(Exit::Pass);
        }
        context.terminal.consent(&question(&foreign), &context.interrupt).await?;
        for file in &foreign {
            folder.write(&file.file, &seal::sealed(&file.file, &file.document)?)?;
        }
        context.terminal.print(&foreign, |foreign| {
            let names: Vec<String> = foreign.iter().map(|file| file.file.display().to_string()).collect();
            format!("yours from now on: {}", names.join(", "))
        })?;
        Ok(Exit::Pass)
    }
}

impl Trust {
    /// Remembers variables, in this user's own state. Who names them here has been asked.
    fn allow(&self, context: &Context) -> Result<Exit> {
        if let Some(name) = self.env.iter().find(|name| !secret::is_variable(name)) {
            return Err(Error::usage("what was given is not the name of an environment variable")
                .because_of(format!("it has {} characters, and others than letters, digits and _", name.len()))
                .hint("name the variable that holds the secret, not the secret: sre trust --env PROMETHEUS_TOKEN"));
        }
        secret::remember(&self.env)?;
        context.terminal.print(&self.env, |names| {
            format!("files in this folder may name {} from now on, for any server", names.join(", "))
        })?;
        Ok(Exit::Pass)
    }
}

/// Every file that needs this user's seal and does not have it.
fn foreign(folder: &Folder) -> Result<Vec<Foreign>> {
    let mut paths = vec![folder.root().join("lab.json")];
    for of in ["journal", "jobs"] {
        let files = std::fs::read_dir(folder.root().join(of)).into_iter().flatten().flatten();
        paths.extend(
            files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "json")),
        );
    }
    let mut foreign = Vec::new();
    for path in paths.into_iter().filter(|path| path.exists()) {
        let failed = || Error::target(format!("{} cannot be read", path.display()));
        let text = own_files::read(&path).map_err(|e| failed().because(e))?;
        if seal::verify(&path, &text).is_ok() {
            continue;
        }
        let document: Value = serde_json::from_str(&text)
            .map_err(|e| failed().because(e).hint(format!("delete it: {}", path.display())))?;
        let mut decides = Vec::new();
        collect(&document, "", &mut decides);
        foreign.push(Foreign { file: path, decides, document });
    }
    Ok(foreign)
}

/// The deciding members of a document, each with its place in it.
fn collect(value: &Value, place: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                match DECIDING.contains(&name.as_str()) && !member.is_null() {
                    // As JSON, in which control characters are escaped.
                    true => into.push(format!("{}: {member}", one_line(&place))),
                    false => collect(member, &place, into),
                }
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| collect(item, &format!("{place}[{at}]"), into));
        }
        _ => {}
    }
}

fn question(foreign: &[Foreign]) -> String {
    let mut lines =
        vec!["You have not written this here. It would have sre start, stop, call or write:".to_owned()];
    for file in foreign {
        lines.push(format!("\n{}", shown(&file.file)));
        lines.extend(file.decides.iter().map(|line| format!("  {line}")));
    }
    lines.join("\n")
}

fn shown(path: &Path) -> String {
    one_line(&path.display().to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_would_be_run_is_shown_with_its_place_and_nothing_of_it_reaches_the_terminal_raw() {
        let mut found = Vec::new();
        let document = json!({
            "schema": "sre.lab/v1", "stack": "s",
            "processes": [{"name": "p", "program": "/bin/sh", "arguments": ["-c", "\u{1b}[2Jrm"]}],
        });
        collect(&document, "", &mut found);
        assert_eq!(
            found,
            ["processes[0].program: \"/bin/sh\"", "processes[0].arguments: [\"-c\",\"\\u001b[2Jrm\"]",]
        );
    }
}
