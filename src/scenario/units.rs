//! Quantities as people write them: `500ms`, `200/s`, `5%`, `> 0.5`, `[200, "4xx"]`.
//!
//! Each is a string in YAML, parsed once and printed back as it would be written.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Reads a quantity from a YAML or JSON scalar (numbers are taken as their text).
pub(super) fn from_scalar<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = String>,
{
    struct Scalar<T>(std::marker::PhantomData<T>);
    impl<T: FromStr<Err = String>> serde::de::Visitor<'_> for Scalar<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a quantity such as `500ms`, `200/s`, `5%` or `> 0`")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
        fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
        fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
    }
    deserializer.deserialize_any(Scalar(std::marker::PhantomData))
}

/// Serde, `Display` and JSON schema for a quantity that is a string in files.
macro_rules! quantity {
    ($type:ident, $example:literal, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_scalar(deserializer)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": ["string", "number"], "examples": [$example], "pattern": $pattern})
            }
        }
    };
}
pub(super) use quantity;

/// A length of time: `500ms`, `1m30s`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

quantity!(Duration, "30s", r"^([0-9]+(ns|us|ms|s|m|h)\s*)+$");

impl Duration {
    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Duration {
        Duration(std::time::Duration::from_secs(seconds))
    }

    /// As the standard library has it.
    pub const fn get(self) -> std::time::Duration {
        self.0
    }

    /// In seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0.as_secs_f64()
    }
}

impl From<std::time::Duration> for Duration {
    fn from(duration: std::time::Duration) -> Duration {
        Duration(duration)
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> std::time::Duration {
        duration.0
    }
}

impl FromStr for Duration {
    type Err = String;
    fn from_str(text: &str) -> Result<Duration, String> {
        let problem = || format!("`{text}` is not a duration; write for example `500ms`, `30s` or `1m30s`");
        // humantime would read `1M` as a month and `1y` as a year: neither is meant here.
        if text.chars().any(|c| c.is_alphabetic() && !"nusmh".contains(c)) {
            return Err(problem());
        }
        match humantime::parse_duration(text.trim()) {
            // Sums with times of day and of the monotonic clock stay within what these can hold.
            Ok(duration) if duration > LONGEST => Err(format!("`{text}` is longer than a year (8784h)")),
            Ok(duration) => Ok(Duration(duration)),
            Err(_) => Err(problem()),
        }
    }
}

/// The longest time that anything may take.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(8784 * 3600);

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // humantime tells days and months, which are not read.
        let hours = self.0.as_secs() / 3600;
        let rest = self.0.saturating_sub(std::time::Duration::from_secs(hours * 3600));
        if hours > 0 {
            write!(f, "{hours}h")?;
            if rest.is_zero() {
                return Ok(());
            }
        }
        let text = humantime::format_duration(rest).to_string();
        f.write_str(&text.replace(' ', ""))
    }
}

/// Two lengths of time, `100ms..300ms`, or one, `100ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DurationRange {
    /// The shortest.
    pub from: Duration,
    /// The longest; the same as `from` where there is one.
    pub to: Duration,
}

quantity!(DurationRange, "100ms..300ms", r"^[0-9a-z]+(\.\.[0-9a-z]+)?$");

impl FromStr for DurationRange {
    type Err = String;
    fn from_str(text: &str) -> Result<DurationRange, String> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let range = DurationRange { from: from.parse()?, to: to.parse()? };
        if range.from > range.to {
            return Err(format!("`{text}` ends before it starts"));
        }
        Ok(range)
    }
}

impl fmt::Display for DurationRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to {
            return self.from.fmt(f);
        }
        write!(f, "{}..{}", self.from, self.to)
    }
}

/// Requests a time: `200/s`, `12000/m`; a bare number is a second's.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(f64);

quantity!(Rate, "200/s", r"^[0-9]+(\.[0-9]+)?(/(s|m|h))?$");

impl Rate {
    /// So many a second; `None` unless it is a finite number, 0 or more.
    pub fn per_second(rate: f64) -> Option<Rate> {
        (rate.is_finite() && rate >= 0.0).then_some(Rate(rate))
    }

