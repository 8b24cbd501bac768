//! Times of Alertmanager's configuration, as far as they tell why it is silent.

use crate::check::wait::seconds_of;

/// The longest time for which a group waits.
pub fn longest_wait(configuration: &str) -> f64 {
    longest(configuration, "group_interval:", 300.0).max(longest(configuration, "group_wait:", 30.0))
}

/// The longest time after which it repeats what still fires.
pub fn longest_repeat(configuration: &str) -> f64 {
    longest(configuration, "repeat_interval:", 4.0 * 3600.0)
}

/// The longest of all routes; the usual one where none says.
fn longest(configuration: &str, key: &str, usual: f64) -> f64 {
    let values =
        configuration.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix(key));
    values.filter_map(|value| seconds_of(value.trim())).reduce(f64::max).unwrap_or(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_waits_as_long_as_its_route_says_or_as_usual() {
        assert_eq!(longest_wait("route:\n  group_wait: 1s\n  group_interval: 2s\n"), 2.0);
        assert_eq!(longest_wait("route:\n  group_wait: 1s\n  routes:\n  - group_interval: 1m\n"), 60.0);
        assert_eq!(longest_wait("route:\n  receiver: x\n"), 300.0);
        assert_eq!(longest_repeat("route:\n  repeat_interval: 10m\n"), 600.0);
        assert_eq!(longest_repeat("route:\n  receiver: x\n"), 14_400.0);
    }
}
