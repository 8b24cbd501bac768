//! Problems as people read them: the line, what is wrong in it, and what to do.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::document::Document;
use super::problem::{Located, Problem, Severity};

impl Document {
    /// A problem with its line and column.
    pub fn located(&self, problem: &Problem) -> Located {
        let start = self.characters(problem).start;
        let before: Vec<char> = self.text.chars().take(start).collect();
        let column = before.iter().rev().take_while(|c| **c != '\n').count() + 1;
        Located {
            severity: problem.severity,
            line: before.iter().filter(|c| **c == '\n').count() + 1,
            column,
            message: problem.message.clone(),
            help: problem.help.clone(),
        }
    }

    /// A problem as a few lines of text without colours: the message, the place, the line with a mark below it.
    pub fn render(&self, problem: &Problem) -> String {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let range = self.characters(problem);
        // One line is marked; a value of several lines would fill the screen.
        let marked: String =
            self.text.chars().skip(range.start).take(range.len()).take_while(|c| *c != '\n').collect();
        let start: usize = self.text.chars().take(range.start).map(char::len_utf8).sum();
        let text = without_secrets(&self.text);
        let snippet = Snippet::source(&text)
            .path(&self.name)
            .annotation(AnnotationKind::Primary.span(start..start + marked.len()));
        let mut group = level.primary_title(&problem.message).element(snippet);
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help));
        }
        Renderer::plain().render(&[group])
    }
}

/// The text with `user:password` of every URL hidden, each byte by one star so that places stay as they are.
fn without_secrets(text: &str) -> String {
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        let authority =
            after.find(|c: char| c.is_whitespace() || "/'\"?#".contains(c)).unwrap_or(after.len());
        let secret = after[..authority].rfind('@').unwrap_or(0);
        shown.push_str(before);
        shown.push_str(&"*".repeat(secret));
        rest = &after[secret..];
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_urls_are_not_shown() {
        let text = "a: http://me:p@ss@host/x@y\nb: \"https://host:90\"\n";
        assert_eq!(without_secrets(text), "a: http://*******@host/x@y\nb: \"https://host:90\"\n");
    }
}
