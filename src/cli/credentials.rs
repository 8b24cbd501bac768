//! Credentials by the names of the environment variables that hold them.

use crate::error::{Error, Result};
use crate::secret;
use crate::target::Credentials;

/// Credentials by the names of the variables with a token, or with a user and a password; `None` where none is named.
/// Naming them here allows them.
///
/// # Errors
/// Usage (exit 2) where what was given is no name: a secret itself is not taken for one, and not repeated.
pub(super) fn credentials(
    bearer: Option<&str>,
    user: Option<&str>,
    password: Option<&str>,
) -> Result<Option<Credentials>> {
    Ok(match (bearer, user, password) {
        (Some(token), _, _) => Some(Credentials::Bearer(variable(token)?)),
        (None, Some(user), Some(password)) => {
            Some(Credentials::Basic { user: variable(user)?, password: variable(password)? })
        }
        _ => None,
    })
}

fn variable(text: &str) -> Result<String> {
    match secret::is_variable(text) {
        // Whoever names it on the command line allows it.
        true => {
            secret::allow([text]);
            Ok(text.to_owned())
        }
        false => Err(Error::usage(
            "what was given for the credentials is not the name of an environment variable",
        )
        .hint(
            "Name the variable that holds the secret, not the secret: --prometheus-bearer PROMETHEUS_TOKEN",
        )),
    }
}

/// A header on the command line: `NAME=VALUE`.
pub(super) fn header(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it must be NAME=VALUE, such as X-Scope-OrgID=lab")?;
    crate::stack::header(name, value)?;
    Ok((name.to_owned(), value.to_owned()))
}
