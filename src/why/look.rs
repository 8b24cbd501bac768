//! What several chains begin with: whether an observer answers, and what Prometheus has loaded.

use serde_json::Value;

use super::Place;
use super::chain::{Walk, reason};
use crate::error::{Error, Result};
use crate::observe::{Prometheus, Reload};
use crate::target::TargetKind;

/// What came of asking an observer whether it is there.
#[derive(Debug)]
pub enum Reach {
    /// It answers; its version.
    Answers(String),
    /// Nobody answers at its address.
    Away(Error),
    /// Somebody answers there, and does not tell what was asked.
    Refuses(Error),
    /// No pod of it is ready.
    NotReady,
    /// The lab names none.
    Nowhere,
}

/// The link of an observer; whether there is more to ask of it. Pure.
pub fn reached(walk: &mut Walk, link: &str, reach: &Reach, mend: &str) -> bool {
    match reach {
        Reach::Answers(version) => walk.ok(link, version.clone()),
        Reach::Away(error) => walk.broken(link, reason(error), mend),
        Reach::Refuses(error) => walk.untold(link, error),
        Reach::NotReady => walk.broken(link, "No pod of it is ready.", mend),
        Reach::Nowhere => walk.unknown(link, "This lab names none."),
    }
    matches!(reach, Reach::Answers(_))
}

/// What brings a part of the lab back.
pub fn mend(place: &Place<'_>, part: &str) -> String {
    let process = match (part, place.lab.process("logstore")) {
        ("loki", Some(_)) => "logstore",
        _ => part,
    };
    match place.lab.target {
        TargetKind::External => {
            format!("Start it, or mend its address: `external.{part}.url` in the stack file.")
        }
        TargetKind::Local => {
            format!("`sre up` brings it back; `sre logs {process}` shows what it wrote last.")
        }
        _ => format!("`sre status` and `sre logs {part}` tell more; `sre up` mends it."),
    }
}

/// Whether an observer that gave no data is there at all.
pub async fn reach(asked: Result<String>, answers: impl Future<Output = bool>) -> Reach {
    match asked {
        Ok(version) => Reach::Answers(version),
        Err(error) => match answers.await {
            true => Reach::Refuses(error),
            false => Reach::Away(error),
        },
    }
}

/// Why there is no endpoint of a part.
pub fn without(place: &Place<'_>, part: &str) -> Reach {
    let named = place.lab.cluster.as_ref().map(|cluster| {
        crate::target::kubernetes::parts::endpoints(&cluster.endpoints).iter().any(|(name, _)| *name == part)
    });
    if named == Some(true) { Reach::NotReady } else { Reach::Nowhere }
}

/// Prometheus, where it answers; and whether it goes by its newest configuration.
pub async fn prometheus(place: &Place<'_>, walk: &mut Walk) -> Result<Option<Prometheus>> {
    const ANSWERS: &str = "Prometheus answers";
    let mend = mend(place, "prometheus");
    let Some(endpoint) = &place.lab.endpoints.prometheus else {
        reached(walk, ANSWERS, &without(place, "prometheus"), &mend);
        return Ok(None);
    };
    let client = Prometheus::new(endpoint)?;
    let reach = reach(client.version().await, client.answers()).await;
    if !reached(walk, ANSWERS, &reach, &mend) {
        return Ok(None);
    }
    configured(walk, client.reload().await);
    Ok((!walk.is_over()).then_some(client))
}

/// The link of its configuration. Pure.
fn configured(walk: &mut Walk, reload: Result<Option<Reload>>) {
    const LINK: &str = "its newest configuration is loaded";
    match reload {
        Ok(Some(reload)) if reload.succeeded => {
            walk.ok(LINK, reload.at.map_or(String::new(), |at| at.strftime("at %H:%M:%S UTC").to_string()));
        }
        Ok(Some(reload)) => walk.broken(
            LINK,
            format!(
                "Its last reload failed: it goes on with the one of {}.",
                reload
                    .at
                    .map_or("an earlier time".into(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
            ),
            "`promtool check config FILE` names what is wrong in it; its own log does, too.",
        ),
        // Other products do not tell, and have no such thing.
        Ok(None) => {}
        Err(error) => walk.untold(LINK, &error),
    }
}

/// The configuration that is loaded, as data.
///
/// # Errors
/// No data (exit 3) where it is not told, or is not understood.
pub async fn config(prometheus: &Prometheus) -> Result<Value> {
    read_config(&prometheus.config().await?)
}

/// A configuration as data.
///
/// # Errors
/// No data (exit 3) where it is not understood.
pub fn read_config(text: &str) -> Result<Value> {
    let options = serde_saphyr::options! { budget: crate::config::large() };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| {
        Error::no_data("the configuration that is loaded cannot be read").because_of(e.to_string())
    })
}

/// A list in a configuration.
pub fn list<'a>(config: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    config[key].as_array().into_iter().flatten()
}

/// The job of a name in a configuration.
pub fn job<'a>(config: &'a Value, name: &str) -> Option<&'a Value> {
    list(config, "scrape_configs").find(|job| job["job_name"] == name)
}

/// So many of a list as a sentence has room for.
pub fn some<'a>(all: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 6;
    let mut all: Vec<&str> = all.into_iter().collect();
    let more = all.len().saturating_sub(MOST);
    all.truncate(MOST);
    let shown = all.join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::why::chain::State;

    #[test]
    fn an_observer_that_is_gone_is_a_broken_link_and_one_that_refuses_is_not_known() {
        let error = || Error::no_data("it").because_of("why");
        for (reach, state, goes_on) in [
            (Reach::Answers("3.1".into()), State::Ok, true),
            (Reach::Away(error()), State::Broken, false),
            (Reach::NotReady, State::Broken, false),
            (Reach::Refuses(error()), State::Unknown, false),
            (Reach::Nowhere, State::Unknown, false),
        ] {
            let mut walk = Walk::default();
            assert_eq!(reached(&mut walk, "x", &reach, "mend"), goes_on, "{reach:?}");
            assert_eq!(walk.chain("", "").links[0].state, state, "{reach:?}");
        }
    }

    #[test]
    fn a_reload_that_failed_is_a_broken_link() {
        let state = |reload| {
            let mut walk = Walk::default();
            configured(&mut walk, reload);
            walk.chain("", "").links.first().map(|link| link.state)
        };
        let reload = |succeeded| Ok(Some(Reload { succeeded, at: None }));
        assert_eq!(state(reload(true)), Some(State::Ok));
        assert_eq!(state(reload(false)), Some(State::Broken));
        assert_eq!(state(Ok(None)), None);
        assert_eq!(state(Err(Error::no_data("x"))), Some(State::Unknown));
    }
}
