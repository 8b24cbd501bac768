//! What the README and docs/ say is what the program does.

use std::path::Path;

use clap::CommandFactory;
use sre::check::Kind;
use sre::cli::Cli;
use sre::exit::Exit;

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

/// The rows of the table whose header begins with this cell.
fn table<'a>(text: &'a str, first: &str) -> Vec<Vec<&'a str>> {
    let header = format!("| {first} |");
    text.lines()
        .skip_while(|line| !line.starts_with(&header))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

#[test]
fn the_exit_codes_are_those_of_the_code() {
    let readme = text("README.md");
    let documented: Vec<(String, String)> =
        table(&readme, "exit code").iter().map(|row| (row[0].to_owned(), row[1].to_owned())).collect();
    let known: Vec<(String, String)> =
        Exit::ALL.iter().map(|exit| (exit.code().to_string(), exit.meaning().to_owned())).collect();
    assert_eq!(documented, known);
}

#[test]
fn every_command_is_in_the_readme_and_every_command_of_the_readme_is_there() {
    let readme = text("README.md");
    let rows = table(&readme, "command");
    let documented: Vec<String> = rows
        .iter()
        .flat_map(|row| row[0].split('`').skip(1).step_by(2))
        .filter_map(|command| command.strip_prefix("sre "))
        .filter_map(|command| command.split_whitespace().next().map(str::to_owned))
        .collect();
    let cli = Cli::command();
    for command in cli.get_subcommands().filter(|command| !command.is_hide_set()) {
        assert!(
            documented.iter().any(|name| name == command.get_name()),
            "{} is missing",
            command.get_name()
        );
    }
    for name in &documented {
        assert!(cli.find_subcommand(name).is_some(), "`sre {name}` is documented and not there");
    }
}

/// How many lines of a document's shell blocks call `sre`; each is understood.
fn command_lines(file: &str) -> usize {
    let text = text(file);
    let mut lines = 0;
    for line in text.split("```sh\n").skip(1).flat_map(|block| block.split("```").next()).flat_map(str::lines)
    {
        let line = line.split('#').next().unwrap_or_default();
        // Where its output goes is the shell's matter.
        let line = line.split(" > ").next().unwrap_or_default().trim();
        let Some(arguments) = line.strip_prefix("sre ").or(line.strip_prefix("cargo run --release -- "))
        else {
            continue;
        };
        let words = std::iter::once("sre").chain(arguments.split_whitespace());
        Cli::command().try_get_matches_from(words).unwrap_or_else(|e| panic!("{file}: `{line}`: {e}"));
        lines += 1;
    }
    lines
}

#[test]
fn every_command_line_of_the_documents_is_understood() {
    let lines = command_lines("README.md");
    assert!(lines > 5, "only {lines} command lines were found in the README");
    let lines = command_lines("docs/why.md");
    assert!(lines >= 5, "only {lines} command lines were found in docs/why.md");
    let lines = command_lines("docs/kubernetes.md");
    assert!(lines > 5, "only {lines} command lines were found in docs/kubernetes.md");
    let lines = command_lines("docs/install.md");
    assert!(lines > 3, "only {lines} command lines were found in docs/install.md");
    let lines = command_lines("docs/counting.md");
    assert!(lines > 2, "only {lines} command lines were found in docs/counting.md");
}

#[test]
fn every_test_that_the_page_on_counting_names_is_there() {
    let page = text("docs/counting.md");
    let rows = table(&page, "what happens");
    assert!(rows.len() > 8, "{rows:?}");
    for row in rows {
        let mut named = row[2].split('`').skip(1).step_by(2);
        let (test, file) = (named.next().expect("a test"), named.next().expect("a file"));
        assert!(text(file).contains(&format!("fn {test}(")), "{test} is not in {file}");
    }
}

#[test]
fn every_scenario_of_the_readme_is_shipped_and_every_shipped_one_is_in_the_readme() {
    let readme = text("README.md");
    let mut documented: Vec<String> =
        table(&readme, "scenario").iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    documented.sort();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut shipped: Vec<String> = std::fs::read_dir(folder)
        .expect("scenarios/")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".yaml").map(str::to_owned))
        .collect();
    shipped.sort();
    assert_eq!(documented, shipped);
}

#[test]
fn every_kind_of_check_has_the_section_that_its_hints_name() {
    let kinds = [
        Kind::Targets,
        Kind::Series,
        Kind::Promql,
        Kind::Reconcile,
        Kind::Threshold,
        Kind::Generator,
        Kind::Answered,
        Kind::Alert,
        Kind::Notification,
        Kind::Detected,
        Kind::Logs,
    ];
    let checks = text("docs/checks.md");
    for kind in kinds {
        let link = kind.documentation();
        let anchor = link.rsplit('#').next().expect("an anchor");
        let found =
            checks.lines().any(|line| line.strip_prefix("## ").is_some_and(|t| t.to_lowercase() == anchor));
        assert!(found, "docs/checks.md has no section for {link}");
    }
}

#[test]
fn the_chain_of_the_document_is_as_its_schema_says() {
    let text = text("docs/why.md");
    let example =
        text.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let schema = schemars::schema_for!(sre::why::Chain);
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("why.json", schema.as_value().clone()).expect("a schema");
    let index = compiler.compile("why.json", &mut schemas).expect("a sound schema");
    let example = serde_json::from_str(example).expect("JSON");
    schemas.validate(&example, index).expect("the example keeps the schema");
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("README.md")];
    files.extend(
        std::fs::read_dir(root.join("docs")).expect("docs/").filter_map(|entry| Some(entry.ok()?.path())),
    );
    for file in files.iter().filter(|file| file.extension().is_some_and(|ext| ext == "md")) {
        let text = std::fs::read_to_string(file).expect("a document");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let target = file.parent().expect("a folder").join(path);
            assert!(target.exists(), "{} links to {link}, which is not there", file.display());
        }
    }
}