    /// Requests a second.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Rate, String> {
        let problem = || format!("`{text}` is not a rate; write for example `200/s` or `600/m`");
        let (number, seconds) = match text.trim().split_once('/') {
            None => (text.trim(), 1.0),
            Some((number, "s")) => (number, 1.0),
            Some((number, "m")) => (number, 60.0),
            Some((number, "h")) => (number, 3600.0),
            Some(_) => return Err(problem()),
        };
        let number: f64 = number.trim().parse().map_err(|_| problem())?;
        Rate::per_second(number / seconds).ok_or_else(problem)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

/// A share: `5%`, or `0.05`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Ratio(f64);

quantity!(Ratio, "20%", r"^[0-9]+(\.[0-9]+)?%?$");

impl Ratio {
    /// From 0 to 1.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Ratio {
    type Err = String;
    fn from_str(text: &str) -> Result<Ratio, String> {
        let problem = || format!("`{text}` is not a share; write for example `5%` or `0.05`");
        let (number, whole) = match text.trim().strip_suffix('%') {
            Some(percent) => (percent, 100.0),
            None => (text.trim(), 1.0),
        };
        let share = number.trim().parse::<f64>().map_err(|_| problem())? / whole;
        if !(0.0..=1.0).contains(&share) {
            return Err(problem());
        }
        Ok(Ratio(share))
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded, because 0.07 * 100 is 7.000000000000001.
        write!(f, "{}%", (self.0 * 1e10).round() / 1e8)
    }
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl Operator {
    /// Whether `left` compares to `right` this way. Not a number compares to nothing.
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Operator::Less => left < right,
            Operator::AtMost => left <= right,
            Operator::More => left > right,
            Operator::AtLeast => left >= right,
            Operator::Equal => left == right,
            Operator::NotEqual => !left.is_nan() && !right.is_nan() && left != right,
        }
    }

    /// Splits an operator off the start of a text.
    pub(super) fn split(text: &str) -> Option<(Operator, &str)> {
        // Longer ones first: `<` is the start of `<=`.
        [
            ("<=", Operator::AtMost),
            (">=", Operator::AtLeast),
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<", Operator::Less),
            (">", Operator::More),
        ]
        .into_iter()
        .find_map(|(sign, operator)| Some((operator, text.trim_start().strip_prefix(sign)?)))
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operator::Less => "<",
            Operator::AtMost => "<=",
            Operator::More => ">",
            Operator::AtLeast => ">=",
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
        })
    }
}

/// A comparison with a number: `> 0`, `<= 0.05`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// How.
    pub operator: Operator,
    /// With what.
    pub value: f64,
}

quantity!(Comparison, "> 0", r"^(<|<=|>|>=|==|!=)\s*-?[0-9.eE+-]+$");

impl Comparison {
    /// Whether a value compares as asked.
    pub fn holds(self, value: f64) -> bool {
        self.operator.holds(value, self.value)
    }
}

impl FromStr for Comparison {
    type Err = String;
    fn from_str(text: &str) -> Result<Comparison, String> {
        let problem = || format!("`{text}` is not a comparison; write for example `> 0` or `== 3`");
        let (operator, number) = Operator::split(text).ok_or_else(problem)?;
        let value: f64 = number.trim().parse().map_err(|_| problem())?;
        if !value.is_finite() {
            return Err(problem());
        }
        Ok(Comparison { operator, value })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operator, self.value)
    }
}

/// Statuses that are right: `200`, `"2xx"`, or a list of these. Without the key: `2xx`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Expect(#[schemars(schema_with = "expect_schema")] Vec<StatusPattern>);

fn expect_schema(_: &mut SchemaGenerator) -> Schema {
    let one = serde_json::json!({"anyOf": [
        {"type": "integer", "minimum": 100, "maximum": 599},
        {"type": "string", "pattern": "^[1-5]xx$"},
    ]});
    json_schema!({"anyOf": [one, {"type": "array", "items": one}]})
}

impl Default for Expect {
    fn default() -> Expect {
        Expect(vec![StatusPattern::Class(2)])
    }
}

impl Expect {
    /// Every status of a class: 5 for 500 to 599.
    pub fn class(class: u8) -> Expect {
        Expect(vec![StatusPattern::Class(class)])
    }

    /// Whether every status that is right is that of an error: 400 and above.
    pub fn is_of_errors(&self) -> bool {
        self.0.iter().all(|pattern| match pattern {
            StatusPattern::Exact(exact) => *exact >= 400,
            StatusPattern::Class(class) => *class >= 4,
        })
    }

