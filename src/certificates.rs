//! Whose word is taken in TLS: the authorities that this system trusts; where it has none, those that come with `sre`.

use std::borrow::Cow;
use std::sync::OnceLock;

use rustls_native_certs::CertificateResult;
use tokio_rustls::rustls::pki_types::CertificateDer;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use crate::error::{Error, Result};

/// Certificates of authorities.
pub type Certificates = Cow<'static, [CertificateDer<'static>]>;

/// The certificates of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` say where they are elsewhere). Where it has none, as
/// in an empty root file system, Mozilla's list as it was when `sre` was built: without it a static program is no use there.
///
/// # Errors
/// A prerequisite (exit 5): there are some, and they cannot be read; or the user names a place that has none.
pub fn trusted() -> Result<Certificates> {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find(|name| std::env::var_os(name).is_some());
    choose(rustls_native_certs::load_native_certs(), named)
}

/// What clients that look for the system's certificates themselves must be given: nothing where there are any.
pub fn added() -> &'static [CertificateDer<'static>] {
    static ADDED: OnceLock<&[CertificateDer<'static>]> = OnceLock::new();
    ADDED.get_or_init(|| match trusted() {
        Ok(Cow::Borrowed(own)) => own,
        Ok(Cow::Owned(_)) | Err(_) => &[],
    })
}

fn choose(found: CertificateResult, named: Option<&str>) -> Result<Certificates> {
    if !found.certs.is_empty() {
        return Ok(Cow::Owned(found.certs));
    }
    let why = match (found.errors.first(), named) {
        (Some(error), _) => error.to_string(),
        (None, Some(name)) => format!("{name} names none"),
        (None, None) => return Ok(Cow::Borrowed(TLS_SERVER_ROOT_CERTS)),
    };
    Err(Error::prerequisite("https needs the certificates that this machine trusts")
        .because_of(why)
        .hint("install the package ca-certificates, or name a file by SSL_CERT_FILE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(certs: usize) -> CertificateResult {
        let mut found = CertificateResult::default();
        found.certs = TLS_SERVER_ROOT_CERTS[..certs].to_vec();
        found
    }

    #[test]
    fn the_system_s_certificates_come_before_those_of_the_program() {
        assert_eq!(choose(found(1), None).expect("one").len(), 1);
        assert!(matches!(choose(found(0), None), Ok(Cow::Borrowed(own)) if own.len() > 50));
    }

    #[test]
    fn a_place_without_certificates_that_the_user_names_is_an_error() {
        let error = choose(found(0), Some("SSL_CERT_DIR")).expect_err("it has none");
        assert_eq!(error.exit(), crate::exit::Exit::Prerequisite);
        assert!(error.to_string().contains("SSL_CERT_DIR"), "{error}");
    }
}
