//! How large YAML may be that machines write.

use serde_saphyr::Budget;

/// Manifests, rendered charts and the configuration of a Prometheus are longer than what people write, and nest deeper;
/// but a document of a million levels must not overflow the stack.
pub fn large() -> Option<Budget> {
    serde_saphyr::budget! {
        max_depth: 128,
        max_events: 50_000_000,
        max_nodes: 25_000_000,
        max_documents: 100_000,
        max_total_scalar_bytes: 256 << 20,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<serde_json::Value, serde_saphyr::Error> {
        serde_saphyr::from_str_with_options(text, serde_saphyr::options! { budget: large() })
    }

    #[test]
    fn long_is_well_and_deep_is_refused() {
        let long: String = (0..300_000).map(|number| format!("k{number}: v\n")).collect();
        assert!(read(&long).is_ok());
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(read(&deep(60)).is_ok());
        assert!(read(&deep(100_000)).is_err());
    }
}