    /// As a regular expression over the status' text: `404|5..`.
    pub fn regex(&self) -> String {
        let pattern = |pattern: &StatusPattern| match pattern {
            StatusPattern::Exact(exact) => exact.to_string(),
            StatusPattern::Class(class) => format!("{class}.."),
        };
        self.0.iter().map(pattern).collect::<Vec<_>>().join("|")
    }

    /// Whether a status is right.
    pub fn allows(&self, status: u16) -> bool {
        self.0.iter().any(|pattern| match pattern {
            StatusPattern::Exact(exact) => *exact == status,
            StatusPattern::Class(class) => status / 100 == u16::from(*class),
        })
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns: Vec<String> = self.0.iter().map(StatusPattern::to_string).collect();
        f.write_str(&patterns.join(", "))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StatusPattern {
    Exact(u16),
    Class(u8),
}

impl fmt::Display for StatusPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StatusPattern::Exact(status) => write!(f, "{status}"),
            StatusPattern::Class(class) => write!(f, "{class}xx"),
        }
    }
}

impl FromStr for StatusPattern {
    type Err = String;
    fn from_str(text: &str) -> Result<StatusPattern, String> {
        let problem = || format!("`{text}` is not a status; write for example 404 or 4xx");
        if let Some(class) = text.strip_suffix("xx") {
            let class = class.parse().ok().filter(|class| (1..=5).contains(class));
            return class.map(StatusPattern::Class).ok_or_else(problem);
        }
        let status = text.parse().ok().filter(|status| (100..=599).contains(status));
        status.map(StatusPattern::Exact).ok_or_else(problem)
    }
}

impl Serialize for StatusPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            StatusPattern::Exact(status) => serializer.serialize_u16(*status),
            StatusPattern::Class(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for StatusPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_scalar(deserializer)
    }
}

impl<'de> Deserialize<'de> for Expect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> serde::de::Visitor<'de> for OneOrMore {
            type Value = Vec<StatusPattern>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status such as 404 or 4xx, or a list of them")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(vec![text.parse().map_err(E::custom)?])
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut patterns = Vec::new();
                while let Some(pattern) = items.next_element()? {
                    patterns.push(pattern);
                }
                if patterns.is_empty() {
                    return Err(serde::de::Error::custom("no status is named; write for example [200, 404]"));
                }
                Ok(patterns)
            }
        }
        deserializer.deserialize_any(OneOrMore).map(Expect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        assert_eq!("1m30s".parse::<Duration>().map(|d| d.as_secs_f64()), Ok(90.0));
        assert_eq!(Duration::from_secs(90).to_string(), "1m30s");
        assert!("1M".parse::<Duration>().is_err(), "a month is never meant");
        assert!("5".parse::<Duration>().is_err(), "a number without a unit says nothing");
    }

    #[test]
    fn rates_are_a_second_s() {
        assert_eq!("600/m".parse::<Rate>().map(Rate::get), Ok(10.0));
        assert!("-1/s".parse::<Rate>().is_err());
        assert!("inf/s".parse::<Rate>().is_err());
    }

    #[test]
    fn shares_lie_between_nothing_and_all() {
        assert_eq!("7%".parse::<Ratio>().map(|r| r.to_string()), Ok("7%".into()));
        assert!("120%".parse::<Ratio>().is_err());
    }

    #[test]
    fn not_a_number_compares_to_nothing() {
        for operator in ["<", "<=", ">", ">=", "==", "!="] {
            let comparison: Comparison = format!("{operator} 0").parse().expect("a comparison");
            assert!(!comparison.holds(f64::NAN), "{operator}");
        }
    }

    #[test]
    fn statuses_are_exact_or_a_class() {
        let expect: Expect = serde_json::from_str(r#"[200, "5xx"]"#).expect("a list");
        assert!(expect.allows(200) && expect.allows(503) && !expect.allows(201));
        assert_eq!(expect.regex(), "200|5..");
        assert!(!expect.is_of_errors() && Expect::class(5).is_of_errors());
        let one: Expect = serde_json::from_str("404").expect("one");
        assert!(one.allows(404) && !one.allows(200));
        assert!(serde_json::from_str::<Expect>("[]").is_err());
    }
}
