//! docs/app.md tells everything that there is.

use sre::app::{Endpoint, ErrorType, ExceptionType, Method};

use crate::support::app::App;

const DOCS: &str = include_str!("../../docs/app.md");

#[test]
fn every_label_value_is_documented() {
    for error_type in ErrorType::ALL {
        let row = format!("| `{}` | {} |", error_type.as_str(), error_type.status().as_u16());
        assert!(DOCS.contains(&row), "no row {row}");
    }
    let values = ExceptionType::ALL.iter().map(|value| value.as_str());
    let values = values.chain(Endpoint::ALL.iter().map(|value| value.as_str()));
    for value in values.chain(Method::ALL.iter().map(|value| value.as_str())) {
        assert!(DOCS.contains(value), "{value} is not documented");
    }
}

#[tokio::test]
async fn every_metric_is_documented() {
    let scrape = App::start(&[]).scrape().await;
    assert!(!scrape.samples.is_empty());
    for sample in &scrape.samples {
        let name = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| sample.name.strip_suffix(suffix));
        let name = name.unwrap_or(&sample.name);
        assert!(DOCS.contains(&format!("| `{name}` |")), "{name} is not documented");
    }
}
