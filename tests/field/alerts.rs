//! Alerts that look resolved, absent or alike, and are not.
